"""A network that is fine-tuned on first frames."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from video_tracking import add_tracking_config
from video_tracking.davis import VOID, read_object_mask
from video_tracking.mappers import ObjectVideoMapper
from video_tracking.provider import OnlineTracker, confident_labels
from video_tracking.write_unaries import make_unaries

from tests.support.drawn import (
    CONFIGS,
    HEIGHT,
    TINY,
    WIDTH,
    ball,
    picture,
    read_probability,
)
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


def iou(probability, true):
    mask = probability > 0.5
    return (mask & true).sum() / (mask | true).sum()


def start_with_what_was_learnt(tracker):
    tracker.start = {name: value.clone() for name, value in tracker.model.state_dict().items()}


# enough of a network to learn from one frame
ABLE = [
    *["MODEL.RESNETS.STEM_OUT_CHANNELS", 16, "MODEL.RESNETS.RES2_OUT_CHANNELS", 32],
    *["MODEL.RESNETS.NORM", "BN", "MODEL.SEM_SEG_HEAD.NORM", "GN"],
    *["MODEL.SEM_SEG_HEAD.CONVS_DIM", 32, "INPUT.MIN_SIZE_TEST", 96, "UNARIES.BASE_LR", 0.05],
]


def test_the_ball_is_found_on_later_frames(register, make_cfg, tmp_path):
    name = register("2016")

    def overlaps(iterations):
        cfg = make_cfg(*ABLE, "INPUT.MIN_SIZE_TEST", 144, "UNARIES.ITERATIONS", iterations)
        folder = tmp_path / str(iterations)
        make_unaries(cfg, name, folder, ["roll"])
        records = [r for r in DatasetCatalog.get(name) if r["video_name"] == "roll"]
        return [iou(read_probability(folder, r), read_object_mask(r) == 1) for r in records]

    given, *found = overlaps(150)
    assert given == 1
    assert np.mean(found) > 0.8, found
    assert np.mean(overlaps(1)[1:]) < 0.5


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
    adapt["BASE_LR"] = 0.01

    cfg = make_cfg(*ABLE, "UNARIES.ITERATIONS", 120)
    tracker = OnlineTracker.from_cfg(cfg)

    def run(**changed):
        tracker.adapt = CfgNode({**cfg.UNARIES.ADAPT, **adapt, **changed})
        frames = iter(ObjectVideoMapper(cfg, is_train=False)(video)["frames"])
        return np.stack(list(tracker("roll", frames)))

    run(ENABLED=False)
    start_with_what_was_learnt(tracker)
    tracker.iterations, tracker.lr = 2, 0.01

    base = run()
    assert (base > 0.5).any(), "there is something to adapt to"
    others = [{"PERIOD": 2}, {"ITERATIONS": 2}, {"WEIGHT": 1.0}, {"PROBABILITY": 0.9}]
    others.append({"BASE_LR": 0.02})
    for changed in [{"ENABLED": False}, {"DISTANCE": 10}, *others]:
        found = run(**changed)
        np.testing.assert_allclose(found[0], base[0], atol=1e-6, err_msg="before any adaptation")
        assert not np.allclose(found[1:], base[1:], atol=1e-6), changed


class Colours(torch.nn.Module):
    """Logistic regression on the colours of pixels: as convex, it learns the same everywhere."""

    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(4))

    def scores(self, frame):
        return torch.tensordot(self.weights[:3], frame["image"] / 50 - 2, 1) + self.weights[3]

    def losses(self, clips):
        ((frame,),) = clips
        seen = frame["sem_seg"] != VOID
        labels = frame["sem_seg"][seen].float()
        return {"loss": F.binary_cross_entropy_with_logits(self.scores(frame)[seen], labels)}

    @torch.no_grad()
    def segment_video(self, frames):
        for frame in frames:
            probability = self.scores(frame).sigmoid()
            yield {"sem_seg": torch.stack([1 - probability, probability])}


def ball_and_wall(number):
    """A frame: the ball, and from the second on a wall of much the same colour."""
    image, mask = picture(number / 5, 1), ball(number / 5)
    if number:
        image[:, 48:] = (200, 130, 60)
    pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).float()
    labels = torch.from_numpy(mask).long()
    return {"image": pixels, "height": HEIGHT, "width": WIDTH, "sem_seg": labels}, mask


def test_adaptation_learns_what_is_far_from_the_object():
    adapt = {"PERIOD": 2, "ITERATIONS": 50, "PROBABILITY": 0.8, "DISTANCE": 20, "WEIGHT": 1.0}
    frames, masks = zip(*map(ball_and_wall, range(10)), strict=True)

    def overlaps(**changed):
        tracker = OnlineTracker(
            Colours(), iterations=100, lr=0.2, scales=(1, 1), adapt={**adapt, **changed}, seed=0
        )
        found = tracker("roll", iter(frames))
        return [iou(*pair) for pair in zip(found, masks[1:], strict=True)]

    adapt["BASE_LR"] = 0.2
    without = overlaps(ENABLED=False)
    assert max(without) < 0.5, "the wall is taken for the object"
    adapted = overlaps(ENABLED=True)
    assert adapted[:2] == without[:2], "the first adaptation comes after them"
    assert min(adapted[2:]) > 0.95


def test_views_keep_their_shape_and_their_labels(make_cfg, monkeypatch):
    cfg = make_cfg("UNARIES.ITERATIONS", 60, "UNARIES.SCALES", "(0.5, 2.0)")
    tracker = OnlineTracker.from_cfg(cfg)
    mask = torch.zeros(48, 96, dtype=torch.long)
    mask[:, :24] = 1
    seen = []
    losses = tracker.model.losses

    def spy(clips):
        seen.append(clips[0][0])
        return losses(clips)

    monkeypatch.setattr(tracker.model, "losses", spy)
    list(tracker("roll", iter([{"image": mask.expand(3, -1, -1) * 200, "sem_seg": mask}])))
    heights = {view["image"].shape[1] for view in seen}
    assert 24 <= min(heights) < 36
    assert 72 < max(heights) <= 96
    for view in seen:
        height, width = view["sem_seg"].shape
        assert list(view["image"].shape[1:]) == [height, width]
        assert abs(width - 2 * height) <= 2
        # white where the object is, but at the edge, which is blurred
        assert ((view["image"][0] > 100) == (view["sem_seg"] == 1)).float().mean() > 0.97
    assert 10 < sum(bool(view["sem_seg"][0, 0]) for view in seen) < 50, "mirrored or not"


def test_the_first_mask_stays_as_it_is_where_the_network_sees_less(register, make_cfg, tmp_path):
    name = register("2017")
    cfg = make_cfg("UNARIES.ITERATIONS", 1, "INPUT.MIN_SIZE_TEST", 20)
    make_unaries(cfg, name, tmp_path / "unaries")
    record = DatasetCatalog.get(name)[0]
    found = read_probability(tmp_path / "unaries", record)
    assert np.array_equal(found > 0.5, read_object_mask(record) == 1)
    assert (np.abs(found - 0.5) > 0.49).all()


def test_a_backbone_alone_will_do(register, make_cfg, tmp_path):
    video = load_videos(register("2016"))[0]
    cfg = make_cfg("UNARIES.ITERATIONS", 1)
    weights = torch.load(cfg.MODEL.WEIGHTS)["model"]
    backbone = {key: value for key, value in weights.items() if key.startswith("backbone.")}
    torch.save({"model": backbone}, cfg.MODEL.WEIGHTS)

    def run(seed):
        cfg.defrost()
        cfg.SEED = seed
        frames = iter(ObjectVideoMapper(cfg, is_train=False)(video)["frames"])
        return np.stack(list(OnlineTracker.from_cfg(cfg)("roll", frames)))

    base = run(0)
    np.testing.assert_allclose(run(0), base, atol=1e-6, err_msg="the head follows from the seed")
    assert not np.allclose(run(1), base, atol=1e-6)


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

    def make(*opts, sequences=(), output=output, config="quick_parent_R_50"):
        make_unaries(make_cfg(*opts, config=config), name, output, sequences)

    with pytest.raises(InputError, match="has no sequence 'bear', only roll, spin"):
        make(sequences=["bear"])
    with pytest.raises(InputError, match=r"with 3: name configs/DAVIS-2016/parent_R_50"):
        make("MODEL.SEM_SEG_HEAD.NUM_CLASSES", 3)
    with pytest.raises(InputError, match="GivenUnaries makes no unaries"):
        make(config="quick_R_50_3f")
    for scales in ("(1.5, 0.5)", "(1.0,)", "(0.0, 1.0)"):
        with pytest.raises(InputError, match=r"UNARIES\.SCALES .* are not two, the lower first"):
            make("UNARIES.SCALES", scales)
    with pytest.raises(InputError, match=r"UNARIES\.ADAPT\.PERIOD 0 is no number of frames"):
        make("UNARIES.ADAPT.PERIOD", 0)
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(InputError, match=f"{path} cannot be a folder of unaries"):
            make(output=path)
    assert not output.exists(), "what was refused leaves nothing behind"


def test_unaries_of_another_kind_are_not_mixed(register, make_cfg, tmp_path):
    name, output = register("2016"), tmp_path / "unaries"
    opts = "UNARIES.ITERATIONS", 1
    make_unaries(make_cfg(*opts), name, output, ["roll"])
    assert (output / "roll").is_dir()
    assert not (output / "spin").exists()
    for key, value, found in [
        ("UNARIES.ITERATIONS", 2, "'ITERATIONS: 1', not 'ITERATIONS: 2'"),
        ("SOLVER.MOMENTUM", 0.5, "'MOMENTUM: 0.9', not 'MOMENTUM: 0.5'"),
        ("TEST.FLIP", True, "'FLIP: false', not 'FLIP: true'"),
        ("SEED", 1, "'SEED: 0', not 'SEED: 1'"),
    ]:
        with pytest.raises(InputError, match=f"unaries of another config .*{found}"):
            make_unaries(make_cfg(*opts, key, value), name, output)
    (output / "roll" / "00002.png").unlink()
    with pytest.raises(InputError, match=r"roll does not have the unaries .*00002\.npy or \.png"):
        make_unaries(make_cfg(*opts), name, output)
    assert not (output / "spin").exists()
