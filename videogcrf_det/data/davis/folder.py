"""Reading a folder in the layout of DAVIS: frames, masks, and what is wrong with them."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from pycocotools import mask as mask_util

from videogcrf_det.data.images import BAD_IMAGE, check_whole, header_size, reason, upright_size
from videogcrf_det.errors import InputError

PERSON = "person"
VOID = 255  # do-not-care in the masks of DAVIS-2017, the one object in those of DAVIS-2016
MAX_PROBLEMS = 20  # lines of an error
MAX_FILES = 3  # files named in such a line
MOST_LEVELS = 8  # of a mask of one object: 0 and 255, or several objects as one

Mask = npt.NDArray[np.uint8]  # (height, width), object ids


class Problems:
    """The faults of a data set, collected so that all can be named at once."""

    def __init__(self) -> None:
        self._files: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._files)

    def add(self, problem: str, *files: str) -> None:
        """Note ``problem``; the files that have the same one share a line."""
        self._files.setdefault(problem, []).extend(files)

    def raise_any(self) -> None:
        """Raise an InputError with one line per problem, if there are any."""
        lines = []
        for problem, files in self._files.items():
            more = f" and {len(files) - MAX_FILES} more" if len(files) > MAX_FILES else ""
            lines.append(f"{problem}: {', '.join(files[:MAX_FILES])}{more}" if files else problem)
        if len(lines) == 1:
            raise InputError(lines[0])
        if lines:
            rest = [f"and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
            shown = [f"{len(lines)} problems, nothing was written:", *lines[:MAX_PROBLEMS], *rest]
            raise InputError("\n  - ".join(shown))


@dataclass(frozen=True)
class DavisFolder:
    """The frames and masks of a data set, and the classes of a sequence's objects.

    ``one_person``: take the foreground of a mask of 0 and 255 as one person, in sequences that
    must exist. ``all_objects``: take whatever is in a mask as one object.
    """

    root: Path
    resolution: str
    semantics: Path  # the file that ``categories`` come from, if it exists
    categories: Mapping[str, Mapping[int, str]]  # sequence -> object id -> category
    ignore_masks: Path | None = None
    one_person: bool = False
    all_objects: bool = False

    def images(self, sequence: str = "") -> Path:
        return self.root / "JPEGImages" / self.resolution / sequence

    def masks(self, sequence: str = "") -> Path:
        return self.root / "Annotations" / self.resolution / sequence


@dataclass
class Frame:
    """A frame, and its COCO annotations without their ids."""

    file_name: str  # relative to JPEGImages
    height: int
    width: int
    regions: list[dict[str, Any]] = field(default_factory=list)


def read_semantics(path: Path) -> dict[str, dict[int, str]]:
    """The content of davis_semantics.json; its object ids are strings there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        return {
            sequence: {int(key): str(category) for key, category in objects.items()}
            for sequence, objects in content.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"cannot read {path} ({error}): give JSON such as "
            '{"sequence": {"1": "person", "2": "bicycle"}}'
        ) from error


