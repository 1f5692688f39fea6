import re
from pathlib import Path

import pytest
from detectron2.modeling import META_ARCH_REGISTRY, build_model

from videogcrf_det.cli import _one_line
from videogcrf_det.config import as_keys
from videogcrf_det.engine import build_cfg, run
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import ConvergenceWarning
from videogcrf_det.modeling import VideoGCRFBackbone

FOLDER = Path("configs/DAVIS-Person")
# Table 3: row -> (temporal context, size of the temporal embedding); None: no random field
ROWS = {"spatial": (1, 0), "2f": (2, 128), "3f": (3, 128), "4f": (4, 128), None: (1, None)}


def paths():
    return sorted(path for path in Path("configs").rglob("*.yaml") if "Base" not in path.name)


@pytest.mark.parametrize("base", ["C4", "FPN"])
@pytest.mark.parametrize("row", ROWS)
def test_rows_of_table_3(base, row):
    name = f"video_gcrf_R_50_{base}_{row}" if row else f"mask_rcnn_R_50_{base}"
    cfg = build_cfg(str(FOLDER / f"{name}.yaml"))
    num_frames, temporal_dim = ROWS[row]
    solver = cfg.SOLVER
    assert (solver.MAX_ITER, solver.STEPS, solver.GAMMA) == (16000, (12000,), 0.1)
    assert (solver.BASE_LR, solver.WEIGHT_DECAY, solver.MOMENTUM) == (0.01, 1e-4, 0.9)
    assert num_frames == cfg.INPUT.CLIP.NUM_FRAMES
    assert 8 <= num_frames * solver.IMS_PER_BATCH <= 9
    assert cfg.MODEL.RESNETS.DEPTH == 50
    assert cfg.OUTPUT_DIR.endswith(name)
    assert (cfg.MODEL.BACKBONE.NAME == "build_video_gcrf_backbone") == (row is not None)
    if row:
        assert (
            128,
            temporal_dim,
        ) == (cfg.MODEL.VIDEO_GCRF.SPATIAL_DIM, cfg.MODEL.VIDEO_GCRF.TEMPORAL_DIM)
        levels = {"C4": ["res4"], "FPN": ["p3", "p4", "p5"]}[base]
        assert levels == cfg.MODEL.VIDEO_GCRF.IN_FEATURES


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_configs_build(path):
    cfg = build_cfg(str(path), ["MODEL.WEIGHTS", ""])
    model = build_model(cfg)
    assert type(model) is META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    expected = cfg.MODEL.BACKBONE.NAME == "build_video_gcrf_backbone"
    assert isinstance(model.backbone, VideoGCRFBackbone) == expected


def test_outputs_do_not_collide():
    folders = [build_cfg(str(path)).OUTPUT_DIR for path in paths()]
    assert len(folders) == len(set(folders))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["video_gcrf_R_50_C4_4f", "video_gcrf_R_50_FPN_4f"])
def test_the_papers_configs_train_and_evaluate(small, name):
    """At a size that a test can afford."""
    opts = [*small, "MODEL.WEIGHTS", "", "SOLVER.MAX_ITER", "1", "DATALOADER.NUM_WORKERS", "0"]
    opts += ["INPUT.CLIP.NUM_FRAMES", "4", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", "16"]
    for key in ("MODEL.FPN.OUT_CHANNELS", "MODEL.VIDEO_GCRF.IN_FEATURES"):
        index = opts.index(key)
        del opts[index : index + 2]
    assert "AP50" in run(build_cfg(str(FOLDER / f"{name}.yaml"), opts))["segm"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"PAIRWISE": "difference"}, "in MODEL.VIDEO_GCRF: .*'difference' is now called 'average'"),
        ({"PAIRWISE": "average"}, "average has one embedding.*SPATIAL_DIM, which is 128, to 0"),
        ({"BLOCK_SIZE": 3}, "product couples all positions: leave out BLOCK_SIZE, which is 3"),
        (
            {"PAIRWISE": "average", "SPATIAL_DIM": 0, "TEMPORAL_DIM": 0},
            "in MODEL.VIDEO_GCRF: TEMPORAL_DIM must be at least 1, got 0",
        ),
    ],
)
def test_options_that_make_no_sense_together(keys, message):
    opts = [part for key, value in keys.items() for part in (f"MODEL.VIDEO_GCRF.{key}", value)]
    cfg = build_cfg(str(FOLDER / "video_gcrf_R_50_C4_4f.yaml"), opts)
    with pytest.raises(InputError, match=message) as error:
        build_model(cfg)
    assert "\n" not in str(error.value)


def test_the_method_names_no_keys_and_no_flags():
    """It does not know of them: what calls it says which they are."""
    for path in Path("videogcrf_det/gcrf").glob("*.py"):
        words = re.findall(r"(?:MODEL|TEST|SOLVER|INPUT)\.[A-Z]|[\"' ]--[a-z]", path.read_text())
        assert not words, (path, words)


@pytest.mark.parametrize(
    ("said", "translated"),
    [
        ("lam must be above 0, got -1", "LAMBDA must be above 0, got -1"),
        ('use self_coupling="psd", or a larger lam', "use SELF_COUPLING psd, or a larger LAMBDA"),
        ("dim must be at least 1", "TEMPORAL_DIM must be at least 1"),
        ("rounding left the direct solver", "rounding left the direct solver"),
        (
            'raise max_iters, or use solver="direct" (said once)',
            "raise MAX_ITERS, or use SOLVER direct (said once)",
        ),
    ],
)
def test_what_the_method_says_in_keys(said, translated):
    assert as_keys(said) == f"in MODEL.VIDEO_GCRF: {translated}"


def test_warnings_of_the_method_are_one_line_of_a_tool(capsys):
    others = []
    show = _one_line(lambda *arguments: others.append(arguments))
    show(ConvergenceWarning("raise rtol or lam"), ConvergenceWarning, "inference.py", 112)
    assert capsys.readouterr().err == "warning: in MODEL.VIDEO_GCRF: raise RTOL or LAMBDA\n"
    assert not others
    show("slow", UserWarning, "other.py", 1)
    assert others == [("slow", UserWarning, "other.py", 1)]
