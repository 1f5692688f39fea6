"""Colours that stay with an instance from frame to frame.

Letters: N instances of a frame.
"""

from collections.abc import Hashable, Iterable, Sequence

COLOUR_MEMORY = 100  # frames after which the colour of a lost detection may be used again

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
    """Palette indices of instances whose identity is known, in order of appearance.

    Args:
        memory: the colour of an identity that was not seen for more frames may be used again;
            None: never.
    """

    def __init__(self, memory: int | None = None) -> None:
        self.memory = memory
        self._index_of: dict[Hashable, int] = {}
        self._seen: dict[Hashable, int] = {}  # the frame in which an identity was seen last
        self._reserved: set[int] = set()
        self._frame = 0

    def update(
        self,
        identities: Sequence[Hashable],
        known: Sequence[int | None] | None = None,
        reserved: Iterable[int] = (),
    ) -> list[int]:
        """The palette indices of the N instances of the next frame.

        Args:
            identities: N different ones.
            known: N colours that they get in any case, None for those that keep theirs.
            reserved: colours that new identities get in this frame or later only if they are known.
        """
        self._frame += 1
        given = dict(zip(identities, known or [None] * len(identities), strict=True))
        fixed = {colour for colour in given.values() if colour is not None}
        self._reserved |= fixed.union(reserved)
        self._seen |= dict.fromkeys(identities, self._frame)
        for key, colour in list(self._index_of.items()):
            if colour in fixed or self._is_old(key):
                del self._index_of[key]
        self._seen = {key: frame for key, frame in self._seen.items() if not self._is_old(key)}
        self._index_of |= {key: colour for key, colour in given.items() if colour is not None}
        taken = self._reserved.union(self._index_of.values())
        for key in identities:
            if key not in self._index_of:
                self._index_of[key] = next(i for i in range(len(taken) + 1) if i not in taken)
                taken.add(self._index_of[key])
        return [self._index_of[key] for key in identities]

    def _is_old(self, key: Hashable) -> bool:
        return self.memory is not None and self._frame - self._seen[key] > self.memory