def read_sequence(folder: DavisFolder, name: str, problems: Problems) -> list[Frame] | None:
    """Frames of a sequence in their order, with the regions of persons and of do-not-care.

    Returns:
        None if the masks are indexed and no object of the sequence is a person. Where ``problems``
        gains any, the result is incomplete.
    """
    stems = _stems(folder.images(name), ".jpg", problems)
    if not stems:
        problems.add(f"{name}: there are no frames (*.jpg) in {folder.images(name)}")
        return []
    found = set(_stems(folder.masks(name), ".png", problems))
    if not folder.masks(name).is_dir():
        problems.add(f"sequences have no folder of masks in {folder.masks()}", name)
        return []
    for stem in stems:
        if stem not in found:
            problems.add(f"{name}: frames without a mask in {folder.masks(name)}", f"{stem}.jpg")
    for stem in sorted(found.difference(stems), key=_natural):
        problems.add(f"{name}: masks without a frame in {folder.images(name)}", f"{stem}.png")

    frames = [_read_frame(folder, name, stem, problems) for stem in stems]
    if len({(frame.height, frame.width) for frame in frames if frame}) > 1:
        problems.add(f"{name}: the frames in {folder.images(name)} are not all of one size")
    masks = [
        _read_mask(folder.masks(name) / f"{stem}.png", frame, name, problems)
        if stem in found
        else None
        for stem, frame in zip(stems, frames, strict=True)
    ]
    persons = _person_ids(folder, name, [mask for mask in masks if mask is not None], problems)
    ignored = _read_ignore_masks(folder, name, dict(zip(stems, frames, strict=True)), problems)
    if persons is None:
        return None
    for stem, frame, mask in zip(stems, frames, masks, strict=True):
        if frame is not None and mask is not None:
            void = (mask == VOID) & (VOID not in persons)
            frame.regions = _instances(mask, persons)
            # one by one, since COCO's rule for boxes takes a region for the box around it
            for part in _connected(void | ignored.get(stem, False)):
                frame.regions.append(_region(part, track_id=0, iscrowd=1))
    return [frame for frame in frames if frame is not None]


def _instances(mask: Mask, tracks: Mapping[int, int]) -> list[dict[str, Any]]:
    """The regions of the tracks that can be seen, by value in the mask -> track."""
    seen = [value for value in np.unique(mask).tolist() if value in tracks]
    return [
        _region(np.isin(mask, [value for value in seen if tracks[value] == track]), track)
        for track in dict.fromkeys(tracks[value] for value in seen)
    ]


def _natural(stem: str) -> list[int | str]:
    """Sort key under which frame 2 comes before frame 10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", stem)]


def _stems(folder: Path, suffix: str, problems: Problems) -> list[str]:
    try:
        return frame_stems(folder, suffix) if folder.is_dir() else []
    except OSError as error:
        problems.add(f"cannot list {folder} ({error.strerror})")
        return []


def frame_stems(folder: Path, suffix: str) -> list[str]:
    """The names of the files in a folder that end with ``suffix``, without it, in natural order."""
    names = os.listdir(folder)
    stems = [name.removesuffix(suffix) for name in names if name.endswith(suffix)]
    # macOS leaves files such as ._00000.jpg on foreign disks
    return sorted((stem for stem in stems if not stem.startswith(".")), key=_natural)


def _read_frame(folder: DavisFolder, name: str, stem: str, problems: Problems) -> Frame | None:
    """The frame with its size. Decoding it would take most of the time, so only its ends are read,
    where they tell: the header, and the marker that a JPEG ends with."""
    path = folder.images(name) / f"{stem}.jpg"
    try:
        width, height = header_size(path)
        check_whole(path)
    except BAD_IMAGE as error:
        problems.add(f"{name}: cannot read images in {path.parent}", _reason(path, error))
        return None
    return Frame(f"{folder.resolution}/{name}/{stem}.jpg", height, width)


def _reason(path: Path, error: BaseException) -> str:
    return f"{path.name} ({reason(error)})"


def _read_mask(path: Path, frame: Frame | None, name: str, problems: Problems) -> Mask | None:
    """A mask of the size of its frame (or of any, if that could not be read)."""
    try:
        with Image.open(path) as image:
            mask, mode = mask_values(image), image.mode
    except BAD_IMAGE as error:
        problems.add(f"{name}: cannot read masks in {path.parent}", _reason(path, error))
        return None
    if mask is None:
        problems.add(
            f"{name}: masks in {path.parent} are neither indexed nor of 0 and 255",
            f"{path.name} ({mode})",
        )
        return None
    if frame and mask.shape != (frame.height, frame.width):
        problems.add(
            f"{name}: masks in {path.parent} are not of the size of their frames",
            f"{path.name} ({mask.shape[1]}x{mask.shape[0]}, not {frame.width}x{frame.height})",
        )
        return None
    return mask


def image_header(
    path: str | os.PathLike[str], what: str = "image", advice: str = "copy it again"
) -> tuple[tuple[int, int], str]:
    """Size (width, height), turned as read_image turns it, and mode of an image, by its header.

    Raises:
        InputError: ``what`` cannot be read, with ``advice``.
    """
    try:
        with Image.open(path) as image:
            return upright_size(image), image.mode
    except BAD_IMAGE as error:
        raise InputError(f"cannot read the {what} {path} ({reason(error)}): {advice}") from None


def mask_values(image: Image.Image) -> Mask | None:
    """The values of a mask's pixels, ids or grey levels; None if it holds colours.

    It is turned as its frame is; see read_image.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode == "P":
        return np.array(image)
    if image.mode in ("RGB", "RGBA"):  # a mask of DAVIS-2016's is grey in these
        red, green, blue = np.moveaxis(np.array(image)[..., :3], 2, 0)
        return red if np.array_equal(red, green) and np.array_equal(red, blue) else None
    return np.array(image.convert("L")) if image.mode in ("1", "L") else None


