"""Depth of videos, with a chain over time as the last layer.

Letters: M frames of all clips of a batch, V frames of a clip, H x W a frame, h x w its feature map.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, Backbone, build_backbone
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.structures import ImageList
from torch import Tensor, nn

from videogcrf_det.errors import InputError
from videogcrf_det.motion.estimate import motion_from
from videogcrf_det.steady.attach import Pictures
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.stream import steady_clip, variance_of

LOG_DEPTH = "log_depth"  # the name of the map (M, 1, h, w) that the head makes
VARIANCE_WEIGHT = 0.1  # of the loss of the variance beside that of depth

Frame = dict[str, Any]


class DepthBackbone(Backbone):
    """An FPN and a head on it: features by name, and the logarithm of depth among them.

    So everything that couples the features of a backbone over time can couple depth itself. The
    head is that of Panoptic FPN with one output.
    """

    def __init__(
        self,
        fpn: Backbone,
        in_features: Sequence[str],
        *,
        conv_dim: int = 64,
        norm: str = "GN",
        typical: float = 5.0,
    ) -> None:
        """
        Args:
            fpn: makes features (M, C, h, w) by name.
            in_features: names of those that the head reads, the finest among them.
            conv_dim, norm: of the head's 3x3 convolutions.
            typical: metres that the head says at first.
        """
        super().__init__()
        shapes = fpn.output_shape()
        unknown = sorted({*in_features} - {*shapes})
        if unknown or not in_features:
            raise InputError(
                f"MODEL.DEPTH_HEAD.IN_FEATURES {list(in_features)} are not some of the features of "
                f"the backbone, {', '.join(shapes)}: name those"
            )
        if not 0 < typical < math.inf:
            raise InputError(f"MODEL.DEPTH_HEAD.TYPICAL is {typical}: give metres, above 0")
        read = {name: shapes[name] for name in in_features}
        self.finest = min(read, key=lambda name: read[name].stride)
        self.fpn = fpn
        self.head = SemSegFPNHead(
            read,
            num_classes=1,
            conv_dims=conv_dim,
            common_stride=read[self.finest].stride,
            norm=norm,
        )
        nn.init.normal_(self.head.predictor.weight, std=0.01)
        nn.init.constant_(self.head.predictor.bias, math.log(typical))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features of images (M, 3, H, W), and ``log_depth`` (M, 1, h, w) in float32."""
        features = self.fpn(images)
        return {**features, LOG_DEPTH: self.head.layers(features).float()}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Shapes of the features and of ``log_depth``."""
        shapes = self.fpn.output_shape()
        return {**shapes, LOG_DEPTH: ShapeSpec(channels=1, stride=shapes[self.finest].stride)}

    @property
    def size_divisibility(self) -> int:
        """The FPN's."""
        return self.fpn.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        """The FPN's."""
        return getattr(self.fpn, "padding_constraints", {})


