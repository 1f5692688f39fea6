"""The pairwise objective for detectors (Sec. 3): what couplings shall say of annotated instances.

On scores of labels the objective asks that of all pairs of labels the true one has the lowest
coupling (gcrf/pairwise.py). Features have one embedding per position and no labels, so here a pair
of positions is of one kind (both on instances, or both on the background) or it is not, and the
coupling shall tell which: a logistic loss on it, with both answers counting alike.

Letters: V frames of a clip, P = h x w cells of a level, S pairs, D embedding size.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.structures import Instances
from torch import Tensor

PAIRS = 2000  # S of a clip, a level and an embedding


def cells_of_instances(instances: Instances, size: tuple[int, int], stride: int) -> Tensor:
    """(P,) 1 where a cell's centre lies on an instance, 0 on the background, -1 elsewhere.

    Args:
        instances: of a frame, with ``gt_masks`` as BitMasks, and perhaps ``ignore_regions``.
        size: (h, w) of the level, the rest of which, beyond the frame, is padding.
        stride: pixels of a cell.
    """
    centres = [torch.arange(cells) * stride + stride // 2 for cells in size]
    inside = [at < pixels for at, pixels in zip(centres, instances.image_size, strict=True)]
    rows, columns = (
        at.clamp(max=pixels - 1) for at, pixels in zip(centres, instances.image_size, strict=True)
    )
    cells = torch.zeros(size, dtype=torch.long)
    ignored = getattr(instances, "ignore_regions", None)
    if ignored is not None and len(ignored):
        cells[ignored.tensor.any(0).cpu()[rows[:, None], columns]] = -1
    if instances.has("gt_masks"):  # else there are none on the frame
        cells[instances.gt_masks.tensor.any(0).cpu()[rows[:, None], columns]] = 1
    cells[~(inside[0][:, None] & inside[1])] = -1
    return cells.flatten()


def instance_pairs_loss(
    embeddings: Tensor, cells: Sequence[Tensor], coupling: Tensor | None, num_pairs: int = PAIRS
) -> Tensor:
    """The objective on random pairs of cells; a scalar, log 2 for embeddings that say nothing.

    Args:
        embeddings: (V, D, P), not scaled.
        cells: V of (P,), see cells_of_instances; all -1 for frames that nobody annotated.
        coupling: None for pairs within frames; W (V, V) for pairs of different frames that it
            couples.
    """
    labels = torch.stack(list(cells)).to(embeddings.device)
    frames = torch.eye(len(labels)) if coupling is None else coupling.detach().cpu() != 0
    if coupling is not None:
        frames = frames.float().fill_diagonal_(0)
    usable = (labels >= 0).any(1).float().cpu()
    frames = frames * usable[:, None] * usable
    if not frames.any():
        return embeddings.sum() * 0
    drawn = torch.multinomial(frames.flatten(), num_pairs, replacement=True)
    sides = [(drawn // len(labels)).to(labels.device), (drawn % len(labels)).to(labels.device)]
    # instances are small: as many cells of theirs as of the background, where there are any
    weights = torch.where(labels > 0, 1 / (labels > 0).sum(1, keepdim=True).clamp(min=1), 0.0)
    weights += torch.where(labels == 0, 1 / (labels == 0).sum(1, keepdim=True).clamp(min=1), 0.0)
    places = [torch.multinomial(weights[side], 1)[:, 0] for side in sides]
    first, second = (
        embeddings[side, :, place].float() for side, place in zip(sides, places, strict=True)
    )
    logits = (first * second).sum(1)
    same = labels[sides[0], places[0]] == labels[sides[1], places[1]]
    losses = F.binary_cross_entropy_with_logits(logits, same.float(), reduction="none")
    kinds = [losses[kind] for kind in (same, ~same) if kind.any()]
    return torch.stack([kind.mean() for kind in kinds]).mean()
