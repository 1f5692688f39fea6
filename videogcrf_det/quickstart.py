"""The main job on drawn data: a detector, raw videos, and the same detector steadier."""

import math
import time
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from videogcrf_det.data import register_video_coco_instances
from videogcrf_det.data.davis.prepare import prepare_davis_person
from videogcrf_det.data.degrade.dataset import degrade_dataset
from videogcrf_det.data.mini_davis import SIZE, make_mini_davis
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.engine import build_cfg, run
from videogcrf_det.evaluation.record import write_metrics
from videogcrf_det.files import atomic_write
from videogcrf_det.report import Step, write_report
from videogcrf_det.steady.detector import load_detector
from videogcrf_det.steady.fit import FitOptions
from videogcrf_det.steady.fit_video import fit_video

SPLITS = ("train", "val")
SPEED = 0.4  # of everything that moves: people then move as much as in DAVIS
ITERATIONS = 80  # of fitting
Results = dict[str, Any]


def run_quickstart(config_file: str, output_dir: str | Path, opts: list[str]) -> Path:
    """Train a detector on clear frames, fit fields to raw videos, evaluate both, write a page.

    A run that was interrupted goes on where it was; one that was finished only evaluates again.

    Args:
        config_file: of the detector, used as it is but for the data sets and the output folders.
        output_dir: gets ``datasets/``, ``per_frame/`` (the detector: checkpoints, logs, metrics),
            ``fields.pth`` and ``fields_fit/``, ``steady/`` (metrics of the detector with fields),
            ``results.json`` with the metrics of both in percent, and the page, ``index.html``.
        opts: ``KEY VALUE`` pairs for the config.

    Returns:
        the page.
    """
    folder = Path(output_dir)
    start = time.perf_counter()
    print(f"[1/4] Drawing videos into {folder / 'datasets'}", flush=True)
    names = prepare_data(folder / "datasets")
    tests = f"('{names['degraded']}', '{names['val']}')"
    cfg = build_cfg(
        config_file,
        [
            *["DATASETS.TRAIN", f"('{names['train']}',)", "DATASETS.TEST", tests],
            *["OUTPUT_DIR", str(folder / "per_frame"), *opts],
        ],
    )
    print(f"[2/4] Training a detector, {cfg.SOLVER.MAX_ITER} iterations", flush=True)
    for logger in ("fvcore", "detectron2"):
        setup_logger(cfg.OUTPUT_DIR, name=logger)
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    _write_config(cfg)
    results = {"per_frame": run(cfg, resume=True)}

    print("[3/4] Fitting fields to raw videos: no label is read", flush=True)
    weights = str(Path(cfg.OUTPUT_DIR, "model_final.pth"))
    detector = load_detector(str(Path(cfg.OUTPUT_DIR, "config.yaml")), weights)
    raw = folder / "datasets" / "mini_davis" / "JPEGImages" / f"{SIZE[0]}p" / "walk-*"
    fields = folder / "fields.pth"
    fit_video(detector, [str(raw)], fields, FitOptions(iterations=ITERATIONS), resume=True)

    print("[4/4] Evaluating the detector with the fields, and writing the page", flush=True)
    steady = changed_cfg(
        cfg,
        *["MODEL.VIDEO_GCRF.FIELDS", str(fields), "MODEL.WEIGHTS", weights],
        *["OUTPUT_DIR", str(folder / "steady")],
    )
    _write_config(steady)
    results["steady"] = run(steady, eval_only=True)
    by_frames = {
        run_name: {"degraded": found[names["degraded"]], "clear": found[names["val"]]}
        for run_name, found in results.items()
    }
    write_metrics(folder / "results.json", by_frames)
    facts = _facts(by_frames)
    page = write_report(
        folder,
        steady.OUTPUT_DIR,
        cfg.OUTPUT_DIR,
        dataset=names["degraded"],
        facts={
            **{text: value for text, value in facts.items() if "clear" in text},
            "all of it": f"{(time.perf_counter() - start) / 60:.1f} min",
        },
        steps=_steps(config_file, folder),
        title="The same detector, steady over time",
        summary=(
            "A Mask R-CNN was trained on clear frames. Fields between its backbone and its heads "
            "were then fitted to raw videos, without a label. Here both see videos that neither "
            "has seen, two in five frames of them blurred, noisy, dark or hidden."
        ),
    )
    for text, value in facts.items():
        print(f"{text}: {value}")
    print(f"page: {page}")
    return page


