import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, baddbmm_flop

from tests.support.reference import NEIGHBOURHOODS, SELF_COUPLINGS, random_problem, reference_matrix
from videogcrf_det.gcrf import SpatioTemporalOperator

CASES = [
    (num_frames, neighbourhood, self_coupling)
    for num_frames in (1, 2, 4, 7)
    for neighbourhood in NEIGHBOURHOODS
    for self_coupling in SELF_COUPLINGS
]


def dense_product(matrix, p):
    matrix = torch.from_numpy(matrix)
    return (matrix @ p.flatten(1, 2)).view_as(p)


@pytest.mark.parametrize(("num_frames", "neighbourhood", "self_coupling"), CASES)
def test_equals_the_dense_matrix(num_frames, neighbourhood, self_coupling):
    problem = random_problem(num_frames, neighbourhood, self_coupling)
    operator = SpatioTemporalOperator(*problem[1:])
    matrix = reference_matrix(*problem[1:])
    torch.testing.assert_close(operator.dense(), torch.from_numpy(matrix))
    p = torch.randn_like(problem.unary)
    torch.testing.assert_close(operator.matvec(p), dense_product(matrix, p))


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_spatial_terms_alone(neighbourhood):
    problem = random_problem(4, neighbourhood)._replace(temporal=None, coupling=None)
    operator = SpatioTemporalOperator(*problem[1:])
    matrix = reference_matrix(*problem[1:])
    torch.testing.assert_close(operator.dense(), torch.from_numpy(matrix))
    p = torch.randn_like(problem.unary)
    torch.testing.assert_close(operator.matvec(p), dense_product(matrix, p))


def test_temporal_terms_alone():
    problem = random_problem(4, (1, 2))._replace(spatial=None)
    operator = SpatioTemporalOperator(*problem[1:])
    matrix = reference_matrix(*problem[1:])
    torch.testing.assert_close(operator.dense(), torch.from_numpy(matrix))


def test_uneven_weights():
    """Weights that differ between pairs, and weights that differ on the diagonal alone."""
    problem = random_problem(4, spatial_dim=6, temporal_dim=2)
    frame = torch.arange(4.0, dtype=torch.double)
    decaying = torch.exp(-(frame[:, None] - frame).abs() / 2)
    uneven_diagonal = torch.full((4, 4), 0.3, dtype=torch.double) + torch.diag(frame)
    for coupling in (decaying, uneven_diagonal):
        problem = problem._replace(coupling=coupling)
        operator = SpatioTemporalOperator(*problem[1:])
        expected = torch.from_numpy(reference_matrix(*problem[1:]))
        torch.testing.assert_close(operator.dense(), expected)


@pytest.mark.parametrize("self_coupling", SELF_COUPLINGS)
def test_equations_6_7_and_8_agree(self_coupling):
    problem = random_problem(5, (), self_coupling)
    _, spatial, temporal, coupling, lam = problem
    p = torch.randn_like(problem.unary)
    batch, num_frames = p.shape[:2]
    naive, cached, neighbours = torch.zeros_like(p), torch.zeros_like(p), torch.zeros_like(p)
    for clip in range(batch):
        own = [
            lam * p[clip, v] + spatial[clip, v].T @ spatial[clip, v] @ p[clip, v] for v in range(5)
        ]
        projected = [temporal[clip, v] @ p[clip, v] for v in range(num_frames)]
        shared = sum(projected)
        for v in range(num_frames):
            t = temporal[clip, v].T
            naive[clip, v] = own[v]
            for u in range(num_frames):  # Eq. 6: every pair by itself, N x N matrices and all
                naive[clip, v] += coupling[v, u] * (t @ temporal[clip, u]) @ p[clip, u]
            # Eq. 7: one sum for all frames, less a frame's own part
            cached[clip, v] = own[v] + t @ (shared - (1 - coupling[v, v]) * projected[v])
            # Eq. 8: the sum over the neighbours
            linked = [coupling[v, u] * projected[u] for u in range(num_frames)]
            neighbours[clip, v] = own[v] + t @ sum(linked)
    result = SpatioTemporalOperator(*problem[1:]).matvec(p)
    torch.testing.assert_close(result, naive)
    torch.testing.assert_close(result, cached)
    torch.testing.assert_close(result, neighbours)


def test_cost_is_linear_in_frames_and_unknowns():
    def flops(num_frames, size):
        problem = random_problem(num_frames, batch=1, size=size, columns=2)
        operator = SpatioTemporalOperator(*problem[1:])
        # it does not know of the product that adds in place
        in_place = {torch.ops.aten.baddbmm_: lambda *shapes, **_: baddbmm_flop(*shapes)}
        with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
            operator.matvec(problem.unary)
        return counter.get_total_flops()

    # two thin products with each embedding, 2 operations per multiply-add: 4 V N (Ds + Dt) C
    assert flops(3, 10) == 4 * 3 * 10 * (4 + 5) * 2
    assert flops(6, 10) == 2 * flops(3, 10)
    assert flops(3, 40) == 4 * flops(3, 10)


def test_non_contiguous_inputs():
    problem = random_problem(3)
    spatial = problem.spatial.mT.contiguous().mT
    temporal = problem.temporal.transpose(0, 1).contiguous().transpose(0, 1)
    p = torch.randn(2, 3, 3, 7, dtype=torch.double).mT
    assert not any(t.is_contiguous() for t in (spatial, temporal, p))
    operator = SpatioTemporalOperator(spatial, temporal, problem.coupling, problem.lam)
    expected = dense_product(reference_matrix(*problem[1:]), p.contiguous())
    torch.testing.assert_close(operator.matvec(p), expected)
