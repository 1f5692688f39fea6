"""The exact solver: two passes over the embeddings, whatever the condition of the system.

With ``W = R' S R``, S a diagonal of signs (all of them 1 where W is positive semidefinite), and F
the rows ``A_v`` of all frames on top of the rows ``sum_v R[j, v] T_v``, H is ``lam I + F' S F`` and
by Woodbury's identity

    x = (b - F' y) / lam,       (lam S + F F') y = F b.

The small system is an arrowhead, a block ``lam I + A_v A_v'`` for each frame and a border: the
frames are eliminated one by one, which leaves one block for each row of R. Its solution holds,
frame by frame, ``A_v x_v`` and ``sum_u W[v, u] T_u x_u``: what the gradients of the embeddings are
made of. docs/method.md has the derivation.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from videogcrf_det.gcrf.band import band_cholesky, band_solve
from videogcrf_det.gcrf.cg import IndefiniteError
from videogcrf_det.gcrf.operator import SpatioTemporalOperator
from videogcrf_det.gcrf.precision import widest

# solver="auto" expects conjugate gradients to need this number of iterations ...
CG_ITERS = 10
# ... and a pass over the embeddings to take the same time for any number of columns up to this.
MEMORY_BOUND_COLUMNS = 12


class Root(NamedTuple):
    """``W = R' S R``."""

    matrix: Tensor  # R (r, V), in float64 on the CPU
    signs: Tensor | None  # the diagonal of S (r,); None: W is positive semidefinite, S = I
    bandwidth: int  # R[j, v] and R[k, v] are both non-zero only where |j - k| is at most this


class Factors(NamedTuple):
    """The small system, factorised for any number of solves."""

    root: Tensor  # R (r, V)
    frames: Tensor  # L_v^-1 (B, V, Ds, Ds), L_v the Cholesky factors of lam I + A_v A_v'
    border: Tensor  # L_v^-1 A_v T_v' (B, V, Ds, Dt)
    reduced: Tensor  # of band_cholesky, (B, r, w+1, Dt, Dt), or of LDL', (B, r Dt, r Dt)
    pivots: Tensor | None  # of LDL', (B, r Dt)


class DirectResult(NamedTuple):
    """The solution, and the products that it comes with."""

    solution: Tensor  # x (B, V, N, C)
    spatial: Tensor  # A_v x_v (B, V, Ds, C)
    temporal: Tensor  # sum_u W[v, u] T_u x_u (B, V, Dt, C)
    residual: Tensor  # |b - H x| / |b|, measured (B,)
    solved: bool  # that is at most the tolerance


def coupling_root(coupling: Tensor) -> Root:
    """Factorise W (V, V), symmetric.

    R has as few rows as W has rank, or the band of W, whichever leaves less work: a single row of
    ones for ``fc``, V rows that are zero but for w + 1 columns each where frames further apart than
    w are not coupled.
    """
    weights = coupling.detach().cpu().double()
    return _root_of(tuple(map(tuple, weights.tolist())), torch.finfo(coupling.dtype).eps)


@lru_cache(maxsize=128)
def _root_of(values_of_w: tuple[tuple[float, ...], ...], eps: float) -> Root:
    weights = torch.tensor(values_of_w, dtype=torch.double, device="cpu")
    values, vectors = torch.linalg.eigh(weights)
    largest, least = float(values.abs().max()), float(values[0])
    rounding = len(weights) * largest
    signs = None
    if least < -rounding * eps:
        kept = values.abs() > rounding * eps
        signs = values[kept].sign()
    else:
        shift = max(0.0, -least) + rounding * torch.finfo(torch.double).eps
        kept = values > shift
        row, column = weights.nonzero(as_tuple=True)
        band = int((column - row).max()) if largest else 0
        if len(weights) * (band + 1) ** 2 < int(kept.sum()) ** 3:  # the work on either band
            identity = torch.eye(len(weights), dtype=torch.double, device="cpu")
            return Root(torch.linalg.cholesky(weights + shift * identity).mT, None, band)
    matrix = values[kept].abs().sqrt()[:, None] * vectors[:, kept].mT
    return Root(matrix, signs, max(len(matrix) - 1, 0))