def is_lossy(mask: Mask) -> bool:
    """True if a mask that is to be read as "0 or not" has more grey levels than such masks have:
    what was saved as JPEG once is grey at edges, and nearly black around them."""
    return len(np.unique(mask)) > MOST_LEVELS


def _read_ignore_masks(
    folder: DavisFolder, name: str, frames: Mapping[str, Frame | None], problems: Problems
) -> dict[str, npt.NDArray[np.bool_]]:
    """Frame -> where do-not-care, for the frames that have such a mask."""
    if folder.ignore_masks is None:
        return {}
    path = folder.ignore_masks / name
    ignored = {}
    for stem in _stems(path, ".png", problems):
        if stem not in frames:
            problems.add(f"{name}: do-not-care masks in {path} without a frame", f"{stem}.png")
            continue
        mask = _read_mask(path / f"{stem}.png", frames[stem], name, problems)
        if mask is not None and is_lossy(mask):
            problems.add(
                f"{name}: do-not-care masks in {path} were saved as JPEG once, by their many grey "
                "levels, and all but black would count",
                f"{stem}.png",
            )
        elif mask is not None:
            ignored[stem] = mask > 0
    return ignored


def _person_ids(
    folder: DavisFolder, name: str, masks: list[Mask], problems: Problems
) -> dict[int, int] | None:
    """Value in the masks of a sequence -> track id, of the persons; None if there are none."""
    counts = sum((np.bincount(mask.ravel(), minlength=256) for mask in masks), np.zeros(256))
    values = set(np.flatnonzero(counts).tolist()) - {0}
    if values == {VOID}:
        if not (folder.one_person or folder.all_objects):
            problems.add(
                "masks of 0 and 255 do not say whether their object is a person: name the "
                "sequences in which it is one, with --sequences",
                name,
            )
        return {VOID: 1}
    if folder.all_objects:
        return dict.fromkeys(values - {VOID}, 1)
    categories = folder.categories.get(name)
    ids = values - {VOID}
    if categories is None:
        if ids or not folder.one_person:
            problems.add(
                f"{name}: {folder.semantics} does not name the objects in {folder.masks(name)} "
                f"(ids {_some(ids) or 'none'}), which only masks of 0 and 255 can do without"
            )
        return {}
    if not ids <= set(categories):
        problems.add(
            f"{name}: the masks in {folder.masks(name)} hold object ids that {folder.semantics} "
            f"does not name: {_some(ids - set(categories))}"
        )
    persons = {key: key for key, category in sorted(categories.items()) if category == PERSON}
    return persons or None


def _some(values: set[int]) -> str:
    listed = sorted(values)
    return ", ".join(map(str, listed[:8])) + (", ..." if len(listed) > 8 else "")


def _connected(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """The connected parts of a mask."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return [labels == label for label in range(1, count)]


def _region(mask: npt.NDArray[np.bool_], track_id: int, iscrowd: int = 0) -> dict[str, Any]:
    rle = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "category_id": 1,
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        "area": int(mask_util.area(rle)),
        "bbox": mask_util.toBbox(rle).tolist(),
        "iscrowd": iscrowd,
        "track_id": track_id,
    }
