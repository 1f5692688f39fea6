"""Frames that nobody annotated take part in the random field, and in no loss."""

import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage

from tests.modeling.conftest import BASELINE
from tests.support.models import couple_for_real


def losses_of(model, clips):
    with EventStorage():
        torch.manual_seed(0)  # of the samples of anchors and proposals
        return model(clips)


def without_labels(clip, *positions):
    """The clip with nothing to be seen of the instances of some frames; they are not annotated."""
    frames = list(clip["frames"])
    for position in positions:
        instances = frames[position]["instances"][[]]
        instances.gt_boxes = Boxes(torch.zeros(0, 4))
        frames[position] = {**frames[position], "instances": instances, "annotated": False}
    return {**clip, "frames": frames}


def test_the_loss_is_that_of_the_annotated_frames_alone(make_detector, make_clip):
    """Without couplings the others might as well not be there."""
    model = make_detector(*BASELINE).train()
    clip = make_clip(4)
    few = losses_of(model, [without_labels(clip, 0, 2, 3)])
    alone = losses_of(model, [{"frames": [clip["frames"][1]]}])
    assert few.keys() == alone.keys()
    for name, loss in few.items():
        assert loss.item() == pytest.approx(alone[name].item(), rel=1e-4), name


def gradients(model, clip):
    """For each frame the greatest gradient of the losses with respect to its pixels."""
    images = []
    preprocess = model.preprocess_image

    def watched(frames):
        batch = preprocess(frames)
        batch.tensor.requires_grad_(True)
        images.append(batch.tensor)
        return batch

    model.preprocess_image = watched
    try:
        sum(losses_of(model, [clip]).values()).backward()
    finally:
        del model.preprocess_image
    return images[0].grad.abs().amax((1, 2, 3)).tolist()


def test_other_frames_get_gradients_through_the_field_alone(make_detector, make_clip):
    clip = without_labels(make_clip(3), 0, 2)
    trained = ["MODEL.BACKBONE.FREEZE_AT", "0"]
    before, annotated, after = gradients(make_detector(*BASELINE, *trained).train(), clip)
    assert annotated > 0
    assert before == after == 0, "per frame"
    coupled = couple_for_real(make_detector(*trained)).train()
    assert min(gradients(coupled, clip)) > 0, "coupled"


def test_no_annotated_frame_of_a_clip_depends_on_labels_of_others(make_detector, make_clip):
    """The losses are the same whatever the instances of frames that are not annotated."""
    model = couple_for_real(make_detector()).train()
    clip = make_clip(3)
    few = losses_of(model, [without_labels(clip, 0)])
    frames = [{**clip["frames"][0], "annotated": False}, *clip["frames"][1:]]
    for name, loss in losses_of(model, [{"frames": frames}]).items():
        assert loss.item() == few[name].item(), name
