"""Unaries that come with the frames: another method's, which stay as they are."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from videogcrf_det.errors import InputError


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

    def forward(self, features: Mapping[str, Tensor], given: Tensor | None) -> Tensor:
        """Unaries (M, L, h, w) of cells from those at pixels (M, L, H, W).

        Raises:
            InputError: the frames have none, or not of L labels.
        """
        found = "none" if given is None else f"{given.shape[1]} labels"
        if given is None or given.shape[1] != self.num_classes:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.NAME GivenUnaries needs frames with unaries of "
                f"{self.num_classes} labels, and there are {found}: use data that has them"
            )
        rows, columns = features[self.in_feature].shape[2:]
        return F.adaptive_avg_pool2d(given, (rows, columns))
