import numpy as np
import pytest

from videogcrf_det.masks import mask_iou
from videogcrf_det.tracking.cells import (
    cell_size,
    moved_shares,
    overlaps,
    shares_of_masks,
)


def box(x, y, size=10, shape=(60, 80)):
    mask = np.zeros(shape, bool)
    mask[y : y + size, x : x + size] = True
    return mask


@pytest.mark.parametrize("shape", [(60, 80), (480, 854), (1080, 1920), (2160, 3840), (3, 2000)])
def test_shares_are_means_over_cells(shape):
    masks = np.random.default_rng(0).random((2, *shape)) < 0.3
    cell = cell_size(*shape)
    shares = shares_of_masks(masks)
    assert max(shares.shape) <= 120 or cell == min(shape)
    for row, column in ((0, 0), (shares.shape[1] - 1, shares.shape[2] - 1)):
        part = masks[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        np.testing.assert_allclose(shares[:, row, column], part.mean((1, 2)), rtol=1e-6)
    assert shares.mean() == pytest.approx(0.3, abs=0.05)


def test_overlaps_of_binary_masks_are_ious():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 4, 30, 40)) < rng.uniform(0.1, 0.9, (2, 4, 1, 1))
    second[2] = False
    found = overlaps(first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(found, mask_iou(first, second), atol=1e-6)


def test_masks_of_a_few_pixels_are_still_compared():
    shape = (480, 854)  # with cells of 8 pixels
    masks = np.stack([box(x, y, 4, shape) for x, y in ((100, 100), (108, 100), (300, 301))])
    found = overlaps(shares_of_masks(masks), shares_of_masks(masks))
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-6)
    assert found[0, 2] == found[1, 2] == 0


def test_moved_masks_are_where_the_flow_says_also_that_of_a_smaller_picture():
    shares = box(20, 10).astype(np.float32)[None]
    for factor in (1, 2):  # every pixel was 8 to the left and 4 below
        flow = np.full((60 // factor, 80 // factor, 2), [-8 / factor, 4 / factor], np.float32)
        np.testing.assert_allclose(moved_shares(shares, flow)[0], box(28, 6), atol=1e-5)
    away = np.full((60, 80, 2), [100, 0], np.float32)
    assert not moved_shares(shares, away).any()
