"""Objects merged, and results as files that the tools of DAVIS read."""

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videogcrf_det.data.mini_davis import davis_palette
from videogcrf_det.files import atomic_write


def merge_objects(probabilities: Mapping[int, NDArray[np.floating]]) -> NDArray[np.uint8]:
    """Object ids (H, W): at each pixel the most probable object if it is more probable than not.

    Args:
        probabilities: object id -> (H, W) of its foreground.
    """
    stacked = np.stack(list(probabilities.values()))
    ids = np.array(list(probabilities), np.uint8)[stacked.argmax(0)]
    return np.where(stacked.max(0) > 0.5, ids, 0).astype(np.uint8)


def write_ids(path: str | os.PathLike[str], ids: NDArray[np.uint8]) -> None:
    """Write object ids (H, W) as an indexed PNG in the colours that DAVIS has for them."""
    picture = Image.fromarray(ids)
    picture.putpalette(davis_palette())
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG")
