"""VideoGCRF as a network layer: clips, padding, and how the result of a random field is used."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videogcrf_det.gcrf.embedding import Embeddings
from videogcrf_det.gcrf.field import RandomField, at_least_float32
from videogcrf_det.gcrf.fields import build_field
from videogcrf_det.gcrf.product_field import ProductField

FUSIONS = ("residual", "replace")
Item = TypeVar("Item")


class Terms(NamedTuple):
    """The terms of M frames in the system of every window that they are in."""

    unary: Tensor  # (M, C, H, W), or (M, L, H, W) for labels
    embeddings: Embeddings
    # (height, width) in cells of each frame, the rest is padding at the bottom and right; None: no
    # padding
    valid_sizes: Sequence[tuple[int, int]] | None = None

    @staticmethod
    def cat(of_frames: "Sequence[Terms]") -> "Terms":
        """The terms of a window, from those of its frames."""
        unaries, embeddings, sizes = zip(*of_frames, strict=True)
        known = [size for each in sizes if each is not None for size in each]
        return Terms(torch.cat(unaries), Embeddings.cat(embeddings), known or None)


class VideoGCRF(nn.Module):
    """A spatio-temporal Gaussian random field over the feature maps of a clip.

    Fusion ``"replace"`` returns what is inferred. ``"residual"`` returns
    ``unary + conv(inferred - unary)`` with a 1x1 convolution that starts at zero: a pretrained
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
            unary: (M, L, H, W), which a field over labels needs; others couple all of its channels
                alike, and take the features themselves where it is None.
            valid_sizes: (height, width) in cells of each frame, the rest is padding at the bottom
                and right; None: no padding.

        Returns:
            (M, C, H, W), or (M, L, H, W) for labels, in the dtype of the unary.
        """
        lengths = [len(features)] if clip_lengths is None else list(clip_lengths)
        if sum(lengths) != len(features) or min(lengths, default=0) < 1:
            raise ValueError(f"clips of {lengths} frames do not make up {len(features)} frames")
        terms = self.terms(features, unary=unary, valid_sizes=valid_sizes)
        return self.fuse(terms, self.field.infer(terms.unary, terms.embeddings, lengths))

    def infer_video(
        self, frames: Iterable[tuple[Item, Terms]], length: int, step: int = 1
    ) -> Iterator[tuple[Item, Tensor]]:
        """``forward`` for a video of any length, frame by frame, in windows that are averaged.

        What depends on a frame alone, its terms before and the fusion after, is done once.

        Args:
            frames: anything that belongs to a frame, with the terms of that frame, M = 1.
            length, step: see average_windows.

        Yields:
            the same with (1, C, h, w).
        """
        parts = ((terms.unary, terms.embeddings, terms, item) for item, terms in frames)
        for (_, _, terms, item), inferred in self.field.infer_video(parts, length, step):
            yield item, self.fuse(terms, inferred)

    def terms(
        self,
        features: Tensor,
        *,
        unary: Tensor | None = None,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Terms:
        """The terms of frames; arguments as for ``forward``."""
        if unary is None and self.field.num_labels is not None:
            raise ValueError("layout 'per_label' takes unaries (M, L, H, W)")
        embeddings = self.embeddings(features, valid_sizes)
        return Terms(features if unary is None else unary, embeddings, valid_sizes)

    def embeddings(
        self,
        features: Tensor,
        valid_sizes: Sequence[tuple[int, int]] | None = None,
        **options: Any,
    ) -> Embeddings:
        """The embeddings, from features (M, C, H, W); ``options`` of the field's embed."""
        return self.field.embed(features, _valid_mask(features, valid_sizes), **options)

    def fuse(self, terms: Terms, inferred: Tensor) -> Tensor:
        """The output for what the field infers: an affine function of it. At padding it is the
        unary: what comes next was trained to see that there."""
        unary, _, valid_sizes = terms
        if self.fusion == "replace":
            fused = inferred.to(unary.dtype)
        else:
            difference = (inferred - at_least_float32(unary)).to(unary.dtype)
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
