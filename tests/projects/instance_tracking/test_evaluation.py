"""The evaluator, fed with predictions whose measures are known."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from PIL import Image
from video_tracking.davis import VOID, read_ids, read_object_mask
from video_tracking.evaluation import TrackingEvaluator
from video_tracking.measures import contour_accuracy, region_similarity

from tests.support.drawn import object_ids, read_probability, write_list
from videogcrf_det.data import load_videos

SHARED = Path(os.getenv("VIDEOGCRF_SHARED_DATA", "../shared/data"))


def evaluate(name, folder, predict):
    """Metrics for predictions ``predict(record) -> (H, W)`` of the foreground's probability."""
    evaluator = TrackingEvaluator(name, str(folder))
    evaluator.reset()
    for video in load_videos(name):
        outputs = (
            {"sem_seg": torch.from_numpy(np.stack([1 - p, p])).float()}
            for p in map(predict, video["frames"])
        )
        evaluator.process([{**video, "records": video["frames"]}], [outputs])
    results = evaluator.evaluate()
    evaluator.write(results)
    return results["tracking"], evaluator


def truth(record):
    return (read_object_mask(record) == 1) * 1.0


@pytest.mark.parametrize("year", ["2016", "2017"])
def test_perfect_predictions(register, tmp_path, year):
    metrics, evaluator = evaluate(register(year), tmp_path / "out", truth)
    for name in ("J", "J-recall", "F", "F-recall", "J&F", "mIoU"):
        assert metrics[name] == pytest.approx(100)
    for name in ("J-decay", "F-decay"):
        assert metrics[name] == pytest.approx(0)
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert content["results"]["tracking"] == metrics
    assert content["sequences"].keys() == evaluator.sequences.keys()


def test_first_and_last_frame_do_not_count(register, tmp_path):
    def predict(record):
        return truth(record) * (record["frame_id"] not in (0, record["last"]))

    name = register("2016")
    records = DatasetCatalog.get(name)
    last = {r["sequence"]: r["frame_id"] for r in records}
    metrics, _ = evaluate(name, tmp_path, lambda r: predict({**r, "last": last[r["sequence"]]}))
    assert metrics["J"] == pytest.approx(100)
    first = records[0]
    given = read_ids(tmp_path / "masks" / first["sequence"] / "00000.png")
    assert np.array_equal(given == 1, truth(first) == 1), "the given mask is the result there"


def test_one_lost_frame(register, tmp_path):
    """ "roll" has four frames that count, "spin" three; a lost one is 0 of J and of F."""

    def predict(record):
        return truth(record) * (record["image_id"] != "roll/00003")

    metrics, evaluator = evaluate(register("2016"), tmp_path, predict)
    assert evaluator.sequences["roll"]["tracking"]["J"] == pytest.approx(75)
    assert evaluator.sequences["roll"]["tracking"]["J-recall"] == pytest.approx(75)
    # quarters of frames 1, 2, 3, 4: the first is 1 and 2, the last 3 (lost) and 4
    assert evaluator.sequences["roll"]["tracking"]["J-decay"] == pytest.approx(50)
    assert metrics["J"] == pytest.approx((75 + 100) / 2)
    assert metrics["F"] == pytest.approx((75 + 100) / 2)
    assert 50 < metrics["mIoU"] < 100


def test_objects_are_merged_by_score(register, tmp_path):
    """The front ball is also claimed for the other, with less certainty."""

    def predict(record):
        both = object_ids(record["frame_id"], 2) > 0
        return np.where(truth(record) == 1, 0.9, np.where(both, 0.7, 0.2))

    metrics, _ = evaluate(register("2017"), tmp_path, predict)
    assert metrics["J"] == pytest.approx(100)
    for number in range(6):
        ids = read_ids(tmp_path / "masks" / "pair" / f"{number:05d}.png")
        assert np.array_equal(ids, object_ids(number, 2))


def test_measures_are_those_of_the_merged_masks(register, tmp_path):
    def predict(record):
        return np.roll(truth(record), 3, axis=1) * 0.8

    name = register("2017")
    metrics, _ = evaluate(name, tmp_path, predict)
    values = {"J": [], "F": []}
    for record in DatasetCatalog.get(name):
        if 0 < record["frame_id"] < 5:
            ids = read_ids(tmp_path / "masks" / "pair" / f"{record['frame_id']:05d}.png")
            masks = ids == record["object_id"], truth(record) == 1
            values["J"].append(region_similarity(*masks))
            values["F"].append(contour_accuracy(*masks))
    for measure, found in values.items():
        assert metrics[measure] == pytest.approx(100 * np.mean(found))
        assert 0 < metrics[measure] < 100


