"""Instances followed by the overlap of their masks, moved along the optical flow.

Letters: N instances of a frame, H x W its size, h x w its cells (see cells.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from detectron2.structures import Instances
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from videogcrf_det.motion.flow import DISFlow
from videogcrf_det.tracking.cells import Shares, moved_shares, overlaps, shares_of_masks

Masks = NDArray[np.bool_]  # (N, H, W)

LONGEST_SIDE = 430  # pixels of the pictures that the flow is computed of, at most


@dataclass
class _Track:
    identity: int
    category: int
    shares: Shares  # (h, w), where the flow says that it is in the present frame
    seen: Shares  # (h, w), where it was seen last
    age: int = 0  # frames since it was seen


class MaskTracker:
    """Gives detections their identities: see ``Tracker``.

    The last mask of every track is moved along the optical flow from frame to frame; the flow of a
    frame that is blurred or dark leads nowhere, so that the place where it was seen last counts as
    well, if it fits better. The detections of a frame are then assigned to the tracks of their
    classes, all at once, so that the sum of the intersections over union is the largest (H. W.
    Kuhn, The Hungarian method for the assignment problem, 1955). Those of surer detections count
    more, so that a doubtful second detection of an object does not take its identity.
    Nothing of the future is used.

    Args:
        min_iou: masks that overlap less are of other instances.
        memory: frames in a row in which a track may be missed and still continues.
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
        self._size: tuple[int, ...] = ()
        self._before: NDArray[np.uint8] | None = None
        self._tracks: list[_Track] = []
        self._num_tracks = 0

    def update(self, frame: NDArray[np.uint8], instances: Instances) -> list[int]:
        """The identities of the N instances of the next frame, counted from 1.

        Args:
            frame: (H, W, 3). After a change of its size, all instances are new.
            instances: with pred_classes, and pred_masks (N, H, W) or only pred_boxes.
        """
        scores = instances.scores.tolist() if instances.has("scores") else None
        return self.follow(frame, _masks(instances), instances.pred_classes.tolist(), scores)

    def follow(
        self,
        frame: NDArray[np.uint8],
        masks: Masks,
        classes: Sequence[int],
        scores: Sequence[float] | None = None,
    ) -> list[int]:
        """As ``update``, of masks (N, H, W), their N classes and scores, by default all equal."""
        self._advance(frame)
        shares = shares_of_masks(masks)
        found = self._assigned(shares, classes, [1.0] * len(masks) if scores is None else scores)
        for track in self._tracks:
            track.age += 1
        ids = []
        for index, (mask, category) in enumerate(zip(shares, classes, strict=True)):
            track = found.get(index) or self._new(category, mask)
            track.shares, track.seen, track.age = mask, mask, 0
            ids.append(track.identity)
        self._tracks = [track for track in self._tracks if track.age <= self.memory]
        return ids

    def _advance(self, frame: NDArray[np.uint8]) -> None:
        """Move the tracks to where they are expected on the next frame."""
        if self._size != frame.shape[:2]:
            self._size, self._before, self._tracks = frame.shape[:2], None, []
        height, width = frame.shape[:2]
        factor = -(-max(height, width) // LONGEST_SIDE)
        if factor == 1:
            image = frame.copy()  # the frame may be written over
        else:
            size = -(-width // factor), -(-height // factor)
            image = np.asarray(cv2.resize(frame, size, None, 0, 0, cv2.INTER_AREA), np.uint8)
        before, self._before = self._before, image
        if before is not None and self._tracks:
            flow = self.flow(before, image)
            shares = moved_shares(np.stack([track.shares for track in self._tracks]), flow)
            for track, moved in zip(self._tracks, shares, strict=True):
                track.shares = moved

    def _assigned(
        self, shares: Shares, classes: Sequence[int], scores: Sequence[float]
    ) -> dict[int, _Track]:
        """The tracks that go on, by the positions of their masks."""
        if not self._tracks or not len(shares):
            return {}
        moved = overlaps(shares, np.stack([track.shares for track in self._tracks]))
        in_place = overlaps(shares, np.stack([track.seen for track in self._tracks]))
        overlap = np.maximum(moved, in_place)
        same = np.array([[t.category == c for t in self._tracks] for c in classes], bool)
        overlap[~same | (overlap < self.min_iou)] = 0
        worth = overlap * (1 + np.asarray(scores)[:, None])
        rows, columns = linear_sum_assignment(worth, maximize=True)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if overlap[row, column] > 0
        }

    def _new(self, category: int, shares: Shares) -> _Track:
        self._num_tracks += 1
        self._tracks.append(_Track(self._num_tracks, category, shares, shares))
        return self._tracks[-1]


def _masks(instances: Instances) -> Masks:
    """The masks (N, H, W) of instances, of a detector without masks their boxes."""
    if instances.has("pred_masks"):
        return np.asarray(instances.pred_masks.numpy(), bool)
    masks = np.zeros((len(instances), *instances.image_size), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, instances.pred_boxes.tensor.tolist(), strict=True):
        mask[max(0, round(y0)) : max(0, round(y1)), max(0, round(x0)) : max(0, round(x1))] = True
    return masks
