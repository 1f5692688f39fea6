"""Temporal stability: do masks move with the picture?

Masks of a frame, carried to the next one by the optical flow, are compared with the masks there.
Masks that flicker, in shape or in number, score less than masks that move with what they cover.

Letters: N instances of a frame, H x W its size.
"""

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.masks import mask_iou, match

Gray = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2), x and y in pixels

LEAST_SIDE = 16  # OpenCV's DIS flow reads beyond the memory of frames that are smaller


class Masks(NamedTuple):
    """The instances of a frame."""

    masks: NDArray[np.bool_]  # (N, H, W)
    classes: NDArray[np.integer]  # (N,)


class Mean(NamedTuple):
    """A mean over pairs of frames, which can be gone on with."""

    total: float = 0.0
    pairs: int = 0

    def with_value(self, value: float) -> "Mean":
        """The mean over one pair more."""
        return Mean(self.total + value, self.pairs + 1)


class StabilityMeter:
    """Measures one video, frame by frame, for several kinds of masks at once.

    Only the last frame is kept.

    Attributes:
        means: the figure of each kind, from 0 to 1, over the pairs of successive frames with masks.
    """

    def __init__(self) -> None:
        self.means: dict[str, Mean] = {}
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: tuple[Gray, Mapping[str, Masks]] | None = None

    def add(self, gray: Gray, kinds: Mapping[str, Masks]) -> None:
        """Take the next frame and its masks of each kind."""
        before, self._before = self._before, (gray, kinds)
        if before is None or before[0].shape != gray.shape or min(gray.shape) < LEAST_SIDE:
            return
        flow = None
        for kind, after in kinds.items():
            earlier = before[1][kind]
            if flow is None and len(earlier.masks) and len(after.masks):
                flow = self._flow.calc(gray, before[0], None)  # type: ignore[call-overload]
            value = pair_stability(earlier, after, flow)
            if value is not None:
                self.means[kind] = self.means.get(kind, Mean()).with_value(value)


def pair_stability(before: Masks, after: Masks, flow: Flow | None) -> float | None:
    """How well the masks of two successive frames agree.

    The masks of the earlier frame are warped to the later one. Masks of a class are paired one to
    one, the best pair first; the value is the sum of the IoUs of the pairs, divided by the larger
    of the two numbers of masks.

    Args:
        before, after: masks of the earlier and of the later frame.
        flow: from the later frame to the earlier one; not used if either has no masks.

    Returns:
        from 0 to 1; None if neither frame has a mask.
    """
    numbers = len(before.masks), len(after.masks)
    if not any(numbers):
        return None
    if not all(numbers):
        return 0.0
    assert flow is not None
    overlap = mask_iou(warp(before.masks, flow), after.masks)
    overlap[before.classes[:, None] != after.classes] = 0
    pairs = match(overlap, least=1e-6)
    return float(sum(overlap[pair] for pair in pairs.items())) / max(numbers)


def warp(masks: NDArray[np.bool_], flow: Flow) -> NDArray[np.bool_]:
    """Masks (N, H, W) of the frame that ``flow`` points to, as seen in the frame it starts from.

    There is no mask where it points out of the frame.
    """
    rows, columns = np.indices(flow.shape[:2], np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    # of bytes that are 0 or 1, interpolation rounds to the nearer one
    pixels = masks.astype(np.uint8)
    return np.stack([cv2.remap(mask, x, y, cv2.INTER_LINEAR) for mask in pixels]).astype(bool)
