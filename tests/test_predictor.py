import itertools
import weakref

import numpy as np
import pytest
import torch
from detectron2.data.detection_utils import read_image
from detectron2.modeling import build_model

from tests.conftest import CONFIG
from tests.support.models import couple_for_real
from videogcrf_det import InputError
from videogcrf_det.data import VideoDatasetMapper, load_videos
from videogcrf_det.engine import build_cfg
from videogcrf_det.predictor import VideoPredictor


@pytest.fixture
def make_cfg(small, tmp_path):
    """A config with weights of its model, in which the random field changes the features."""

    def make(*opts):
        path = tmp_path / "weights.pth"
        cfg = build_cfg(CONFIG, [*small, *map(str, opts), "MODEL.WEIGHTS", str(path)])
        torch.manual_seed(0)
        model = build_model(cfg)
        if hasattr(model.backbone, "gcrf"):
            couple_for_real(model)
        torch.save({"model": model.state_dict()}, path)
        return cfg

    return make


def fields(instances):
    """What was detected on each frame, for comparisons bit by bit."""
    return [
        [i.pred_boxes.tensor.tolist(), i.scores.tolist(), i.pred_masks.nonzero().tolist()]
        for i in instances
    ]


@pytest.mark.parametrize(
    "opts",
    [
        [],
        ["INPUT.FORMAT", "RGB", "INPUT.MIN_SIZE_TEST", 40, "INPUT.CLIP.NUM_FRAMES", 3],
        ["TEST.WINDOW_STEP", 2],
    ],
)
def test_detections_are_those_of_the_evaluation(make_cfg, mini_data, opts):
    cfg = make_cfg(*opts)
    predictor = VideoPredictor(cfg)
    video = load_videos(mini_data["val"])[0]
    (expected,) = predictor.model([VideoDatasetMapper(cfg, is_train=False)(video)])
    frames = [read_image(record["file_name"], "BGR") for record in video["frames"]]
    predictions = list(predictor(iter(frames)))
    assert all(p.frame is frame for p, frame in zip(predictions, frames, strict=True))
    found = fields(prediction.instances for prediction in predictions)
    assert any(scores for _, scores, _ in found)
    assert found == fields(output["instances"] for output in expected)
    # and the frames are seen together, not one by one
    assert found != fields(next(predictor([frame])).instances for frame in frames)


def test_an_endless_video_with_little_latency_and_memory(make_cfg):
    num_frames = 3
    opts = ["INPUT.CLIP.NUM_FRAMES", num_frames, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", 1.0]
    predictor = VideoPredictor(make_cfg(*opts))
    read, alive = 0, set()

    def frames():
        nonlocal read
        for number in itertools.count():
            frame = np.full((48, 64, 3), number, np.uint8)
            alive.add(number)
            weakref.finalize(frame, alive.discard, number)
            read += 1
            yield frame

    predictions = predictor(frames())
    assert read == 0
    for number, prediction in enumerate(itertools.islice(predictions, 40)):
        assert (prediction.frame == number).all()
        assert read == number + num_frames
        assert len(alive) <= num_frames + 1
        assert prediction.instances.image_size == (48, 64)


def test_short_videos(make_cfg):
    predictor = VideoPredictor(make_cfg("INPUT.CLIP.NUM_FRAMES", 4))
    for length in range(4):
        frames = [np.zeros((48, 64, 3), np.uint8)] * length
        assert len(list(predictor(frames))) == length


FIELDS = ["MODEL.VIDEO_GCRF.FIELDS", "f.pth"]
STOCK = ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN"]


@pytest.mark.parametrize(
    ("opts", "sentence"),
    [
        ([*STOCK, "TEST.FRAMES_PER_BATCH", 0, *FIELDS], "FRAMES_PER_BATCH is 0"),
        (["TEST.LATENCY", -2, *FIELDS], "LATENCY is -2"),
        (["MODEL.VIDEO_GCRF.STRENGTH", 1.5, *FIELDS], "STRENGTH must"),
        (FIELDS, r"there are no fields at f\.pth"),
        (
            [*FIELDS, "MODEL.BACKBONE.NAME", "build_video_gcrf_backbone"],
            "without random fields of its own: set MODEL.BACKBONE.NAME build_resnet_fpn_backbone",
        ),
        (["INPUT.FORMAT", "L"], r"INPUT\.FORMAT must be BGR or RGB, got L"),
    ],
)
def test_bad_configs(make_cfg, opts, sentence):
    cfg = make_cfg("MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone", *opts)
    with pytest.raises(InputError, match=sentence):
        VideoPredictor(cfg)


def test_without_weights(small):
    with pytest.raises(InputError, match=r"MODEL\.WEIGHTS is empty"):
        VideoPredictor(build_cfg(CONFIG, small))


def test_models_of_single_frames(make_cfg):
    """A stock meta-architecture finds on each frame what it finds on the frame alone."""
    stock = ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN"]
    stock += ["MODEL.BACKBONE.NAME", "build_resnet_fpn_backbone"]
    predictor = VideoPredictor(make_cfg(*stock))
    frames = [np.full((48, 64, 3), 90 * number, np.uint8) for number in range(3)]
    for frame, prediction in zip(frames, predictor(frames), strict=True):
        (alone,) = predictor([frame])
        assert np.array_equal(prediction.instances.scores, alone.instances.scores)


def test_identities_of_a_tracker_of_one_s_own_begin_anew_in_every_video(make_cfg):
    class Counter:
        def __init__(self):
            self.frames = []

        def update(self, frame, instances):
            self.frames.append(frame)
            return [100 * len(self.frames) + i for i in range(len(instances))]

    opts = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0]
    frames = [np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8) for i in range(2)]
    predictor = VideoPredictor(make_cfg(*opts), make_tracker=Counter)
    for _ in range(2):
        for number, (_, instances) in enumerate(predictor(frames), start=1):
            assert len(instances)
            expected = [100 * number + i for i in range(len(instances))]
            assert instances.track_ids.tolist() == expected
