"""A detector on a simulated GPU: no mixed devices, and how often its random fields wait."""

import pytest
from detectron2.utils.events import EventStorage
from torch.func import functional_call

from tests.support.gpu import GPUTensor, simulated_gpu
from tests.support.models import couple_for_real


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("training", [False, True])
def test_random_fields_wait_once_in_each_pass(make_detector, make_clip, training):
    model = couple_for_real(make_detector("MODEL.VIDEO_GCRF.RTOL", 1e-3)).train(training)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    state = {
        name: GPUTensor(t.detach()).requires_grad_(t.requires_grad) for name, t in tensors.items()
    }
    fields = sum(".gcrf." in n and n.endswith("log_lam") for n in tensors)
    with simulated_gpu() as waits, EventStorage():
        result = functional_call(model, state, ([make_clip(3, 96, 128)],))
        of_fields = [w for w in waits if "/gcrf/" in w]
        assert len(of_fields) == fields > 0, of_fields
        if training:
            waits.clear()
            sum(result.values()).backward()
            of_fields = [w for w in waits if "/gcrf/" in w]
            assert len(of_fields) == fields, of_fields
            assert state["roi_heads.box_predictor.cls_score.weight"].grad is not None
