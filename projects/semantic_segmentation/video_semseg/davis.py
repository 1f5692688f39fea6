"""DAVIS-Person as two labels: the persons of tools/prepare_davis_person.py against the rest.

Label maps are at ``SemanticPerson/<resolution>/<sequence>/00000.png``, beside JPEGImages.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as mask_util

from video_semseg.label_maps import check_label_map, require_files, save_image, told_if_not_writable
from videogcrf_det.data import load_video_coco_json
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress

# name -> RGB, in the order of the labels
COLOURS = {"background": (0, 0, 0), "person": (220, 20, 60)}
BACKGROUND, PERSON = range(2)
VOID = 255

ADVICE = "write the label maps with prepare_davis.py"


def load_davis_person(json_file: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The frames of COCO-format annotations as dataset dicts with ``sem_seg_file_name``.

    Args:
        json_file: ``annotations/<name>.json``, as tools/prepare_davis_person.py writes it, beside
            JPEGImages and SemanticPerson.

    Raises:
        InputError: a file is missing, or a label map does not fit its frame.
    """
    records = _records(json_file)
    for record in records:
        del record["annotations"]
    require_files((record["file_name"] for record in records), json_file, "copy it there")
    require_files((record["sem_seg_file_name"] for record in records), json_file, ADVICE)
    for record in records:
        size = record["width"], record["height"]
        check_label_map(record["sem_seg_file_name"], size, ADVICE)
    return records


def write_label_maps(json_file: str | os.PathLike[str]) -> list[Path]:
    """Write a label map for every frame: person, background, and void where do-not-care.

    Args:
        json_file: see load_davis_person.

    Returns:
        the label maps' paths.

    Raises:
        InputError: the file is missing, or an annotation is not a mask of its frame's size.
    """
    records = _records(json_file)
    with told_if_not_writable(_folder(json_file, "SemanticPerson")):
        for record in progress(records, desc="writing", unit="frame"):
            save_image(record["sem_seg_file_name"], _label_map(record, json_file))
    return [Path(record["sem_seg_file_name"]) for record in records]


def _folder(json_file: str | os.PathLike[str], name: str) -> Path:
    return Path(json_file).absolute().parents[1] / name


def _records(json_file: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Frames with their annotations, and where their label maps belong."""
    frames, maps = _folder(json_file, "JPEGImages"), _folder(json_file, "SemanticPerson")
    records = load_video_coco_json(json_file, frames)
    for record in records:
        name = Path(record["file_name"]).relative_to(frames)
        record["sem_seg_file_name"] = str(maps / name.with_suffix(".png"))
    return records


def _label_map(record: dict[str, Any], source: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """(height, width) labels: a person is one even where do-not-care."""
    size = [record["height"], record["width"]]
    labels = np.full(size, BACKGROUND, np.uint8)
    for annotation in sorted(record["annotations"], key=_is_crowd, reverse=True):
        mask = annotation["segmentation"]
        if not isinstance(mask, dict) or list(mask["size"]) != size:
            raise InputError(
                f"an annotation of {record['file_name']} in {source} is no run-length encoded mask "
                "of the frame's size: make the file with tools/prepare_davis_person.py"
            )
        labels[mask_util.decode(mask) > 0] = VOID if _is_crowd(annotation) else PERSON
    return labels


def _is_crowd(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("iscrowd", 0))
