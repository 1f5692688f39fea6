"""The terms of a frame in the system, and frames that belong together.

Letters: L labels, H x W a frame, h x w its feature map, P = h w.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Terms

Frame = dict[str, Any]


class FrameTerms(NamedTuple):
    """The terms of a frame in the system of every window that it is in."""

    terms: Terms  # unary (1, L, h, w); without embeddings in phase "unary"
    size: tuple[int, int]  # H, W of the frame as the network sees it
    padded: tuple[int, int]  # those of the padded frame, which the h x w cells cover
    given_unaries: Tensor | None  # (1, L, H', W'), the unaries that a padded frame came with

    def in_pixels(self, scores: Tensor) -> Tensor:
        """Scores (1, L, h, w) of cells at the pixels of the frame: (1, L, H, W)."""
        height, width = self.size
        pixels = scores_in_pixels(scores, self.terms.unary, self.given_unaries, self.padded)
        return pixels[..., :height, :width]


def cells_of(size: Sequence[int], padded: Sequence[int], maps: Tensor) -> tuple[int, int]:
    """(height, width) of a frame of size H, W in cells of maps (..., h, w) of the padded frame."""
    (height, width), (rows, columns) = padded, maps.shape[-2:]
    return math.ceil(size[0] * rows / height), math.ceil(size[1] * columns / width)


def scores_in_pixels(
    scores: Tensor, unary: Tensor, given_unaries: Tensor | None, size: Sequence[int]
) -> Tensor:
    """Scores of cells at pixels; where unaries were given there, what has changed is added."""
    change = scores if given_unaries is None else scores - unary
    pixels = F.interpolate(change, size, mode="bilinear", align_corners=False)
    return pixels if given_unaries is None else given_unaries + pixels


def of_one_size(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames.

    Raises:
        InputError: at one that has another size than the first, with which it cannot be coupled.
    """
    size: list[int] = []
    for frame in frames:
        found = list(frame["image"].shape[1:])
        size = size or found
        if found != size:
            raise InputError(
                f"{frame.get('file_name', 'a frame')} has the size {found}, the frames before it "
                f"{size} (height, width, as the network sees them): give frames of another size a "
                "video of their own"
            )
        yield frame