@META_ARCH_REGISTRY.register()
class VideoDepth(nn.Module):
    """A per-frame network for log depth, and with ``chain`` a random field over time behind it.

    In training it takes clips, ``{"frames": dicts}`` with ``image`` (3, H, W) and ``depth`` (H, W)
    in metres, 0 where missing; in inference frames. What couples those is put between backbone and
    output by videogcrf_det.steady: the chain of its own (``coupled_over_time``), or fields that
    were fitted without labels.

    Attributes:
        description: what fields that are fitted to the model couple; see SteadyFields.
        chain: the chain of its own; None: there is none.
        strength: of the chain's links.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: DepthBackbone,
        chain: SteadyFields | None,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        coupled: bool = True,
        motion: str = "",
    ) -> None:
        """
        Args:
            backbone: makes features and log depth.
            chain: couples log depth; None: depth is that of single frames.
            pixel_mean, pixel_std: of the channels of an image.
            coupled: False: no frame sees another one, the chain says how sure depth is alone.
            motion: what clips are coupled along in training; see motion_from.
        """
        super().__init__()
        self.backbone: Any = backbone
        self.description = {LOG_DEPTH: backbone.finest}
        self.chain = chain
        self.coupled = coupled
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), False)
        self.motion = motion_from(motion)

    pixel_mean: Tensor
    pixel_std: Tensor

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        head, options = cfg.MODEL.DEPTH_HEAD, cfg.MODEL.VIDEO_GCRF
        backbone = DepthBackbone(
            build_backbone(cfg),
            head.IN_FEATURES,
            conv_dim=head.CONV_DIM,
            norm=head.NORM,
            typical=head.TYPICAL,
        )
        if options.FREEZE_DETECTOR:
            raise InputError(
                "MODEL.VIDEO_GCRF.FREEZE_DETECTOR is for detectors: fit_video.py trains a field "
                "alone; leave it False"
            )
        if options.MOTION not in ("", "dis") and head.CHAIN:
            raise InputError(
                f"MODEL.VIDEO_GCRF.MOTION {options.MOTION!r} is that of one video, and the chain "
                "is trained on many: use 'dis' or ''"
            )
        chain = None
        if head.CHAIN:
            chain = SteadyFields(
                {LOG_DEPTH: backbone.output_shape()[backbone.finest].channels},
                description={LOG_DEPTH: backbone.finest},
                dim=options.TEMPORAL_DIM,
                num_convs=options.NUM_CONVS,
                conv_dim=options.CONV_DIM,
            )
        return {
            "backbone": backbone,
            "chain": chain,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "coupled": options.COUPLED,
            "motion": options.MOTION if head.CHAIN else "",
        }

    @property
    def has_unread_features(self) -> bool:
        """True if weights are trained that no loss depends on: embeddings that link nothing, or
        levels of the FPN that the head does not read."""
        return True

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses of a batch of clips in training; otherwise for each frame ``{"depth": (H, W)}`` in
        metres at its ``height`` and ``width``, and with a field ``variance`` (H, W), that of the
        logarithm of depth."""
        if self.training:
            return self.losses([list(clip["frames"]) for clip in batched_inputs])
        images = self._images(batched_inputs)
        made = self.backbone(images.tensor)
        variance = made.get(variance_of(LOG_DEPTH))
        padded = images.tensor.shape[2:]
        results = []
        for index, frame in enumerate(batched_inputs):
            size, wanted = images.image_sizes[index], (frame["height"], frame["width"])
            rows = slice(index, index + 1)
            result = {"depth": _at(made[LOG_DEPTH][rows], padded, size, wanted).exp()}
            if variance is not None:
                spread = _at(variance[rows].log(), padded, size, wanted)
                result["variance"] = spread.exp()
            results.append(result)
        return results

    def losses(self, clips: list[list[Frame]]) -> dict[str, Tensor]:
        """``loss_depth``, the absolute error of log depth, and with a chain ``loss_variance``, its
        negative log-likelihood under the chain's marginals.

        Both are means over pixels with a label, of the averages given the whole clip and of those
        given the frames up to each alone.
        """
        frames = [frame for clip in clips for frame in clip]
        images = self._images(frames)
        labels = self._labels(frames, images)
        features = self.backbone(images.tensor)
        if self.chain is None:
            return {"loss_depth": _mean(self._error(features[LOG_DEPTH], labels).abs(), labels)}
        start, losses = 0, []
        for clip in clips:
            part = slice(start, start + len(clip))
            start += len(clip)
            own = {name: maps[part] for name, maps in features.items()}
            for made in self._coupled(own, images.tensor[part]):
                losses.append(self._loss(made, labels[part]))
        depth, variance = (torch.stack(each).mean() for each in zip(*losses, strict=True))
        return {"loss_depth": depth, "loss_variance": VARIANCE_WEIGHT * variance}

    def _coupled(
        self, features: dict[str, Tensor], images: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See steady_clip; of the V frames of a clip."""
        assert self.chain is not None
        steps: list[Any] = [None] * len(images)
        pictures = Pictures(self)(images)
        if self.motion is not None and self.coupled:
            self.motion.reset()
            steps = [self.motion(picture[None]) for picture in pictures]
        described = self.chain.describe(features, pictures)
        return steady_clip(features, described, steps, float(self.coupled))

    def _loss(self, made: dict[str, Tensor], labels: Tensor) -> tuple[Tensor, Tensor]:
        error = self._error(made[LOG_DEPTH], labels)
        spread = F.interpolate(
            made[variance_of(LOG_DEPTH)].log(), labels.shape[1:], mode="bilinear"
        )[:, 0]
        likelihood = (error.square() * (-spread).exp() + spread) / 2
        return _mean(error.abs(), labels), _mean(likelihood, labels)

    def _error(self, log_depth: Tensor, labels: Tensor) -> Tensor:
        """Errors (M, H, W) of the logarithm; where labels are missing, of no meaning."""
        pixels = F.interpolate(log_depth, labels.shape[1:], mode="bilinear")[:, 0]
        return pixels - labels.clamp(min=1e-6).log()

    def _images(self, frames: list[Frame]) -> ImageList:
        mean, std = self.pixel_mean, self.pixel_std
        return ImageList.from_tensors(
            [(frame["image"].to(self.device) - mean) / std for frame in frames],
            self.backbone.size_divisibility,
            padding_constraints=self.backbone.padding_constraints or None,
        )

    def _labels(self, frames: list[Frame], images: ImageList) -> Tensor:
        """(M, H, W) metres, the size of the padded images; 0 where missing."""
        labels = images.tensor.new_zeros(len(frames), *images.tensor.shape[2:])
        for label, frame in zip(labels, frames, strict=True):
            if "depth" in frame:  # a frame without is there for the others of its clip
                height, width = frame["depth"].shape
                label[:height, :width] = frame["depth"]
        return labels


def _mean(values: Tensor, labels: Tensor) -> Tensor:
    """The mean over pixels with a label; 0 where there is none."""
    known = labels > 0
    return torch.where(known, values, 0).sum() / known.sum().clamp(min=1)


def _at(maps: Tensor, padded: Sequence[int], size: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Maps (1, 1, h, w) of a padded frame at the pixels of the frame, (height, width)."""
    pixels = F.interpolate(maps, tuple(padded), mode="bilinear")[..., : size[0], : size[1]]
    return F.interpolate(pixels, tuple(wanted), mode="bilinear")[0, 0]
