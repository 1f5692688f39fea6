"""Layers in torch.compile and torch.export: one graph without a break, and the same results."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from tests.support.reference import random_problem
from videogcrf_det.gcrf import VideoGCRF, gcrf_inference, temporal_coupling

OPTIONS = [
    {},
    {"num_labels": 3},
    {"spatial_dim": 0, "neighbourhood": (1,)},
    {"distance_decay": 2.0, "learn_distance_decay": True, "learn_lam": True},
]


@pytest.fixture(autouse=True)
def _nothing_stays_compiled():
    yield
    torch._dynamo.reset()


def make(options):
    torch.manual_seed(0)
    module = VideoGCRF.build(5, **{"spatial_dim": 4, "temporal_dim": 4, "conv_dim": 4, **options})
    torch.nn.init.normal_(module.output.weight)
    unary = {"unary": torch.randn(4, 3, 6, 7)} if "num_labels" in options else {}
    return module, (torch.randn(4, 5, 6, 7), [4]), unary


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_training_in_one_graph(options):
    module, args, unary = make(options)
    results = []
    for run in (module, torch.compile(module, backend="aot_eager", fullgraph=True)):
        module.zero_grad()
        x = run(*args, **unary, valid_sizes=[(6, 7), (6, 7), (5, 6), (5, 6)])
        x.square().sum().backward()
        results.append([x.detach(), *(p.grad for p in module.parameters())])
    torch.testing.assert_close(results[1], results[0])


def test_export():
    module, args, _ = make({})
    with torch.no_grad():
        exported = torch.export.export(module, args).module()
        torch.testing.assert_close(exported(*args), module(*args))


def test_videos_of_other_sizes_are_not_compiled_anew():
    module, _, _ = make({})
    counter = CompileCounterWithBackend("eager")
    run = torch.compile(module, backend=counter, fullgraph=True)
    with torch.no_grad():
        for height, width in ((6, 7), (5, 8), (9, 4), (7, 11), (10, 6)):
            features = torch.randn(4, 5, height, width)
            torch.testing.assert_close(run(features, [4]), module(features, [4]))
    assert counter.frame_count <= 2  # the second for all sizes


def test_half_precision_and_what_needs_no_gradient():
    problem = random_problem(3)
    unary, spatial, temporal = (t.half() for t in problem[:3])
    spatial.requires_grad_()
    grads = []
    for run in (gcrf_inference, torch.compile(gcrf_inference, backend="aot_eager", fullgraph=True)):
        x = run(unary, spatial, temporal, temporal_coupling(3), 0.5)
        assert x.dtype == torch.half
        grads.append([x.detach(), *torch.autograd.grad(x.sum(), spatial)])
    torch.testing.assert_close(grads[1], grads[0])


def test_values_are_looked_at_when_it_is_run():
    tensors = [t.float() for t in random_problem(3)[:3]]
    run = torch.compile(gcrf_inference, backend="eager", fullgraph=True)
    run(*tensors, temporal_coupling(3), 1.0)
    tensors[1][0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="spatial holds values that are not finite"):
        run(*tensors, temporal_coupling(3), 1.0)
