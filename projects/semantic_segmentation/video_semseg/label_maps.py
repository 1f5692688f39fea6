"""Label maps: greyscale PNGs, of the size of their frames, whose grey levels are labels."""

import contextlib
import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videogcrf_det.data.davis.folder import image_header
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write

Size = tuple[int, int]  # width, height
FilePath = str | os.PathLike[str]


def require_files(files: Iterable[FilePath], source: FilePath, advice: str) -> None:
    """Raise an InputError with ``advice`` if a file that ``source`` names is missing."""
    missing = [file for file in files if not os.path.isfile(file)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}{more}, which {source} names, does not exist: {advice}")


def read_size(path: FilePath) -> Size:
    """The size of a frame.

    Raises:
        InputError: it is not an image.
    """
    return image_header(path)[0]


def check_label_map(path: FilePath, size: Size, advice: str) -> None:
    """Raise an InputError with ``advice`` unless ``path`` is a label map of a frame of ``size``."""
    found, mode = image_header(path)
    if mode != "L":
        raise InputError(f"{path} is no label map of grey levels (its mode is {mode}): {advice}")
    if found != size:
        raise InputError(
            f"the label map {path} is of another size than its frame ({found[0]}x{found[1]}, not "
            f"{size[0]}x{size[1]}): {advice}"
        )


def save_image(path: FilePath, image: Image.Image | NDArray[np.uint8]) -> None:
    """Write a frame, or a label map (height, width), whole or not at all."""
    with atomic_write(path) as temporary:
        (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(temporary)


@contextlib.contextmanager
def told_if_not_writable(folder: FilePath) -> Iterator[None]:
    """Turn an OSError while ``folder`` is written to into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error}): make room there, or choose another folder"
        ) from None
