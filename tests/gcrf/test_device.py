"""Solvers on a GPU that is simulated: no mixed devices, and how often the CPU waits."""

import pytest
import torch
from torch.func import functional_call

from tests.support.gpu import DEVICE, GPUTensor, simulated_gpu
from tests.support.reference import NEIGHBOURHOODS, random_problem
from videogcrf_det.gcrf import (
    IndefiniteError,
    VideoGCRF,
    average,
    gcrf_inference,
    temporal_coupling,
    weighted_average,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA is not available")


def inputs(neighbourhood=(), dtype=torch.float32):
    """unary, A and T as leaves on the CPU, W and lam."""
    problem = random_problem(4, neighbourhood, lam=1.0)
    tensors = [t.to(dtype).requires_grad_() for t in problem[:3]]
    return [*tensors, temporal_coupling(4, neighbourhood)], problem.lam


def on_gpu(tensors):
    return [GPUTensor(t.detach()).requires_grad_() for t in tensors]


def both_passes(infer, *tensors):
    """x, its gradients, and what waited forward and backward."""
    with simulated_gpu() as waits:
        x = infer(*tensors)
        forward = list(waits)
        waits.clear()
        x.backward(torch.ones_like(x))
        return x, [t.grad for t in tensors], forward, list(waits)


def equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, GPUTensor)
        torch.testing.assert_close(a.values.detach(), b.detach(), rtol=1e-4, atol=1e-5)


def test_the_simulated_device():
    with simulated_gpu() as waits:
        values = torch.arange(4.0, device=DEVICE)
        assert (values + 1).device == DEVICE
        assert not waits
        with pytest.raises(RuntimeError, match="mixes tensors"):
            values + torch.ones(4)
        assert values.sum() == 6
        assert values[1].item() == 1
        assert values.cpu().tolist() == [0, 1, 2, 3]
        assert len(waits) == 3


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
@pytest.mark.parametrize("learnt_lam", [False, True])
def test_a_direct_solve_waits_once_in_each_pass(neighbourhood, learnt_lam):
    """With W on the CPU, as temporal_coupling makes it."""
    tensors, lam = inputs(neighbourhood)
    coupling = tensors.pop()
    given = [*tensors, torch.tensor(lam, requires_grad=True)] if learnt_lam else tensors

    def infer(unary, spatial, temporal, lam=lam):
        return gcrf_inference(unary, spatial, temporal, coupling, lam, solver="direct")

    x, grads, forward, backward = both_passes(infer, *on_gpu(given))
    assert len(forward) == 1, forward
    assert len(backward) == 1, backward
    expected = infer(*given)
    expected.sum().backward()
    equal([x, *grads], [expected, *(t.grad for t in given)])


def test_conjugate_gradients_wait_every_few_steps():
    tensors, lam = inputs()
    coupling = tensors.pop()

    def infer(*given):
        return gcrf_inference(*given, coupling, lam, solver="cg")

    x, grads, forward, backward = both_passes(infer, *on_gpu(tensors))
    assert len(forward) <= 10, forward
    assert len(backward) <= 10, backward
    expected = infer(*tensors)
    expected.sum().backward()
    equal([x, *grads], [expected, *(t.grad for t in tensors)])


@pytest.mark.parametrize("dense", [0, 256])
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_an_average_waits_once(neighbourhood, dense, monkeypatch):
    monkeypatch.setattr(average, "DENSE", dense)
    coupling = temporal_coupling(4, neighbourhood)
    given = [
        t.requires_grad_()
        for t in (torch.randn(2, 4, 6, 3), torch.rand(2, 4, 6) + 0.1, torch.rand(2, 4, 5, 6))
    ]
    x, grads, forward, backward = both_passes(
        lambda *some: weighted_average(*some, coupling), *on_gpu(given)
    )
    assert len(forward) == 1, forward
    assert not backward
    expected = weighted_average(*given, coupling)
    expected.sum().backward()
    equal([x, *grads], [expected, *(t.grad for t in given)])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", range(3))
def test_values_that_are_not_finite(which, value):
    tensors, lam = inputs()
    coupling = tensors.pop()
    tensors[which].data.flatten()[3] = value
    with simulated_gpu(), pytest.raises(ValueError, match=r"not finite|overflows"):
        gcrf_inference(*on_gpu(tensors), coupling, lam, solver="direct")


@pytest.mark.parametrize("lam", [0.0, -1.0, float("nan")])
def test_lam_is_looked_at_all_the_same(lam):
    tensors, _ = inputs()
    coupling = tensors.pop()
    given = [*on_gpu(tensors), coupling, GPUTensor(torch.tensor(lam))]
    with simulated_gpu(), pytest.raises(ValueError, match="lam must be above 0"):
        gcrf_inference(*given, solver="direct")


