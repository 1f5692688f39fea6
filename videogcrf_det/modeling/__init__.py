"""detectron2 parts: the backbone wrapper and the clip-aware detector."""

from videogcrf_det.modeling.backbone import VideoGCRFBackbone, build_video_gcrf_backbone
from videogcrf_det.modeling.clip_rcnn import ClipRCNN

__all__ = ["ClipRCNN", "VideoGCRFBackbone", "build_video_gcrf_backbone"]
