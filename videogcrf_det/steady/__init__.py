"""Fields for the detector that is there, fitted to raw videos without labels (docs/steady.md)."""

from videogcrf_det.steady.attach import SteadyBackbone, attach, detach, detect_video
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.stream import FieldStream

__all__ = ["FieldStream", "SteadyBackbone", "SteadyFields", "attach", "detach", "detect_video"]
