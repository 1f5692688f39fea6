"""Annotations in the format of YouTube-VIS."""

import copy
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from tests.conftest import unregister
from tests.support.detections import predicted
from videogcrf_det.data import load_video_coco_json, load_videos, register_ytvis_instances
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation import VideoCOCOEvaluator

POLYGON = [[6, 9, 24, 9, 24, 35, 6, 35]]
CONTENT = {
    "videos": [
        {"id": 4, "file_names": ["b/0.png", "b/1.png", "b/2.png"], "height": 48, "width": 64},
        {"id": 2, "file_names": ["a/0.png"], "height": 40, "width": 30, "length": 1},
    ],
    "categories": [{"id": 26, "name": "person"}],
    "annotations": [
        {
            **{"id": 9, "video_id": 4, "category_id": 26, "iscrowd": 0},
            "segmentations": [POLYGON, None, POLYGON],
            "bboxes": [[6, 9, 18, 26], None, [6, 9, 18, 26]],
            "areas": [468, None, 468],
        },
        {"id": 3, "video_id": 2, "category_id": 26, "segmentations": [POLYGON]},
    ],
}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "ytvis.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_frames_and_tracks(write):
    records = load_video_coco_json(write(CONTENT), "images", "test_ytvis_loaded")
    assert [r["file_name"] for r in records] == [
        f"images/{n}.png" for n in ("a/0", "b/0", "b/1", "b/2")
    ]
    assert [(r["video_id"], r["video_name"]) for r in records] == [(2, "a")] + [(4, "b")] * 3
    assert [(r["height"], r["width"]) for r in records] == [(40, 30)] + [(48, 64)] * 3
    tracks = [[a["track_id"] for a in r["annotations"]] for r in records]
    assert tracks == [[3], [9], [], [9]]
    (sighting,) = records[3]["annotations"]
    assert (sighting["segmentation"], sighting["category_id"]) == (POLYGON, 0)
    assert sighting["iscrowd"] == 0


def test_a_file_of_the_test_set_has_no_annotations(write):
    content = {key: CONTENT[key] for key in ("videos", "categories")}
    assert len(load_video_coco_json(write(content), "images")) == 4


def change(**where):
    content = copy.deepcopy(CONTENT)
    for key, (number, name, value) in where.items():
        content[key][number][name] = value
    return content


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (change(videos=(0, "file_names", [])), "entry 0 of 'videos'.*list of frames"),
        (change(videos=(0, "id", 2)), "entry 1 of 'videos'.*has the id 2 .*of its own"),
        (change(annotations=(0, "areas", [1])), "track 9 .*has areas for 1 frames.* has 3"),
        (change(annotations=(0, "segmentations", 7)), "segmentations for 7 frames"),
        (change(annotations=(1, "video_id", 5)), "track 3 .*video_id 5, which is not in 'videos'"),
        (change(annotations=(1, "segmentations", None)), "neither segmentations nor bboxes"),
        (change(annotations=(1, "id", None)), "entry 1 of 'annotations'.*whole number as its id"),
        (change(annotations=(0, "category_id", 1)), "'9, frame 0'.*category_id 1, which is not"),
    ],
)
def test_what_cannot_be_used(write, content, sentence):
    with pytest.raises(InputError, match=sentence):
        load_video_coco_json(write(content), "images")


def test_in_and_out(write, tmp_path):
    """What an evaluation writes for the servers is what a perfect model was given."""
    content = copy.deepcopy(CONTENT)
    for track, (height, width) in zip(content["annotations"], [(48, 64), (40, 30)], strict=True):
        (rle,) = coco_mask.frPyObjects(POLYGON, height, width)
        rle["counts"] = rle["counts"].decode()
        track["segmentations"] = [mask and rle for mask in track["segmentations"]]
    for video in CONTENT["videos"]:
        for name in video["file_names"]:
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.full((video["height"], video["width"], 3), 9, np.uint8))
    register_ytvis_instances("test_ytvis", write(content), tmp_path)
    try:
        evaluator = VideoCOCOEvaluator("test_ytvis", ("bbox", "segm"), output_dir=str(tmp_path))
        evaluator.reset()
        for video in load_videos("test_ytvis"):
            frames = [predicted(r, lambda a: a["track_id"]) for r in video["frames"]]
            evaluator.process([{**video, "records": video["frames"]}], [frames])
        results = evaluator.evaluate()
    finally:
        unregister("test_ytvis")
    assert results["ytvis"]["AP"] == pytest.approx(100)
    sent = json.loads((tmp_path / "ytvis_results.json").read_text())
    assert [(s["video_id"], s["category_id"]) for s in sent] == [(2, 26), (4, 26)]
    assert [mask is None for mask in sent[1]["segmentations"]] == [False, True, False]
    assert sent[1]["segmentations"][0]["size"] == [48, 64]
    assert sent[1]["score"] == pytest.approx(0.9)
