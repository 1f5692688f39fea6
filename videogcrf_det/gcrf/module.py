"""VideoGCRF as a network layer: clips, padding, and how the result of a random field is used."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogcrf_det.gcrf.embedding import Embeddings
from videogcrf_det.gcrf.field import RandomField, at_least_float32
from videogcrf_det.gcrf.fields import build_field
from videogcrf_det.gcrf.product_field import ProductField

FUSIONS = ("residual", "replace")


class VideoGCRF(nn.Module):
    """A spatio-temporal Gaussian random field over the feature maps of a clip.

    Fusion ``"replace"`` returns the smoothed unaries. ``"residual"`` returns
    ``unary + conv(smoothed - unary)`` with a 1x1 convolution that starts at zero: a pretrained
    network is unchanged at first, and learns what to make of the change.

    Padding is coupled to nothing, and its unaries are returned as they are.

    Args:
        in_channels: channels C of the features that make the embeddings.
        field: what couples positions; None: ``ProductField(in_channels)``, the paper's.
        fusion: ``"residual"`` or ``"replace"``.

    Raises:
        ValueError: there is no such fusion.
    """

    def __init__(
        self, in_channels: int, field: RandomField | None = None, *, fusion: str = "residual"
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"unknown fusion {fusion!r}: use one of {', '.join(FUSIONS)}")
        self.fusion = fusion
        self.field = ProductField(in_channels) if field is None else field
        if fusion == "residual":
            channels = self.field.num_labels or in_channels
            self.output = nn.Conv2d(channels, channels, kernel_size=1)
            for parameter in self.output.parameters():
                nn.init.zeros_(parameter)
        self.register_load_state_dict_pre_hook(_with_names_of_fields)

    @classmethod
    def build(
        cls,
        in_channels: int,
        *,
        pairwise: str = "product",
        fusion: str = "residual",
        **options: Any,
    ) -> "VideoGCRF":
        """Make one of options: ``pairwise`` and ``options`` are those of build_field."""
        return cls(in_channels, build_field(pairwise, in_channels, **options), fusion=fusion)

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
            unary: (M, L, H, W) for a field over labels; others take the features themselves.
            valid_sizes: (height, width) in cells of each frame, the rest is padding at the bottom
                and right; None: no padding.

        Returns:
            (M, C, H, W), or (M, L, H, W) for labels, in the dtype of the unary.
        """
        lengths = [len(features)] if clip_lengths is None else list(clip_lengths)
        if sum(lengths) != len(features) or min(lengths, default=0) < 1:
            raise ValueError(f"clips of {lengths} frames do not make up {len(features)} frames")
        if unary is not None and self.field.num_labels is None:
            raise ValueError("layout 'shared' takes its features for unaries, no others")
        if unary is None and self.field.num_labels is not None:
            raise ValueError("layout 'per_label' takes unaries (M, L, H, W)")
        unary = features if unary is None else unary

        embeddings = self.embeddings(features, valid_sizes)
        return self.fuse(unary, self.field.infer(unary, embeddings, lengths), valid_sizes)

    def embeddings(
        self,
        features: Tensor,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
        **options: Any,
    ) -> Embeddings:
        """What couples positions, from features (M, C, H, W); ``options`` of the field's embed."""
        return self.field.embed(features, _valid_mask(features, valid_sizes), **options)

    def fuse(
        self,
        unary: Tensor,
        smoothed: Tensor,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Tensor:
        """The output for ``smoothed``, what the field infers: an affine function of it. At padding
        it is the unary: what comes next was trained to see that there."""
        if self.fusion == "replace":
            fused = smoothed.to(unary.dtype)
        else:
            difference = (smoothed - at_least_float32(unary)).to(unary.dtype)
            weight, bias = (part.to(unary.dtype) for part in self.output.parameters())
            fused = unary + F.conv2d(difference, weight, bias).to(unary.dtype)
        if valid_sizes is None:
            return fused
        return torch.where(_valid_mask(unary, valid_sizes) > 0, fused, unary)


def _valid_mask(features: Tensor, valid_sizes: Sequence[tuple[int, int]] | None) -> Tensor:
    """1 for frames, 0 for padding: (M, 1, H, W) for features (M, C, H, W)."""
    valid = torch.ones_like(at_least_float32(features[:, :1]))
    if valid_sizes is None:
        return valid
    if len(valid_sizes) != len(features):
        raise ValueError(f"valid_sizes has {len(valid_sizes)} entries for {len(features)} frames")
    for mask, (height, width) in zip(valid, valid_sizes, strict=True):
        mask[:, height:] = 0
        mask[:, :, width:] = 0
    return valid


def name_as_of_field(state_dict: dict[str, Any], prefix: str) -> None:
    """Rename weights from before fields were modules of their own: all but ``output.``.

    Args:
        state_dict: changed in place.
        prefix: what the names of a VideoGCRF's weights begin with, with its dot.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        if not name.startswith(("field.", "output.")):
            state_dict[f"{prefix}field.{name}"] = state_dict.pop(key)


def _with_names_of_fields(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_args: Any
) -> None:
    name_as_of_field(state_dict, prefix)
