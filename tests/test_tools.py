"""The tools as a user calls them: what they do, and one sentence for whatever is wrong."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from pycocotools import mask as coco_mask

from tests.conftest import CONFIG, train_net
from tests.support.tools import check_nothing_half_written, check_sentence
from videogcrf_det.engine import build_cfg
from videogcrf_det.evaluation.tracking import has_trackeval

TOOLS = sorted(path.name for path in Path("tools").glob("*.py"))
RESULTS = "inference/mini_davis_person_val/coco_instances_results.json"


@pytest.mark.parametrize("tool", TOOLS)
def test_help(call, tool):
    code, out, err = call(tool, "--help")
    assert code == 0
    assert out.startswith("usage: ")
    assert "error: " not in err


def copypaste(folder):
    """The metrics that detectron2 logs for spreadsheets."""
    lines = Path(folder, "log.txt").read_text().splitlines()
    return [line.partition("copypaste: ")[2] for line in lines if "copypaste: " in line]


@pytest.mark.slow
def test_one_and_two_processes(start, call, small, mini_data, tmp_path):
    """Two train and evaluate, two evaluate again, one evaluates: the same detections and AP.

    With batch norm, of whose statistics each process has its own.
    """
    two = ["--num-gpus", "2"]
    small = [*small, "MODEL.RESNETS.NORM", "BN"]
    trained = tmp_path / "trained"
    opts = ["SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 1, "OUTPUT_DIR", trained]
    code, out, err = start(*train_net(small, *opts, flags=two))
    assert code == 0, err
    assert "Rank of current process: 0. World size: 2" in out
    assert (trained / "metrics.json").stat().st_size
    weights = ["MODEL.WEIGHTS", trained / "model_final.pth"]

    both = tmp_path / "both"
    words = train_net(small, *weights, "OUTPUT_DIR", both, flags=[*two, "--eval-only"])
    code, out, err = start(*words)
    assert code == 0, err

    alone = tmp_path / "alone"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes; more of them add in another order
    done = call(
        *["train_net.py", "--config-file", CONFIG, "--eval-only", *small, *weights],
        *["OUTPUT_DIR", alone],
    )
    torch.set_num_threads(threads)
    assert done[0] == 0, done[2]

    of_one = (alone / RESULTS.replace("mini_davis_person_val", mini_data["val"])).read_text()
    assert json.loads(of_one), "nothing was detected: the comparison is empty"
    for folder in (trained, both):
        assert (folder / RESULTS).read_text() == of_one
        assert copypaste(folder) == copypaste(alone)
    # task, names and values, for boxes, masks, temporal stability, tracks, and with TrackEval HOTA
    assert len(copypaste(alone)) == 12 + 3 * has_trackeval()


@pytest.mark.slow
def test_one_process_trains_and_resumes(call, small, tmp_path):
    words = ["train_net.py", "--config-file", CONFIG]
    for flags, iterations in ([], 1), (["--resume"], 3):
        code, _, err = call(*words, *flags, *small, "SOLVER.MAX_ITER", iterations)
        assert code == 0, err
    assert "Starting training from iteration 1" in (tmp_path / "out" / "log.txt").read_text()
    saved = torch.load(tmp_path / "out" / "model_final.pth", weights_only=False)
    assert saved["iteration"] == 2


# Eq. 2 as printed, with a lambda that leaves it without a unique solution
INDEFINITE = ["MODEL.VIDEO_GCRF.SELF_COUPLING", "zero", "MODEL.VIDEO_GCRF.LAMBDA", "1e-6"]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["config", "data"])
def test_bad_input_of_two_processes(start, small, mini_root, tmp_path, where):
    """One sentence, though both processes have it, and though it comes from a loader's worker."""
    opts, sentence = ["MODEL.VIDEO_GCRF.NEIGHBOURHOOD", "5ms"], "'5ms'"
    datasets = mini_root.parent
    if where == "data":
        opts, sentence = ["DATALOADER.NUM_WORKERS", 1], r"^error: cannot read the frame \S+\.jpg"
        datasets = tmp_path
        shutil.copytree(mini_root, datasets / mini_root.name)
        truncate(datasets / mini_root.name, {})
    words = train_net(small, "SOLVER.IMS_PER_BATCH", 2, *opts, flags=["--num-gpus", "2"])
    check_sentence(start(*words, DETECTRON2_DATASETS=datasets), sentence)
    check_nothing_half_written(tmp_path / "out")


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        (
            ["MODEL.VIDEO_GCRF.NEIGHBOURHOOD", "5ms"],
            r"MODEL\.VIDEO_GCRF\.NEIGHBOURHOOD '5ms'.*fc",
        ),
        (["INPUT.CLIP.NUM_FRAMES", "0"], r"INPUT\.CLIP\.NUM_FRAMES must be at least 1, got 0"),
        (["MODEL.VIDEO_GCRF.IN_FEATURES", "['p9']"], r"IN_FEATURES \['p9'\] must name .*p2, p3"),
        (["DATASETS.TRAIN", "('gone',)"], r"'gone' is not registered: use another, such as \w+"),
        (["MODEL.WEIGHTS", "gone.pth"], r"gone\.pth.*: check the path in MODEL\.WEIGHTS"),
        (["SOLVER.LR", "1"], r"Non-existent key: SOLVER\.LR"),
        (
            INDEFINITE,
            r"MODEL\.VIDEO_GCRF: .*not positive definite, .* LAMBDA = 1e-06; .*larger LAMBDA",
        ),
    ],
)
def test_bad_values(call, small, tmp_path, opts, sentence):
    words = ["train_net.py", "--config-file", CONFIG, *small, *opts]
    check_sentence(call(*words), sentence)
    check_nothing_half_written(tmp_path)


