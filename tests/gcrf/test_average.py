from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.support.reference import NEIGHBOURHOODS, SELF_COUPLINGS, reference_coupling
from videogcrf_det.gcrf import VideoGCRF, average, elimination, weighted_average
from videogcrf_det.gcrf.elimination import positive_inverse

EXACT = {"rtol": 1e-12, "max_iters": 1000}


@pytest.fixture(params=["formed", "direct", "cg"])
def solver(request, monkeypatch):
    """For each way to the solution: systems of this size are formed unless forbidden."""
    if request.param == "formed":
        return "auto"
    monkeypatch.setattr(average, "DENSE", 0)
    return request.param


@pytest.fixture(params=["formed", "eliminated"])
def exact(request, monkeypatch):
    """For each of the ways that promise an average whatever the confidences."""
    if request.param == "eliminated":
        monkeypatch.setattr(average, "DENSE", 0)


def problem(num_frames=3, neighbourhood=(), self_coupling="psd", batch=2, size=6, dim=4):
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
    given = problem(3, (1,), batch=1, size=3)
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


# --- small and large confidences -----------------------------------------------------------------

SHAPES = [(1, 40, 8), (2, 9, 3), (4, 1, 8), (4, 8, 8), (5, 6, 4)]  # V, N, D
CONFIDENCES = [1e-8, 1e-5, 1.0, 1e4]


