"""Objects merged, and results as files that the tools of DAVIS read."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from video_tracking.davis import FilePath, Record
from videogcrf_det.data.davis.folder import image_header
from videogcrf_det.data.mini_davis import davis_palette
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write


def merge_objects(log_odds: Mapping[int, NDArray[np.floating]]) -> NDArray[np.uint8]:
    """Object ids (H, W): at each pixel the most probable object if it is more probable than not.

    Args:
        log_odds: object id -> (H, W) of its foreground; probabilities near 1 could not be told
            apart.
    """
    stacked = np.stack(list(log_odds.values()))
    ids = np.array(list(log_odds), np.uint8)[stacked.argmax(0)]
    return np.where(stacked.max(0) > 0, ids, 0).astype(np.uint8)


def result_file(folder: FilePath, frame: Record) -> Path:
    """The mask of a frame in the folder of its sequence."""
    return Path(folder, Path(frame["file_name"]).stem + ".png")


def require_results(masks: FilePath, sequence: str, frames: Iterable[Record]) -> None:
    """Raise InputError unless a folder has a mask of the right size for each of the frames."""
    for frame in frames:
        file = result_file(Path(masks, sequence), frame)
        if not file.is_file():
            raise InputError(
                f"{file} does not exist: evaluate the model with train_net.py --eval-only, or name "
                "a folder that has all frames of the sequence"
            )
        size, _ = image_header(file)
        if size != (frame["width"], frame["height"]):
            raise InputError(
                f"{file} has {size[0]}x{size[1]} pixels, and its frame {frame['width']}x"
                f"{frame['height']}: name results of the data set's own resolution"
            )


def write_ids(path: FilePath, ids: NDArray[np.uint8]) -> None:
    """Write object ids (H, W) as an indexed PNG in the colours that DAVIS has for them."""
    picture = Image.fromarray(ids)
    picture.putpalette(davis_palette())
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG")
