"""A tiny drawn data set, damaged copies of it, and the config of a small detector on it."""

import json
import logging
import os
import runpy
import shutil
import signal
import subprocess
import sys

# one thread, here and in the processes that tests start: they then take the same time on every
# machine, whatever runs beside them. Read by libraries when they are loaded
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils.logger import setup_logger

from videogcrf_det.data import register_video_coco_instances
from videogcrf_det.data.davis.prepare import prepare_davis_person
from videogcrf_det.data.mini_davis import make_mini_davis

pytest.register_assert_rewrite("tests.support")
# of tests that send signals to processes
posix_only = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
CONFIG = "configs/quick_schedules/mini_davis_video_gcrf_R_18_FPN_4f.yaml"
SMALL = [
    *["INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.MIN_SIZE_TEST", "48", "INPUT.CLIP.NUM_FRAMES", "2"],
    *["SOLVER.IMS_PER_BATCH", "1", "SOLVER.MAX_ITER", "2", "MODEL.FPN.OUT_CHANNELS", "16"],
    *["MODEL.ROI_BOX_HEAD.FC_DIM", "32", "MODEL.VIDEO_GCRF.IN_FEATURES", "['p3']"],
]


@pytest.fixture(scope="session")
def mini_root(tmp_path_factory):
    """The data set's folder, whose parent can be $DETECTRON2_DATASETS. Not to be changed."""
    root = tmp_path_factory.mktemp("datasets") / "mini_davis"
    make_mini_davis(root, num_train=3, num_val=2, num_frames=6, size=(48, 64))
    for split in ("train", "val"):
        prepare_davis_person(
            root,
            split,
            resolution="48p",
            ignore_masks=root / "IgnoreMasks",
            output=annotations_of(root, split),
        )
    return root


def annotations_of(root, split):
    return root / "annotations" / f"mini_davis_person_{split}.json"


def unregister(name):
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


@pytest.fixture(scope="session")
def mini_data(mini_root):
    """Registered names of the data set by split."""
    names = {split: f"test_mini_{split}" for split in ("train", "val")}
    for split, name in names.items():
        register_video_coco_instances(
            name, annotations_of(mini_root, split), mini_root / "JPEGImages"
        )
    yield names
    for name in names.values():
        unregister(name)


@pytest.fixture
def small(mini_data, tmp_path):
    """Overrides of CONFIG: a small detector on the data set, with its output in tmp_path/out."""
    return [
        *["DATASETS.TRAIN", f"('{mini_data['train']}',)"],
        *["DATASETS.TEST", f"('{mini_data['val']}',)"],
        *["OUTPUT_DIR", str(tmp_path / "out"), *SMALL],
    ]


@pytest.fixture
def start(mini_root):
    """Run a Python command as a process: (exit code, stdout, stderr)."""

    def start(*words, **variables):
        defaults = {"DETECTRON2_DATASETS": mini_root.parent}
        env = {**os.environ, **{k: str(v) for k, v in {**defaults, **variables}.items()}}
        done = subprocess.run(
            [sys.executable, *map(str, words)], env=env, capture_output=True, text=True, timeout=300
        )
        return done.returncode, done.stdout, done.stderr

    return start


@pytest.fixture
def call(monkeypatch, capfd):
    """Run a tool in this process: (exit code, stdout, stderr)."""

    def call(tool, *words):
        monkeypatch.setattr(sys, "argv", [tool, *map(str, words)])
        capfd.readouterr()
        code = 0
        try:
            runpy.run_path(f"tools/{tool}", run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        out, err = capfd.readouterr()
        return code, out, err

    return call


def train_net(small, *opts, flags=()):
    """The words of a small training of the data set that the registered names stand for."""
    named = [word.replace("test_mini_", "mini_davis_person_") for word in small]
    return ["tools/train_net.py", "--config-file", CONFIG, *flags, *named, *map(str, opts)]


@pytest.fixture
def damaged(mini_root, tmp_path):
    """Register a copy of the training data after ``damage(root, content of the JSON)``."""
    names = []

    def register(damage, split="train"):
        names.append(f"test_damaged_{len(names)}")
        root = tmp_path / names[-1]
        shutil.copytree(mini_root, root)
        json_file = annotations_of(root, split)
        content = json.loads(json_file.read_text())
        damage(root, content)
        json_file.write_text(json.dumps(content))
        register_video_coco_instances(names[-1], json_file, root / "JPEGImages")
        return names[-1]

    yield register
    for name in names:
        unregister(name)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard():
    """A shell that starts the tests in the background has them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _loggers_end_with_the_test():
    """detectron2's loggers would go on writing to what pytest captured for an earlier test."""
    yield
    for name in ("detectron2", "fvcore"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    setup_logger.cache_clear()
