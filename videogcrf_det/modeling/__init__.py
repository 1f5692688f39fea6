"""detectron2 parts: the backbone wrapper, the clip-aware detector, and do-not-care in training."""

from videogcrf_det.modeling.backbone import VideoGCRFBackbone, build_video_gcrf_backbone
from videogcrf_det.modeling.clip_rcnn import ClipRCNN
from videogcrf_det.modeling.ignore import (
    IgnoreRegionMaskHead,
    IgnoreRegionRes5ROIHeads,
    IgnoreRegionRPN,
    IgnoreRegionStandardROIHeads,
)

__all__ = [
    "ClipRCNN",
    "IgnoreRegionMaskHead",
    "IgnoreRegionRPN",
    "IgnoreRegionRes5ROIHeads",
    "IgnoreRegionStandardROIHeads",
    "VideoGCRFBackbone",
    "build_video_gcrf_backbone",
]
