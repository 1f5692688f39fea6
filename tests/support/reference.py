"""The method once more, written down from Eq. 1-2 with numpy in float64 and dense matrices.

Nothing here uses the package: loops over frames, ``np.linalg.solve``, and no shortcut. For
gradients, a dense solve that autograd differentiates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# distances in frames: all, and those of Fig. 4
NEIGHBOURHOODS = ((), (1,), (1, 2), (1, 2, 4))
SELF_COUPLINGS = ("psd", "zero")
# unknowns per frame and columns of the two layouts: (P, C) and (P L, 1)
LAYOUTS = {"shared": {"size": 6, "columns": 5}, "per_label": {"size": 6 * 3, "columns": 1}}


class Problem(NamedTuple):
    """The inputs of one inference: unary (B, V, N, C), embeddings (B, V, D, N), W (V, V), lam."""

    unary: Tensor
    spatial: Tensor | None
    temporal: Tensor | None
    coupling: Tensor | None
    lam: float


def reference_coupling(
    num_frames: int, neighbourhood: Sequence[int], self_coupling: str
) -> np.ndarray:
    """W (V, V) in float64."""
    weights = np.zeros((num_frames, num_frames))
    for v in range(num_frames):
        for u in range(num_frames):
            if abs(v - u) in neighbourhood or (v != u and not neighbourhood):
                weights[v, u] = 1.0
    if self_coupling == "psd":
        weights += max(0.0, -np.linalg.eigvalsh(weights)[0]) * np.eye(num_frames)
    return weights


def to_numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def reference_matrix(
    spatial: Tensor | None, temporal: Tensor | None, coupling: Tensor | None, lam: float
) -> np.ndarray:
    """H (B, V*N, V*N), block by block from Eq. 2, unknowns ordered by frame."""
    some = temporal if spatial is None else spatial
    batch, num_frames, _, size = some.shape
    matrix = np.zeros((batch, num_frames * size, num_frames * size))
    for clip in range(batch):
        for v in range(num_frames):
            for u in range(num_frames):
                block = np.zeros((size, size))
                if v == u:
                    block += float(lam) * np.eye(size)
                    if spatial is not None:
                        block += to_numpy(spatial[clip, v]).T @ to_numpy(spatial[clip, v])
                if temporal is not None and coupling is not None:
                    product = to_numpy(temporal[clip, v]).T @ to_numpy(temporal[clip, u])
                    block += float(coupling[v, u]) * product
                matrix[clip, v * size : (v + 1) * size, u * size : (u + 1) * size] = block
    return matrix


def reference_solve(problem: Problem) -> Tensor:
    """x (B, V, N, C) in float64 from one dense solve per clip."""
    unary = to_numpy(problem.unary)
    batch, num_frames, size, columns = unary.shape
    matrix = reference_matrix(*problem[1:])
    solution = np.empty_like(unary)
    for clip in range(batch):
        rhs = unary[clip].reshape(num_frames * size, columns)
        solved = np.linalg.solve(matrix[clip], rhs)
        solution[clip] = solved.reshape(num_frames, size, columns)
    return torch.from_numpy(solution)


def random_problem(
    num_frames: int = 3,
    neighbourhood: Sequence[int] = (),
    self_coupling: str = "psd",
    *,
    batch: int = 2,
    size: int = 7,
    columns: int = 3,
    spatial_dim: int = 4,
    temporal_dim: int = 5,
    lam: float = 0.5,
    seed: int = 0,
) -> Problem:
    """A float64 problem; with ``"zero"``, lam is raised until H is positive definite."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    spatial = randn(batch, num_frames, spatial_dim, size)
    temporal = randn(batch, num_frames, temporal_dim, size)
    coupling = torch.from_numpy(reference_coupling(num_frames, neighbourhood, self_coupling))
    if self_coupling == "zero":
        eigenvalues = np.linalg.eigvalsh(reference_matrix(spatial, temporal, coupling, 0.0))
        lam += max(0.0, -eigenvalues.min())
    return Problem(randn(batch, num_frames, size, columns), spatial, temporal, coupling, lam)


def dense_inference(unary, spatial, temporal, coupling, lam):
    """H^-1 unary by a dense solve that autograd can differentiate."""
    batch, num_frames, size, columns = unary.shape
    total = num_frames * size
    matrix = lam * torch.eye(total, dtype=unary.dtype).expand(batch, -1, -1)
    frames = torch.eye(num_frames, dtype=unary.dtype)
    for weights, embedding in ((frames, spatial), (coupling, temporal)):
        if embedding is not None:
            pairs = torch.einsum("vu,bvdi,budj->bviuj", weights, embedding, embedding)
            matrix = matrix + pairs.reshape(batch, total, total)
    rhs = unary.reshape(batch, total, columns)
    # one by one: a batched LU of large matrices is not to be trusted on a CPU
    solved = [torch.linalg.solve(m, b) for m, b in zip(matrix, rhs, strict=True)]
    return torch.stack(solved).view_as(unary)


def leaves(problem):
    """The problem's tensors, and lam as one, all of them asking for gradients."""
    lam = torch.tensor(problem.lam, dtype=torch.double)
    tensors = [problem.unary, problem.spatial, problem.temporal, problem.coupling, lam]
    return [t if t is None else t.clone().requires_grad_() for t in tensors]
