"""Videos with depth maps in folders.

The layout of your own data:

    <root>/<video>/frames/00000.jpg, 00001.jpg, ...
    <root>/<video>/depth/00000.png, ...                  also .npy, .exr, .dpt; see data/depth.py
    <root>/depth.json                                    {"metres_per_level": 0.001}, for PNGs

A frame and its depth map have the same number, the last one in their names, by which frames are
ordered. Frames without a depth map are context: they count in no loss and no metric.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from videogcrf_det.data.depth import SUFFIXES
from videogcrf_det.data.images import header_size
from videogcrf_det.errors import InputError
from videogcrf_det.video.reader import IMAGES

Record = dict[str, Any]
UNIT_FILE, UNIT_KEY = "depth.json", "metres_per_level"


class VideoFolders(NamedTuple):
    """The paths of a video's files."""

    name: str
    frames: Path
    depth: Path
    prefix: str = ""  # how frames begin, where one folder has both
    depth_prefix: str = ""
    clear: Path | None = None  # the same frames before they were degraded, by the same names


def own_videos(root: str | Path) -> list[Record]:
    """The frames of your own videos, in the layout above, as dataset dicts.

    Raises:
        InputError: there are none, or a file is missing.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"there is no folder {root}: name one that has <video>/frames and depth")
    videos = [
        VideoFolders(folder.name, folder / "frames", folder / "depth")
        for folder in sorted(root.iterdir())
        if (folder / "frames").is_dir()
    ]
    if not videos:
        raise InputError(f"no folder in {root} has frames: it/<video>/frames and depth")
    return depth_records(videos, root, read_unit(root))


def read_unit(root: Path) -> float | None:
    """Metres a grey level, as ``depth.json`` says; None where it is not there.

    Raises:
        InputError: it says something else.
    """
    path = root / UNIT_FILE
    if not path.is_file():
        return None
    try:
        unit = json.loads(path.read_text(encoding="utf-8"))[UNIT_KEY]
        if isinstance(unit, bool) or not isinstance(unit, int | float) or not unit > 0:
            raise ValueError(f"it is {unit!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'{path} has no {UNIT_KEY} above 0 ({error}): write {{"{UNIT_KEY}": 0.001}} for '
            "millimetres"
        ) from None
    return float(unit)


def depth_records(
    videos: Iterable[VideoFolders], source: str | Path, unit: float | None
) -> list[Record]:
    """The frames of videos as dataset dicts.

    Args:
        videos: in order.
        source: what to call them in errors.
        unit: metres a grey level of PNGs.

    Returns:
        dicts with detectron2's keys, ``video_id``, ``video_name``, ``frame_id``, and where there is
        a depth map ``depth_file_name`` and ``depth_unit``; ``clear_file_name`` of degraded frames.

    Raises:
        InputError: a folder or a clear frame is missing, there is no depth map, or a unit is
            missing.
    """
    records = [record for video in videos for record in _records(video, unit)]
    known = [record for record in records if "depth_file_name" in record]
    if not known:
        raise InputError(
            f"{source} has {len(records)} frames and no depth map: name depth maps as the frames, "
            f"with {', '.join(SUFFIXES)}"
        )
    for record in known if unit is None else ():
        if record["depth_file_name"].lower().endswith(".png"):
            raise InputError(
                f"the unit of {record['depth_file_name']} is not known: write {UNIT_FILE} with "
                f'{{"{UNIT_KEY}": 0.001}} for millimetres into {source}'
            )
    return records


def _records(video: VideoFolders, unit: float | None) -> list[Record]:
    frames = _numbered(video.frames, video.prefix, IMAGES)
    maps = _numbered(video.depth, video.depth_prefix, SUFFIXES) if video.depth.is_dir() else {}
    if not frames:
        raise InputError(f"there are no frames in {video.frames}: copy them there")
    records = []
    for index, (number, path) in enumerate(sorted(frames.items())):
        try:
            width, height = header_size(path)
        except OSError as error:
            raise InputError(f"cannot read the frame {path} ({error}): copy it again") from None
        record: Record = {
            "file_name": str(path),
            "height": height,
            "width": width,
            "image_id": f"{video.name}/{path.stem}",
            "video_id": video.name,
            "video_name": video.name,
            "frame_id": index,
        }
        if number in maps:
            record |= {"depth_file_name": str(maps[number]), "depth_unit": unit}
        if video.clear is not None:
            clear = video.clear / path.name
            if not clear.is_file():
                raise InputError(f"the clear frame {clear} of {path} is not there: copy it there")
            record["clear_file_name"] = str(clear)
        records.append(record)
    return records


def _numbered(folder: Path, prefix: str, suffixes: Iterable[str]) -> dict[int, Path]:
    """The files of a folder by the last number in their names."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: copy the frames there")
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        numbers = re.findall(r"\d+", path.stem)
        fits = path.name.startswith(prefix) and path.suffix.lower() in suffixes
        if path.name[0] == "." or not numbers or not fits:
            continue
        number = int(numbers[-1])
        if number in found:
            raise InputError(f"{found[number]} and {path} have the same number: rename one")
        found[number] = path
    return found
