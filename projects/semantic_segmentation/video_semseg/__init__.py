"""Semantic segmentation of videos. Importing this registers its data sets."""

from video_semseg import datasets
from video_semseg.engine import SemanticTrainer

__all__ = ["SemanticTrainer", "datasets"]
