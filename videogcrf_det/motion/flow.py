"""Optical flow of successive frames."""

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_SIDE = 16  # OpenCV's DIS flow reads beyond the memory of frames that are smaller


class DISFlow:
    """OpenCV's DIS flow, fast or medium.

    Calling it with two frames (H, W, 3) uint8 gives (H, W, 2) float32: for each pixel of the
    current frame the way in pixels, x and y, to where it was in the previous one. Frames of fewer
    than 16 pixels in height or width have none.
    """

    def __init__(self, preset: int = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM) -> None:
        self._dis = cv2.DISOpticalFlow.create(preset)

    def __call__(
        self, previous: NDArray[np.uint8], current: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        if min(current.shape[:2]) < LEAST_SIDE:
            return np.zeros((*current.shape[:2], 2), np.float32)
        grey = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in (current, previous)]
        return self._dis.calc(*grey, None)  # type: ignore[call-overload]
