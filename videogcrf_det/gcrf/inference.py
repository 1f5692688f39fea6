"""x = H^-1 b with gradients in closed form: nothing of the solver is unrolled."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from videogcrf_det.gcrf.cg import CGResult, IndefiniteError, conjugate_gradient
from videogcrf_det.gcrf.operator import SpatioTemporalOperator

SOLVERS = ("cg",)


class ConvergenceWarning(UserWarning):
    """A system was not solved to the tolerance asked for."""


def gcrf_inference(
    unary: Tensor,
    spatial: Tensor | None,
    temporal: Tensor | None,
    coupling: Tensor | None,
    lam: Tensor | float,
    *,
    solver: str = "cg",
    rtol: float = 1e-5,
    max_iters: int = 200,
) -> Tensor:
    """Minimise the quadratic energy of a batch of clips: solve ``H x = unary``.

    With ``g = dLoss/dx``, ``z = H^-1 g``, ``Tx_v = sum_u W[v, u] T_u x_u`` and ``Tz`` likewise

        dLoss/dunary = z           dLoss/dA_v = -[(A_v x_v) z_v' + (A_v z_v) x_v']
        dLoss/dlam = -<z, x>       dLoss/dT_v = -[Tx_v z_v' + Tz_v x_v']
                                   dLoss/dW[v, u] = -<T_v z_v, T_u x_u>

    so the backward pass is one more solve, and the memory it needs does not depend on the number
    of iterations. There is no second derivative. Half-precision inputs are solved in float32,
    under autocast too.

    Args:
        unary: b (B, V, N, C).
        spatial: A (B, V, Ds, N), or None; not both None.
        temporal: T (B, V, Dt, N), or None: frames then do not see each other.
        coupling: W (V, V), symmetric; see temporal_coupling. None with ``temporal=None``.
        lam: lam > 0, a number or a scalar tensor.
        solver: ``"cg"``, Algorithm 1 of the paper.
        rtol: relative residual at which a column counts as solved, forward and backward.
        max_iters: steps after which to give up, with one ConvergenceWarning per process.

    Returns:
        x (B, V, N, C), in the dtype of ``unary``.

    Raises:
        ValueError: shapes do not fit, lam <= 0, a value is not finite, or nothing is coupled.
        IndefiniteError: H is not positive definite, which only an indefinite W can cause.

    Source: Eq. 1-11 and Sec. 2.3.
    """
    if temporal is None or coupling is None:
        temporal = coupling = None
    _check(unary, spatial, temporal, coupling, lam, solver)
    dtype = torch.promote_types(unary.dtype, torch.float32)
    lam = torch.as_tensor(lam, dtype=dtype, device=unary.device)
    inputs = [t if t is None else t.to(dtype) for t in (unary, spatial, temporal, coupling)]
    with torch.autocast(unary.device.type, enabled=False):
        x = _Inference.apply(*inputs, lam, rtol, max_iters)
    return x.to(unary.dtype)


class _Inference(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        unary: Tensor,
        spatial: Tensor | None,
        temporal: Tensor | None,
        coupling: Tensor | None,
        lam: Tensor,
        rtol: float,
        max_iters: int,
    ) -> Tensor:
        operator = SpatioTemporalOperator(spatial, temporal, coupling, lam)
        x = _solve(operator, unary, rtol, max_iters)
        ctx.save_for_backward(x, spatial, temporal, coupling, lam)
        ctx.rtol, ctx.max_iters = rtol, max_iters
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, spatial, temporal, coupling, lam = ctx.saved_tensors
        _, need_spatial, need_temporal, need_coupling, need_lam, *_ = ctx.needs_input_grad
        operator = SpatioTemporalOperator(spatial, temporal, coupling, lam)
        with torch.autocast(grad.device.type, enabled=False):
            if grad.isfinite().all():
                z = _solve(operator, grad, ctx.rtol, ctx.max_iters)
            else:  # gradient scaling lets this happen and looks out for it
                z = torch.full_like(grad, torch.nan)
            ex, ez = operator.embedding @ x, operator.embedding @ z
            grads: list[Tensor | None] = [z, None, None, None, None]
            if need_spatial or need_temporal:
                grad_embedding = -(operator.mix(ex) @ z.mT + operator.mix(ez) @ x.mT)
                grads[1], grads[2] = grad_embedding.tensor_split([operator.spatial_dim], dim=2)
            if need_coupling:
                tx, tz = ex[:, :, operator.spatial_dim :], ez[:, :, operator.spatial_dim :]
                grads[3] = -torch.einsum("bvdc,budc->vu", tz, tx)
            if need_lam:
                grads[4] = -(z * x).sum()
        needed = zip(grads, ctx.needs_input_grad, strict=False)
        return (*(grad if need else None for grad, need in needed), None, None)


def _solve(operator: SpatioTemporalOperator, rhs: Tensor, rtol: float, max_iters: int) -> Tensor:
    try:
        result = conjugate_gradient(operator.matvec, rhs, rtol=rtol, max_iters=max_iters)
    except IndefiniteError as error:
        raise IndefiniteError(
            f"{error}, with lam = {operator.lam:g}; the temporal coupling is indefinite: "
            'use self_coupling="psd" (MODEL.VIDEO_GCRF.SELF_COUPLING), or a larger lam '
            "(MODEL.VIDEO_GCRF.LAMBDA)"
        ) from None
    if not result.converged.all():
        _warn_once(result, rhs, rtol)
    return result.solution


_warned: set[str] = set()


def _warn_once(result: CGResult, rhs: Tensor, rtol: float) -> None:
    if "convergence" in _warned:
        return
    _warned.add("convergence")
    relative = result.residual_norm / rhs.norm(dim=(1, 2)).clamp(min=torch.finfo(rhs.dtype).tiny)
    warnings.warn(
        f"conjugate gradients stopped after {int(result.num_iters.max())} iterations at a relative "
        f"residual of {float(relative.max()):.1e}, above {rtol:.1e}: raise "
        "MODEL.VIDEO_GCRF.MAX_ITERS, MODEL.VIDEO_GCRF.RTOL or MODEL.VIDEO_GCRF.LAMBDA (said once)",
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
    if not torch.as_tensor(lam).item() > 0:
        raise ValueError(f"lam must be above 0, got {torch.as_tensor(lam).item()}")
    for name, values in (("unary", unary), ("spatial", spatial), ("temporal", temporal)):
        if values is not None and not values.isfinite().all():
            raise ValueError(
                f"{name} holds values that are not finite: in training, lower the learning rate"
            )
