"""Couplings that attract: a random field whose solution is an average of the unaries."""

from typing import Any

import torch
from torch import Tensor

from videogcrf_det.gcrf.inference import gcrf_inference

# unknowns of a clip up to which its matrix is formed: its Cholesky factors then take less time than
# those of the small system of a solver
DENSE = 256


def weighted_average(
    unary: Tensor, confidence: Tensor, embedding: Tensor, coupling: Tensor, **solver: Any
) -> Tensor:
    """Minimise ``sum_i c_i |x_i - b_i|^2 + sum_{i<j} w_ij |x_i - x_j|^2`` over a batch of clips.

    i and j are unknowns of any two frames v and u, and ``w_ij = W[v, u] <t_i, t_j>``. Each x_i is
    an average of all b_j with weights that are positive and add up to 1. With
    ``d_i = c_i + sum_j w_ij`` and ``x = y / sqrt(d)`` this is one inference, on embeddings
    ``t / sqrt(d)``, with lam 1 and the couplings -W:

        (I - [w_ij / sqrt(d_i d_j)]) y = c b / sqrt(d)

    which is positive definite, since what is taken from each diagonal entry of d is less than d.
    For up to ``DENSE`` unknowns a clip the matrix is formed, and factorised by Cholesky.

    Args:
        unary: b (B, V, N, C), real.
        confidence: c (B, V, N), not negative.
        embedding: T (B, V, D, N), not negative. Where it and the confidence of an unknown are zero,
            so is its x.
        coupling: W (V, V), symmetric and not negative. Its diagonal couples unknowns of one frame.
        solver: keyword arguments of gcrf_inference, where that is used.

    Returns:
        x (B, V, N, C).

    Raises:
        ValueError: a confidence or an embedding is not finite.
    """
    with torch.autocast(unary.device.type, enabled=False):
        degree = torch.einsum("bvdn,vu,bud->bvn", embedding, coupling, embedding.sum(3))
        diagonal = confidence + degree
        scale = torch.where(diagonal > 0, diagonal, 1).rsqrt()
        rows, embedding = scale[..., None], scale[:, :, None] * embedding
        trust = rows * confidence[..., None]
        if scale[0].numel() > DENSE:
            return rows * gcrf_inference(trust * unary, None, embedding, -coupling, 1.0, **solver)
        products = torch.einsum("bvdn,vu,budm->bvnum", embedding, coupling, embedding)
        matrix = -products.flatten(3).flatten(1, 2)
        matrix.diagonal(dim1=1, dim2=2).add_(1)
        factors, info = torch.linalg.cholesky_ex(matrix)
        if info.any() or not trust.isfinite().all():
            raise ValueError(
                "confidence or embedding holds values that are not finite: in training, lower the "
                "learning rate"
            )
        inverse = torch.cholesky_inverse(factors)
        weights = rows.flatten(1, 2) * inverse * trust.flatten(1, 2).mT  # rows add up to 1
        return (weights @ unary.flatten(1, 2)).view_as(unary)
