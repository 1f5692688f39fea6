"""The operations on each device that is there, against dense float64 solves on the CPU.

``pytest tests/gcrf/test_on_device.py`` is what to run on a GPU: elsewhere those cases are skipped.
"""

import pytest
import torch

from tests.support.reference import dense_inference, random_problem
from videogcrf_det.gcrf import (
    ProductField,
    VideoGCRF,
    average,
    gcrf_inference,
    temporal_coupling,
    weighted_average,
)
from videogcrf_det.gcrf.band import band_cholesky, band_solve
from videogcrf_det.gcrf.elimination import positive_inverse
from videogcrf_det.gcrf.embedding import Embeddings


def there(name):
    missing = name == "cuda" and not torch.cuda.is_available()
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason=f"there is no {name} here"))


@pytest.fixture(params=[there("cpu"), there("cuda")])
def device(request):
    """With TF32 allowed, which solvers have to undo."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield torch.device(request.param)
    torch.set_float32_matmul_precision(before)


def close(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        assert (a.detach().cpu().double() - b).norm() <= tolerance * b.norm()


def leaves(tensors, device="cpu", dtype=torch.double):
    return [t.detach().to(device, dtype).requires_grad_() for t in tensors]


@pytest.mark.parametrize("neighbourhood", [(), (1,), (1, 2, 4)])
@pytest.mark.parametrize(("solver", "lam"), [("direct", 1.0), ("cg", 1.0), ("direct", 1e-3)])
@pytest.mark.parametrize("columns", [1, 20])
def test_inference_and_its_gradients(device, neighbourhood, solver, lam, columns):
    problem = random_problem(5, neighbourhood, size=40, columns=columns, spatial_dim=12, lam=lam)
    exact = leaves(problem[:3])
    x = dense_inference(*exact, problem.coupling, lam)
    x.sum().backward()
    given = leaves(problem[:3], device, torch.float32)
    coupling = temporal_coupling(5, neighbourhood)
    found = gcrf_inference(*given, coupling, lam, solver=solver, rtol=1e-6)
    found.sum().backward()
    tolerance = 1e-4 if lam == 1 else 1e-2
    close([found, *(t.grad for t in given)], [x, *(t.grad for t in exact)], tolerance)


@pytest.mark.parametrize("dense", [0, 256])
@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_averages_and_their_gradients(device, dense, solver, monkeypatch):
    """Those of a constant are that constant."""
    monkeypatch.setattr(average, "DENSE", dense)
    generator = torch.Generator().manual_seed(0)
    unary = torch.randn(2, 3, 11, 4, generator=generator)
    confidence = torch.rand(2, 3, 11, generator=generator) + 0.1
    embedding = torch.rand(2, 3, 5, 11, generator=generator)
    coupling = temporal_coupling(3)
    weights = torch.einsum("bvdn,vu,budm->bvnum", embedding, coupling, embedding)
    weights = weights.flatten(3).flatten(1, 2).double()
    c = confidence.flatten(1).double()
    matrix = torch.diag_embed(c + weights.sum(2)) - weights
    exact = torch.linalg.inv(matrix) @ (c[..., None] * unary.flatten(1, 2).double())
    given = leaves([unary, confidence, embedding], device, torch.float32)
    x = weighted_average(*given, coupling, solver=solver, rtol=1e-6)
    close([x.flatten(1, 2)], [exact], 1e-5)
    x.sum().backward()
    assert all(t.grad.isfinite().all() for t in given)
    ones = weighted_average(torch.ones_like(given[0]), *given[1:], coupling, solver=solver)
    torch.testing.assert_close(ones.detach().cpu(), torch.ones_like(unary), rtol=1e-4, atol=0)


def test_factorisations(device):
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randn(3, 4, 2, 64, 64, generator=generator)
    blocks[:, :, 0] = blocks[:, :, 0] @ blocks[:, :, 0].mT + 300 * torch.eye(64)
    blocks[:, -1, 1] = 0
    dense = torch.zeros(3, 4, 64, 4, 64, dtype=torch.double)
    for j in range(4):
        dense[:, j, :, j] = blocks[:, j, 0]
        if j < 3:
            dense[:, j + 1, :, j], dense[:, j, :, j + 1] = blocks[:, j, 1], blocks[:, j, 1].mT
    rhs = torch.randn(3, 4, 64, 2, generator=generator)
    factor, positive = band_cholesky(blocks.to(device))
    assert positive.all()
    exact = torch.stack(
        [
            torch.linalg.solve(m.view(256, 256), b.view(256, 2).double())
            for m, b in zip(dense, rhs, strict=True)
        ]
    )
    close([band_solve(factor, rhs.to(device)).flatten(1, 2)], [exact], 1e-4)

    couplings = torch.rand(2, 33, 33, generator=generator, dtype=torch.double)
    excess = 1e-9 * torch.rand(2, 33, generator=generator, dtype=torch.double)
    inverse = positive_inverse(couplings.to(device), excess.to(device))
    ones = (inverse @ excess[..., None].to(device)).cpu()
    torch.testing.assert_close(ones, torch.ones_like(ones), rtol=1e-12, atol=0)


def test_windows(device):
    generator = torch.Generator().manual_seed(0)
    field = ProductField(3, spatial_dim=4, temporal_dim=4).to(device)
    unary = torch.randn(5, 20, 3, 4, generator=generator)
    parts = [torch.randn(5, 4, 12, generator=generator) for _ in range(2)]
    total, count = torch.zeros_like(unary, dtype=torch.double), torch.zeros(5, 1, 1, 1)
    for start in range(3):
        window = slice(start, start + 3)
        rows = unary[window].flatten(2).mT[None].double()
        embeddings = [part[None, window].double() for part in parts]
        x = dense_inference(rows, *embeddings, field.coupling(3).double(), 1.0)
        total[window] += x[0].mT.view_as(unary[window])
        count[window] += 1
    frames = [
        (unary[i : i + 1].to(device), Embeddings(*(part[i : i + 1].to(device) for part in parts)))
        for i in range(5)
    ]
    with torch.no_grad():
        found = [x.view(20, 3, 4) for _, x in field.infer_video(frames, 3)]
    close(found, list(total / count), 1e-5)


@pytest.mark.parametrize("options", [{}, {"pairwise": "average"}, {"num_labels": 3}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_layers_under_autocast(device, options, dtype):
    """The loss and its gradients are those of the CPU without autocast, to half precision."""
    dims = {"dim": 4} if "pairwise" in options else {"temporal_dim": 4, "spatial_dim": 4}
    torch.manual_seed(0)
    module = VideoGCRF.build(5, **dims, conv_dim=4, fusion="replace", **options)
    features = torch.randn(6, 5, 6, 7)
    given = {"unary": torch.randn(6, 3, 6, 7)} if "num_labels" in options else {}
    loss = module(features, [4, 2], **given).square().sum()
    loss.backward()
    expected = [loss.detach().double(), *(p.grad.double() for p in module.parameters())]
    module.zero_grad()
    module.to(device)
    with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
        given = {name: value.to(device) for name, value in given.items()}
        loss = module(features.to(device), [4, 2], **given).square().sum()
    loss.backward()
    close([loss, *(p.grad for p in module.parameters())], expected, 1e-3)


@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_values_that_are_not_finite(device, solver):
    tensors = [t.to(device, torch.float32) for t in random_problem(3)[:3]]
    tensors[1][0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="spatial holds values that are not finite"):
        gcrf_inference(*tensors, temporal_coupling(3), 1.0, solver=solver)
