"""A network that is fine-tuned on first frames."""

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from video_tracking import add_tracking_config
from video_tracking.davis import VOID, read_object_mask
from video_tracking.mappers import ObjectVideoMapper
from video_tracking.provider import OnlineTracker, confident_labels, make_unaries
from video_tracking.unaries import read_probability

from tests.projects.instance_tracking.drawn import CONFIGS, TINY
from videogcrf_det.data import load_videos
from videogcrf_det.engine import build_cfg
from videogcrf_det.errors import InputError


@pytest.fixture
def make_cfg(tmp_path):
    """The config of a tiny network, with random weights, and further overrides."""

    def make(*opts, config="quick_parent_R_50"):
        opts = [*TINY, "SOLVER.WEIGHT_DECAY", "0.0", "MODEL.BACKBONE.FREEZE_AT", "0", *opts]
        path = tmp_path / "start.pth"
        words = ["MODEL.WEIGHTS", str(path)]
        cfg = build_cfg(f"{CONFIGS}/{config}.yaml", [*map(str, opts), *words], add_tracking_config)
        torch.manual_seed(0)
        unary = cfg.clone()
        unary.defrost()
        unary.MODEL.PHASE = "unary"
        torch.save({"model": build_model(unary).state_dict()}, path)
        return cfg

    return make


def unaries_of(folder, name):
    return {r["image_id"]: read_probability(folder, r) for r in DatasetCatalog.get(name)}


def iou(probability, record):
    mask, true = probability > 0.5, read_object_mask(record) == 1
    return (mask & true).sum() / (mask | true).sum()


