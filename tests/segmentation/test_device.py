"""A segmentor on a simulated GPU: no mixed devices, and how often its random field waits."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch.func import functional_call

from tests.support.given_unaries import make, make_clip
from tests.support.gpu import GPUTensor, simulated_gpu

pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA is not available")


def on_gpu(model):
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        name: GPUTensor(t.detach()).requires_grad_(t.requires_grad) for name, t in tensors.items()
    }


def of_field(waits):
    return [wait for wait in waits if "/gcrf/" in wait and "pairwise" not in wait]


@pytest.mark.parametrize("phase", ["joint", "pairwise"])
def test_a_training_step(phase):
    """One wait in each pass where the field is solved, none where it is not."""
    model = make("MODEL.PHASE", phase).train()
    clips = [{"frames": make_clip()}] * 2
    with EventStorage():
        torch.manual_seed(0)
        expected = model(clips)
        sum(expected.values()).backward()
    state, solves = on_gpu(model), int(phase == "joint")
    with simulated_gpu() as waits, EventStorage():
        torch.manual_seed(0)
        losses = functional_call(model, state, (clips,))
        assert len(of_field(waits)) == solves, of_field(waits)
        waits.clear()
        sum(losses.values()).backward()
        assert len(of_field(waits)) == solves, of_field(waits)
    for name, loss in losses.items():
        torch.testing.assert_close(loss.values.detach(), expected[name].detach())
    name = "crf.field.temporal.embed.weight"
    torch.testing.assert_close(state[name].grad.values, model.get_parameter(name).grad)


def test_inference():
    """One wait a window."""
    model = make("MODEL.PHASE", "joint").eval()
    clip = make_clip() + make_clip()[:2]
    with torch.no_grad():
        (expected,) = (list(found) for found in model([{"frames": clip}]))
    for name, tensor in on_gpu(model).items():
        owner, _, last = name.rpartition(".")
        owner = model.get_submodule(owner)
        (owner._parameters if last in owner._parameters else owner._buffers)[last] = tensor
    with simulated_gpu() as waits:
        found = list(model([{"frames": clip}])[0])
        assert len(of_field(waits)) == 3, of_field(waits)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a["sem_seg"].values, b["sem_seg"])
