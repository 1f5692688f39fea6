"""The predictions of two models beside the ground truth, where they differ most.

Letters: H x W pixels of a frame.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from videogcrf_det.data import load_videos
from videogcrf_det.data.images import read_image, read_label_map
from videogcrf_det.data.mappers import named_if_unreadable
from videogcrf_det.drawing.overlay import Picture, enlarge
from videogcrf_det.drawing.panels import BACKGROUND, side_by_side, write_png
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.record import only_dataset
from videogcrf_det.progress import progress
from videogcrf_det.segmentation.drawing import (
    LabelMap,
    Palette,
    draw_labels,
    legend,
    palette_of,
)

PREDICTIONS = "sem_seg_predictions.json"  # as detectron2's SemSegEvaluator writes it
SPACING = 5  # frames of one video between two that are shown, which would be much the same
Record = dict[str, Any]


class Compared(NamedTuple):
    """A frame as two models and the annotation label it."""

    record: Record
    base: LabelMap  # (H, W), as the others
    run: LabelMap
    truth: LabelMap


def compare_predictions(
    run: str | Path,
    baseline: str | Path,
    output: str | Path,
    *,
    dataset: str | None = None,
    num_frames: int = 4,
) -> None:
    """Write a picture of the frames that two models label most differently.

    Args:
        run: OUTPUT_DIR of a model with a VideoGCRF, with its evaluation.
        baseline: the same of the per-frame network.
        output: a PNG file.
        dataset: a data set that both were evaluated on, by default the only one of ``run``.
        num_frames: how many frames are shown at most.

    Raises:
        InputError: something of the above is not usable, or the models agree everywhere. Nothing
            has been written then.
    """
    run, baseline, output = Path(run), Path(baseline), Path(output)
    if output.suffix.lower() != ".png" or output.is_dir():
        raise InputError(f"--output must name a .png file, got {output}")
    if num_frames < 1:
        raise InputError(f"--num-frames must be at least 1, got {num_frames}")
    dataset = only_dataset(run, PREDICTIONS) if dataset is None else dataset
    videos, palette = load_videos(dataset), palette_of(dataset)
    if palette is None:
        raise InputError(f"the data set {dataset} names no labels (stuff_classes, stuff_colors)")
    found = [
        read_predictions(folder / "inference" / dataset / PREDICTIONS, videos)
        for folder in (baseline, run)
    ]
    chosen = choose_frames(videos, *found, palette=palette, number=num_frames)
    if not chosen:
        raise InputError(f"{baseline} and {run} label every pixel alike: name two models")
    write_png(output, draw_comparison(chosen, palette))


def _key(file_name: str) -> tuple[str, ...]:
    """The name of a frame's file, wherever the data sets are."""
    return Path(file_name).parts[-2:]


def read_predictions(path: Path, videos: Sequence[Record]) -> dict[tuple[str, ...], list[Record]]:
    """The regions of all frames, run-length encoded, by the last two parts of a frame's file name.

    Raises:
        InputError: the file is missing, is no such list, or is of another data set.
    """
    found: dict[tuple[str, ...], list[Record]] = {
        _key(record["file_name"]): [] for video in videos for record in video["frames"]
    }
    try:
        for region in json.loads(path.read_text(encoding="utf-8")):
            found[_key(region["file_name"])].append(region)
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist: evaluate the model with train_net.py --eval-only"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not what the evaluation writes for this data set "
            f"({type(error).__name__}: {error}): evaluate again with train_net.py --eval-only"
        ) from None
    for name, regions in found.items():
        if not regions:
            raise InputError(f"{path} has no labels of {'/'.join(name)}: evaluate again")
    return found


def choose_frames(
    videos: Sequence[Record],
    base: Mapping[tuple[str, ...], list[Record]],
    run: Mapping[tuple[str, ...], list[Record]],
    *,
    palette: Palette,
    number: int,
) -> list[Compared]:
    """The frames with most annotated pixels that two models label differently, most first.

    Of frames of one video that are closer than SPACING, the one that differs most counts.
    """
    places = [(video, index) for video in videos for index in range(len(video["frames"]))]
    counts = []
    for video, index in progress(places, desc="comparing", unit="frame", leave=False):
        compared = _compare(video["frames"][index], base, run)
        known = compared.truth < len(palette.names)
        counts.append(int(((compared.base != compared.run) & known).sum()))
    taken: list[tuple[Record, int]] = []
    for position in np.argsort(counts, kind="stable")[::-1]:
        video, index = places[position]
        near = any(video is other and abs(index - at) < SPACING for other, at in taken)
        if counts[position] and not near and len(taken) < number:
            taken.append((video, index))
    return [_compare(video["frames"][index], base, run) for video, index in taken]


def _compare(
    record: Record,
    base: Mapping[tuple[str, ...], list[Record]],
    run: Mapping[tuple[str, ...], list[Record]],
) -> Compared:
    key = _key(record["file_name"])
    return Compared(record, _decode(base[key]), _decode(run[key]), read_labels(record))


def _decode(regions: Sequence[Record]) -> LabelMap:
    labels = np.full(regions[0]["segmentation"]["size"], 255)
    for region in regions:
        labels[coco_mask.decode(region["segmentation"]) > 0] = region["category_id"]
    return labels


def read_labels(record: Record) -> LabelMap:
    """The annotation (H, W) of a frame."""
    with named_if_unreadable(record):
        return read_label_map(record["sem_seg_file_name"]).astype(int)


def draw_comparison(frames: Sequence[Compared], palette: Palette) -> Picture:
    """A row for each frame: the frame, the labels of both models and the annotation; a legend.

    Above a prediction stands how many of the annotated pixels it has right.
    """
    rows = []
    for frame in frames:
        with named_if_unreadable(frame.record):
            image = read_image(frame.record["file_name"], "RGB")
        known = frame.truth < len(palette.names)
        panels = [
            (f"{frame.record['video_name']}, frame {frame.record['frame_id']}", enlarge(image))
        ]
        for caption, labels in [("Base", frame.base), ("VideoGCRF", frame.run)]:
            right = (labels == frame.truth)[known].mean() if known.any() else 0.0
            panels.append((f"{caption}: {right:.1%} right", draw_labels(image, labels, palette)))
        panels.append(("Ground truth", draw_labels(image, frame.truth, palette)))
        rows.append(side_by_side(panels))
    width = max(row.shape[1] for row in rows)
    sheet = np.full((sum(row.shape[0] for row in rows), width, 3), BACKGROUND, np.uint8)
    top = 0
    for row in rows:
        sheet[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0]
    return np.concatenate([sheet, legend(palette, width, 1.2)])
