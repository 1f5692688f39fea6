"""Metrics that can be worked out by hand, and test sets with which there is little to work out."""

import json
import logging

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Instances
from pycocotools import mask as coco_mask

from tests.conftest import unregister
from videogcrf_det.data import load_videos, register_video_coco_instances
from videogcrf_det.evaluation import VideoCOCOEvaluator, video_coco

SIZE = 40, 60
PERSON, BYSTANDER = (5, 5, 30, 15), (5, 40, 30, 50)  # top, left, bottom, right


def box(top, left, bottom, right):
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def annotation(mask, image_id, iscrowd=0):
    rle = coco_mask.encode(np.asfortranarray(mask))
    return {
        "image_id": image_id,
        "category_id": 1,
        "segmentation": {"size": list(SIZE), "counts": rle["counts"].decode()},
        "area": int(mask.sum()),
        "bbox": coco_mask.toBbox(rle).tolist(),
        "iscrowd": iscrowd,
    }


@pytest.fixture
def make(tmp_path):
    """Evaluate: videos of frames that show some boxes, and the boxes detected in every frame."""
    names = []

    def make(videos, detected, regions=(), stills=0, titles=None, output=None):
        names.append(f"test_cases_{len(names)}")
        images, annotations = [], []
        frames = [(v, f) for v, frames in enumerate(videos) for f in frames]
        frames += [(None, [PERSON])] * stills
        for index, (video, shown) in enumerate(frames, start=1):
            path = tmp_path / f"{index}.png"
            cv2.imwrite(str(path), np.full((*SIZE, 3), 90, np.uint8))
            images.append({"id": index, "file_name": path.name, "height": 40, "width": 60})
            if video is not None:
                images[-1] |= {"video_id": video, "frame_id": index}
            annotations += [annotation(box(*b), index) for b in shown]
            annotations += [annotation(box(*b), index, 1) for b in regions]
        titles = titles or [f"video {v}" for v in range(len(videos))]
        content = {
            "videos": [{"id": v, "name": name} for v, name in enumerate(titles)],
            "images": images,
            "annotations": [{"id": n, **a} for n, a in enumerate(annotations, start=1)],
            "categories": [{"id": 1, "name": "person"}],
        }
        json_file = tmp_path / f"{names[-1]}.json"
        json_file.write_text(json.dumps(content))
        register_video_coco_instances(names[-1], json_file, tmp_path)
        folder = output or tmp_path / names[-1]
        evaluator = VideoCOCOEvaluator(names[-1], ("bbox", "segm"), output_dir=str(folder))
        evaluator.reset()
        for video in load_videos(names[-1]):
            outputs = [instances(detected) for _ in video["frames"]]
            evaluator.process([{**video, "records": video["frames"]}], [outputs])
        return evaluator.evaluate(), folder

    yield make
    for name in names:
        unregister(name)


def instances(detected):
    found = Instances(SIZE)
    masks = np.array([box(*b) for b, _ in detected]).reshape(-1, *SIZE)
    found.pred_masks = torch.from_numpy(masks).bool()
    found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
    found.scores = torch.tensor([score for _, score in detected])
    found.pred_classes = torch.zeros(len(detected), dtype=torch.long)
    return {"instances": found}


