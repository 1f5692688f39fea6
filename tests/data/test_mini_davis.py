import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videogcrf_det import InputError
from videogcrf_det.data import mini_davis
from videogcrf_det.data.mini_davis import make_mini_davis

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


@pytest.mark.parametrize(
    "change", [{"num_frames": 0}, {"num_train": -1}, {"size": (8, 8)}, {"seed": -1}]
)
def test_bad_values(tmp_path, change):
    with pytest.raises(InputError, match=str(next(iter(np.ravel(next(iter(change.values()))))))):
        make_mini_davis(tmp_path / "root", **{**SMALL, **change})
    assert not (tmp_path / "root").exists()


def test_other_peoples_folders_are_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=str(tmp_path)):
            make_mini_davis(tmp_path, **SMALL, overwrite=overwrite)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_nothing_half_written(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("power cut")

    monkeypatch.setattr(mini_davis, "make_scene", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        make_mini_davis(tmp_path / "root", **SMALL)
    assert list(tmp_path.iterdir()) == []
