import math

import pytest
import torch
from torch.nn import functional as F

from tests.support.layers import (
    CHANNELS,
    KINDS,
    LABELS,
    assert_close,
    inputs,
    make,
    reference_output,
)
from tests.support.reference import reference_coupling
from videogcrf_det.gcrf import Terms, VideoGCRF, gcrf_inference


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
    assert_close(output, expected)


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
            assert_close(embedded[frame], expected.transpose(0, 1).flatten(1), 1e-5)


def test_embeddings_do_not_depend_on_the_scale_of_the_features():
    module = make()
    features, _ = inputs("shared", 2)
    for plain, scaled in zip(
        module.embeddings(features)[:2], module.embeddings(100 * features - 7)[:2], strict=True
    ):
        assert_close(scaled, plain, 1e-3)
    assert all(e.isfinite().all() for e in module.embeddings(torch.zeros_like(features))[:2])


def test_strength_does_not_depend_on_the_image_size():
    """Every cell split in four: twice the resolution, and the same answer."""
    module = make(num_convs=0)
    features, _ = inputs("shared", 3)
    output = module(features)
    assert (output - features).abs().max() > 0.1
    assert_close(
        module(features.repeat_interleave(2, 2).repeat_interleave(2, 3))[..., ::2, ::2], output
    )


def test_frames_are_coupled_by_the_temporal_branch_alone():
    features, _ = inputs("shared", 4)
    changed = features.clone()
    changed[3] += 1
    module = make()
    assert (module(features) - module(changed))[:3].abs().amax(dim=(1, 2, 3)).min() > 1e-3
    spatial_only = make(temporal_dim=0)
    assert spatial_only.field.temporal is None
    assert_close(spatial_only(features)[:3], spatial_only(changed)[:3], 1e-5)
    assert_close(spatial_only(features), reference_output(spatial_only, features))
    alone = torch.cat([spatial_only(frame[None]) for frame in features])
    assert_close(spatial_only(features), alone)


def test_temporal_terms_alone():
    module = make(spatial_dim=0)
    assert module.field.spatial is None
    features, _ = inputs("shared", 4)
    assert_close(module(features), reference_output(module, features))


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_one_frame_is_a_spatial_field(layout):
    module = make(layout)
    features, unary = inputs(layout, 1)
    output = module(features, **unary)
    module.field.temporal = None
    assert_close(module(features, **unary), output, 1e-5)


def test_distance_decay_reaches_the_coupling():
    features, _ = inputs("shared", 4)
    plain, weak, strong = [make(distance_decay=decay)(features) for decay in (None, 1e-3, 1e6)]
    assert (plain - weak).abs().max() > 1e-2
    assert_close(plain, strong, 1e-3)
    assert_close(weak, make(temporal_dim=0)(features), 1e-3)


# --- clips and padding ----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["shared", "per_label"])
def test_clips_of_different_lengths_equal_separate_calls(layout):
    module = make(layout)
    lengths = [2, 1, 3, 2]
    features, unary = inputs(layout, sum(lengths))
    output = module(features, lengths, **unary)
    first = 0
    for length in lengths:
        part = slice(first, first + length)
        assert_close(
            output[part], module(features[part], **{k: u[part] for k, u in unary.items()}), 1e-5
        )
        first += length
    together = module(features, **unary)
    assert (together - output).abs().max() > 1e-2


def test_all_frames_are_one_clip_unless_said():
    module = make()
    features, _ = inputs("shared", 4)
    assert_close(module(features), module(features, [4]))


SIZES = [(4, 5), (4, 5), (3, 6)]
LENGTHS = [2, 1]


def padded(tensor, height, width, garbage):
    """Frames put into the corner of a larger map, each filled up with garbage."""
    result = garbage * torch.randn(len(tensor), tensor.shape[1], height, width)
    for frame, (h, w) in enumerate(SIZES):
        result[frame, :, :h, :w] = tensor[frame, :, :h, :w]
    return result


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
        assert_close(output[part], alone)
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
    assert_close(module(features, valid_sizes=[(4, 5)] * 3), module(features))


# --- fusion ---------------------------------------------------------------------------------------


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
    assert_close(module(features, **unary), expected, 1e-3)


def test_replace_returns_the_unaries_where_embeddings_vanish():
    module = make(strength=0.0, lam=3.0)
    features, _ = inputs("shared", 3)
    assert_close(module(features), features, 1e-6)


# --- bad input ------------------------------------------------------------------------------------


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
    assert_close(module(features, unary=mixed), expected, 1e-4)


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
    assert_close(module(features), 0.5 * x[0].mT.reshape(features.shape), 1e-5)


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
    assert_close(torch.cat([x for _, x in streamed]), expected)
