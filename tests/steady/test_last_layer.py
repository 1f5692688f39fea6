"""Fields of maps that other features describe, and the variances of their chains."""

from contextlib import nullcontext

import pytest
import torch

from videogcrf_det import InputError
from videogcrf_det.gcrf.chain_field import described, link
from videogcrf_det.motion.warp import Motion
from videogcrf_det.steady import fit
from videogcrf_det.steady.clips import Clips
from videogcrf_det.steady.fields import SteadyFields
from videogcrf_det.steady.fit import Fitter
from videogcrf_det.steady.objective import SpoiltClip
from videogcrf_det.steady.stream import FieldStream, steady_clip, variance_of

V, C, H, W = 6, 5, 3, 4
PICTURE = torch.zeros(1, 3, 4 * H, 4 * W)


@pytest.fixture
def fields():
    torch.manual_seed(0)
    fields = SteadyFields({"x": C}, description={"x": "f"}, dim=4, num_convs=1, conv_dim=8)
    for parameter in fields.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    torch.nn.init.zeros_(fields.log_units["x"])
    return fields


@pytest.fixture
def features():
    torch.manual_seed(1)
    return {"x": torch.randn(V, 1, H, W), "f": torch.randn(V, C, H, W)}


def rows(features):
    return [{k: maps[v : v + 1] for k, maps in features.items()} for v in range(V)]


def streamed(fields, features, latency, strength=1.0, motion=None):
    stream, results = FieldStream(latency, strength), []
    for v, row in enumerate(rows(features)):
        results += stream.push(row, fields.describe(row, PICTURE), motion if v else None)
    results += stream.flush()
    return {k: torch.cat([row[k] for row in results]) for k in results[0]}


def of_clip(fields, features, strength=1.0):
    described = fields.describe(features, PICTURE)
    return steady_clip(features, described, [None] * V, strength)


def dense(fields, features, last, strength=1.0):
    """Means and variances (last + 1, H, W) given frames 0 to ``last``, by inverting matrices."""
    own = described(fields["x"](features["f"]))
    c = own.confidence[: last + 1, 0].double()
    w = strength * link(own.embedding[:last], own.embedding[1 : last + 1])[:, 0]
    means, variances = torch.zeros(last + 1, H, W), torch.zeros(last + 1, H, W)
    for row in range(H):
        for column in range(W):
            trust = c[:, row, column]
            matrix = torch.diag(trust)
            for v in range(last):
                for a, b in ((v, v + 1), (v + 1, v)):
                    matrix[a, a] += w[v, row, column]
                    matrix[a, b] -= w[v, row, column]
            inverse = torch.linalg.inv(matrix)
            means[:, row, column] = inverse @ (trust * features["x"][: last + 1, 0, row, column])
            variances[:, row, column] = inverse.diagonal()
    return means, variances


@pytest.mark.parametrize("latency", [0, 1, 3, None])
@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_mean_and_variance_are_those_of_the_system(fields, features, latency, strength):
    with torch.no_grad():
        found = streamed(fields, features, latency, strength)
        for v in range(V):
            last = V - 1 if latency is None else min(v + latency, V - 1)
            mean, variance = dense(fields, features, last, strength)
            torch.testing.assert_close(found["x"][v, 0], mean[v], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                found[variance_of("x")][v, 0], variance[v], rtol=1e-4, atol=1e-6
            )
    assert (found["f"] == features["f"]).all()


def test_clips_have_what_streams_give(fields, features):
    whole, past = of_clip(fields, features, 0.6)
    for made, latency in ((whole, None), (past, 0)):
        found = streamed(fields, features, latency, 0.6)
        assert set(made) == {"x", "x_variance"}  # not what describes them
        for name, maps in made.items():
            torch.testing.assert_close(maps, found[name])
    assert (whole["x_variance"] <= past["x_variance"] * 1.0001).all()  # more is known
    assert whole["x_variance"].requires_grad


