"""The measures of the DAVIS benchmark (Perazzi et al., CVPR 2016), and the paper's.

Masks are (H, W), bool.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
TOLERANCE = 0.008  # of boundaries, as a share of the frame's diagonal
NUM_BINS = 4  # parts of a sequence, of which decay compares the first and the last


def region_similarity(predicted: Mask, annotated: Mask, void: Mask | None = None) -> float:
    """J: intersection over union of masks; 1 if both are empty. Void pixels do not count."""
    counted = np.True_ if void is None else ~void
    union = np.count_nonzero((predicted | annotated) & counted)
    hit = np.count_nonzero(predicted & annotated & counted)
    return hit / union if union else 1.0


def contour_accuracy(
    predicted: Mask, annotated: Mask, void: Mask | None = None, tolerance: float = TOLERANCE
) -> float:
    """F: the harmonic mean of precision and recall of boundary pixels.

    One is right if there is one of the other mask within ``tolerance`` times the diagonal, rounded
    up to pixels. Without any boundary of either mask F is 1.
    """
    counted = np.True_ if void is None else ~void
    found, true = _boundary(predicted & counted), _boundary(annotated & counted)
    if not found.any() and not true.any():
        return 1.0
    if not found.any() or not true.any():
        return 0.0
    radius = math.ceil(tolerance * math.hypot(*predicted.shape))
    precision = (found & _dilated(true, radius)).sum() / found.sum()
    recall = (true & _dilated(found, radius)).sum() / true.sum()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


class Summary(NamedTuple):
    """A measure over the frames of a sequence."""

    mean: float
    recall: float  # the share of frames above 0.5
    decay: float  # how much less it is in the last quarter than in the first


def summary(values: Sequence[float]) -> Summary:
    """Mean, recall and decay of a measure over the frames of a sequence, one or more.

    As the benchmark has it, a quarter begins with the frame that the one before it ends with.
    """
    numbers = np.asarray(values, float)
    ends = np.round(np.linspace(0, len(numbers) - 1, NUM_BINS + 1) + 1e-10).astype(int)
    first, last = (numbers[ends[i] : ends[i + 1] + 1].mean() for i in (0, NUM_BINS - 1))
    return Summary(float(numbers.mean()), float((numbers > 0.5).mean()), float(first - last))


class PixelCounts(NamedTuple):
    """Pixels of background and of foreground, over any number of frames."""

    hit: NDArray[np.int64]  # (2,)
    union: NDArray[np.int64]

    @classmethod
    def of(cls, predicted: Mask, annotated: Mask, void: Mask | None = None) -> "PixelCounts":
        """Counts of a frame; void pixels do not count."""
        counted = np.True_ if void is None else ~void
        pairs = [(~predicted, ~annotated), (predicted, annotated)]
        hit = [np.count_nonzero(a & b & counted) for a, b in pairs]
        union = [np.count_nonzero((a | b) & counted) for a, b in pairs]
        return cls(np.array(hit), np.array(union))

    def plus(self, other: "PixelCounts") -> "PixelCounts":
        """The counts of both."""
        return PixelCounts(self.hit + other.hit, self.union + other.union)

    def mean_iou(self) -> float:
        """The paper's mean pixel IoU (Table 4), over background and foreground; nan if neither was
        seen."""
        seen = self.union > 0
        return float(np.mean(self.hit[seen] / self.union[seen])) if seen.any() else math.nan


def _boundary(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower, or lower right neighbour in the frame."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    others = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.any([mask != other for other in others], axis=0)


def _dilated(mask: Mask, radius: int) -> Mask:
    offsets = np.arange(-radius, radius + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disk).astype(bool)
