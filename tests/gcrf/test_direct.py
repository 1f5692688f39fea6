import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode, baddbmm_flop

from tests.support.reference import (
    NEIGHBOURHOODS,
    SELF_COUPLINGS,
    Problem,
    leaves,
    random_problem,
    reference_matrix,
    reference_solve,
)
from videogcrf_det.gcrf import (
    IndefiniteError,
    SpatioTemporalOperator,
    gcrf_inference,
    inference,
    temporal_coupling,
)
from videogcrf_det.gcrf.direct import (
    _reduced_indefinite,
    _solve_once,
    coupling_root,
    factorise,
    is_cheaper,
    solve,
)


def operator_of(problem, dtype=torch.double):
    tensors = [t if t is None else t.to(dtype) for t in problem[1:4]]
    # a bare number would be rounded to float32
    return SpatioTemporalOperator(*tensors, torch.tensor(problem.lam, dtype=torch.double))


def direct(problem, dtype=torch.double):
    """The factors, and what comes of one solve."""
    operator = operator_of(problem, dtype)
    factors = factorise(operator, coupling_root(operator.coupling))
    return factors, solve(operator, factors, problem.unary.to(dtype))


def error(actual, expected):
    return ((actual.double() - expected).norm() / expected.norm()).item()


def residual(problem, x):
    """|b - H x| / |b| in float64."""
    rhs = problem.unary.double()
    return ((rhs - operator_of(problem).matvec(x.double())).norm() / rhs.norm()).item()


def in_float32(problem):
    """The same problem, of numbers that float32 can hold."""
    return Problem(*[t.float().double() for t in problem[:4]], problem.lam)


def scaled(problem, factor):
    spatial, temporal = problem.spatial * factor, problem.temporal * factor
    return problem._replace(spatial=spatial, temporal=temporal)


# --- the root of W -------------------------------------------------------------------------------


def product_of(root):
    signs = torch.ones(len(root.matrix)) if root.signs is None else root.signs
    return root.matrix.mT @ (signs[:, None] * root.matrix)


@pytest.mark.parametrize("distance_decay", [None, 2.0])
@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_root_squares_to_the_coupling(neighbourhood, self_coupling, distance_decay):
    for num_frames in [*range(1, 10), 16]:
        coupling = temporal_coupling(num_frames, neighbourhood, self_coupling, distance_decay)
        root = coupling_root(coupling)
        torch.testing.assert_close(product_of(root), coupling.double(), rtol=0, atol=2e-7)
        row, column = root.matrix.nonzero(as_tuple=True)
        for frame in range(num_frames):
            rows = row[column == frame].tolist()
            assert max(rows, default=0) - min(rows, default=0) <= root.bandwidth
        indefinite = self_coupling == "zero" and num_frames > 1
        assert (root.signs is not None) == indefinite
        exact = coupling_root(coupling.double())
        torch.testing.assert_close(product_of(exact), coupling.double(), rtol=0, atol=1e-13)


@pytest.mark.parametrize("num_frames", [2, 3, 8, 40])
def test_all_pairs_have_one_row(num_frames):
    root = coupling_root(temporal_coupling(num_frames))
    assert root.matrix.shape == (1, num_frames)
    torch.testing.assert_close(root.matrix.abs(), torch.ones_like(root.matrix))
    assert root.bandwidth == 0


@pytest.mark.parametrize(("neighbourhood", "bandwidth"), [((1,), 1), ((1, 2), 2), ((1, 2, 4), 4)])
def test_neighbourhoods_keep_their_band(neighbourhood, bandwidth):
    root = coupling_root(temporal_coupling(16, neighbourhood))
    assert root.bandwidth == bandwidth
    row, column = root.matrix.nonzero(as_tuple=True)
    assert (column - row).min() >= 0
    assert (column - row).max() == bandwidth


