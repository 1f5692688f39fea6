"""Systems to be timed, of a wanted size and condition."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from videogcrf_det.gcrf import SpatioTemporalOperator, temporal_coupling


@dataclass(frozen=True)
class System:
    """``H x = b`` of one clip, with a gradient to pass back."""

    unary: Tensor  # b (1, V, N, C)
    spatial: Tensor  # A (1, V, D, N)
    temporal: Tensor  # T (1, V, D, N)
    coupling: Tensor  # W (V, V)
    lam: float
    grad: Tensor  # dLoss/dx (1, V, N, C)

    def operator(self, dtype: torch.dtype = torch.float32) -> SpatioTemporalOperator:
        """H."""
        spatial, temporal, coupling = self.spatial, self.temporal, self.coupling
        return SpatioTemporalOperator(
            spatial.to(dtype), temporal.to(dtype), coupling.to(dtype), self.lam
        )

    def residual(self, x: Tensor) -> float:
        """``|b - H x| / |b|`` in float64, the largest of all columns."""
        operator, worst = self.operator(torch.double), 0.0
        for first in range(0, x.shape[-1], 64):  # in parts: float64 takes twice the memory
            part = self.unary[..., first : first + 64].double()
            left = part - operator.matvec(x[..., first : first + 64].double())
            worst = max(worst, float((left.norm(dim=(1, 2)) / part.norm(dim=(1, 2))).max()))
        return worst


def make_system(
    frames: int,
    size: int,
    dim: int,
    columns: int,
    *,
    condition: float,
    neighbourhood: Sequence[int] = (),
    device: str | torch.device = "cpu",
) -> System:
    """Draw a system of V frames, N unknowns each, embeddings of size D and C columns.

    The squared singular values of the embeddings lie evenly on a logarithmic scale between lam and
    ``condition`` times lam, roughly, and exactly so at the upper end: H has the condition number
    that was asked for. Numbers come from a generator of their own.
    """
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    strength = torch.logspace(0, -math.log10(condition) / 2, dim, device=device)[:, None]
    spatial = randn(1, frames, dim, size) * strength
    temporal = randn(1, frames, dim, size) * strength / math.sqrt(frames)
    coupling = temporal_coupling(frames, neighbourhood).to(device)
    largest = _largest_eigenvalue(SpatioTemporalOperator(spatial, temporal, coupling, 1e-6))
    scale = math.sqrt((condition - 1) / largest)
    # columns contiguous, as those of feature maps are
    unary, grad = (randn(1, frames, columns, size).mT for _ in range(2))
    return System(unary, spatial * scale, temporal * scale, coupling, 1.0, grad)


def _largest_eigenvalue(operator: SpatioTemporalOperator) -> float:
    """By the power method, on a few vectors at once."""
    batch, frames, _, size = operator.spatial.shape
    vectors = torch.ones(batch, frames, size, 1).to(operator.spatial)
    vectors[:, :, ::2] = -1
    value = 0.0
    for _ in range(100):
        vectors = operator.matvec(vectors / vectors.norm())
        previous, value = value, float(vectors.norm())
        if abs(value - previous) < 1e-4 * value:
            break
    return value
