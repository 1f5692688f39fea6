"""Overlaps of masks, and the pairs that they make.

Letters: N and M masks, H x W a frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

RLE = dict[str, Any]  # a run-length encoded mask of pycocotools


def encode(masks: Iterable[NDArray[np.bool_]]) -> list[RLE]:
    """Run-length encode masks (H, W)."""
    return [coco_mask.encode(np.asfortranarray(mask, np.uint8)) for mask in masks]


def run_lengths(rle: Mapping[str, Any]) -> NDArray[np.int64]:
    """The runs of a compressed RLE, of zeros and of ones by turns, as pycocotools' rleFrString.

    pycocotools has no function for it, and decoding every pixel takes much longer.
    """
    text = rle["counts"]
    read = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8)
    codes = read.astype(np.int64) - 48
    ends = np.flatnonzero(codes & 32 == 0)  # the last code of each number
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 31) << 5 * places, starts)
    runs -= np.where(codes[ends] & 16, np.int64(1) << 5 * lengths, 0)
    # from the fourth on, they are differences to the last but one
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def end_to_end(masks: Mapping[int, RLE], sizes: Sequence[tuple[int, int]]) -> RLE:
    """The masks of an instance in all frames of a video as one mask: their pixels end to end.

    An RLE runs down the columns, so this is the RLE of the frames side by side, whose heights may
    differ; its size is that of one long column.

    Args:
        masks: by the position of the frame; there is none in the other frames.
        sizes: (H, W) of each frame.
    """
    begins = np.concatenate([[0], np.cumsum([height * width for height, width in sizes])])
    # where zeros turn into ones or back: every mask begins and ends with zeros
    turns = [np.zeros(0, np.int64)]
    for position, mask in masks.items():
        runs = np.cumsum(run_lengths(mask))
        turns.append(begins[position] + (runs if len(runs) % 2 == 0 else runs[:-1]))
    places, counts = np.unique(np.concatenate(turns), return_counts=True)
    # ones up to the end of a frame may go on in the next one, and end with the last one
    places = places[(counts % 2 == 1) & (places < begins[-1])]
    size = [int(begins[-1]), 1]
    runs = np.diff(np.concatenate([[0], places, [begins[-1]]]))
    return coco_mask.frPyObjects({"size": size, "counts": runs.tolist()}, *size)


def rle_iou(first: list[RLE], second: list[RLE]) -> NDArray[np.float64]:
    """Intersection over union of all pairs of N and M encoded masks: (N, M); see mask_iou."""
    if not first or not second:
        return np.zeros((len(first), len(second)))
    return coco_mask.iou(first, second, [0] * len(second))


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union of all pairs of masks.

    Args:
        first: (N, H, W) masks.
        second: (M, H, W) masks.

    Returns:
        (N, M); 0 where both are empty.
    """
    # of the runs, not the pixels: a tenth of the time, and no copies of large frames in memory
    return rle_iou(encode(first), encode(second))


def match(overlap: NDArray[np.floating], least: float) -> dict[int, int]:
    """Pair rows with columns, the best pair first, each at most once.

    Args:
        overlap: (N, M) overlaps.
        least: pairs with less overlap are not made.

    Returns:
        the column of each row that has one.
    """
    pairs: dict[int, int] = {}
    for position in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(position), overlap.shape[1])
        if overlap[row, column] < least:
            break
        if row not in pairs and column not in pairs.values():
            pairs[row] = column
    return pairs
