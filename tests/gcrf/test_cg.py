import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from videogcrf_det.gcrf import IndefiniteError, conjugate_gradient


def spd_matrices(batch, size, *, smallest=0.05, seed=0):
    """(B, size, size) in float64, symmetric, eigenvalues from ``smallest`` up to about 4."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(batch, size, size, generator=generator, dtype=torch.double) / size**0.5
    return factor @ factor.mT + smallest * torch.eye(size, dtype=torch.double)


def randn(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def product_with(matrix):
    """The matvec of (B, n, n) matrices for p (B, V, N, C), n = V N."""
    return lambda p: (matrix @ p.flatten(1, 2)).view_as(p)


def dense_solution(matrix, rhs):
    solved = [np.linalg.solve(m, b) for m, b in zip(matrix, rhs.flatten(1, 2), strict=True)]
    return torch.from_numpy(np.stack(solved)).view_as(rhs)


def column_norms(rhs):
    return rhs.flatten(1, 2).norm(dim=1)


def test_equals_a_dense_solve():
    matrix, rhs = spd_matrices(2, 20), randn(2, 4, 5, 3)
    result = conjugate_gradient(product_with(matrix), rhs, rtol=1e-12)
    torch.testing.assert_close(result.solution, dense_solution(matrix, rhs), rtol=1e-9, atol=1e-9)
    assert result.converged.all()
    for field in (result.num_iters, result.residual_norm, result.converged):
        assert field.shape == (2, 3)


@pytest.mark.parametrize("rtol", [1e-1, 1e-4, 1e-9])
def test_stops_as_soon_as_the_residual_is_small_enough(rtol):
    """With the same rule as scipy, in the same iteration, for every clip and column."""
    matrix = spd_matrices(3, 24, smallest=0.5)
    rhs = randn(3, 2, 12, 4) * torch.tensor([1.0, 1e-6, 1e4, 0.3])
    result = conjugate_gradient(product_with(matrix), rhs, rtol=rtol)
    residual = column_norms(rhs - product_with(matrix)(result.solution))
    assert (residual <= rtol * column_norms(rhs) * (1 + 1e-6)).all()
    torch.testing.assert_close(result.residual_norm, residual, rtol=1e-3, atol=0)
    for clip in range(3):
        for column in range(4):
            b = rhs[clip, ..., column].flatten().numpy()
            steps = []
            x, _ = scipy.sparse.linalg.cg(matrix[clip].numpy(), b, rtol=rtol, callback=steps.append)
            assert result.num_iters[clip, column] == len(steps) > 0
            ours = result.solution[clip, ..., column].flatten().numpy()
            np.testing.assert_allclose(ours, x, rtol=1e-6, atol=1e-9 * np.abs(x).max())


def test_absolute_tolerance():
    """The larger of the two tolerances counts; below it already, a column takes no step."""
    matrix, rhs = spd_matrices(1, 20), randn(1, 1, 20, 3) * torch.tensor([1e-3, 1.0, 1e3])
    atol = 0.05
    result = conjugate_gradient(product_with(matrix), rhs, rtol=1e-3, atol=atol)
    for column in range(3):
        b = rhs[0, 0, :, column].numpy()
        steps = []
        scipy.sparse.linalg.cg(matrix[0].numpy(), b, rtol=1e-3, atol=atol, callback=steps.append)
        assert result.num_iters[0, column] == len(steps)
    assert result.num_iters[0, 0] == 0
    assert torch.equal(result.solution[..., 0], torch.zeros(1, 1, 20, dtype=torch.double))
    tolerance = (1e-3 * column_norms(rhs)).clamp(min=atol)
    assert (result.residual_norm <= tolerance).all()
    assert result.converged.all()


def test_a_batch_equals_a_loop():
    matrix, rhs = spd_matrices(3, 20, smallest=0.5), randn(3, 4, 5, 4)
    together = conjugate_gradient(product_with(matrix), rhs, rtol=1e-2)
    assert len(together.num_iters.unique()) > 1  # or freezing would not show
    for clip in range(3):
        for column in range(4):
            alone = conjugate_gradient(
                product_with(matrix[clip : clip + 1]),
                rhs[clip : clip + 1, ..., column : column + 1],
                rtol=1e-2,
            )
            for of_many, of_one in zip(together, alone, strict=True):
                part = of_many[clip : clip + 1, ..., column : column + 1]
                torch.testing.assert_close(part, of_one, rtol=1e-10, atol=1e-12)


def test_a_hard_column_leaves_an_easy_one_as_it_is():
    diagonal = torch.linspace(1, 100, 50, dtype=torch.double).view(1, 5, 10, 1)
    easy = torch.zeros(1, 5, 10, 1, dtype=torch.double)
    easy[0, 0, :2] = 1.0  # two eigenvectors: two steps
    hard = randn(1, 5, 10, 1)
    alone = conjugate_gradient(lambda p: diagonal * p, easy)
    both = conjugate_gradient(lambda p: diagonal * p, torch.cat([easy, hard], dim=-1))
    assert both.num_iters[0, 0] == alone.num_iters[0, 0] == 2
    assert both.num_iters[0, 1] > 20
    torch.testing.assert_close(both.solution[..., :1], alone.solution, rtol=0, atol=1e-15)
    assert both.converged.all()


def test_zero_right_hand_sides_give_exact_zeros():
    matrix, rhs = spd_matrices(2, 20), randn(2, 4, 5, 3)
    rhs[0, ..., 1] = 0
    for x0, atol in ((None, 0.0), (torch.ones_like(rhs), 0.0), (torch.ones_like(rhs), 1e-9)):
        result = conjugate_gradient(product_with(matrix), rhs, x0=x0, rtol=1e-11, atol=atol)
        assert torch.equal(result.solution[0, ..., 1], torch.zeros(4, 5, dtype=torch.double))
        assert result.num_iters[0, 1] == 0
        assert result.converged.all()
        expected = dense_solution(matrix, rhs)
        torch.testing.assert_close(result.solution, expected, rtol=1e-6, atol=1e-7)
    all_zero = conjugate_gradient(product_with(matrix), torch.zeros_like(rhs))
    assert torch.equal(all_zero.solution, torch.zeros_like(rhs))


def test_start():
    matrix, rhs = spd_matrices(2, 20), randn(2, 4, 5, 3)
    exact = dense_solution(matrix, rhs)
    cold = conjugate_gradient(product_with(matrix), rhs, rtol=1e-6)
    near = exact + 1e-4 * randn(2, 4, 5, 3, seed=2)
    untouched = near.clone()
    warm = conjugate_gradient(product_with(matrix), rhs, x0=near, rtol=1e-6)
    assert torch.equal(near, untouched)
    assert (warm.num_iters < cold.num_iters).all()
    residual = column_norms(rhs - product_with(matrix)(warm.solution))
    assert (residual <= 1e-6 * column_norms(rhs) * (1 + 1e-6)).all()
    done = conjugate_gradient(product_with(matrix), rhs, x0=exact, rtol=1e-6)
    assert torch.equal(done.num_iters, torch.zeros(2, 3, dtype=torch.long))
    assert torch.equal(done.solution, exact)


def test_the_right_hand_side_is_left_alone():
    matrix, rhs = spd_matrices(2, 20), randn(2, 4, 5, 3)
    untouched = rhs.clone()
    conjugate_gradient(product_with(matrix), rhs)
    assert torch.equal(rhs, untouched)


def test_gives_up_after_max_iters():
    matrix, rhs = spd_matrices(2, 20), randn(2, 4, 5, 3)
    calls = 0

    def counted(p):
        nonlocal calls
        calls += 1
        return product_with(matrix)(p)

    result = conjugate_gradient(counted, rhs, rtol=1e-10, max_iters=3)
    assert calls == 3 + 1  # the residual is measured
    assert not result.converged.any()
    assert torch.equal(result.num_iters, torch.full((2, 3), 3))
    residual = column_norms(rhs - product_with(matrix)(result.solution))
    torch.testing.assert_close(result.residual_norm, residual)
    assert (residual > 1e-10 * column_norms(rhs)).all()


def test_one_of_two_columns_converges():
    diagonal = torch.linspace(1, 100, 50, dtype=torch.double).view(1, 5, 10, 1)
    easy = torch.zeros(1, 5, 10, 1, dtype=torch.double)
    easy[0, 0, 0] = 1.0
    rhs = torch.cat([randn(1, 5, 10, 1), easy], dim=-1)
    result = conjugate_gradient(lambda p: diagonal * p, rhs, max_iters=4)
    assert result.converged.tolist() == [[False, True]]
    assert result.num_iters.tolist() == [[4, 1]]


@pytest.mark.parametrize("sign", [-1.0, 0.0])
def test_a_direction_without_curvature_is_an_error(sign):
    """p'Hp <= 0 for one column of one system is enough; so is a matrix that is only singular."""
    diagonal = torch.ones(2, 1, 6, 1, dtype=torch.double)
    diagonal[1, 0, 3:] = sign
    rhs = torch.zeros(2, 1, 6, 2, dtype=torch.double)
    rhs[:, 0, 0] = 1.0
    conjugate_gradient(lambda p: diagonal * p, rhs)  # never leaves the good directions
    rhs[1, 0, 4, 1] = 3.0
    with pytest.raises(IndefiniteError, match=r"not positive definite.*p'Hp = "):
        conjugate_gradient(lambda p: diagonal * (p * (diagonal <= 0) + p * 1e-6), rhs)


