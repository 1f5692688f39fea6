"""x = H^-1 b with gradients in closed form: nothing of the solver is unrolled."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from videogcrf_det.gcrf.cg import IndefiniteError, conjugate_gradient
from videogcrf_det.gcrf.direct import (
    DirectResult,
    Factors,
    Root,
    coupling_root,
    factorise_and_solve,
    is_cheaper,
    solve,
)
from videogcrf_det.gcrf.operator import SpatioTemporalOperator, embed
from videogcrf_det.gcrf.precision import full_precision, precise

SOLVERS = ("auto", "direct", "cg")


class ConvergenceWarning(UserWarning):
    """A system was not solved to the tolerance asked for."""


def gcrf_inference(
    unary: Tensor,
    spatial: Tensor | None,
    temporal: Tensor | None,
    coupling: Tensor | None,
    lam: Tensor | float,
    *,
    solver: str = "auto",
    rtol: float = 1e-5,
    max_iters: int = 200,
) -> Tensor:
    """Minimise the quadratic energy of a batch of clips: solve ``H x = unary``.

    With ``g = dLoss/dx``, ``z = H^-1 g``, ``Tx_v = sum_u W[v, u] T_u x_u`` and ``Tz`` likewise

        dLoss/dunary = z           dLoss/dA_v = -[(A_v x_v) z_v' + (A_v z_v) x_v']
        dLoss/dlam = -<z, x>       dLoss/dT_v = -[Tx_v z_v' + Tz_v x_v']
                                   dLoss/dW[v, u] = -<T_v z_v, T_u x_u>

    so the backward pass is one more solve; the direct solver has the factors for it already, and
    ``A_v x_v`` and ``Tx_v`` come with its solution. No memory depends on a number of iterations.
    There is no second derivative. Half-precision inputs are solved in float32, under autocast too.

    A unary whose columns are contiguous (``features.flatten(-2).mT``) is taken without a copy.
    In torch.compile, torch.export and torch.jit.trace it is one operator; values are looked at when
    that is run.

    Args:
        unary: b (B, V, N, C).
        spatial: A (B, V, Ds, N), or None; not both None.
        temporal: T (B, V, Dt, N), or None: frames then do not see each other.
        coupling: W (V, V), symmetric; see temporal_coupling. None with ``temporal=None``.
        lam: lam > 0, a number or a scalar tensor.
        solver: ``"direct"``, exact whatever the condition of H; ``"cg"``, Algorithm 1 of the paper;
            ``"auto"``, the direct one unless 10 iterations of the other take less time, which is
            so for large embeddings with few columns and for long clips with a dense W of high rank.
        rtol: relative residual at which a column counts as solved, forward and backward.
        max_iters: steps after which conjugate gradients give up. Residuals well above ``rtol`` at
            the end are one ConvergenceWarning per process.

    Returns:
        x (B, V, N, C), in the dtype of ``unary``.

    Raises:
        ValueError: shapes do not fit, lam <= 0, a value is not finite, or nothing is coupled.
        IndefiniteError: H is not positive definite, which only an indefinite W can cause.

    Source: Eq. 1-11 and Sec. 2.3.
    """
    if temporal is None or coupling is None:
        temporal = coupling = None
    options: dict[str, Any] = {"solver": solver, "rtol": rtol, "max_iters": max_iters}
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if traced and hasattr(torch.library, "custom_op"):  # see compiled.py
        lam = torch.as_tensor(lam, dtype=torch.promote_types(unary.dtype, torch.float32))
        rows = unary.mT.contiguous()
        operator = torch.ops.videogcrf.inference
        return operator(rows, spatial, temporal, coupling, lam, *options.values()).mT
    return infer(unary, spatial, temporal, coupling, lam, **options)


@torch.compiler.disable
def infer(
    unary: Tensor,
    spatial: Tensor | None,
    temporal: Tensor | None,
    coupling: Tensor | None,
    lam: Tensor | float,
    *,
    solver: str,
    rtol: float,
    max_iters: int,
) -> Tensor:
    """``gcrf_inference`` as it is run."""
    _check(unary, spatial, temporal, coupling, lam, solver)
    dtype = torch.promote_types(unary.dtype, torch.float32)
    # a number stays on the CPU, and so does W: what is decided from them is decided there
    number = {} if isinstance(lam, Tensor) else {"device": "cpu"}
    lam = torch.as_tensor(lam, dtype=dtype, **number)
    others = [t if t is None else t.to(dtype) for t in (spatial, temporal, coupling)]
    with full_precision(unary.device):
        rows = unary.to(dtype).mT.contiguous()
        x = Inference.apply(rows, *others, lam, solver, rtol, max_iters).mT
    return x.to(unary.dtype)


_counts: list[list[int]] = []


@contextlib.contextmanager
def counted_iterations(counts: list[int]) -> Iterator[None]:
    """Have conjugate gradients append the steps of each column to ``counts`` in the block."""
    _counts.append(counts)
    try:
        yield
    finally:
        _counts.remove(counts)


class Inference(torch.autograd.Function):
    """Unaries and results as rows (B, V, C, N), the layout of feature maps."""

    @staticmethod
    def forward(
        ctx: Any,
        unary: Tensor,
        spatial: Tensor | None,
        temporal: Tensor | None,
        coupling: Tensor | None,
        lam: Tensor,
        solver: str,
        rtol: float,
        max_iters: int,
    ) -> Tensor:
        operator = SpatioTemporalOperator(spatial, temporal, coupling, lam)
        with _explained(operator, unary):
            root, factors = _root(operator, unary.shape[2], solver), None
            if root is None:
                x, ax, tx = _iterate(operator, unary.mT, rtol, max_iters)
                if not (ax.isfinite().all() and tx.isfinite().all()):
                    raise ValueError(
                        "the solution overflows: the embeddings or the unaries are huge"
                    )
            else:
                operator.stack(unary.shape[2])
                factors, direct = factorise_and_solve(operator, root, unary.mT, rtol)
                x, ax, tx = _checked(direct, rtol)
        stacked = operator.stack(unary.shape[2])
        if stacked is not None:  # in place of its parts
            ctx.sizes = [e if e is None else e.shape[2] for e in (spatial, temporal)]
            spatial = temporal = None
        # everything, to be dropped and made again by torch.utils.checkpoint
        inputs = (stacked, spatial, temporal, coupling, lam)
        ctx.save_for_backward(*inputs, x, ax, tx, *(factors or ()))
        ctx.rtol, ctx.max_iters = rtol, max_iters
        return x.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        stacked, spatial, temporal, coupling, lam, x, ax, tx, *rest = ctx.saved_tensors
        if stacked is not None:
            top, bottom = ctx.sizes
            spatial = None if top is None else stacked[:, :, :top]
            temporal = None if bottom is None else stacked[:, :, stacked.shape[2] - bottom :]
        operator = SpatioTemporalOperator(spatial, temporal, coupling, lam, stacked)
        factors = Factors(*rest) if rest else None
        needs = ctx.needs_input_grad
        with full_precision(grad.device):
            if factors is None and not grad.sum().isfinite():
                # gradient scaling lets this happen and looks out for it
                z = torch.full_like(grad, torch.nan).mT
                az, tz = operator.project(z)
            else:
                with _explained(operator, grad):
                    if factors is None:
                        z, az, tz = _iterate(operator, grad.mT, ctx.rtol, ctx.max_iters)
                    else:
                        direct = solve(operator, factors, grad.mT, ctx.rtol)
                        z, az, tz = _checked(direct, ctx.rtol)
            grads: list[Tensor | None] = [z.mT, None, None, None, None]
            if needs[1]:
                grads[1] = embedding_gradient(ax, z, az, x)
            if needs[2]:
                grads[2] = embedding_gradient(tx, z, tz, x)
            if needs[3]:
                own = embed(operator.temporal, z), embed(operator.temporal, x)
                grads[3] = -torch.einsum("bvdc,budc->vu", *map(precise, own)).to(coupling)
            if needs[4]:
                # what is summed over everything cancels: in float64, or it depends on the order
                grads[4] = -precise(torch.linalg.vecdot(z.mT, x.mT)).sum().to(lam)
        return (*grads, None, None, None)


def embedding_gradient(px: Tensor, z: Tensor, pz: Tensor, x: Tensor) -> Tensor:
    """``-(px z' + pz x')`` (B, V, D, N) for px, pz (B, V, D, C) and x, z (B, V, N, C)."""
    # written once before it is added to, on a CPU: products into fresh memory are far slower
    grad = torch.zeros(*px.shape[:3], z.shape[2], dtype=z.dtype, device=z.device)
    for y, p in ((px, z), (pz, x)):
        grad.flatten(0, 1).baddbmm_(y.flatten(0, 1), p.mT.flatten(0, 1), alpha=-1)
    return grad


@contextlib.contextmanager
def _explained(operator: SpatioTemporalOperator, unary: Tensor) -> Iterator[None]:
    """Say what a solver stumbled over, and what to do about it."""
    try:
        yield
    except ValueError as error:
        named = ("unary", unary), ("spatial", operator.spatial), ("temporal", operator.temporal)
        for name, values in named:
            if not values.isfinite().all():
                raise ValueError(
                    f"{name} holds values that are not finite: in training, lower the learning rate"
                ) from None
        if not isinstance(error, IndefiniteError):
            raise
        cure = "a larger lam"
        if coupling_root(operator.weights).signs is None:
            cure = f"use {cure}, or smaller embeddings"
        else:
            cure = f'the temporal coupling is indefinite: use self_coupling="psd", or {cure}'
        raise IndefiniteError(f"{error}, with lam = {operator.lam:g}; {cure}") from None


def _root(operator: SpatioTemporalOperator, columns: int, solver: str) -> Root | None:
    """The factors of the direct solver; None: conjugate gradients are to be used."""
    if solver == "cg":
        return None
    root = coupling_root(operator.weights)
    return root if solver == "direct" or is_cheaper(operator, root, columns) else None


def _checked(direct: DirectResult, rtol: float) -> tuple[Tensor, Tensor, Tensor]:
    """As ``_iterate``."""
    if not direct.solved and (direct.residual > 10 * rtol).any():  # rounding has its share
        _warn_once("rounding left the direct solver", direct.residual, rtol, "rtol or lam")
    return direct.solution, direct.spatial, direct.temporal


def _iterate(
    operator: SpatioTemporalOperator, rhs: Tensor, rtol: float, max_iters: int
) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, V, N, C), ``A_v x_v`` (B, V, Ds, C) and ``sum_u W[v, u] T_u x_u`` (B, V, Dt, C)."""
    result = conjugate_gradient(operator.matvec, rhs, rtol=rtol, max_iters=max_iters)
    for counts in _counts:
        counts += result.num_iters.flatten().tolist()
    if not result.converged.all():
        norm = rhs.norm(dim=(1, 2)).clamp(min=torch.finfo(rhs.dtype).tiny)
        most = int(result.num_iters.max())
        after = f"conjugate gradients stopped after {most} iterations"
        cures = "max_iters, rtol or lam"
        if most < max_iters:
            after = "rounding left conjugate gradients"
            cures = 'rtol or lam, or use solver="direct"'
        _warn_once(after, result.residual_norm / norm, rtol, cures)
    return result.solution, *operator.project(result.solution)


