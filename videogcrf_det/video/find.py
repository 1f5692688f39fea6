"""Videos as a command line names them."""

import argparse
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videogcrf_det.errors import InputError
from videogcrf_det.video.reader import IMAGES

VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".mts", ".webm", ".wmv")


def add_videos_argument(parser: argparse.ArgumentParser, **options: Any) -> None:
    """Add ``--videos``, which find_videos takes."""
    parser.add_argument(
        "--videos",
        nargs="+",
        metavar="PATH",
        help="video files, folders of frames, folders of either, or patterns",
        **options,
    )


def find_videos(names: Sequence[str]) -> list[Path]:
    """Video files and folders of frames that files, folders and patterns name, each once.

    Raises:
        InputError: a name stands for nothing.
    """
    found: dict[Path, None] = {}
    for name in names:
        matches = [Path(match) for match in sorted(glob.glob(name))] or [Path(name)]
        for path in matches:
            videos = list(_videos_in(path))
            if not videos:
                raise InputError(
                    f"--videos {name}: there is no video and no folder of frames at {path}"
                )
            found.update(dict.fromkeys(videos))
    if not found:
        raise InputError("--videos names nothing: give files, folders of frames, or patterns")
    return list(found)


def _videos_in(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        return []
    inside = sorted(p for p in path.iterdir() if p.name[0] != ".")
    if any(p.suffix.lower() in IMAGES for p in inside):
        return [path]  # a folder of frames
    files = [p for p in inside if p.is_file() and p.suffix.lower() in VIDEOS]
    return files + [video for p in inside if p.is_dir() for video in _videos_in(p)]