# enough of a network to learn from one frame
ABLE = [
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", 16, "MODEL.RESNETS.RES2_OUT_CHANNELS", 32],
    *["MODEL.RESNETS.NORM", "BN", "MODEL.SEM_SEG_HEAD.NORM", "GN"],
    *["MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "INPUT.MIN_SIZE_TEST", 96, "UNARIES.BASE_LR", 0.05],
]


def test_the_ball_is_found_on_later_frames(register, make_cfg, tmp_path):
    name = register("2016")
    cfg = make_cfg(*ABLE, "UNARIES.ITERATIONS", 150)
    make_unaries(cfg, name, tmp_path / "unaries")
    found = unaries_of(tmp_path / "unaries", name)
    for record in DatasetCatalog.get(name):
        overlap = iou(found[record["image_id"]], record)
        assert overlap == 1 if record["frame_id"] == 0 else overlap > 0.6
    cfg = make_cfg(*ABLE, "UNARIES.ITERATIONS", 1)
    make_unaries(cfg, name, tmp_path / "untrained")
    found = unaries_of(tmp_path / "untrained", name)
    later = [r for r in DatasetCatalog.get(name) if r["frame_id"]]
    assert np.mean([iou(found[r["image_id"]], r) for r in later]) < 0.5


def test_finished_videos_are_left_alone_and_the_same_again(register, make_cfg, tmp_path):
    name, cfg = register("2017"), make_cfg("UNARIES.ITERATIONS", 3)
    make_unaries(cfg, name, tmp_path / "whole")
    make_unaries(cfg, name, tmp_path / "parts")
    whole = unaries_of(tmp_path / "whole", name)
    for path in (tmp_path / "parts/pair/1").iterdir():
        path.unlink()
    (tmp_path / "parts/pair/1").rmdir()
    kept = tmp_path / "parts/pair/2/00001.png"
    before = kept.stat().st_mtime_ns
    make_unaries(cfg, name, tmp_path / "parts")
    assert kept.stat().st_mtime_ns == before
    for key, probability in unaries_of(tmp_path / "parts", name).items():
        assert np.array_equal(probability, whole[key])
    assert not np.array_equal(whole["pair/1/00003"], whole["pair/2/00003"])


@pytest.mark.parametrize(
    "opts",
    [
        ["UNARIES.ITERATIONS", 5],
        ["UNARIES.BASE_LR", 0.02],
        ["UNARIES.SCALES", "(1.0, 1.0)"],
        ["SOLVER.MOMENTUM", 0.0],
        ["SOLVER.WEIGHT_DECAY", 0.1],
        ["SOLVER.AMP.ENABLED", "True"],
        ["SEED", 7],
    ],
)
def test_settings_change_the_result(register, make_cfg, opts):
    video = load_videos(register("2016"))[0]

    def run(*more):
        cfg = make_cfg("UNARIES.ITERATIONS", 4, "UNARIES.BASE_LR", 0.01, *more)
        frames = iter(ObjectVideoMapper(cfg, is_train=False)(video)["frames"])
        return np.stack(list(OnlineTracker.from_cfg(cfg)("roll", frames)))

    assert not np.allclose(run(), run(*opts), atol=1e-6)


def test_settings_of_adaptation_change_the_result(register, make_cfg):
    video = load_videos(register("2016"))[0]
    adapt = {"ENABLED": True, "PERIOD": 1, "ITERATIONS": 1, "PROBABILITY": 0.5, "DISTANCE": 60}

    cfg = make_cfg(*ABLE, "UNARIES.ITERATIONS", 120)
    tracker = OnlineTracker.from_cfg(cfg)

    def run(**changed):
        tracker.adapt = CfgNode({**cfg.UNARIES.ADAPT, **adapt, **changed})
        frames = iter(ObjectVideoMapper(cfg, is_train=False)(video)["frames"])
        return np.stack(list(tracker("roll", frames)))

    run(ENABLED=False)
    tracker.start = {name: value.clone() for name, value in tracker.model.state_dict().items()}
    tracker.iterations, tracker.lr = 2, 0.01

    base = run()
    assert (base[1:] > 0.5).any(), "there is something to adapt to"
    others = [{"PERIOD": 2}, {"ITERATIONS": 2}, {"WEIGHT": 1.0}, {"PROBABILITY": 0.9}]
    for changed in [{"ENABLED": False}, {"DISTANCE": 10}, *others]:
        found = run(**changed)
        assert np.array_equal(found[:2], base[:2]), "the first frames come before any adaptation"
        assert not np.allclose(found[2:], base[2:], atol=1e-6), changed


def test_confident_labels():
    probability = torch.tensor([[0.99, 0.99, 0.5, 0.0, 0.0, 0.99]])
    before = torch.tensor([[True, True, False, False, False, False]])
    labels = confident_labels(probability, before, threshold=0.9, distance=2.5)
    # the last is certain, but too far from where the object was
    assert labels.tolist() == [[1, 1, VOID, VOID, 0, 0]]


def test_a_first_frame_without_the_object(make_cfg):
    cfg = make_cfg()
    frame = {"image": torch.zeros(3, 48, 64), "sem_seg": torch.zeros(48, 64, dtype=torch.long)}
    with pytest.raises(InputError, match="first frame of roll does not show its object"):
        next(OnlineTracker.from_cfg(cfg)("roll", iter([frame])))


def test_bad_input(register, make_cfg, tmp_path):
    name, output = register("2016"), tmp_path / "unaries"
    with pytest.raises(InputError, match="has no sequence 'bear', only roll, spin"):
        make_unaries(make_cfg(), name, output, ["bear"])
    with pytest.raises(InputError, match=r"with 3: name configs/DAVIS-2016/parent_R_50"):
        make_unaries(make_cfg("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3), name, tmp_path / "three")
    given = build_cfg(f"{CONFIGS}/quick_R_50_3f.yaml", TINY, add_tracking_config)
    with pytest.raises(InputError, match="GivenUnaries makes no unaries"):
        make_unaries(given, name, tmp_path / "given")
    make_unaries(make_cfg("UNARIES.ITERATIONS", 1), name, output, ["roll"])
    assert (output / "roll").is_dir()
    assert not (output / "spin").exists()
    with pytest.raises(InputError, match=r"has unaries of another config, .*config\.yaml"):
        make_unaries(make_cfg("UNARIES.ITERATIONS", 2), name, output)
