"""Moving and static cameras."""

import cv2
import numpy as np
import pytest

from videogcrf_det.motion.camera import MOVING, border_motion, camera_motion


def scene(height=80, width=160, seed=0):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return np.uint8(np.clip(128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2), 0, 255))


def test_the_border_and_no_more():
    flow = np.zeros((40, 60, 2), np.float32)
    flow[4:-4, 4:-4] = 9  # inside, everything moves
    assert border_motion(flow) == 0
    flow[:] = (3, -4)
    assert border_motion(flow) == pytest.approx(5)


def test_what_moves_in_front_of_a_camera_is_not_its_motion():
    wide = scene(width=200)
    moving = camera_motion(wide[:, 2 * t : 2 * t + 160] for t in range(5))
    assert moving == pytest.approx(2 / 80, rel=0.15)
    still, block = scene(), scene(30, 30, seed=1)
    frames = []
    for t in range(5):
        frame = still.copy()
        frame[25:55, 20 + 6 * t : 50 + 6 * t] = block
        frames.append(frame)
    static = camera_motion(frames)
    assert static is not None
    assert static < MOVING < moving
    assert camera_motion(frames[:1]) is None
