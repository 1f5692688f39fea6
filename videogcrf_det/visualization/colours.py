"""Colours that stay with an instance from frame to frame.

Letters: N instances of a frame, H x W its size.
"""

from collections.abc import Hashable, Iterable, Sequence
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

    def __init__(self, min_iou: float = 0.1, max_gap: int = 5) -> None:
        """
        Args:
            min_iou: masks that overlap less are other instances.
            max_gap: an instance that was missed in so many frames still gets its colour back.
        """
        self.min_iou = min_iou
        self.max_gap = max_gap
        self._tracks: list[_Track] = []
        self._reserved: set[int] = set()

    def update(
        self,
        masks: NDArray[np.bool_],
        known: Sequence[int | None] | None = None,
        reserved: Iterable[int] = (),
    ) -> list[int]:
        """The palette indices of the detections of the next frame.

        Args:
            masks: (N, H, W) masks, of the same size in every frame.
            known: the colours of the N detections, None for those that are to be followed.
            reserved: colours that new instances get in this frame or later only if they are known.
        """
        given: list[int | None] = [None] * len(masks) if known is None else list(known)
        fixed = {colour for colour in given if colour is not None}
        self._reserved |= fixed.union(reserved)
        earlier = self._match(masks)
        for index, track in earlier.items():
            if given[index] is None and track.colour not in fixed:
                given[index] = track.colour
        continued = {id(track) for track in earlier.values()}
        for track in self._tracks:
            track.age += 1
        self._tracks = [
            track
            for track in self._tracks
            if id(track) not in continued
            and track.colour not in fixed
            and track.age <= self.max_gap
        ]
        taken = self._reserved.union(track.colour for track in self._tracks)
        taken.update(colour for colour in given if colour is not None)
        colours = []
        for mask, colour in zip(masks, given, strict=True):
            if colour is None:
                colour = next(free for free in range(len(taken) + 1) if free not in taken)
                taken.add(colour)
            self._tracks.append(_Track(colour, mask))
            colours.append(colour)
        return colours

    def _match(self, masks: NDArray[np.bool_]) -> dict[int, _Track]:
        """The track of every detection that continues one."""
        if not len(masks) or not self._tracks:
            return {}
        pairs = match(mask_iou(masks, np.stack([t.mask for t in self._tracks])), self.min_iou)
        return {row: self._tracks[column] for row, column in pairs.items()}
