"""Frames of which little can be seen."""

import json

import numpy as np
import pytest
from PIL import Image

from videogcrf_det import InputError
from videogcrf_det.data.datasets import load_video_coco_json
from videogcrf_det.data.davis.prepare import prepare_davis_person
from videogcrf_det.data.degrade import DEGRADATIONS, degraded_frames
from videogcrf_det.data.degrade.dataset import degrade_dataset
from videogcrf_det.data.degrade.videos import HARD, lost_packets
from videogcrf_det.data.mini_davis import make_mini_davis

SMALL = {"num_train": 2, "num_val": 1, "num_frames": 10, "size": (48, 64)}


def files(root, kind):
    return {p.relative_to(root): p.read_bytes() for p in (root / kind).rglob("*") if p.is_file()}


def test_only_some_frames_change_and_no_mask(tmp_path):
    for name, share in [("clear", 0.0), ("degraded", 0.3), ("again", 0.3)]:
        make_mini_davis(tmp_path / name, **SMALL, degraded=share)
    assert files(tmp_path / "degraded", ".") == files(tmp_path / "again", ".")
    clear, degraded = (files(tmp_path / name, "JPEGImages") for name in ("clear", "degraded"))
    changed = [path for path in clear if clear[path] != degraded[path]]
    for sequence in ("walk-000", "walk-001", "stroll-000"):
        numbers = sorted(int(path.stem) for path in changed if path.parent.name == sequence)
        assert len(numbers) == 3
        assert min(np.diff(numbers)) > 1, "no two in a row"
    for kind in ("Annotations", "IgnoreMasks"):
        assert files(tmp_path / "clear", kind) == files(tmp_path / "degraded", kind)


def test_frames_are_spread():
    chosen = [degraded_frames(np.random.default_rng(seed), 8, 0.25) for seed in range(60)]
    assert all(len(frames) == 2 for frames in chosen)
    assert {frame for frames in chosen for frame in frames} == set(range(8))


@pytest.mark.parametrize("function", DEGRADATIONS, ids=lambda function: function.__name__)
def test_little_can_be_seen(tmp_path, function):
    """The frame predicts less of what was there than its neighbour does."""
    make_mini_davis(tmp_path / "data", num_train=1, num_val=0, num_frames=2)
    paths = sorted((tmp_path / "data/JPEGImages").rglob("*.jpg"))
    frame, neighbour = (np.asarray(Image.open(path), np.uint8) for path in paths)
    spoilt = function(frame, np.random.default_rng(0))
    assert spoilt.shape == frame.shape
    assert spoilt.dtype == np.uint8

    def error(other):
        return np.abs(other.astype(float) - frame).mean()

    assert error(spoilt) > error(neighbour)


@pytest.mark.parametrize("share", [-0.1, 0.41, float("nan")])
def test_bad_shares(tmp_path, share):
    with pytest.raises(InputError, match=r"share of degraded frames is .*: give 0 to 0\.4"):
        make_mini_davis(tmp_path / "data", **SMALL, degraded=share)


@pytest.fixture
def dataset(tmp_path):
    """Drawn videos and their annotations."""
    root = tmp_path / "data"
    make_mini_davis(root, **SMALL)
    for split in ("train", "val"):
        output = root / f"annotations/{split}.json"
        prepare_davis_person(root, split, resolution="48p", output=output)
    return root


def test_a_copy_with_degraded_frames(tmp_path, dataset):
    annotations = [dataset / f"annotations/{split}.json" for split in ("train", "val")]
    for name in ("degraded", "again"):
        made = degrade_dataset(annotations, dataset / "JPEGImages", tmp_path / name, share=0.4)
        assert made == 12
    copy = tmp_path / "degraded"
    assert files(copy, ".") == files(tmp_path / "again", ".")
    clear, degraded = (files(root, "JPEGImages") for root in (dataset, copy))
    assert clear.keys() == degraded.keys()
    changed = [path for path in clear if clear[path] != degraded[path]]
    for sequence in ("walk-000", "walk-001", "stroll-000"):
        numbers = sorted(int(path.stem) for path in changed if path.parent.name == sequence)
        assert len(numbers) == 4
        assert min(np.diff(numbers)) > 1, "no two in a row"
    before, after = (
        load_video_coco_json(path, "")
        for path in (annotations[1], copy / "annotations/degraded_val.json")
    )
    assert before == after


