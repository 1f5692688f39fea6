"""Frames and videos of which little can be seen."""

from videogcrf_det.data.degrade.frames import (
    DEGRADATIONS,
    Image,
    Rng,
    blur,
    check_share,
    darken,
    degrade,
    degrade_file,
    degraded_frames,
)

__all__ = [
    "DEGRADATIONS",
    "Image",
    "Rng",
    "blur",
    "check_share",
    "darken",
    "degrade",
    "degrade_file",
    "degraded_frames",
]
