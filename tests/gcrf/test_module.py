import math

import pytest
import torch
from torch.nn import functional as F

from tests.support.reference import Problem, reference_coupling, reference_solve
from videogcrf_det.gcrf import Embeddings, Terms, VideoGCRF, gcrf_inference, weighted_average

CHANNELS, LABELS = 6, 3


def make(layout="shared", *, strength=30.0, seed=0, **options):
    """A small module whose embeddings, unlike those at the start, are strong enough to matter."""
    torch.manual_seed(seed)
    defaults = {"conv_dim": 5, "lam": 0.5, "rtol": 1e-6, "fusion": "replace"}
    if options.get("pairwise") == "average":
        defaults |= {"dim": 4, "block_size": 0}
    else:
        labels = LABELS if layout == "per_label" else None
        defaults |= {"spatial_dim": 3, "temporal_dim": 4, "num_labels": labels}
    module = VideoGCRF.build(CHANNELS, **{**defaults, **options})
    with torch.no_grad():
        for name in ("spatial", "temporal", "confidence"):
            branch = getattr(module.field, name, None)
            if branch is not None:
                branch.embed.weight *= strength
    return module


def inputs(layout, num_frames, height=4, width=5, seed=1):
    """features (M, C, H, W) and the keyword arguments that the layout needs."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_frames, CHANNELS, height, width, generator=generator)
    unary = torch.randn(num_frames, LABELS, height, width, generator=generator)
    return features, ({"unary": unary} if layout == "per_label" else {})


def reference_output(module, features, unary=None):
    """lam x of one clip without padding, from the module's embeddings and a dense solve."""
    spatial, temporal = (
        None if e is None else e.detach()[None] for e in module.embeddings(features)[:2]
    )
    num_frames = len(features)
    if module.field.num_labels:
        rhs = unary.reshape(1, num_frames, -1, 1)
    else:
        unary = features
        rhs = unary.flatten(2).transpose(1, 2)[None]
    coupling = reference_coupling(
        num_frames, module.field.neighbourhood, module.field.self_coupling
    )
    problem = Problem(rhs, spatial, temporal, torch.from_numpy(coupling), module.field.lam.item())
    x = problem.lam * reference_solve(problem)[0]
    if not module.field.num_labels:
        x = x.transpose(1, 2)
    return x.reshape(unary.shape).float()


def close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", ["shared", "per_label"])
@pytest.mark.parametrize(
    ("neighbourhood", "self_coupling", "lam"),
    [((), "psd", 0.5), ((1,), "psd", 0.5), ((1, 2), "psd", 1.0), ((1, 2, 4), "zero", 200.0)],
)
def test_equals_the_dense_reference(layout, neighbourhood, self_coupling, lam):
    module = make(
        layout, neighbourhood=neighbourhood, self_coupling=self_coupling, lam=lam, max_iters=500
    )
    features, unary = inputs(layout, 5)
    output = module(features, **unary)
    expected = reference_output(module, features, **unary)
    assert output.shape == expected.shape
    assert (expected - unary.get("unary", features)).abs().max() > 1e-2
    close(output, expected)