@pytest.mark.parametrize("rank", [1, 3])
def test_a_coupling_of_low_rank_has_as_many_rows(rank):
    values = torch.randn(rank, 6, dtype=torch.double)
    root = coupling_root(values.mT @ values)
    assert root.matrix.shape == (rank, 6)
    assert root.signs is None
    torch.testing.assert_close(product_of(root), values.mT @ values)


def test_rounding_does_not_make_a_coupling_indefinite():
    least = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        values = torch.randn(3, 9, generator=generator, dtype=torch.double)
        coupling = (values.mT @ values).float()
        least.append(np.linalg.eigvalsh(coupling.double().numpy())[0])
        root = coupling_root(coupling)
        assert root.signs is None
        torch.testing.assert_close(product_of(root), coupling.double(), rtol=0, atol=1e-4)
    assert min(least) < -1e-8  # in float64 it is


def least_lam(problem):
    """lam above which H is positive definite."""
    return -np.linalg.eigvalsh(reference_matrix(*problem[1:4], 0.0)).min()


# --- the solution --------------------------------------------------------------------------------


def assert_solves(problem, tolerance=1e-9):
    _, result = direct(problem)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(result.solution, reference_solve(problem), **close)
    spatial, temporal = operator_of(problem).project(result.solution)
    torch.testing.assert_close(result.spatial, spatial, **close)
    torch.testing.assert_close(result.temporal, temporal, **close)
    assert (result.residual <= 1e-10).all()


@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_equals_a_dense_solve(neighbourhood, self_coupling, num_frames):
    problem = random_problem(num_frames, neighbourhood, self_coupling, spatial_dim=6)
    temporal = problem._replace(spatial=None)
    lam = max(0.5, 1 + least_lam(temporal))  # positive definite by the temporal terms alone
    assert_solves(problem._replace(lam=lam))
    assert_solves(temporal._replace(lam=lam))
    assert_solves(problem._replace(temporal=None, coupling=None))


@pytest.mark.parametrize(("spatial_dim", "temporal_dim"), [(1, 1), (1, 5), (7, 2), (12, 9)])
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_embedding_sizes(neighbourhood, spatial_dim, temporal_dim):
    """Among them more rows of the embeddings than positions, 7 a frame."""
    assert_solves(
        random_problem(5, neighbourhood, spatial_dim=spatial_dim, temporal_dim=temporal_dim)
    )


@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
def test_uneven_weights(self_coupling):
    problem = random_problem(6, (), lam=200.0)
    coupling = temporal_coupling(6, (), self_coupling, torch.tensor(1.5, dtype=torch.double))
    assert_solves(problem._replace(coupling=coupling))


# --- hard cases ----------------------------------------------------------------------------------


def dependent(problem):
    """Half of the rows of each embedding repeat the others."""
    spatial, temporal = problem.spatial[:, :, :3], problem.temporal[:, :, :3]
    return problem._replace(
        spatial=torch.cat([spatial, spatial], dim=2),
        temporal=torch.cat([temporal, -2 * temporal], dim=2),
    )


def identical(problem):
    return problem._replace(temporal=problem.spatial)


PLAIN = random_problem(3, size=30, spatial_dim=5, temporal_dim=5)
FEW_POSITIONS = random_problem(4, size=3, spatial_dim=8, temporal_dim=6)
HARD = {
    "moderate": scaled(PLAIN, 30.0),
    "ill-conditioned": scaled(PLAIN, 100.0),
    "fewer positions than rows": FEW_POSITIONS,
    "fewer positions than rows, ill-conditioned": scaled(FEW_POSITIONS, 30.0),
    "dependent rows": dependent(PLAIN),
    "identical embeddings": identical(PLAIN),
    "huge lam": PLAIN._replace(lam=1e8),
    "small lam": PLAIN._replace(lam=1e-3),
}


