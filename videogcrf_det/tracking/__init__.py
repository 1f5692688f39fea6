"""Identities of instances through a video."""

from videogcrf_det.tracking.association import MaskTracker
from videogcrf_det.tracking.hook import Tracker, identify

__all__ = ["MaskTracker", "Tracker", "identify"]
