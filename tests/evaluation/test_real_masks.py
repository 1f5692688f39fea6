"""All metrics beside pycocotools' own, on masks of DAVIS-2017 that were spoiled at random."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Instances
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.conftest import unregister
from videogcrf_det.data import load_videos, register_video_coco_instances
from videogcrf_det.evaluation import VideoCOCOEvaluator

SHARED = os.getenv("VIDEOGCRF_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")
ROOT = Path(SHARED, "DAVIS2017")
NAME = "schoolgirls"
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
CATEGORIES = {7: "backpack", 3: "person"}  # ids with gaps, in no order
LENGTHS = (9, 6, 5)  # of the videos that the sequence is cut into

pytestmark = pytest.mark.skipif(
    not (ROOT / "Annotations/240p" / NAME).is_dir(), reason="the real data is not here"
)


def annotate(mask, image, category, number, iscrowd):
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
        "area": int(mask.sum()),
        "bbox": coco_mask.toBbox(rle).tolist(),
        "iscrowd": iscrowd,
    }


@pytest.fixture
def name(tmp_path):
    """Three videos of the sequence, in which the last person is a do-not-care region."""
    semantics = json.loads((ROOT / "davis_semantics.json").read_text())[NAME]
    ids = {name: number for number, name in CATEGORIES.items()}
    persons = [int(key) for key, category in semantics.items() if category == "person"]
    images, annotations = [], []
    paths = sorted((ROOT / "Annotations/240p" / NAME).glob("*.png"))
    videos = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    for number, (path, video) in enumerate(zip(paths, videos, strict=False), start=1):
        labels = np.array(Image.open(path))
        images.append(
            {
                "id": number,
                "file_name": f"{NAME}/{path.stem}.jpg",
                "height": labels.shape[0],
                "width": labels.shape[1],
                "video_id": int(video),
                "frame_id": number,
            }
        )
        for key, category in semantics.items():
            mask = labels == int(key)
            if mask.any():
                crowd = int(int(key) == max(persons))
                count = len(annotations) + 1
                annotations.append(annotate(mask, number, ids[category], count, crowd))
    content = {
        "videos": [{"id": video, "name": f"part {video}"} for video in range(len(LENGTHS))],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }
    json_file = tmp_path / "schoolgirls.json"
    json_file.write_text(json.dumps(content))
    register_video_coco_instances("test_schoolgirls", json_file, ROOT / "JPEGImages/240p")
    yield "test_schoolgirls"
    unregister("test_schoolgirls")


def spoil(record, rng):
    """Masks that were moved, grown or shrunk, some lost, some twice, some of the other class."""
    masks, classes = [], []
    for annotation in record["annotations"]:
        for _ in range(rng.choice(3, p=[0.15, 0.7, 0.15])):
            mask = coco_mask.decode(annotation["segmentation"])
            mask = np.roll(mask, rng.integers(-2, 3, 2), axis=(0, 1))
            kernel = np.ones((rng.integers(1, 4),) * 2, np.uint8)
            masks.append(rng.choice([cv2.erode, cv2.dilate])(mask, kernel))
            wrong = rng.uniform() < 0.1
            classes.append(1 - annotation["category_id"] if wrong else annotation["category_id"])
    found = Instances((record["height"], record["width"]))
    stacked = np.array(masks).reshape(-1, record["height"], record["width"])
    found.pred_masks = torch.from_numpy(stacked).bool()
    found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
    found.scores = torch.from_numpy(rng.uniform(0.05, 1, len(masks)))
    found.pred_classes = torch.tensor(classes, dtype=torch.long)
    return {"instances": found}


def pycocotools(json_file, results, task, images=None):
    """The metrics of pycocotools, without a line of ours in between; nan where it has none."""
    truth = COCO(json_file)
    if task == "segm":  # or it would take areas from boxes
        results = [{k: v for k, v in r.items() if k != "bbox"} for r in results]
    evaluation = COCOeval(truth, truth.loadRes(results), task)
    if images is not None:
        evaluation.params.imgIds = images
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = np.where(evaluation.stats < 0, np.nan, 100 * evaluation.stats)
    return dict(zip(METRICS, stats.tolist(), strict=False)), evaluation


def count_on_regions(evaluation):
    """Detections that COCO matches to a crowd at IoU 0.5."""
    truth, count = evaluation.cocoGt.anns, 0
    for image in evaluation.evalImgs:
        if image is not None and image["aRng"] == [0, 1e10]:
            matches = [int(number) for number in image["dtMatches"][0] if number]
            count += sum(truth[number]["iscrowd"] for number in matches)
    return count


def test_all_metrics(name, tmp_path):
    rng = np.random.default_rng(0)
    evaluator = VideoCOCOEvaluator(name, ("bbox", "segm"), output_dir=str(tmp_path))
    evaluator.reset()
    videos = load_videos(name)
    for video in videos:
        outputs = [spoil(record, rng) for record in video["frames"]]
        evaluator.process([{**video, "records": video["frames"]}], [outputs])
    metrics = evaluator.evaluate()

    results = json.loads((tmp_path / "coco_instances_results.json").read_text())
    content = json.loads((tmp_path / "evaluation.json").read_text())
    json_file = tmp_path / "schoolgirls.json"
    for task in ("bbox", "segm"):
        expected, evaluation = pycocotools(json_file, results, task)
        assert {m: metrics[task][m] for m in METRICS} == pytest.approx(expected, nan_ok=True)
        assert content["results"][task] == {
            k: v if v == v else None for k, v in metrics[task].items()
        }
        assert 10 < expected["AP"] < 80
        assert metrics[task]["ignored"] == count_on_regions(evaluation) > 5
        of_parts = []
        for video in videos:
            images = [record["image_id"] for record in video["frames"]]
            expected, _ = pycocotools(json_file, results, task, images)
            part = content["sequences"][video["video_name"]]
            of_parts.append(part[task]["AP"])
            assert part[task] == pytest.approx({m: expected[m] for m in METRICS[:3]})
            assert part["frames"] == len(images)
        assert len(set(of_parts)) == len(LENGTHS)
    stability = metrics["temporal_stability"]
    assert stability["predictions"] < 80 < stability["ground_truth"] < 100