def sentences(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def written(folder):
    return json.loads((folder / "evaluation.json").read_text())


FIRES = [(PERSON, 0.8), (BYSTANDER, 0.9)]  # on a bystander too, and surer of that


def test_average_precision_by_hand(make):
    """By score: right, wrong, and one whose IoU is 18 / 25 = 0.72.

    Up to 0.7, at five of the ten thresholds, recall 1/2 has the precision 1 and recall 1 has 2/3;
    above, recall 1 is not reached. COCO averages over the recalls 0, 0.01 to 1, of which 51 are
    1/2 at most.
    """
    detected = [(PERSON, 0.9), ((32, 20, 38, 26), 0.8), ((5, 40, 23, 50), 0.7)]
    results, _ = make([[[PERSON, BYSTANDER]]], detected)
    at_50, at_75 = 100 * (51 + 50 * 2 / 3) / 101, 100 * 51 / 101
    for task in ("bbox", "segm"):
        assert results[task]["AP50"] == pytest.approx(at_50)
        assert results[task]["AP75"] == pytest.approx(at_75)
        assert results[task]["AP"] == pytest.approx((at_50 + at_75) / 2)


def test_a_bystander_costs_half_of_the_precision(make):
    """Two frames; of four detections, by score: wrong, wrong, right, right. Precision at the
    recalls of 1/2 and 1 is 1/3 and 1/2, of which COCO takes the higher for both: AP 50."""
    results, _ = make([[[PERSON], [PERSON]]], FIRES)
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == pytest.approx(50)
        assert results[task]["ignored"] == 0


def test_a_bystander_in_a_do_not_care_region_costs_nothing(make, caplog):
    caplog.set_level(logging.INFO)
    results, folder = make([[[PERSON], [PERSON]]], FIRES, regions=[(0, 35, 40, 60)])
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == pytest.approx(100)
        assert results[task]["ignored"] == 2
    assert written(folder)["results"]["segm"]["ignored"] == 2
    assert "2 detections (segm) lie on do-not-care regions and count neither for nor" in caplog.text


def test_sequences_have_metrics_of_their_own(make):
    """The bystander of the second video is annotated there."""
    results, folder = make([[[PERSON], [PERSON]], [[PERSON, BYSTANDER]] * 3], FIRES)
    sequences = written(folder)["sequences"]
    assert list(sequences) == ["video 0", "video 1"]
    assert sequences["video 0"] == {
        "frames": 2,
        "instances": 2,
        "bbox": {"AP": pytest.approx(50), "AP50": pytest.approx(50), "AP75": pytest.approx(50)},
        "segm": {"AP": pytest.approx(50), "AP50": pytest.approx(50), "AP75": pytest.approx(50)},
        "temporal_stability": {"predictions": 100, "ground_truth": 100, "pairs": 1},
    }
    assert sequences["video 1"]["segm"]["AP"] == pytest.approx(100)
    assert (sequences["video 1"]["frames"], sequences["video 1"]["instances"]) == (3, 6)
    assert 50 < results["segm"]["AP"] < 100
    assert written(folder)["results"]["segm"]["AP"] == results["segm"]["AP"]


def test_temporal_stability_is_a_metric_like_others(make):
    """The bystander is annotated in the first two frames, and is not found in any."""
    shown = [[PERSON, BYSTANDER], [PERSON, BYSTANDER], [PERSON]]
    results, folder = make([shown], [(PERSON, 0.8)])
    expected = {"predictions": pytest.approx(200 / 3), "ground_truth": 100, "pairs": 3}
    assert results["temporal_stability"] == expected
    assert written(folder)["results"]["temporal_stability"] == expected


def test_doubtful_detections_are_missed_and_single_frames_have_no_stability(make):
    results, folder = make([[[PERSON]] * 3], [(PERSON, 0.4)])
    expected = {"predictions": 0, "ground_truth": 100, "pairs": 2}
    assert results["temporal_stability"] == expected
    assert written(folder)["results"]["temporal_stability"] == expected
    results, folder = make([[[PERSON]], [[PERSON]]], FIRES)
    assert "temporal_stability" not in results
    undefined = {"predictions": None, "ground_truth": None, "pairs": 0}
    assert written(folder)["results"]["temporal_stability"] == undefined


def test_no_detections(make, caplog):
    results, folder = make([[[PERSON], []]], [])
    for task in ("bbox", "segm"):
        assert results[task]["AP"] == results[task]["AP50"] == results[task]["AP75"] == 0
    assert sentences(caplog) == [
        "the model has no detection on any of the 2 frames of test_cases_0, so AP is 0"
    ]
    assert written(folder)["sequences"]["video 0"]["segm"]["AP"] == 0
    assert written(folder)["sequences"]["video 0"]["temporal_stability"]["predictions"] is None
    assert json.loads((folder / "ytvis_results.json").read_text()) == []


@pytest.mark.parametrize("regions", [(), [BYSTANDER]])
def test_no_instances(make, caplog, regions):
    results, folder = make([[[], []]], FIRES, regions=regions)
    assert results == {}
    assert sentences(caplog) == [
        "test_cases_0 has no annotated instance, so there is no AP; the model has 4 detections on "
        "its 2 frames"
    ]
    content = written(folder)
    undefined = dict.fromkeys(("AP", "AP50", "AP75"))
    assert content["results"]["segm"] == {**undefined, "ignored": None}
    assert content["sequences"]["video 0"]["instances"] == 0
    assert content["sequences"]["video 0"]["segm"] == undefined
    assert len(json.loads((folder / "coco_instances_results.json").read_text())) == 4


def test_a_video_without_instances_among_others(make):
    _, folder = make([[[PERSON]], [[]]], FIRES)
    assert written(folder)["sequences"]["video 1"]["segm"] == dict.fromkeys(("AP", "AP50", "AP75"))


def test_names_are_told_apart_and_still_images_are_taken_together(make):
    _, folder = make([[[PERSON]], [[PERSON]]], FIRES, stills=2, titles=["walk", "walk"])
    sequences = written(folder)["sequences"]
    frames = {name: metrics["frames"] for name, metrics in sequences.items()}
    assert frames == {"walk (0)": 1, "walk (1)": 1, "still images": 2}
    assert sequences["still images"]["segm"]["AP"] == pytest.approx(50)


def test_files_are_whole(make, tmp_path, monkeypatch):
    """An evaluation that ends in the middle of its last file leaves all files of the one before."""
    folder = tmp_path / "out"
    make([[[PERSON]]], FIRES, output=folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = {"coco_instances_results.json", "evaluation.json", "instances_predictions.pth"}
    names.add("ytvis_results.json")
    assert before.keys() == names

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(video_coco.Evaluation, "write", die)
        with pytest.raises(KeyboardInterrupt):
            make([[[PERSON]]], [(PERSON, 0.8)], output=folder)
    after = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert after == before
    (folder / ".partial").mkdir()  # as if killed
    (folder / ".partial" / "half.json").write_text("[")
    make([[[PERSON]]], [(PERSON, 0.8)], output=folder)
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "coco_instances_results.json").read_bytes() != before[
        "coco_instances_results.json"
    ]
