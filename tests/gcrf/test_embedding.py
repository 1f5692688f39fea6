"""Embedding branches, against convolutions written as loops over cells."""

import math

import pytest
import torch

from videogcrf_det.gcrf.embedding import (
    LOG_CONFIDENCE,
    EmbeddingBranch,
    log_confidence,
    unit_embedding,
)


@pytest.fixture
def make():
    def make(num_convs=2, **options):
        torch.manual_seed(0)
        branch = EmbeddingBranch(3, 5, num_convs, 4, **options)
        for parameter in branch.parameters():  # biases too: padding has to stay out of sight
            parameter.data = torch.randn_like(parameter)
        return branch.double()

    return make


def convolved(weight, bias, features):
    """A convolution of stride 1 with zeros around the frame: (M, C, H, W) to (M, D, H, W)."""
    out, _, kernel, _ = weight.shape
    frames, _, height, width = features.shape
    result = torch.zeros(frames, out, height, width, dtype=features.dtype)
    reach = kernel // 2
    for y in range(height):
        for x in range(width):
            result[:, :, y, x] = bias
            for dy in range(-reach, reach + 1):
                for dx in range(-reach, reach + 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        tap = weight[:, :, dy + reach, dx + reach]
                        result[:, :, y, x] += features[:, :, y + dy, x + dx] @ tap.T
    return result


def by_hand(branch, features):
    """The embedding of frames without padding."""
    for conv in branch.convs:
        features = convolved(conv.weight, conv.bias, features).clamp(min=0)
    return convolved(branch.embed.weight, branch.embed.bias, features)


@pytest.mark.parametrize("num_convs", [0, 1, 2])
@torch.no_grad()
def test_equals_loops(make, num_convs):
    branch = make(num_convs)
    features = torch.randn(2, 3, 4, 5, dtype=torch.double)
    found = branch(features, torch.ones(2, 1, 4, 5, dtype=torch.double))
    torch.testing.assert_close(found, by_hand(branch, features))


@torch.no_grad()
def test_padding_is_as_the_border_of_a_smaller_frame(make):
    branch = make()
    features = torch.randn(2, 3, 4, 5, dtype=torch.double)
    valid = torch.zeros(2, 1, 4, 5, dtype=torch.double)
    sizes = [(3, 4), (4, 2)]
    for frame, (height, width) in enumerate(sizes):
        valid[frame, :, :height, :width] = 1
    found = branch(features * valid, valid)
    for frame, (height, width) in enumerate(sizes):
        small = features[frame : frame + 1, :, :height, :width]
        expected = by_hand(branch, small)[0]
        torch.testing.assert_close(found[frame, :, :height, :width], expected)


def test_it_starts_small_but_not_at_zero():
    torch.manual_seed(0)
    branch = EmbeddingBranch(16, 32, 1, 64, bias=0.25)
    assert branch.embed.weight.std().item() == pytest.approx(0.1 / math.sqrt(32), rel=0.1)
    assert branch.embed.bias.eq(0.25).all()
    assert branch.convs[0].bias.eq(0).all()


def test_a_module_in_half_precision_embeds_in_that_of_the_features(make):
    branch = make().half()
    features, valid = torch.randn(1, 3, 4, 5), torch.ones(1, 1, 4, 5)
    found = branch(features, valid)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, branch.float()(features, valid))


def test_gradients(make):
    branch = make()
    features = torch.randn(1, 3, 3, 3, dtype=torch.double, requires_grad=True)
    valid = torch.ones(1, 1, 3, 3, dtype=torch.double)
    valid[..., -1] = 0
    assert torch.autograd.gradcheck(lambda x: branch(x, valid), features)


def test_unit_embeddings_are_roots_of_a_softmax():
    output = 30 * torch.randn(2, 5, 3, 4, dtype=torch.double)
    found = unit_embedding(output)
    for frame in range(2):
        for y in range(3):
            for x in range(4):
                powers = [math.exp(v) for v in output[frame, :, y, x].tolist()]
                roots = [math.sqrt(power / sum(powers)) for power in powers]
                assert found[frame, :, y, x].tolist() == pytest.approx(roots, rel=1e-9)
    # a softmax whose root is taken has no gradient where it rounds to 0
    extreme = torch.tensor([[[[300.0]], [[0.0]]]], requires_grad=True)
    unit_embedding(extreme).sum().backward()
    assert extreme.grad.isfinite().all()


def test_confidences_are_bounded_and_begin_as_their_outputs():
    output = torch.tensor([-1e4, -4.0, -0.01, 0.0, 0.01, 4.0, 1e4], dtype=torch.double)
    expected = [LOG_CONFIDENCE * math.tanh(value / LOG_CONFIDENCE) for value in output.tolist()]
    assert log_confidence(output).tolist() == pytest.approx(expected, rel=1e-12)
    assert log_confidence(output)[[0, -1]].tolist() == [-LOG_CONFIDENCE, LOG_CONFIDENCE]
    assert log_confidence(output)[4].item() == pytest.approx(0.01, rel=1e-4)
