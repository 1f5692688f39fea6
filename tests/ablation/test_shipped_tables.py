"""The table files of the repository: what they train is there, and is what they say."""

import argparse
from pathlib import Path

import pytest
import torch
from detectron2.engine import default_argument_parser
from detectron2.modeling import build_model
from video_depth import add_depth_config
from video_tracking import add_tracking_config

from videogcrf_det.ablation import load_table, plan_runs
from videogcrf_det.config import add_videogcrf_config, gcrf_options
from videogcrf_det.engine import build_cfg
from videogcrf_det.gcrf import VideoGCRF, temporal_coupling
from videogcrf_det.segmentation import add_segmentation_config, phase_argument_parser
from videogcrf_det.steady.command_line import argument_parser

PROJECT = Path("projects/semantic_segmentation/tables")
TRACKING = Path("projects/instance_tracking/tables")
DEPTH = Path("projects/depth_estimation/tables")
ADD_CONFIG = {
    PROJECT: add_segmentation_config,
    TRACKING: add_tracking_config,
    DEPTH: add_depth_config,
    Path("tables"): add_videogcrf_config,
}
TABLES = [path for folder in ADD_CONFIG for path in sorted(folder.glob("*.yaml"))]


def read(path):
    """For each run of a table: it, its arguments and its config."""
    in_phases = path.parent in (PROJECT, TRACKING)
    parser = phase_argument_parser() if in_phases else default_argument_parser()
    for run in plan_runs(load_table(path), {}):
        fits = run.command[0].endswith("fit_video.py")
        of_run = argument_parser() if fits else parser
        args: argparse.Namespace = of_run.parse_args(run.command[1:])
        yield run, args, build_cfg(args.config_file, args.opts, ADD_CONFIG[path.parent])


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_commands(path):
    for run, args, cfg in read(path):
        assert Path(run.command[0]).is_file()
        assert args.resume
        assert str(run.folder) == cfg.OUTPUT_DIR
        assert run.seed == cfg.SEED
        assert run.row.dataset in cfg.DATASETS.TEST
        if path.parent in (PROJECT, TRACKING):
            # results are where the last phase leaves them
            phase = "joint" if args.phase == "all" else args.phase
            shared = cfg.PHASES.UNARY.OUTPUT_DIR if phase == "unary" else ""
            left = Path(shared) if shared else run.folder / phase
            assert run.results == left / "inference" / run.row.dataset / "evaluation.json"


@pytest.mark.parametrize("name", ["camvid", "camvid_quick"])
def test_camvid(name):
    """Equally many frames, the same unaries, and the context that the row is called by."""
    found = {run.row.name: (args, cfg) for run, args, cfg in read(PROJECT / f"{name}.yaml")}
    rows = ["base", "DenseCRF", "spatial", "2 frames", "3 frames"]
    assert [row for row in found if row in rows] == rows
    unaries = found["base"][1].PHASES.UNARY.OUTPUT_DIR
    context = {"spatial": (1, 0), "2 frames": (2, 128), "3 frames": (3, 128)}
    for row, expected in context.items():
        args, cfg = found[row]
        frames = cfg.INPUT.CLIP.NUM_FRAMES
        assert (frames, cfg.MODEL.VIDEO_GCRF.TEMPORAL_DIM) == expected
        assert args.phase == "all"
        assert unaries == cfg.PHASES.UNARY.OUTPUT_DIR
        for phase in (cfg.PHASES.PAIRWISE, cfg.PHASES.JOINT):
            assert phase.IMS_PER_BATCH * frames == 6
    args, cfg = found["DenseCRF"]
    assert args.eval_only
    assert cfg.TEST.DENSE_CRF.ENABLED
    assert f"{unaries}/model_final.pth" == cfg.MODEL.WEIGHTS
    assert not cfg.PHASES.UNARY.OUTPUT_DIR, "it would overwrite the base network's metrics"


