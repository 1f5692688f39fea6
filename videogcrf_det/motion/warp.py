"""Maps moved along motion."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Motion:
    """The places of two successive frames' pixels in the other one.

    Attributes:
        backward: (1, 2, H, W), for each pixel of the later frame the way to where it was, x and y
            as shares of the width and height of the frame.
        forward: the same for the pixels of the earlier frame, to where they will be.
    """

    backward: Tensor
    forward: Tensor

    def backward_at(self, size: torch.Size) -> Tensor:
        """``backward`` for maps of this (height, width)."""
        return F.interpolate(self.backward, size, mode="area")

    def forward_at(self, size: torch.Size) -> Tensor:
        """``forward`` for maps of this (height, width)."""
        return F.interpolate(self.forward, size, mode="area")


def moved(maps: Tensor, way: Tensor | None) -> Tensor:
    """Maps (M, C, h, w) of another frame, as seen from the cells of this one.

    Args:
        way: (M, 2, h, w) from the cells of this frame to their places in the other one, as shares
            of its width and height; None: the same places.

    Returns:
        (M, C, h, w), interpolated; what lies outside of the other frame is as at its border.
    """
    if way is None:
        return maps
    height, width = maps.shape[2:]
    y = (torch.arange(height, device=maps.device, dtype=maps.dtype) * 2 + 1) / height - 1
    x = (torch.arange(width, device=maps.device, dtype=maps.dtype) * 2 + 1) / width - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) + 2 * way.movedim(1, -1)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
