"""What the evaluation writes, against sums over frames by hand."""

import json

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from video_depth.evaluation import VideoDepthEvaluator
from video_depth.layout import own_videos
from video_depth.mappers import labels_of
from video_depth.measures import flow_warped_difference

from videogcrf_det import InputError
from videogcrf_det.motion.flow import DISFlow


def predictions(records, variance=True):
    """The truth with errors, which the variance knows of."""
    rng = np.random.default_rng(0)
    found = []
    for record in records:
        truth = labels_of(record)
        truth = np.full((48, 64), 5.0, np.float32) if truth is None else truth
        spread = np.where(rng.random(truth.shape) < 0.3, 0.5, 0.05)
        depth = truth * np.exp(rng.normal(0, spread))
        found.append({"depth": torch.tensor(depth, dtype=torch.float32)})
        if variance:
            found[-1]["variance"] = torch.tensor(spread**2, dtype=torch.float32)
    return found


def evaluated(videos, own_root, found, folder=None, **options):
    evaluator = VideoDepthEvaluator(videos, folder, **options)
    records = own_videos(own_root)
    for name in ("walk-000", "walk-001"):
        mine = [i for i, r in enumerate(records) if r["video_name"] == name]
        video = {"video_name": name, "records": [records[i] for i in mine]}
        evaluator.process([video], [iter([found[i] for i in mine])])
    results = evaluator.evaluate()
    evaluator.write(results)
    return results


def test_metrics_are_means_over_frames(videos, own_root, tmp_path):
    records = own_videos(own_root)
    found = predictions(records)
    results = evaluated(videos, own_root, found, tmp_path)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["results"] == results
    assert set(written["sequences"]) == {"walk-000", "walk-001"}
    relative, within, opw, before = {}, [], [], None
    for record, each in zip(records, found, strict=True):
        truth, depth = labels_of(record), each["depth"].numpy()
        if truth is None:
            before = None
            continue
        relative[record["image_id"]] = np.mean(np.abs(depth - truth) / truth)
        deviations = np.abs(np.log(depth / truth)) / each["variance"].sqrt().numpy()
        within.append(np.mean(deviations <= 1))
        image = cv2.imread(record["file_name"])
        if before is not None and record["frame_id"]:
            flows = DISFlow()(before[0], image), DISFlow()(image, before[0])
            known = truth > 0
            pairs = (before[1], depth), (before[2], truth), (known, known)
            opw.append(flow_warped_difference(*pairs, flows))
        before = image, depth, truth
    assert len(relative) == 9
    assert len(opw) == 6  # none across videos or across the frame without a depth map
    assert results["depth"]["AbsRel"] == pytest.approx(np.mean([*relative.values()]))
    second = [value for name, value in relative.items() if name.startswith("walk-001")]
    assert written["sequences"]["walk-001"]["depth"]["AbsRel"] == pytest.approx(np.mean(second))
    assert results["temporal"]["OPW"] == pytest.approx(np.mean(opw))
    assert results["uncertainty"]["within1"] == pytest.approx(np.mean(within))
    assert results["uncertainty"]["within1"] == pytest.approx(0.683, abs=0.02)
    assert results["uncertainty"]["area"] < 0.7 * results["depth"]["AbsRel"]


def test_flow_is_that_of_clear_frames(videos, own_root, tmp_path, monkeypatch):
    """OPW of degraded frames is the same as of clear ones with the same predictions."""
    records = own_videos(own_root)
    found = predictions(records)
    clear = evaluated(videos, own_root, found)
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    spoilt = [
        {**r, "file_name": str(tmp_path / "noise.png"), "clear_file_name": r["file_name"]}
        for r in records
    ]
    monkeypatch.setattr(
        "tests.projects.depth_estimation.test_evaluation.own_videos", lambda _: spoilt
    )
    assert evaluated(videos, own_root, found) == clear


def test_without_a_field_there_is_no_uncertainty(videos, own_root):
    results = evaluated(videos, own_root, predictions(own_videos(own_root), variance=False))
    assert set(results) == {"depth", "temporal"}


def test_range_and_median_scaling(videos, own_root):
    found = predictions(own_videos(own_root), variance=False)
    plain = evaluated(videos, own_root, found)
    tripled = [{"depth": 3 * each["depth"]} for each in found]
    assert evaluated(videos, own_root, tripled)["depth"]["delta1"] < 0.1
    scaled = [
        evaluated(videos, own_root, f, median_scaling=True)["depth"] for f in (found, tripled)
    ]
    assert scaled[0] == pytest.approx(scaled[1], rel=1e-5)
    assert scaled[0]["delta1"] > 0.4
    near = evaluated(videos, own_root, found, greatest=6.0)
    assert near["depth"]["RMSE"] < plain["depth"]["RMSE"]
    with pytest.raises(InputError, match="no frame of"):
        evaluated(videos, own_root, found, greatest=1.0)


def test_what_cannot_be_evaluated(videos):
    with pytest.raises(InputError, match="no range of metres"):
        VideoDepthEvaluator(videos, least=5.0, greatest=2.0)
    DatasetCatalog.register("test_no_depth", lambda: [{"file_name": "a.png"}])
    try:
        with pytest.raises(InputError, match="no depth maps"):
            VideoDepthEvaluator("test_no_depth")
    finally:
        DatasetCatalog.remove("test_no_depth")