@pytest.mark.parametrize("name", ["davis_2016", "davis_2016_quick"])
def test_tracking(name):
    """Equally many frames, the same unaries, and the context that the row is called by."""
    found = {run.row.name: (args, cfg) for run, args, cfg in read(TRACKING / f"{name}.yaml")}
    assert list(found) == ["unaries", "spatial", "2 frames", "3 frames"]
    assert len({cfg.INPUT.UNARIES for _, cfg in found.values()}) == 1
    args, _ = found.pop("unaries")
    assert args.eval_only
    context = [(1, 0), (2, 128), (3, 128)]
    for (args, cfg), expected in zip(found.values(), context, strict=True):
        frames = cfg.INPUT.CLIP.NUM_FRAMES
        assert (frames, cfg.MODEL.VIDEO_GCRF.TEMPORAL_DIM) == expected
        assert args.phase == "all"
        for phase in (cfg.PHASES.PAIRWISE, cfg.PHASES.JOINT):
            assert phase.IMS_PER_BATCH * frames == 6


def test_embeddings():
    runs = [cfg for run, _, cfg in read(PROJECT / "davis_person_embeddings.yaml")][1:]
    sizes = {(c.MODEL.VIDEO_GCRF.SPATIAL_DIM, c.MODEL.VIDEO_GCRF.TEMPORAL_DIM) for c in runs}
    assert sizes == {(s, t) for s in (64, 128, 256, 512) for t in (64, 128, 256, 512)}


DISTANCES = {"2": [1], "4": [1, 2], "6ms": [1, 2, 4], "fc": []}


def test_context():
    """Cells share a training where, and only where, they couple the same frames."""
    path = PROJECT / "davis_person_context.yaml"
    grid = load_table(path).grid
    assert grid.rows == ("2", "3", "4", "7")
    assert grid.columns == ("2", "4", "6ms", "fc")
    for row in grid.rows:
        for one in grid.columns:
            for other in grid.columns:
                pair = (temporal_coupling(int(row), DISTANCES[n]) for n in (one, other))
                equal = torch.equal(*pair)
                assert equal == (grid.cells[row, one] == grid.cells[row, other]), (row, one, other)
    for run, _, cfg in read(path):
        if run.row.name == "base":
            continue
        row, _, column = run.row.name.partition("x")
        neighbourhood = gcrf_options(cfg)["neighbourhood"]
        assert (int(row), DISTANCES[column]) == (cfg.INPUT.CLIP.NUM_FRAMES, neighbourhood)
        assert 12 <= cfg.PHASES.JOINT.IMS_PER_BATCH * int(row) <= 14


def frames_seen(cfg):
    return cfg.SOLVER.MAX_ITER * cfg.SOLVER.IMS_PER_BATCH * cfg.INPUT.CLIP.NUM_FRAMES


@pytest.mark.parametrize("name", ["mini_davis_degraded", "davis_240p_degraded"])
def test_degraded(name):
    """All rows start from what they say, see equally many frames, and differ in what they say."""
    starts = {
        "4 frames, products, by CG": "4_frames_products",
        '4 frames, detector of "base, trained on" frozen': "base_trained_on",
    }
    found = {run.row.name: cfg for run, args, cfg in read(Path(f"tables/{name}.yaml"))}
    base = found.pop("base")
    after = found["4 frames, detector frozen"]
    for row, cfg in found.items():
        start = base.OUTPUT_DIR.replace("base", starts.get(row, "base"))
        assert f"{start}/model_final.pth" == cfg.MODEL.WEIGHTS
        assert ("frozen" in row) == cfg.MODEL.VIDEO_GCRF.FREEZE_DETECTOR
        assert frames_seen(cfg) == frames_seen(after)
        assert cfg.INPUT.CLIP.DEGRADED == base.INPUT.CLIP.DEGRADED == 0.4
        if not row.startswith(("base", "no couplings")):
            assert (1 if "spatial" in row else int(row[0])) == cfg.INPUT.CLIP.NUM_FRAMES
        assert ("mixed" in row) == all("mixed" in name for name in cfg.DATASETS.TRAIN)
        if "spatial" in row:  # positions of one frame see one another
            layer = VideoGCRF.build(8, **gcrf_options(cfg))
            frame = torch.randn(1, 8, 6, 6)
            assert (layer(frame) - frame).abs().max() > 0.1
    weights = [
        sum(parameter.numel() for parameter in build_model(cfg).parameters())
        for row, cfg in found.items()
        if row.startswith(("no couplings", "2 frames", "4 frames, detector frozen"))
    ]
    assert len(weights) >= 3
    assert len(set(weights)) == 1
