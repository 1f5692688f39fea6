"""The random field that averages: pairwise terms are differences."""

from typing import Any

import torch
from torch import Tensor, nn

from videogcrf_det.gcrf.average import weighted_average
from videogcrf_det.gcrf.blocks import from_blocks, to_blocks
from videogcrf_det.gcrf.embedding import (
    LOG_CONFIDENCE,
    EmbeddingBranch,
    Embeddings,
    log_confidence,
    unit_embedding,
)
from videogcrf_det.gcrf.field import RandomField, at_least_float32, normalised, root_of_positions

START = LOG_CONFIDENCE / 2  # of the confidence branch: trusted unless there is a reason


class AveragingField(RandomField):
    """Pairwise terms ``<t_i, t_j> |x_i - x_j|^2 / 2``: what is inferred is an average of unaries.

    Embeddings are of norm 1 and not negative, the roots of a softmax, and unaries count as much as
    a further branch trusts them; see weighted_average. There is one embedding for couplings within
    a frame, which the diagonal of W weighs, and across frames. It is divided by sqrt(P), P being
    the positions that are coupled in a frame.

    With ``coupled=False`` a position has nobody to be averaged with: its features are multiplied
    by what its own share in the average would be, in units of that share at the start, so that it
    begins as the identity. The confidence alone is trained then.

    Args:
        in_channels: channels C of the features that make the embeddings.
        dim: Dt, the size of the embedding.
        num_convs: 3x3 convolutions of a branch before its last layer.
        conv_dim: their channels.
        block_size: a position is coupled to those in its own block of block_size x block_size cells
            of all frames, 1 for the same place alone; P is then block_size^2. 0: to all positions.
        options: keyword arguments of RandomField.

    Raises:
        ValueError: an argument has no such value; the message says which are possible.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        dim: int = 128,
        num_convs: int = 1,
        conv_dim: int = 128,
        block_size: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}")
        if block_size < 0:
            raise ValueError(f"block_size must not be negative, got {block_size}")
        self.block_size = block_size
        self.temporal = EmbeddingBranch(in_channels, conv_dim, num_convs, dim)
        self.confidence = EmbeddingBranch(in_channels, conv_dim, num_convs, 1, START)
        if not self.coupled:  # there is no saddle at zero, and the identity is exact
            nn.init.zeros_(self.confidence.embed.weight)

    def coupling(self, num_frames: int) -> Tensor:
        """W (V, V) for clips of V frames, on the CPU. There are no spatial terms: a frame by itself
        is coupled to itself as one of two."""
        return super().coupling(max(num_frames, 2))[:num_frames, :num_frames]

    def embed(self, features: Tensor, valid: Tensor) -> Embeddings:
        """See RandomField. The logarithm of the confidence is between -4 and 4."""
        features = normalised(at_least_float32(features), valid)
        scale = valid
        if self.coupled:
            scale = valid / (self.block_size or root_of_positions(valid))
        with torch.autocast(features.device.type, enabled=False):
            temporal = unit_embedding(self.temporal(features, valid))
            confidence = log_confidence(self.confidence(features, valid)).exp()
        return Embeddings(None, (temporal * scale).flatten(2), (confidence * valid).flatten(2))

    def _alone(self, unary: Tensor, embeddings: Embeddings) -> Tensor:
        _, temporal, confidence = embeddings
        assert temporal is not None
        assert confidence is not None
        own = temporal.square().sum(1, keepdim=True)  # 1, but 0 at padding
        start = log_confidence(torch.full_like(confidence, START)).exp()
        gain = confidence / start * (self.lam * start + own)
        return unary * (gain / (self.lam * confidence + own).clamp(min=1e-6)).view_as(unary[:, :1])

    def _solve(self, unary: Tensor, embeddings: Embeddings) -> Tensor:
        _, temporal, confidence = embeddings
        assert temporal is not None
        assert confidence is not None
        size = unary.shape[3:]
        coupling = self.coupling(unary.shape[1]).to(unary.dtype)
        parts = [unary.flatten(3), self.lam * confidence, temporal]
        if self.block_size:
            parts = [to_blocks(part.unflatten(3, size), self.block_size) for part in parts]
        rows, trust, embedding = parts
        x = weighted_average(
            rows.mT, trust[:, :, 0], embedding, coupling, **self._solver_options
        ).mT
        return from_blocks(x, self.block_size, size) if self.block_size else x.unflatten(3, size)
