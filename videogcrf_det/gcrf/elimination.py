"""Inverses of diagonally dominant matrices by elimination without subtraction.

``M = diag(e + K 1) - K`` with couplings ``K_ij >= 0`` and an excess ``e_i >= 0`` on its rows (what
stands on the diagonal of K does not matter). For Markov chains this is the algorithm of Grassmann,
Taksar and Heyman (1985): what would be a difference, the diagonal of a Schur complement, is the sum
of what its row couples to and of its excess, both of which are sums of products of what came
before. Nothing cancels, so that each entry of the inverse is right to a few digits less than the
arithmetic has, however close to singular M is.
"""

import torch
from torch import Tensor

# Couplings of all matrices up to which unknowns are eliminated one by one: the time is then that of
# starting operations, and there are fewer.
ONE_BY_ONE = 2048


def positive_inverse(couplings: Tensor, excess: Tensor) -> Tensor:
    """``M^-1``, whose entries are not negative.

    Args:
        couplings: K (..., n, n), not negative.
        excess: e (..., n), not negative.

    Returns:
        (..., n, n); zero in the columns of unknowns whose pivot is zero, which neither have an
        excess nor are coupled, through whatever others, to one that has.
    """
    inverse = torch.empty_like(couplings)
    _invert(couplings, excess, inverse)
    return inverse


def _invert(couplings: Tensor, excess: Tensor, inverse: Tensor) -> None:
    """By halves: the second is eliminated, then the first is all there is."""
    size = excess.shape[-1]
    if size == 1:
        pivot = excess[..., None]
        inverse.copy_(torch.where(pivot > 0, pivot.reciprocal(), 0))
        return
    if couplings.numel() <= ONE_BY_ONE:
        inverse.copy_(_invert_one_by_one(couplings, excess))
        return
    half = size // 2
    first, second = slice(None, half), slice(half, None)
    to_second, to_first = couplings[..., first, second], couplings[..., second, first]
    rest = inverse[..., second, second]
    _invert(couplings[..., second, second], excess[..., second] + to_first.sum(-1), rest)
    share = to_second @ rest
    left = couplings[..., first, first] + share @ to_first
    excess = excess[..., first] + (share @ excess[..., second, None])[..., 0]
    eliminated = inverse[..., first, first]
    _invert(left, excess, eliminated)
    inverse[..., first, second] = eliminated @ share
    back = rest @ to_first
    inverse[..., second, first] = back @ eliminated
    rest += back @ inverse[..., first, second]


def _invert_one_by_one(couplings: Tensor, excess: Tensor) -> Tensor:
    """From the last unknown to the first. That leaves ``M = (I - S) P (I - B)`` with the pivots P,
    what rows above a pivot take of its row, S, and its row's couplings, B, none of them negative.
    """
    size = excess.shape[-1]
    rows = torch.cat([excess[..., None], couplings], -1)
    inverse_pivots = []
    for k in reversed(range(size)):
        row = rows[..., k : k + 1, : k + 1]  # of the excess and of the couplings to those left
        pivot = row.sum(-1, keepdim=True)
        inverse_pivots.append(torch.where(pivot > 0, pivot.reciprocal(), 0))
        share = rows[..., :k, k + 1 : k + 2].mul_(inverse_pivots[-1])
        rows[..., :k, : k + 1].addcmul_(share, row)
    pivots = torch.cat(inverse_pivots[::-1], -2)
    shares, back = rows[..., 1:].triu(1), rows[..., 1:].tril(-1) * pivots
    return _sum_of_powers(back) @ (pivots * _sum_of_powers(shares))


def _sum_of_powers(matrix: Tensor) -> Tensor:
    """``I + N + N^2 + ...``, the inverse of I - N, for triangular N of zero diagonal."""
    size = matrix.shape[-1]
    total = matrix + torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    covered = 2
    while covered < size:  # (I + N)(I + N^2)(I + N^4) ...
        matrix = matrix @ matrix
        total = total + matrix @ total
        covered *= 2
    return total