def test_scores_can_be_read_as_unaries(register, tmp_path):
    name = register("2017")
    evaluate(name, tmp_path, lambda record: truth(record) * 0.6 + 0.1)
    for record in DatasetCatalog.get(name):
        found = read_probability(tmp_path / "scores", record)
        assert np.allclose(found, truth(record) * 0.6 + 0.1, atol=1e-4)


def test_metrics_of_sequences_reach_the_log(register, tmp_path, caplog):
    """By a logger that detectron2's handlers hear, with recall and decay."""
    with caplog.at_level("INFO"):
        evaluate(register("2016"), tmp_path, truth)
    (record,) = [r for r in caplog.records if "J-decay" in r.getMessage()]
    assert record.name.startswith("detectron2.")
    assert all(name in record.getMessage() for name in ("roll", "spin", "F-recall", "J&F"))


def test_frames_without_annotation(root, register, tmp_path, caplog):
    for number in range(1, 5):
        (root / f"Annotations/240p/spin/{number:05d}.png").unlink()

    def predict(record):
        return truth(record) if "mask_file" in record else np.zeros((48, 64))

    metrics, evaluator = evaluate(register("2016"), tmp_path, predict)
    assert metrics["J"] == pytest.approx(100)
    assert list(evaluator.sequences) == ["roll"]
    assert "spin has no annotated frame to measure" in caplog.text
    assert (tmp_path / "masks/spin/00004.png").is_file()


def test_255_is_background_in_davis_2017(root, register, tmp_path):
    """As the benchmark's code has it, which sets it to 0 before it measures."""
    for number in range(6):
        ids = object_ids(number, 2)
        ids[:4] = VOID
        Image.fromarray(ids).save(root / f"Annotations/240p/pair/{number:05d}.png")
    name = register("2017")
    exact, _ = evaluate(name, tmp_path / "exact", truth)
    assert exact["J"] == pytest.approx(100)

    def claimed(record):
        return truth(record) + (read_object_mask(record) == VOID) * (record["object_id"] == 1)

    found, _ = evaluate(name, tmp_path / "claimed", claimed)
    expected = [
        [truth(r).sum() / claimed(r).sum() for r in records[1:-1]]
        for records in ([v["frames"] for v in load_videos(name)])
    ]
    assert found["J"] == pytest.approx(100 * np.mean(expected))


def test_the_surer_of_two_sure_objects(register, tmp_path):
    """Probabilities that a float rounds to 1: the lower id does not win for its number."""
    margins = {1: 20.0, 2: 30.0}

    def outputs(record):
        margin = torch.full((48, 64), margins[record["object_id"]])
        return {"sem_seg": torch.stack([-margin, margin]).softmax(0)}

    evaluator = TrackingEvaluator(register("2017"), str(tmp_path))
    for video in load_videos(evaluator.dataset_name):
        frames = video["frames"]
        evaluator.process([{**video, "records": frames}], [map(outputs, frames)])
    evaluator.evaluate()
    assert (read_ids(tmp_path / "masks/pair/00002.png") == 2).all()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data is not here")
@pytest.mark.parametrize(
    ("year", "folder", "sequence"),
    [("2016", "DAVIS", "libby"), ("2017", "DAVIS2017", "schoolgirls")],
)
def test_real_masks(root, register, tmp_path, year, folder, sequence):
    """Objects that leave the picture, and hide each other."""
    for kind in ("JPEGImages", "Annotations"):
        real = SHARED / folder / kind / "240p" / sequence
        (root / kind / "240p" / sequence).symlink_to(real.absolute())
    write_list(root, year, "val", [sequence])
    metrics, _ = evaluate(register(year), tmp_path / "out", truth)
    assert [metrics[k] for k in ("J", "F", "mIoU")] == pytest.approx([100] * 3)
    assert [metrics[k] for k in ("J-decay", "F-decay")] == pytest.approx([0, 0])
    written = sorted((tmp_path / "out/masks" / sequence).iterdir())
    for path in written:
        expected = read_ids(root / "Annotations/240p" / sequence / path.name)
        assert np.array_equal(read_ids(path), expected if year == "2017" else expected > 0)
    assert len(written) == len(list((root / "JPEGImages/240p" / sequence).glob("*.jpg")))
