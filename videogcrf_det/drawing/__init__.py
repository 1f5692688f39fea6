"""Pictures and videos that show data and predictions."""

from videogcrf_det.drawing.clips import draw_clip, write_clips
from videogcrf_det.drawing.colours import TrackColours
from videogcrf_det.drawing.overlay import draw_instances, enlarge
from videogcrf_det.drawing.panels import side_by_side, write_png
from videogcrf_det.drawing.predictions import (
    DetectedVideo,
    Detections,
    VideoFiles,
    videos_from_file,
    videos_from_model,
    visualize_predictions,
    write_videos,
)

__all__ = [
    "DetectedVideo",
    "Detections",
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
    "write_videos",
]
