"""VideoGCRF as a network layer: embeddings, inference, and how the result is used."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from videogcrf_det.gcrf.average import weighted_average
from videogcrf_det.gcrf.blocks import from_blocks, to_blocks
from videogcrf_det.gcrf.embedding import EmbeddingBranch, Embeddings
from videogcrf_det.gcrf.graph import temporal_coupling
from videogcrf_det.gcrf.inference import SOLVERS, gcrf_inference

# layout -> what it takes for unaries
LAYOUTS = {"shared": "its features for unaries, no others", "per_label": "unaries (M, L, H, W)"}
PAIRWISE = ("product", "difference")
FUSIONS = ("residual", "replace")
COMMON_NORM = 2.0  # of what embeddings of layout "per_label" have in common at first, times sqrt(P)
LOG_CONFIDENCE = 4.0  # confidences are between its exponential and 1 over that


class VideoGCRF(nn.Module):
    """A spatio-temporal Gaussian random field over the feature maps of a clip.

    Layout ``"shared"`` (feature level): one embedding per position; the C feature channels are C
    right-hand sides of one system with N = P unknowns a frame. Layout ``"per_label"`` (last
    layer): one embedding per position and label, N = P L unknowns a frame, and unaries of their
    own.

    Pairwise terms ``"product"`` are the paper's, ``<t_i, t_j> x_i x_j``: unknowns inhibit those
    that have similar embeddings. The smoothed unaries are ``lam x``, so that vanishing embeddings
    give the unaries back. ``"difference"`` means ``<t_i, t_j> |x_i - x_j|^2 / 2`` with embeddings
    of norm 1 that are not negative, the roots of a softmax, and unaries that count as much as a
    further branch trusts them: x is an average of unaries (weighted_average). There is one
    embedding for couplings within a frame, which the diagonal of W weighs, and across frames;
    layout "shared" alone.

    Fusion ``"replace"`` returns the smoothed unaries. ``"residual"`` returns
    ``unary + conv(smoothed - unary)`` with a 1x1 convolution that starts at zero: a pretrained
    network is unchanged at first, and learns what to make of the change.

    Embeddings are divided by sqrt(P), P being the frame's positions without padding, so that the
    strength of the coupling does not depend on the image size. Padded positions have zero
    embeddings, with which they are coupled to nothing.

    Args:
        in_channels: channels C of the features that make the embeddings.
        layout: ``"shared"`` or ``"per_label"``.
        num_labels: L, for ``"per_label"`` alone.
        pairwise: ``"product"`` or ``"difference"``.
        spatial_dim: Ds, the size of the spatial embedding; 0 leaves the spatial terms out, which
            ``"difference"`` does not have.
        temporal_dim: Dt, the size of the temporal embedding; 0 gives the spatial CRF.
        num_convs: 3x3 convolutions of a branch before the embedding layer.
        conv_dim: their channels.
        block_size: for ``"difference"`` alone. A position is coupled to those in its own block of
            block_size x block_size cells of all frames, 1 for the same place alone; P is then
            block_size^2. 0: to all positions of all frames.
        neighbourhood, self_coupling, distance_decay: see temporal_coupling. With
            ``learn_distance_decay`` the start of a parameter that stays positive.
        lam: lam > 0. With ``learn_lam`` the start of a parameter that stays positive.
        fusion: ``"residual"`` or ``"replace"``.
        coupled: False couples each unknown to itself alone, as strongly as if all positions of its
            frame had its embedding: the same layers without any exchange, for comparison.
        solver, rtol, max_iters: see gcrf_inference.

    Raises:
        ValueError: an argument has no such value; the message says which are possible.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        layout: str = "shared",
        num_labels: int | None = None,
        pairwise: str = "product",
        spatial_dim: int = 128,
        temporal_dim: int = 128,
        num_convs: int = 1,
        conv_dim: int = 128,
        block_size: int = 1,
        neighbourhood: str = "fc",
        self_coupling: str = "psd",
        distance_decay: float | None = None,
        learn_distance_decay: bool = False,
        lam: float = 1.0,
        learn_lam: bool = False,
        fusion: str = "residual",
        coupled: bool = True,
        solver: str = "auto",
        rtol: float = 1e-5,
        max_iters: int = 200,
    ) -> None:
        super().__init__()
        if layout not in LAYOUTS:
            raise ValueError(f"unknown layout {layout!r}: use one of {', '.join(LAYOUTS)}")
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion {fusion!r}: use one of {', '.join(FUSIONS)}")
        if (layout == "per_label") != (num_labels is not None):
            raise ValueError(f"num_labels={num_labels} does not fit layout {layout!r}")
        if spatial_dim < 0 or temporal_dim < 0 or spatial_dim + temporal_dim == 0:
            raise ValueError(
                "embedding sizes must not be negative and not both 0, "
                f"got spatial_dim={spatial_dim}, temporal_dim={temporal_dim}"
            )
        if pairwise not in PAIRWISE:
            raise ValueError(f"unknown pairwise {pairwise!r}: use one of {', '.join(PAIRWISE)}")
        if pairwise == "difference":
            if layout == "per_label" or spatial_dim:
                raise ValueError(
                    "pairwise 'difference' needs layout 'shared' and spatial_dim=0: one embedding "
                    f"couples within and across frames; got {layout!r}, spatial_dim={spatial_dim}"
                )
            if block_size < 0:
                raise ValueError(f"block_size must not be negative, got {block_size}")
        if solver not in SOLVERS:
            raise ValueError(f"unknown solver {solver!r}: use one of {', '.join(SOLVERS)}")
        if not lam > 0:
            raise ValueError(f"lam must be above 0, got {lam}")
        if learn_distance_decay and distance_decay is None:
            raise ValueError("learn_distance_decay needs a distance_decay to start from")
        temporal_coupling(1, neighbourhood, self_coupling, distance_decay)  # checks the names now

        self.layout = layout
        self.num_labels = num_labels or 1
        self.pairwise = pairwise
        self.neighbourhood = neighbourhood
        self.self_coupling = self_coupling
        self.block_size = block_size if pairwise == "difference" else 0
        self.fusion = fusion
        self.coupled = coupled
        self.solver = solver
        self.rtol = rtol
        self.max_iters = max_iters

        def branch(channels: int, bias: float = 0.0) -> EmbeddingBranch | None:
            if channels == 0:
                return None
            return EmbeddingBranch(in_channels, conv_dim, num_convs, channels, bias)

        self.confidence = None
        if pairwise == "difference":
            self.spatial = None
            self.temporal = branch(temporal_dim)
            self.confidence = branch(1, LOG_CONFIDENCE / 2)  # trusted unless there is a reason
        else:
            # a common vector for all positions and labels: couplings then depend on each of their
            # two embeddings to first order, and training leaves the saddle at once. As a coupling
            # it only shifts the scores of all labels alike
            self.spatial, self.temporal = (
                branch(
                    dim * self.num_labels,
                    COMMON_NORM / math.sqrt(dim) if dim and layout == "per_label" else 0.0,
                )
                for dim in (spatial_dim, temporal_dim)
            )
        # as logarithms they stay positive, and fixed ones travel with the weights as well
        self._add_scalar("log_lam", lam, learn_lam)
        self._add_scalar("log_distance_decay", distance_decay, learn_distance_decay)
        if fusion == "residual":
            channels = in_channels if layout == "shared" else self.num_labels
            self.output = nn.Conv2d(channels, channels, kernel_size=1)
            for parameter in self.output.parameters():
                nn.init.zeros_(parameter)

    log_lam: Tensor
    log_distance_decay: Tensor | None

    def _add_scalar(self, name: str, value: float | None, learn: bool) -> None:
        log = None if value is None else torch.tensor(math.log(value))
        if learn and log is not None:
            self.register_parameter(name, nn.Parameter(log))
        else:
            self.register_buffer(name, log)

    @property
    def lam(self) -> Tensor:
        """lam, a positive scalar."""
        return self.log_lam.exp()

    def coupling(self, num_frames: int) -> Tensor:
        """W (V, V) for clips of V frames, on the CPU."""
        log_decay = self.log_distance_decay
        decay = None if log_decay is None else log_decay.exp().cpu()
        # differences have no spatial terms of their own: a frame by itself is coupled to itself as
        # one of two
        frames = max(num_frames, 2) if self.pairwise == "difference" else num_frames
        weights = temporal_coupling(frames, self.neighbourhood, self.self_coupling, decay)
        return weights[:num_frames, :num_frames]

    def forward(
        self,
        features: Tensor,
        clip_lengths: Sequence[int] | None = None,
        *,
        unary: Tensor | None = None,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """Infer on clips that follow one another along the first dimension.

        Args:
            features: (M, C, H, W), what the embeddings are made from.
            clip_lengths: frames of each clip, with sum M; None: the M frames are one clip.
            unary: (M, L, H, W) for ``"per_label"``; ``"shared"`` takes the features themselves.
            valid_sizes: (height, width) in cells of each frame, the rest is padding at the bottom
                and right; None: no padding.

        Returns:
            (M, C, H, W), or (M, L, H, W) for ``"per_label"``, in the dtype of the unary. What it
            holds at padding does not matter.
        """
        lengths = [len(features)] if clip_lengths is None else list(clip_lengths)
        if sum(lengths) != len(features) or min(lengths, default=0) < 1:
            raise ValueError(f"clips of {lengths} frames do not make up {len(features)} frames")
        if (unary is None) != (self.layout == "shared"):
            raise ValueError(f"layout {self.layout!r} takes " + LAYOUTS[self.layout])
        unary = features if unary is None else unary

        embeddings = self.embeddings(features, valid_sizes)
        return self.fuse(unary, self.smooth(unary, embeddings, lengths))

    def embeddings(
        self,
        features: Tensor,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
        *,
        scaled: bool = True,
    ) -> Embeddings:
        """What couples positions, from features (M, C, H, W).

        Embeddings are in float32, under autocast too: half precision is not enough. They are zero
        at padding and, where positions are coupled, divided by sqrt(P), unless they are not to be
        ``scaled``. Unknowns are ordered by label, position. Features are first brought to mean 0
        and variance 1 over the channels of each position, so that neither the strength of the
        coupling nor the condition of the system depends on their scale.
        """
        features = _at_least_float32(features)
        valid = _valid_mask(features, valid_sizes)
        count = valid.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        divide = scaled and self.coupled
        scale = valid / (self.block_size or count.sqrt()) if divide else valid
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        features = (features - mean) * (torch.rsqrt(variance + 1e-5) * valid)

        with torch.autocast(features.device.type, enabled=False):
            spatial, temporal, confidence = (
                None if branch is None else branch(features, valid)
                for branch in (self.spatial, self.temporal, self.confidence)
            )
        if confidence is not None:
            confidence = LOG_CONFIDENCE * torch.tanh(confidence / LOG_CONFIDENCE)
            confidence = (confidence.exp() * valid).flatten(2)
        if self.pairwise == "difference" and temporal is not None:
            temporal = (temporal.log_softmax(1) / 2).exp()

        def by_unknown(maps: Tensor | None) -> Tensor | None:
            if maps is None:
                return None
            return (maps * scale).unflatten(1, (self.num_labels, -1)).transpose(1, 2).flatten(2)

        return Embeddings(by_unknown(spatial), by_unknown(temporal), confidence)

    def fuse(self, unary: Tensor, smoothed: Tensor) -> Tensor:
        """The output for ``smoothed``, what ``smooth`` returns: an affine function of it."""
        if self.fusion == "replace":
            return smoothed.to(unary.dtype)
        difference = smoothed - _at_least_float32(unary)
        return unary + self.output(difference.to(unary.dtype)).to(unary.dtype)

    def smooth(self, unary: Tensor, embeddings: Embeddings, lengths: Sequence[int]) -> Tensor:
        """The smoothed unaries of clips of these lengths, (M, C, H, W), in float32.

        They are ``lam H^-1 unary`` for pairwise "product", and averages for "difference".

        Args:
            unary: (M, C, H, W) or (M, L, H, W).
            embeddings: as ``embeddings`` gives them.
            lengths: frames of each clip, with sum M.
        """
        unary = _at_least_float32(unary)
        size = unary.shape[2:]
        # right-hand sides as rows: (M, 1, N) with N = (label, position), or (M, C, P)
        rows = unary.flatten(1)[:, None] if self.layout == "per_label" else unary.flatten(2)
        if not self.coupled:
            spatial, temporal, confidence = embeddings
            own = torch.cat([e for e in (spatial, temporal) if e is not None], 1).square()
            trust = self.lam if confidence is None else self.lam * confidence
            diagonal = trust + own.sum(1, keepdim=True)
            share = trust / torch.where(diagonal > 0, diagonal, 1)  # padding may have neither
            return (rows * share).view_as(unary)

        def clips(values: Tensor | None) -> list[Any]:
            equal = len(set(lengths)) == 1  # then all at once
            if values is None:
                return [None] * (1 if equal else len(lengths))
            if equal:
                return [values.unflatten(0, (-1, lengths[0]))]
            return [clip[None] for clip in values.split(list(lengths))]

        parts = zip(clips(rows), *map(clips, embeddings), strict=True)
        solved = [self._solve(clip, size, *part).flatten(0, 1) for clip, *part in parts]
        return (solved[0] if len(solved) == 1 else torch.cat(solved)).view(unary.shape)

    def _solve(
        self,
        unary: Tensor,
        size: torch.Size,
        spatial: Tensor | None,
        temporal: Tensor | None,
        confidence: Tensor | None,
    ) -> Tensor:
        """``smooth`` for clips of one length: unary (B, V, C, N), embeddings (B, V, D, N)."""
        coupling = self.coupling(unary.shape[1]).to(unary.dtype)
        options: dict[str, Any] = {
            "solver": self.solver,
            "rtol": self.rtol,
            "max_iters": self.max_iters,
        }
        if confidence is None:
            x = gcrf_inference(unary.mT, spatial, temporal, coupling, self.lam, **options)
            return self.lam * x.mT
        assert temporal is not None
        parts = [unary, self.lam * confidence, temporal]
        if self.block_size:
            parts = [to_blocks(part.unflatten(3, size), self.block_size) for part in parts]
        rows, trust, embedding = parts
        x = weighted_average(rows.mT, trust[:, :, 0], embedding, coupling, **options).mT
        return from_blocks(x, self.block_size, size).flatten(3) if self.block_size else x


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _valid_mask(features: Tensor, valid_sizes: Sequence[tuple[int, int]] | None) -> Tensor:
    """1 for frames, 0 for padding: (M, 1, H, W) for features (M, C, H, W)."""
    valid = torch.ones_like(features[:, :1])
    if valid_sizes is None:
        return valid
    if len(valid_sizes) != len(features):
        raise ValueError(f"valid_sizes has {len(valid_sizes)} entries for {len(features)} frames")
    for mask, (height, width) in zip(valid, valid_sizes, strict=True):
        mask[:, height:] = 0
        mask[:, :, width:] = 0
    return valid
