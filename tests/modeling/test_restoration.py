"""The loss on what couplings make of degraded frames."""

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage

from tests.modeling.conftest import BASELINE
from videogcrf_det.modeling.restoration import restoration_loss

WEIGHT = ["MODEL.VIDEO_GCRF.RESTORATION_WEIGHT", 0.5]


def maps(seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        "p3": torch.randn(3, 4, 6, 8, generator=generator),
        "p4": torch.randn(3, 4, 3, 4, generator=generator),
    }


SIZES = {"p3": [(6, 8), (5, 8), (5, 7)], "p4": [(3, 4), (3, 4), (2, 3)]}


def test_by_hand():
    coupled, uncoupled, clear = (maps(seed) for seed in range(3))
    shares = []
    for name, sizes in SIZES.items():
        left, done = (
            sum(
                ((of[name] - clear[name])[i, :, :h, :w].numpy() ** 2).sum()
                for i, (h, w) in enumerate(sizes)
            )
            for of in (coupled, uncoupled)
        )
        shares.append(left / done)
    assert restoration_loss(coupled, uncoupled, clear, SIZES).item() == pytest.approx(
        np.mean(shares), rel=1e-5
    )
    assert restoration_loss(uncoupled, uncoupled, clear, SIZES).item() == pytest.approx(1)
    assert restoration_loss(clear, uncoupled, clear, SIZES).item() == 0


def test_gradients_reach_the_coupled_features_alone():
    coupled, uncoupled, clear = (
        {name: value.requires_grad_() for name, value in maps(seed).items()} for seed in range(3)
    )
    restoration_loss(coupled, uncoupled, clear, SIZES).backward()
    assert all(value.grad.abs().max() > 0 for value in coupled.values())
    assert all(value.grad is None for of in (uncoupled, clear) for value in of.values())


def losses(model, clips):
    torch.manual_seed(0)
    with EventStorage():
        return model.train()(clips)


def degraded(clip, index):
    frame = clip["frames"][index]
    frame["clear_image"], frame["image"] = frame["image"], frame["image"] // 8
    return clip


def test_a_detector_that_changes_nothing_leaves_all_of_the_error(make_detector, make_clip):
    """Whatever the sizes of the clips, and beside the detector's own losses."""
    clips = [degraded(make_clip(3, 96, 128), 1), make_clip(2, 70, 101, seed=1)]
    found, plain = (losses(make_detector(*opts), clips) for opts in (WEIGHT, []))
    assert found["loss_restoration"].item() == pytest.approx(0.5)
    assert found.keys() - plain.keys() == {"loss_restoration"}
    for name, loss in plain.items():
        torch.testing.assert_close(found[name], loss)


def test_the_loss_is_of_the_clear_images(make_detector, make_clip):
    model = make_detector(*WEIGHT)
    for parameter in model.backbone.gcrf.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    clips = [degraded(make_clip(3, 90, 120), 2)]
    found = losses(model, clips)["loss_restoration"]
    shown = [frame["image"] for frame in clips[0]["frames"]]
    clear = [*shown[:2], clips[0]["frames"][2]["clear_image"]]
    with torch.no_grad():
        seen, target = (
            model.preprocess_image([{"image": image} for image in images])
            for images in (shown, clear)
        )
        features = [model.backbone.bottom_up(images.tensor) for images in (seen, target)]
        coupled = model.backbone.couple(features[0], [3], seen.image_sizes)
    shares = []
    for name in model.backbone.gcrf:
        stride = model.backbone.output_shape()[name].stride
        cells = np.s_[..., : -(-90 // stride), : -(-120 // stride)]
        left, done = (
            (of[name] - features[1][name])[cells].square().sum() for of in (coupled, features[0])
        )
        shares.append((left / done).item())
    assert found.item() == pytest.approx(0.5 * np.mean(shares), rel=1e-3)
    found.backward()
    for name, parameter in model.named_parameters():
        if "gcrf" not in name:
            assert parameter.grad is None, name
        elif parameter.requires_grad:
            assert parameter.grad.abs().max() > 0, name


def test_without_degraded_frames_it_is_zero(make_detector, make_clip):
    found = losses(make_detector(*WEIGHT), [make_clip(2)])["loss_restoration"]
    assert found.item() == 0
    found.backward()


def test_a_detector_without_couplings_has_no_such_loss(make_detector, make_clip):
    found = losses(make_detector(*WEIGHT, *BASELINE), [degraded(make_clip(2), 0)])
    assert "loss_restoration" not in found
