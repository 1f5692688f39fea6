"""Videos of depth, and what goes beside them."""

import runpy
import sys

import numpy as np
import pytest
import torch
from video_depth import demo
from video_depth.demo import single_frames_cfg
from video_depth.drawing import depth_range, draw_depth, draw_deviation
from video_depth.predictor import Depth, DepthPredictor

from tests.projects.depth_estimation.conftest import CONFIG
from videogcrf_det import InputError
from videogcrf_det.data.depth import read_depth
from videogcrf_det.demo_loop import run_demo


class ByColour:
    """Stands in for DepthPredictor: what is red is near."""

    def __init__(self, cfg):
        self.coupled = cfg.MODEL.VIDEO_GCRF.STRENGTH > 0

    def __call__(self, frames):
        for frame in frames:
            metres = 2 + (255 - frame[:, :, 2].astype(np.float32)) / 10
            yield frame, Depth(metres, np.full(metres.shape, 0.1, np.float32))


def test_near_is_light_and_missing_is_black():
    depth = np.repeat(np.float32([[2, 4, 8, 0]]), 2, 0)
    shown = draw_depth(depth, 2, 8).astype(int).sum(2)
    width = shown.shape[1] // 4
    near, middle, far, missing = (shown[0, width * k + width // 2] for k in range(4))
    assert near > middle > far
    assert missing == 0
    assert (draw_depth(10 * depth, 20, 80) == draw_depth(depth, 2, 8)).all()
    low, high = depth_range(depth)
    assert low < 2 < 8 < high
    sure, unsure = (draw_deviation(np.full((4, 4), d, np.float32)).sum() for d in (0.02, 0.25))
    assert sure < unsure


def test_pictures_and_maps(make_cfg, own_root, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "DepthPredictor", ByColour)
    source = own_root / "walk-000/frames"
    run_demo(
        make_cfg(),
        source,
        tmp_path / "clip",
        baseline="",
        depth_folder=tmp_path / "maps",
        unit=0.01,
        max_frames=3,
    )
    assert len(list((tmp_path / "clip").iterdir())) == 3
    maps = [read_depth(p, 0.01) for p in sorted((tmp_path / "maps").iterdir())]
    assert [m.shape for m in maps] == [(48, 64)] * 3
    assert 2 <= min(m.min() for m in maps) < max(m.max() for m in maps) <= 27.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"unit": 0.0}, "--unit"),
        ({"scale": (5.0, 2.0)}, "--range"),
        ({"depth_folder": "clip/maps"}, "overlap"),
        ({"max_frames": 0}, "--max-frames"),
    ],
)
def test_options_that_cannot_be_used(make_cfg, own_root, tmp_path, monkeypatch, options, said):
    cfg = make_cfg()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        run_demo(cfg, own_root / "walk-000/frames", "clip", **options)
    assert not (tmp_path / "clip").exists()


def test_what_single_frames_are(make_cfg):
    assert single_frames_cfg(make_cfg()).MODEL.VIDEO_GCRF.STRENGTH == 0
    fields = make_cfg("MODEL.VIDEO_GCRF.FIELDS", "f.pth", "MODEL.DEPTH_HEAD.CHAIN", "False")
    assert single_frames_cfg(fields).MODEL.VIDEO_GCRF.FIELDS == ""
    with pytest.raises(InputError, match="neither a chain"):
        single_frames_cfg(make_cfg("MODEL.DEPTH_HEAD.CHAIN", "False"))


def test_the_predictor_gives_what_the_chain_gives(make_cfg, make_model, frames, tmp_path):
    cfg = make_cfg("MODEL.WEIGHTS", tmp_path / "weights.pth", "TEST.LATENCY", 2)
    torch.save({"model": make_model(cfg).state_dict()}, tmp_path / "weights.pth")
    predictor = DepthPredictor(cfg)
    found = list(predictor(iter(frames)))
    assert all(a is b for a, (b, _) in zip(frames, found, strict=True))
    again = list(predictor(iter(frames)))  # a video leaves nothing behind
    for (_, depth), (_, same) in zip(found, again, strict=True):
        assert depth.metres.shape == depth.deviation.shape == (48, 64)
        assert (depth.metres == same.metres).all()
    with pytest.raises(InputError, match="does not estimate depth of videos"):
        DepthPredictor(make_cfg("MODEL.META_ARCHITECTURE", "ClipRCNN", "MODEL.WEIGHTS", "a.pth"))


def test_the_tool(small, own_root, tmp_path, monkeypatch, capfd):
    """It goes by the meta-architecture, and refuses options of others."""
    monkeypatch.setattr(demo, "DepthPredictor", ByColour)
    words = ["--config-file", CONFIG, "--input", own_root / "walk-000/frames"]
    words += ["--output", tmp_path / "clip", "--max-frames", 2, "--compare-baseline"]
    for own, code in ((["--depth", tmp_path / "maps"], 0), (["--opacity", 0.5], 2)):
        monkeypatch.setattr(sys, "argv", ["demo.py", *map(str, [*words, *own, "--opts", *small])])
        ended = 0
        try:
            runpy.run_path("tools/demo.py", run_name="__main__")
        except SystemExit as end:
            ended = end.code
        assert ended == code
    assert "--opacity is for VideoSegmentor, and MODEL" in capfd.readouterr().err
    assert len(list((tmp_path / "maps").iterdir())) == 2
