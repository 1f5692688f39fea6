"""AP by speed where the answer is known."""

import contextlib
import io

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from videogcrf_det.evaluation.coco_metrics import evaluate_nothing
from videogcrf_det.evaluation.speed import REACH, precision_by_speed, speeds
from videogcrf_det.evaluation.tracks import VideoFrames

LENGTH = 4
STEPS = {"slow": 0, "medium": 1.5, "fast": 12}  # pixels a frame, of boxes that are 20 wide
AP = {"slow": "AP-slow", "medium": "AP-medium", "fast": "AP-fast"}


def coco(annotations, length=LENGTH):
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i, "width": 200, "height": 200, "video_id": 1} for i in range(length)],
        "annotations": [{"id": n, "iscrowd": 0, "area": 400, **a} for n, a in annotations],
        "categories": [{"id": 1, "name": "person"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def shown(image, identity, x, y, **more):
    box = [x, y, 20, 20]
    return {"image_id": image, "category_id": 1, "bbox": box, "track_id": identity, **more}


@pytest.fixture
def truth():
    """Three persons below each other, each at a speed of its own."""
    annotations = [
        shown(t, name, 10 + step * t, 50 * row)
        for row, (name, step) in enumerate(STEPS.items())
        for t in range(LENGTH)
    ]
    return coco(enumerate(annotations, start=1))


def frames(length=LENGTH):
    return [VideoFrames(1, "video", list(range(length)), [(200, 200)] * length)]


def evaluate(truth, detections):
    with contextlib.redirect_stdout(io.StringIO()):
        if not detections:
            evaluation = evaluate_nothing(truth, "bbox")
        else:
            evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
    before = [len(gts) for gts in evaluation._gts.values()]
    metrics = precision_by_speed(evaluation, speeds(truth, frames()))
    assert [len(gts) for gts in evaluation._gts.values()] == before
    assert not any(gt["ignore"] for gts in evaluation._gts.values() for gt in gts)
    return {name: metrics[key] for name, key in AP.items()}


def detected(truth, *names, score=0.5):
    kept = [a for a in truth.dataset["annotations"] if a["track_id"] in names]
    keys = ("image_id", "category_id", "bbox")
    return [{**{key: a[key] for key in keys}, "score": score} for a in kept]


def test_speeds_by_hand():
    """By 2 pixels a frame the IoU is 18/22 after one frame and 16/24 after two."""
    boxes = {0: 10, 1: 12, 2: 14}
    truth = coco(enumerate([shown(t, 1, x, 0) for t, x in boxes.items()], start=1))
    one, two = 18 / 22, 16 / 24
    assert (one + two) / 2 > 0.7  # the first and the last; the middle one has twice the former
    assert set(speeds(truth, frames()).values()) == {"medium"}
    assert (18 / 22 + 16 / 24 + 14 / 26) / 3 < 0.7
    longer = coco(enumerate([shown(t, 1, 10 + 2 * t, 0) for t in range(4)], start=1))
    assert speeds(longer, frames()) == {1: "fast", 2: "medium", 3: "medium", 4: "fast"}


def test_an_instance_alone_has_no_speed():
    """Another of the same identity but of another category, and one that comes back too late."""
    late = REACH + 1
    other = shown(1, 1, 10, 0, category_id=2)
    truth = coco(enumerate([shown(0, 1, 10, 0), other, shown(late, 1, 10, 0)], start=1), late + 1)
    assert speeds(truth, frames(late + 1)) == {}
    truth = coco(enumerate([shown(0, 1, 10, 0), shown(REACH, 1, 10, 0)], start=1), late)
    assert speeds(truth, frames(late)) == {1: "slow", 2: "slow"}


def test_what_is_found_counts_for_its_speed(truth):
    everything = evaluate(truth, detected(truth, *STEPS))
    assert list(everything.values()) == pytest.approx([100, 100, 100])
    for name in STEPS:
        found = evaluate(truth, detected(truth, name))
        assert found == pytest.approx({**dict.fromkeys(STEPS, 0), name: 100})
    assert evaluate(truth, []) == dict.fromkeys(STEPS, 0)


def test_wrong_detections_count_where_they_are(truth):
    """Surer, and twice on each of the fast: half of the precision. Near none: of all three."""
    right = detected(truth, *STEPS)
    # an IoU of 5/15 with the fast ones
    poor = [{**d, "score": 0.9, "bbox": [d["bbox"][0] + 10, 100, 20, 20]} for d in right[8:]]
    assert evaluate(truth, right + poor) == pytest.approx({"slow": 100, "medium": 100, "fast": 50})
    stray = [{**d, "bbox": [150, 150, 20, 20], "score": 0.9} for d in right[:LENGTH]]
    assert list(evaluate(truth, right + stray).values()) == pytest.approx([50, 50, 50])


def test_a_speed_that_does_not_occur():
    truth = coco(enumerate([shown(t, 1, 10, 0) for t in range(LENGTH)], start=1))
    metrics = evaluate(truth, detected(truth, 1))
    assert metrics == {"slow": pytest.approx(100), "medium": None, "fast": None}
