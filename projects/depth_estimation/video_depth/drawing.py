"""Depth as pictures.

Letters: H x W a frame.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.data.depth import DepthMap
from videogcrf_det.drawing.overlay import Picture, display_size

MOST_DEVIATION = 0.3  # of log depth, from which on pictures show no difference


def draw_depth(depth: DepthMap, near: float, far: float) -> Picture:
    """Near things light and far ones dark, in equal steps of log depth; black where missing.

    Args:
        depth: (H, W) metres.
        near, far: metres, the ends of the scale.

    Returns:
        uint8 RGB picture of ``display_size(H, W)``.
    """
    known = depth > 0
    share = np.log(far / np.where(known, depth, far)) / np.log(far / near)
    return _coloured(share, cv2.COLORMAP_INFERNO, known)


def draw_deviation(deviation: NDArray[np.float32]) -> Picture:
    """Sure pixels dark, unsure ones light; (H, W) standard deviations of log depth."""
    share = deviation / MOST_DEVIATION
    return _coloured(share, cv2.COLORMAP_VIRIDIS, np.ones(share.shape, bool))


def depth_range(depth: DepthMap) -> tuple[float, float]:
    """Ends of a scale for a video whose first frame this is (H, W), in metres."""
    near, far = np.percentile(depth[depth > 0], [1, 99]) if (depth > 0).any() else (1.0, 10.0)
    return 0.8 * float(near), 1.25 * float(far)  # what comes later may be nearer or farther


def _coloured(share: NDArray[np.floating], colours: int, known: NDArray[np.bool_]) -> Picture:
    levels = np.clip(np.rint(255 * share), 0, 255).astype(np.uint8)
    picture = cv2.applyColorMap(levels, colours)[:, :, ::-1] * known[:, :, None]
    height, width = display_size(*share.shape)
    method = cv2.INTER_NEAREST if height > share.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), np.uint8)
