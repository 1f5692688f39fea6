"""Where two detectors differ: a score for every frame, and the frames to look at.

Letters: N instances or detections of a frame, H x W its size.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from videogcrf_det.masks import mask_iou, match
from videogcrf_det.visualization.predictions import Annotated, Detections

BLOCK = 10  # frames of a video of which at most one is shown
PER_VIDEO = 2  # frames of a video that are shown, at most, in each direction


class Difference(NamedTuple):
    """A frame, and how two detectors did on it."""

    video: str
    frame: int
    run: float  # frame_score, from 0 to 1
    baseline: float
    picture: bytes  # a JPEG of the frame

    @property
    def gain(self) -> float:
        """Above 0 where the run is better."""
        return self.run - self.baseline


def frame_score(found: Detections, truth: Annotated) -> float | None:
    """How well detections of a frame agree with its annotation, from 0 to 1.

    Detections and annotated instances are paired by mask IoU, the best pair first; the score is
    the sum of the IoUs of the pairs, divided by the larger of the two numbers. Detections that
    have no pair and lie, with more than half of their masks, on do-not-care regions do not count.

    Returns:
        None if nothing is annotated and nothing detected.
    """
    crowd = np.array(truth.crowd, bool)
    instances, regions = truth.masks[~crowd], truth.masks[crowd].any(0)
    pairs: dict[int, int] = {}
    total = 0.0
    if len(instances) and len(found.masks):
        overlap = mask_iou(found.masks, instances)
        pairs = match(overlap, least=1e-6)
        total = float(sum(overlap[pair] for pair in pairs.items()))
    alone = [mask for index, mask in enumerate(found.masks) if index not in pairs]
    errors = sum(2 * (mask & regions).sum() <= mask.sum() for mask in alone)
    most = max(len(instances), len(pairs) + int(errors))
    return total / most if most else None


class DifferenceCollector:
    """Keeps the frames of greatest difference while videos go by: two of every BLOCK frames."""

    def __init__(self) -> None:
        self._best: dict[tuple[str, int, bool], Difference] = {}

    def wants(self, video: str, frame: int, run: float, baseline: float) -> bool:
        """Whether a frame would be kept: then it is worth the time to make a picture of it."""
        kept = self._best.get((video, frame // BLOCK, run > baseline))
        return run != baseline and (kept is None or abs(run - baseline) > abs(kept.gain))

    def add(self, difference: Difference) -> None:
        """Keep a frame in place of a lesser one."""
        block = difference.frame // BLOCK
        self._best[difference.video, block, difference.gain > 0] = difference

    def greatest(self, count: int) -> tuple[list[Difference], list[Difference]]:
        """The frames on which the run gains most, and those on which it loses most."""
        found = sorted(self._best.values(), key=lambda d: -abs(d.gain))
        return (
            _spread([d for d in found if d.gain > 0], count),
            _spread([d for d in found if d.gain < 0], count),
        )


def _spread(ranked: Iterable[Difference], count: int) -> list[Difference]:
    """The first ``count``, but no more than PER_VIDEO of a video, and no neighbours."""
    chosen: list[Difference] = []
    for candidate in ranked:
        same = [d for d in chosen if d.video == candidate.video]
        near = any(abs(d.frame - candidate.frame) < BLOCK for d in same)
        if len(chosen) < count and len(same) < PER_VIDEO and not near:
            chosen.append(candidate)
    return chosen
