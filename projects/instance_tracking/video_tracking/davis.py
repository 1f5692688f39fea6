"""DAVIS-2016 and DAVIS-2017: every object of a sequence is a video of its own.

Frames are at ``JPEGImages/<resolution>/<sequence>/00000.jpg``, masks at
``Annotations/<resolution>/<sequence>/00000.png``: of DAVIS-2016, 0 and 255 with one object; of
DAVIS-2017, object ids in an indexed PNG.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videogcrf_det.data.davis.folder import frame_stems, image_header, is_lossy, mask_values
from videogcrf_det.data.images import BAD_IMAGE
from videogcrf_det.errors import InputError

Record = dict[str, Any]
FilePath = str | os.PathLike[str]
VOID = 255  # of labels, and in the masks of DAVIS-2017
ADVICE = "set DETECTRON2_DATASETS to the folder that has DAVIS"


def load_davis(root: FilePath, year: str, split: str, resolution: str) -> list[Record]:
    """The frames of every object of a split as detectron2's "dataset dicts".

    Beside the standard keys they have ``sequence``; ``video_id`` and ``video_name``, which are that
    or, of DAVIS-2017, ``<sequence>/<object id>``; ``frame_id``; ``object_id``, or None for all that
    the mask shows; and ``mask_file`` where a frame is annotated, as the first one always is.

    Args:
        root: the folder with JPEGImages, Annotations and ImageSets.
        year: "2016" or "2017".
        split: a list of sequences, ``ImageSets/<year>/<split>.txt``, or where DAVIS-2016 had it,
            ``ImageSets/<resolution>/<split>.txt``.
        resolution: such as "480p".

    Raises:
        InputError: something is missing, or a mask does not fit its frame.
    """
    root = Path(root)
    records = []
    for sequence in _sequences(root, year, split, resolution):
        frames = _frames(root, resolution, sequence)
        first = frames[0]["mask_file"]
        ids = sorted(set(np.unique(read_ids(first)).tolist()) - {0})
        if year == "2016":
            objects: list[int | None] = [None] if ids else []
        else:
            objects = [key for key in ids if key != VOID]
        if not objects:
            of_2016 = " (0 and 255 are those of DAVIS-2016)" if ids else ""
            raise InputError(f"the first mask {first} shows no object{of_2016}: {ADVICE}")
        records += [_of_object(frame, key) for key in objects for frame in frames]
    return records


def read_ids(path: FilePath) -> NDArray[np.uint8]:
    """The object ids (H, W) in a mask.

    Raises:
        InputError: it cannot be read, or is no mask of that kind.
    """
    try:
        with Image.open(path) as image:
            ids, mode = mask_values(image), image.mode
    except BAD_IMAGE as error:
        raise InputError(f"cannot read the mask {path} ({error}): copy it again") from None
    if ids is None:
        raise InputError(
            f"{path} is no mask of object ids (its mode is {mode}): give an indexed or grey PNG"
        )
    return ids


def read_object_mask(record: Record) -> NDArray[np.uint8]:
    """The labels (H, W) of an annotated frame: 1 on its object, 0 elsewhere, or VOID."""
    ids = read_ids(record["mask_file"])
    if record["object_id"] is None:
        if is_lossy(ids):
            raise InputError(
                f"{record['mask_file']} has {len(np.unique(ids))} grey levels, as what was saved "
                "as JPEG once, and all but black would be the object: give the PNG of 0 and 255 "
                "that came with the data"
            )
        return (ids > 0).astype(np.uint8)
    return np.where(ids == VOID, VOID, ids == record["object_id"]).astype(np.uint8)


def _sequences(root: Path, year: str, split: str, resolution: str) -> list[str]:
    folders = [year, resolution] if year == "2016" else [year]
    files = [root / "ImageSets" / folder / f"{split}.txt" for folder in folders]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise InputError(f"{' and '.join(map(str, files))} do not exist: {ADVICE}")
    # a sequence a line, or the paths of a frame and its mask
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    paths = [Path(words[0]) for words in map(str.split, lines) if words]
    if not paths:
        raise InputError(f"{file} names no sequence: {ADVICE}")
    return list(dict.fromkeys(path.parent.name or path.name for path in paths))


def _frames(root: Path, resolution: str, sequence: str) -> list[Record]:
    """The frames of a sequence, without their object."""
    images = root / "JPEGImages" / resolution / sequence
    masks = root / "Annotations" / resolution / sequence
    stems = frame_stems(images, ".jpg") if images.is_dir() else []
    if not stems:
        raise InputError(f"there are no frames (*.jpg) of {sequence} in {images}: {ADVICE}")
    (width, height), _ = image_header(images / f"{stems[0]}.jpg")
    frames = []
    for number, stem in enumerate(stems):
        image, mask = images / f"{stem}.jpg", masks / f"{stem}.png"
        frame: Record = {
            "file_name": str(image),
            "height": height,
            "width": width,
            "sequence": sequence,
            "frame_id": number,
        }
        _check_size(image, width, height)
        if mask.is_file():
            _check_size(mask, width, height)
            frame["mask_file"] = str(mask)
        elif number == 0:
            raise InputError(f"the first frame of {sequence} has no mask {mask}: {ADVICE}")
        frames.append(frame)
    return frames


def _of_object(frame: Record, object_id: int | None) -> Record:
    sequence = frame["sequence"]
    video = sequence if object_id is None else f"{sequence}/{object_id}"
    return {
        **frame,
        "image_id": f"{video}/{Path(frame['file_name']).stem}",
        "video_id": video,
        "video_name": video,
        "object_id": object_id,
    }


def _check_size(path: Path, width: int, height: int) -> None:
    found, _ = image_header(path)
    if found != (width, height):
        raise InputError(
            f"{path} is of another size than the first frame ({found[0]}x{found[1]}, not "
            f"{width}x{height}): copy both again"
        )
