import numpy as np
import pytest
import torch

from videogcrf_det.gcrf import NEIGHBOURHOODS, average, weighted_average

from .reference import SELF_COUPLINGS, reference_coupling

EXACT = {"rtol": 1e-12, "max_iters": 1000}


@pytest.fixture(params=["formed", "direct", "cg"])
def solver(request, monkeypatch):
    """For each way to the solution: systems of this size are formed unless forbidden."""
    if request.param == "formed":
        return "auto"
    monkeypatch.setattr(average, "DENSE", 0)
    return request.param


def problem(num_frames=3, neighbourhood="fc", self_coupling="psd", batch=2, size=6, dim=4):
    """unary (B, V, N, C), confidence (B, V, N), embedding (B, V, D, N), W, all in float64."""
    unary = torch.randn(batch, num_frames, size, 2, dtype=torch.double)
    confidence = torch.rand(batch, num_frames, size, dtype=torch.double) + 0.05
    embedding = torch.rand(batch, num_frames, dim, size, dtype=torch.double)
    coupling = torch.from_numpy(reference_coupling(num_frames, neighbourhood, self_coupling))
    return unary, confidence, embedding, coupling


def energy(x, unary, confidence, embedding, coupling):
    """Of one clip, as it is written: term by term."""
    unknowns = [(v, i) for v in range(x.shape[0]) for i in range(x.shape[1])]
    total = sum(confidence[a] * (x[a] - unary[a]).square().sum() for a in unknowns)
    for first, a in enumerate(unknowns):
        for b in unknowns[first + 1 :]:
            weight = coupling[a[0], b[0]] * embedding[a[0], :, a[1]] @ embedding[b[0], :, b[1]]
            total = total + weight * (x[a] - x[b]).square().sum()
    return total


def dense(unary, confidence, embedding, coupling):
    """The same by a dense solve, that autograd differentiates."""
    solved = []
    for b, c, t in zip(unary, confidence, embedding, strict=True):
        pairs = torch.einsum("vu,vdi,udj->viuj", coupling, t, t).reshape([c.numel()] * 2)
        matrix = torch.diag(c.flatten() + pairs.sum(1)) - pairs
        solved.append(torch.linalg.solve(matrix, c.reshape(-1, 1) * b.flatten(0, 1)).view_as(b))
    return torch.stack(solved)


@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_equals_a_dense_solve(num_frames, neighbourhood, self_coupling, solver):
    given = problem(num_frames, neighbourhood, self_coupling)
    x = weighted_average(*given, **EXACT, solver=solver)
    torch.testing.assert_close(x, dense(*given), rtol=1e-8, atol=1e-8)


def test_minimises_the_energy():
    given = problem(3, "2", batch=1, size=3)
    clip = [part[0] for part in given[:3]] + [given[3]]
    x = weighted_average(*given, **EXACT)[0].requires_grad_()
    lowest = energy(x, *clip)
    (slope,) = torch.autograd.grad(lowest, x)
    assert slope.abs().max() < 1e-9
    for _ in range(5):
        assert energy(x + 0.1 * torch.randn_like(x), *clip) > lowest


def test_is_an_average(solver):
    """A field that is the same everywhere stays so, and nothing leaves the range of the unaries,
    however strong the couplings and small the confidence."""
    unary, confidence, embedding, coupling = problem(4)
    solve = {"rtol": 1e-9, "max_iters": 1000, "solver": solver}
    same = weighted_average(torch.full_like(unary, 3.0), confidence, embedding, coupling, **solve)
    assert torch.allclose(same, torch.full_like(unary, 3.0))
    strong = weighted_average(unary, 0.01 * confidence, 10 * embedding, coupling, **solve)
    assert (strong <= unary.amax((1, 2), keepdim=True) + 1e-9).all()
    assert (strong >= unary.amin((1, 2), keepdim=True) - 1e-9).all()
    assert strong.std((1, 2)).max() < 0.05 * unary.std((1, 2)).min()


def test_an_unknown_that_is_not_trusted_takes_what_it_is_coupled_to(solver):
    unary, confidence, embedding, coupling = problem(2)
    confidence[:, 0, 0] = 0
    changed = unary.clone()
    changed[:, 0, 0] += 100
    found = [
        weighted_average(b, confidence, embedding, coupling, **EXACT, solver=solver)
        for b in (unary, changed)
    ]
    torch.testing.assert_close(*found)


def test_unknowns_of_no_confidence_and_no_couplings_are_zero(solver):
    unary, confidence, embedding, coupling = problem(2)
    others = weighted_average(
        unary[:, :, 1:], confidence[:, :, 1:], embedding[..., 1:], coupling, **EXACT
    )
    confidence[:, :, 0] = 0
    embedding[..., 0] = 0
    x = weighted_average(unary, confidence, embedding, coupling, **EXACT, solver=solver)
    assert (x[:, :, 0] == 0).all()
    torch.testing.assert_close(x[:, :, 1:], others)


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_gradients(neighbourhood, solver):
    unary, confidence, embedding, coupling = problem(3, neighbourhood, batch=1, size=3, dim=2)
    half = (coupling / 2).requires_grad_()
    inputs = [part.requires_grad_() for part in (unary, confidence, embedding)]
    assert torch.autograd.gradcheck(
        lambda *given: weighted_average(
            *given[:3], given[3] + given[3].T, rtol=1e-13, max_iters=1000, solver=solver
        ),
        (*inputs, half),
    )


def test_float32_under_autocast(solver):
    given = problem(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = weighted_average(*(part.float() for part in given), solver=solver)
    assert x.dtype == torch.float32
    np.testing.assert_allclose(x, dense(*given), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("which", [1, 2])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(which, value, solver):
    given = problem(2)
    given[which].flatten()[7] = value
    with pytest.raises(ValueError, match="not finite: in training, lower the learning rate"):
        weighted_average(*given, solver=solver)
