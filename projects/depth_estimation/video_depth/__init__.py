"""Depth of videos. Importing this registers its data sets and its model."""

from video_depth import datasets
from video_depth.config import add_depth_config
from video_depth.engine import DepthTrainer, load_depth_model, on_videos, run
from video_depth.model import VideoDepth

__all__ = [
    "DepthTrainer",
    "VideoDepth",
    "add_depth_config",
    "datasets",
    "load_depth_model",
    "on_videos",
    "run",
]
