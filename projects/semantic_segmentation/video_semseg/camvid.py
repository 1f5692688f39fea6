"""CamVid: its labels, the frames of its splits, loading, and converting an original.

The layout is that of the SegNet tutorial: ``{train,val,test}.txt`` with an image and its annotation
a line, and folders of both, all below one root.
"""

import os
import re
from pathlib import Path
from typing import Any

from video_semseg.label_maps import check_label_map, read_size, require_files
from videogcrf_det.errors import InputError

SPLITS = ("train", "val", "test")

# name -> RGB, in the order of the labels 0 to 10
COLOURS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "sidewalk": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
VOID = 11

FRAME_NAME = re.compile(r"(?P<sequence>.+?)_f?(?P<number>\d+)$")
ADVICE = (
    "set DETECTRON2_DATASETS to the folder that has CamVid in the layout of the SegNet tutorial, "
    "or make it from an original with convert_camvid.py"
)


def frame_names() -> dict[str, list[str]]:
    """Split -> names of its frames, of all 701."""
    names: dict[str, list[str]] = {split: [] for split in SPLITS}
    text = Path(__file__).with_name("camvid_frames.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        split, first, last, step = line.split()
        digits = len(first) - len(first.rstrip("0123456789"))
        for number in range(int(first[-digits:]), int(last[-digits:]) + 1, int(step)):
            names[split].append(f"{first[:-digits]}{number:0{digits}}")
    return names


def load_camvid(root: str | os.PathLike[str], split: str) -> list[dict[str, Any]]:
    """The frames of a split as detectron2's "dataset dicts", with ``sem_seg_file_name``.

    Args:
        root: folder with ``<split>.txt``, whose paths are relative to it (what comes before
            ``CamVid/`` in a path is dropped).
        split: "train", "val" or "test".

    Returns:
        frames sorted by sequence and number: names such as 0001TP_006690 or Seq05VD_f03210.

    Raises:
        InputError: a file is missing or not an image, a label map does not fit its frame, a name
            has no number, or two frames have the same.
    """
    root = Path(root)
    path = root / f"{split}.txt"
    pairs = _read_list(path)
    require_files((root / name for pair in pairs for name in pair), path, ADVICE)
    records: dict[tuple[str, int], dict[str, Any]] = {}
    for image, annotation in pairs:
        record = _record(root / image, root / annotation, path)
        key = record["video_id"], record["frame_id"]
        if key in records:
            raise InputError(
                f"{path} names frame {key[1]} of {key[0]} twice, as "
                f"{records[key]['file_name']} and {record['file_name']}: remove one line"
            )
        records[key] = record
    return [records[key] for key in sorted(records)]


def _read_list(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} ({error}): {ADVICE}") from None
    pairs = []
    for number, line in enumerate(lines, start=1):
        names = [name.rpartition("CamVid/")[2] for name in line.split()]
        if len(names) == 2:
            pairs.append((names[0], names[1]))
        elif names:
            raise InputError(
                f"{path}, line {number}, is not an image and its annotation ({line!r}): correct it"
            )
    if not pairs:
        raise InputError(f"{path} names no frame: {ADVICE}")
    return pairs


def _record(image: Path, annotation: Path, source: Path) -> dict[str, Any]:
    found = FRAME_NAME.match(image.stem)
    if found is None:
        raise InputError(f"{source}: {image.name} is not named <sequence>_<number>: rename it")
    width, height = read_size(image)
    check_label_map(annotation, (width, height), ADVICE)
    return {
        "file_name": str(image),
        "sem_seg_file_name": str(annotation),
        "image_id": image.stem,
        "height": height,
        "width": width,
        "video_name": found["sequence"],
        "video_id": found["sequence"],
        "frame_id": int(found["number"]),
    }
