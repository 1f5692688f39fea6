"""Conjugate gradients for many symmetric positive definite systems at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from videogcrf_det.errors import InputError


class IndefiniteError(InputError, ArithmeticError):
    """The matrix is not positive definite: a direction p with p'Hp <= 0 came up."""


class CGResult(NamedTuple):
    """A solution by conjugate gradients; the last three have one entry per system and column."""

    solution: Tensor  # x, of the shape of the right-hand side
    num_iters: Tensor  # (B, C) int64: steps that each column took
    residual_norm: Tensor  # (B, C): norm of rhs - H x, measured at the end
    converged: Tensor  # (B, C) bool: it is small enough, but for rounding


# Steps between two looks at whether all columns are done: a look waits for a GPU, and steps of a
# column that is done change nothing.
LOOK_EVERY = 8
# The residual that is updated from step to step drifts from the true one by rounding. A
# column whose true residual is above this multiple of the tolerance has not converged.
SLACK = 10


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
    is left as it is while others go on. Steps go by a residual that is updated; that of the result
    is measured, which takes one more product. A zero right-hand side gives zeros. Gradients do not
    pass through: gcrf_inference has them in closed form.

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
        look_every = 1 if rhs.device.type == "cpu" else LOOK_EVERY
        least = torch.full_like(rr, torch.inf)  # curvature so far
        active = torch.zeros_like(least, dtype=torch.bool)
        for iteration in range(max_iters):
            active = rr.sqrt() > tolerance
            if iteration % look_every == 0 and _done(active, least):
                break
            product = matvec(direction)
            curvature = dot(direction, product)
            least = torch.where(active, torch.minimum(least, curvature), least)  # nan stays
            step = torch.where(active, rr / curvature, 0.0)  # 0 freezes a column
            x.addcmul_(step, direction)
            residual.addcmul_(step, product, value=-1)
            previous, rr = rr, dot(residual, residual)
            direction.mul_(torch.where(active, rr / previous, 0.0)).add_(residual)
            num_iters += active
        _done(active, least)
        small = rr.sqrt() <= tolerance
        residual = torch.sub(rhs / scale, matvec(x), out=residual)
        norm = dot(residual, residual).sqrt()
        converged = small & (norm <= SLACK * tolerance)
        x *= scale
        norm *= scale

    batch, columns = rhs.shape[0], rhs.shape[-1]
    return CGResult(
        x,
        num_iters.view(batch, columns),
        norm.view(batch, columns),
        converged.view(batch, columns),
    )


def _done(active: Tensor, least: Tensor) -> bool:
    """True if no column is active; raises IndefiniteError if a curvature was not above 0."""
    going, wrong = torch.stack([active.any(), ~(least > 0).all()]).tolist()
    if wrong:
        raise IndefiniteError(
            "the matrix is not positive definite: a direction p has "
            f"p'Hp = {least.min().item():.3g}"
        )
    return not going
