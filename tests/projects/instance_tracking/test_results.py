"""Objects merged by score, and indexed pictures."""

import numpy as np
from PIL import Image
from video_tracking.davis import read_ids
from video_tracking.results import merge_objects, write_ids


def test_the_most_probable_object_if_more_probable_than_not():
    probabilities = {
        1: np.array([[0.9, 0.6, 0.2, 0.5]]),
        7: np.array([[0.1, 0.8, 0.4, 0.5]]),
    }
    log_odds = {key: np.log(p / (1 - p)) for key, p in probabilities.items()}
    assert merge_objects(log_odds).tolist() == [[1, 7, 0, 0]]


def test_indexed_pictures(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    path = tmp_path / "pair" / "00000.png"
    write_ids(path, ids)
    assert np.array_equal(read_ids(path), ids)
    with Image.open(path) as image:
        assert image.mode == "P"
        colours = image.convert("RGB").load()
    assert colours[0, 0] == (0, 0, 0)
    assert colours[1, 0] == (128, 0, 0)
    assert colours[2, 0] == (0, 128, 0)
