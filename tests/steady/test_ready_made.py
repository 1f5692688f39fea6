"""Fields that know nothing of a detector: what they see in pictures, and where they are used."""

import cv2
import numpy as np
import pytest
import torch

from tests.support.models import same
from videogcrf_det.data.degrade import DEGRADATIONS, blur, darken
from videogcrf_det.errors import InputError
from videogcrf_det.steady.attach import Pictures, attach, detach, detect_video
from videogcrf_det.steady.detector import demo_cfg
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.fit import FitOptions
from videogcrf_det.steady.hand_made import HandMade
from videogcrf_det.steady.picture import PictureBranch, pooling_weights
from videogcrf_det.steady.ready_made import READY_MADE, ReadyMade, load_fields
from videogcrf_det.steady.train_ready_made import load_backbone, moving_window, train_ready_made

BACKBONE = "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml MODEL.DEVICE cpu MODEL.WEIGHTS ''"
SMALL = " MODEL.RESNETS.DEPTH 18 MODEL.RESNETS.RES2_OUT_CHANNELS 64 MODEL.FPN.OUT_CHANNELS 8"


@pytest.fixture(scope="module")
def photo(mini_root):
    """A drawn frame, (H, W, 3) BGR, large enough to be looked at."""
    path = next(iter(sorted((mini_root / "JPEGImages").rglob("*.jpg"))))
    return cv2.resize(cv2.imread(str(path)), (320, 192))


def pictures_of(*frames):
    return torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2)).float() / 255


@torch.no_grad()
@pytest.mark.parametrize(
    ("fields", "degrade"),
    [
        *((ReadyMade.load(), degrade) for degrade in DEGRADATIONS),
        *((HandMade(), degrade) for degrade in (blur, darken)),
    ],
)
def test_a_frame_of_which_little_can_be_seen_is_trusted_less(fields, degrade, photo):
    """Its features are then those of its neighbours, whatever the backbone."""
    spoilt = degrade(photo, np.random.default_rng(1))
    features = {"p2": torch.zeros(2, 3, 48, 80), "res4": torch.zeros(2, 7, 12, 20)}
    described = fields.describe(features, pictures_of(photo, spoilt))
    for embedding, confidence, *_ in described.values():
        clear, bad = confidence.flatten(1).log().mean(1)
        assert bad < clear - 0.2
        assert torch.allclose(embedding.square().sum(1), torch.ones(()), atol=1e-4)


@pytest.mark.parametrize(("length", "parts"), [(12, 4), (13, 4), (97, 25), (3, 3), (3, 5)])
def test_means_of_parts(length, parts):
    values = torch.rand(1, length)
    expected = torch.nn.functional.adaptive_avg_pool1d(values, parts)
    found = values @ torch.from_numpy(pooling_weights(length, parts)).T
    torch.testing.assert_close(found, expected)


def test_maps_are_as_large_as_the_features(make_model):
    branch = PictureBranch(dim=3, width=4)
    sizes = {"a": (25, 33), "b": (13, 17), "p6": (2, 3), "same": (50, 66)}
    features = {name: torch.zeros(2, 1, *size) for name, size in sizes.items()}
    made = branch(torch.rand(2, 3, 100, 132), features)
    assert {name: tuple(maps.shape) for name, maps in made.items()} == {
        name: (2, 4, *size) for name, size in sizes.items()
    }


@torch.no_grad()
@pytest.mark.parametrize("name", ["Mask R-CNN", "C4", "RetinaNet"])
def test_any_detector(name, make_model, make_frames):
    model, frames = make_model(name), make_frames(3)
    before = [model([frame])[0] for frame in frames]
    attach(model)
    after = list(detect_video(model, frames))
    assert same(after[0], before[0])  # latency 0
    assert not same(after[2], before[2])
    detach(model)
    attach(model, strength=0.0, latency=1)
    assert all(same(a, b) for a, b in zip(detect_video(model, frames), before, strict=True))


def test_pictures_are_what_a_model_is_shown(make_model, photo):
    model = make_model()
    frame = torch.from_numpy(photo.transpose(2, 0, 1).copy())
    images = model.preprocess_image([{"image": frame}]).tensor
    shown = Pictures(model)(images)[0, :, : len(photo), : photo.shape[1]]
    torch.testing.assert_close(shown * 255, frame.float(), atol=1e-3, rtol=0)
    model.input_format = "RGB"
    assert torch.equal(Pictures(model)(images).flip(1)[0, :, : len(photo)], shown)
    del model.pixel_std
    with pytest.raises(InputError, match="no pixel_mean and pixel_std"):
        Pictures(model)


@torch.no_grad()
def test_a_fit_may_begin_with_them(make_model, tmp_path, photo):
    model, start = make_model(), ReadyMade.load()
    fields = SteadyFields.for_model(model, start.picture)
    features = model.backbone(torch.randn(1, 3, 192, 320))
    expected = start.describe(features, pictures_of(photo))
    fields.save(tmp_path / "fields.pth")
    for ours in (fields, SteadyFields.load(tmp_path / "fields.pth")):
        found = ours.describe(features, pictures_of(photo))
        for name, parts in expected.items():
            for a, b in zip(found[name][:2], parts[:2], strict=True):
                torch.testing.assert_close(a, b)


def test_training_for_several_backbones(tmp_path, photo):
    folder = tmp_path / "video"
    folder.mkdir()
    for index in range(20):
        cv2.imwrite(str(folder / f"{index:05d}.png"), photo)
    backbones = [BACKBONE + SMALL, BACKBONE + SMALL + " INPUT.FORMAT RGB"]
    output = tmp_path / "made.pth"
    done = train_ready_made(backbones, [str(folder)], output, FitOptions(iterations=2))
    content = torch.load(output, weights_only=True)
    assert content["weights"].keys() == done.state_dict().keys()
    assert any(
        not torch.equal(value, ReadyMade().state_dict()[name])
        for name, value in content["weights"].items()
    )
    assert load_backbone(backbones[1]).rgb


def test_a_moving_window_keeps_clips_alike():
    frames = [np.full((60, 80, 3), value, np.uint8) for value in (10, 20, 30)]
    for seed in range(8):
        ours, other = moving_window([frames, frames[::-1]], np.random.default_rng(seed))
        assert len({frame.shape for frame in (*ours, *other)}) == 1
        assert [int(frame.mean()) for frame in ours] == [10, 20, 30]
        assert [int(frame.mean()) for frame in other] == [30, 20, 10]


def test_they_have_a_name():
    assert isinstance(load_fields(READY_MADE), ReadyMade)
    with pytest.raises(InputError, match="give one with --config-file"):
        demo_cfg(None, READY_MADE)
