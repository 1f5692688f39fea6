"""The matrix H of the energy, as a product that never forms it."""

import torch
from torch import Tensor


class SpatioTemporalOperator:
    """H for a batch of clips, applied in O(V N D) a column.

        (H p)_v = lam p_v + A_v' A_v p_v + sum_u W[v, u] T_v' T_u p_u                    (Eq. 5)

    A and T of a frame are stacked to one embedding E_v, so that H = lam I + E' M E, where M leaves
    the products ``A_v p_v`` as they are and mixes the ``T_u p_u`` of a clip's frames. Each product
    is made once and shared by all frames that need it. Where all pairs have the same weight their
    sum is made once as well, the "caching" of Eq. 7; other neighbourhoods take the sum over their
    neighbours, Eq. 8.

    Args:
        spatial: A (B, V, Ds, N), or None.
        temporal: T (B, V, Dt, N), or None for frames without temporal terms.
        coupling: W (V, V), symmetric; None if and only if ``temporal`` is None.
        lam: lam, a scalar.
    """

    def __init__(
        self,
        spatial: Tensor | None,
        temporal: Tensor | None,
        coupling: Tensor | None,
        lam: Tensor | float,
    ) -> None:
        parts = [part for part in (spatial, temporal) if part is not None]
        if not parts:
            raise ValueError("spatial and temporal embeddings are both None: nothing is coupled")
        self.embedding = torch.cat(parts, dim=2)  # E (B, V, Ds + Dt, N)
        self.spatial_dim = 0 if spatial is None else spatial.shape[2]
        self.coupling = coupling
        self.lam = torch.as_tensor(lam).item()
        self._uniform_weight = None if coupling is None else _uniform_weight(coupling)

    def matvec(self, p: Tensor) -> Tensor:
        """H p for p (B, V, N, C)."""
        mixed = self.mix(self.embedding @ p)
        product = torch.baddbmm(
            p.flatten(0, 1),
            self.embedding.flatten(0, 1).mT,
            mixed.flatten(0, 1),
            beta=self.lam,
        )
        return product.view_as(p)

    def mix(self, projected: Tensor) -> Tensor:
        """M y for ``y = E p`` (B, V, Ds + Dt, C): ``sum_u W[v, u] y_u`` in the temporal rows."""
        if self.coupling is None:
            return projected
        spatial, temporal = projected.tensor_split([self.spatial_dim], dim=2)
        if self._uniform_weight is None:
            mixed = torch.einsum("vu,budc->bvdc", self.coupling, temporal)
        else:
            total = temporal.sum(dim=1, keepdim=True)
            own = (self.coupling.diagonal() - self._uniform_weight)[:, None, None]
            mixed = self._uniform_weight * total + own * temporal
        return torch.cat([spatial, mixed], dim=2)

    def dense(self) -> Tensor:
        """H (B, V*N, V*N), unknowns ordered by frame, then position. For tests: it is large."""
        batch, frames, _, size = self.embedding.shape
        # column j of H is H times the j-th unit vector, all of them as C = V*N right-hand sides
        eye = torch.eye(
            frames * size, dtype=self.embedding.dtype, device=self.embedding.device
        ).view(1, frames, size, -1)
        columns = self.matvec(eye.expand(batch, -1, -1, -1))
        return columns.reshape(batch, frames * size, frames * size)


def _uniform_weight(coupling: Tensor) -> float | None:
    """The common weight of all pairs of different frames, or None if they differ."""
    num_frames = len(coupling)
    if num_frames == 1:
        return 0.0
    pairs = coupling[~torch.eye(num_frames, dtype=torch.bool, device=coupling.device)].unique()
    return float(pairs) if len(pairs) == 1 else None
