"""Measurements on a GPU beside the solvers: tests of the operations, and a training."""

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.share import CONFIGS, FRAMES, SIZE
from benchmarks.suites import Options, Row
from videogcrf_det.errors import InputError
from videogcrf_det.memory import forget_peak_memory, peak_memory

TESTS = Path("tests/gcrf/test_on_device.py")
TRAINING = "video_gcrf_R_50_C4_4f.yaml"
ITERATIONS = 50
DATA_SET = "benchmark_mini_davis"
LEAST = (48, 64)  # of frames that are drawn


def operations(options: Options) -> Iterable[Row]:
    """The tests of the operations, on the device, against dense float64 solves."""
    if not TESTS.exists():
        raise InputError(f"there is no {TESTS}: run this in the folder of a checkout")
    kind = options.device.type
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "--color=no", str(TESTS), "-k", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    options.on_run()
    lines = (line.split(" ")[:2] for line in done.stdout.splitlines() if "::" in line)
    outcomes = [line for line in lines if line[0] in ("PASSED", "FAILED", "ERROR")]
    if not outcomes:
        raise InputError(f"{' '.join(command)} ran no test: {done.stdout[-500:]}{done.stderr}")
    for name in dict.fromkeys(test.partition("::")[2].split("[")[0] for _, test in outcomes):
        of_name = [outcome for outcome, test in outcomes if f"::{name}" in test]
        passed = of_name.count("PASSED")
        yield {"test": name, "passed": passed, "failed": len(of_name) - passed}


def training(options: Options) -> Iterable[Row]:
    """Iterations of the paper's detector on 4-frame clips of drawn data, with mixed precision."""
    # the other suites do without detectron2
    from detectron2.utils.events import EventStorage

    from videogcrf_det.engine import VideoTrainer

    count = max(2, ITERATIONS // options.shrink)
    with tempfile.TemporaryDirectory() as folder, _drawn_data(Path(folder), options):
        cfg = _training_cfg(Path(folder), options, count)
        torch.manual_seed(0)
        trainer: Any = VideoTrainer(cfg)
        forget = torch.cuda.reset_peak_memory_stats if _is_gpu(options) else forget_peak_memory
        seconds, losses = [], []
        with EventStorage(0) as trainer.storage:
            for trainer.iter in range(count):
                if trainer.iter == 1:  # the first one warms up
                    forget()
                begin = time.perf_counter()
                trainer.run_step()
                if _is_gpu(options):
                    torch.cuda.synchronize(options.device)
                seconds.append(time.perf_counter() - begin)
                losses.append(trainer.storage.latest()["total_loss"][0])
                trainer.storage.step()
                options.on_run()
        memory = torch.cuda.max_memory_allocated() if _is_gpu(options) else peak_memory()
        yield {
            "config": TRAINING,
            "frames": cfg.SOLVER.IMS_PER_BATCH * FRAMES,
            "iterations": count,
            "seconds": statistics.median(seconds[1:]),
            "slowest": max(seconds[1:]),
            "memory": memory,
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }


def _is_gpu(options: Options) -> bool:
    return options.device.type == "cuda"


def _training_cfg(folder: Path, options: Options, count: int) -> Any:
    from videogcrf_det.engine import build_cfg

    boxes = max(4, 512 // options.shrink**2)
    return build_cfg(
        f"{CONFIGS}/{TRAINING}",
        [
            *["MODEL.WEIGHTS", "", "MODEL.DEVICE", str(options.device), "SEED", "1"],
            *["DATASETS.TRAIN", f"('{DATA_SET}',)", "OUTPUT_DIR", str(folder / "out")],
            *["SOLVER.AMP.ENABLED", "True", "SOLVER.MAX_ITER", str(count), "SOLVER.STEPS", "()"],
            *["INPUT.MIN_SIZE_TRAIN", f"({_size(options)[0]},)", "SOLVER.BASE_LR", "0.001"],
            *["SOLVER.IMS_PER_BATCH", str(max(1, 2 // options.shrink))],
            *["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", str(boxes)],
            # weights are random: without its statistics half precision would overflow
            *["MODEL.RESNETS.NORM", "BN", "MODEL.BACKBONE.FREEZE_AT", "0"],
        ],
    )


def _size(options: Options) -> tuple[int, int]:
    """Of a frame, (height, width)."""
    height, width = (
        max(least, side // options.shrink) for least, side in zip(LEAST, SIZE, strict=True)
    )
    return height, width


@contextlib.contextmanager
def _drawn_data(folder: Path, options: Options) -> Iterator[None]:
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from videogcrf_det.data import register_video_coco_instances
    from videogcrf_det.data.davis.prepare import prepare_davis_person
    from videogcrf_det.data.mini_davis import make_mini_davis

    data, annotations = folder / "data", folder / "train.json"
    size = _size(options)
    make_mini_davis(data, num_train=3, num_val=1, num_frames=8, size=size)
    masks = data / "IgnoreMasks"
    resolution = f"{size[0]}p"
    prepare_davis_person(
        data, "train", resolution=resolution, ignore_masks=masks, output=annotations
    )
    register_video_coco_instances(DATA_SET, annotations, data / "JPEGImages")
    try:
        yield
    finally:
        DatasetCatalog.remove(DATA_SET)
        MetadataCatalog.remove(DATA_SET)
