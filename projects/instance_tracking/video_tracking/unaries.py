"""Foreground scores as files, the interface to any method that makes them.

There is a file for every frame of every object, ``<folder>/<video name>/<frame>.npy`` or ``.png``,
where a video's name is its sequence's, or ``<sequence>/<object id>`` in DAVIS-2017:

* ``.npy``: floats (H, W), the log-odds of the foreground, log(p / (1 - p));
* ``.png``: 16-bit grey, the probability of the foreground p times 65535.
"""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from video_tracking.davis import FilePath, Record
from videogcrf_det.data.davis.folder import image_header
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.progress import progress

WHITE = 65535  # the grey of a probability of 1
ADVICE = "write them with make_unaries.py, or as README.md says"


def read_unary(folder: FilePath, record: Record) -> NDArray[np.float32]:
    """The log-odds (H, W) of the foreground of a frame.

    Raises:
        InputError: the file is missing, or does not hold such scores of the frame's size.
    """
    path = find_unary(folder, record)
    log_odds = _read_scores(path) if path.suffix == ".npy" else _read_probabilities(path)
    _check_shape(path, log_odds.shape, record)
    if not np.isfinite(log_odds).all():
        raise InputError(
            f"{path} has scores that are not finite ({np.isfinite(log_odds).mean():.1%} are): clip "
            "probabilities before taking their log-odds"
        )
    return log_odds


def write_unary(path: FilePath, probability: NDArray[np.floating]) -> None:
    """Write the probabilities (H, W) of the foreground of a frame as a 16-bit PNG."""
    grey = np.rint(np.clip(probability, 0, 1) * WHITE).astype(np.uint16)
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), grey):
            raise OSError(f"cannot write the picture {path}")


def write_log_odds(path: FilePath, log_odds: NDArray[np.floating]) -> None:
    """Write the log-odds (H, W) of the foreground of a frame as an array, in half precision."""
    with atomic_write(path) as temporary:
        np.save(temporary, log_odds.astype(np.float16))


def check_unaries(folder: FilePath, records: Iterable[Record]) -> None:
    """Raise an InputError if a file is missing, or is not of its frame's size, by its header."""
    for record in progress(list(records), desc="unaries", unit="frame", leave=False):
        path = find_unary(folder, record)
        shape = _open_scores(path).shape if path.suffix == ".npy" else _picture_shape(path)
        _check_shape(path, shape, record)


def find_unary(folder: FilePath, record: Record) -> Path:
    """The file of a frame."""
    stem = unary_stem(folder, record)
    found = [path for path in (Path(f"{stem}.npy"), Path(f"{stem}.png")) if path.is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"there are both {found[0]} and {found[1]}: remove one of them")
    raise InputError(
        f"there are no unaries {stem}.npy or .png of the frame {record['file_name']}: {ADVICE}"
    )


def unary_stem(folder: FilePath, record: Record) -> Path:
    """The file of a frame without its suffix."""
    return Path(folder, record["video_name"], Path(record["file_name"]).stem)


def _open_scores(path: Path) -> NDArray[np.floating]:
    try:
        scores = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the scores {path} ({error}): {ADVICE}") from None
    if not np.issubdtype(scores.dtype, np.floating):
        raise InputError(f"{path} holds {scores.dtype}, not log-odds as floats: {ADVICE}")
    return scores


def _read_scores(path: Path) -> NDArray[np.float32]:
    return np.array(_open_scores(path), np.float32)


def _picture_shape(path: Path) -> tuple[int, int]:
    """(height, width) of a picture, from its header."""
    (width, height), _ = image_header(path, "scores", ADVICE)
    return height, width


def _read_probabilities(path: Path) -> NDArray[np.float32]:
    grey = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if grey is None:
        raise InputError(f"cannot read the scores {path}: {ADVICE}")
    if grey.dtype != np.uint16:
        raise InputError(
            f"{path} has {8 * grey.itemsize} bits a pixel, not 16 with probabilities times "
            f"{WHITE}: {ADVICE}"
        )
    # within half a step of 0 and 1, so that their log-odds are finite
    probability = np.clip(grey / WHITE, 0.5 / WHITE, 1 - 0.5 / WHITE)
    return np.log(probability / (1 - probability)).astype(np.float32)


def _check_shape(path: Path, shape: tuple[int, ...], record: Record) -> None:
    size = record["height"], record["width"]
    if shape != size:
        raise InputError(
            f"{path} holds scores of the shape {list(shape)}, and its frame has {list(size)} "
            f"(height, width): {ADVICE}"
        )