@pytest.mark.parametrize("case", HARD)
def test_hard_cases(case):
    problem = in_float32(HARD[case])  # every pair of frames: float32 holds W exactly
    exact = reference_solve(problem)
    eigenvalues = np.linalg.eigvalsh(reference_matrix(*problem[1:]))
    condition = (eigenvalues[:, -1] / eigenvalues[:, 0]).max()
    # H may be better conditioned than the small system, of norm |F|^2 / lam
    largest = eigenvalues[:, -1].max() / problem.lam

    _, result = direct(problem)
    assert error(result.solution, exact) <= 10 * 2.2e-16 * largest
    _, result = direct(problem, torch.float32)
    assert error(result.solution, exact) <= 10 * 1.2e-7 * condition
    assert error(result.solution, exact) <= 1e-5


@pytest.mark.parametrize("lam", [1e-10, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_embeddings_leave_the_unary_over_lam(dtype, lam):
    problem = scaled(PLAIN, 0.0)._replace(lam=lam)
    _, result = direct(problem, dtype)
    torch.testing.assert_close(result.solution, problem.unary.to(dtype) / lam)
    assert not result.spatial.any()
    assert not result.temporal.any()


@pytest.mark.parametrize("make", [dependent, identical])
@pytest.mark.parametrize("lam", [1e-6, 1e-10])
def test_factors_are_double_where_float32_loses_lam(make, lam):
    """A frame's Gram matrix is singular but for lam, which is below the rounding of its entries:
    rows that depend on each other, or a temporal embedding that says what the spatial one does."""
    problem = in_float32(make(PLAIN))
    assert direct(problem, torch.float32)[0].frames.dtype == torch.float32
    factors, result = direct(problem._replace(lam=lam), torch.float32)
    assert {t.dtype for t in factors[1:4]} == {torch.float64}
    assert result.solution.dtype == result.spatial.dtype == result.temporal.dtype == torch.float32
    # the dense solve itself knows the solution to no more than eps |F|^2 / lam of float64, and the
    # largest eigenvalue is about 200
    exact = reference_solve(problem._replace(lam=lam))
    once = _solve_once(
        operator_of(problem._replace(lam=lam), torch.float32), factors, problem.unary.float()
    )
    assert error(once[0], exact) <= 1e-6 + 10 * 2.2e-16 * 200 / lam


@pytest.mark.parametrize("factor", [1e-20, 1e20, torch.tensor([1e-15, 1.0, 1e15])])
def test_scales_of_the_right_hand_side(factor):
    problem = in_float32(PLAIN._replace(unary=PLAIN.unary * factor))
    _, result = direct(problem, torch.float32)
    exact = reference_solve(problem)
    for column in range(3):  # each to its own scale
        assert error(result.solution[..., column], exact[..., column]) <= 1e-5


def test_refinement_brings_the_residual_below_the_tolerance():
    """Fewer positions than rows: F F' is singular and H is not, so the residual shows that float32
    loses digits of the small system, and can be lowered."""
    problem = in_float32(scaled(FEW_POSITIONS, 30.0))
    operator = operator_of(problem, torch.float32)
    factors = factorise(operator, coupling_root(operator.coupling))
    once = _solve_once(operator, factors, problem.unary.float())[0]
    assert residual(problem, once) > 1e-4
    assert residual(problem, solve(operator, factors, problem.unary.float()).solution) <= 1e-5


def test_the_residual_is_what_is_measured():
    problem = in_float32(scaled(FEW_POSITIONS, 30.0))
    operator = operator_of(problem, torch.float32)
    factors = factorise(operator, coupling_root(operator.coupling))
    result = solve(operator, factors, problem.unary.float(), rtol=1.0)  # without refinement
    # of a random combination of three columns, and the largest of the clips
    true = residual(problem, result.solution)
    assert true / 3 <= result.residual.max() <= 3 * true


def test_float32_factors_that_leave_a_large_error_are_not_kept():
    """H is well conditioned, and conjugate gradients solve it to 1e-5 in 13 iterations."""
    problem = in_float32(scaled(FEW_POSITIONS, 300.0))
    _, result = direct(problem, torch.float32)
    assert error(result.solution, reference_solve(problem)) <= 1e-5


@pytest.mark.parametrize("factor", [3.0, 30.0, 100.0])
def test_refinement_does_not_spoil_the_products(factor):
    """The gradients of the embeddings are made of them."""
    problem = in_float32(scaled(PLAIN, factor))
    exact = operator_of(problem).project(reference_solve(problem))
    _, result = direct(problem, torch.float32)
    assert error(result.spatial, exact[0]) <= 1e-5
    assert error(result.temporal, exact[1]) <= 1e-5


@pytest.mark.parametrize("lam", [1e-6, 1e-8, 1e-10])
def test_refinement_does_not_spoil_the_solution(lam):
    """The exact x rounded to float32 has a residual of eps |H| |x| / |b|, which is above 1 here:
    nothing can be learnt from it."""
    problem = in_float32(PLAIN)._replace(lam=lam)
    operator = operator_of(problem, torch.float32)
    factors = factorise(operator, coupling_root(operator.coupling))
    _, exact = direct(problem)
    rhs = problem.unary.float()
    once = error(_solve_once(operator, factors, rhs)[0], exact.solution)
    assert once <= 1e-5
    assert error(solve(operator, factors, rhs).solution, exact.solution) <= 2 * once


# --- indefinite couplings ------------------------------------------------------------------------


@pytest.mark.parametrize(("num_frames", "neighbourhood"), [(2, ()), (4, ()), (5, (1, 2))])
@pytest.mark.parametrize("seed", range(3))
def test_indefinite_couplings_up_to_the_least_lam(num_frames, neighbourhood, seed):
    problem = random_problem(num_frames, neighbourhood, "zero", size=20, seed=seed)
    least = least_lam(problem)
    assert least > 0.1
    above = problem._replace(lam=least * (1 + 1e-3))
    x = gcrf_inference(*above, solver="direct")
    assert error(x, reference_solve(above)) <= 1e-9
    below = problem._replace(lam=least * (1 - 1e-3))
    with pytest.raises(IndefiniteError) as raised:
        gcrf_inference(*below, solver="direct")
    message = str(raised.value)
    assert f"lam = {below.lam:g}" in message
    assert 'self_coupling="psd"' in message


def test_inertia():
    seen = set()
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        left = torch.randn(3, 4, 5, 5, generator=generator, dtype=torch.double)
        left = left @ left.mT * torch.rand(3, 1, 1, 1, generator=generator)
        root = torch.randn(3, 4, generator=generator, dtype=torch.double)
        signs = torch.tensor([1.0, -1.0, -1.0], dtype=torch.double)
        lam = 10.0 ** (seed % 5 - 1)
        factor, pivots, positive = _reduced_indefinite(left, root, signs, lam)

        blocks = np.einsum("jv,kv,bvde->bjdke", root, root, left)
        matrix = blocks.reshape(3, 15, 15) + lam * np.diag(signs.repeat_interleave(5))
        negative = (np.linalg.eigvalsh(matrix) < 0).sum(axis=1)
        assert positive.tolist() == (negative == 10).tolist()
        rhs = torch.randn(3, 15, 2, generator=generator, dtype=torch.double)
        expected = torch.from_numpy(np.linalg.solve(matrix, rhs.numpy()))
        assert error(torch.linalg.ldl_solve(factor, pivots, rhs), expected) <= 1e-9
        seen.update(positive.tolist())
    assert seen == {True, False}


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
@pytest.mark.parametrize("neighbourhood", [(), (1, 2)])
def test_gradients_of_uneven_weights_equal_finite_differences(neighbourhood, self_coupling):
    problem = random_problem(4, neighbourhood, size=3, columns=2, spatial_dim=2, temporal_dim=3)
    unary, spatial, temporal, _, _ = leaves(problem)
    decay = torch.tensor(1.7, dtype=torch.double, requires_grad=True)
    lam = torch.tensor(30.0, dtype=torch.double, requires_grad=True)

    def infer(unary, spatial, temporal, decay, lam):
        coupling = temporal_coupling(4, neighbourhood, self_coupling, decay)
        return gcrf_inference(unary, spatial, temporal, coupling, lam, solver="direct")

    assert torch.autograd.gradcheck(infer, (unary, spatial, temporal, decay, lam))


def gradients(problem, weight, dtype=torch.double, **options):
    inputs = [t.detach().to(dtype).requires_grad_() for t in leaves(problem)]
    (gcrf_inference(*inputs, **options) * weight.to(dtype)).sum().backward()
    return [t.grad for t in inputs]


@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_gradients_equal_those_of_conjugate_gradients(neighbourhood, self_coupling):
    problem = random_problem(5, neighbourhood, self_coupling, size=20)
    weight = torch.randn_like(problem.unary)
    exact = gradients(problem, weight, solver="direct")
    iterated = gradients(problem, weight, solver="cg", rtol=1e-12, max_iters=2000)
    for a, b in zip(exact, iterated, strict=True):
        assert error(a, b) <= 1e-8


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
def test_inside_a_checkpoint(self_coupling, use_reentrant):
    problem = random_problem(4, (1, 2), self_coupling)
    weight = torch.randn_like(problem.unary)
    plain, again = leaves(problem), leaves(problem)
    (gcrf_inference(*plain, solver="direct") * weight).sum().backward()
    x = checkpoint(
        lambda *inputs: gcrf_inference(*inputs, solver="direct"),
        *again,
        use_reentrant=use_reentrant,
    )
    (x * weight).sum().backward()
    for a, b in zip(plain, again, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


class Coupled(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Linear(6, 8)
        self.log_lam = nn.Parameter(torch.tensor(4.0))

    def forward(self, features):
        embedding = self.branch(features).mT.relu()
        coupling = temporal_coupling(features.shape[1], (1,))
        lam = self.log_lam.exp()
        x = gcrf_inference(features, embedding, embedding, coupling, lam, solver="direct")
        return (lam * x).tanh()


def test_inside_a_compiled_module():
    module = Coupled()
    features = torch.randn(2, 4, 9, 6)
    results = []
    for run in (module, torch.compile(module, backend="eager")):
        module.zero_grad()
        x = run(features)
        x.square().sum().backward()
        results.append([x.detach(), *[p.grad.clone() for p in module.parameters()]])
    torch._dynamo.reset()
    for a, b in zip(*results, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("neighbourhood", [(), (1,)])
def test_the_number_of_threads_changes_rounding_alone(neighbourhood):
    """Libraries promise no more. Of lam's gradient, a sum over everything, little is left."""
    problem = random_problem(
        3, neighbourhood, batch=1, size=3000, columns=40, spatial_dim=64, temporal_dim=64, lam=99.0
    )
    torch.manual_seed(2)
    weight = torch.randn_like(problem.unary)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            x = gcrf_inference(*[t.float() for t in problem[:4]], problem.lam, solver="direct")
            grads = gradients(problem, weight, torch.float32, solver="direct")
            results.append([x, *grads])
    finally:
        torch.set_num_threads(before)
    allowed = [1e-6] * 5 + [3e-5]  # lam comes last
    for one, two, limit in zip(*results, allowed, strict=True):
        assert error(two, one.double()) <= limit
    exact = gradients(in_float32(problem), weight.float().double(), solver="direct")
    for found, expected, limit in zip(results[0][1:], exact, allowed[1:], strict=True):
        assert error(found, expected) <= 2 * limit


# --- which solver, and at what cost --------------------------------------------------------------


def empty_operator(num_frames, size, dim, distance_decay=None):
    embedding = torch.empty(()).expand(1, num_frames, dim, size)  # takes no memory
    coupling = temporal_coupling(num_frames, (), "psd", distance_decay)
    return SpatioTemporalOperator(embedding, embedding, coupling, 1.0)


@pytest.mark.parametrize(
    ("num_frames", "size", "dim", "columns", "distance_decay", "cheaper"),
    [
        (4, 1620, 128, 256, None, True),  # feature maps
        (4, 20172, 128, 1, None, True),  # a column per label
        (4, 20172, 512, 1, None, False),
        (48, 1620, 128, 256, None, True),
        (48, 1620, 128, 256, 2.0, False),  # W of full rank: a system of 48 x 128 rows
    ],
)
def test_when_the_direct_solver_is_cheaper(num_frames, size, dim, columns, distance_decay, cheaper):
    operator = empty_operator(num_frames, size, dim, distance_decay)
    assert is_cheaper(operator, coupling_root(operator.coupling), columns) == cheaper


@pytest.mark.parametrize(
    ("solver", "options", "used"),
    [
        ("auto", {"size": 60, "columns": 16}, "factorise_and_solve"),
        ("auto", {"size": 20, "columns": 1, "spatial_dim": 128}, "conjugate_gradient"),
        ("direct", {"size": 20, "columns": 1, "spatial_dim": 128}, "factorise_and_solve"),
        ("cg", {"size": 60, "columns": 16}, "conjugate_gradient"),
    ],
)
def test_solver_that_is_used(monkeypatch, solver, options, used):
    problem = random_problem(3, lam=10.0, **options)
    operator = operator_of(problem)
    cheaper = is_cheaper(operator, coupling_root(operator.coupling), problem.unary.shape[-1])
    if solver == "auto":
        assert cheaper == (used == "factorise_and_solve")
    called = []
    for name in ("factorise_and_solve", "conjugate_gradient"):
        original = getattr(inference, name)

        def counted(*args, _name=name, _original=original, **kwargs):
            called.append(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(inference, name, counted)
    unary, *others = leaves(problem)
    gcrf_inference(unary, *others, solver=solver, max_iters=1000).sum().backward()
    # the factors serve the backward pass too
    assert called == ([used] if used == "factorise_and_solve" else [used] * 2)


def matmul_flops(num_frames, neighbourhood):
    """Of products alone: factorisations and triangular solves are not counted."""
    problem = random_problem(
        num_frames, neighbourhood, batch=1, size=400, columns=16, spatial_dim=32, temporal_dim=32
    )
    operator = operator_of(problem)
    root = coupling_root(problem.coupling)
    in_place = {torch.ops.aten.baddbmm_: lambda *shapes, **_: baddbmm_flop(*shapes)}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        solve(operator, factorise(operator, root), problem.unary)
    return counter.get_total_flops()


def test_cost_is_linear_in_frames():
    flops = {
        (n, name): matmul_flops(n, name) for n, name in itertools.product((8, 16), NEIGHBOURHOODS)
    }
    for name in NEIGHBOURHOODS:
        # 10 % for the mixing of frames, O(V^2) but without N
        assert 1.9 < flops[16, name] / flops[8, name] < 2.2
        assert flops[16, name] <= 2 * flops[16, ()]


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_nothing_of_the_size_of_the_matrix_is_kept(neighbourhood):
    problem = random_problem(
        2, neighbourhood, batch=1, size=100, columns=8, spatial_dim=16, temporal_dim=16
    )
    # embeddings over the root of their positions, as in the module
    repeated = [t.repeat(1, 32, 1, 1).float() for t in scaled(problem, 0.1)[:3]]
    inputs = [*repeated, temporal_coupling(64, neighbourhood), torch.tensor(1.0)]
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        x = gcrf_inference(*[t.requires_grad_() for t in inputs], solver="direct")
    assert x.isfinite().all()
    assert 0 < max(sizes) <= 64 * 100 * 16  # an embedding


def test_zero_right_hand_sides_are_solved_at_once(monkeypatch):
    """Of a whole clip, say, whose gradient is zero: there is nothing to refine."""
    monkeypatch.setattr("videogcrf_det.gcrf.direct._refine", None)
    problem = random_problem(3)
    problem.unary[0] = 0
    _, result = direct(problem)
    assert result.residual[0] == 0
    assert (result.solution[0] == 0).all()
    assert result.solution[1].abs().max() > 0
