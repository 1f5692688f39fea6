"""The pairwise objective against loops over pairs of positions and pairs of labels."""

import math

import pytest
import torch

from videogcrf_det.gcrf import ProductField, temporal_coupling
from videogcrf_det.gcrf.pairwise import pairwise_loss, pairwise_objective

PAIRS, DIM, LABELS = 7, 5, 3


def draw(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, PAIRS, DIM, LABELS, generator=generator, dtype=dtype)
    labels = torch.randint(0, LABELS, (PAIRS, 2), generator=generator)
    return first, second, labels


def by_loops(first, second, labels):
    """Mean cross-entropy and accuracy, one pair of positions and one pair of labels at a time."""
    losses, hits = [], []
    for a, b, (mine, other) in zip(first, second, labels.tolist(), strict=True):
        coupling = {
            (i, j): sum(float(a[d, i] * b[d, j]) for d in range(DIM))
            for i in range(LABELS)
            for j in range(LABELS)
        }
        total = sum(math.exp(-c) for c in coupling.values())
        losses.append(-math.log(math.exp(-coupling[mine, other]) / total))
        hits.append(min(coupling, key=coupling.get) == (mine, other))
    return sum(losses) / len(losses), sum(hits) / len(hits)


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_accuracy(seed):
    found = pairwise_loss(*draw(seed))
    loss, accuracy = by_loops(*draw(seed))
    assert found.loss.item() == pytest.approx(loss, abs=1e-12)
    assert found.accuracy.item() == pytest.approx(accuracy)


def test_shares_of_the_pairs_of_labels():
    *embeddings, labels = draw()
    labels = torch.tensor([[0, 1], [2, 2], [0, 1], [2, 2], [2, 2], [1, 0], [2, 0]])
    shares = pairwise_loss(*embeddings, labels).shares.view(LABELS, LABELS) * PAIRS
    assert shares.tolist() == [[0, pytest.approx(2), 0], [pytest.approx(1), 0, 0], [1, 0, 3]]
    nothing = pairwise_loss(*(part[:0] for part in embeddings), labels[:0])
    assert nothing.shares.isnan().all()
    assert nothing.shares.shape == (LABELS**2,)


def test_gradients():
    first, second, labels = draw()
    assert torch.autograd.gradcheck(
        lambda a, b: pairwise_loss(a, b, labels).loss,
        (first.requires_grad_(), second.requires_grad_()),
    )


def test_embeddings_that_say_nothing_are_at_chance():
    first, second, labels = draw()
    assert pairwise_loss(first * 0, second, labels).loss.item() == pytest.approx(
        math.log(LABELS**2)
    )


def embeddings_of(labels, strength=10.0):
    """Embeddings (V, D, L P) with which the labels (V, P) have the lowest couplings: zero for
    the label of a position, equal vectors for all others."""
    wrong = torch.nn.functional.one_hot(labels.clamp(min=0), LABELS).eq(0)  # (V, P, L)
    return (wrong.float() * strength).permute(0, 2, 1).flatten(1)[:, None].repeat(1, DIM, 1)


@pytest.mark.parametrize("across", [False, True])
def test_random_pairs_have_the_labels_of_their_positions(across):
    torch.manual_seed(0)
    labels = torch.randint(0, LABELS, (4, 30))
    coupling = temporal_coupling(4) if across else None
    right = pairwise_objective(embeddings_of(labels), labels, 500, coupling)
    # lowest, but not alone: the true label of one position has no coupling to any of the other
    assert right.loss.item() == pytest.approx(math.log(2 * LABELS - 1), abs=1e-3)
    wrong = pairwise_objective(embeddings_of((labels + 1) % LABELS), labels, 500, coupling)
    assert wrong.loss.item() > 50


def positions_with_gradient(labels, coupling, num_pairs=4000):
    torch.manual_seed(0)
    embeddings = torch.randn(len(labels), DIM, LABELS * labels.shape[1], requires_grad=True)
    pairwise_objective(embeddings, labels, num_pairs, coupling).loss.backward()
    return embeddings.grad.unflatten(2, (LABELS, -1)).abs().sum((1, 2)) > 0  # (V, P)


@pytest.mark.parametrize("coupling", [None, temporal_coupling(3)])
def test_every_annotated_position_takes_part_and_no_other(coupling):
    torch.manual_seed(1)
    labels = torch.randint(-1, LABELS, (3, 40))
    assert torch.equal(positions_with_gradient(labels, coupling), labels >= 0)


def test_frames_that_are_not_coupled_are_not_paired():
    """With neighbours alone, frames 0 and 2 meet nobody when frame 1 has no label."""
    labels = torch.zeros(3, 10, dtype=torch.long)
    labels[1] = -1
    assert not positions_with_gradient(labels, temporal_coupling(3, (1,))).any()
    assert positions_with_gradient(labels, temporal_coupling(3))[[0, 2]].all()
    assert positions_with_gradient(labels, None)[[0, 2]].all()


def test_nothing_is_annotated():
    labels = torch.full((2, 6), -1)
    embeddings = torch.randn(2, DIM, LABELS * 6, requires_grad=True)
    found = pairwise_objective(embeddings, labels, 10)
    found.loss.backward()
    assert found.loss.item() == 0
    assert found.accuracy.isnan()
    assert not embeddings.grad.any()


def test_the_layer_learns_from_where_it_starts():
    """Were it not for what embeddings have in common at first, they would hardly move."""
    torch.manual_seed(0)
    module = ProductField(LABELS, num_labels=LABELS, spatial_dim=0, num_convs=0)
    labels = torch.randint(0, LABELS, (3, 6, 6))
    features = torch.nn.functional.one_hot(labels, LABELS).permute(0, 3, 1, 2).float()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    for _ in range(40):
        embeddings = module.embed(features, torch.ones(3, 1, 6, 6), scaled=False)[1]
        found = pairwise_objective(embeddings, labels.flatten(1), 200, module.coupling(3))
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    assert found.accuracy.item() == 1
