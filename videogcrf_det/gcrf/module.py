"""VideoGCRF as a network layer: embedding branches, inference, and how the result is used."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from videogcrf_det.gcrf.graph import temporal_coupling
from videogcrf_det.gcrf.inference import SOLVERS, gcrf_inference
from videogcrf_det.gcrf.positions import grid_weights

# layout -> what it takes for unaries
LAYOUTS = {"shared": "its features for unaries, no others", "per_label": "unaries (M, L, H, W)"}
FUSIONS = ("residual", "replace")
COMMON_NORM = 2.0  # of what embeddings of layout "per_label" have in common at first, times sqrt(P)


class EmbeddingBranch(nn.Module):
    """``num_convs`` 3x3 convolutions with ReLU, then a 1x1 convolution to the embedding.

    The weights of the last layer start small but not at zero: the gradient with respect to an
    embedding is proportional to the embedding, so zero is a saddle from which training never moves.

    Args:
        in_channels, conv_dim, num_convs: of the 3x3 convolutions.
        out_channels: D, or D times the number of labels.
        bias: of the last layer at first.
    """

    def __init__(
        self,
        in_channels: int,
        conv_dim: int,
        num_convs: int,
        out_channels: int,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        widths = [in_channels] + [conv_dim] * num_convs
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.embed = nn.Conv2d(widths[-1], out_channels, kernel_size=1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, bias if name == "embed.bias" else 0.0)
            elif name.startswith("convs"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.normal_(parameter, std=0.1 / math.sqrt(widths[-1]))

    def forward(self, features: Tensor, valid: Tensor) -> Tensor:
        """Embed features (M, C, H, W), zero on padding, where ``valid`` (M, 1, H, W) is 0, else 1.

        Padding is zero before every 3x3 layer, which is what that sees beyond the border of a frame
        without padding. Embeddings at padding are left for the caller to drop.
        """
        for index, conv in enumerate(self.convs):
            features = conv(features * valid if index else features).relu_()
        return self.embed(features)


class VideoGCRF(nn.Module):
    """A spatio-temporal Gaussian random field over the feature maps of a clip.

    Layout ``"shared"`` (feature level): one embedding per position; the C feature channels are C
    right-hand sides of one system with N = P unknowns a frame. Layout ``"per_label"`` (last
    layer): one embedding per position and label, N = P L unknowns a frame, and unaries of their
    own. The result is ``lam x``, so that vanishing embeddings give the unaries back.

    Fusion ``"replace"`` returns ``lam x``. ``"residual"`` returns ``unary + conv(lam x - unary)``
    with a 1x1 convolution that starts at zero: a pretrained network is unchanged at first, and
    learns how to use the spatio-temporal average ``unary - lam x``.

    Embeddings are divided by sqrt(P), P being the frame's positions without padding, so that the
    strength of the coupling does not depend on the image size. Padded positions have zero
    embeddings, with which they are coupled to nothing.

    Args:
        in_channels: channels C of the features that make the embeddings.
        layout: ``"shared"`` or ``"per_label"``.
        num_labels: L, for ``"per_label"`` alone.
        spatial_dim: Ds, the size of the spatial embedding; 0 leaves the spatial terms out.
        temporal_dim: Dt, the size of the temporal embedding; 0 gives the spatial CRF.
        num_convs: 3x3 convolutions of a branch before the embedding layer.
        conv_dim: their channels.
        position_grid: G; embeddings know where in its frame a position is, by its weights on a grid
            of G x G nodes (grid_weights). 0: by what the features tell alone, as in the paper.
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
        spatial_dim: int = 128,
        temporal_dim: int = 128,
        num_convs: int = 1,
        conv_dim: int = 128,
        position_grid: int = 0,
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
        if position_grid < 0 or position_grid == 1:
            raise ValueError(f"position_grid must be 0 or at least 2, got {position_grid}")
        if solver not in SOLVERS:
            raise ValueError(f"unknown solver {solver!r}: use one of {', '.join(SOLVERS)}")
        if not lam > 0:
            raise ValueError(f"lam must be above 0, got {lam}")
        if learn_distance_decay and distance_decay is None:
            raise ValueError("learn_distance_decay needs a distance_decay to start from")
        temporal_coupling(1, neighbourhood, self_coupling, distance_decay)  # checks the names now

        self.layout = layout
        self.num_labels = num_labels or 1
        self.neighbourhood = neighbourhood
        self.self_coupling = self_coupling
        self.position_grid = position_grid
        self.fusion = fusion
        self.coupled = coupled
        self.solver = solver
        self.rtol = rtol
        self.max_iters = max_iters

        def branch(dim: int) -> EmbeddingBranch | None:
            if dim == 0:
                return None
            # a common vector for all positions and labels: couplings then depend on each of their
            # two embeddings to first order, and training leaves the saddle at once. As a coupling
            # it only shifts the scores of all labels alike
            bias = COMMON_NORM / math.sqrt(dim) if layout == "per_label" else 0.0
            channels = in_channels + position_grid**2
            return EmbeddingBranch(channels, conv_dim, num_convs, dim * self.num_labels, bias)

        self.spatial = branch(spatial_dim)
        self.temporal = branch(temporal_dim)
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
        return temporal_coupling(num_frames, self.neighbourhood, self.self_coupling, decay)

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

        spatial, temporal = self.embeddings(features, valid_sizes)
        return self.fuse(unary, self.smooth(unary, spatial, temporal, lengths))

    def embeddings(
        self, features: Tensor, valid_sizes: Sequence[tuple[int, int]] | None = None
    ) -> tuple[Tensor | None, Tensor | None]:
        """A and T, (M, D, N) each or None where switched off, from features (M, C, H, W).

        They are in float32, under autocast too: half precision is not enough. They are zero at
        padding and, where positions are coupled, divided by sqrt(P). Unknowns are ordered by label,
        position. Features are first brought to mean 0 and variance 1 over the channels of each
        position, so that neither the strength of the coupling nor the condition of the system
        depends on their scale.
        """
        features = _at_least_float32(features)
        valid = _valid_mask(features, valid_sizes)
        count = valid.sum(dim=(2, 3), keepdim=True).clamp(min=1)
        scale = valid / count.sqrt() if self.coupled else valid
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        features = (features - mean) * (torch.rsqrt(variance + 1e-5) * valid)
        if self.position_grid:
            # of about the norm of the features
            weights = grid_weights(features, self.position_grid, valid_sizes) * valid
            features = torch.cat([features, math.sqrt(features.shape[1]) * weights], 1)

        def embed(branch: EmbeddingBranch | None) -> Tensor | None:
            if branch is None:
                return None
            per_label = (branch(features, valid) * scale).unflatten(1, (self.num_labels, -1))
            return per_label.transpose(1, 2).flatten(2)  # (M, D, L*P)

        with torch.autocast(features.device.type, enabled=False):
            return embed(self.spatial), embed(self.temporal)

    def fuse(self, unary: Tensor, smoothed: Tensor) -> Tensor:
        """The output for ``smoothed``, lam x: an affine function of it."""
        if self.fusion == "replace":
            return smoothed.to(unary.dtype)
        difference = smoothed - _at_least_float32(unary)
        return unary + self.output(difference.to(unary.dtype)).to(unary.dtype)

    def smooth(
        self,
        unary: Tensor,
        spatial: Tensor | None,
        temporal: Tensor | None,
        lengths: Sequence[int],
    ) -> Tensor:
        """``lam H^-1 unary`` of clips of these lengths, (M, C, H, W), in float32.

        Args:
            unary: (M, C, H, W) or (M, L, H, W).
            spatial, temporal: as ``embeddings`` gives them.
            lengths: frames of each clip, with sum M.
        """
        lam = self.lam
        unary = _at_least_float32(unary)
        if not self.coupled:
            own = torch.cat([e for e in (spatial, temporal) if e is not None], 1).square().sum(1)
            return unary * lam / (lam + own.view(len(unary), -1, *unary.shape[2:]))
        # right-hand sides as rows: (M, 1, N) with N = (label, position), or (M, C, P)
        rows = unary.flatten(1)[:, None] if self.layout == "per_label" else unary.flatten(2)

        def clips(values: Tensor | None) -> list[Any]:
            equal = len(set(lengths)) == 1  # then all at once
            if values is None:
                return [None] * (1 if equal else len(lengths))
            if equal:
                return [values.unflatten(0, (-1, lengths[0]))]
            return [clip[None] for clip in values.split(list(lengths))]

        solved = [
            lam
            * gcrf_inference(
                clip.mT,
                clip_spatial,
                clip_temporal,
                self.coupling(clip.shape[1]).to(clip),
                lam,
                solver=self.solver,
                rtol=self.rtol,
                max_iters=self.max_iters,
            ).mT.flatten(0, 1)
            for clip, clip_spatial, clip_temporal in zip(
                clips(rows), clips(spatial), clips(temporal), strict=True
            )
        ]
        return (solved[0] if len(solved) == 1 else torch.cat(solved)).view(unary.shape)


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
