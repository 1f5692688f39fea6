"""Couplings that attract: a random field whose solution is an average of the unaries.

The matrix of the energy is ``M = diag(c + K 1) - K`` with the couplings K >= 0 of all pairs, and x
is ``M^-1`` of ``c b``. A small c leaves next to nothing of its rows' sums, so what is a difference
in M is never taken: elimination.py inverts from couplings and confidences.

Of a large clip the couplings are not formed. They go through sums over its unknowns,
``y = R (T x)``, a small number of them. With ``W = L R``, both not negative, and ``d = c + K 1``

    x = (c b + T' L y) / d,       y = p + Q y,       p = R T (c b / d),   Q = R (T d^-1 T') L

The solution of a constant 1 is 1, which ``s = R T 1`` belongs to: I - Q with its columns times s
has couplings ``Q s`` and, as the excess of its rows, what p is for b = 1. So it is inverted in the
same way. The inverses are made in float64: there are few of them, and the gradients are made of
differences of ``M^-1 g``, which is as large as 1 / c.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from videogcrf_det.gcrf.elimination import positive_inverse
from videogcrf_det.gcrf.inference import gcrf_inference
from videogcrf_det.gcrf.operator import embed
from videogcrf_det.gcrf.precision import full_precision, precise

# unknowns of a clip up to which its matrix is formed: it is then inverted in less time
DENSE = 256
# sums over a clip's unknowns up to which they are eliminated; more take conjugate gradients
SUMS = 1024


@torch.compiler.disable
def weighted_average(
    unary: Tensor, confidence: Tensor, embedding: Tensor, coupling: Tensor, **solver: Any
) -> Tensor:
    """Minimise ``sum_i c_i |x_i - b_i|^2 + sum_{i<j} w_ij |x_i - x_j|^2`` over a batch of clips.

    i and j are unknowns of any two frames v and u, and ``w_ij = W[v, u] <t_i, t_j>``. Each x_i is
    an average of all b_j with weights that are not negative and add up to 1.

    In float32 they add up to 1 within 1e-5 for all confidences from 1e-8 to 1e4, against couplings
    of about 1. Gradients are as exact where the matrix is formed, for up to ``DENSE`` unknowns a
    clip. For more, that of the embeddings loses what is below 1e-5 of the gradient of x times x,
    and so all of it where the confidences are below 1e-5 of the couplings. Not promised: anything
    below a relative residual of ``rtol``, with conjugate gradients. They solve clips of more than
    ``DENSE`` unknowns if the solver is "cg", or for "auto" if V D is above ``SUMS`` (D alone, where
    W is of rank 1, as for ``fc``).

    Args:
        unary: b (B, V, N, C), real.
        confidence: c (B, V, N), not negative.
        embedding: T (B, V, D, N), not negative.
        coupling: W (V, V), symmetric and not negative. Its diagonal couples unknowns of one frame.
        solver: keyword arguments of gcrf_inference, where that is used.

    Returns:
        x (B, V, N, C); 0 for unknowns that are not trusted, nor coupled to any that are.

    Raises:
        ValueError: a value is not finite.
    """
    given = {"confidence": confidence, "embedding": embedding, "unary": unary}
    dtype = torch.promote_types(unary.dtype, torch.float32)
    rows, confidence, embedding = (t.to(dtype) for t in (unary, confidence, embedding))
    wanted = solver.get("solver", "auto")
    with full_precision(unary.device):
        if confidence[0].numel() <= DENSE:
            weights = coupling.to(rows, non_blocking=True)
            pairs = torch.einsum("bvdn,vu,budm->bvnum", embedding, weights, embedding)
            pairs = pairs.flatten(3).flatten(1, 2)
            flat = rows.flatten(1, 2), confidence.flatten(1)
            x = _Formed.apply(*flat, pairs).view(rows.shape)
        elif wanted != "cg" and (
            wanted == "direct" or embedding.shape[2] * _factors(coupling)[1].shape[0] <= SUMS
        ):
            weights = coupling.to(rows, non_blocking=True)
            factors = (f.to(rows, non_blocking=True) for f in _factors(coupling))
            x = _Eliminated.apply(rows, confidence, embedding, weights, *factors)
        else:
            x = _iterated(rows, confidence, embedding, coupling.to(rows), **solver)
        if not (x.sum() + confidence.sum() + embedding.sum()).isfinite():
            _explain(given, x)
    return x.to(unary.dtype)


def _explain(given: dict[str, Tensor], x: Tensor) -> None:
    """Raise ValueError, unless the sum overflows and the values do not."""
    wrong = [name for name, values in given.items() if not values.isfinite().all()]
    if wrong or not x.isfinite().all():
        raise ValueError(
            f"{' and '.join(wrong) or 'the solution'} holds values that are not finite: in "
            "training, lower the learning rate"
        )


def _factors(coupling: Tensor) -> tuple[Tensor, Tensor]:
    """``W = L R``, L (V, G) and R (G, V), neither negative; in float64 on the CPU."""
    weights = coupling.detach().cpu().double()
    first = weights[:, :1]
    if first[0] > 0:
        root = first / first[0].sqrt()
        if (root * root.mT - weights).abs().max() <= 1e-7 * weights.max():
            return root, root.mT
    return weights, torch.eye(len(weights), dtype=torch.double, device="cpu")


class _Formed(torch.autograd.Function):
    """x (B, n, C) from b (B, n, C), c (B, n) and K (B, n, n), symmetric."""

    @staticmethod
    def forward(ctx: Any, unary: Tensor, confidence: Tensor, pairs: Tensor) -> Tensor:
        inverse = positive_inverse(precise(pairs), precise(confidence))
        weights = (inverse * precise(confidence)[:, None]).to(unary)  # rows add up to 1
        x = weights @ unary
        ctx.save_for_backward(unary, confidence, inverse, x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        unary, confidence, inverse, x = ctx.saved_tensors
        # what the unknowns of z, or of x, have in common does not matter for the couplings, and
        # would hide their differences: it is taken from the inverse, in float64
        level = inverse.mean(1, keepdim=True)
        rest = inverse - level
        averaging = (rest * precise(confidence)[:, None]).to(unary)
        level, rest = level.to(unary), rest.to(unary)
        with full_precision(grad.device):
            z = rest @ grad
            products = z @ (averaging @ unary).mT
            z += level @ grad
            trust = torch.linalg.vecdot(z, unary - x)
        own = products.diagonal(dim1=1, dim2=2)
        pairs = (products + products.mT - own[:, :, None] - own[:, None]) / 2
        return confidence[..., None] * z, trust, pairs


class _Eliminated(torch.autograd.Function):
    """x (B, V, N, C) of clips whose couplings are not formed."""

    @staticmethod
    def forward(
        ctx: Any,
        unary: Tensor,
        confidence: Tensor,
        embedding: Tensor,
        coupling: Tensor,
        left: Tensor,
        right: Tensor,
    ) -> Tensor:
        total = embedding.sum(3)  # (B, V, D)
        degree = torch.einsum("bvdn,vu,bud->bvn", embedding, coupling, total)
        diagonal = confidence + degree
        share = torch.where(diagonal > 0, diagonal, 1).reciprocal()
        sums = precise(torch.einsum("gv,bvd->bgd", right, total)).flatten(1)
        trust = torch.einsum("gv,bvdn,bvn->bgd", right, embedding, confidence * share)
        gram = (embedding * share[:, :, None]) @ embedding.mT  # (B, V, D, D)
        mixed = torch.einsum("gv,vh,bvde->bgdhe", right, left, gram).flatten(3).flatten(1, 2)
        inverse = positive_inverse(precise(mixed) * sums[:, None], precise(trust).flatten(1))
        inverse *= sums[..., None]
        tensors = confidence, embedding, coupling, left, right, share, inverse
        x = _solve(confidence[..., None] * unary, *tensors[1:2], *tensors[3:])
        ctx.save_for_backward(unary, x, *tensors)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        unary, x, confidence, embedding, coupling, left, right, share, inverse = ctx.saved_tensors
        c = confidence[..., None]
        with full_precision(grad.device):
            # z = M^-1 g as a level, which the confidences alone decide, and the rest
            level = grad.sum((1, 2), keepdim=True) / c.sum((1, 2), keepdim=True).clamp(min=1e-30)
            z = _solve(grad - c * level, embedding, left, right, share, inverse)
            unary_grad = c * (z + level)
            trust = ((z + level) * (unary - x)).sum(-1)
            z, x = (t - t.mean((1, 2), keepdim=True) for t in (z, x))
            own = (z * x).sum(-1, keepdim=True)  # (B, V, N, 1)
            total = embedding.sum(3)[..., None]
            tz, tx, to = (embed(embedding, t) for t in (z, x, own))  # (B, V, D, C or 1)
            mixed = (torch.einsum("vu,budc->bvdc", coupling, t) for t in (tz, tx, to, total))
            mz, mx, mo, mt = mixed
            pairs = mx @ z.mT + mz @ x.mT - mo - mt @ own.mT
            weights = None
            if ctx.needs_input_grad[3]:
                cross = torch.einsum("bvdc,budc->vu", precise(tz), precise(tx))
                alone = torch.einsum("bvdc,budc->vu", precise(to), precise(total))
                weights = ((cross + cross.mT - alone - alone.mT) / 2).to(coupling)
        return unary_grad, trust, pairs, weights, None, None


def _solve(
    rhs: Tensor, embedding: Tensor, left: Tensor, right: Tensor, share: Tensor, inverse: Tensor
) -> Tensor:
    """``M^-1 rhs`` (B, V, N, C); ``inverse`` is ``(I - Q)^-1``."""
    scaled = rhs * share[..., None]
    p = torch.einsum("gv,bvdc->bgdc", right, embed(embedding, scaled))
    y = (inverse @ precise(p).flatten(1, 2)).view(p.shape).to(rhs)
    shared = torch.einsum("vg,bgdc->bvdc", left, y)
    return scaled + (shared.mT @ (embedding * share[:, :, None])).mT


def _iterated(
    unary: Tensor, confidence: Tensor, embedding: Tensor, coupling: Tensor, **solver: Any
) -> Tensor:
    """One inference: with ``x = y / sqrt(d)`` and embeddings ``t / sqrt(d)``, lam 1, -W.

    (I - [w_ij / sqrt(d_i d_j)]) y = c b / sqrt(d) is positive definite, since what is taken from
    each diagonal entry of d is less than d.
    """
    degree = torch.einsum("bvdn,vu,bud->bvn", embedding, coupling, embedding.sum(3))
    diagonal = confidence + degree
    scale = torch.where(diagonal > 0, diagonal, 1).rsqrt()
    rows = scale[..., None]
    rhs = rows * confidence[..., None] * unary
    solver = {**solver, "solver": "cg"}
    return rows * gcrf_inference(rhs, None, scale[:, :, None] * embedding, -coupling, 1.0, **solver)
