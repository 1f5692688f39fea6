"""Identities of instances through a video."""

from videogcrf_det.tracking.association import MaskTracker
from videogcrf_det.tracking.gaps import fill_gaps
from videogcrf_det.tracking.hook import Tracker, identify

__all__ = ["MaskTracker", "Tracker", "fill_gaps", "identify"]
