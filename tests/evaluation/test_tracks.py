"""Metrics of tracks: worked out by hand, and on the real masks of a sequence of DAVIS-2017."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.conftest import unregister
from tests.support.detections import predicted
from videogcrf_det.data import load_videos, register_video_coco_instances
from videogcrf_det.evaluation import VideoCOCOEvaluator
from videogcrf_det.evaluation.tracking import tracking_metrics
from videogcrf_det.evaluation.tracks import (
    LONGEST_GAP,
    Track,
    VideoFrames,
    found_tracks,
    tracks_of,
)
from videogcrf_det.evaluation.ytvis import track_precision, ytvis_results
from videogcrf_det.masks import end_to_end, run_lengths

SIZE = 40, 60
LEFT, RIGHT = (5, 5, 30, 15), (5, 40, 30, 50)  # top, left, bottom, right: of one size
CATEGORIES = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
SHARED = os.getenv("VIDEOGCRF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
ROOT = Path(SHARED, "DAVIS2017")
LENGTH = 40  # frames of the sequence


def encode(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def box(top, left, bottom, right):
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return encode(mask)


def track(identity, *boxes, **options):
    masks = {position: box(*b) for position, b in enumerate(boxes) if b is not None}
    return Track(identity, options.pop("category", 1), masks=masks, **options)


def video(length, video_id=7):
    return VideoFrames(video_id, f"video {video_id}", list(range(length)), [SIZE] * length)


def precision(length, truth, found):
    return track_precision([video(length)], [truth], [found], CATEGORIES)


@pytest.mark.parametrize("scale", [1, 60])
def test_masks_side_by_side(scale):
    """Against pycocotools on masks that numpy has put side by side; all that touches the borders of
    frames is in them."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        height, *widths = rng.integers(1, 12, 4)
        shown = [rng.random((height, w)) < rng.choice([0, 0.3, 1]) for w in widths]
        shown = [np.kron(mask, np.ones((1, scale), bool)) for mask in shown]
        seen = rng.random(3) < 0.7
        wide = encode(np.concatenate([m & s for m, s in zip(shown, seen, strict=True)], axis=1))
        masks = {p: encode(shown[p]) for p in range(3) if seen[p]}
        assert end_to_end(masks, [m.shape for m in shown])["counts"] == wide["counts"]
        runs = run_lengths(wide)
        pixels = np.repeat(np.arange(len(runs)) % 2, runs)
        np.testing.assert_array_equal(pixels, coco_mask.decode(wide).ravel("F"))


def test_right_tracks():
    truth = [track(1, LEFT, LEFT, None), track(2, None, RIGHT, RIGHT)]
    metrics = precision(3, truth, [track("a", None, RIGHT, RIGHT), track("b", LEFT, LEFT)])
    assert metrics["AP"] == metrics["AP50"] == metrics["AP75"] == pytest.approx(100)
    assert metrics["AR10"] == 100
    assert metrics["AR1"] == 50


def test_identities_that_are_swapped_half_way():
    """Every frame is right, but each track shares a half with either instance: an IoU of 1/3."""
    truth = [track(1, LEFT, LEFT, LEFT, LEFT), track(2, RIGHT, RIGHT, RIGHT, RIGHT)]
    swapped = [track(1, LEFT, LEFT, RIGHT, RIGHT), track(2, RIGHT, RIGHT, LEFT, LEFT)]
    assert precision(4, truth, swapped) == dict.fromkeys(("AP", "AP50", "AP75", "AR1", "AR10"), 0)


def test_a_track_that_is_found_in_three_of_five_frames():
    """An IoU of 0.6: right at the thresholds 0.5, 0.55 and 0.6."""
    metrics = precision(5, [track(1, *[LEFT] * 5)], [track(1, *[LEFT] * 3)])
    assert [metrics["AP"], metrics["AR1"]] == pytest.approx([30, 30])
    assert (metrics["AP50"], metrics["AP75"]) == (pytest.approx(100), 0)


def test_a_surer_track_that_is_wrong():
    """Half of the precision at every recall; and none of its class, where nothing is annotated."""
    truth, wrong = [track(1, LEFT, LEFT)], track(2, RIGHT, RIGHT, score=0.9)
    assert precision(2, truth, [track(1, LEFT, LEFT, score=0.5), wrong])["AP"] == pytest.approx(50)
    wrong.category = 2
    assert precision(2, truth, [track(1, LEFT, LEFT, score=0.5), wrong])["AP"] == pytest.approx(100)


def test_do_not_care_regions_cost_nothing():
    truth = [track(1, LEFT, LEFT), track(None, RIGHT, (0, 35, 40, 60), crowd=True)]
    found = [track(1, LEFT, LEFT, score=0.5), track(2, RIGHT, RIGHT, score=0.9)]
    assert precision(2, truth, found)["AP"] == pytest.approx(100)
    assert tracking_metrics([truth], [found])["MOTA"] in (100, None)  # without TrackEval


def test_nothing_is_found_and_nothing_is_annotated():
    assert precision(2, [track(1, LEFT, LEFT)], [])["AP"] == 0
    assert set(precision(2, [], [track(1, LEFT)]).values()) == {None}
    assert set(tracking_metrics([[]], [[track(1, LEFT)]]).values()) == {None}