def fuzzed(seed, level):
    """unary, confidence, embedding, W, in float64 but of numbers that float32 holds.

    ``level`` is that of the confidences; None: each has its own, from 1e-8 to 1e4.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator).double()

    frames, size, dim = SHAPES[seed % len(SHAPES)]
    names = (*NEIGHBOURHOODS[1:], ())
    coupling = reference_coupling(frames, names[seed % len(names)], SELF_COUPLINGS[seed % 2])
    if frames == 1:
        coupling[:] = 1  # a frame by itself, as the layer couples it
    if level is None:
        confidence = (10 ** (12 * draw(2, frames, size) - 8)).float().double()
    else:
        confidence = (level * (0.1 + draw(2, frames, size))).float().double()
    # roots of a softmax, over the root of the positions, as the layer makes them
    embedding = (6 * draw(2, frames, dim, size)).softmax(2).div(size).sqrt().float().double()
    confidence[:, :, -size // 4 :], embedding[..., -size // 4 :] = 0, 0  # padding
    unary = 2 * draw(2, frames, size, 3) - 1
    coupling = torch.from_numpy(coupling).float().double()
    if size == 1:  # no padding there
        confidence[:], embedding[:] = draw(*confidence.shape) * (level or 1e-5), draw(1)
    return unary, confidence, embedding, coupling


def weights_of(confidence, embedding, coupling):
    """Of each unknown, those of all unaries (B, V N, V N), and the trusted unknowns."""
    batch, frames, size = confidence.shape
    units = torch.eye(frames * size).view(1, frames, size, -1).expand(batch, -1, -1, -1)
    found = weighted_average(units, confidence.float(), embedding.float(), coupling.float())
    return found.flatten(1, 2), confidence.flatten(1) > 0


@pytest.mark.parametrize("level", [*CONFIDENCES, None])
@pytest.mark.parametrize("seed", range(len(SHAPES)))
@pytest.mark.usefixtures("exact")
def test_weights_are_those_of_an_average(seed, level):
    """In float32: not negative, of sum 1, and each right to a few digits, however small."""
    _, confidence, embedding, coupling = fuzzed(seed, level)
    found, trusted = weights_of(confidence, embedding, coupling)
    assert (found >= 0).all()
    assert (found[~trusted] == 0).all()
    assert (found.sum(2)[trusted] - 1).abs().max() <= 1e-5
    pairs = torch.einsum("bvdi,vu,budj->bviuj", embedding, coupling, embedding)
    pairs = pairs.flatten(3).flatten(1, 2)
    expected = positive_inverse(pairs, confidence.flatten(1)) * confidence.flatten(1)[:, None]
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("level", CONFIDENCES)
@pytest.mark.parametrize("one_by_one", [0, 20, 2048])
def test_inverse_without_subtraction(level, one_by_one, monkeypatch):
    """Against rational arithmetic, entry by entry; unknowns are eliminated by halves, or one by
    one, or by halves at first."""
    monkeypatch.setattr(elimination, "ONE_BY_ONE", one_by_one)
    generator = torch.Generator().manual_seed(1)
    couplings = torch.rand(2, 7, 7, generator=generator) ** 20  # over many orders of magnitude
    excess = level * torch.rand(2, 7, generator=generator)
    excess[0, :5] = 0
    found = positive_inverse(couplings, excess)
    for k, e, inverse in zip(couplings.tolist(), excess.tolist(), found.tolist(), strict=True):
        exact = rational_inverse(k, e)
        for i in range(7):
            assert inverse[i] == pytest.approx([float(x) for x in exact[i]], rel=1e-5)


def rational_inverse(couplings, excess):
    size = len(excess)
    rows = [[-Fraction(x) for x in row] for row in couplings]
    for i, row in enumerate(rows):
        row[i] = Fraction(excess[i]) - sum(row[:i] + row[i + 1 :])
        row += [Fraction(i == j) for j in range(size)]
    for i in range(size):
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for j in range(size):
            if j != i:
                factor = rows[j][i]
                rows[j] = [a - factor * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]


@pytest.mark.parametrize("level", CONFIDENCES)
@pytest.mark.parametrize("seed", range(len(SHAPES)))
@pytest.mark.usefixtures("exact")
def test_gradients_of_float32_equal_those_of_float64(seed, level):
    given = fuzzed(seed, level)
    weight = torch.randn_like(given[0])
    grads = []
    for infer, dtype in ((weighted_average, torch.float32), (trusted_average, torch.double)):
        inputs = [part.to(dtype).requires_grad_() for part in given]
        (infer(*inputs) * weight.to(dtype)).sum().backward()
        grads.append([part.grad.double() for part in inputs])
    (unary, confidence, embedding, _), expected = grads
    trusted = given[1] > 0
    assert error(unary, expected[0]) <= 1e-5
    # with respect to their logarithms; against large confidences next to nothing is left
    trust, expected_trust = ((g * given[1])[trusted] for g in (confidence, expected[1]))
    assert (trust - expected_trust).norm() <= 1e-5 * (expected_trust.norm() + 0.1 * weight.norm())
    # not only of its own size, which goes to zero with the confidences, where nothing is formed
    size = expected[2].norm() if average.DENSE else expected[2].norm() + 1e-2 * weight.norm()
    size = size + 1e-11 / level * weight.norm()  # what the reference itself loses
    where = trusted[:, :, None].expand_as(embedding)  # those of padding are not used
    assert (embedding - expected[2])[where].norm() <= 1e-4 * size


def trusted_average(unary, confidence, embedding, coupling):
    """``dense``, of the unknowns that have a confidence."""
    padding = (confidence == 0).double()
    return dense(unary, confidence + padding, embedding, coupling) * (1 - padding)[..., None]


def error(found, expected):
    return (found - expected).norm() / expected.norm()


@pytest.mark.parametrize("lam", [1e-7, 1e-3, 10.0])
@pytest.mark.parametrize("block_size", [0, 1, 3, 4])
def test_layers_leave_what_is_the_same_everywhere(block_size, lam):
    """With blocks over the border, padding, and clips of several lengths."""
    module = VideoGCRF.build(
        5,
        pairwise="average",
        dim=4,
        conv_dim=4,
        block_size=block_size,
        lam=lam,
        fusion="replace",
    )
    features = torch.randn(1, 5, 1, 1).expand(7, -1, 9, 10).clone()
    sizes = [(9, 10)] * 3 + [(7, 6)] * 4
    found = module(features, [3, 4], valid_sizes=sizes)
    for x, same, (height, width) in zip(found, features, sizes, strict=True):
        torch.testing.assert_close(
            x[:, :height, :width], same[:, :height, :width], rtol=1e-5, atol=1e-5
        )


@pytest.mark.usefixtures("exact")
def test_unknowns_coupled_to_none_that_is_trusted_are_zero():
    unary, confidence, embedding, coupling = problem(2, dim=2)
    embedding[..., :3, 0], embedding[:, :, 0, :3], embedding[:, :, 1, 3:] = 0, 0, 0
    confidence[..., :3] = 0  # a group of its own
    x = weighted_average(unary, confidence, embedding, coupling)
    assert (x[:, :, :3] == 0).all()
    alone = unary[:, :, 3:], confidence[..., 3:], embedding[..., 3:]
    torch.testing.assert_close(x[:, :, 3:], dense(*alone, coupling))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    given = problem(3)
    x = weighted_average(*(part.to(dtype) for part in given))
    assert x.dtype == dtype
    exact = dense(*(part.to(dtype).double() for part in given))
    torch.testing.assert_close(x.double(), exact, rtol=2 * torch.finfo(dtype).eps, atol=1e-2)