@pytest.mark.parametrize("flag", ["--resume", "--eval-only"])
def test_a_checkpoint_of_another_architecture(call, small, tmp_path, flag):
    weights = tmp_path / "weights" / "r18.pth"
    weights.parent.mkdir()
    torch.save({"model": build_model(build_cfg(CONFIG, small)).state_dict()}, weights)
    opts = ["MODEL.RESNETS.DEPTH", 50, "MODEL.WEIGHTS", weights]
    done = call("train_net.py", "--config-file", CONFIG, flag, *small, *opts)
    check_sentence(done, r"another architecture.*MODEL\.WEIGHTS.*--config-file")
    check_nothing_half_written(tmp_path / "out")


def test_an_unregistered_test_set(call, small, tmp_path):
    """It is named at once, in training as well."""
    words = ["--config-file", CONFIG, *small, "DATASETS.TEST", "('gone',)"]
    weights = tmp_path / "weights.pth"
    torch.save({"model": build_model(build_cfg(CONFIG, small)).state_dict()}, weights)
    for flags in ([], ["--eval-only"]):
        done = call("train_net.py", *flags, *words, "MODEL.WEIGHTS", weights)
        check_sentence(done, "'gone' is not registered")
        assert "Starting training" not in done[1]
        check_nothing_half_written(tmp_path / "out")


def truncate(root, content):
    for path in (root / "JPEGImages").rglob("*.jpg"):
        path.write_bytes(path.read_bytes()[:400])


def shrink_masks(root, content):
    for annotation in content["annotations"]:
        mask = coco_mask.encode(np.ones((24, 32), dtype=np.uint8, order="F"))
        annotation["segmentation"] = {"size": [24, 32], "counts": mask["counts"].decode()}


def no_persons(root, content):
    content["annotations"] = []


def do_not_care(root, content):
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1


def no_frames(root, content):
    content["videos"].append({"id": 99, "name": "walk", "length": 0})


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, r"cannot read the frame \S+\.jpg \(.*\): copy it again"),
        (shrink_masks, r"the annotation \d+ in \S+\.json has a mask of the size \[24, 32\]"),
        (no_persons, r"the training data \w+ has no annotated instances: check"),
        (do_not_care, r"the training data \w+ has no annotated instances: check"),
        (no_frames, r"the video 'walk' in \S+\.json has no frames: add them"),
    ],
)
def test_bad_training_data(call, small, damaged, tmp_path, damage, sentence):
    opts = ["DATASETS.TRAIN", f"('{damaged(damage)}',)"]
    check_sentence(call("train_net.py", "--config-file", CONFIG, *small, *opts), sentence)
    check_nothing_half_written(tmp_path / "out")


def test_bad_training_data_in_a_worker_of_the_loader(call, small, damaged, tmp_path):
    opts = ["DATASETS.TRAIN", f"('{damaged(truncate)}',)", "DATALOADER.NUM_WORKERS", 1]
    done = call("train_net.py", "--config-file", CONFIG, *small, *opts)
    check_sentence(done, r"^error: cannot read the frame \S+\.jpg \(.*\): copy it again$")
    check_nothing_half_written(tmp_path / "out")


def test_a_sequence_without_frames(call, damaged, tmp_path):
    def empty(root, content):
        for path in (root / "JPEGImages" / "48p" / "walk-001").iterdir():
            path.unlink()

    damaged(empty)
    output = tmp_path / "out" / "persons.json"
    done = call(
        *["prepare_davis_person.py", "--root", tmp_path / "test_damaged_0", "--split", "train"],
        *["--resolution", "48p", "--output", output],
    )
    check_sentence(done, "walk-001: there are no frames")
    check_nothing_half_written(tmp_path / "out")


@pytest.fixture
def without_detectron2(tmp_path):
    """A folder for PYTHONPATH that hides an installed detectron2."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery as machinery\n"
        "stock = machinery.PathFinder.find_spec\n"
        "def find_spec(name, path=None, target=None):\n"
        "    if name.partition('.')[0] != 'detectron2':\n"
        "        return stock(name, path, target)\n"
        "machinery.PathFinder.find_spec = find_spec\n"
    )
    return tmp_path


SOLVE = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import videogcrf_det
assert ["detectron2 is not installed" in str(w.message) for w in caught].count(True) == 1
import sys, torch
from videogcrf_det.gcrf import SpatioTemporalOperator, gcrf_inference, temporal_coupling
unary, spatial, temporal = torch.randn(1, 3, 4, 2), torch.randn(1, 3, 5, 4), torch.randn(1, 3, 5, 4)
coupling = temporal_coupling(3)
x = gcrf_inference(unary, spatial, temporal, coupling, 1.0, rtol=1e-6)
dense = SpatioTemporalOperator(spatial, temporal, coupling, 1.0).dense()
expected = torch.linalg.solve(dense, unary.view(1, 12, 2)).view_as(unary)
assert torch.allclose(x, expected, atol=1e-4)
assert "detectron2" not in sys.modules
"""


@pytest.mark.slow
def test_without_detectron2_the_method_works_and_tools_say_what_is_missing(
    start, without_detectron2
):
    code, _, err = start("-c", SOLVE, PYTHONPATH=without_detectron2)
    assert code == 0, err
    for tool in ("train_net.py", "make_mini_davis.py"):
        done = start(f"tools/{tool}", "--help", PYTHONPATH=without_detectron2)
        check_sentence(done, "detectron2 is not installed.*: run `make setup`")
