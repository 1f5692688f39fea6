"""Data sets of videos, clips drawn from them, and the mappers that read clips."""

from videogcrf_det.data.clips import (
    build_clips,
    clip_indices,
    load_clips,
    load_videos,
    training_clips,
)
from videogcrf_det.data.datasets import (
    load_video_coco_json,
    register_video_coco_instances,
    register_ytvis_instances,
)
from videogcrf_det.data.loader import ClipLoader, build_clip_train_loader
from videogcrf_det.data.mappers import ClipDatasetMapper, VideoDatasetMapper

__all__ = [
    "ClipDatasetMapper",
    "ClipLoader",
    "VideoDatasetMapper",
    "build_clip_train_loader",
    "build_clips",
    "clip_indices",
    "load_clips",
    "load_video_coco_json",
    "load_videos",
    "register_video_coco_instances",
    "register_ytvis_instances",
    "training_clips",
]
