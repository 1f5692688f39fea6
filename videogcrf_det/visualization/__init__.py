"""Pictures, videos and pages that show data and predictions."""

from videogcrf_det.visualization.clips import draw_clip, write_clips
from videogcrf_det.visualization.colours import TrackColours
from videogcrf_det.visualization.overlay import draw_instances, enlarge
from videogcrf_det.visualization.panels import side_by_side, write_png
from videogcrf_det.visualization.predictions import (
    DetectedVideo,
    Detections,
    VideoFiles,
    videos_from_file,
    videos_from_model,
    visualize_predictions,
    write_videos,
)
from videogcrf_det.visualization.report import Step, write_report

__all__ = [
    "DetectedVideo",
    "Detections",
    "Step",
    "TrackColours",
    "VideoFiles",
    "draw_clip",
    "draw_instances",
    "enlarge",
    "side_by_side",
    "videos_from_file",
    "videos_from_model",
    "visualize_predictions",
    "write_clips",
    "write_png",
    "write_report",
    "write_videos",
]
