"""Videos as files: reading whatever a user has, writing what browsers play."""

from videogcrf_det.video.writer import VideoWriter, require_av

__all__ = ["VideoWriter", "require_av"]
