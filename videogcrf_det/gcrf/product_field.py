"""The paper's random field: pairwise terms are products."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from videogcrf_det.gcrf.embedding import EmbeddingBranch, Embeddings
from videogcrf_det.gcrf.field import RandomField, at_least_float32, normalised, root_of_positions
from videogcrf_det.gcrf.inference import gcrf_inference
from videogcrf_det.gcrf.operator import SpatioTemporalOperator
from videogcrf_det.gcrf.shared import SharedFrame, couple

COMMON_NORM = 2.0  # of what embeddings of labels have in common at first, times sqrt(P)


class ProductField(RandomField):
    """Pairwise terms ``<t_i, t_j> x_i x_j``: unknowns inhibit those that have similar embeddings.

    What is inferred is ``lam x``, so that vanishing embeddings give the unaries back.
    Embeddings are divided by sqrt(P), P being the frame's positions without padding, so that the
    strength of the coupling does not depend on the image size. With ``coupled=False`` each unknown
    is coupled to itself alone, as strongly as if all positions of its frame had its embedding.

    Args:
        in_channels: channels C of the features that make the embeddings.
        num_labels: L of layout "per_label" (last layer): one embedding per position and label,
            N = P L unknowns a frame, ordered by label, position, and unaries of their own. None for
            layout "shared" (feature level): one embedding per position; the C feature channels are
            C right-hand sides of one system with N = P unknowns a frame.
        spatial_dim: Ds, the size of the spatial embedding; 0 leaves the spatial terms out.
        temporal_dim: Dt, the size of the temporal embedding; 0 gives the spatial CRF.
        num_convs: 3x3 convolutions of a branch before the embedding layer.
        conv_dim: their channels.
        options: keyword arguments of RandomField.

    Raises:
        ValueError: an argument has no such value; the message says which are possible.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        num_labels: int | None = None,
        spatial_dim: int = 128,
        temporal_dim: int = 128,
        num_convs: int = 1,
        conv_dim: int = 128,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if spatial_dim < 0 or temporal_dim < 0 or spatial_dim + temporal_dim == 0:
            raise ValueError(
                "embedding sizes must not be negative and not both 0, "
                f"got spatial_dim={spatial_dim}, temporal_dim={temporal_dim}"
            )
        self.num_labels = num_labels

        def branch(dim: int) -> EmbeddingBranch | None:
            if dim == 0:
                return None
            # a common vector for all positions and labels: couplings then depend on each of their
            # two embeddings to first order, and training leaves the saddle at once. As a coupling
            # it only shifts the scores of all labels alike
            bias = COMMON_NORM / math.sqrt(dim) if num_labels else 0.0
            return EmbeddingBranch(in_channels, conv_dim, num_convs, dim * (num_labels or 1), bias)

        self.spatial = branch(spatial_dim)
        self.temporal = branch(temporal_dim)

    def embed(self, features: Tensor, valid: Tensor, *, scaled: bool = True) -> Embeddings:
        """See RandomField. Where positions are coupled, embeddings are divided by sqrt(P), unless
        they are not to be ``scaled``."""
        features = at_least_float32(features)
        scale = valid / root_of_positions(valid) if scaled and self.coupled else valid
        features = normalised(features, valid)

        def embedding(branch: EmbeddingBranch | None) -> Tensor | None:
            if branch is None:
                return None
            by_label = (branch(features, valid) * scale).unflatten(1, (self.num_labels or 1, -1))
            return by_label.transpose(1, 2).flatten(2)

        with torch.autocast(features.device.type, enabled=False):
            return Embeddings(embedding(self.spatial), embedding(self.temporal))

    def _rows(self, unary: Tensor) -> Tensor:
        """Right-hand sides (..., C, N) of unaries (..., C, H, W); one for all labels together."""
        return unary.flatten(-3).unsqueeze(-2) if self.num_labels else unary.flatten(-2)

    def _alone(self, unary: Tensor, embeddings: Embeddings) -> Tensor:
        parts = [part for part in embeddings if part is not None]
        own = torch.cat(parts, 1).square().sum(1, keepdim=True)
        return (self._rows(unary) * (self.lam / (self.lam + own))).view_as(unary)

    # as solvers decide by values, these are not for torch.compile to trace

    @torch.compiler.disable
    def share(self, unary: Tensor, embeddings: Embeddings) -> Any:
        """See RandomField; the direct solver shares nearly all of its work."""
        if self.solver == "cg" or not self.coupled:
            return super().share(unary, embeddings)
        rows = at_least_float32(self._rows(unary))[None].mT
        spatial, temporal, _ = embeddings.map(lambda part: part[None])
        return SharedFrame(rows, SpatioTemporalOperator(spatial, temporal, None, self.lam))

    @torch.compiler.disable
    def couple(self, window: Sequence[Any]) -> Sequence[Tensor]:
        """See RandomField."""
        if not isinstance(window[0], SharedFrame):
            return super().couple(window)
        return couple(window, self.coupling(len(window)), self.rtol)

    @torch.compiler.disable
    def inferred(self, shared: Any, mean: Tensor) -> Tensor:
        """See RandomField."""
        return self.lam * shared.solution(mean).mT if isinstance(shared, SharedFrame) else mean

    def _solve(self, unary: Tensor, embeddings: Embeddings) -> Tensor:
        coupling = self.coupling(unary.shape[1]).to(unary.dtype)
        rhs = self._rows(unary).mT
        x = gcrf_inference(rhs, *embeddings[:2], coupling, self.lam, **self._solver_options)
        return (self.lam * x.mT).view_as(unary)