def is_cheaper(operator: SpatioTemporalOperator, root: Root, columns: int) -> bool:
    """True if a direct solve takes less time than CG_ITERS iterations of conjugate gradients.

    Both in multiply-adds of one clip, from V, N, Ds, Dt, C and r. A pass over the embeddings with
    few columns waits for memory: it counts as one with MEMORY_BOUND_COLUMNS.
    """
    _, frames, spatial, size = operator.spatial.shape
    temporal = operator.temporal.shape[2]
    one_pass = frames * size * (spatial + temporal) * max(columns, MEMORY_BOUND_COLUMNS)
    gram = frames * size * (spatial**2 + spatial * temporal + temporal**2)
    blocks = frames * spatial * (spatial + temporal) * (spatial + temporal + 2 * columns)
    rows, width = len(root.matrix), (root.bandwidth + 1) * temporal
    reduced = rows * temporal * width * (width + 2 * columns)
    return gram + blocks + reduced < 2 * (CG_ITERS - 1) * one_pass


def factorise(operator: SpatioTemporalOperator, root: Root) -> Factors:
    """Factorise the small system of H: one pass over the embeddings, O(V N D^2).

    Where lam is so small against the embeddings that float32 loses it, the factors are in float64.

    Raises:
        IndefiniteError: H is not positive definite, or not distinguishable from one that is not.
    """
    factors, positive = _factorise_once(operator, root)
    if positive:
        return factors
    wide = in_double(operator)
    if wide.spatial.dtype != operator.spatial.dtype:
        return factorise(wide, root)
    if not operator.lam > 0:
        raise ValueError(f"lam must be above 0, got {float(operator.lam)}")
    raise IndefiniteError("the matrix is not positive definite, or rounding makes it so")


def factorise_and_solve(
    operator: SpatioTemporalOperator, root: Root, rhs: Tensor, rtol: float = 1e-5
) -> tuple[Factors, DirectResult]:
    """``factorise`` and ``solve``, which wait for a GPU once: both are looked at when done.

    Raises:
        ValueError: the solution is not finite.
        IndefiniteError: as ``factorise``.
    """
    factors, positive = _factorise_once(operator, root)
    result = _measured(operator, factors, rhs)
    finite = result.spatial.isfinite().all() & result.temporal.isfinite().all()
    above = (result.residual > rtol).any()
    positive, finite, above = torch.stack([positive, finite, above]).tolist()
    if not positive:
        factors = factorise(operator, root)
        result = solve(operator, factors, rhs, rtol)
    elif above:
        result = _improved(operator, factors, rhs, rtol, result)
    else:
        result = result._replace(solved=True)
    if not finite and not (result.spatial.isfinite().all() and result.temporal.isfinite().all()):
        raise ValueError("the solution overflows: the embeddings or the unaries are huge")
    return factors, result


def _factorise_once(operator: SpatioTemporalOperator, root: Root) -> tuple[Factors, Tensor]:
    """Factors, and whether H is positive definite; if it is not, they mean nothing."""
    lam = operator.lam
    frames, border, left, positive = eliminate(*operator.grams(), lam)
    (matrix, reduced, pivots), also = reduce(left, root, lam)
    return Factors(matrix, frames, border, reduced, pivots), positive & also


