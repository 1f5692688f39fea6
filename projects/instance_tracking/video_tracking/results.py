"""Objects merged, and results as files that the tools of DAVIS read."""

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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


def davis_palette() -> bytes:
    """RGB of the 256 ids: id 1 is dark red, 2 dark green, ... (the colour map of PASCAL VOC).

    From its lowest bits on, three bits of the id at a time are the next lower bits of red, green
    and blue.
    """
    bits = np.arange(256)[:, None] >> np.arange(9) & 1  # (256, 9): the lowest first
    groups = bits.reshape(256, 3, 3)  # id, which three, colour
    return (groups << np.array([7, 6, 5])[:, None]).sum(1).astype(np.uint8).tobytes()
