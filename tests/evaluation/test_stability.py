"""Temporal stability where the answer is known."""

import cv2
import numpy as np
import pytest

from videogcrf_det.evaluation.stability import (
    LEAST_SIDE,
    Masks,
    StabilityMeter,
    pair_stability,
    warp,
)

HEIGHT, WIDTH = 96, 128
STILL = np.zeros((HEIGHT, WIDTH, 2), np.float32)


def box(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def masks(*boxes, classes=None):
    return Masks(
        np.array([box(*b) for b in boxes]).reshape(-1, HEIGHT, WIDTH),
        np.array(classes or [0] * len(boxes)),
    )


def texture(height=HEIGHT, width=WIDTH, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def measure(grays, *kinds):
    meter = StabilityMeter()
    for gray, *found in zip(grays, *kinds, strict=True):
        meter.add(gray, {str(i): m for i, m in enumerate(found)})
    return [100 * mean.total / mean.pairs for _, mean in sorted(meter.means.items())]


PERSON = (20, 30, 60, 50)  # 40 x 20 pixels


def test_nothing_moves():
    assert measure([texture()] * 5, [masks(PERSON)] * 5) == [pytest.approx(100)]


def test_masks_that_move_with_the_picture_and_masks_that_do_not():
    """A camera that pans by 4 pixels a frame."""
    wide = texture(width=WIDTH + 40)
    grays = [wide[:, 4 * t : 4 * t + WIDTH].copy() for t in range(6)]
    moving = [masks((20, 60 - 4 * t, 60, 80 - 4 * t)) for t in range(6)]
    staying = [masks((20, 60, 60, 80))] * 6
    with_it, without = measure(grays, moving, staying)
    assert with_it > 97
    # 20 pixels wide, 4 pixels off
    assert without == pytest.approx(100 * 16 / 24, abs=3)


def test_a_detection_that_drops_out():
    """Two frames of seven without it: three of the six pairs have it on one side, one on none."""
    found = [masks(PERSON)] * 7
    found[3] = found[4] = masks()
    # pairs: 01 12 whole, 23 lost, 34 none, 45 found again, 56 whole
    assert measure([texture()] * 7, found) == [pytest.approx(100 * 3 / 5)]


def test_one_of_two_instances_flickers():
    other = (10, 80, 30, 100)
    found = [masks(PERSON, other), masks(PERSON), masks(PERSON, other)]
    assert measure([texture()] * 3, found) == [pytest.approx(50)]


def test_instances_are_paired_whatever_their_order():
    first, second = (10, 10, 30, 30), (40, 60, 70, 100)
    assert pair_stability(masks(first, second), masks(second, first), STILL) == 1


def test_best_pairs_first_and_each_instance_once():
    """Two masks before overlap the only one after; the better one is its pair."""
    before = masks((10, 10, 30, 30), (10, 12, 30, 32))
    after = masks((10, 12, 30, 32))
    assert pair_stability(before, after, STILL) == 1 / 2


def test_classes_are_kept_apart():
    before = masks(PERSON, classes=[0])
    assert pair_stability(before, masks(PERSON, classes=[1]), STILL) == 0
    assert pair_stability(before, masks(PERSON, PERSON, classes=[1, 0]), STILL) == 1 / 2


def test_known_overlap():
    """Of 40 x 20 pixels, 10 columns apart: 400 of 1200."""
    moved = masks((20, 40, 60, 60))
    assert pair_stability(masks(PERSON), moved, STILL) == pytest.approx(1 / 3)


def test_no_masks_at_all():
    assert pair_stability(masks(), masks(), None) is None
    assert measure([texture()] * 3, [masks()] * 3) == []


def test_what_comes_into_the_picture():
    """The flow says that the left 8 columns come from outside of the earlier frame."""
    flow = STILL.copy()
    flow[..., 0] = -8
    before, after = masks((20, 0, 60, 20)), masks((20, 0, 60, 28))
    assert pair_stability(before, after, flow) == pytest.approx(20 / 28)


def test_the_direction_of_the_flow():
    """Flow is from the later frame to the earlier one."""
    flow = STILL.copy()
    flow[..., 0], flow[..., 1] = -5, 3
    warped = warp(masks(PERSON).masks, flow)
    top, left, bottom, right = PERSON
    np.testing.assert_array_equal(warped[0], box(top - 3, left + 5, bottom - 3, right + 5))


@pytest.mark.parametrize("side", [10, LEAST_SIDE])
def test_frames_of_another_size_or_too_small_are_not_compared(side):
    """Frames of fewer than 16 pixels would crash OpenCV."""
    meter = StabilityMeter()
    meter.add(texture(), {"0": masks(PERSON)})
    small = Masks(np.ones((1, side, 64), bool), np.zeros(1, int))
    meter.add(texture(side, 64), {"0": small})
    assert meter.means == {}
    meter.add(texture(side, 64), {"0": small})
    assert meter.means == ({} if side < LEAST_SIDE else {"0": (pytest.approx(1), 1)})
