"""Semantic segmentation of videos with VideoGCRF. Importing this registers model and data sets."""

from video_semseg import datasets
from video_semseg.config import add_semantic_config
from video_semseg.segmentor import VideoSegmentor

__all__ = ["VideoSegmentor", "add_semantic_config", "datasets"]
