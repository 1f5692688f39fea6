"""A folder of masks, any method's, against metrics by hand."""

import json

import numpy as np
import pytest
from PIL import Image
from video_tracking.davis import read_ids
from video_tracking.measures import contour_accuracy, region_similarity
from video_tracking.results import write_ids
from video_tracking.scoring import score_masks

from tests.support.drawn import object_ids
from videogcrf_det.errors import InputError


@pytest.fixture
def masks(tmp_path):
    """Results for "roll", "spin" and "pair": all shifted by two pixels, frame 3 of "pair" lost."""
    folder = tmp_path / "masks"
    for name, frames, count in ("roll", 6, 1), ("spin", 5, 1), ("pair", 6, 2):
        for number in range(1, frames - 1):
            ids = np.roll(object_ids(number, count), 2, axis=1)
            write_ids(folder / name / f"{number:05d}.png", ids * (name != "pair" or number != 3))
    return folder


def by_hand(root, masks, name, keys, frames):
    """J and F of each object on each frame."""
    annotations = root / "Annotations/240p"
    pairs = [
        [read_ids(folder / name / f"{n:05d}.png") for folder in (masks, annotations)]
        for n in frames
    ]
    return [
        [[measure(found == key, true == key) for found, true in pairs] for key in keys]
        for measure in (region_similarity, contour_accuracy)
    ]


def test_2017(root, register, masks):
    scores = score_masks(register("2017"), masks)
    j, f = np.array(by_hand(root, masks, "pair", [1, 2], range(1, 5)))
    metrics = scores.metrics
    assert metrics["J"] == pytest.approx(100 * j.mean())
    assert metrics["F"] == pytest.approx(100 * f.mean())
    assert metrics["J&F"] == pytest.approx(50 * (j.mean() + f.mean()))
    assert metrics["J-recall"] == pytest.approx(75), "one of four frames is lost"
    # quarters of four frames: the first is frames 0 and 1, the last 2 (lost) and 3
    decay = j[:, :2].mean(1) - j[:, 2:].mean(1)
    assert metrics["J-decay"] == pytest.approx(100 * decay.mean())
    assert scores.sequences == {"pair": metrics}


@pytest.mark.parametrize("value", [1, 255])
def test_2016_takes_any_value_on_the_object(register, masks, value):
    for path in masks.glob("*/*.png"):
        Image.fromarray((read_ids(path) > 0).astype(np.uint8) * value).save(path)
    scores = score_masks(register("2016"), masks)
    assert set(scores.sequences) == {"roll", "spin"}
    assert 50 < scores.metrics["J"] < 90
    mean = np.mean([found["J"] for found in scores.sequences.values()])
    assert scores.metrics["J"] == pytest.approx(mean)


def test_ids_that_the_first_mask_leaves_out(root, register, masks):
    """Objects 1 and 3: the benchmark counts a second one, which is rightly found nowhere."""
    for folder in (root / "Annotations/240p/pair", masks / "pair"):
        for path in folder.iterdir():
            ids = read_ids(path)
            write_ids(path, np.where(ids == 2, 3, ids).astype(np.uint8))
    metrics = score_masks(register("2017"), masks).metrics
    j, f = by_hand(root, masks, "pair", [1, 3], range(1, 5))
    assert metrics["J"] == pytest.approx(100 * (np.mean(j) * 2 + 1) / 3)
    assert metrics["F"] == pytest.approx(100 * (np.mean(f) * 2 + 1) / 3)


def test_an_object_that_is_not_found_counts_0(root, register, masks):
    for path in (masks / "pair").iterdir():
        write_ids(path, read_ids(path) % 2)
    j, _ = by_hand(root, masks, "pair", [1], range(1, 5))
    assert score_masks(register("2017"), masks).metrics["J"] == pytest.approx(50 * np.mean(j))


def test_a_sequence_alone(register, masks):
    assert set(score_masks(register("2016"), masks, ["spin"]).sequences) == {"spin"}


@pytest.mark.parametrize(
    ("file", "ids", "words"),
    [
        (None, None, r"00002\.png does not exist"),
        ("00002", np.zeros((24, 32), np.uint8), r"00002\.png has 32x24 pixels, and its frame 64"),
        ("00002", np.full((48, 64), 3, np.uint8), r"00002\.png has an object 3, .* none above 2"),
        ("00002", np.full((48, 64), 255, np.uint8), r"has an object 255, and the first mask .*"),
    ],
)
def test_bad_results(register, masks, file, ids, words):
    (masks / "pair/00002.png").unlink()
    if file:
        write_ids(masks / f"pair/{file}.png", ids)
    with pytest.raises(InputError, match=words):
        score_masks(register("2017"), masks)


def test_unknown_sequences(register, masks):
    with pytest.raises(InputError, match="has no sequence 'bear', only pair"):
        score_masks(register("2017"), masks, ["bear"])


def test_the_table_has_all_metrics(register, masks, caplog):
    scores = score_masks(register("2016"), masks)
    lines = scores.table().splitlines()
    assert [word.strip() for word in lines[0].split("|")][1:-1] == [
        *["sequence", "J", "J-recall", "J-decay", "F", "F-recall", "F-decay", "J&F", "mIoU"]
    ]
    assert f"{scores.metrics['J&F']:.1f}" in lines[-1]
    assert len(lines) == 5


@pytest.mark.slow
def test_the_tool(root, start, masks, tmp_path):
    words = ["--dataset", "davis_2017_val_240p", "--masks", masks, "--output", tmp_path / "out"]
    tool = "projects/instance_tracking/score_masks.py"
    code, out, err = start(tool, *words, DETECTRON2_DATASETS=root.parent)
    assert code == 0, err
    content = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert f"{content['results']['tracking']['J&F']:.1f}" in out
    assert content["sequences"]["pair"]["tracking"] == content["results"]["tracking"]
