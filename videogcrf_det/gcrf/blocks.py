"""Feature maps cut into square blocks of cells, each a small frame by itself."""

import torch
import torch.nn.functional as F
from torch import Tensor


def to_blocks(maps: Tensor, size: int) -> Tensor:
    """Maps (B, V, D, H, W) to (B K, V, D, size^2): K blocks, those at the border padded with 0."""
    height, width = maps.shape[3:]
    maps = F.pad(maps, (0, -width % size, 0, -height % size))
    cells = maps.unflatten(4, (-1, size)).unflatten(3, (-1, size))  # (B, V, D, h, size, w, size)
    return cells.permute(0, 3, 5, 1, 2, 4, 6).flatten(5).flatten(0, 2)


def from_blocks(blocks: Tensor, size: int, shape: torch.Size) -> Tensor:
    """Undo ``to_blocks`` of maps whose (H, W) is ``shape``."""
    height, width = shape
    rows, columns = -(-height // size), -(-width // size)
    cells = blocks.unflatten(0, (-1, rows, columns)).unflatten(5, (size, size))
    maps = cells.permute(0, 3, 4, 1, 5, 2, 6).flatten(5).flatten(3, 4)
    return maps[..., :height, :width]
