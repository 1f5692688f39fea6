"""Frames given to VideoPredictor in Python, and outputs that would be each other."""

import numpy as np
import pytest

from tests.conftest import CONFIG
from videogcrf_det.data.degrade.dataset import degrade_dataset
from videogcrf_det.demo_loop import run_demo
from videogcrf_det.drawing.predictions import file_name, unique_name
from videogcrf_det.engine import VideoTrainer, build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.predictor import check_frame

GOOD = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (None, "frame 7 is None"),
        ("frame.png", "is a str"),
        ([[0, 0, 0]], "is a list"),
        (GOOD[..., 0], "COLOR_GRAY2BGR"),
        (GOOD[..., :1], "COLOR_GRAY2BGR"),
        (np.zeros((4, 6, 4), np.uint8), "COLOR_BGRA2BGR"),
        (GOOD[..., :2], r"shape \(4, 6, 2\)"),
        (GOOD.transpose(2, 0, 1), r"shape \(3, 4, 6\)"),
        (GOOD[None], r"shape \(1, 4, 6, 3\)"),
        (GOOD[:0], r"shape \(0, 6, 3\)"),
        (GOOD.astype(np.float32), r"float32, not uint8: give \(255 \* frame\)"),
        (GOOD.astype(np.float64), "float64"),
        (GOOD.astype(np.uint16), "uint16.*8 bits"),
        (GOOD.astype(bool), "bool"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_frames_that_are_none(frame, message):
    with pytest.raises(InputError, match=message):
        check_frame(frame, 7)


def test_a_frame_that_is_one():
    check_frame(GOOD, 0)
    check_frame(GOOD[:, ::-1], 0)


def test_a_config_for_a_gpu_runs_where_there_is_none():
    import torch

    cfg = build_cfg(CONFIG).clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "cuda"
    model = VideoTrainer.build_model(cfg)
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert next(model.parameters()).device.type == expected


def test_a_training_that_diverges_says_what_to_do(small, monkeypatch):
    cfg = build_cfg(CONFIG, [*small, "SOLVER.BASE_LR", "1e12", "SOLVER.MAX_ITER", "9"])
    trainer = VideoTrainer(cfg)
    with pytest.raises(InputError, match=r"diverged .*lower SOLVER\.BASE_LR"):
        trainer.train()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a/b", "a:b"], ["a_b", "a_b_2"]),
        (["Walk", "walk"], ["Walk", "walk_2"]),
        (["..", "/", "."], ["video", "_", "video_2"]),
        (["x", "x_2", "x"], ["x", "x_2", "x_3"]),
    ],
)
def test_videos_get_files_of_their_own(names, expected):
    taken = set()
    assert [unique_name(file_name(name), taken) for name in names] == expected


@pytest.mark.parametrize(
    ("source", "output", "json_file", "message"),
    [
        ("in.mp4", "out.mp4", "out.mp4", "overlap"),
        ("in.mp4", "out.mp4", "x/../out.mp4", "overlap"),
        ("in.mp4", "out", "out/found.json", "overlap"),  # a folder that has to be empty
        ("in.mp4", "found/out.mp4", "found", "overlap"),
        ("in.mp4", "out.mp4", "in.mp4", "would replace the input"),
        ("frames", "out.mp4", "frames/0.png", "would replace the input"),
    ],
)
def test_the_json_of_a_demo_is_a_file_of_its_own(source, output, json_file, message, tmp_path):
    (tmp_path / "frames").mkdir()
    for name in ("in.mp4", "frames/0.png"):
        (tmp_path / name).write_bytes(b"input")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"--json .* {message}"):
        run_demo(
            build_cfg(CONFIG), tmp_path / source, tmp_path / output, json_file=tmp_path / json_file
        )
    assert sorted(tmp_path.rglob("*")) == before
    for name in ("in.mp4", "frames/0.png"):
        assert (tmp_path / name).read_bytes() == b"input"


def test_annotations_of_one_name_do_not_replace_each_other(tmp_path):
    with pytest.raises(InputError, match=r"2 files called a\.json"):
        degrade_dataset(["x/a.json", "y/a.json"], tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
