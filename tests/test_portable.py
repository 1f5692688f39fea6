"""What differs between Linux, macOS and Windows."""

import multiprocessing

import pytest

from tests.conftest import CONFIG
from videogcrf_det.engine import VideoTrainer, build_cfg


@pytest.mark.parametrize(
    ("paths", "json_file", "images"),
    [
        ("a/b.json:images", "a/b.json", "images"),
        (r"C:\a\b.json:C:\images", r"C:\a\b.json", r"C:\images"),
        (r"b.json:D:/images", "b.json", "D:/images"),
        (r"C:\a\b.json:images", r"C:\a\b.json", "images"),
        ("street:2/b.json:/images", "street:2/b.json", "/images"),
    ],
)
def test_data_sets_on_drives(monkeypatch, paths, json_file, images):
    registered = []
    monkeypatch.setattr(
        "videogcrf_det.data.own_data.register_video_coco_instances",
        lambda *words: registered.append(words),
    )
    build_cfg(CONFIG, ["DATASETS.OWN", [f"a={paths}"], "DATASETS.TRAIN", [], "DATASETS.TEST", []])
    assert registered == [("a", json_file, images)]


@pytest.fixture
def _spawn():
    """Start processes as macOS and Windows do: nothing is inherited, all is pickled."""
    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(usual, force=True)


@pytest.mark.slow
@pytest.mark.usefixtures("_spawn")
def test_workers_that_are_spawned(small, mini_data):
    cfg = build_cfg(CONFIG, [*small, "DATALOADER.NUM_WORKERS", "1", "SEED", "1"])
    clips = iter(VideoTrainer.build_train_loader(cfg))
    assert len(next(clips)[0]["frames"]) == 2
    videos = [batch[0] for batch in VideoTrainer.build_test_loader(cfg, mini_data["val"])]
    assert [len(list(video["frames"])) for video in videos] == [6, 6]
