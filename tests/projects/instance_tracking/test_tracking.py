"""Given unaries, couplings that recover what they miss, and training on them."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from video_tracking import TrackingTrainer, add_tracking_config
from video_tracking.davis import VOID, read_object_mask
from video_tracking.unaries import unary_stem, write_unary

from tests.support.drawn import CONFIGS, TINY
from videogcrf_det.data import load_clips
from videogcrf_det.engine import build_cfg
from videogcrf_det.errors import InputError
from videogcrf_det.gcrf import Embeddings
from videogcrf_det.segmentation import run_phases

CONFIG = f"{CONFIGS}/quick_R_50_3f.yaml"
LOST = 2  # the frame on which the unaries miss the object
ALL_PHASES = Namespace(phase="all", eval_only=False, resume=False, config_file=CONFIG, opts=[])


@pytest.fixture
def unaries(register, tmp_path):
    """A registered data set, and a folder with its unaries, which miss the object of one frame."""
    name = register("2016")
    for record in DatasetCatalog.get(name):
        write_unary(f"{unary_stem(tmp_path / 'unaries', record)}.png", probability(record))
    return name, tmp_path / "unaries"


def probability(record):
    """Of the foreground: the object is found but on one frame, where it is nearly."""
    return np.where(
        read_object_mask(record) == 1, 0.45 if record["frame_id"] == LOST else 0.95, 0.1
    )


@pytest.fixture
def make_cfg(unaries, tmp_path):
    """The config of a tiny model on these, and further overrides."""

    def make(*opts):
        name, folder = unaries
        words = [*TINY, "DATASETS.TRAIN", f"('{name}',)", "DATASETS.TEST", f"('{name}',)"]
        words += ["INPUT.UNARIES", folder, "OUTPUT_DIR", tmp_path / "out", *opts]
        return build_cfg(CONFIG, list(map(str, words)), add_tracking_config)

    return make


def videos_of(cfg):
    return [
        v for batch in TrackingTrainer.build_test_loader(cfg, cfg.DATASETS.TEST[0]) for v in batch
    ]


def evaluate(cfg, model):
    evaluator = TrackingTrainer.build_evaluator(cfg, cfg.DATASETS.TEST[0])
    evaluator.reset()
    for video in videos_of(cfg):
        evaluator.process([video], model.eval()([video]))
    evaluator.evaluate()
    return evaluator.sequences["roll"]["tracking"]


def test_given_unaries_reach_the_model_as_they_are(make_cfg):
    cfg = make_cfg("MODEL.PHASE", "unary")
    video = videos_of(cfg)[0]
    (found,) = build_model(cfg).eval()([video])
    for record, output in zip(video["records"], found, strict=True):
        assert np.allclose(output["sem_seg"][1], probability(record), atol=1e-4)


def test_labels_and_unaries_follow_the_frames(make_cfg):
    """Scaled, cropped and mirrored alike: where the frame is bright, label and unary say so."""
    cfg = make_cfg("INPUT.MIN_SIZE_TRAIN", "(40, 70)", "INPUT.CROP.SIZE", "[32, 40]")
    mapper = TrackingTrainer.build_train_mapper(cfg)
    clips = load_clips(cfg.DATASETS.TRAIN, 2, filter_empty=False)
    for seed in range(6):
        np.random.seed(seed)  # noqa: NPY002
        for frame in mapper(clips[0])["frames"]:  # frames 0 and 1, which the unaries know
            image, labels, unary = frame["image"].float(), frame["sem_seg"], frame["unary"]
            assert image.shape[1:] == labels.shape == unary.shape[1:]
            yellow = image[2] - image[0] > 90  # BGR
            if yellow.any():
                assert ((labels == 1) == yellow).float().mean() > 0.97
                assert ((unary[1] > unary[0]) == yellow).float().mean() > 0.97


def test_frames_without_annotation_are_void(root, make_cfg):
    cfg = make_cfg()
    (root / "Annotations/240p/roll/00003.png").unlink()
    frames = list(videos_of(cfg)[0]["frames"])
    assert (frames[3]["sem_seg"] == VOID).all()
    assert (frames[2]["sem_seg"] != VOID).all()


@pytest.mark.parametrize("kind", ["spatial", "temporal"])
def test_temporal_couplings_recover_a_lost_frame(make_cfg, monkeypatch, kind):
    """With embeddings that know which cells are of one object, and background inhibited more.

    An object's cells have T(background) = e, T(foreground) = 0.4 e, others none. What speaks for
    the foreground on one frame then speaks against both on all frames, but more so against the
    background. The same embeddings within each frame alone recover nothing.
    """
    cfg = make_cfg("MODEL.PHASE", "joint", "INPUT.MIN_SIZE_TEST", 192, "INPUT.CLIP.NUM_FRAMES", 5)
    model = build_model(cfg)
    masks = iter([])

    def embeddings(features, valid_sizes=None):
        rows, columns = features.shape[2:]
        mask = torch.from_numpy(next(masks))[None, None].float()
        # cells of the object alone: those at its border know of the background as well
        inside = (torch.nn.functional.adaptive_avg_pool2d(mask, (rows, columns)) == 1).flatten()
        sizes = cfg.MODEL.VIDEO_GCRF.SPATIAL_DIM, cfg.MODEL.VIDEO_GCRF.TEMPORAL_DIM
        found = [torch.zeros(1, size, 2 * rows * columns) for size in sizes]
        # labels come first, positions within them
        found[kind == "temporal"][0, 0] = torch.cat([inside, 0.4 * inside])
        return Embeddings(*found)

    monkeypatch.setattr(model.crf, "embeddings", embeddings)
    unary = build_model(make_cfg("MODEL.PHASE", "unary"))
    before = evaluate(cfg, unary)
    records = DatasetCatalog.get(cfg.DATASETS.TEST[0])
    masks = iter([read_object_mask(record) == 1 for record in records])
    after = evaluate(cfg, model)
    assert before["J"] == pytest.approx(75), "one of four frames is lost"
    if kind == "spatial":
        assert after["J"] == pytest.approx(75)
    else:
        assert after["J-recall"] == pytest.approx(100)
        assert after["J"] > 85


def test_training_on_given_unaries(make_cfg):
    """Both phases; the unaries stay as they are, and embeddings learn."""
    opts = ["INPUT.CROP.ENABLED", "False", "INPUT.MIN_SIZE_TRAIN", "(48, 48)"]
    opts += ["PHASES.PAIRWISE.MAX_ITER", 3, "PHASES.JOINT.MAX_ITER", 3]
    cfg = make_cfg(*opts)
    results = run_phases(TrackingTrainer, cfg, ALL_PHASES)
    assert 0 <= results["tracking"]["J"] <= 100
    assert results["pairwise"]["chance"] == 25
    folder = f"{cfg.OUTPUT_DIR}/{{}}/inference/{cfg.DATASETS.TEST[0]}/evaluation.json"
    for phase in ("pairwise", "joint"):
        with open(folder.format(phase)) as file:
            assert json.load(file)["results"]["tracking"].keys() >= {"J", "F", "mIoU"}
    # the row without couplings
    args = Namespace(phase="unary", eval_only=True, resume=False, config_file=CONFIG, opts=[])
    given = run_phases(TrackingTrainer, cfg, args)
    assert "pairwise" not in given
    assert given["tracking"]["J"] == pytest.approx((75 + 200 / 3) / 2)


def test_given_unaries_alone_need_no_weights(make_cfg):
    """Nothing is loaded that is not used: the file of weights is not even there."""
    cfg = make_cfg("MODEL.WEIGHTS", "nowhere.pkl")
    args = Namespace(phase="unary", eval_only=True, resume=False, config_file=CONFIG, opts=[])
    given = run_phases(TrackingTrainer, cfg, args)
    assert given["tracking"]["J"] == pytest.approx((75 + 200 / 3) / 2)
    cost = json.loads(next(Path(cfg.OUTPUT_DIR).rglob("cost.json")).read_text())
    assert cost["parameters"] == 0


def test_no_bars_and_no_times_that_nobody_measured_in_logs(make_cfg, capfd):
    cfg = make_cfg()
    args = Namespace(phase="unary", eval_only=True, resume=False, config_file=CONFIG, opts=[])
    run_phases(TrackingTrainer, cfg, args)
    out, err = capfd.readouterr()
    assert "frame/s" not in err, "a bar where there is no terminal"
    assert "it/s" not in err
    assert "pure compute time" not in out
    assert "11 frames in" in out


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        ([], r"no unaries .*spin/00003.npy or .png"),
        (["INPUT.UNARIES", "''"], r"INPUT.UNARIES is empty, and .*GivenUnaries takes unaries from"),
    ],
)
def test_unaries_are_looked_at_before_anything_is_done(unaries, make_cfg, opts, sentence):
    """Those of the evaluation too, which is the last thing to be done."""
    (unaries[1] / "spin/00003.png").unlink()
    cfg = make_cfg(*opts)
    with pytest.raises(InputError, match=sentence):
        TrackingTrainer.training_clips(cfg)
    with pytest.raises(InputError, match=sentence):
        run_phases(TrackingTrainer, cfg, ALL_PHASES)
    assert not Path(cfg.OUTPUT_DIR).exists()
