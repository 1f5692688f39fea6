"""Instances followed by the overlap of their masks, moved along the optical flow.

Letters: N instances of a frame, M known tracks, H x W the frame, h x w the grid of cells on which
masks are compared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from detectron2.structures import Instances
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from videogcrf_det.motion.flow import DISFlow

Masks = NDArray[np.bool_]  # (N, h, w)

LONGEST_SIDE = 430  # cells of a grid, at most


@dataclass
class _Track:
    identity: int
    category: int
    mask: NDArray[np.bool_]  # (h, w), where it is expected in the present frame
    age: int = 0  # frames since it was seen


class MaskTracker:
    """Gives detections their identities: see ``Tracker``.

    The last mask of every track is moved along the optical flow from frame to frame. The
    detections of a frame are then assigned to the tracks of their classes, all at once, so that
    the sum of the intersections over union is the largest (H. W. Kuhn, The Hungarian method for
    the assignment problem, 1955). Nothing of the future is used.

    Args:
        min_iou: masks that overlap less are of other instances.
        memory: a track that was missed in so many frames in a row is still continued.
        flow: (previous, current) -> (h, w, 2), for each pixel of the current frame the way to
            where it was; by default DISFlow. It gets frames of at most LONGEST_SIDE pixels.
    """

    def __init__(
        self,
        min_iou: float = 0.1,
        memory: int = 5,
        flow: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]] | None = None,
    ) -> None:
        self.min_iou = min_iou
        self.memory = memory
        self.flow = DISFlow() if flow is None else flow
        self._before: NDArray[np.uint8] | None = None
        self._tracks: list[_Track] = []
        self._num_tracks = 0

    def update(self, frame: NDArray[np.uint8], instances: Instances) -> list[int]:
        """The identities of the N instances of the next frame, counted from 1.

        Args:
            frame: (H, W, 3). After a change of its size, all instances are new.
            instances: with pred_classes, and pred_masks (N, H, W) or only pred_boxes.
        """
        return self.follow(frame, _masks(instances), instances.pred_classes.tolist())

    def follow(self, frame: NDArray[np.uint8], masks: Masks, classes: Sequence[int]) -> list[int]:
        """As ``update``, of masks (N, H, W) and their N classes."""
        stride = -(-max(frame.shape[:2]) // LONGEST_SIDE)
        self._advance(frame, stride)
        small = reduced(masks, stride)
        found = self._assigned(small, classes)
        for track in self._tracks:
            track.age += 1
        ids = []
        for index, (mask, category) in enumerate(zip(small, classes, strict=True)):
            track = found.get(index) or self._new(category, mask)
            track.mask, track.age = mask, 0
            ids.append(track.identity)
        self._tracks = [track for track in self._tracks if track.age <= self.memory]
        return ids

    def _advance(self, frame: NDArray[np.uint8], stride: int) -> None:
        """Move the tracks to where they are expected on the next frame."""
        image = frame
        if stride > 1:
            height, width = (-(-side // stride) for side in frame.shape[:2])
            image = np.asarray(cv2.resize(frame, (width, height), None, 0, 0, cv2.INTER_AREA))
        before, self._before = self._before, image
        if before is not None and before.shape != image.shape:
            self._tracks = []
        if before is not None and self._tracks:
            self._move(self.flow(before, image))

    def _assigned(self, masks: Masks, classes: Sequence[int]) -> dict[int, _Track]:
        """The tracks that go on, by the positions of their masks (N, h, w)."""
        same = np.array([[t.category == c for t in self._tracks] for c in classes], bool)
        overlap = np.zeros((len(masks), len(self._tracks)))
        if overlap.size:
            overlap = np.where(same, overlaps(masks, [t.mask for t in self._tracks]), 0)
        overlap[overlap < self.min_iou] = 0
        rows, columns = linear_sum_assignment(overlap, maximize=True)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if overlap[row, column] > 0
        }

    def _new(self, category: int, mask: NDArray[np.bool_]) -> _Track:
        self._num_tracks += 1
        self._tracks.append(_Track(self._num_tracks, category, mask))
        return self._tracks[-1]

    def _move(self, flow: NDArray[np.float32]) -> None:
        """Take the masks of all tracks to where the flow (h, w, 2) leads them."""
        rows, columns = np.indices(flow.shape[:2], np.float32)
        places = cv2.convertMaps(
            columns + flow[..., 0], rows + flow[..., 1], cv2.CV_16SC2, nninterpolation=True
        )
        for track in self._tracks:
            moved = cv2.remap(track.mask.view(np.uint8), *places, cv2.INTER_NEAREST)
            track.mask = np.asarray(moved, np.uint8).view(np.bool_)


def _masks(instances: Instances) -> Masks:
    """The masks (N, H, W) of instances, of a detector without masks their boxes."""
    if instances.has("pred_masks"):
        return np.asarray(instances.pred_masks.numpy(), bool)
    masks = np.zeros((len(instances), *instances.image_size), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, instances.pred_boxes.tensor.tolist(), strict=True):
        mask[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = True
    return masks


def reduced(masks: Masks, stride: int) -> Masks:
    """Masks (N, H, W) at every ``stride``-th pixel; none vanishes for being small."""
    small = np.ascontiguousarray(masks[:, ::stride, ::stride])
    for index in np.flatnonzero(~small.any((1, 2))) if stride > 1 else ():
        rows, columns = np.nonzero(masks[index])
        small[index, rows // stride, columns // stride] = True
    return small


def overlaps(first: Masks, second: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """Intersections over union (N, M) of masks (N, h, w) and M masks (h, w); see mask_iou."""
    # of eight cells a byte, the bits that differ: a tenth of the time of a product of matrices
    sizes = [np.array([np.count_nonzero(mask) for mask in masks]) for masks in (first, second)]
    one, other = (
        np.packbits(masks.reshape(len(masks), -1), 1) for masks in (first, np.stack(second))
    )
    differ = np.array([[cv2.norm(a, b, cv2.NORM_HAMMING) for b in other] for a in one])
    both = (sizes[0][:, None] + sizes[1] - differ) / 2
    return np.asarray(both / np.maximum(both + differ, 1))
