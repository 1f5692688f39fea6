import math

import pytest
import torch

from tests.support.layers import KINDS, assert_close, inputs, make, reference_output
from videogcrf_det.gcrf import VideoGCRF


def gradients(module, features, unary):
    module.zero_grad()
    weight = torch.randn(
        unary.get("unary", features).shape, generator=torch.Generator().manual_seed(9)
    )
    (module(features, **unary) * weight).sum().backward()
    return {
        name: 0.0 if p.grad is None else p.grad.abs().max().item()
        for name, p in module.named_parameters()
    }


@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
def test_gradients_reach_every_parameter(layout, pairwise):
    """From the real start: small embeddings must not be a saddle."""
    module = make(layout, strength=1.0, learn_lam=True, pairwise=pairwise)
    sizes = gradients(module, *inputs(layout, 3))
    assert len(sizes) == 2 * 4 + 1
    assert all(size > 1e-5 for size in sizes.values()), sizes


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_residual_learns_its_output_first_and_its_embeddings_next(layout):
    module = make(layout, strength=1.0, fusion="residual", learn_lam=True)
    features, unary = inputs(layout, 3)
    sizes = gradients(module, features, unary)
    for name, size in sizes.items():
        assert (size > 1e-5) == name.startswith("output."), (name, size)
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    sizes = gradients(module, features, unary)
    assert all(size > 0 for size in sizes.values()), sizes


def test_gradients_reach_the_features():
    """Through unaries and embeddings: compared with differences along a random direction."""
    module = make(rtol=1e-7, strength=15.0)
    features, _ = inputs("shared", 2)
    features.requires_grad_()
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(features.shape, generator=generator)
    direction = torch.randn(features.shape, generator=generator)

    (module(features) * weight).sum().backward()
    with torch.no_grad():
        step = 2e-3
        ahead = (module(features + step * direction) * weight).sum()
        behind = (module(features - step * direction) * weight).sum()
    slope = (ahead - behind).item() / (2 * step)
    assert (features.grad * direction).sum().item() == pytest.approx(slope, rel=2e-2)


def test_fixed_lam_is_no_parameter_but_is_saved():
    module = make(lam=2.5)
    assert not any("lam" in name for name, _ in module.named_parameters())
    other = make(lam=0.1)
    other.load_state_dict(module.state_dict())
    assert other.field.lam.item() == pytest.approx(2.5)


def test_learned_lam_stays_positive():
    module = make(lam=0.5, learn_lam=True)
    assert module.field.lam.item() == pytest.approx(0.5)
    features, _ = inputs("shared", 2)
    optimizer = torch.optim.SGD([p for n, p in module.named_parameters() if "lam" in n], lr=0.5)
    before = module.field.lam.item()
    for sign in (1.0, -1.0):
        for _ in range(10):
            optimizer.zero_grad()
            (sign * module.field.lam).backward()
            optimizer.step()
            assert module.field.lam.item() > 0
        assert (module.field.lam.item() - before) * sign < 0
        before = module.field.lam.item()
    assert_close(module(features), reference_output(module, features))


@pytest.mark.parametrize("neighbourhood", [(), (1,), (1, 2), (1, 2, 4)])
def test_gradient_of_a_learned_distance_decay(neighbourhood):
    module = make(neighbourhood=neighbourhood, distance_decay=2.0, learn_distance_decay=True)
    module = module.double()
    features, _ = inputs("shared", 5)
    weight = torch.randn_like(features)

    def loss():
        return (module(features.double()) * weight).sum()

    loss().backward()
    parameter = dict(module.named_parameters())["field.log_distance_decay"]
    assert parameter.item() == pytest.approx(math.log(2.0))
    with torch.no_grad():
        step = 1e-5
        parameter += step
        ahead = loss()
        parameter -= 2 * step
        slope = (ahead - loss()).item() / (2 * step)
    assert abs(slope) > 1e-3
    assert parameter.grad.item() == pytest.approx(slope, rel=1e-5)


def test_fixed_distance_decay_is_no_parameter_but_is_saved():
    module = make(distance_decay=3.0)
    assert not any("decay" in name for name, _ in module.named_parameters())
    other = make(distance_decay=0.5)
    features, _ = inputs("shared", 4)
    assert (other(features) - module(features)).abs().max() > 1e-3
    other.load_state_dict(module.state_dict())
    assert_close(other(features), module(features))
    decaying = torch.exp(-torch.arange(4.0)[1:] / 3.0)
    assert_close(other.field.coupling(4)[0, 1:], decaying, 1e-6)