def test_videos_are_apart():
    """A track in the wrong one of two videos is not found."""
    videos, truth = [video(2, 1), video(2, 2)], [[track(1, LEFT, LEFT)], []]
    metrics = track_precision(videos, truth, truth[::-1], CATEGORIES)
    assert metrics["AP"] == 0
    assert track_precision(videos, truth, truth, CATEGORIES)["AP"] == pytest.approx(100)


def test_the_format_of_the_servers():
    found = [track(3, None, LEFT, score=0.25, category=2)]
    assert ytvis_results([video(3)], [found]) == [
        {"video_id": 7, "category_id": 2, "score": 0.25, "segmentations": [None, box(*LEFT), None]}
    ]


def metrics_of(truth, found):
    pytest.importorskip("trackeval")
    return tracking_metrics([truth], [found])


def test_an_identity_that_changes_half_way():
    """Of four frames: all detections are right (DetA 1). For each, the pair of identities shares 2
    of 4 frames: AssA 1/2, HOTA the root of 1 times 1/2. IDF1 keeps one identity: 2 x 2 of 4 + 4.
    MOTA loses one switch of four."""
    metrics = metrics_of(
        [track(1, *[LEFT] * 4)], [track(1, LEFT, LEFT), track(2, *[None] * 2, LEFT, LEFT)]
    )
    expected = {"HOTA": 100 * 0.5**0.5, "DetA": 100, "AssA": 50, "IDF1": 50, "MOTA": 75}
    assert metrics == pytest.approx({**expected, "switches": 1})


def test_a_missed_frame_and_a_false_alarm():
    """Three of four frames found, and one detection elsewhere: TP 3, FN 1, FP 1. DetA 3/5; the
    shared frames of the pair are 3 of 4: AssA 3/4. IDF1 2 x 3 of 4 + 4; MOTA 1 - 2/4."""
    found = [track(1, LEFT, None, LEFT, LEFT), track(2, RIGHT)]
    metrics = metrics_of([track(1, *[LEFT] * 4)], found)
    expected = {"HOTA": 100 * 0.45**0.5, "DetA": 60, "AssA": 75, "IDF1": 75, "MOTA": 50}
    assert metrics == pytest.approx({**expected, "switches": 0})


def test_categories_are_averaged_and_switches_are_added():
    truth = [track(1, *[LEFT] * 4), track(2, *[RIGHT] * 4, category=2)]
    found = [track(1, LEFT, LEFT), track(2, None, None, LEFT, LEFT)]
    metrics = metrics_of(truth, found)
    assert metrics["MOTA"] == pytest.approx((75 + 0) / 2)
    assert metrics["HOTA"] == pytest.approx(100 * 0.5**0.5 / 2)
    assert metrics["switches"] == 1


def result(where, score=0.9, category=1, **more):
    return {"category_id": category, "score": score, "segmentation": box(*where), **more}


def test_identities_that_are_there_are_kept():
    frames = [[result(LEFT, track_id=8)], [], [result(RIGHT, track_id=8)]]
    assert tracks_of(frames) == [[8], [], [8]]


def test_identities_by_overlap():
    """Through a gap, within a class, and as a new one after a longer gap."""
    gap = [[]] * LONGEST_GAP
    assert tracks_of([[result(LEFT), result(RIGHT)], *gap, [result(RIGHT)], [result(LEFT)]]) == [
        [1, 2],
        *gap,
        [2],
        [3],
    ]
    assert tracks_of([[result(LEFT)], [result(LEFT, category=2)]]) == [[1], [2]]


def test_category_and_score_of_a_track():
    """The surer category; the mean of all scores."""
    frames = [
        [result(LEFT, 0.3, track_id=1)],
        [result(LEFT, 0.4, track_id=1)],
        [result(LEFT, 0.8, 2, track_id=1)],
    ]
    (found,) = found_tracks(video(3), dict(enumerate(frames)))
    assert (found.category, found.score) == (2, pytest.approx(0.5))
    (sure,) = found_tracks(video(3), dict(enumerate(frames)), least_score=0.5)
    assert list(sure.masks) == [2]


@pytest.fixture(scope="module")
def schoolgirls(tmp_path_factory):
    """The sequence, registered: 7 persons and backpacks."""
    labels = ROOT / "Annotations/240p/schoolgirls"
    if not labels.is_dir():
        pytest.skip("the real data is not here")
    kinds = json.loads((ROOT / "davis_semantics.json").read_text())["schoolgirls"]
    images, annotations = [], []
    for number, path in enumerate(sorted(labels.glob("*.png"))[:LENGTH]):
        image = np.array(Image.open(path))
        name = f"schoolgirls/{path.stem}.jpg"
        images.append({"id": number, "file_name": name, "video_id": 0, "frame_id": number})
        images[-1] |= {"height": image.shape[0], "width": image.shape[1]}
        for key, kind in kinds.items():
            mask = encode(image == int(key))
            if coco_mask.area(mask):
                annotations.append({"id": len(annotations) + 1, "image_id": number})
                mask = {"size": mask["size"], "counts": mask["counts"].decode()}
                annotations[-1] |= {"segmentation": mask, "track_id": int(key)}
                annotations[-1]["category_id"] = 1 + (kind == "backpack")
    names = [{"id": 1, "name": "person"}, {"id": 2, "name": "backpack"}]
    content = {"images": images, "annotations": annotations, "categories": names}
    json_file = tmp_path_factory.mktemp("schoolgirls") / "schoolgirls.json"
    json_file.write_text(json.dumps(content))
    register_video_coco_instances("test_tracks", json_file, ROOT / "JPEGImages/240p")
    yield load_videos("test_tracks")[0]
    unregister("test_tracks")


