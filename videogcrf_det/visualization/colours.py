"""Colours that stay with an instance from frame to frame.

Letters: N instances of a frame, H x W its size.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videogcrf_det.masks import RLE, encode, match, rle_iou

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


class TrackColours:
    """Palette indices of instances whose identity is known: in order of appearance."""

    def __init__(self) -> None:
        self._index_of: dict[Hashable, int] = {}

    def update(self, identities: Sequence[Hashable]) -> list[int]:
        """The palette indices of the instances of the next frame."""
        return [self._index_of.setdefault(key, len(self._index_of)) for key in identities]


@dataclass
class _Track:
    identity: int
    colour: int
    mask: RLE  # where it was seen last
    age: int = 0  # frames since then


class ColourTracker:
    """Palette indices of detections, which have no identity.

    A detection takes the colour of the earlier one that it overlaps most, best pairs first. This
    is for the eye alone: it follows what overlaps from frame to frame and predicts no motion.

    Attributes:
        track_ids: the identities of the last frame's detections, counted from 1. Colours are used
            again once an instance is gone, these are not.
    """

    def __init__(self, min_iou: float = 0.1, max_gap: int = 5) -> None:
        """
        Args:
            min_iou: masks that overlap less are other instances.
            max_gap: an instance that was missed in so many frames still gets its colour back.
        """
        self.min_iou = min_iou
        self.max_gap = max_gap
        self.track_ids: list[int] = []
        self._num_tracks = 0
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
        encoded = encode(masks)
        pairs = match(rle_iou(encoded, [track.mask for track in self._tracks]), self.min_iou)
        earlier = {index: self._tracks[column] for index, column in pairs.items()}
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
        self.track_ids = []
        for index, (mask, colour) in enumerate(zip(encoded, given, strict=True)):
            if colour is None:
                colour = next(free for free in range(len(taken) + 1) if free not in taken)
                taken.add(colour)
            if index in earlier:
                identity = earlier[index].identity
            else:
                identity = self._num_tracks = self._num_tracks + 1
            self._tracks.append(_Track(identity, colour, mask))
            self.track_ids.append(identity)
            colours.append(colour)
        return colours
