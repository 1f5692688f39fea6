import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videogcrf_det import InputError
from videogcrf_det.data import mini_davis
from videogcrf_det.data.mini_davis import davis_palette, make_mini_davis

SMALL = {"num_train": 3, "num_val": 2, "num_frames": 4, "seed": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("mini") / "mini_davis"
    make_mini_davis(root, **SMALL)
    return root


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def masks(root, kind="Annotations/120p"):
    return {
        path.relative_to(root / kind): np.asarray(Image.open(path))
        for path in sorted((root / kind).rglob("*.png"))
    }


def test_layout(root):
    semantics = json.loads((root / "davis_semantics.json").read_text())
    for split, count in (("train", 3), ("val", 2)):
        names = (root / "ImageSets/2017" / f"{split}.txt").read_text().split()
        assert len(names) == count
        for name in names:
            frames = sorted((root / "JPEGImages/120p" / name).iterdir())
            assert [frame.name for frame in frames] == [f"{i:05d}.jpg" for i in range(4)]
            assert all(Image.open(frame).size == (200, 120) for frame in frames)
            assert "person" in semantics[name].values()
    assert all(mask.shape == (120, 200) for mask in masks(root).values())


def test_every_object_is_named_and_every_person_seen(root):
    semantics = json.loads((root / "davis_semantics.json").read_text())
    seen = {name: set() for name in semantics}
    for path, mask in masks(root).items():
        seen[path.parts[0]] |= set(np.unique(mask).tolist()) - {0}
    for name, objects in semantics.items():
        assert seen[name] <= {int(key) for key in objects}
        assert {int(key) for key, value in objects.items() if value == "person"} <= seen[name]
    assert {c for objects in semantics.values() for c in objects.values()} > {"person"}


def test_bystanders_are_marked_and_not_annotated(root):
    ignored, annotated = masks(root, "IgnoreMasks"), masks(root)
    sequences = {path.parts[0].split("-")[0] for path, mask in ignored.items() if mask.any()}
    assert sequences == {"walk", "stroll"}  # one at least in either split
    for path, mask in ignored.items():
        assert set(np.unique(mask).tolist()) <= {0, 255}
        assert not (mask.astype(bool) & annotated[path].astype(bool)).any()


def test_people_move_and_stand_out(root):
    """Frames differ where masks say that somebody is, more than elsewhere."""
    name = "walk-000"
    frames = [
        np.asarray(Image.open(path), np.float32)
        for path in sorted((root / "JPEGImages/120p" / name).iterdir())
    ]
    mask = [m for path, m in masks(root).items() if path.parts[0] == name]
    change = np.abs(frames[0] - frames[3]).mean(axis=2)
    people = (mask[0] > 0) | (mask[3] > 0)
    assert change[people].mean() > 1.5 * change[~people].mean()


def test_the_seed_decides_and_sequences_are_independent(root, tmp_path):
    make_mini_davis(tmp_path / "same", **SMALL)
    assert contents(tmp_path / "same") == contents(root)
    make_mini_davis(tmp_path / "fewer", **{**SMALL, "num_train": 1, "num_val": 0})
    fewer = contents(tmp_path / "fewer")
    frame = Path("JPEGImages/120p/walk-000/00002.jpg")
    assert fewer[frame] == contents(root)[frame]
    make_mini_davis(tmp_path / "other", **{**SMALL, "num_train": 1, "num_val": 0, "seed": 4})
    assert contents(tmp_path / "other")[frame] != fewer[frame]


def test_true_depth(root, tmp_path):
    """Nearer people are nearer, the ground recedes to the wall, and all else stays as it is."""
    make_mini_davis(tmp_path / "deep", **SMALL, depth=True)
    without = contents(root)
    deep = contents(tmp_path / "deep")
    assert {path: deep[path] for path in without if path.name != mini_davis.RECEIPT} == {
        path: data for path, data in without.items() if path.name != mini_davis.RECEIPT
    }
    labels = masks(tmp_path / "deep")
    for path, levels in masks(tmp_path / "deep", "Depth/120p").items():
        depth = levels * mini_davis.DEPTH_UNIT
        assert depth.shape == (120, 200)
        assert 3 < depth.min() < depth.max() < 15
        assert (np.diff(depth.max(axis=1)) <= 0).all()  # the ground, nearer from row to row
        wall = depth[0, labels[path][0] == 0]
        assert np.median(wall) == pytest.approx(depth.max(), abs=0.002)
        feet = {}
        for person in np.unique(labels[path][labels[path] > 0]):
            inside = labels[path] == person
            distance = np.median(depth[inside])
            # all of a person is equally far; at edges the centre of a pixel may show another thing
            assert np.mean(np.abs(depth[inside] - distance) < 0.002) > 0.7
            feet[np.nonzero(inside.any(axis=1))[0].max()] = distance
    distances = [feet[row] for row in sorted(feet)]
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize(
    "change",
    [
        {"num_frames": 0},
        {"num_train": -1},
        {"size": (8, 8)},
        {"seed": -1},
        {"speed": 0.0},
        {"speed": float("inf")},
    ],
)
def test_bad_values(tmp_path, change):
    with pytest.raises(InputError, match=str(next(iter(np.ravel(next(iter(change.values()))))))):
        make_mini_davis(tmp_path / "root", **{**SMALL, **change})
    assert not (tmp_path / "root").exists()


def test_at_half_the_speed_there_is_a_frame_between_any_two(tmp_path):
    sequences = {**SMALL, "num_train": 1, "num_val": 0}
    make_mini_davis(tmp_path / "fast", **{**sequences, "num_frames": 3})
    make_mini_davis(tmp_path / "slow", **{**sequences, "num_frames": 5}, speed=0.5)
    fast, slow = (
        [p.read_bytes() for p in sorted((tmp_path / name / "Annotations").rglob("*.png"))]
        for name in ("fast", "slow")
    )
    assert slow[::2] == fast
    assert len({*slow}) == 5


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=str(tmp_path)):
            make_mini_davis(tmp_path, **SMALL, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_nothing_half_written(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("power cut")

    monkeypatch.setattr("videogcrf_det.data.mini_davis.make.make_scene", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        make_mini_davis(tmp_path / "root", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_annotations_are_indexed_with_the_palette_of_davis(root):
    for path in (root / "Annotations").rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "P"
            assert image.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    # ids 7 to 10 as in a DAVIS annotation, whose 191 stands for 192
    assert list(davis_palette()[21:33]) == [128, 128, 128, 64, 0, 0, 192, 0, 0, 64, 128, 0]


@pytest.mark.parametrize("seed", [0, 1])
def test_people_are_seen_for_long_and_large_enough_to_learn(tmp_path, seed):
    make_mini_davis(tmp_path / "root", num_train=3, num_val=2, num_frames=8, seed=seed)
    semantics = json.loads((tmp_path / "root/davis_semantics.json").read_text())
    found = masks(tmp_path / "root")
    heights = []
    for name, objects in semantics.items():
        ids = np.stack([mask for path, mask in found.items() if path.parts[0] == name])
        for label in (int(key) for key, value in objects.items() if value == "person"):
            rows = (ids == label).any(axis=2)
            assert rows.any(axis=1).sum() >= 4
            heights.append(rows.sum(axis=1).max() / 120)
    assert 0.2 < min(heights) <= max(heights) < 0.8
    assert 0.35 < np.median(heights) < 0.7


def test_masks_end_where_the_things_do(root):
    """Grey levels change more across the border of a mask than across the border moved aside."""

    def contrast(image, mask):
        return np.abs(np.diff(image, axis=1))[np.diff(mask, axis=1)].mean()

    on, beside = [], []
    for path, ids in masks(root).items():
        frame = root / "JPEGImages/120p" / path.with_suffix(".jpg")
        image = np.asarray(Image.open(frame), np.float32).mean(axis=2)
        on.append(contrast(image, ids > 0))
        beside += [contrast(image, np.roll(ids > 0, shift, axis=1)) for shift in (-2, 2)]
    assert np.mean(on) > 1.5 * np.mean(beside)


def test_one_split_one_frame_and_the_smallest_size(tmp_path):
    make_mini_davis(tmp_path, num_train=0, num_val=1, num_frames=1, size=(48, 64))
    assert (tmp_path / "ImageSets/2017/train.txt").read_text() == ""
    assert Image.open(tmp_path / "JPEGImages/48p/stroll-000/00000.jpg").size == (64, 48)


TINY = {"num_train": 1, "num_val": 0, "num_frames": 1, "size": (48, 64)}


def test_a_drawn_data_set_is_replaced_only_when_asked_to(tmp_path):
    root = tmp_path / "root"
    make_mini_davis(root, **TINY)
    before = contents(root)
    with pytest.raises(InputError, match="is not empty"):
        make_mini_davis(root, **TINY, seed=1)
    assert contents(root) == before
    (root / "annotations").mkdir()
    make_mini_davis(root, **TINY, seed=1, overwrite=True)
    assert contents(root).keys() == before.keys()
    assert contents(root) != before
    assert not (root / "annotations").exists()  # what was made of the old images is out of date


def test_an_interruption_keeps_what_was_there(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    root = tmp_path / "root"
    make_mini_davis(root, **TINY)
    before = contents(root)
    monkeypatch.setattr("videogcrf_det.data.mini_davis.make.render", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_mini_davis(root, **TINY, seed=1, overwrite=True)
    assert list(tmp_path.iterdir()) == [root]
    assert contents(root) == before


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        make_mini_davis(tmp_path / "file", **TINY)
    with pytest.raises(InputError, match=r"cannot make a folder in .*file"):
        make_mini_davis(tmp_path / "file" / "root", **TINY)
