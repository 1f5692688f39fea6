"""A test whether a camera moves: the optical flow at the border of its frames."""

from collections.abc import Iterable

import numpy as np

from videogcrf_det.motion.flow import DISFlow, FlowMap, Image

BORDER = 0.1  # of the height: how wide the border is
MOVING = 0.002  # of the height, a frame: half a pixel at 240


def border_motion(flow: FlowMap) -> float:
    """The motion of a frame's border: the length in pixels of its median flow.

    What is filmed is seldom at the border, and covers less than half of it.

    Args:
        flow: (H, W, 2).
    """
    height, width = flow.shape[:2]
    wide = max(1, round(BORDER * height))
    border = np.ones((height, width), bool)
    border[wide : height - wide, wide : width - wide] = False
    return float(np.hypot(*np.median(flow[border], axis=0)))


def camera_motion(frames: Iterable[Image]) -> float | None:
    """The median of ``border_motion`` over the frames of a video, as a share of the height.

    Args:
        frames: (H, W, 3), of one size.

    Returns:
        above MOVING for a camera that moves; None for fewer than two frames.
    """
    flow_of, before = DISFlow(), None
    moved = []
    for frame in frames:
        if before is not None:
            moved.append(border_motion(flow_of(before, frame)) / len(frame))
        before = frame
    return float(np.median(moved)) if moved else None
