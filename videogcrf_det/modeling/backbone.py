"""A backbone that passes features of another one through a VideoGCRF."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from detectron2.structures import ImageList
from torch import Tensor, nn

from videogcrf_det.config import gcrf_options, indefinite_named, wrong_options_named
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Terms, VideoGCRF
from videogcrf_det.streams import in_step

Item = TypeVar("Item")


class VideoGCRFBackbone(Backbone):
    """Wrap ``bottom_up`` and couple the frames of a clip at some of its features.

    Names, channels, strides and size divisibility are those of ``bottom_up``. So are the names of
    its weights in checkpoints, in both directions: a checkpoint of a detector without VideoGCRF
    loads unchanged, and one of ours serves that detector. The new weights are ``gcrf.<feature>``.
    """

    def __init__(
        self, bottom_up: Backbone, in_features: Sequence[str], **gcrf_options: Any
    ) -> None:
        """
        Args:
            bottom_up: makes a dict of features from images.
            in_features: those that get a VideoGCRF, each one of its own.
            gcrf_options: keyword arguments of VideoGCRF.build.
        """
        super().__init__()
        shapes = bottom_up.output_shape()
        unknown = [name for name in in_features if name not in shapes]
        if unknown or not in_features:
            raise ValueError(
                f"IN_FEATURES {list(in_features)} must name features of "
                f"{type(bottom_up).__name__}, which gives {', '.join(shapes)}"
            )
        self.bottom_up = bottom_up
        self.gcrf = nn.ModuleDict(
            {name: VideoGCRF.build(shapes[name].channels, **gcrf_options) for name in in_features}
        )
        self._register_state_dict_hook(_name_as_bottom_up)
        self.register_load_state_dict_pre_hook(_name_as_wrapped)

    def forward(
        self,
        images: Tensor,
        clip_lengths: Sequence[int] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> dict[str, Tensor]:
        """Features of images (M, 3, H, W) by name, each (M, C, H / stride, W / stride).

        Args:
            images: frames, clip after clip.
            clip_lengths: frames of each clip, with sum M; None: all images are one clip.
            image_sizes: (height, width) of each frame in pixels, the rest is padding; None: no
                padding.
        """
        return self.couple(self.bottom_up(images), clip_lengths, image_sizes)

    def couple(
        self,
        features: dict[str, Tensor],
        clip_lengths: Sequence[int] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> dict[str, Tensor]:
        """The second half of ``forward``: features of ``bottom_up`` in, coupled features out."""
        coupled = dict(features)
        for name, gcrf in self.gcrf.items():
            sizes = self.cells(name, image_sizes)
            coupled[name] = gcrf(features[name], clip_lengths, valid_sizes=sizes)
        return coupled

    def infer_video(
        self,
        frames: Iterable[tuple[Item, ImageList]],
        length: int,
        step: int = 1,
        batch: int = 1,
    ) -> Iterator[tuple[tuple[Item, ImageList], dict[str, Tensor]]]:
        """``forward`` for a video of any length, frame by frame, in windows that are averaged.

        Args:
            frames: anything that belongs to a frame, with the image of that frame alone.
            length, step: see average_windows.
            batch: see features_of_frames.

        Yields:
            each of these pairs with the frame's features by name.
        """

        def coupled(seen: Iterator[Any], name: str) -> Iterator[Tensor]:
            terms = (
                (None, self.terms(name, features, images.image_sizes))
                for (_, images), features in seen
            )
            return (found for _, found in self.layer(name).infer_video(terms, length, step))

        seen = features_of_frames(self.bottom_up, frames, batch)
        levels = [partial(coupled, name=name) for name in self.gcrf]
        with indefinite_named():
            for (of_frame, features), found in in_step(seen, levels):
                yield of_frame, {**features, **dict(zip(self.gcrf, found, strict=True))}

    def terms(
        self,
        name: str,
        features: dict[str, Tensor],
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Terms:
        """The terms of frames in the system of a feature, from features of ``bottom_up``."""
        return self.layer(name).terms(features[name], valid_sizes=self.cells(name, image_sizes))

    def layer(self, name: str) -> VideoGCRF:
        """The VideoGCRF of a feature."""
        layer = self.gcrf[name]
        assert isinstance(layer, VideoGCRF)
        return layer

    def cells(
        self, name: str, image_sizes: Sequence[tuple[int, int]] | None
    ) -> list[tuple[int, int]] | None:
        """(height, width) of images in cells of a feature map."""
        stride = self.output_shape()[name].stride
        if image_sizes is None:
            return None
        return [(-(-h // stride), -(-w // stride)) for h, w in image_sizes]

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Shapes of the wrapped backbone."""
        return self.bottom_up.output_shape()

    @property
    def size_divisibility(self) -> int:
        """The wrapped backbone's."""
        return self.bottom_up.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The wrapped backbone's."""
        return getattr(self.bottom_up, "padding_constraints", {})  # detectron2 0.6 has none


def features_of_frames(
    backbone: Backbone, frames: Iterable[tuple[Item, ImageList]], batch: int
) -> Iterator[tuple[tuple[Item, ImageList], dict[str, Tensor]]]:
    """Each frame with its features (1, C, h, w) by name.

    Args:
        frames: anything that belongs to a frame, with the image of that frame alone.
        batch: frames of one size that the backbone sees at a time, and that are read ahead for it.
    """

    def described() -> Iterator[tuple[tuple[Item, ImageList], dict[str, Tensor]]]:
        made = backbone(torch.cat([images.tensor for _, images in group]))
        for index, of_frame in enumerate(group):
            yield of_frame, {name: maps[index : index + 1] for name, maps in made.items()}
        group.clear()

    group: list[tuple[Item, ImageList]] = []
    for of_frame in frames:
        if group and group[0][1].tensor.shape != of_frame[1].tensor.shape:
            yield from described()
        group.append(of_frame)
        if len(group) == batch:
            yield from described()
    if group:
        yield from described()


# Weights of `bottom_up` have no prefix in checkpoints. A prefix could not tell the two forms apart,
# since an FPN's own weights have it: hence the rule that all but `gcrf.` is the wrapped backbone's.


def _name_as_bottom_up(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, _metadata: Any
) -> None:
    for key in [key for key in state_dict if key.startswith(prefix + "bottom_up.")]:
        state_dict[prefix + key.removeprefix(prefix + "bottom_up.")] = state_dict.pop(key)


def _name_as_wrapped(
    module: nn.Module, state_dict: dict[str, Any], prefix: str, *_args: Any
) -> None:
    for key in [key for key in state_dict if key.startswith(prefix)]:
        if not key.startswith(prefix + "gcrf."):
            state_dict[prefix + "bottom_up." + key.removeprefix(prefix)] = state_dict.pop(key)


@BACKBONE_REGISTRY.register()
def build_video_gcrf_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> VideoGCRFBackbone:
    """Build MODEL.VIDEO_GCRF.BACKBONE_NAME and wrap it, with the options of MODEL.VIDEO_GCRF."""
    options = cfg.MODEL.VIDEO_GCRF
    if options.BACKBONE_NAME not in BACKBONE_REGISTRY:
        raise InputError(
            f"MODEL.VIDEO_GCRF.BACKBONE_NAME {options.BACKBONE_NAME!r} is not a registered "
            "backbone: use, for example, build_resnet_backbone or build_resnet_fpn_backbone"
        )
    bottom_up = BACKBONE_REGISTRY.get(options.BACKBONE_NAME)(cfg, input_shape)
    with wrong_options_named():
        return VideoGCRFBackbone(bottom_up, options.IN_FEATURES, **gcrf_options(cfg))
