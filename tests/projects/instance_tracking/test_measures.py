"""J, F and their summaries, against what follows from the shapes."""

import math

import numpy as np
import pytest
from video_tracking.measures import (
    PixelCounts,
    contour_accuracy,
    region_similarity,
    summary,
)

EMPTY = np.zeros((60, 80), bool)


def square(row, column, side=20):
    mask = EMPTY.copy()
    mask[row : row + side, column : column + side] = True
    return mask


@pytest.mark.parametrize("shift", [0, 1, 5, 20])
def test_region_similarity_of_a_shifted_square(shift):
    expected = (20 - shift) / (20 + shift)
    assert region_similarity(square(10, 10 + shift), square(10, 10)) == pytest.approx(expected)


@pytest.mark.parametrize("measure", [region_similarity, contour_accuracy])
def test_empty_masks(measure):
    assert measure(EMPTY, EMPTY) == 1
    assert measure(EMPTY, square(10, 10)) == 0
    assert measure(square(10, 10), EMPTY) == 0


@pytest.mark.parametrize("measure", [region_similarity, contour_accuracy])
def test_void_pixels_do_not_count(measure):
    predicted = square(10, 10)
    predicted[:, 50:] = True
    void = np.zeros_like(EMPTY)
    void[:, 48:] = True
    assert measure(predicted, square(10, 10)) < 1
    assert measure(predicted, square(10, 10), void) == 1


def test_contours_within_the_tolerance():
    # the diagonal is 100 pixels
    assert contour_accuracy(square(12, 10), square(10, 10), tolerance=0.02) == 1
    assert contour_accuracy(square(12, 10), square(10, 10), tolerance=0.011) == 1, "rounded up"
    assert contour_accuracy(square(12, 10), square(10, 10), tolerance=0.01) < 1
    assert contour_accuracy(square(40, 50, 10), square(10, 10), tolerance=0.05) == 0


def boundary_by_hand(mask):
    height, width = mask.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            mask[y, x] != mask[min(y + a, height - 1), min(x + b, width - 1)]
            for a, b in [(0, 1), (1, 0), (1, 1)]
        )
    ]


@pytest.mark.parametrize("seed", range(4))
def test_contours_against_distances(seed):
    random = np.random.default_rng(seed)

    def blobs():
        mask = np.zeros((30, 40), bool)
        for _ in range(3):
            row, column, side = random.integers(0, 30), random.integers(0, 40), 8
            mask[row : row + side, column : column + side] = True
        return mask

    predicted, annotated = blobs(), blobs()
    found, true = boundary_by_hand(predicted), boundary_by_hand(annotated)
    near = math.ceil(0.04 * 50)

    def share(points, others):
        return np.mean([any(math.dist(p, o) <= near for o in others) for p in points])

    precision, recall = share(found, true), share(true, found)
    expected = 2 * precision * recall / (precision + recall)
    assert contour_accuracy(predicted, annotated, tolerance=0.04) == pytest.approx(expected)


def test_summary_by_hand():
    values = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
    # frames at 0, 1.75, 3.5, 5.25, 7 end the quarters: 0, 2, 4, 5, 7
    found = summary(values)
    assert found.mean == pytest.approx(0.65)
    assert found.recall == pytest.approx(5 / 8)
    assert found.decay == pytest.approx(np.mean([1, 0.9, 0.8]) - np.mean([0.5, 0.4, 0.3]))


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.2], [0.9, 0.5, 0.1]])
def test_summary_of_few_frames(values):
    found = summary(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.recall == pytest.approx(np.mean(np.array(values) > 0.5))
    assert math.isfinite(found.decay)


def test_a_steady_sequence_does_not_decay():
    assert summary([0.3] * 17).decay == pytest.approx(0)


def test_mean_pixel_iou_counts_pixels_of_all_frames():
    one = PixelCounts.of(square(10, 10), square(10, 20))
    other = PixelCounts.of(EMPTY, EMPTY)
    foreground, background = 200 / 600, (2 * 4800 - 600) / (2 * 4800 - 200)
    assert one.plus(other).mean_iou() == pytest.approx((foreground + background) / 2)
    assert other.mean_iou() == 1, "of the background alone"
    assert math.isnan(PixelCounts.of(EMPTY, EMPTY, ~EMPTY).mean_iou())
