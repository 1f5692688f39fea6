"""From features to unaries: a classifier, with or without pyramid pooling."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, get_norm
from torch import Tensor, nn


class SegmentationHead(nn.Module):
    """A 3x3 convolution and a classifier, on features joined with their means over coarse grids.

    Args:
        in_channels: C.
        num_classes: L.
        conv_dim: channels of the 3x3 convolution.
        norm: a normalisation of detectron2, "GN" for one.
        pool_scales: the grids; (1, 2, 3, 6) is the pyramid pooling of PSPNet, () leaves it out.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_dim: int = 256,
        norm: str = "GN",
        pool_scales: Sequence[int] = (),
    ) -> None:
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

    def forward(self, features: Tensor) -> Tensor:
        """Unaries (M, L, H, W) from features (M, C, H, W), in float32 under autocast too."""
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
