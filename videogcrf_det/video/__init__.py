"""Videos as files: reading whatever a user has, writing what browsers play."""

from videogcrf_det.video.reader import Frame, InputVideo, open_video
from videogcrf_det.video.writer import VideoWriter, frame_folder, require_av

__all__ = ["Frame", "InputVideo", "VideoWriter", "frame_folder", "open_video", "require_av"]
