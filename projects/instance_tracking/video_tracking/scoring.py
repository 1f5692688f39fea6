"""J and F of a folder of masks, any method's, as the benchmarks' own code counts them.

Of DAVIS-2016, an object is all that a mask shows. Of DAVIS-2017, there are as many objects as the
highest id in the first mask says: an id that it leaves out counts as an object that is nowhere,
with J and F of 1 where nothing has it. Pixels of 255 are background in annotations. (In training
they have no label; see davis.py.) H x W is a frame.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from video_tracking.davis import VOID, FilePath, Record, read_ids
from video_tracking.measures import PixelCounts, contour_accuracy, region_similarity, summary
from video_tracking.results import require_results, result_file
from videogcrf_det.data import load_videos
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress

METRICS = ("J", "J-recall", "J-decay", "F", "F-recall", "F-decay")
logger = logging.getLogger("detectron2.evaluation.tracking")  # whose handlers there are


class Scores(NamedTuple):
    """The metrics of a folder of masks, in percent."""

    metrics: dict[str, float]  # means over objects, J&F, and the paper's mean pixel IoU
    sequences: dict[str, dict[str, float]]  # the same of each sequence

    def table(self) -> str:
        """All of it, for people to read."""
        names = [*METRICS, "J&F", "mIoU"]
        rows = [[name, *map(found.get, names)] for name, found in self.sequences.items()]
        rows.append(["mean over objects", *map(self.metrics.get, names)])
        return tabulate(rows, ["sequence", *names], floatfmt=".1f", tablefmt="pipe")


def score_masks(dataset: str, masks: FilePath, sequences: Sequence[str] = ()) -> Scores:
    """Measure a folder of indexed PNGs, ``<masks>/<sequence>/00000.png``.

    The first frame of a sequence, which is given, the last, and frames without annotation do not
    count, and need no result.

    Args:
        dataset: a registered data set of davis.py.
        masks: the folder; results of DAVIS-2016 have any value but 0 on the object.
        sequences: which; all if there are none.

    Raises:
        InputError: a sequence or a result is missing, or a result does not fit its frame or has an
            object that the annotations lack.
    """
    known = frames_by_sequence(dataset)
    for name in sequences:
        if name not in known:
            raise InputError(f"{dataset} has no sequence {name!r}, only {', '.join(known)}")
    chosen = {name: _measured(known[name]) for name in sequences or known}
    for name, frames in chosen.items():
        require_results(masks, name, frames)
    objects: list[dict[str, float]] = []
    counts = PixelCounts(np.zeros(2, int), np.zeros(2, int))
    metrics = {}
    for name, frames in progress(chosen.items(), desc="J and F", leave=False):
        if not frames:
            logger.warning(f"{name} has no annotated frame to measure but first and last")
            continue
        found, pixels = _score_sequence(Path(masks, name), known[name][0], frames)
        objects += found
        counts = counts.plus(pixels)
        metrics[name] = _metrics(found, pixels)
    return Scores(_metrics(objects, counts), metrics)


def frames_by_sequence(dataset: str) -> dict[str, list[Record]]:
    """Sequence -> a record of each of its frames, in order; that of the first object."""
    frames: dict[str, dict[int, Record]] = {}
    for video in load_videos(dataset):
        for record in video["frames"]:
            frames.setdefault(record["sequence"], {}).setdefault(record["frame_id"], record)
    return {name: list(of_sequence.values()) for name, of_sequence in frames.items()}


def _measured(frames: Sequence[Record]) -> list[Record]:
    return [frame for frame in frames[1:-1] if "mask_file" in frame]


def _score_sequence(
    folder: Path, first: Record, frames: Sequence[Record]
) -> tuple[list[dict[str, float]], PixelCounts]:
    """The metrics of each object of a sequence, and pixels of all of them."""
    alone = first["object_id"] is None
    count = 1 if alone else int(_annotated(first).max())
    values: list[list[tuple[float, float]]] = [[] for _ in range(count)]
    counts = PixelCounts(np.zeros(2, int), np.zeros(2, int))
    for frame in frames:
        path = result_file(folder, frame)
        found, true = read_ids(path), _annotated(frame)
        if alone:
            found, true = (found > 0).astype(np.uint8), (true > 0).astype(np.uint8)
        elif found.max() > count:
            raise InputError(
                f"{path} has an object {found.max()}, and the first mask {first['mask_file']} "
                f"none above {count}: number objects as it does, and leave all else 0"
            )
        for key, measured in enumerate(values, start=1):
            pair = found == key, true == key
            measured.append((region_similarity(*pair), contour_accuracy(*pair)))
            counts = counts.plus(PixelCounts.of(*pair))
    return [_summaries(measured) for measured in values], counts


def _annotated(frame: Record) -> NDArray[np.uint8]:
    """The ids (H, W) of a frame's mask; 255 is an id in DAVIS-2016 alone."""
    ids = read_ids(frame["mask_file"])
    return ids if frame["object_id"] is None else np.where(ids == VOID, 0, ids).astype(np.uint8)


def _summaries(measured: Sequence[tuple[float, float]]) -> dict[str, float]:
    metrics = [value for measure in zip(*measured, strict=True) for value in summary(measure)]
    return dict(zip(METRICS, metrics, strict=True))


def _metrics(objects: Sequence[Mapping[str, float]], pixels: PixelCounts) -> dict[str, float]:
    """Means over objects, J&F, and the mean pixel IoU, in percent."""
    means = {
        name: 100 * sum(found[name] for found in objects) / len(objects) if objects else math.nan
        for name in METRICS
    }
    return {**means, "J&F": (means["J"] + means["F"]) / 2, "mIoU": 100 * pixels.mean_iou()}
