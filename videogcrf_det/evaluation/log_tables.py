"""The metrics of an evaluation as tables for the log."""

from typing import Any

from tabulate import tabulate

from videogcrf_det.evaluation import tracking, ytvis
from videogcrf_det.evaluation.coco_metrics import METRICS
from videogcrf_det.evaluation.record import Evaluation


def metrics_of_frames(content: Evaluation) -> str:
    """AP and stability of each sequence and of all.

    Args:
        content: the evaluation.
    """
    tasks = [task for task in ("bbox", "segm") if task in content.results]
    headers = ["sequence", "frames", "instances"]
    headers += [name for task in tasks for name in (f"{task} AP", *METRICS[1:])]
    headers += ["stability", "of truth", "pairs"]
    rows = [
        [
            *(name, metrics["frames"], metrics["instances"]),
            *(metrics[task][metric] for task in tasks for metric in METRICS),
            *metrics["temporal_stability"].values(),
        ]
        for name, metrics in _rows(content)
    ]
    return _table(rows, headers)


def metrics_of_tracks(content: Evaluation) -> str:
    """AP of tracks, HOTA and so on of each sequence and of all."""
    headers = ["sequence", *(f"track {m}" for m in ytvis.METRICS), *tracking.METRICS]
    rows = [
        [name, *metrics["ytvis"].values(), *metrics["tracking"].values()]
        for name, metrics in _rows(content)
        if "ytvis" in metrics  # still images have none
    ]
    return _table(rows, headers)


def _rows(content: Evaluation) -> list[tuple[str, dict[str, Any]]]:
    """The metrics of each sequence by its name, and those of all."""
    sequences = content.sequences
    total = {key: sum(s[key] for s in sequences.values()) for key in ("frames", "instances")}
    return [*sequences.items(), ("all", {**total, **content.results})]


def _table(rows: list[list[Any]], headers: list[str]) -> str:
    return tabulate(rows, headers, floatfmt=".1f", missingval="-", tablefmt="pipe")
