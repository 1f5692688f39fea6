"""Conjugate gradients for many symmetric positive definite systems at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from videogcrf_det.errors import InputError


class IndefiniteError(InputError, ArithmeticError):
    """The matrix is not positive definite: a direction p with p'Hp <= 0 came up."""


class CGResult(NamedTuple):
    """What conjugate gradients found; the last three have one entry per system and column."""

    solution: Tensor  # x, of the shape of the right-hand side
    num_iters: Tensor  # (B, C) int64: steps that each column took
    residual_norm: Tensor  # (B, C): norm of the (recursively updated) residual
    converged: Tensor  # (B, C) bool


def conjugate_gradient(
    matvec: Callable[[Tensor], Tensor],
    rhs: Tensor,
    *,
    x0: Tensor | None = None,
    rtol: float = 1e-5,
    atol: float = 0.0,
    max_iters: int = 1000,
) -> CGResult:
    """Solve ``H x = rhs`` for every batch entry and column, each stopping by itself.

    A column is done when ``|rhs - H x| <= max(rtol * |rhs|, atol)``, scipy's rule; from then on it
    is left as it is while others go on. A zero right-hand side gives zeros. Gradients do not pass
    through: gcrf_inference has them in closed form.

    Args:
        matvec: p -> H p, for tensors of the shape of ``rhs``.
        rhs: right-hand sides (B, ..., C). Dimensions between the first and last are the unknowns
            of one system; batch entries and columns are systems of their own.
        x0: start, of the shape of ``rhs``; zeros if None.
        rtol, atol: tolerances of the stopping rule.
        max_iters: steps after which unfinished columns are given up (``converged`` is False).

    Raises:
        ValueError: ``rhs`` holds infinities or nans.
        IndefiniteError: H is not positive definite.

    Source: Algorithm 1.
    """
    with torch.no_grad():
        unknowns = tuple(range(1, rhs.dim() - 1))

        def dot(a: Tensor, b: Tensor) -> Tensor:  # (B, 1, ..., 1, C)
            return (a * b).sum(dim=unknowns, keepdim=True)

        largest = rhs.abs().amax(dim=unknowns, keepdim=True)
        if not largest.isfinite().all():
            raise ValueError("the right-hand side holds values that are not finite")
        # columns are scaled to entries of about 1, lest products of tiny ones be lost; powers of
        # two do it without rounding
        scale = torch.ldexp(torch.ones_like(largest), largest.frexp().exponent - 1)
        residual = rhs / scale
        tolerance = torch.maximum(rtol * dot(residual, residual).sqrt(), atol / scale)
        if x0 is None:
            x = torch.zeros_like(rhs)
        else:  # a zero right-hand side has the solution zero wherever one starts
            x = torch.where(largest > 0, x0 / scale, 0.0)
            residual -= matvec(x)
        direction = residual.clone()
        rr = dot(residual, residual)
        num_iters = torch.zeros_like(rr, dtype=torch.long)
        for _ in range(max_iters):
            active = rr.sqrt() > tolerance
            if not active.any():
                break
            product = matvec(direction)
            curvature = dot(direction, product)
            if not (curvature[active] > 0).all():  # catches nan too
                least = curvature[active].min().item()
                raise IndefiniteError(
                    f"the matrix is not positive definite: a direction p has p'Hp = {least:.3g}"
                )
            step = torch.where(active, rr / curvature, 0.0)  # 0 freezes a column
            x.addcmul_(step, direction)
            residual.addcmul_(step, product, value=-1)
            previous, rr = rr, dot(residual, residual)
            direction.mul_(torch.where(active, rr / previous, 0.0)).add_(residual)
            num_iters += active
        norm = rr.sqrt()
        converged = norm <= tolerance
        x *= scale
        norm *= scale

    batch, columns = rhs.shape[0], rhs.shape[-1]
    return CGResult(
        x,
        num_iters.view(batch, columns),
        norm.view(batch, columns),
        converged.view(batch, columns),
    )
