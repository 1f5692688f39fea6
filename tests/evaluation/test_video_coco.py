"""VideoCOCOEvaluator beside the stock evaluator and pycocotools."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import BitMasks, Instances
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.conftest import CONFIG
from tests.support.detections import detections
from videogcrf_det.data import VideoDatasetMapper, load_videos
from videogcrf_det.engine import build_cfg
from videogcrf_det.evaluation import VideoCOCOEvaluator

METRICS = ("AP", "AP50", "AP75")


@pytest.fixture
def videos(small, mini_data):
    mapper = VideoDatasetMapper(build_cfg(CONFIG, small), is_train=False)
    return [mapper(video) for video in load_videos(mini_data["val"])]


def test_ap_is_that_of_the_stock_evaluator_and_of_pycocotools(videos, mini_data, tmp_path):
    rng = np.random.default_rng(0)
    outputs = [[detections(record, rng) for record in video["records"]] for video in videos]
    ours = VideoCOCOEvaluator(mini_data["val"], output_dir=str(tmp_path / "ours"))
    stock = COCOEvaluator(mini_data["val"], output_dir=str(tmp_path / "stock"))
    ours.reset()
    stock.reset()
    for video, frames in zip(videos, outputs, strict=True):
        ours.process([video], [iter(frames)])  # as ClipRCNN gives them: one by one
        for record, detection in zip(video["records"], frames, strict=True):
            stock.process([record], [detection])
    results, expected = ours.evaluate(), stock.evaluate()
    for task in ("segm", "bbox"):
        assert results[task].pop("ignored") > 0
        for speed in ("slow", "medium", "fast"):
            del results[task][f"AP-{speed}"]
        # nan, for sizes that do not occur, included
        assert json.dumps(results[task]) == json.dumps(expected[task])
    files = [tmp_path / name / "coco_instances_results.json" for name in ("ours", "stock")]
    of_ours, of_stock = (json.loads(file.read_text()) for file in files)
    assert all(isinstance(result.pop("track_id"), int) for result in of_ours)
    assert of_ours == of_stock

    truth = COCO(MetadataCatalog.get(mini_data["val"]).json_file)
    for task in ("segm", "bbox"):
        evaluation = COCOeval(truth, truth.loadRes(str(files[0])), task)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        for name, value in zip(METRICS, evaluation.stats, strict=False):
            assert results[task][name] == pytest.approx(100 * value)
        written = json.loads((tmp_path / "ours" / "evaluation.json").read_text())
        for video in videos:
            check_sequence(truth, files[0], task, video, written["sequences"])
    assert 5 < results["segm"]["AP"] < 95  # so that the comparison means something


def check_sequence(truth, results_file, task, video, sequences):
    """The metrics of a video against pycocotools on its images alone."""
    evaluation = COCOeval(truth, truth.loadRes(str(results_file)), task)
    evaluation.params.imgIds = [record["image_id"] for record in video["records"]]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    metrics = sequences[video["video_name"]]
    assert metrics["frames"] == len(video["records"])
    annotations = [a for record in video["records"] for a in record["annotations"]]
    assert metrics["instances"] == sum(not a["iscrowd"] for a in annotations)
    expected = dict(zip(METRICS, (100 * evaluation.stats).tolist(), strict=False))
    assert metrics[task] == pytest.approx(expected)


def test_detections_must_be_of_all_frames(videos, mini_data):
    evaluator = VideoCOCOEvaluator(mini_data["val"])
    evaluator.reset()
    rng = np.random.default_rng(0)
    too_few = [detections(record, rng) for record in videos[0]["records"][1:]]
    with pytest.raises(ValueError, match="shorter"):
        evaluator.process(videos[:1], [too_few])


def test_do_not_care_regions_cost_nothing(videos, mini_data):
    """Detections of people whom the annotation leaves out are neither hits nor false alarms."""

    def perfect(record, of_crowds):
        chosen = [a for a in record["annotations"] if of_crowds or not a["iscrowd"]]
        instances = Instances((48, 64))
        masks = np.zeros((len(chosen), 48, 64), dtype=np.uint8)
        for mask, annotation in zip(masks, chosen, strict=True):
            mask[:] = coco_mask.decode(annotation["segmentation"])
        instances.pred_masks = torch.from_numpy(masks).bool()
        instances.pred_boxes = BitMasks(instances.pred_masks).get_bounding_boxes()
        instances.scores = torch.tensor([0.9 if a["iscrowd"] else 0.5 for a in chosen])
        instances.pred_classes = torch.zeros(len(chosen), dtype=torch.long)
        return {"instances": instances}

    assert any(a["iscrowd"] for v in videos for r in v["records"] for a in r["annotations"])
    for of_crowds in (False, True):
        evaluator = VideoCOCOEvaluator(mini_data["val"])
        evaluator.reset()
        for video in videos:
            evaluator.process([video], [(perfect(r, of_crowds) for r in video["records"])])
        assert evaluator.evaluate()["segm"]["AP"] == pytest.approx(100)