def evaluated(schoolgirls, tmp_path, identity):
    evaluator = VideoCOCOEvaluator("test_tracks", ("bbox", "segm"), output_dir=str(tmp_path))
    evaluator.reset()
    records = schoolgirls["frames"]
    frames = (predicted(r, identity and identity(r)) for r in records)
    evaluator.process([{**schoolgirls, "records": records}], [frames])
    return evaluator.evaluate()


def test_real_tracks(schoolgirls, tmp_path):
    """The truth has all of everything, and so has its file of results in pycocotools' hands."""
    results = evaluated(schoolgirls, tmp_path, lambda _: lambda a: 30 - a["track_id"])
    assert results["ytvis"]["AP"] == results["ytvis"]["AR10"] == pytest.approx(100)
    assert results["segm"]["AP"] == pytest.approx(100)
    stability = results["temporal_stability"]
    assert stability["predictions"] == stability["ground_truth"] < 100
    if "tracking" in results:
        shares = dict(results["tracking"])
        assert shares.pop("switches") == 0
        assert list(shares.values()) == pytest.approx([100] * 5)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["results"]["ytvis"] == written["sequences"]["0"]["ytvis"] == results["ytvis"]
    sent = json.loads((tmp_path / "ytvis_results.json").read_text())
    assert len(sent) == 7
    assert {len(each["segmentations"]) for each in sent} == {LENGTH}


def test_real_tracks_that_are_swapped_half_way(schoolgirls, tmp_path):
    """All that is asked of single frames stays the same."""

    others = {1: 3, 3: 1, 5: 7, 7: 5, 2: 4, 4: 6, 6: 2}  # within their categories

    def swapped(record):
        late = record["frame_id"] * 2 >= LENGTH
        return lambda a: others[a["track_id"]] if late else a["track_id"]

    results = evaluated(schoolgirls, tmp_path, swapped)
    assert results["segm"]["AP"] == pytest.approx(100)
    assert results["ytvis"]["AP"] < 5
    if "tracking" in results:
        assert results["tracking"]["switches"] >= 4
        assert results["tracking"]["DetA"] == pytest.approx(100)
        assert results["tracking"]["HOTA"] < 80
        assert results["tracking"]["IDF1"] < 75


def test_real_tracks_beside_pycocotools(schoolgirls, tmp_path):
    """Identities at random: against pycocotools on masks that numpy has put side by side."""
    rng = np.random.default_rng(0)

    def spoiled(record):
        return lambda a: a["track_id"] if rng.random() < 0.8 else int(rng.integers(10, 14))

    results = evaluated(schoolgirls, tmp_path, spoiled)
    truth = COCO(MetadataCatalog.get("test_tracks").json_file)
    detections = json.loads((tmp_path / "coco_instances_results.json").read_text())
    height, width = (schoolgirls["frames"][0][key] for key in ("height", "width"))

    def wide(items):
        shown = np.zeros((height, LENGTH * width), np.uint8)
        for item in items:
            at = slice(item["image_id"] * width, (item["image_id"] + 1) * width)
            shown[:, at] |= coco_mask.decode(item["segmentation"])
        return encode(shown)

    def grouped(items):
        groups = {}
        for item in items:
            groups.setdefault(item["track_id"], []).append(item)
        return groups

    annotated = [
        {"id": n, "image_id": 1, "iscrowd": 0, "category_id": items[0]["category_id"]}
        | {"segmentation": wide(items), "area": 1, "bbox": [0, 0, 1, 1]}
        for n, items in enumerate(grouped(truth.dataset["annotations"]).values(), start=1)
    ]
    found = []
    for items in grouped(detections).values():
        kinds = [item["category_id"] for item in items]
        category = max(dict.fromkeys(kinds), key=kinds.count)
        found.append({"image_id": 1, "category_id": category, "segmentation": wide(items)})
        found[-1]["score"] = np.mean([item["score"] for item in items])
    reference = COCO()
    reference.dataset = {
        "images": [{"id": 1, "height": height, "width": LENGTH * width}],
        "annotations": annotated,
        "categories": truth.dataset["categories"],
    }
    reference.createIndex()
    evaluation = COCOeval(reference, reference.loadRes(found), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    expected = 100 * evaluation.stats[[0, 1, 2, 6, 7]]
    assert list(results["ytvis"].values()) == pytest.approx(expected.tolist())
    assert 1 < results["ytvis"]["AP"] < 99
