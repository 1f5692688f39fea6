"""The matrix H of the energy, as a product that never forms it."""

from functools import cached_property

import torch
from torch import Tensor

# With fewer columns a product with the embeddings waits for memory, and a copy of them takes longer
# than it saves; so it does with all on a CPU that are not used twice.
FEW_COLUMNS = 12
# Rows of a Gram matrix that are made at a time, on a CPU; what the others have in common with them
# is made once.
GRAM_ROWS = 64


class SpatioTemporalOperator:
    """H for a batch of clips, applied in O(V N D) a column.

        (H p)_v = lam p_v + A_v' A_v p_v + sum_u W[v, u] T_v' T_u p_u                    (Eq. 5)

    Each product ``A_v p_v``, ``T_u p_u`` is made once and shared by all frames that need it. Where
    all pairs have the same weight the sum of the latter is made once as well, the "caching" of
    Eq. 7; other neighbourhoods take the sum over their neighbours, Eq. 8.

    Columns are best laid out like channels of a feature map, each one contiguous: ``p.mT`` is
    then (B, V, C, N) in memory and so is the product.

    Args:
        spatial: A (B, V, Ds, N), or None.
        temporal: T (B, V, Dt, N), or None for frames without temporal terms.
        coupling: W (V, V), symmetric; None if and only if ``temporal`` is None. Best on the CPU,
            where it is looked at; it is copied to where the embeddings are.
        lam: lam, a scalar. A tensor on a GPU is not read.
        stacked: A on top of T (B, V, Ds + Dt, N), where that is known already.

    Attributes:
        weights: W on the CPU, without gradients.
    """

    def __init__(
        self,
        spatial: Tensor | None,
        temporal: Tensor | None,
        coupling: Tensor | None,
        lam: Tensor | float,
        stacked: Tensor | None = None,
    ) -> None:
        given = temporal if spatial is None else spatial
        if given is None:
            raise ValueError("spatial and temporal embeddings are both None: nothing is coupled")
        absent = given[:, :, :0]  # an embedding of size 0
        self.spatial = absent if spatial is None else spatial
        self.temporal = absent if temporal is None else temporal
        if coupling is None:
            coupling = torch.zeros([given.shape[1]] * 2, dtype=given.dtype, device="cpu")
        self.weights = coupling.detach().cpu()
        self.coupling = coupling.to(given.device, non_blocking=True)
        if isinstance(lam, Tensor) and lam.device.type == "cpu":
            lam = lam.item()
        self.lam = lam
        self._stacked = stacked

    def matvec(self, p: Tensor) -> Tensor:
        """H p for p (B, V, N, C)."""
        return self.spread(p, *self.project(p), beta=self.lam)

    def stack(self, columns: int) -> Tensor | None:
        """A on top of T (B, V, Ds + Dt, N), made at the first call; None where that does not pay
        for products with that number of columns."""
        if self._stacked is None and (columns >= FEW_COLUMNS or self.spatial.device.type != "cpu"):
            self._stacked = torch.cat([self.spatial, self.temporal], dim=2)
        return self._stacked

    def products(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """``A_v p_v`` (B, V, Ds, C) and ``T_v p_v`` (B, V, Dt, C)."""
        stacked = self.stack(p.shape[-1])
        if stacked is None:
            return embed(self.spatial, p), embed(self.temporal, p)
        spatial, temporal = embed(stacked, p).tensor_split([self.spatial.shape[2]], dim=2)
        return spatial, temporal

    def project(self, p: Tensor) -> tuple[Tensor, Tensor]:
        """``A_v p_v`` (B, V, Ds, C) and ``sum_u W[v, u] T_u p_u`` (B, V, Dt, C)."""
        spatial, projected = self.products(p)
        if self._uniform_weight is None:
            mixed = torch.einsum("vu,budc->bvdc", self.coupling, projected)
        else:
            total = projected.sum(dim=1, keepdim=True)
            own = (self.coupling.diagonal() - self._uniform_weight)[:, None, None]
            mixed = self._uniform_weight * total + own * projected
        return spatial, mixed

    def spread(
        self,
        p: Tensor,
        spatial: Tensor,
        temporal: Tensor,
        *,
        beta: Tensor | float = 1,
        alpha: Tensor | float = 1,
    ) -> Tensor:
        """``beta p_v + alpha (A_v' a_v + T_v' t_v)`` (B, V, N, C) for a, t (B, V, D, C)."""
        if isinstance(beta, Tensor):
            p, beta = p * beta, 1
        if isinstance(alpha, Tensor):
            spatial, temporal, alpha = spatial * alpha, temporal * alpha, 1
        stacked = self.stack(p.shape[-1])
        if stacked is None:
            terms = [(spatial, self.spatial), (temporal, self.temporal)]
        else:
            terms = [(torch.cat([spatial.mT, temporal.mT], dim=3).mT, stacked)]
        rows = p.mT.flatten(0, 1)
        for number, (y, embedding) in enumerate(terms):
            add = rows.baddbmm_ if number else rows.baddbmm
            rows = add(
                y.mT.flatten(0, 1), embedding.flatten(0, 1), beta=1 if number else beta, alpha=alpha
            )
        return rows.view(p.mT.shape).mT

    def grams(self) -> tuple[Tensor, Tensor, Tensor]:
        """``A_v A_v'`` (B, V, Ds, Ds), ``A_v T_v'`` (B, V, Ds, Dt), ``T_v T_v'`` (B, V, Dt, Dt)."""
        if self._stacked is None:
            return gram(self.spatial), self.spatial @ self.temporal.mT, gram(self.temporal)
        both, size = gram(self._stacked), self.spatial.shape[2]
        return both[..., :size, :size], both[..., :size, size:], both[..., size:, size:]

    @cached_property
    def _uniform_weight(self) -> float | None:
        """The common weight of all pairs of different frames, or None if they differ."""
        num_frames = len(self.weights)
        if num_frames == 1:
            return 0.0
        same = torch.eye(num_frames, dtype=torch.bool, device="cpu")
        pairs = self.weights[~same].unique()
        return float(pairs) if len(pairs) == 1 else None

    def dense(self) -> Tensor:
        """H (B, V*N, V*N), unknowns ordered by frame, then position. For tests: it is large."""
        batch, frames, _, size = self.spatial.shape
        # column j of H is H times the j-th unit vector, all of them as C = V*N right-hand sides
        eye = torch.eye(frames * size, dtype=self.spatial.dtype, device=self.spatial.device)
        columns = self.matvec(eye.view(1, frames, size, -1).expand(batch, -1, -1, -1))
        return columns.reshape(batch, frames * size, frames * size)


def embed(embedding: Tensor, p: Tensor) -> Tensor:
    """``E_v p_v`` (B, V, D, C) for E (B, V, D, N), p (B, V, N, C).

    With p on the left: for few columns, on a CPU, several times faster than ``embedding @ p``.
    """
    return (p.mT @ embedding.mT).mT


def gram(embedding: Tensor) -> Tensor:
    """``E_v E_v'`` (B, V, D, D) for E (B, V, D, N): a single product on a GPU. On a CPU, where the
    time is that of multiplications, what is symmetric is not made twice."""
    dim = embedding.shape[2]
    if embedding.device.type != "cpu" or dim <= GRAM_ROWS:
        return embedding @ embedding.mT
    product = embedding.new_empty(*embedding.shape[:2], dim, dim)
    for start in range(0, dim, GRAM_ROWS):
        end = start + GRAM_ROWS
        rows = embedding[:, :, start:end] @ embedding[:, :, start:].mT
        product[:, :, start:end, start:] = rows
        product[:, :, end:, start:end] = rows[..., GRAM_ROWS:].mT
    return product
