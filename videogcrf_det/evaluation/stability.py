"""Temporal stability: do the masks of an instance move with the picture?

The mask of an instance, carried to the next frame by the optical flow, is compared with its mask
there. Masks that flicker, in shape or in number, score less than masks that move with what they
cover. The flow-warped IoU is that of Liu et al., "Efficient Semantic Video Segmentation with
Per-frame Inference", ECCV 2020, who take it of labels; that it is asked of annotated instances
alone, and no more of them than their annotations have, is ours (docs/evaluation.md).

Letters: N instances of a frame, H x W its size.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.masks import mask_iou, match
from videogcrf_det.motion.flow import LEAST_SIDE

Gray = NDArray[np.uint8]  # (H, W)
Flow = NDArray[np.float32]  # (H, W, 2), x and y in pixels

MATCH_IOU = 0.5  # a detection that overlaps an instance so much has found it


class Masks(NamedTuple):
    """The instances of a frame."""

    masks: NDArray[np.bool_]  # (N, H, W)
    classes: NDArray[np.integer]  # (N,)
    identities: Sequence[Any] | None = None  # N, the same in all frames; None: they are not known


class Stability(NamedTuple):
    """Sums over pairs, which can be gone on with.

    A pair is an instance that is annotated in two successive frames.
    """

    predictions: float = 0.0
    ground_truth: float = 0.0
    pairs: int = 0

    def __add__(self, other: Any) -> "Stability":
        return Stability(*(a + b for a, b in zip(self, other, strict=True)))


class StabilityMeter:
    """Measures one video, frame by frame.

    Only the last frame is kept.

    Attributes:
        stability: the sums over the pairs of instances so far.
    """

    def __init__(self) -> None:
        self.stability = Stability()
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._before: tuple[Gray, Masks, NDArray[np.bool_]] | None = None

    def add(self, gray: Gray, truth: Masks, found: Masks) -> None:
        """Take the next frame, its annotated instances, and its detections."""
        masks = found_masks(truth, found)
        before, self._before = self._before, (gray, truth, masks)
        if before is None or before[0].shape != gray.shape or min(gray.shape) < LEAST_SIDE:
            return
        _, earlier, found_before = before
        if len(earlier.masks) and len(truth.masks):
            flow = self._flow.calc(gray, before[0], None)  # type: ignore[call-overload]
            self.stability += pair_stability(earlier, truth, found_before, masks, flow)

    def skip(self) -> None:
        """Take a frame that nobody annotated: it has no pairs, with either neighbour."""
        self._before = None


def found_masks(truth: Masks, found: Masks) -> NDArray[np.bool_]:
    """For each annotated instance the mask (H, W) that it was found with, empty if it was missed.

    Detections are paired with instances of their class, one to one, the pair of highest IoU first,
    and down to MATCH_IOU.
    """
    overlap = mask_iou(truth.masks, found.masks)
    overlap[truth.classes[:, None] != found.classes] = 0
    masks = np.zeros_like(truth.masks)
    for instance, detection in match(overlap, MATCH_IOU).items():
        masks[instance] = found.masks[detection]
    return masks


def pair_stability(
    before: Masks,
    after: Masks,
    found_before: NDArray[np.bool_],
    found_after: NDArray[np.bool_],
    flow: Flow,
) -> Stability:
    """The agreement of the masks of two successive frames.

    The masks of the earlier frame are warped to the later one. For each instance that is annotated
    in both, the IoU of its two annotated masks is what can be reached; that of the two masks that
    it was found with counts up to there, and 0 if it was missed in either frame.

    Args:
        before, after: what is annotated in the earlier and in the later frame.
        found_before, found_after: see found_masks, (N, H, W) of each.
        flow: from the later frame to the earlier one.
    """
    warped = warp(before.masks, flow)
    pairs = _same_instances(before, after, warped)
    if not pairs:
        return Stability()
    first, second = map(list, zip(*pairs, strict=True))
    reachable = iou_of_partners(warped[first], after.masks[second])
    reached = np.minimum(
        iou_of_partners(warp(found_before[first], flow), found_after[second]), reachable
    )
    return Stability(float(reached.sum()), float(reachable.sum()), len(pairs))


def _same_instances(
    before: Masks, after: Masks, warped: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """The pairs of annotations of one instance: by identity, else by overlap."""
    if before.identities is not None and after.identities is not None:
        later = {identity: number for number, identity in enumerate(after.identities)}
        pairs = [(n, later[i]) for n, i in enumerate(before.identities) if i in later]
        return [(a, b) for a, b in pairs if before.classes[a] == after.classes[b]]
    overlap = mask_iou(warped, after.masks)
    overlap[before.classes[:, None] != after.classes] = 0
    return list(match(overlap, least=1e-6).items())


def iou_of_partners(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The IoU of each mask (N, H, W) with its partner, 0 where both are empty."""
    common = np.logical_and(first, second).sum(axis=(1, 2))
    return common / np.maximum(np.logical_or(first, second).sum(axis=(1, 2)), 1)


def warp(masks: NDArray[np.bool_], flow: Flow) -> NDArray[np.bool_]:
    """Masks (N, H, W) of the frame that ``flow`` points to, as seen in the frame it starts from.

    There is no mask where it points out of the frame.
    """
    rows, columns = np.indices(flow.shape[:2], np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    # of bytes that are 0 or 1, interpolation rounds to the nearer one
    pixels = masks.astype(np.uint8)
    return np.stack([cv2.remap(mask, x, y, cv2.INTER_LINEAR) for mask in pixels]).astype(bool)
