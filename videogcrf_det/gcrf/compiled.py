"""The inference as one operator, for torch.compile, torch.export and TorchScript.

What the solvers decide from values cannot be traced. As an operator, ``videogcrf::inference``, they
are a node of a graph, which has no break there then. Its backward pass solves forward once more,
since what the graph keeps is known beforehand, and factors are not.
"""

from typing import Any

import torch
from torch import Tensor

from videogcrf_det.gcrf.inference import Inference, infer


class _Kept:
    """The part of its context that a torch.autograd.Function needs."""

    def __init__(self, needs_input_grad: list[bool]) -> None:
        self.needs_input_grad = needs_input_grad

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        self.saved_tensors = tensors


def _inference(
    unary: Tensor,
    spatial: Tensor | None,
    temporal: Tensor | None,
    coupling: Tensor | None,
    lam: Tensor,
    solver: str,
    rtol: float,
    max_iters: int,
) -> Tensor:
    """x as rows (B, V, C, N) for unaries as rows; the rest is that of gcrf_inference."""
    options: dict[str, Any] = {"solver": solver, "rtol": rtol, "max_iters": max_iters}
    return infer(unary.mT, spatial, temporal, coupling, lam, **options).mT.contiguous()


def _gradients(
    grad: Tensor,
    unary: Tensor,
    spatial: Tensor | None,
    temporal: Tensor | None,
    coupling: Tensor | None,
    lam: Tensor,
    solver: str,
    rtol: float,
    max_iters: int,
    needed: list[bool],
) -> list[Tensor]:
    """The gradients that are needed, of the first five arguments of the operator."""
    given = unary, spatial, temporal, coupling, lam
    dtype = torch.promote_types(unary.dtype, torch.float32)
    wide: Any = [t if t is None else t.detach().to(dtype).contiguous() for t in given]
    kept = _Kept(needed)
    arguments: Any = [kept, *wide, solver, rtol, max_iters]
    Inference.forward(*arguments)
    grads = Inference.backward(kept, grad.to(dtype).contiguous())[:5]
    return [
        found.to(like).clone(memory_format=torch.contiguous_format)
        for found, like, wanted in zip(grads, given, needed, strict=True)
        if wanted and found is not None and like is not None
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.solver, ctx.rtol, ctx.max_iters = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    given = ctx.saved_tensors
    needed = [bool(wanted) for wanted in ctx.needs_input_grad[:5]]
    options = ctx.solver, ctx.rtol, ctx.max_iters
    grads = iter(torch.ops.videogcrf.gradients(grad, *given, *options, needed))
    return (*(next(grads) if wanted else None for wanted in needed), None, None, None)


def _empty(t: Tensor) -> Tensor:
    return torch.empty_like(t, memory_format=torch.contiguous_format)


def _empty_gradients(grad: Tensor, *arguments: Any) -> list[Tensor]:
    *given, _, _, _, needed = arguments
    return [_empty(t) for t, wanted in zip(given, needed, strict=True) if wanted]


if hasattr(torch.library, "custom_op"):  # torch 2.4 and later
    operator = torch.library.custom_op("videogcrf::inference", _inference, mutates_args=())
    operator.register_fake(lambda unary, *_: _empty(unary))
    operator.register_autograd(_backward, setup_context=_keep)
    gradients = torch.library.custom_op("videogcrf::gradients", _gradients, mutates_args=())
    gradients.register_fake(_empty_gradients)
