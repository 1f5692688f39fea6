"""The matrix H of the energy, as a product that never forms it."""

import torch
from torch import Tensor


class SpatioTemporalOperator:
    """H for a batch of clips, applied in O(V N D) a column.

        (H p)_v = lam p_v + A_v' A_v p_v + sum_u W[v, u] T_v' T_u p_u                    (Eq. 5)

    The products ``T_u p_u`` are made once per frame and shared by all frames that need them. Where
    all pairs have the same weight their sum is made once as well, the "caching" of Eq. 7; other
    neighbourhoods take the sum over their neighbours, Eq. 8.

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
        self.spatial = spatial
        self.temporal = temporal
        self.coupling = coupling
        self.lam = lam
        self._uniform_weight = None if coupling is None else _uniform_weight(coupling)

    def matvec(self, p: Tensor) -> Tensor:
        """H p for p (B, V, N, C)."""
        result = self.lam * p
        if self.spatial is not None:
            result = result + self.spatial.mT @ (self.spatial @ p)
        if self.temporal is not None:
            result = result + self.temporal.mT @ self.mix_frames(self.temporal @ p)
        return result

    def mix_frames(self, projected: Tensor) -> Tensor:
        """``sum_u W[v, u] projected_u`` over the frames of a clip, for projected (B, V, D, C)."""
        assert self.coupling is not None
        if self._uniform_weight is None:
            return torch.einsum("vu,budc->bvdc", self.coupling, projected)
        total = projected.sum(dim=1, keepdim=True)
        own = (self.coupling.diagonal() - self._uniform_weight)[:, None, None]
        return self._uniform_weight * total + own * projected

    def dense(self) -> Tensor:
        """H (B, V*N, V*N), unknowns ordered by frame, then position. For tests: it is large."""
        some = self.temporal if self.spatial is None else self.spatial
        assert some is not None, "an operator without embeddings has no size"
        batch, frames, _, size = some.shape
        # column j of H is H times the j-th unit vector, all of them as C = V*N right-hand sides
        eye = torch.eye(frames * size, dtype=some.dtype, device=some.device)
        columns = self.matvec(eye.view(1, frames, size, -1).expand(batch, -1, -1, -1))
        return columns.reshape(batch, frames * size, frames * size)


def _uniform_weight(coupling: Tensor) -> float | None:
    """The common weight of all pairs of different frames, or None if they differ."""
    num_frames = len(coupling)
    if num_frames == 1:
        return 0.0
    pairs = coupling[~torch.eye(num_frames, dtype=torch.bool, device=coupling.device)].unique()
    return float(pairs) if len(pairs) == 1 else None
