"""Scores of frames by hand, and which frames are shown."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from videogcrf_det.report.compare import (
    LEAST_GAP,
    frame_score,
    greatest_differences,
    score_video,
)


def box(x, y=10, width=12, height=20):
    """The mask of a rectangle as runs: of a size that pycocotools compresses."""
    mask = np.zeros((40, 60), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    return {"category_id": 0, "segmentation": coco_mask.encode(mask)}


def region(*where, **size):
    return {**box(*where, **size), "iscrowd": 1}


def score(detections, annotations):
    return frame_score({"height": 40, "width": 60, "annotations": annotations}, detections)


PERSON, TOP_HALF, OTHER = box(10), box(10, height=10), box(40)


@pytest.mark.parametrize(
    ("detections", "annotations", "expected"),
    [
        ([PERSON], [PERSON], 1),
        ([TOP_HALF], [PERSON], 0.5),
        ([PERSON, OTHER], [PERSON], 0.5),
        ([PERSON], [PERSON, OTHER], 0.5),
        ([OTHER, TOP_HALF], [PERSON, OTHER], 0.75),
        ([TOP_HALF, PERSON], [PERSON], 0.5),  # one to one: the better one
        ([], [PERSON], 0),
        ([PERSON], [], 0),
        ([], [], 1),
        ([{**PERSON, "category_id": 1}], [PERSON], 0),
        # of which a third, a half, and two thirds lie on a do-not-care region
        ([PERSON, OTHER], [PERSON, region(48)], 0.5),
        ([PERSON, OTHER], [PERSON, region(46)], 0.5),
        ([PERSON, OTHER], [PERSON, region(44)], 1),
        # on two of them together
        ([PERSON, OTHER], [PERSON, region(44, height=10), region(44, 20, height=10)], 1),
        ([OTHER], [region(40)], 1),
        # an instance on a region counts, and so does what detects it
        ([PERSON], [PERSON, region(10)], 1),
        ([], [PERSON, region(10)], 0),
        ([TOP_HALF], [PERSON, region(10)], 0.5),
    ],
)
def test_scores(detections, annotations, expected):
    assert score(detections, annotations) == pytest.approx(expected)


def test_masks_as_runs_polygons_and_not_at_all():
    polygon = {"category_id": 0, "segmentation": [[10.0, 10, 22, 10, 22, 30, 10, 30]]}
    mask = coco_mask.decode(PERSON["segmentation"])
    flat = np.concatenate([[0], mask.ravel(order="F"), [0]]).astype(int)
    starts = np.flatnonzero(np.diff(flat))
    runs = np.diff([0, *starts, mask.size]).tolist()
    plain = {"category_id": 0, "segmentation": {"size": [40, 60], "counts": runs}}
    for same in (polygon, plain):
        assert score([PERSON], [same]) == 1
    assert score([plain], [PERSON]) == 1
    assert score([], [{"category_id": 0, "bbox": [0, 0, 9, 9]}]) == 1  # there is nothing to compare


def test_scores_of_a_video():
    frames = [
        {"image_id": i, "height": 40, "width": 60, "annotations": [PERSON]} for i in (7, 8, 9)
    ]
    assert score_video({"frames": frames}, {9: [TOP_HALF], 7: [PERSON]}) == [1, 0, 0.5]


def places(values, count):
    return [(d.video, d.frame) for d in greatest_differences(values, count)]


def test_differences_come_from_all_videos():
    first, second, third = np.full(40, 50.0), np.full(40, 5.0), np.zeros(40)
    second[31] = 6
    assert places([first, second, third], 2) == [(0, 0), (1, 31)]
    # two of each: none where there is no difference, and no neighbours
    assert places([first, second, third], 4) == [(0, 0), (0, LEAST_GAP), (1, 31), (1, 0)]


def test_differences_are_the_greatest_ones_first():
    values = -np.ones(50)
    values[[3, 30, 45]] = 20, 70, 0.9  # less than a point is no difference
    assert places([values], 6) == [(0, 30), (0, 3)]
    assert greatest_differences([values])[0].value == 70
    assert places([[0.0], []], 6) == []
