"""What one cell of a feature map is coupled to, and what the field makes of the features.

Letters: V frames of a clip, h x w cells of a feature map, with padding.
"""

from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import ImageList
from numpy.typing import NDArray
from torch import Tensor

from videogcrf_det.gcrf import VideoGCRF
from videogcrf_det.modeling import VideoGCRFBackbone

Map = NDArray[np.floating]


class PointAffinity(NamedTuple):
    """The couplings of one cell of a frame v, and what the field makes of the features.

    With ``e`` one at the cell and zero elsewhere, the cell's row (and column) of ``H`` is
    ``lam e + spatial + temporal``. Its own entry is among them: it is coupled to itself as well.
    """

    spatial: Map | None  # (V, h, w), A_v' A_v in frame v, else 0; None without spatial terms
    temporal: Map | None  # (V, h, w), W[v, u] T_v' T_u; None without temporal terms
    influence: Map  # (V, h, w), e - lam H^-1 e: what the cell's b - lam x is made of
    unary: Map  # (V, h, w), norm of the features b over their channels
    inferred: Map  # (V, h, w), norm of lam x
    change: Map  # (V, h, w), norm of output - b, in percent of that of b


@torch.no_grad()
def point_affinity(
    backbone: VideoGCRFBackbone,
    images: ImageList,
    feature: str,
    reference: int,
    cell: tuple[int, int],
) -> PointAffinity:
    """The couplings that inference uses, of one cell.

    Args:
        backbone: in evaluation mode.
        images: the V frames of the clip, as the detector normalises and pads them.
        feature: the name of a coupled feature.
        reference: v, from 0 to V - 1.
        cell: row and column in the feature map.
    """
    field = backbone.gcrf[feature]
    assert isinstance(field, VideoGCRF)
    features = backbone.bottom_up(images.tensor)
    spatial, temporal = backbone.embeddings(features, images.image_sizes)[feature]
    unary = features[feature]
    at_cell = (reference, slice(None), *cell)

    def products(embeddings: Tensor | None, weights: Tensor) -> Map | None:
        if embeddings is None or not weights.any():
            return None
        maps = torch.einsum("v,d,vdhw->vhw", weights, embeddings[at_cell], embeddings)
        return _numpy(maps)

    def smooth(values: Tensor) -> Tensor:
        a, t = (None if maps is None else maps.flatten(2) for maps in (spatial, temporal))
        return field.smooth(values, a, t, [len(values)])

    same_frame = torch.eye(len(unary))[reference].to(unary)
    unit = torch.zeros_like(unary[:, :1])
    unit[at_cell] = 1
    inferred = smooth(unary)
    norm = unary.norm(dim=1)
    change = (field.fuse(unary, inferred) - unary).norm(dim=1)
    return PointAffinity(
        products(spatial, same_frame),
        products(temporal, field.coupling(len(unary)).to(unary)[reference]),
        _numpy((unit - smooth(unit))[:, 0]),
        _numpy(norm),
        _numpy(inferred.norm(dim=1)),
        _numpy(100 * change / norm.clamp(min=torch.finfo(norm.dtype).tiny)),
    )


def _numpy(maps: Tensor) -> Map:
    return maps.float().cpu().numpy()


def cells_of_pixels(length: int, resized: int, stride: int) -> NDArray[np.intp]:
    """The cell of a feature map, along one axis, in which the centre of each pixel lies.

    Args:
        length: pixels of the frame.
        resized: pixels of what the detector sees of it.
        stride: of these pixels to a cell. Cell i reaches from i to i + 1 strides, as for RoIAlign.

    >>> cells_of_pixels(6, 6, 4).tolist(), cells_of_pixels(3, 12, 4).tolist()
    ([0, 0, 0, 0, 1, 1], [0, 1, 2])
    """
    return ((np.arange(length) + 0.5) * resized / (length * stride)).astype(np.intp)
