"""A small data set in the layout of DAVIS, drawn by program: people who walk through a scene."""

from videogcrf_det.data.mini_davis.make import (
    DEPTH_UNIT,
    NUM_FRAMES,
    NUM_TRAIN,
    NUM_VAL,
    RECEIPT,
    SIZE,
    davis_palette,
    make_mini_davis,
)

__all__ = [
    "DEPTH_UNIT",
    "NUM_FRAMES",
    "NUM_TRAIN",
    "NUM_VAL",
    "RECEIPT",
    "SIZE",
    "davis_palette",
    "make_mini_davis",
]
