"""The couplings of one cell of a feature map, and the features that the field makes.

Letters: V frames of a clip, h x w cells of a feature map, with padding.
"""

from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import ImageList
from numpy.typing import NDArray
from torch import Tensor

from videogcrf_det.gcrf import RandomField, Terms
from videogcrf_det.modeling import VideoGCRFBackbone

Map = NDArray[np.floating]


class Couplings(NamedTuple):
    """The couplings of one cell of a frame v, for one label where labels have their own.

    With ``e`` one at the cell and zero elsewhere, the cell's row (and column) of ``H`` is
    ``lam e + spatial + temporal``. Its own entry is among them: it is coupled to itself as well.
    For a field that averages it is ``d e - temporal``, d as in weighted_average.
    """

    spatial: Map | None  # (V, h, w), A_v' A_v in frame v, else 0; None without spatial terms
    temporal: Map | None  # (V, h, w), W[v, u] T_v' T_u; None without temporal terms
    influence: Map  # (V, h, w): what the difference b - inferred of the cell is made of


class PointAffinity(NamedTuple):
    """The couplings of one cell, and what the field makes of the features."""

    spatial: Map | None  # as in Couplings
    temporal: Map | None
    influence: Map
    unary: Map  # (V, h, w), norm of the features b over their channels
    inferred: Map  # (V, h, w), norm of the inferred features
    change: Map  # (V, h, w), norm of output - b, in percent of that of b
    trust: Map | None  # (V, h, w), logarithm of the confidence; None where all is trusted


@torch.no_grad()
def cell_couplings(
    field: RandomField,
    terms: Terms,
    reference: int,
    cell: tuple[int, int],
    label: int = 0,
) -> Couplings:
    """The couplings that inference uses, of one cell with all others.

    Args:
        field: in evaluation mode.
        terms: of the V frames.
        reference: v, from 0 to V - 1.
        cell: row and column in the feature map.
        label: the one whose couplings with itself are shown, where labels have their own.
    """
    spatial, temporal, confidence = terms.embeddings
    frames, size = len(terms.unary), terms.unary.shape[2:]
    weights = field.coupling(frames)[reference]
    labels = field.num_labels or 1
    label = label if field.num_labels else 0

    def products(embeddings: Tensor | None, weights: Tensor) -> Map | None:
        if embeddings is None or not weights.any():
            return None
        maps = embeddings.unflatten(2, (labels, *size))[:, :, label]
        at_cell = maps[reference, :, cell[0], cell[1]]
        return _numpy(torch.einsum("v,d,vdhw->vhw", weights.to(maps), at_cell, maps))

    unit = torch.zeros(frames, labels, *size, device=field.log_lam.device)
    unit[reference, label, cell[0], cell[1]] = 1
    inferred = field.infer(unit, terms.embeddings, [frames])  # what the cell gives to all others
    if confidence is not None:  # and takes from them: H^-1 is symmetric, what it multiplies is not
        trust = confidence.view_as(unit)
        inferred = inferred * trust / trust[reference, label, cell[0], cell[1]]
    influence = unit - inferred
    across = products(temporal, weights)
    if across is not None and field.block_size:
        blocks = [np.arange(length) // field.block_size for length in size]
        across *= np.outer(*(b == b[at] for b, at in zip(blocks, cell, strict=True)))
    return Couplings(
        products(spatial, torch.eye(frames)[reference]),
        across,
        _numpy(influence[:, label]),
    )


@torch.no_grad()
def point_affinity(
    backbone: VideoGCRFBackbone,
    images: ImageList,
    feature: str,
    reference: int,
    cell: tuple[int, int],
) -> PointAffinity:
    """The couplings of one cell of a detector's features.

    Args:
        backbone: in evaluation mode.
        images: the V frames of the clip, as the detector normalises and pads them.
        feature: the name of a coupled feature.
        reference: v, from 0 to V - 1.
        cell: row and column in the feature map.
    """
    layer = backbone.layer(feature)
    terms = backbone.terms(feature, backbone.bottom_up(images.tensor), images.image_sizes)
    unary, embeddings, _ = terms
    couplings = cell_couplings(layer.field, terms, reference, cell)
    inferred = layer.field.infer(unary, embeddings, [len(unary)])
    norm = unary.norm(dim=1)
    change = (layer.fuse(terms, inferred) - unary).norm(dim=1)
    trust = embeddings.confidence
    return PointAffinity(
        *couplings,
        _numpy(norm),
        _numpy(inferred.norm(dim=1)),
        _numpy(100 * change / norm.clamp(min=torch.finfo(norm.dtype).tiny)),
        None if trust is None else _numpy(trust.clamp(min=1e-3).log().view_as(norm)),
    )


def _numpy(maps: Tensor) -> Map:
    return maps.float().cpu().numpy()


def cells_of_pixels(length: int, resized: int, stride: float) -> NDArray[np.intp]:
    """The cell of a feature map, along one axis, in which the centre of each pixel lies.

    Args:
        length: pixels of the frame.
        resized: pixels of what the detector sees of it.
        stride: of these pixels to a cell. Cell i reaches from i to i + 1 strides, as for RoIAlign.

    >>> cells_of_pixels(6, 6, 4).tolist(), cells_of_pixels(3, 12, 4).tolist()
    ([0, 0, 0, 0, 1, 1], [0, 1, 2])
    """
    return ((np.arange(length) + 0.5) * resized / (length * stride)).astype(np.intp)
