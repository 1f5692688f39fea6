"""Where a position is in its frame, as channels that embeddings can be made from."""

from collections.abc import Sequence

import torch
from torch import Tensor


def grid_weights(
    features: Tensor, grid: int, valid_sizes: Sequence[tuple[int, int]] | None = None
) -> Tensor:
    """The weights of bilinear interpolation from a grid over each frame: (M, grid^2, H, W).

    They are from 0 to 1 and add up to 1 at every position of a frame; two positions have the more
    in common the closer they are. A position has the same weights at any size of the feature map.

    Args:
        features: (M, C, H, W), whose positions are meant.
        grid: G > 1 nodes along either side of a frame, from border to border.
        valid_sizes: (height, width) in cells of each frame; None: no padding. What the result holds
            at padding does not matter.
    """
    num_frames, _, height, width = features.shape
    sizes = [(height, width)] * num_frames if valid_sizes is None else valid_sizes
    nodes = torch.arange(grid, device=features.device, dtype=features.dtype)

    def along(cells: int, valid: int) -> Tensor:  # (G, cells)
        middles = (torch.arange(cells, device=nodes.device) + 0.5) / valid
        return (1 - ((grid - 1) * middles.clamp(max=1) - nodes[:, None]).abs()).clamp(min=0)

    frames = [
        (along(height, h)[:, None, :, None] * along(width, w)[None, :, None, :]).flatten(0, 1)
        for h, w in sizes
    ]
    return torch.stack(frames)