def test_without_links_each_frame_is_as_sure_as_its_confidence(fields, features):
    found = streamed(fields, features, 1, 0.0)
    assert (found["x"] == features["x"]).all()
    torch.testing.assert_close(
        found["x_variance"], 1 / described(fields["x"](features["f"])).confidence
    )


def test_along_whole_cells_it_is_the_chain_of_a_still_picture(fields, features):
    """A picture that moves on by a cell a frame: seen from its own cells, nothing moves."""
    fields.eval()
    width = W + V
    torch.manual_seed(2)
    still = {"x": torch.randn(V, 1, 1, width), "f": torch.randn(V, C, 1, width)}
    one = SteadyFields({"x": C}, description={"x": "f"}, dim=4, num_convs=0, conv_dim=8)
    expected = streamed(one, still, 2)
    moving = {
        k: torch.stack([m.roll(v, 2) for v, m in enumerate(maps)]) for k, maps in still.items()
    }
    way = torch.tensor([1 / width, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, width)
    found = streamed(one, moving, 2, motion=Motion(-way, way))
    inside = slice(V, width - V + 1)  # what comes in at a border is not the same
    for name in ("x", "x_variance"):
        back = torch.stack([m.roll(-v, 2) for v, m in enumerate(found[name])])
        torch.testing.assert_close(
            back[..., inside], expected[name][..., inside], rtol=1e-4, atol=1e-5
        )


def test_files(fields, features, tmp_path):
    torch.nn.init.constant_(fields.log_units["x"], 0.7)
    fields.save(tmp_path / "fields.pth")
    loaded = SteadyFields.load(tmp_path / "fields.pth")
    before, after = (streamed(each, features, 1) for each in (fields, loaded))
    assert all((before[name] == after[name]).all() for name in before)
    content = torch.load(tmp_path / "fields.pth", weights_only=True)
    content["channels"] = {"f": "many"}
    torch.save(content, tmp_path / "broken.pth")
    with pytest.raises(InputError, match=r"broken.pth holds no fields"):
        SteadyFields.load(tmp_path / "broken.pth")


def test_the_unit_of_variances_is_learnt_without_labels(tmp_path, monkeypatch):
    """That of what held-out clips miss, on average: a hundred times for ten times the error."""
    monkeypatch.setattr(fit, "read_clip", lambda _: [])
    torch.manual_seed(3)
    found = []
    for factor in (1.0, 10.0):
        fitter = Fitter.__new__(Fitter)
        fitter.fields = SteadyFields({"x": C}, description={"x": "f"}, dim=4)
        for parameter in fitter.fields.parameters():
            torch.nn.init.constant_(parameter, 0.01)
        generator = torch.Generator().manual_seed(0)
        clear = {
            "x": factor * torch.randn(V, 1, H, W, generator=generator),
            "f": torch.randn(V, C, H, W, generator=generator),
        }
        seen = {
            "x": clear["x"] + factor * torch.randn(V, 1, H, W, generator=generator),
            "f": clear["f"],
        }
        valid = {"x": torch.ones(1, 1, H, W, dtype=torch.bool)}
        clip = SpoiltClip(
            [True] * V, seen, clear, valid, *[torch.zeros(V, 3, H, W)] * 2, (H, W), [None] * V
        )
        fitter.clips = Clips((), (tmp_path,))
        fitter.view = lambda clips, _: clips
        fitter._readers = lambda clip=clip: nullcontext([lambda *_, **__: clip])
        fitter._set_units()
        found.append(float(fitter.fields.log_units["x"].exp()))
        ratios = [
            ((made["x"] - clear["x"]).square() / made["x_variance"]).mean()
            for made in of_clip(fitter.fields, seen)
        ]
        assert float(torch.stack(ratios).mean()) == pytest.approx(1, rel=1e-4)
    assert found[1] == pytest.approx(100 * found[0], rel=1e-3)
