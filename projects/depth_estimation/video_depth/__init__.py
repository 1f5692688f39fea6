"""Depth of videos. Importing this registers its data sets, its model and its demo."""

from video_depth import datasets, demo
from video_depth.config import add_depth_config
from video_depth.engine import DepthTrainer, load_depth_model, on_videos, run
from video_depth.model import VideoDepth

__all__ = [
    "DepthTrainer",
    "VideoDepth",
    "add_depth_config",
    "datasets",
    "demo",
    "load_depth_model",
    "on_videos",
    "run",
]