_warned: set[str] = set()


def _warn_once(what: str, residual: Tensor, rtol: float, cures: str) -> None:
    if "convergence" in _warned:
        return
    _warned.add("convergence")
    warnings.warn(
        f"{what} at a relative residual of {float(residual.max()):.1e}, above {rtol:.1e}: raise "
        f"{cures} (said once)",
        ConvergenceWarning,
        stacklevel=4,
    )


def _check(
    unary: Tensor,
    spatial: Tensor | None,
    temporal: Tensor | None,
    coupling: Tensor | None,
    lam: Tensor | float,
    solver: str,
) -> None:
    if solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}: use one of {', '.join(SOLVERS)}")
    if unary.dim() != 4:
        raise ValueError(f"unary must be (B, V, N, C), got {tuple(unary.shape)}")
    batch, frames, size, _ = unary.shape
    for name, embedding in (("spatial", spatial), ("temporal", temporal)):
        if embedding is None:
            continue
        shape = tuple(embedding.shape)
        if len(shape) != 4 or (shape[0], shape[1], shape[3]) != (batch, frames, size):
            raise ValueError(
                f"{name} must be (B, V, D, N) = ({batch}, {frames}, D, {size}) "
                f"to fit unary {tuple(unary.shape)}, got {shape}"
            )
    if coupling is not None and tuple(coupling.shape) != (frames, frames):
        raise ValueError(
            f"coupling must be (V, V) = ({frames}, {frames}), got {tuple(coupling.shape)}"
        )
    if coupling is not None and not coupling.isfinite().all():  # no wait: it is on the CPU
        raise ValueError("coupling holds values that are not finite")
    # on a GPU it is looked at with the solution
    if not (isinstance(lam, Tensor) and lam.device.type != "cpu") and not lam > 0:
        raise ValueError(f"lam must be above 0, got {float(lam)}")
