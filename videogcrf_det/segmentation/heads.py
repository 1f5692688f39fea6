"""From features to unaries: a classifier, with or without pyramid pooling."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from videogcrf_det.errors import InputError


@SEM_SEG_HEADS_REGISTRY.register()
class SegmentationHead(nn.Module):
    """A 3x3 convolution and a classifier, on features joined with their means over coarse grids."""

    @configurable
    def __init__(
        self,
        in_feature: str,
        in_channels: int,
        num_classes: int,
        conv_dim: int = 256,
        norm: str = "GN",
        pool_scales: Sequence[int] = (),
    ) -> None:
        """
        Args:
            in_feature: the name of the features.
            in_channels: C.
            num_classes: L.
            conv_dim: channels of the 3x3 convolution.
            norm: a normalisation of detectron2, such as "GN".
            pool_scales: the grids; (1, 2, 3, 6) is the pyramid pooling of PSPNet, () leaves it out.
        """
        super().__init__()

        def conv(channels: int, out: int, kernel: int) -> Conv2d:
            layer = Conv2d(
                *(channels, out, kernel),
                padding=kernel // 2,
                bias=not norm,
                norm=get_norm(norm, out),
                activation=F.relu,
            )
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            return layer

        self.in_feature = in_feature
        self.num_classes = num_classes
        self.pool_scales = tuple(pool_scales)
        # as many channels for all grids together as the features have
        each = in_channels // max(len(self.pool_scales), 1)
        self.pooled = nn.ModuleList(conv(in_channels, each, 1) for _ in self.pool_scales)
        self.conv = conv(in_channels + each * len(self.pool_scales), conv_dim, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classifier = Conv2d(conv_dim, num_classes, 1)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        head = cfg.MODEL.SEM_SEG_HEAD
        in_feature = head.IN_FEATURES[-1]
        if in_feature not in input_shape:
            raise InputError(
                f"the backbone has no feature {in_feature!r}, only {', '.join(input_shape)}: add "
                "it to MODEL.RESNETS.OUT_FEATURES"
            )
        return {
            "in_feature": in_feature,
            "in_channels": input_shape[in_feature].channels,
            "num_classes": head.NUM_CLASSES,
            "conv_dim": head.CONVS_DIM,
            "norm": head.NORM,
            "pool_scales": head.POOL_SCALES,
        }

    def forward(self, maps: Mapping[str, Tensor], given_unaries: Tensor | None = None) -> Tensor:
        """Unaries (M, L, H, W) from features (M, C, H, W), in float32 under autocast too.

        Unaries that frames came with are of no use here.
        """
        features = maps[self.in_feature]
        size = features.shape[2:]
        means = [
            F.interpolate(
                conv(F.adaptive_avg_pool2d(features, scale)),
                size,
                mode="bilinear",
                align_corners=False,
            )
            for scale, conv in zip(self.pool_scales, self.pooled, strict=True)
        ]
        scores = self.classifier(self.dropout(self.conv(torch.cat([features, *means], 1))))
        return scores.to(torch.promote_types(scores.dtype, torch.float32))