def eliminate(
    own: Tensor, across: Tensor, others: Tensor, lam: Tensor | float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The part of each frame in the small system, whatever other frames it is solved with.

    Args:
        own, across, others: what ``grams`` of the operator gives; ``own`` gets lam added.

    Returns:
        ``frames`` and ``border`` of Factors; what eliminating the frames leaves of ``T_v T_v'``
        (B, V, Dt, Dt); whether all blocks were positive definite, a bool.
    """
    own.diagonal(dim1=-2, dim2=-1).add_(lam)
    lower, info = torch.linalg.cholesky_ex(own)
    # inverses, since there are few and products with them are much faster than to solve with them
    identity = torch.eye(own.shape[-1], dtype=own.dtype, device=own.device)
    frames = torch.linalg.solve_triangular(lower, identity, upper=False)
    border = frames @ across
    positive = (info == 0).all()
    if isinstance(lam, Tensor):
        positive = positive & (lam > 0)
    return frames, border, others - border.mT @ border, positive


def reduce(
    left: Tensor, root: Root, lam: Tensor | float
) -> tuple[tuple[Tensor, Tensor, Tensor | None], Tensor]:
    """``root``, ``reduced`` and ``pivots`` of Factors, from what eliminating the frames left, and
    whether the rest of the small system is as positive as that of a positive definite H."""
    matrix = root.matrix.to(left.dtype).to(left.device, non_blocking=True)
    if root.signs is None:
        reduced, positive = band_cholesky(_reduced_band(left, matrix, root.bandwidth, lam))
        pivots = None
    else:
        signs = root.signs.to(matrix.dtype).to(matrix.device, non_blocking=True)
        reduced, pivots, positive = _reduced_indefinite(left, matrix, signs, lam)
    return (matrix, reduced, pivots), positive.all()


def solve(
    operator: SpatioTemporalOperator, factors: Factors, rhs: Tensor, rtol: float = 1e-5
) -> DirectResult:
    """Solve ``H x = rhs`` (B, V, N, C) with the factors of H.

    Where the residual, measured on a few columns, is above ``rtol``, one step of iterative
    refinement follows, its residual in float64. Where it stays above and rounding of x is no
    excuse, the factors are made again in float64.
    """
    result = _measured(operator, factors, rhs)
    if (result.residual > rtol).any():
        return _improved(operator, factors, rhs, rtol, result)
    return result._replace(solved=True)


def _measured(operator: SpatioTemporalOperator, factors: Factors, rhs: Tensor) -> DirectResult:
    x, spatial, temporal = _solve_once(operator, factors, rhs)
    return DirectResult(x, spatial, temporal, _residual(operator, rhs, x), solved=False)


def _improved(
    operator: SpatioTemporalOperator,
    factors: Factors,
    rhs: Tensor,
    rtol: float,
    result: DirectResult,
) -> DirectResult:
    precise = in_double(operator)
    result = _refine(operator, precise, factors, rhs, result)
    above = result.residual > rtol
    inexact = above & (result.residual > 10 * _rounding(precise, rhs, result.solution))
    wide = precise.spatial.dtype
    if inexact.any() and factors.root.dtype != wide:
        return solve(operator, factorise(precise, coupling_root(operator.weights)), rhs, rtol)
    return result._replace(solved=not above.any())


def _refine(
    operator: SpatioTemporalOperator,
    precise: SpatioTemporalOperator,
    factors: Factors,
    rhs: Tensor,
    result: DirectResult,
) -> DirectResult:
    """One step of iterative refinement, unless it makes matters worse.

    ``precise`` is H in float64. The products are those of the solution that the step starts from,
    and what they change by.
    """
    old, dtype = result.solution.to(precise.spatial.dtype), rhs.dtype
    spatial, temporal = precise.project(old)
    residual = rhs - precise.spread(old, spatial, temporal, beta=operator.lam)
    change = _solve_once(operator, factors, residual.to(dtype))
    x = result.solution + change[0]
    before, after = (_residual(precise, rhs, each) for each in (result.solution, x))
    if after.max() >= before.max():
        return result._replace(residual=before)
    spatial, temporal = spatial.to(dtype) + change[1], temporal.to(dtype) + change[2]
    return DirectResult(x, spatial, temporal, after, solved=False)


def _solve_once(
    operator: SpatioTemporalOperator, factors: Factors, rhs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if factors.root.dtype != rhs.dtype:
        wide = rhs.to(factors.root.dtype)
        x, spatial, temporal = _solve_once(in_double(operator), factors, wide)
        return x.to(rhs.dtype), spatial.to(rhs.dtype), temporal.to(rhs.dtype)

    products = operator.products(rhs)
    spatial, temporal = eliminated(factors.frames, factors.border, products)
    temporal = solve_reduced(factors.root, factors.reduced, factors.pivots, temporal)
    spatial = substituted(factors.frames, factors.border, spatial, temporal).mT
    temporal = temporal.mT
    scale = 1 / operator.lam
    return operator.spread(rhs, spatial, temporal, beta=scale, alpha=-scale), spatial, temporal


# The small system is solved as rows, (B, V, C, D): the layout that products come in.


def eliminated(
    frames: Tensor, border: Tensor, products: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """The right-hand side F b with the frames eliminated, rows (B, V, C, Ds) and (B, V, C, Dt), of
    ``products`` (B, V, D, C)."""
    spatial = products[0].mT @ frames.mT
    return spatial, products[1].mT - spatial @ border


def solve_reduced(root: Tensor, reduced: Tensor, pivots: Tensor | None, temporal: Tensor) -> Tensor:
    """``sum_u W[v, u] T_u x_u``, rows (B, V, C, Dt), for what ``eliminated`` gives."""
    mixed = _mixed(root, temporal).mT
    if pivots is None:
        mixed = band_solve(reduced, mixed)
    else:
        solved = torch.linalg.ldl_solve(reduced, pivots, mixed.flatten(1, 2))
        mixed = solved.view(mixed.shape)
    return _mixed(root.mT, mixed.mT)


def substituted(frames: Tensor, border: Tensor, spatial: Tensor, temporal: Tensor) -> Tensor:
    """``A_v x_v``, rows (B, V, C, Ds): ``spatial`` of ``eliminated``, ``temporal`` solved."""
    return (spatial - temporal @ border.mT) @ frames


def _mixed(weights: Tensor, rows: Tensor) -> Tensor:
    """``sum_v weights[j, v] rows_v`` (B, J, C, D) for rows (B, V, C, D)."""
    return (weights @ rows.flatten(2)).unflatten(2, rows.shape[2:])


def _residual(operator: SpatioTemporalOperator, rhs: Tensor, x: Tensor) -> Tensor:
    """``|b - H x| / |b|`` (B,) of a random combination of some columns of rhs and of x."""
    rhs, x = combined(rhs).to(operator.spatial), combined(x).to(operator.spatial)
    return _relative(rhs - operator.matvec(x), rhs)


def _rounding(operator: SpatioTemporalOperator, rhs: Tensor, x: Tensor) -> Tensor:
    """The residual (B,) after a change of x in its last digit."""
    rhs, x = combined(rhs), combined(x)
    digit = x * random_signs(*x.shape[1:]).to(x) * (torch.finfo(x.dtype).eps / 2)
    return _relative(operator.matvec(digit.to(operator.spatial)), rhs)


def combined(columns: Tensor) -> Tensor:
    some = columns[..., :: max(1, columns.shape[-1] // 16)]  # more would add to the rounding
    return (random_signs(1, some.shape[-1]).to(some) @ some.mT).mT


def random_signs(*shape: int) -> Tensor:
    """1 and -1, the same at every call; the user's random numbers are left alone."""
    generator = torch.Generator("cpu").manual_seed(0)
    return 1 - 2 * torch.randint(2, shape, generator=generator, device="cpu")


def _relative(values: Tensor, rhs: Tensor) -> Tensor:
    """``|values| / |rhs|`` of each clip; 0 where both are."""
    # in float64, lest the squares of small numbers be lost
    norm, scale = (t.flatten(1).to(widest(t)).norm(dim=1) for t in (values, rhs))
    return norm / scale.clamp(min=torch.finfo(scale.dtype).tiny)


def _reduced_band(left: Tensor, root: Tensor, band: int, lam: Tensor | float) -> Tensor:
    """``lam I + R left R'`` in blocks, (B, r, w+1, Dt, Dt), for band_cholesky."""
    rows = len(root)
    # block j + o, j is the sum over v of R[j + o, v] R[j, v] left_v
    weights = root.new_zeros(rows, band + 1, root.shape[1])
    for offset in range(min(band + 1, rows)):
        weights[: rows - offset, offset] = root[offset:] * root[: rows - offset]
    blocks = torch.einsum("jov,bvde->bjode", weights, left)
    blocks[:, :, 0].diagonal(dim1=-2, dim2=-1).add_(lam)
    return blocks


def _reduced_indefinite(
    left: Tensor, root: Tensor, signs: Tensor, lam: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """LDL' of ``lam S + R left R'``, its pivots, and whether H is positive definite, (B,) bool."""
    matrix = torch.einsum("jv,kv,bvde->bjdke", root, root, left).flatten(3).flatten(1, 2)
    signs = signs.repeat_interleave(left.shape[-1])
    matrix.diagonal(dim1=-2, dim2=-1).add_(lam * signs)
    factor, pivots, _ = torch.linalg.ldl_factor_ex(matrix)
    # H is positive definite if and only if this matrix has as many negative eigenvalues as S
    # (Sylvester). D shows them: 1x1 blocks below zero, and one for each 2x2 block, whose two rows
    # have negative pivots.
    single = (pivots > 0) & (factor.diagonal(dim1=-2, dim2=-1) < 0)
    negative = single.sum(dim=1) + (pivots < 0).sum(dim=1) // 2
    return factor, pivots, negative == (signs < 0).sum()


def in_double(operator: SpatioTemporalOperator) -> SpatioTemporalOperator:
    """H in float64, or as it is where there is none."""
    wide = widest(operator.spatial)
    spatial, temporal = operator.spatial.to(wide), operator.temporal.to(wide)
    return SpatioTemporalOperator(spatial, temporal, operator.weights.to(wide), operator.lam)
