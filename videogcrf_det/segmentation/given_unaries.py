"""Unaries that come with the frames: another method's, which stay as they are."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY, Backbone
from torch import Tensor, nn

from videogcrf_det.errors import InputError


class GridBackbone(Backbone):
    """A backbone without weights, whose features have their sizes and nothing else.

    For given unaries alone, to which no network has anything to add.
    """

    def __init__(self, shapes: Mapping[str, ShapeSpec]) -> None:
        """
        Args:
            shapes: of the features that another backbone would make.
        """
        super().__init__()
        self.shapes = dict(shapes)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Empty features (M, 0, H / stride, W / stride) of images (M, 3, H, W)."""
        count, _, height, width = images.shape
        return {
            name: images.new_empty(count, 0, -(-height // shape.stride), -(-width // shape.stride))
            for name, shape in self.shapes.items()
        }

    def output_shape(self) -> dict[str, ShapeSpec]:
        """The shapes that it was made with."""
        return self.shapes


@SEM_SEG_HEADS_REGISTRY.register()
class GivenUnaries(nn.Module):
    """The frames' own ``unary``, averaged over cells.

    VideoSegmentor adds what the random field changes to the unaries at pixels, so that they keep
    their resolution.
    """

    @configurable
    def __init__(self, in_feature: str, num_classes: int) -> None:
        """
        Args:
            in_feature: the name of features with a position for each cell.
            num_classes: L.
        """
        super().__init__()
        self.in_feature = in_feature
        self.num_classes = num_classes

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        """Arguments of the constructor from a config."""
        (in_feature,) = cfg.MODEL.VIDEO_GCRF.IN_FEATURES
        return {"in_feature": in_feature, "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES}

    def forward(self, features: Mapping[str, Tensor], given_unaries: Tensor | None) -> Tensor:
        """Unaries (M, L, h, w) of cells from those at pixels (M, L, H, W).

        Raises:
            InputError: the frames have none, or not of L labels.
        """
        found = "none" if given_unaries is None else f"{given_unaries.shape[1]} labels"
        if given_unaries is None or given_unaries.shape[1] != self.num_classes:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.NAME GivenUnaries needs frames with unaries of "
                f"{self.num_classes} labels, and there are {found}: use data that has them"
            )
        rows, columns = features[self.in_feature].shape[2:]
        return F.adaptive_avg_pool2d(given_unaries, (rows, columns))
