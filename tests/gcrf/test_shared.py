"""Windows that share their work, against dense solves of each window, averaged by hand."""

from operator import itemgetter

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.support.gpu import GPUTensor, simulated_gpu
from tests.support.reference import NEIGHBOURHOODS, Problem, reference_coupling, reference_solve
from videogcrf_det.gcrf import (
    IndefiniteError,
    ProductField,
    shared,
)
from videogcrf_det.gcrf.embedding import Embeddings
from videogcrf_det.gcrf.fields import build_field

pytestmark = pytest.mark.filterwarnings("ignore:.*CUDA is not available")


def video(count, channels=3, spatial=2, temporal=2, labels=1, strength=1.0, sizes=((3, 4),)):
    """Unaries and embeddings of frames, whose sizes take turns."""
    generator = torch.Generator().manual_seed(0)
    frames = []
    for number in range(count):
        height, width = sizes[number % len(sizes)]

        def randn(*shape, scale=1.0):
            return scale * torch.randn(1, *shape, generator=generator)

        cells = height * width * labels
        embeddings = [
            randn(dim, cells, scale=strength) if dim else None for dim in (spatial, temporal)
        ]
        frames.append((randn(channels, height, width), Embeddings(*embeddings)))
    return frames


def averaged(frames, length, step, coupling, lam, labels=False):
    """Dense solves in float64; windows as average_windows describes them."""
    most = max(unary.shape[2:].numel() * (unary.shape[1] if labels else 1) for unary, _ in frames)

    def rows(part):
        part = part.flatten(1)[None, None] if labels and part.dim() == 4 else part[None].flatten(3)
        return F.pad(part, (0, most - part.shape[3]))

    unaries = torch.cat([rows(unary) for unary, _ in frames], 1).mT
    embeddings = [
        None if parts[0] is None else torch.cat([rows(part) for part in parts], 1)
        for parts in (
            [e.spatial for _, e in frames],
            [e.temporal for _, e in frames],
        )
    ]
    length = min(length, len(frames))
    starts = list(range(0, len(frames) - length + 1, step))
    total, count = np.zeros(unaries.shape), np.zeros((1, len(frames), 1, 1))

    def add(start, window):
        part = [e if e is None else e[:, start : start + length] for e in embeddings]
        x = lam * reference_solve(Problem(unaries[:, start : start + length], *part, coupling, lam))
        total[:, window] += x[:, window.start - start :].numpy()
        count[:, window] += 1

    for start in starts:
        add(start, slice(start, start + length))
    if starts[-1] + length < len(frames):  # the last window speaks for those that no other covers
        add(len(frames) - length, slice(starts[-1] + length, len(frames)))
    means = torch.from_numpy(total / count).mT[0]
    return [
        mean[..., : unary[0, 0].numel() * (unary.shape[1] if labels else 1)].reshape(unary.shape)
        for mean, (unary, _) in zip(means, frames, strict=True)
    ]


def close(found, expected, tolerance=1e-5):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.view_as(b).double(), b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        *(({"neighbourhood": name}, {}) for name in NEIGHBOURHOODS),
        ({"neighbourhood": (1,), "self_coupling": "zero", "lam": 30.0}, {}),
        ({"spatial_dim": 0}, {"spatial": 0}),
        ({"temporal_dim": 0}, {"temporal": 0}),
        ({"num_labels": 3}, {"labels": 3}),
        ({}, {"channels": 20, "spatial": 70, "temporal": 3}),
        ({}, {"sizes": ((3, 4), (2, 5), (4, 4))}),
    ],
    ids=str,
)
@pytest.mark.parametrize(("count", "step"), [(6, 1), (9, 3), (2, 1)])
def test_equals_dense_solves_of_windows(options, kind, count, step):
    field = ProductField(3, **{"lam": 0.5, **options})
    frames = video(count, **kind)
    coupling = field.coupling(min(count, 4)).double()
    if field.temporal is None:
        coupling = torch.zeros_like(coupling)
    with torch.no_grad():
        found = [x for _, x in field.infer_video(frames, 4, step)]
    lam = float(field.lam.detach())
    close(found, averaged(frames, 4, step, coupling, lam, bool(field.num_labels)))


@pytest.mark.parametrize("strength", [30.0, 3000.0])
def test_hard_systems_are_solved_in_double(strength):
    """Of embeddings larger than a frame float32 loses lam, or leaves nothing of the solution."""
    field = ProductField(3, lam=0.1)
    frames = video(5, channels=20, spatial=20, temporal=20, strength=strength)
    coupling = torch.from_numpy(reference_coupling(3, (), "psd"))
    with torch.no_grad():
        found = [x for _, x in field.infer_video(frames, 3)]
    expected = averaged(frames, 3, 1, coupling, float(field.lam.detach()))
    for a, b in zip(found, expected, strict=True):
        assert (a.view_as(b) - b).norm() < 1e-5 * b.norm()


def test_what_is_of_a_frame_is_made_once(monkeypatch):
    made = []
    eliminate = shared.eliminate
    monkeypatch.setattr(shared, "eliminate", lambda *a: (made.append(1), eliminate(*a))[1])
    with torch.no_grad():
        list(ProductField(3).infer_video(video(7), 4))
    assert len(made) == 7


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("product", {"solver": "cg"}),
        ("product", {"coupled": False}),
        ("average", {"block_size": 0}),
        ("average", {"block_size": 2}),
    ],
)
def test_other_fields_average_what_they_infer(name, options):
    field = build_field(name, 3, **options)
    with torch.no_grad():
        maps = torch.randn(5, 3, 4, 6)
        embedded = field.embed(maps, torch.ones(5, 1, 4, 6))
        frames = [(maps[i : i + 1], embedded.map(itemgetter(slice(i, i + 1)))) for i in range(5)]
        found = [x for _, x in field.infer_video(frames, 3)]
        total, count = torch.zeros_like(maps), torch.zeros(5, 1, 1, 1)
        for window in (slice(0, 3), slice(1, 4), slice(2, 5)):
            part = Embeddings(*(e if e is None else e[window] for e in embedded))
            total[window] += field.infer(maps[window], part, [3])
            count[window] += 1
    close(found, (total / count).double().split(1))


def test_a_window_waits_for_a_gpu_once():
    field = ProductField(3)
    frames = video(6, channels=20)
    expected = [x.detach().double() for _, x in field.infer_video(frames, 4)]
    given = [
        (GPUTensor(unary), Embeddings(*(GPUTensor(e) for e in embeddings[:2])))
        for unary, embeddings in frames
    ]
    field.log_lam = GPUTensor(field.log_lam)
    with simulated_gpu() as waits, torch.no_grad():
        found = [x for _, x in field.infer_video(given, 4)]
        assert len(waits) == 3, waits
    close([x.values for x in found], expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", range(3))
def test_values_that_are_not_finite(which, value):
    frames = video(4)
    unary, embeddings = frames[2]
    [unary, *embeddings][which].flatten()[1] = value
    with torch.no_grad(), pytest.raises(ValueError, match="holds values that are not finite"):
        list(ProductField(3).infer_video(frames, 2))


def test_indefinite_couplings_are_found():
    field = ProductField(3, lam=0.01, self_coupling="zero")
    with torch.no_grad(), pytest.raises(IndefiniteError, match=r"lam = 0\.01"):
        list(field.infer_video(video(4), 2))