@pytest.mark.parametrize("name", ["{folder}/a.jpg", "../JPEGImages/a.jpg"])
def test_frames_elsewhere(tmp_path, dataset, name):
    """Their copies would be written there, over the originals."""
    path = dataset / "annotations/val.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name.format(folder=dataset / "JPEGImages")
    path.write_text(json.dumps(content))
    before = files(dataset, ".")
    with pytest.raises(InputError, match=r"a\.jpg in .*val\.json does not lie below the folder"):
        degrade_dataset([path], dataset / "JPEGImages", tmp_path / "copy")
    assert files(dataset, ".") == before
    assert not (tmp_path / "copy").exists()


def test_nothing_half_copied(tmp_path, dataset):
    annotations = [dataset / "annotations/val.json"]
    next((dataset / "JPEGImages").rglob("stroll-000/00007.jpg")).unlink()
    with pytest.raises(InputError, match=r"00007\.jpg cannot be read"):
        degrade_dataset(annotations, dataset / "JPEGImages", tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    with pytest.raises(InputError, match=r"share of degraded frames is 0\.6: give 0 to 0\.4"):
        degrade_dataset(annotations, dataset / "JPEGImages", tmp_path / "copy", share=0.6)
    with pytest.raises(InputError, match="data is there already"):
        degrade_dataset(annotations, dataset / "JPEGImages", dataset)


def moving_squares(number, height=64, width=95):
    """Frames of a square that moves over a pattern, of an odd width."""
    pattern = np.random.default_rng(3).integers(60, 200, (height // 8, width // 8 + 1, 3))
    scene = np.kron(pattern, np.ones((8, 8, 1)))[:, :width].astype(np.uint8)
    frames = []
    for index in range(number):
        frame = scene.copy()
        frame[20:40, 4 * index : 4 * index + 20] = (250, 30, 30)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("kind", HARD)
def test_whole_videos_are_hard_to_see(kind):
    """All frames change, by more than a mere copy through the encoder at a good rate would."""
    frames = moving_squares(14)
    made = HARD[kind](frames, np.random.default_rng(5))
    again = HARD[kind](frames, np.random.default_rng(5))
    np.testing.assert_array_equal(made, again)
    assert [image.shape for image in made] == [image.shape for image in frames]
    errors = np.abs(np.subtract(made, frames, dtype=float)).mean((1, 2, 3))
    assert errors[1:].min() > (0 if kind == "lost_packets" else 3)
    other = HARD[kind](frames, np.random.default_rng(6))
    assert not np.array_equal(made, other)


def test_lost_packets_are_missed_until_a_picture_stands_by_itself(monkeypatch):
    frames = moving_squares(14)
    monkeypatch.setattr("videogcrf_det.data.degrade.videos.LOST", 0.0)
    whole = np.array(lost_packets(frames, np.random.default_rng(0)), float)
    assert np.abs(whole - frames).mean() < 6, "nothing lost: a good picture"
    monkeypatch.setattr("videogcrf_det.data.degrade.videos.LOST", 1.0)
    stuck = np.array(lost_packets(frames, np.random.default_rng(0)))
    assert all(np.array_equal(image, stuck[0]) for image in stuck), "all but the first are lost"
    monkeypatch.setattr("videogcrf_det.data.degrade.videos.LOST", 0.5)
    some = np.array(lost_packets(frames, np.random.default_rng(1)), float)
    missing = np.abs(some - whole).mean((1, 2, 3))
    assert missing[0] == 0
    assert missing[1:12].max() > 2


def test_a_copy_of_a_kind(tmp_path, dataset):
    annotations = [dataset / "annotations/val.json"]
    made = degrade_dataset(
        annotations, dataset / "JPEGImages", tmp_path / "wet", kind="wet_lens", seed=1
    )
    assert made == 10
    assert (tmp_path / "wet/annotations/wet_lens_val.json").is_file()
    before, after = (files(root, "JPEGImages") for root in (dataset, tmp_path / "wet"))
    assert len(after) == 10
    assert all(before[path] != content for path, content in after.items())
    with pytest.raises(InputError, match=r"kind of copy 'fog' is not known: use degraded, low_r"):
        degrade_dataset(annotations, dataset / "JPEGImages", tmp_path / "fog", kind="fog")
