"""The main job from end to end on drawn data: draw, prepare, train, evaluate, show."""

import json
import math
import time
from pathlib import Path

from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger

from videogcrf_det.data import register_video_coco_instances
from videogcrf_det.data.mini_davis import SIZE, make_mini_davis
from videogcrf_det.data.prepare import prepare_davis_person
from videogcrf_det.engine import build_cfg, run
from videogcrf_det.files import atomic_write
from videogcrf_det.visualization import Step, visualize_predictions, write_report

SPLITS = ("train", "val")


def run_quickstart(config_file: str, output_dir: str | Path, opts: list[str]) -> Path:
    """Train and evaluate ``config_file`` on the drawn data set and write a page about it.

    A run that was interrupted goes on where it was; one that was finished only evaluates again.

    Args:
        config_file: trained and evaluated as it is, but for the data sets and the output folder.
        output_dir: gets ``datasets/``, ``train/`` (checkpoints, logs and figures),
            ``results.json`` with the metrics in percent, ``predictions/`` (PNG and mp4), and the
            page, ``index.html``, with what it shows.
        opts: ``KEY VALUE`` pairs for the config.

    Returns:
        the page.
    """
    folder = Path(output_dir)
    print(f"[1/3] Drawing the data set into {folder / 'datasets'}", flush=True)
    names = prepare_data(folder / "datasets")
    cfg = build_cfg(
        config_file,
        [
            *["DATASETS.TRAIN", f"('{names['train']}',)", "DATASETS.TEST", f"('{names['val']}',)"],
            *["OUTPUT_DIR", str(folder / "train"), *opts],
        ],
    )
    print(f"[2/3] Training {cfg.SOLVER.MAX_ITER} iterations on {cfg.MODEL.DEVICE}", flush=True)
    for logger in ("fvcore", "detectron2"):
        setup_logger(cfg.OUTPUT_DIR, name=logger)
    seed_all_rng(cfg.SEED if cfg.SEED >= 0 else None)
    with atomic_write(Path(cfg.OUTPUT_DIR, "config.yaml")) as path:
        path.write_text(cfg.dump())
    facts = {"iterations": str(cfg.SOLVER.MAX_ITER)}
    fresh = not Path(cfg.OUTPUT_DIR, "last_checkpoint").exists()
    start = time.perf_counter()
    results = run(cfg, resume=True)
    if fresh:  # otherwise an earlier run did part of the work
        facts["training and evaluation"] = f"{(time.perf_counter() - start) / 60:.1f} min"

    print("[3/3] Drawing the predictions and writing the page", flush=True)
    with atomic_write(folder / "results.json") as path:
        # JSON has no nan, which stands for sizes of instances that the data set does not have
        numbers = {
            task: {name: None if math.isnan(value) else value for name, value in metrics.items()}
            for task, metrics in results.items()
        }
        path.write_text(json.dumps(numbers, indent=2) + "\n")
    detections = Path(cfg.OUTPUT_DIR, "inference", names["val"], "coco_instances_results.json")
    visualize_predictions(cfg, folder / "predictions", predictions=detections)
    page = write_report(
        folder,
        cfg.OUTPUT_DIR,
        dataset=names["val"],
        facts=facts,
        steps=_steps(config_file, folder),
        title="VideoGCRF on drawn videos",
        summary=(
            "A Mask R-CNN with a VideoGCRF between its features and RoI pooling, trained from "
            f"scratch on clips of {cfg.INPUT.CLIP.NUM_FRAMES} frames and evaluated on videos that "
            "it has not seen. Striped people are do-not-care: the evaluation leaves them out."
        ),
    )
    scores = ", ".join(f"{name} {results['segm'][name]:.1f}" for name in ("AP", "AP50", "AP75"))
    print(f"\nmask {scores}, in {folder / 'results.json'}")
    print(f"pictures and videos: {folder / 'predictions'}\npage: {page}")
    return page


def prepare_data(root: Path) -> dict[str, str]:
    """Draw the data set into ``root`` unless it is there; its registered name by split."""
    data = root / "mini_davis"
    if not (data / "mini_davis.json").exists():
        make_mini_davis(data)
    names = {}
    for split in SPLITS:
        names[split] = f"demo_person_{split}"
        annotations = data / "annotations" / f"mini_davis_person_{split}.json"
        prepare_davis_person(
            data,
            split,
            resolution=f"{SIZE[0]}p",
            ignore_masks=data / "IgnoreMasks",
            output=annotations,
        )
        register_video_coco_instances(names[split], annotations, data / "JPEGImages")
    return names


def _steps(config_file: str, folder: Path) -> list[Step]:
    """The same by hand, for the page."""
    data = f"{folder}/datasets/mini_davis"
    env = f"DETECTRON2_DATASETS={folder}/datasets"
    prepare = " ".join(
        [
            f"python tools/prepare_davis_person.py --root {data} --split train",
            f"--resolution {SIZE[0]}p --ignore-masks {data}/IgnoreMasks",
            f"--output {data}/annotations/mini_davis_person_train.json",
        ]
    )
    return [
        Step("Draw the videos", f"python tools/make_mini_davis.py --output {data}"),
        Step("Collect the persons, for train and val", prepare),
        Step("Train and evaluate", f"{env} python tools/train_net.py --config-file {config_file}"),
        Step(
            "Look at the predictions",
            f"{env} python tools/visualize_predictions.py --config-file {config_file} "
            f"--opts MODEL.WEIGHTS {folder}/train/model_final.pth",
        ),
    ]
