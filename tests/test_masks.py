import numpy as np

from videogcrf_det.masks import mask_iou, match


def box(x, y, size=10, shape=(60, 80)):
    mask = np.zeros(shape, bool)
    mask[y : y + size, x : x + size] = True
    return mask


def test_mask_iou_of_squares():
    overlap = mask_iou(np.stack([box(0, 0), box(40, 40)]), np.stack([box(5, 0), box(0, 0)]))
    np.testing.assert_allclose(overlap, [[50 / 150, 1], [0, 0]])


def test_mask_iou_of_none_and_of_empty_masks():
    none, empty = np.zeros((0, 60, 80), bool), np.zeros((1, 60, 80), bool)
    assert mask_iou(none, empty).shape == (0, 1)
    assert mask_iou(empty, empty) == 0


def test_match_takes_the_best_pair_first_and_each_row_and_column_once():
    overlap = np.array([[0.9, 0.8, 0.0], [0.85, 0.2, 0.0], [0.0, 0.0, 0.05]])
    assert match(overlap, least=0.1) == {0: 0, 1: 1}
    assert match(overlap, least=0.3) == {0: 0}
    assert match(overlap, least=0.01) == {0: 0, 1: 1, 2: 2}