def test_indefinite_couplings_are_found():
    tensors, _ = inputs()
    tensors[3] = temporal_coupling(4, self_coupling="zero")
    with simulated_gpu(), pytest.raises(IndefiniteError, match=r"lam = 0\.01"):
        gcrf_inference(*on_gpu(tensors[:3]), tensors[3], 0.01, solver="direct")


def test_w_may_be_on_the_gpu():
    """As may what is solved with another default device."""
    tensors, lam = inputs()
    with simulated_gpu():
        found = gcrf_inference(*on_gpu(tensors), lam)
    equal([found], [gcrf_inference(*tensors, lam)])


@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_another_default_device(solver):
    tensors, lam = inputs((1,))
    expected = gcrf_inference(*tensors, lam, solver=solver)
    torch.set_default_device("meta")
    try:
        assert temporal_coupling(4, (1, 2), distance_decay=2.0).device.type == "cpu"
        x = gcrf_inference(*tensors, lam, solver=solver)
        x.backward(expected.detach())
        # a harder one, that is refined
        gcrf_inference(*tensors, 1e-4, solver="direct")
        average = tensors[0].detach(), tensors[1].detach()[:, :, 0].exp(), tensors[2].detach().exp()
        assert weighted_average(*average, tensors[3]).isfinite().all()
    finally:
        torch.set_default_device(None)
    torch.testing.assert_close(x, expected)


FIELDS = [
    {},
    {"spatial_dim": 0, "neighbourhood": (1,)},
    {"temporal_dim": 0, "fusion": "replace"},
    {"coupled": False},
    {"distance_decay": 2.0, "learn_lam": True},
    {"num_labels": 3},
    {"pairwise": "average", "dim": 4},
    {"pairwise": "average", "dim": 4, "block_size": 3},
]


@pytest.mark.parametrize("options", FIELDS, ids=str)
def test_layers(options):
    """Training and inference, on padded clips of one length: a wait a solve, and no more."""
    sizes = {} if "dim" in options else {"temporal_dim": 4, "spatial_dim": 4}
    module = VideoGCRF.build(5, **{**sizes, "conv_dim": 4, **options})
    if module.fusion == "residual":
        torch.nn.init.normal_(module.output.weight)
    features = torch.randn(6, 5, 4, 7)
    unary = torch.randn(6, 3, 4, 7) if "num_labels" in options else None
    padded = [(4, 7)] * 3 + [(3, 5)] * 3

    def run(state, features, unary):
        given = {"unary": unary, "valid_sizes": padded}
        return functional_call(module, state, (features, [3, 3]), given)

    expected = run({}, features, unary)
    expected.sum().backward()
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    names = [name for name, value in state.items() if isinstance(value, torch.nn.Parameter)]
    state = {name: GPUTensor(t.detach()) for name, t in state.items() if t is not None}
    for name in names:
        state[name].requires_grad_()
    given = [t if t is None else GPUTensor(t) for t in (features, unary)]
    with simulated_gpu() as waits:
        x = run(state, *given)
        solves = int(module.field.coupled)
        # a decay of the couplings is copied to where they are made
        assert len(waits) <= solves + ("distance_decay" in options), waits
        waits.clear()
        x.backward(torch.ones_like(x))
        assert len(waits) <= solves, waits
        waits.clear()
        with torch.no_grad():
            alone = run(state, *given)
    grads = {name: p.grad for name, p in module.named_parameters()}
    wanted = [name for name in names if grads[name] is not None]
    assert len(wanted) >= 4
    equal([x, *(state[n].grad for n in wanted)], [expected, *(grads[n] for n in wanted)])
    equal([alone], [expected])


@pytest.mark.parametrize("pairwise", ["product", "average"])
def test_clips_of_one_length_are_solved_together(pairwise):
    sizes = {"dim": 4} if pairwise == "average" else {"temporal_dim": 4, "spatial_dim": 4}
    module = VideoGCRF.build(5, pairwise=pairwise, **sizes, conv_dim=4)
    lengths = [2, 1, 2, 2, 1]
    features = torch.randn(8, 5, 4, 7)
    torch.nn.init.normal_(module.output.weight)
    expected = torch.cat([module(part) for part in features.split(lengths)])
    state = {name: GPUTensor(t.detach()) for name, t in module.state_dict().items()}
    with simulated_gpu() as waits, torch.no_grad():
        x = functional_call(module, state, (GPUTensor(features), lengths))
        assert len(waits) == 2, waits
    equal([x], [expected])
