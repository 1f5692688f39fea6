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
