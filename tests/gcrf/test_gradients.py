import pytest
import torch

from tests.support.reference import LAYOUTS, dense_inference, leaves, random_problem
from videogcrf_det.gcrf import SpatioTemporalOperator, conjugate_gradient, gcrf_inference

EXACT = {"rtol": 1e-12, "max_iters": 1000}
GRADIENT_CASES = [
    (1, (), "psd"),
    (3, (), "psd"),
    (3, (), "zero"),
    (3, (1,), "psd"),
    (5, (1, 2, 4), "zero"),
]


@pytest.mark.parametrize(("num_frames", "neighbourhood", "self_coupling"), GRADIENT_CASES)
def test_gradients_equal_finite_differences(num_frames, neighbourhood, self_coupling, solver):
    problem = random_problem(
        num_frames, neighbourhood, self_coupling, size=3, columns=2, spatial_dim=2, temporal_dim=3
    )
    unary, spatial, temporal, _, lam = leaves(problem)
    half = (problem.coupling / 2).requires_grad_()

    def infer(unary, spatial, temporal, half, lam):
        # finite differences of one entry of W would leave the symmetric matrices
        return gcrf_inference(unary, spatial, temporal, half + half.T, lam, **EXACT, solver=solver)

    assert torch.autograd.gradcheck(infer, (unary, spatial, temporal, half, lam))


def test_gradients_equal_finite_differences_without_temporal_terms(solver):
    problem = random_problem(2, size=3, columns=2, spatial_dim=2)
    unary, spatial, _, _, lam = leaves(problem)
    assert torch.autograd.gradcheck(
        lambda b, a, scale: gcrf_inference(b, a, None, None, scale, **EXACT, solver=solver),
        (unary, spatial, lam),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("num_frames", "neighbourhood", "self_coupling"), [*GRADIENT_CASES, (7, (1, 2), "psd")]
)
def test_gradients_equal_autograd(num_frames, neighbourhood, self_coupling, layout, solver):
    problem = random_problem(num_frames, neighbourhood, self_coupling, **LAYOUTS[layout])
    weight = torch.randn_like(problem.unary)
    ours, dense = leaves(problem), leaves(problem)
    (gcrf_inference(*ours, **EXACT, solver=solver) * weight).sum().backward()
    (dense_inference(*dense) * weight).sum().backward()
    for a, b in zip(ours, dense, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("wanted", range(5))
def test_each_gradient_can_be_asked_for_alone(wanted, solver):
    problem = random_problem(3)
    weight = torch.randn_like(problem.unary)
    grads = []
    for infer in (lambda *inputs: gcrf_inference(*inputs, **EXACT, solver=solver), dense_inference):
        inputs = [t.detach().requires_grad_(i == wanted) for i, t in enumerate(leaves(problem))]
        (infer(*inputs) * weight).sum().backward()
        assert all((t.grad is not None) == (i == wanted) for i, t in enumerate(inputs))
        grads.append(inputs[wanted].grad)
    torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-7)


def test_gradients_in_float32(solver):
    problem = random_problem(3, lam=1.0)
    weight = torch.randn_like(problem.unary)
    single = [t.detach().float().requires_grad_() for t in leaves(problem)]
    double = leaves(problem)
    (gcrf_inference(*single, solver=solver) * weight.float()).sum().backward()
    (dense_inference(*double) * weight).sum().backward()
    for a, b in zip(single, double, strict=True):
        assert a.grad.dtype == torch.float32
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-2, atol=1e-3)


def test_a_second_derivative_is_refused(solver):
    problem = random_problem(2)
    unary, *others = leaves(problem)
    (grad,) = torch.autograd.grad(
        (gcrf_inference(unary, *others, solver=solver) ** 2).sum(), unary, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def saved_bytes(problem, rtol):
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        gcrf_inference(*leaves(problem), solver="cg", rtol=rtol)
    return total


def test_saved_memory_does_not_grow_with_the_iterations():
    problem = random_problem(4, size=40, spatial_dim=16, temporal_dim=16)
    matvec = SpatioTemporalOperator(*problem[1:]).matvec
    few, many = [
        conjugate_gradient(matvec, problem.unary, rtol=rtol).num_iters.max()
        for rtol in (1e-1, 1e-10)
    ]
    assert many >= 3 * few
    sizes = [saved_bytes(problem, rtol) for rtol in (1e-1, 1e-10)]
    assert 0 < sizes[1] <= sizes[0]
    inputs = sum(t.numel() * 8 for t in leaves(problem))
    assert sizes[1] <= 2 * inputs


def test_an_overflowing_gradient_is_passed_on(solver):
    """Gradient scaling expects infinities now and then, and skips the step when it sees them."""
    problem = random_problem(2)
    unary, spatial, *others = leaves(problem)
    gcrf_inference(unary, spatial, *others, solver=solver).sum().mul(float("inf")).backward()
    assert not unary.grad.isfinite().any()
    assert not spatial.grad.isfinite().any()
