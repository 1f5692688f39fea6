"""Colours that stay with an instance from frame to frame.

Letters: N instances of a frame, H x W its size.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# bright enough for dark text on all of them
PALETTE: tuple[tuple[int, int, int], ...] = (
    (76, 155, 255),  # blue
    (255, 146, 61),  # orange
    (62, 213, 152),  # green
    (244, 104, 168),  # pink
    (255, 212, 59),  # yellow
    (167, 139, 250),  # violet
    (34, 211, 238),  # cyan
    (255, 107, 107),  # red
    (184, 224, 74),  # lime
    (222, 172, 128),  # tan
)


def palette_colour(index: int) -> tuple[int, int, int]:
    """The RGB colour of an index; indices beyond the palette start over."""
    return PALETTE[index % len(PALETTE)]


def mask_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Intersection over union of all pairs of masks.

    Args:
        first: (N, H, W) masks.
        second: (M, H, W) masks.

    Returns:
        (N, M); 0 where both are empty.
    """
    a = first.reshape(len(first), -1).astype(np.float32)
    b = second.reshape(len(second), -1).astype(np.float32)
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1) - both
    return both / np.maximum(either, 1)


class TrackColours:
    """Palette indices of instances whose identity is known: in order of appearance."""

    def __init__(self) -> None:
        self._index_of: dict[Hashable, int] = {}

    def update(self, identities: Sequence[Hashable]) -> list[int]:
        """The palette indices of the instances of the next frame."""
        return [self._index_of.setdefault(key, len(self._index_of)) for key in identities]


@dataclass
class _Track:
    colour: int
    mask: NDArray[np.bool_]  # (H, W), where it was seen last
    age: int = 0  # frames since then


class ColourTracker:
    """Palette indices of detections, which have no identity.

    A detection takes the colour of the earlier one that it overlaps most, best pairs first. This
    is for the eye alone: it follows what overlaps from frame to frame and predicts no motion.
    """

    def __init__(self, min_iou: float = 0.2, max_gap: int = 5) -> None:
        """
        Args:
            min_iou: masks that overlap less are other instances.
            max_gap: an instance that was missed in so many frames still gets its colour back.
        """
        self.min_iou = min_iou
        self.max_gap = max_gap
        self._tracks: list[_Track] = []

    def update(
        self, masks: NDArray[np.bool_], wanted: Sequence[int | None] | None = None
    ) -> list[int]:
        """The palette indices of the detections of the next frame.

        Args:
            masks: (N, H, W) masks, of the same size in every frame.
            wanted: the N colours that new instances would like, None for any; they get it if it is
                not taken.
        """
        wanted = [None] * len(masks) if wanted is None else wanted
        matched = self._match(masks)
        for track in self._tracks:
            track.age += 1
        for index, track in matched.items():
            track.mask, track.age = masks[index], 0
        self._tracks = [track for track in self._tracks if track.age <= self.max_gap]
        for index in range(len(masks)):
            if index not in matched:
                matched[index] = _Track(self._free_colour(wanted[index]), masks[index])
                self._tracks.append(matched[index])
        return [matched[index].colour for index in range(len(masks))]

    def _match(self, masks: NDArray[np.bool_]) -> dict[int, _Track]:
        """The track of every detection that continues one."""
        if not len(masks) or not self._tracks:
            return {}
        overlap = mask_iou(masks, np.stack([track.mask for track in self._tracks]))
        matched: dict[int, _Track] = {}
        for pair in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(pair), len(self._tracks))
            if overlap[row, column] < self.min_iou:
                break
            track = self._tracks[column]
            if row not in matched and all(track is not other for other in matched.values()):
                matched[row] = track
        return matched

    def _free_colour(self, wanted: int | None) -> int:
        taken = {track.colour for track in self._tracks}
        if wanted is not None and wanted not in taken:
            return wanted
        return next(index for index in range(len(taken) + 1) if index not in taken)
