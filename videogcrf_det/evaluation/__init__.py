"""Mask AP over the frames of videos."""

from videogcrf_det.evaluation.video_coco import VideoCOCOEvaluator

__all__ = ["VideoCOCOEvaluator"]