@pytest.mark.parametrize("num_convs", [0, 1, 2])
@pytest.mark.parametrize("layout", ["shared", "per_label"])
@pytest.mark.parametrize("scaled", [True, False])
def test_embeddings(layout, num_convs, scaled):
    """Normalised features and convolutions of each frame without its padding, over the root of
    its positions unless they are not to be scaled."""
    module = make(layout, num_convs=num_convs)
    features, _ = inputs(layout, 2, 5, 6)
    sizes = [(5, 4), (3, 6)]
    num_labels = LABELS if layout == "per_label" else 1
    branches = (module.field.spatial, module.field.temporal)
    found = module.embeddings(features, sizes, scaled=scaled)[:2]
    for branch, embedded in zip(branches, found, strict=True):
        assert len(branch.convs) == num_convs
        for frame, (height, width) in enumerate(sizes):
            hidden = features[frame : frame + 1, :, :height, :width]
            hidden = F.layer_norm(hidden.permute(0, 2, 3, 1), [CHANNELS]).permute(0, 3, 1, 2)
            for conv in branch.convs:
                hidden = F.conv2d(hidden, conv.weight, conv.bias, padding=1).relu()
            hidden = F.conv2d(hidden, branch.embed.weight, branch.embed.bias)
            expected = torch.zeros(num_labels, hidden.shape[1] // num_labels, 5, 6)
            hidden = hidden.view(num_labels, -1, height, width)
            root = math.sqrt(height * width) if scaled else 1.0
            expected[:, :, :height, :width] = hidden / root
            close(embedded[frame], expected.transpose(0, 1).flatten(1), 1e-5)


def test_embeddings_do_not_depend_on_the_scale_of_the_features():
    module = make()
    features, _ = inputs("shared", 2)
    for plain, scaled in zip(
        module.embeddings(features)[:2], module.embeddings(100 * features - 7)[:2], strict=True
    ):
        close(scaled, plain, 1e-3)
    assert all(e.isfinite().all() for e in module.embeddings(torch.zeros_like(features))[:2])


def test_strength_does_not_depend_on_the_image_size():
    """Every cell split in four: twice the resolution, and the same answer."""
    module = make(num_convs=0)
    features, _ = inputs("shared", 3)
    output = module(features)
    assert (output - features).abs().max() > 0.1
    close(module(features.repeat_interleave(2, 2).repeat_interleave(2, 3))[..., ::2, ::2], output)


def test_frames_are_coupled_by_the_temporal_branch_alone():
    features, _ = inputs("shared", 4)
    changed = features.clone()
    changed[3] += 1
    module = make()
    assert (module(features) - module(changed))[:3].abs().amax(dim=(1, 2, 3)).min() > 1e-3
    spatial_only = make(temporal_dim=0)
    assert spatial_only.field.temporal is None
    close(spatial_only(features)[:3], spatial_only(changed)[:3], 1e-5)
    close(spatial_only(features), reference_output(spatial_only, features))
    alone = torch.cat([spatial_only(frame[None]) for frame in features])
    close(spatial_only(features), alone)


def test_temporal_terms_alone():
    module = make(spatial_dim=0)
    assert module.field.spatial is None
    features, _ = inputs("shared", 4)
    close(module(features), reference_output(module, features))


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_one_frame_is_a_spatial_field(layout):
    module = make(layout)
    features, unary = inputs(layout, 1)
    output = module(features, **unary)
    module.field.temporal = None
    close(module(features, **unary), output, 1e-5)


def test_distance_decay_reaches_the_coupling():
    features, _ = inputs("shared", 4)
    plain, weak, strong = [make(distance_decay=decay)(features) for decay in (None, 1e-3, 1e6)]
    assert (plain - weak).abs().max() > 1e-2
    close(plain, strong, 1e-3)
    close(weak, make(temporal_dim=0)(features), 1e-3)


# --- clips and padding ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_clips_of_different_lengths_equal_separate_calls(layout):
    module = make(layout)
    lengths = [2, 1, 3, 2]
    features, unary = inputs(layout, sum(lengths))
    output = module(features, lengths, **unary)
    first = 0
    for length in lengths:
        part = slice(first, first + length)
        close(output[part], module(features[part], **{k: u[part] for k, u in unary.items()}), 1e-5)
        first += length
    together = module(features, **unary)
    assert (together - output).abs().max() > 1e-2


def test_all_frames_are_one_clip_unless_said():
    module = make()
    features, _ = inputs("shared", 4)
    close(module(features), module(features, [4]))


SIZES = [(4, 5), (4, 5), (3, 6)]
LENGTHS = [2, 1]


def padded(tensor, height, width, garbage):
    """Frames put into the corner of a larger map, each filled up with garbage."""
    result = garbage * torch.randn(len(tensor), tensor.shape[1], height, width)
    for frame, (h, w) in enumerate(SIZES):
        result[frame, :, :h, :w] = tensor[frame, :, :h, :w]
    return result


KINDS = [("shared", "product"), ("per_label", "product"), ("shared", "average")]


@pytest.mark.parametrize("fusion", ["replace", "residual"])
@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
@pytest.mark.parametrize(
    ("height", "width", "garbage"),
    [(4, 6, 0.0), (4, 6, 1.0), (7, 9, 0.0), (7, 9, 1.0), (7, 9, 1e4)],
)
def test_padding_does_not_matter(layout, pairwise, fusion, height, width, garbage):
    module = make(layout, fusion=fusion, pairwise=pairwise)
    if fusion == "residual":
        torch.nn.init.normal_(module.output.weight)
    features, unary = inputs(layout, 3, 4, 6)
    output = module(
        padded(features, height, width, garbage),
        LENGTHS,
        valid_sizes=SIZES,
        **{key: padded(u, height, width, garbage) for key, u in unary.items()},
    )
    assert output.isfinite().all()
    first = 0
    for length in LENGTHS:
        h, w = SIZES[first]
        part = (slice(first, first + length), slice(None), slice(h), slice(w))
        alone = module(features[part], **{key: u[part] for key, u in unary.items()})
        close(output[part], alone)
        first += length


@pytest.mark.parametrize("fusion", ["replace", "residual"])
@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
def test_padding_keeps_its_unaries(layout, pairwise, coupled, fusion):
    """A frozen detector sees there what it was trained with."""
    module = make(layout, fusion=fusion, pairwise=pairwise, coupled=coupled)
    if fusion == "residual":
        torch.nn.init.normal_(module.output.weight)
    if pairwise == "average":
        torch.nn.init.normal_(module.field.confidence.embed.weight)
    features, keywords = inputs(layout, 3)
    unary = keywords.get("unary", features)
    output = module(features, LENGTHS, valid_sizes=[(3, 2)] * 3, **keywords)
    assert torch.equal(output[:, :, 3:], unary[:, :, 3:])
    assert torch.equal(output[:, :, :, 2:], unary[:, :, :, 2:])
    assert not torch.allclose(output[:, :, :3, :2], unary[:, :, :3, :2])


def test_valid_sizes_of_whole_frames_change_nothing():
    module = make()
    features, _ = inputs("shared", 3)
    close(module(features, valid_sizes=[(4, 5)] * 3), module(features))


# --- averages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"coupled": False}, {"block_size": 0}, {"block_size": 3}])
def test_embeddings_of_averages(options):
    """Of norm 1, over the root of the positions coupled; a confidence of bounded logarithm."""
    module = make(pairwise="average", **options)
    features, _ = inputs("shared", 2, 5, 6)
    sizes = [(5, 4), (3, 6)]
    spatial, temporal, confidence = module.embeddings(features, sizes)
    assert spatial is None
    for frame, (height, width) in enumerate(sizes):
        hidden = features[frame : frame + 1, :, :height, :width]
        hidden = F.layer_norm(hidden.permute(0, 2, 3, 1), [CHANNELS]).permute(0, 3, 1, 2)
        numbers, trust = (
            F.conv2d(
                F.conv2d(hidden, branch.convs[0].weight, branch.convs[0].bias, padding=1).relu(),
                branch.embed.weight,
                branch.embed.bias,
            )[0]
            for branch in (module.field.temporal, module.field.confidence)
        )
        expected, trusted = torch.zeros(4, 5, 6), torch.zeros(1, 5, 6)
        trusted[:, :height, :width] = torch.exp(4 * torch.tanh(trust / 4))
        numbers = torch.sqrt(torch.exp(numbers) / torch.exp(numbers).sum(0))
        if "coupled" not in options:
            numbers = numbers / (options["block_size"] or math.sqrt(height * width))
        expected[:, :height, :width] = numbers
        close(temporal[frame], expected.flatten(1), 1e-5)
        close(confidence[frame], trusted.flatten(1), 1e-5)


@pytest.mark.parametrize(("self_coupling", "neighbourhood"), [("psd", ()), ("zero", (1,))])
def test_averages_of_clips(self_coupling, neighbourhood):
    module = make(
        pairwise="average", self_coupling=self_coupling, neighbourhood=neighbourhood, lam=0.2
    )
    features, _ = inputs("shared", 6)
    embeddings = module.embeddings(features)
    for lengths in ([3, 3], [4, 2]):
        clips = zip(*(part.split(lengths) for part in (features, *embeddings[1:])), strict=True)
        expected = [
            weighted_average(
                unary.flatten(2).mT[None],
                0.2 * confidence[None, :, 0],
                temporal[None],
                module.field.coupling(len(unary)),
                rtol=1e-6,
            )[0]
            .mT.unflatten(2, (4, 5))
            .detach()
            for unary, temporal, confidence in clips
        ]
        output = module(features, lengths)
        close(output, torch.cat(expected))
        assert (output - features).abs().max() > 0.3


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_blocks_are_clips_of_their_own(size):
    """Each is what a field that couples all positions makes of it, with couplings of the same
    strength; those at the border have fewer positions."""
    module = make(pairwise="average", block_size=size)
    whole = make(pairwise="average", block_size=0)
    features, _ = inputs("shared", 3)
    output = module(features)
    _, temporal, confidence = (
        None if part is None else part.unflatten(2, (4, 5)) for part in module.embeddings(features)
    )
    for row in range(0, 4, size):
        for column in range(0, 5, size):
            block = (..., slice(row, row + size), slice(column, column + size))
            parts = Embeddings(None, temporal[block].flatten(2), confidence[block].flatten(2))
            close(output[block], whole.field.infer(features[block], parts, [3]))
    assert (output - features).abs().max() > 0.3


def test_averages_within_a_frame_alone():
    """A frame by itself is averaged with itself as one of two would be."""
    features, _ = inputs("shared", 1)
    for size, decay in ((0, None), (2, None), (2, 3.0)):
        options = {"block_size": size, "distance_decay": decay, "pairwise": "average"}
        module = make(**options)
        output = module(features)
        assert (output - features).abs().max() > 0.3
        output.sum().backward()
        assert all(
            parameter.grad.abs().max() > 0 for parameter in module.field.temporal.parameters()
        )
        strength = 1.0 if decay is None else math.exp(-1 / decay)
        assert module.field.coupling(1).tolist() == [[pytest.approx(strength)]]
        assert module.field.coupling(2)[0, 0] == module.field.coupling(1)[0, 0]
        close(make(**options, self_coupling="zero")(features), features)
    alone = make(block_size=1, pairwise="average")  # with nobody else
    close(alone(features), features)


def test_averages_are_in_float32_under_autocast():
    module = make(pairwise="average")
    features, _ = inputs("shared", 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(module(features), make(pairwise="average")(features))
        inside = module(features)
    close(inside, module(features))


# --- without couplings --------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
def test_an_uncoupled_position_sees_itself_alone(layout, pairwise):
    module = make(layout, coupled=False, pairwise=pairwise)
    if pairwise == "average":
        torch.nn.init.normal_(module.field.confidence.embed.weight)
    features, keywords = inputs(layout, 3)
    before = module(features, [2, 1], **keywords)
    unary = keywords.get("unary", features)
    parts = [part for part in module.embeddings(features)[:2] if part is not None]
    embeddings = torch.cat(parts, 1)
    labels = LABELS if layout == "per_label" else 1
    own = embeddings.square().sum(1).view(3, labels, 4, 5)
    trust, start = torch.tensor(0.5), 1.0
    if pairwise == "average":  # in units of its share at the start
        trust = 0.5 * module.embeddings(features).confidence.view(3, 1, 4, 5)
        first = 0.5 * math.exp(4 * math.tanh(2 / 4))
        start = first / (first + 1)
    assert torch.allclose(before, trust / (trust + own) / start * unary, rtol=1e-5)
    assert not torch.allclose(before, unary, rtol=0.1)
    # as strong as couplings among 20 positions that are all alike
    coupled = make(layout, pairwise=pairwise).embeddings(features)[:2]
    coupled = torch.cat([part for part in coupled if part is not None], 1)
    assert torch.allclose(embeddings, 20**0.5 * coupled, rtol=1e-4)

    changed = features.clone()
    changed[:, 0, 2, 3] += 1
    after = module(changed, [2, 1], **keywords)
    near = torch.zeros(4, 5, dtype=torch.bool)
    near[1:4, 2:5] = True  # the embeddings' 3x3 convolution sees them
    assert torch.allclose(after[..., ~near], before[..., ~near], atol=1e-6)
    assert not torch.allclose(after[..., 2, 3], before[..., 2, 3])


def test_averages_without_couplings_start_as_the_identity():
    module = make(coupled=False, pairwise="average")
    features, _ = inputs("shared", 3)
    close(module(features), features, 1e-6)
    module(features).square().sum().backward()
    moved = module.field.confidence.embed
    assert moved.weight.grad.abs().max() > 1e-3
    assert moved.bias.grad.abs().max() > 1e-3


@pytest.mark.parametrize("pairwise", ["product", "average"])
def test_as_many_weights_without_couplings(pairwise):
    modules = [make(coupled=c, pairwise=pairwise) for c in (True, False)]
    counts = {sum(p.numel() for p in module.parameters()) for module in modules}
    assert len(counts) == 1


@pytest.mark.parametrize("pairwise", ["product", "average"])
def test_padding_does_not_count_without_couplings(pairwise):
    module = make(coupled=False, pairwise=pairwise)
    features, _ = inputs("shared", 1)
    padded = F.pad(features, (0, 3, 0, 2))
    found = module(padded, valid_sizes=[(4, 5)])
    assert found.isfinite().all()
    assert torch.allclose(found[..., :4, :5], module(features), atol=1e-6)


# --- fusion --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
def test_residual_starts_as_the_identity(layout, pairwise):
    module = make(layout, fusion="residual", pairwise=pairwise)
    features, unary = inputs(layout, 3)
    assert torch.equal(module(features, **unary), unary.get("unary", features))


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_residual_adds_a_projection_of_the_difference(layout):
    module = make(layout, fusion="residual")
    torch.nn.init.normal_(module.output.weight)
    torch.nn.init.normal_(module.output.bias)
    features, unary = inputs(layout, 3)
    b = unary.get("unary", features)
    difference = reference_output(module, features, **unary) - b
    projected = torch.einsum("oc,mchw->mohw", module.output.weight[:, :, 0, 0], difference)
    expected = b + projected + module.output.bias[:, None, None]
    close(module(features, **unary), expected, 1e-3)


def test_replace_returns_the_unaries_where_embeddings_vanish():
    module = make(strength=0.0, lam=3.0)
    features, _ = inputs("shared", 3)
    close(module(features), features, 1e-6)


# --- training ------------------------------------------------------------------------------------


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
    close(module(features), reference_output(module, features))


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
    close(other(features), module(features))
    decaying = torch.exp(-torch.arange(4.0)[1:] / 3.0)
    close(other.field.coupling(4)[0, 1:], decaying, 1e-6)


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
    close(module(features, lengths), torch.cat(alone), 1e-5)
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
    close(output.float(), expected, tolerance)
    rounded = features.to(dtype)
    embeddings = module.embeddings(rounded)
    smoothed = module.field.infer(halves.get("unary", rounded), embeddings, [3])
    assert smoothed.dtype == torch.float32
    expected_embeddings = module.float().embeddings(rounded.float())
    for found, wanted in zip(embeddings, expected_embeddings, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            close(found, wanted, 1e-6)


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
    close(half.float(), expected, 2e-2)


def test_solver_options_reach_the_solver():
    features, _ = inputs("shared", 3)
    exact = make(solver="cg", rtol=1e-6)(features)
    assert not torch.equal(make(solver="cg", rtol=0.3)(features), exact)
    assert not torch.equal(make(solver="direct")(features), exact)
    with pytest.warns(UserWarning, match="after 2 iterations"):
        make(solver="cg", max_iters=2)(features)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "add"}, "unknown fusion 'add'.*residual, replace"),
        ({"spatial_dim": 0, "temporal_dim": 0}, "spatial_dim=0, temporal_dim=0"),
        ({"spatial_dim": -1}, "spatial_dim=-1"),
        ({"pairwise": "sum"}, "unknown pairwise 'sum'.*product, average"),
        ({"pairwise": "difference"}, "'difference' is now called 'average'"),
        ({"pairwise": "average", "spatial_dim": 4}, "'average' has no option spatial_dim"),
        ({"pairwise": "average", "num_labels": 3}, "'average' has no option num_labels"),
        ({"pairwise": "average", "block_size": -1}, "block_size.*-1"),
        ({"pairwise": "average", "dim": 0}, "dim .* at least 1, got 0"),
        ({"block_size": 2}, "'product' has no option block_size"),
        ({"lam": 0.0}, "lam must be above 0.*0.0"),
        ({"solver": "lu"}, "unknown solver 'lu'.*auto, direct, cg"),
        ({"learn_distance_decay": True}, "learn_distance_decay needs a distance_decay"),
        ({"neighbourhood": "3"}, "neighbourhood takes distances.* '3'"),
        ({"self_coupling": "none"}, "unknown self_coupling 'none'"),
        ({"distance_decay": -1.0}, "distance_decay.*-1.0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        VideoGCRF.build(CHANNELS, **options)


@pytest.mark.parametrize("lengths", [[2, 2], [4, 0, -1], [3, 0], []])
def test_clip_lengths_must_fit(lengths):
    features, _ = inputs("shared", 3)
    with pytest.raises(ValueError, match=r"clips of .* do not make up 3 frames"):
        make()(features, lengths)


@pytest.mark.parametrize("pairwise", ["product", "average"])
def test_unaries_of_any_channels_have_the_couplings_of_the_features(pairwise):
    """Channel by channel, what is inferred is a linear function of the unary."""
    features = torch.randn(3, CHANNELS, 4, 5)
    module = VideoGCRF.build(CHANNELS, pairwise=pairwise, conv_dim=4, fusion="replace")
    weights = torch.randn(2, CHANNELS)
    mixed, expected = (
        torch.einsum("lc,mchw->mlhw", weights, maps) for maps in (features, module(features))
    )
    close(module(features, unary=mixed), expected, 1e-4)


def test_unaries_must_fit_the_layout():
    features, _ = inputs("per_label", 2)
    with pytest.raises(ValueError, match=r"layout 'per_label' takes unaries \(M, L, H, W\)"):
        make("per_label")(features)


def test_valid_sizes_must_fit():
    features, _ = inputs("shared", 3)
    with pytest.raises(ValueError, match="valid_sizes"):
        make()(features, valid_sizes=[(4, 5)] * 2)


def test_module_equals_function():
    module = make(neighbourhood=(1,))
    features, _ = inputs("shared", 4)
    spatial, temporal, _ = module.embeddings(features)
    coupling = torch.from_numpy(reference_coupling(4, (1,), "psd")).float()
    rhs = features.flatten(2).mT[None]
    x = gcrf_inference(rhs, spatial[None], temporal[None], coupling, 0.5, rtol=1e-6)
    close(module(features), 0.5 * x[0].mT.reshape(features.shape), 1e-5)


@pytest.mark.parametrize(("layout", "pairwise"), KINDS)
def test_gradients_through_the_layer_equal_finite_differences(layout, pairwise, solver):
    module = make(layout, fusion="replace", solver=solver, pairwise=pairwise).double()
    module.field.rtol = 1e-13
    features, unary = inputs(layout, 3, 2, 3)
    features = features.double().requires_grad_()
    unary = {key: u.double().requires_grad_() for key, u in unary.items()}
    others = list(unary.values())

    def run(features, *others):
        return module(features, [2, 1], **dict(zip(unary, others, strict=True)))

    assert torch.autograd.gradcheck(run, (features, *others))


@pytest.mark.parametrize("fusion", ["residual", "replace"])
def test_terms_of_frames_make_those_of_their_clip(fusion):
    torch.manual_seed(0)
    layer = VideoGCRF.build(3, spatial_dim=0, temporal_dim=4, fusion=fusion).requires_grad_(False)
    if fusion == "residual":
        torch.nn.init.normal_(layer.output.weight)
    features, sizes = torch.randn(3, 3, 4, 5), [(4, 5), (3, 5), (4, 2)]
    frames = [
        layer.terms(features[i : i + 1], valid_sizes=sizes[i : i + 1]) for i in range(len(sizes))
    ]
    joined = Terms.cat(frames)
    assert joined.embeddings.spatial is None
    expected = layer(features, valid_sizes=sizes)
    found = layer.fuse(joined, layer.field.infer(features, joined.embeddings, [3]))
    torch.testing.assert_close(found, expected)
    streamed = list(layer.infer_video(zip("abc", frames, strict=True), 3))
    assert [name for name, _ in streamed] == ["a", "b", "c"]
    torch.testing.assert_close(torch.cat([x for _, x in streamed]), expected, rtol=1e-4, atol=1e-4)