def prepare_data(root: Path) -> dict[str, str]:
    """Draw the data sets into ``root`` unless they are there; registered names.

    Returns:
        of "train" and "val", and of "degraded": the videos of "val" with degraded frames.
    """
    data = root / "mini_davis"
    if not (data / "mini_davis.json").exists():
        make_mini_davis(data, speed=SPEED)
    names, files = {}, {}
    for split in SPLITS:
        names[split] = f"demo_person_{split}"
        files[split] = data / "annotations" / f"mini_davis_person_{split}.json"
        prepare_davis_person(
            data,
            split,
            resolution=f"{SIZE[0]}p",
            ignore_masks=data / "IgnoreMasks",
            output=files[split],
        )
        register_video_coco_instances(names[split], files[split], data / "JPEGImages")
    degraded = root / "mini_davis_degraded"
    if not degraded.exists():
        degrade_dataset([files["val"]], data / "JPEGImages", degraded)
    names["degraded"] = "demo_degraded_person_val"
    register_video_coco_instances(
        names["degraded"],
        degraded / "annotations" / f"degraded_{files['val'].name}",
        degraded / "JPEGImages",
    )
    return names


def _write_config(cfg: CfgNode) -> None:
    with atomic_write(Path(cfg.OUTPUT_DIR, "config.yaml")) as path:
        path.write_text(cfg.dump())


def _facts(results: dict[str, dict[str, Results]]) -> dict[str, str]:
    """The head of the page: metrics without and with fields."""
    rows = {
        f"mask {metric}, {frames} frames": ("segm", metric, frames)
        for frames in ("degraded", "clear")
        for metric in ("AP", "AP50")
    }
    rows["stability, degraded frames"] = ("temporal_stability", "predictions", "degraded")
    return {
        text: " → ".join(
            f"{results[run_name][frames].get(task, {}).get(metric, math.nan):.1f}"
            for run_name in ("per_frame", "steady")
        )
        for text, (task, metric, frames) in rows.items()
    }


def _steps(config_file: str, folder: Path) -> list[Step]:
    """The same by hand, for the page."""
    data = f"{folder}/datasets/mini_davis"
    env = f"DETECTRON2_DATASETS={folder}/datasets"
    prepare = " ".join(
        [
            f"videogcrf prepare-davis-person --root {data} --split train",
            f"--resolution {SIZE[0]}p --ignore-masks {data}/IgnoreMasks",
            f"--output {data}/annotations/mini_davis_person_train.json",
        ]
    )
    fit = f"videogcrf fit --config-file {folder}/per_frame/config.yaml"
    fit += f" --weights {folder}/per_frame/model_final.pth --iterations {ITERATIONS}"
    return [
        Step(
            "Draw the videos",
            f"videogcrf make-mini-davis --output {data} --speed {SPEED}",
        ),
        Step("Collect the persons, for train and val", prepare),
        Step("Train", f"{env} videogcrf train --config-file {config_file}"),
        Step(
            "Fit fields to raw videos",
            f"{fit} --videos '{data}/JPEGImages/{SIZE[0]}p/walk-*' --output {folder}/fields.pth",
        ),
        Step(
            "Use them on any video",
            f"videogcrf demo --fields {folder}/fields.pth --input VIDEO --output steady.mp4 "
            "--compare-baseline",
        ),
    ]
