"""Cholesky factors of block-banded matrices, linear in the number of blocks."""

import torch
from torch import Tensor


def band_cholesky(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Factorise symmetric positive definite matrices S = L L' of which a block band is not zero.

    Args:
        blocks: the lower blocks of S by block column, (B, r, w+1, D, D): ``blocks[:, j, o]`` is
            S[j+o, j], and zero where that lies below the matrix.

    Returns:
        L in the same form, and whether each matrix was positive definite, (B,) bool; if it was
        not, its L means nothing.
    """
    batch, rows, width, dim, _ = blocks.shape
    # w columns more than S has, for the zeros below it
    factor = torch.cat([blocks, blocks.new_zeros(batch, width - 1, width, dim, dim)], dim=1)
    positive = torch.ones(batch, dtype=torch.bool, device=blocks.device)
    for j in range(rows):
        diagonal, info = torch.linalg.cholesky_ex(factor[:, j, 0])
        positive &= info == 0
        factor[:, j, 0] = diagonal
        if width == 1:
            continue
        below = factor[:, j, 1:].flatten(1, 2)  # (B, w D, D)
        below = torch.linalg.solve_triangular(diagonal.mT, below, upper=True, left=False)
        factor[:, j, 1:] = below.unflatten(1, (width - 1, dim))
        update = (below @ below.mT).unflatten(1, (width - 1, dim)).unflatten(3, (width - 1, dim))
        for k in range(1, width):  # block column j + k
            factor[:, j + k, : width - k] -= update[:, k - 1 :, :, k - 1]
    return factor[:, :rows], positive


def band_solve(factor: Tensor, rhs: Tensor) -> Tensor:
    """S^-1 rhs (B, r, D, C) for rhs (B, r, D, C), from the factor of band_cholesky."""
    _, rows, width, dim, _ = factor.shape
    below = factor[:, :, 1:].flatten(2, 3)  # (B, r, w D, D)
    # transposed, which triangular solves take without a copy: (B, r, C, D)
    solution = torch.cat([rhs.mT, rhs.mT.new_zeros(len(rhs), width - 1, *rhs.mT.shape[2:])], dim=1)
    for j in range(rows):
        lower, row = factor[:, j, 0], solution[:, j]
        row = torch.linalg.solve_triangular(lower.mT, row, upper=True, left=False)
        solution[:, j] = row
        if width > 1:
            change = (row @ below[:, j].mT).unflatten(2, (width - 1, dim))
            solution[:, j + 1 : j + width] -= change.transpose(1, 2)
    for j in reversed(range(rows)):
        lower, row = factor[:, j, 0], solution[:, j]
        if width > 1:
            others = solution[:, j + 1 : j + width].transpose(1, 2).flatten(2)  # (B, C, w D)
            row = row - others @ below[:, j]
        solution[:, j] = torch.linalg.solve_triangular(lower, row, upper=False, left=False)
    return solution[:, :rows].mT
