"""Tiny networks that are trained: to a bound, on after an interruption, and with fitted fields."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from video_depth import DepthTrainer, add_depth_config, on_videos, run

from videogcrf_det import InputError
from videogcrf_det.demo_loop import changed_cfg
from videogcrf_det.modeling.video_model import VideoModel
from videogcrf_det.steady.detector import load_detector
from videogcrf_det.steady.fit import FitOptions
from videogcrf_det.steady.fit_video import fit_video

FRAMES = "projects/depth_estimation/configs/MiniDAVIS/R_18_frames.yaml"
SHORT = [
    *["SOLVER.BASE_LR", 0.001, "SOLVER.WARMUP_ITERS", 0, "SOLVER.STEPS", "(30,)"],
    *["INPUT.RANDOM_FLIP", "none", "INPUT.CLIP.DEGRADED", 0.0],
]


def trained(cfg):
    trainer = DepthTrainer(cfg)
    trainer.resume_or_load(resume=True)
    return trainer.train()


@pytest.mark.slow
def test_a_tiny_network_learns_depth_and_how_sure_it_is(make_cfg, tmp_path):
    """From scratch on ten frames, of which the mean depth by row has an AbsRel of 0.23."""
    cfg = make_cfg(*SHORT, "SOLVER.MAX_ITER", 80, "MODEL.VIDEO_GCRF.MOTION", "dis")
    results = trained(cfg)
    assert results["depth"]["AbsRel"] < 0.2
    assert results["depth"]["delta1"] > 0.7
    assert 0.4 < results["uncertainty"]["within1"] < 0.97
    name = cfg.DATASETS.TEST[0]
    written = json.loads((tmp_path / f"run/inference/{name}/evaluation.json").read_text())
    assert written["results"]["depth"] == results["depth"]
    weights = str(tmp_path / "run/model_final.pth")
    again = run(changed_cfg(cfg, "MODEL.WEIGHTS", weights), eval_only=True)
    assert again == results
    # without the other frames, the same network is another one
    alone = changed_cfg(cfg, "MODEL.WEIGHTS", weights, "MODEL.VIDEO_GCRF.STRENGTH", 0.0)
    assert run(alone, eval_only=True)["depth"] != results["depth"]


@pytest.mark.slow
def test_an_interrupted_training_ends_as_one_that_was_not(make_cfg, tmp_path):
    opts = [*SHORT, "SOLVER.MAX_ITER", 4, "SOLVER.CHECKPOINT_PERIOD", 2, "DATASETS.TEST", "()"]
    opts += ["INPUT.CLIP.DEGRADED", 0.5, "INPUT.RANDOM_FLIP", "horizontal"]
    trained(make_cfg(*opts))
    folder = tmp_path / "run"
    whole = torch.load(folder / "model_final.pth", weights_only=False)["model"]
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    (folder / "model_final.pth").unlink()
    trained(make_cfg(*opts))
    rest = torch.load(folder / "model_final.pth", weights_only=False)["model"]
    assert all(torch.equal(whole[name], rest[name]) for name in whole)


@pytest.fixture
def single_frames(small, make_cfg, make_model, tmp_path):
    """Overrides of FRAMES: a network of single frames, with weights."""
    opts = ["MODEL.DEPTH_HEAD.CHAIN", "False", "INPUT.CLIP.DEGRADED", "0.0"]
    path = tmp_path / "frames.pth"
    torch.save({"model": make_model(make_cfg(*opts)).state_dict()}, path)
    return [*small, *opts, "MODEL.WEIGHTS", str(path)]


@pytest.fixture
def footage(own_root, tmp_path):
    """The frames of the videos, there and back, and no depth."""
    for name in ("walk-000", "walk-001"):
        shutil.copytree(own_root / name / "frames", tmp_path / "footage" / name)
        for path in sorted((own_root / name / "frames").iterdir()):
            back = tmp_path / "footage" / name / f"{9 - int(path.stem):05d}.jpg"
            back.write_bytes(path.read_bytes())
    return tmp_path / "footage"


@pytest.mark.slow
def test_a_field_is_fitted_without_labels(single_frames, footage, tmp_path, monkeypatch):
    """Of log depth, on frames alone; and what it makes of the network is another one."""
    network = load_detector(FRAMES, "", single_frames, add_depth_config)
    path = tmp_path / "fields.pth"
    with monkeypatch.context() as patch:
        patch.setattr("video_depth.mappers.read_depth", None)  # no depth is read
        fields = fit_video(network, [str(footage)], path, FitOptions(iterations=10))
    assert list(fields) == ["log_depth"]
    alone = run(network.cfg, eval_only=True)
    assert "uncertainty" not in alone
    results = run(changed_cfg(network.cfg, "MODEL.VIDEO_GCRF.FIELDS", str(path)), eval_only=True)
    assert results["depth"] != alone["depth"]
    assert results["temporal"]["OPW"] < alone["temporal"]["OPW"]
    assert results["uncertainty"]["area"] > results["uncertainty"]["oracle"]


def test_fields_and_a_chain_of_its_own_are_one_too_many(make_cfg, make_model):
    cfg = make_cfg()
    with (
        pytest.raises(InputError, match="CHAIN False"),
        on_videos(cfg, VideoModel(make_model(cfg))),
    ):
        pass
    with pytest.raises(InputError, match="for inference"):
        run(make_cfg("MODEL.VIDEO_GCRF.FIELDS", "fields.pth"))
    for latency, said in ((-2, "LATENCY"), (1, "STRENGTH")):
        wrong = make_cfg("TEST.LATENCY", latency, "MODEL.VIDEO_GCRF.STRENGTH", latency + 1.0)
        with pytest.raises(InputError, match=said), on_videos(wrong, make_model(cfg)):
            pass


@pytest.mark.slow
def test_the_tools(start, single_frames, footage, own_root, tmp_path):
    """From footage to a video of depth, on a network with random weights."""
    name = "test_depth_videos"
    opts = [word.replace(name, "own") for word in single_frames]
    opts += ["DATASETS.DEPTH", f"['own={own_root}']"]
    fields, root = tmp_path / "fields.pth", Path("projects/depth_estimation").resolve()
    path = {"PYTHONPATH": f"{root}:{Path.cwd()}"}
    fit = [root / "fit_video.py", "--config-file", FRAMES, "--videos", footage, "--iterations", 1]
    code, out, err = start(*fit, "--output", fields, "--evaluate", *opts, **path)
    assert code == 0, err
    assert "| log_depth" in out
    assert (tmp_path / "run/inference/own/evaluation.json").is_file()
    words = ["--config-file", FRAMES, "--fields", fields, "--input", footage / "walk-000"]
    words += ["--output", tmp_path / "depth.mp4", "--depth", tmp_path / "maps"]
    code, _, err = start("tools/demo.py", *words, "--compare-baseline", "--opts", *opts, **path)
    assert code == 0, err
    assert len(list((tmp_path / "maps").iterdir())) == 10
    chain = [*fit[:3], *["--videos", footage], *opts, "MODEL.DEPTH_HEAD.CHAIN", "True"]
    code, _, err = start(*chain, "MODEL.WEIGHTS", "", **path)
    assert code == 2
    assert "Traceback" not in err
    code, _, err = start(root / "train_net.py", "--config-file", FRAMES, **path)
    assert code == 2
    assert "mini_davis" in err
    assert "Traceback" not in err
