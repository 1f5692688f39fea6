import math

import pytest
import torch
from torch.nn import functional as F

from tests.support.layers import CHANNELS, KINDS, LABELS, assert_close, inputs, make
from videogcrf_det.gcrf import Embeddings, weighted_average


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
        assert_close(temporal[frame], expected.flatten(1), 1e-5)
        assert_close(confidence[frame], trusted.flatten(1), 1e-5)


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
        assert_close(output, torch.cat(expected))
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
            assert_close(output[block], whole.field.infer(features[block], parts, [3]))
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
        assert_close(make(**options, self_coupling="zero")(features), features)
    alone = make(block_size=1, pairwise="average")  # with nobody else
    assert_close(alone(features), features)


def test_averages_are_in_float32_under_autocast():
    module = make(pairwise="average")
    features, _ = inputs("shared", 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(module(features), make(pairwise="average")(features))
        inside = module(features)
    assert_close(inside, module(features))


# --- without couplings ----------------------------------------------------------------------------


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
    assert_close(module(features), features, 1e-6)
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
