"""Semantic segmentation of videos. Importing this registers its head and its data sets."""

from video_semseg import datasets
from video_semseg.config import add_semantic_config
from video_semseg.engine import SemanticTrainer
from video_semseg.heads import SegmentationHead

__all__ = ["SegmentationHead", "SemanticTrainer", "add_semantic_config", "datasets"]
