"""The pairwise objective: embeddings trained on their own, on pairs of annotated positions.

Of all L x L pairs of labels that two positions could have, the coupling of the pair that they do
have shall be the lowest, since couplings inhibit. A softmax cross-entropy over the negative
couplings says so (Sec. 3). Chance is an accuracy of 1 / L^2, and answering always the same is right
for the most frequent pair.

Letters: S pairs, V frames of a clip, P positions, L labels, D embedding size.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PairwiseResult(NamedTuple):
    """The objective on a sample of pairs."""

    loss: Tensor  # scalar, nats; log(L^2) for embeddings that say nothing
    # scalar: the share of pairs whose own labels have the lowest coupling; nan of no pairs
    accuracy: Tensor
    shares: Tensor  # (L^2,): of the pairs, those of each pair of labels; nan of no pairs


def pairwise_loss(first: Tensor, second: Tensor, labels: Tensor) -> PairwiseResult:
    """The objective for given pairs.

    Args:
        first, second: (S, D, L) embeddings of the two positions of each pair, for every label.
        labels: (S, 2) their labels, from 0 to L - 1.

    Returns:
        means over the pairs; of no pairs a loss of zero with zero gradients, and nans.
    """
    num_labels = first.shape[2]
    with torch.autocast(first.device.type, enabled=False):
        logits = -(first.mT @ second).flatten(1)  # (S, L L)
    target = labels[:, 0] * num_labels + labels[:, 1]
    if not len(target):
        return _no_pairs(logits.sum(), num_labels)
    accuracy = (logits.detach().argmax(1) == target).float().mean()
    shares = target.bincount(minlength=num_labels**2) / len(target)
    return PairwiseResult(F.cross_entropy(logits, target), accuracy, shares)


def pairwise_objective(
    embeddings: Tensor, labels: Tensor, num_pairs: int, coupling: Tensor | None = None
) -> PairwiseResult:
    """The objective on random pairs of annotated positions of a clip.

    Args:
        embeddings: (V, D, L P), label by label, as VideoGCRF.embeddings gives them if they are not
            to be scaled: what two labels say of each other does not depend on the size of a frame.
        labels: (V, P) labels, negative where there is none: no such position is drawn.
        num_pairs: S, at most; fewer where there are no two positions to pair.
        coupling: None for pairs within frames (spatial embeddings); W (V, V) for pairs of
            different frames that it couples (temporal embeddings).

    Returns:
        PairwiseResult.
    """
    num_frames, num_positions = labels.shape
    weights = torch.eye(num_frames) if coupling is None else coupling.detach().cpu() != 0
    if coupling is not None:
        weights = weights.float().fill_diagonal_(0)
    allowed = (labels >= 0).any(1).float().cpu()
    weights = weights * allowed[:, None] * allowed  # (V, V): frame pairs to draw from
    if not weights.any():
        return _no_pairs(embeddings.sum() * 0, embeddings.shape[2] // num_positions)
    frames = torch.multinomial(weights.flatten(), num_pairs, replacement=True)
    frames = torch.stack([frames // num_frames, frames % num_frames], 1).to(labels.device)
    # a position of each frame, uniformly among its annotated ones
    positions = torch.multinomial((labels >= 0).float()[frames.flatten()], 1).view(-1, 2)
    per_position = embeddings.unflatten(2, (-1, num_positions))  # (V, D, L, P)
    first, second = (per_position[frames[:, side], :, :, positions[:, side]] for side in (0, 1))
    return pairwise_loss(first, second, labels[frames, positions])


def _no_pairs(loss: Tensor, num_labels: int) -> PairwiseResult:
    nothing = loss.new_full((num_labels**2,), math.nan)
    return PairwiseResult(loss, nothing[0], nothing)