def test_without_a_distance_decay_there_is_none_to_save():
    assert not any("decay" in name for name in make().state_dict())


@pytest.mark.parametrize("self_coupling", ["psd", "zero"])
@pytest.mark.parametrize("learn", [False, True])
def test_clips_of_several_lengths_with_a_distance_decay(self_coupling, learn, solver):
    module = make(
        self_coupling=self_coupling,
        distance_decay=1.5,
        learn_distance_decay=learn,
        solver=solver,
        lam=200.0,
    )
    lengths = [3, 1, 4]
    features, _ = inputs("shared", sum(lengths))
    alone = [module(part) for part in features.split(lengths)]
    assert_close(module(features, lengths), torch.cat(alone), 1e-5)
    assert (module(features) - torch.cat(alone)).abs().max() > 1e-3


def test_the_seed_decides():
    features, _ = inputs("shared", 3)
    first, same, other = make(seed=4), make(seed=4), make(seed=5)
    for name, value in first.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    assert torch.equal(first(features), same(features))
    assert not torch.equal(first(features), other(features))


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_state_dict_round_trip(layout):
    options = {"fusion": "residual", "learn_lam": True}
    trained, fresh = make(layout, lam=0.7, **options), make(layout, seed=8, **options)
    torch.nn.init.normal_(trained.output.weight)
    features, unary = inputs(layout, 3)
    assert not torch.equal(fresh(features, **unary), trained(features, **unary))
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh(features, **unary), trained(features, **unary))


@pytest.mark.parametrize("pairwise", ["product", "average"])
def test_checkpoints_from_before_fields_were_modules(pairwise):
    module = make(pairwise=pairwise, fusion="residual")
    older = {name.removeprefix("field."): 2 * v for name, v in module.state_dict().items()}
    module.load_state_dict(older)
    for name, value in module.state_dict().items():
        assert torch.equal(value, older[name.removeprefix("field.")])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("fusion", ["replace", "residual"])
@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
def test_modules_in_half_precision(layout, pairwise, fusion, dtype):
    """Weights and features are halves; embeddings and the solution are not."""
    module = make(layout, fusion=fusion, pairwise=pairwise)
    features, unary = inputs(layout, 3)
    expected = module(features, **unary)
    halves = {key: value.to(dtype) for key, value in unary.items()}
    output = module.to(dtype)(features.to(dtype), **halves)
    assert output.dtype == dtype
    tolerance = 0.02 if dtype == torch.float16 else 0.2
    assert_close(output.float(), expected, tolerance)
    rounded = features.to(dtype)
    embeddings = module.embeddings(rounded)
    smoothed = module.field.infer(halves.get("unary", rounded), embeddings, [3])
    assert smoothed.dtype == torch.float32
    expected_embeddings = module.float().embeddings(rounded.float())
    for found, wanted in zip(embeddings, expected_embeddings, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            assert_close(found, wanted, 1e-6)


def test_embedding_layers_start_small_but_not_at_zero():
    torch.manual_seed(0)
    module = VideoGCRF(64)
    for branch in (module.field.spatial, module.field.temporal):
        assert 0 < branch.embed.weight.std() < 0.1
        assert branch.embed.out_channels == 128
    features = torch.randn(1, 64, 6, 6)
    assert module(features).shape == features.shape


def test_autocast_runs_in_float32():
    module = make()
    features, _ = inputs("shared", 3)
    plain = module(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(module(features), plain)
        half = module(features.bfloat16())
    assert half.dtype == torch.bfloat16
    expected = module(features.bfloat16().float())
    assert_close(half.float(), expected, 2e-2)


def test_solver_options_reach_the_solver():
    features, _ = inputs("shared", 3)
    exact = make(solver="cg", rtol=1e-6)(features)
    assert not torch.equal(make(solver="cg", rtol=0.3)(features), exact)
    assert not torch.equal(make(solver="direct")(features), exact)
    with pytest.warns(UserWarning, match="after 2 iterations"):
        make(solver="cg", max_iters=2)(features)