def test_an_indefinite_matrix_is_found_on_the_way():
    matrix = spd_matrices(1, 20)
    matrix -= 1.0 * torch.eye(20, dtype=torch.double)
    assert np.linalg.eigvalsh(matrix[0].numpy())[0] < 0
    with pytest.raises(IndefiniteError):
        conjugate_gradient(product_with(matrix), randn(1, 4, 5, 1), rtol=1e-10)
    assert issubclass(IndefiniteError, ArithmeticError)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_right_hand_sides_must_be_finite(value):
    rhs = randn(2, 4, 5, 3)
    rhs[1, 2, 3, 0] = value
    with pytest.raises(ValueError, match=r"right-hand side.*not finite"):
        conjugate_gradient(product_with(spd_matrices(2, 20)), rhs)


def test_float32():
    matrix, rhs = spd_matrices(2, 20, smallest=0.5), randn(2, 4, 5, 3)
    result = conjugate_gradient(product_with(matrix.float()), rhs.float(), rtol=1e-5)
    assert result.solution.dtype == torch.float32
    assert result.converged.all()
    torch.testing.assert_close(
        result.solution.double(), dense_solution(matrix, rhs), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("scale", [1e-12, 1e-18, 1e12, 1e18])
def test_scale_of_the_right_hand_side(scale):
    """Gradients of a saturated loss are this small: nothing may underflow or overflow."""
    matrix, rhs = spd_matrices(2, 20, smallest=0.5).float(), randn(2, 4, 5, 3).float()
    unit = conjugate_gradient(product_with(matrix), rhs)
    scaled = conjugate_gradient(product_with(matrix), rhs * scale)
    torch.testing.assert_close(scaled.solution / scale, unit.solution, rtol=1e-3, atol=1e-4)
    assert scaled.converged.all()


def test_the_residual_is_measured():
    """In float32 the one that is updated says 1e-5, and the true one stays above 1e-4."""
    vectors, _ = torch.linalg.qr(randn(1, 60, 60))
    matrix = (vectors * torch.logspace(0, 4, 60, dtype=torch.double)) @ vectors.mT
    rhs = randn(1, 3, 20, 4).float()
    result = conjugate_gradient(product_with(matrix.float()), rhs, rtol=1e-5)
    true = column_norms(rhs.double() - product_with(matrix)(result.solution.double()))
    relative = true / column_norms(rhs.double())
    assert (result.num_iters < 1000).all()
    assert relative.max() > 1e-4
    assert not result.converged.all()
    torch.testing.assert_close(result.residual_norm.double(), true, rtol=0.5, atol=0)
