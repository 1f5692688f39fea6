"""Unaries that come with the frames."""

import pytest
import torch
from detectron2.utils.events import EventStorage

from tests.support.given_unaries import make, make_clip
from videogcrf_det.errors import InputError


def segment(model, clip):
    return torch.stack([out["sem_seg"] for out in model.eval().segment_video(clip)])


def silence(model):
    """Embeddings of zero couple nothing."""
    for branch in (model.crf.field.spatial, model.crf.field.temporal):
        for parameter in branch.embed.parameters():
            torch.nn.init.zeros_(parameter)


def test_without_couplings_they_keep_their_resolution():
    clip, model = make_clip(), make("MODEL.PHASE", "joint")
    unaries = torch.stack([frame["unary"] for frame in clip]).softmax(1)
    assert not torch.allclose(segment(model, clip), unaries, atol=1e-5)
    silence(model)
    assert torch.allclose(segment(model, clip), unaries)
    assert torch.allclose(segment(make("MODEL.PHASE", "unary"), clip), unaries)


def test_what_couplings_change_is_added_at_pixels():
    clip, model = make_clip(), make("MODEL.PHASE", "joint").eval()
    given_unaries = torch.stack([frame["unary"] for frame in clip])
    with torch.no_grad():
        features = model.backbone(model._images(clip).tensor)
        cells = torch.nn.functional.avg_pool2d(given_unaries, 8)  # 40 x 56 pixels are 5 x 7 cells
        cells -= cells.min(1, keepdim=True).values
        change = model.crf(features["res3"], [3], unary=cells) - cells
        pixels = torch.nn.functional.interpolate(change, (40, 56), mode="bilinear")
    assert torch.allclose(segment(model, clip), (given_unaries + pixels).softmax(1))


def test_mirrored_frames_come_with_mirrored_unaries():
    clip, model = make_clip(), make("MODEL.PHASE", "joint", "TEST.FLIP", True)
    mirrored = [{**f, "image": f["image"].flip(2), "unary": f["unary"].flip(2)} for f in clip]
    assert torch.allclose(segment(model, clip), segment(model, mirrored).flip(3))


def test_the_loss_is_that_of_the_scores_at_pixels():
    clip, model = make_clip(), make("MODEL.PHASE", "joint").train()
    with EventStorage():
        found = model([{"frames": clip}])["loss_sem_seg"]
    labels = torch.stack([frame["sem_seg"] for frame in clip])
    likelihood = segment(model, clip).gather(1, labels[:, None])
    assert torch.isclose(found, -likelihood.log().mean())
    assert found.requires_grad


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.pop("unary"), "of 2 labels, and there are none"),
        (lambda frame: frame.update(unary=torch.zeros(3, 40, 56)), "and there are 3 labels"),
    ],
)
def test_frames_without_the_unaries(change, words):
    clip = make_clip()
    for frame in clip:
        change(frame)
    with pytest.raises(InputError, match=words):
        segment(make("MODEL.PHASE", "unary"), clip)
