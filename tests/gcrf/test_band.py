import numpy as np
import pytest
import torch

from videogcrf_det.gcrf.band import band_cholesky, band_solve

BANDS = [(rows, width) for rows in (1, 2, 5, 9) for width in (1, 2, 3, 4)]
DIM = 3


def random_factor(rows, width, batch=3):
    """L (B, r D, r D), well conditioned, with blocks at most ``width - 1`` below the diagonal."""
    factor = torch.randn(batch, rows, DIM, rows, DIM, dtype=torch.double).tril_().numpy()
    factor = factor.reshape(batch, rows * DIM, rows * DIM)
    row = np.arange(rows * DIM)
    distance = row[:, None] // DIM - row // DIM
    factor = np.tril(factor) * (distance < width)
    factor[:, row, row] = np.abs(factor[:, row, row]) + 3
    return factor


def to_band(matrix, rows, width):
    """The lower blocks by block column, zero where they lie below the matrix."""
    blocks = np.zeros((len(matrix), rows, width, DIM, DIM))
    split = matrix.reshape(len(matrix), rows, DIM, rows, DIM)
    for j in range(rows):
        for offset in range(min(width, rows - j)):
            blocks[:, j, offset] = split[:, j + offset, :, j]
    return torch.from_numpy(blocks)


@pytest.mark.parametrize(("rows", "width"), BANDS)
def test_cholesky_equals_the_dense_one(rows, width):
    lower = random_factor(rows, width)
    matrix = lower @ lower.transpose(0, 2, 1)
    blocks = to_band(matrix, rows, width)
    given = blocks.clone()
    factor, positive = band_cholesky(blocks)
    assert positive.tolist() == [True] * 3
    assert torch.equal(blocks, given)  # the caller's blocks are left alone
    expected = to_band(np.linalg.cholesky(matrix), rows, width)
    torch.testing.assert_close(factor, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize(("rows", "width"), BANDS)
def test_solve_equals_the_dense_one(rows, width, columns):
    lower = random_factor(rows, width)
    matrix = lower @ lower.transpose(0, 2, 1)
    factor, _ = band_cholesky(to_band(matrix, rows, width))
    rhs = torch.randn(3, rows, DIM, columns, dtype=torch.double)
    given = rhs.clone()
    solution = band_solve(factor, rhs)
    assert torch.equal(rhs, given)
    expected = np.linalg.solve(matrix, rhs.reshape(3, rows * DIM, columns).numpy())
    torch.testing.assert_close(
        solution, torch.from_numpy(expected).view_as(rhs), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(("rows", "width"), BANDS)
def test_a_matrix_that_is_not_positive_definite_is_flagged(rows, width):
    lower = random_factor(rows, width)
    matrix = lower @ lower.transpose(0, 2, 1)
    # the last pivot alone: every block but the last is positive definite
    matrix[1, -1, -1] -= lower[1, -1, -1] ** 2 * 1.01
    assert np.linalg.eigvalsh(matrix[1])[0] < 0
    factor, positive = band_cholesky(to_band(matrix, rows, width))
    assert positive.tolist() == [True, False, True]
    expected = to_band(np.linalg.cholesky(matrix[[0, 2]]), rows, width)
    torch.testing.assert_close(factor[[0, 2]], expected, rtol=1e-10, atol=1e-10)


# --- what the solver asks of torch ---------------------------------------------------------------

# Batched LU of 256 rows and more returned garbage on CPUs with more than one thread, sometimes
# without an error: every factorisation in use is held to its residual there.
BATCH = 4


@pytest.fixture(params=[1, 2])
def _threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


on_large_batches = pytest.mark.parametrize(
    ("size", "dtype"),
    [(size, dtype) for size in (256, 512) for dtype in (torch.float32, torch.float64)],
)


def random_symmetric(size, dtype, *, definite):
    values = torch.randn(BATCH, size, size, dtype=torch.double)
    matrix = values @ values.mT / size + torch.eye(size) if definite else values + values.mT
    return matrix.to(dtype)


def relative(error, scale):
    """The largest relative error of the batch, in units of the rounding of n operations."""
    norms = error.double().flatten(1).norm(dim=1) / scale.double().flatten(1).norm(dim=1)
    assert norms.isfinite().all()
    return norms.max().item() / (torch.finfo(error.dtype).eps * error.shape[-2])


@pytest.mark.usefixtures("_threads")
@on_large_batches
def test_batched_cholesky(size, dtype):
    matrix = random_symmetric(size, dtype, definite=True)
    factor, info = torch.linalg.cholesky_ex(matrix)
    assert info.tolist() == [0] * BATCH
    assert torch.equal(factor, factor.tril())
    assert relative(factor @ factor.mT - matrix, matrix) < 1
    matrix[2, -1, -1] = -1
    assert (torch.linalg.cholesky_ex(matrix)[1] != 0).tolist() == [False, False, True, False]


@pytest.mark.usefixtures("_threads")
@on_large_batches
def test_batched_triangular_solves(size, dtype):
    factor = torch.linalg.cholesky_ex(random_symmetric(size, dtype, definite=True))[0]
    rows = torch.randn(BATCH, 40, size, dtype=dtype)
    for rhs in (rows.mT, rows.mT.contiguous()):
        x = torch.linalg.solve_triangular(factor, rhs, upper=False)
        assert relative(factor @ x - rhs, rhs) < 1
        x = torch.linalg.solve_triangular(factor.mT, rhs, upper=True)
        assert relative(factor.mT @ x - rhs, rhs) < 1
        x = torch.linalg.solve_triangular(factor.mT, rhs.mT, upper=True, left=False)
        assert relative((x @ factor.mT - rhs.mT).mT, rhs) < 1


@pytest.mark.usefixtures("_threads")
@on_large_batches
def test_batched_ldl(size, dtype):
    matrix = random_symmetric(size, dtype, definite=False)
    factor, pivots, info = torch.linalg.ldl_factor_ex(matrix)
    assert info.tolist() == [0] * BATCH
    assert (pivots < 0).any()  # 2x2 blocks are among them
    rhs = torch.randn(BATCH, size, 40, dtype=dtype)
    x = torch.linalg.ldl_solve(factor, pivots, rhs)
    # backward stable: the residual is small against |matrix| |x|, whatever the condition
    scale = matrix.double().norm(dim=(1, 2)) * x.double().norm(dim=(1, 2))
    assert relative(matrix @ x - rhs, scale[:, None]) < 1


@pytest.mark.usefixtures("_threads")
@pytest.mark.parametrize("size", [64, 256])
def test_eigenvalues(size):
    """Of one matrix in float64, as they are asked for: W has a row for each frame."""
    matrix = random_symmetric(size, torch.float64, definite=False)[:1]
    values, vectors = torch.linalg.eigh(matrix[0])
    assert relative(matrix @ vectors - vectors * values, matrix) < 1
    identity = torch.eye(size, dtype=torch.float64)[None]
    assert relative(vectors.mT @ vectors - identity, identity) < 1
