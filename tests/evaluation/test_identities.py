"""Identities of the detections that are evaluated."""

import json

import cv2
import numpy as np
import torch
from detectron2.structures import BitMasks, Instances
from pycocotools import mask as coco_mask

from videogcrf_det.data import load_videos
from videogcrf_det.evaluation import VideoCOCOEvaluator
from videogcrf_det.evaluation.identities import with_identities


def true_output(record, **fields):
    """What a model that is always right gives for a frame."""
    annotations = [a for a in record["annotations"] if not a["iscrowd"]]
    size = record["height"], record["width"]
    masks = [coco_mask.decode(a["segmentation"]) for a in annotations]
    found = Instances(size, **fields)
    found.pred_masks = torch.from_numpy(np.array(masks).reshape(-1, *size)).bool()
    found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
    found.pred_classes = torch.tensor([a["category_id"] for a in annotations], dtype=torch.int64)
    found.scores = torch.ones(len(annotations))
    return {"instances": found, "other": 7}


def loaded(name, position=0):
    video = load_videos(name)[position]
    return {**video, "records": video["frames"]}


def test_results_have_the_ids_of_tracks(mini_data, tmp_path):
    evaluator = VideoCOCOEvaluator(mini_data["val"], ("segm",), output_dir=str(tmp_path))
    evaluator.reset()
    expected = []
    for position in range(2):
        video = loaded(mini_data["val"], position)
        for record in video["records"]:
            tracks = [a["track_id"] for a in record["annotations"] if not a["iscrowd"]]
            expected += [(record["image_id"], position, track) for track in tracks]
        evaluator.process([video], [[true_output(record) for record in video["records"]]])
    assert evaluator.evaluate()["segm"]["AP"] > 99
    results = json.loads((tmp_path / "coco_instances_results.json").read_text())
    found = [result["track_id"] for result in results]
    assert [result["image_id"] for result in results] == [image for image, *_ in expected]
    for position in range(2):
        pairs = {
            (mine, true)
            for mine, (_, video, true) in zip(found, expected, strict=True)
            if video == position
        }
        assert len(pairs) == len({mine for mine, _ in pairs}) == len({true for _, true in pairs})


def test_a_model_s_own_ids_are_kept_and_still_images_have_none(mini_data):
    video = loaded(mini_data["val"])
    outputs = [true_output(record) for record in video["records"]]
    for number, output in enumerate(outputs):
        output["instances"].track_ids = torch.arange(len(output["instances"])) + 10 * number
    kept = [*with_identities(video, outputs)]
    for number, output in enumerate(kept):
        assert output["other"] == 7
        ids = output["instances"].track_ids.tolist()
        assert ids == [10 * number + i for i in range(len(ids))]
    still = {**video, "video_id": None}
    outputs = [true_output(record) for record in video["records"]]
    assert not any(
        output["instances"].has("track_ids") for output in with_identities(still, outputs)
    )


def test_what_moves_by_its_own_size_is_followed_along_the_flow(tmp_path):
    """Two squares side by side: by overlap alone the second would take the first one's place."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 240, 3), np.uint8)
    scene = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 0, 255, cv2.NORM_MINMAX)
    records, outputs = [], []
    for number in range(3):
        x = 14 * number
        records.append({"file_name": str(tmp_path / f"{number}.png")})
        cv2.imwrite(records[-1]["file_name"], scene[:, 60 - x : 180 - x])
        masks = torch.zeros(2, 120, 120, dtype=torch.bool)
        for mask, left in zip(masks, (10 + x, 24 + x), strict=True):
            mask[40:53, left : left + 13] = True
        found = Instances((120, 120), pred_masks=masks, scores=torch.ones(2))
        found.pred_classes = torch.zeros(2, dtype=torch.int64)
        outputs.append({"instances": found})
    video = {"video_id": 1, "records": records}
    found = [output["instances"].track_ids.tolist() for output in with_identities(video, outputs)]
    assert found == [[1, 2]] * 3
