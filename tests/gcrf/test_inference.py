import re
import warnings

import numpy as np
import pytest
import torch

from tests.support.reference import (
    LAYOUTS,
    NEIGHBOURHOODS,
    SELF_COUPLINGS,
    leaves,
    random_problem,
    reference_matrix,
    reference_solve,
)
from videogcrf_det.gcrf import (
    ConvergenceWarning,
    IndefiniteError,
    gcrf_inference,
)

EXACT = {"rtol": 1e-12, "max_iters": 1000}


def clip(problem, *index):
    """The clips ``index`` of a problem."""
    chosen = [t[list(index)] for t in (problem.unary, problem.spatial, problem.temporal)]
    return type(problem)(*chosen, problem.coupling, problem.lam)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
@pytest.mark.parametrize("num_frames", [1, 2, 5])
def test_equals_a_dense_solve(num_frames, neighbourhood, self_coupling, layout, solver):
    problem = random_problem(num_frames, neighbourhood, self_coupling, **LAYOUTS[layout])
    x = gcrf_inference(*problem, **EXACT, solver=solver)
    torch.testing.assert_close(x, reference_solve(problem), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_float32(neighbourhood, solver):
    problem = random_problem(5, neighbourhood, lam=1.0)
    exact = reference_solve(problem)
    x = gcrf_inference(*[t.float() for t in problem[:4]], problem.lam, solver=solver)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x.double(), exact, rtol=1e-3, atol=1e-4)


def test_default_tolerance_bounds_the_residual(solver):
    problem = random_problem(4)
    x = gcrf_inference(*problem, solver=solver)
    matrix = torch.from_numpy(reference_matrix(*problem[1:]))
    residual = (problem.unary.flatten(1, 2) - matrix @ x.flatten(1, 2)).norm(dim=1)
    assert (residual <= 1e-5 * problem.unary.flatten(1, 2).norm(dim=1) * (1 + 1e-6)).all()


def test_a_smaller_tolerance_takes_more_iterations():
    problem = random_problem(4)
    x = gcrf_inference(*problem, solver="cg")
    assert not torch.equal(x, gcrf_inference(*problem, solver="cg", rtol=1e-8))


