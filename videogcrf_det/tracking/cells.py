"""Masks on a coarse grid, moved along the flow and compared.

A track is recognised by where its mask is, not by its outline: on cells of a few pixels that takes
a fraction of the time. A cell holds the share of its area that the mask covers, so that small
masks are not lost between the cells.

Letters: N and K masks, H x W a frame, h x w its cells.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Shares = NDArray[np.float32]  # (N, h, w), from 0 to 1

GRID = 120  # the most cells along a side of a frame


def cell_size(height: int, width: int) -> int:
    """The side of a cell in pixels.

    >>> cell_size(480, 854), cell_size(120, 160)
    (8, 2)
    """
    return min(height, width, -(-max(height, width) // GRID))


def shares_of_masks(masks: NDArray[np.bool_]) -> Shares:
    """The cells of masks (N, H, W). Rows and columns that fill no cell are left out."""
    height, width = masks.shape[1:]
    cell = cell_size(height, width)
    h, w = height // cell * cell, width // cell * cell
    # by hand, for cv2.resize takes ten times as long
    counts = masks.view(np.uint8) if cell**2 < 256 else masks.astype(np.uint16)
    rows = _sum([counts[:, row:h:cell] for row in range(cell)])
    total = _sum([rows[:, :, column:w:cell] for column in range(cell)])
    return total.astype(np.float32) / np.float32(cell**2)


def _sum(parts: Sequence[NDArray[np.unsignedinteger]]) -> NDArray[np.unsignedinteger]:
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def moved_shares(shares: Shares, flow: NDArray[np.float32]) -> Shares:
    """Masks of the frame that a flow (H', W', 2) points to, in the cells that it starts from.

    The flow may be of a smaller picture of the frame. There is no mask where it leaves the frame.
    """
    h, w = shares.shape[1:]
    scale = np.array([w / flow.shape[1], h / flow.shape[0]], np.float32)
    way = cv2.resize(flow, (w, h), interpolation=cv2.INTER_AREA) * scale
    rows, columns = np.indices((h, w), np.float32)
    x, y = columns + way[..., 0], rows + way[..., 1]
    moved = [cv2.remap(mask, x, y, cv2.INTER_LINEAR) for mask in shares]
    return np.asarray(moved, np.float32).reshape(shares.shape)


def overlaps(first: Shares, second: Shares) -> NDArray[np.float32]:
    """The overlap of all pairs of N and K masks: (N, K), from 0 to 1.

    It is <a, b> / (<a, a> + <b, b> - <a, b>), the Tanimoto coefficient: the IoU where all shares
    are 0 or 1, and 1 for equal masks whatever their shares. 0 where both masks are empty.
    """
    a, b = first.reshape(len(first), -1), second.reshape(len(second), -1)
    common = a @ b.T
    either = np.square(a).sum(1)[:, None] + np.square(b).sum(1) - common
    return np.divide(common, either, out=np.zeros_like(common), where=either > 0)