@pytest.mark.parametrize("lam", [0.7, torch.tensor(0.7), torch.tensor(0.7, dtype=torch.double)])
def test_lam_is_a_number_or_a_tensor(lam, solver):
    problem = random_problem(3, lam=0.7)
    x = gcrf_inference(*problem[:4], lam, **EXACT, solver=solver)
    torch.testing.assert_close(x, reference_solve(problem), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("absent", ["temporal", "coupling", "both"])
def test_without_temporal_terms_every_frame_is_alone(absent, solver):
    problem = random_problem(4)
    kept = {"temporal": None, "coupling": None} if absent == "both" else {absent: None}
    x = gcrf_inference(*problem._replace(**kept), **EXACT, solver=solver)
    for frame in range(4):
        part = problem._replace(
            unary=problem.unary[:, [frame]],
            spatial=problem.spatial[:, [frame]],
            temporal=None,
            coupling=None,
        )
        torch.testing.assert_close(x[:, [frame]], reference_solve(part), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_one_frame_is_the_spatial_field(neighbourhood, solver):
    problem = random_problem(1, neighbourhood)
    spatial_only = reference_solve(problem._replace(temporal=None, coupling=None))
    x = gcrf_inference(*problem, **EXACT, solver=solver)
    torch.testing.assert_close(x, spatial_only, rtol=1e-8, atol=1e-8)


def test_temporal_terms_alone(solver):
    problem = random_problem(4, (1, 2))._replace(spatial=None)
    x = gcrf_inference(*problem, **EXACT, solver=solver)
    torch.testing.assert_close(x, reference_solve(problem), rtol=1e-8, atol=1e-8)


def test_fully_connected_frames_have_no_order(solver):
    problem = random_problem(5)
    order = [3, 0, 4, 1, 2]
    x = gcrf_inference(*problem, **EXACT, solver=solver)
    shuffled = [t[:, order] for t in (problem.unary, problem.spatial, problem.temporal)]
    permuted = gcrf_inference(*shuffled, problem.coupling, problem.lam, **EXACT, solver=solver)
    torch.testing.assert_close(permuted, x[:, order], rtol=1e-8, atol=1e-8)
    chain = random_problem(5, (1,))
    in_order = gcrf_inference(*chain, **EXACT, solver=solver)
    out_of_order = gcrf_inference(*shuffled, chain.coupling, chain.lam, **EXACT, solver=solver)
    assert (out_of_order - in_order[:, order]).abs().max() > 1e-2


def test_a_batch_equals_a_loop(solver):
    problem = random_problem(4, (1,), batch=3)
    together = gcrf_inference(*problem, **EXACT, solver=solver)
    for index in range(3):
        alone = gcrf_inference(*clip(problem, index), **EXACT, solver=solver)
        torch.testing.assert_close(alone, together[[index]], rtol=1e-8, atol=1e-8)


def test_non_contiguous_inputs(solver):
    problem = random_problem(3)
    inputs = [t.mT.contiguous().mT for t in problem[:3]]
    assert not any(t.is_contiguous() for t in inputs)
    x = gcrf_inference(*inputs, problem.coupling, problem.lam, **EXACT, solver=solver)
    torch.testing.assert_close(x, reference_solve(problem), rtol=1e-8, atol=1e-8)
    unary = inputs[0].requires_grad_()
    x = gcrf_inference(unary, *inputs[1:], problem.coupling, problem.lam, **EXACT, solver=solver)
    x.sum().backward()  # the gradient that arrives here is expanded from one number
    expected = reference_solve(problem._replace(unary=torch.ones_like(unary)))
    torch.testing.assert_close(unary.grad, expected, rtol=1e-8, atol=1e-8)


# --- when it cannot work -------------------------------------------------------------------------


def counter_example(self_coupling):
    """Random embeddings with which Eq. 2 as printed is indefinite for a small lam."""
    problem = random_problem(
        2, (), self_coupling, batch=1, size=200, spatial_dim=16, temporal_dim=16, columns=2
    )
    return problem._replace(lam=1e-3)


def test_the_printed_matrix_need_not_be_positive_definite(solver):
    problem = counter_example("zero")
    assert np.linalg.eigvalsh(reference_matrix(*problem[1:])[0])[0] < -1
    with pytest.raises(IndefiniteError) as raised:
        gcrf_inference(*problem, solver=solver)
    message = str(raised.value)
    assert "lam = 0.001" in message
    assert 'self_coupling="psd"' in message


def test_psd_self_coupling_is_the_cure(solver):
    problem = counter_example("psd")
    assert np.linalg.eigvalsh(reference_matrix(*problem[1:])[0])[0] >= 0.9e-3
    x = gcrf_inference(*problem, rtol=1e-10, max_iters=1000, solver=solver)
    exact = reference_solve(problem)
    assert (x - exact).norm() <= 1e-6 * exact.norm()


def test_an_indefinite_matrix_is_an_error_in_the_backward_pass_too():
    problem = counter_example("zero")
    # solved without a step; the direct solver finds out at once
    unary = torch.zeros_like(problem.unary).requires_grad_()
    x = gcrf_inference(unary, *problem[1:], solver="cg")
    with pytest.raises(IndefiniteError, match=r"lam = 0\.001"):
        (x * problem.unary).sum().backward()


def test_warns_once_when_the_iterations_run_out():
    problem = random_problem(4, size=30, lam=1e-3)
    unary, *others = leaves(problem)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        x = gcrf_inference(unary, *others, solver="cg", max_iters=3)
        x.sum().backward()
        gcrf_inference(*problem, solver="cg", max_iters=2)
    caught = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "raise max_iters, rtol or lam" in message
    assert "after 3 iterations" in message
    residual = problem.unary.flatten(1, 2) - torch.from_numpy(
        reference_matrix(*problem[1:])
    ) @ x.detach().flatten(1, 2)
    worst = (residual.norm(dim=1) / problem.unary.flatten(1, 2).norm(dim=1)).max().item()
    named = float(re.search(r"residual of (\S+),", message).group(1))
    assert named == pytest.approx(worst, rel=0.06)  # two digits


def test_warns_once_when_rounding_leaves_the_direct_solver_short_of_the_tolerance():
    problem = random_problem(3, lam=1.0)
    inputs = [t.detach().float().requires_grad_() for t in leaves(problem)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        x = gcrf_inference(*inputs, solver="direct", rtol=1e-12)
        x.sum().backward()
    (caught,) = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    message = str(caught.message)
    assert "raise rtol or lam (said once)" in message
    assert "above 1.0e-12" in message
    assert 1e-12 < float(re.search(r"residual of (\S+),", message).group(1)) < 1e-5


def test_warns_when_rounding_leaves_conjugate_gradients_short_of_the_tolerance():
    problem = random_problem(3, size=40, spatial_dim=16, temporal_dim=16, lam=1e-2)
    with pytest.warns(ConvergenceWarning, match="rounding left conjugate gradients at a relative"):
        gcrf_inference(
            *[t.float() for t in problem[:4]], problem.lam, solver="cg", rtol=1e-7, max_iters=5000
        )


def test_does_not_warn_when_it_converges(solver):
    """Nor does torch, about a lam that asks for gradients."""
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gcrf_inference(*leaves(random_problem(4)), solver=solver).sum().backward()
    finally:
        torch.set_warn_always(False)


# --- mixed precision -----------------------------------------------------------------------------


def test_autocast_changes_nothing(solver):
    problem = random_problem(3, (1,), lam=1.0)
    weight = torch.randn_like(problem.unary).float()
    plain = [t.detach().float().requires_grad_() for t in leaves(problem)]
    mixed = [t.detach().float().requires_grad_() for t in leaves(problem)]
    x = gcrf_inference(*plain, solver=solver)
    (x * weight).sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x_mixed = gcrf_inference(*mixed, solver=solver)
        (x_mixed * weight).sum().backward()
    assert x_mixed.dtype == torch.float32
    # of about 1e-3 in bfloat16
    torch.testing.assert_close(x_mixed, x, rtol=1e-5, atol=1e-6)
    for a, b in zip(plain, mixed, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_solved_in_float32(dtype, solver):
    problem = random_problem(3, lam=1.0)
    inputs = [t.to(dtype) for t in problem[:4]]
    unary = inputs[0].requires_grad_()
    x = gcrf_inference(*inputs, problem.lam, solver=solver)
    assert x.dtype == dtype
    expected = reference_solve(type(problem)(*inputs, problem.lam)).to(dtype)
    torch.testing.assert_close(x, expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-3)
    x.sum().backward()
    assert unary.grad.dtype == dtype


# --- bad input -----------------------------------------------------------------------------------


def fit(*shape):
    return torch.zeros(*shape)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unary": fit(2, 3, 7)}, r"unary must be \(B, V, N, C\).*\(2, 3, 7\)"),
        ({"spatial": fit(2, 3, 4, 8)}, r"spatial.*\(2, 3, D, 7\).*\(2, 3, 7, 3\).*\(2, 3, 4, 8\)"),
        ({"spatial": fit(1, 3, 4, 7)}, r"spatial.*\(2, 3, D, 7\).*\(1, 3, 4, 7\)"),
        ({"temporal": fit(2, 4, 5, 7)}, r"temporal.*\(2, 3, D, 7\).*\(2, 4, 5, 7\)"),
        ({"temporal": fit(3, 5, 7)}, r"temporal.*\(2, 3, D, 7\).*\(3, 5, 7\)"),
        ({"coupling": fit(4, 4)}, r"coupling.*\(V, V\) = \(3, 3\).*\(4, 4\)"),
        ({"lam": 0.0}, "lam must be above 0.*0.0"),
        ({"lam": -0.5}, "lam must be above 0.*-0.5"),
        ({"lam": torch.tensor(-2.0)}, "lam must be above 0.*-2.0"),
        ({"lam": float("nan")}, "lam must be above 0.*nan"),
        ({"unary": torch.full((2, 3, 7, 3), float("inf"))}, "unary.*not finite"),
        ({"spatial": torch.full((2, 3, 4, 7), float("nan"))}, "not finite"),
        ({"temporal": torch.full((2, 3, 5, 7), float("inf"))}, "not finite"),
    ],
)
def test_bad_arguments(change, message, solver):
    problem = random_problem(3)._replace(**change)
    with pytest.raises(ValueError, match=message):
        gcrf_inference(*problem, solver=solver)


def test_embeddings_must_not_both_be_missing(solver):
    problem = random_problem()._replace(spatial=None, temporal=None)
    with pytest.raises(ValueError, match="spatial and temporal embeddings are both None"):
        gcrf_inference(*problem, solver=solver)


def test_unknown_solver():
    with pytest.raises(ValueError, match=r"unknown solver 'lu'.*auto, direct, cg"):
        gcrf_inference(*random_problem(), solver="lu")
