"""A copy of a data set in which little can be seen of some frames, or all are hard to see."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from videogcrf_det.data.datasets import COPIES, load_video_coco_json
from videogcrf_det.data.degrade import check_share, degrade_file, degraded_frames
from videogcrf_det.data.degrade.videos import HARD
from videogcrf_det.data.images import BAD_IMAGE, read_image
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder
from videogcrf_det.progress import progress

PathLike = str | os.PathLike[str]

SOME_FRAMES = "degraded"  # the kind of copy of which some frames change, and those a lot
assert (SOME_FRAMES, *HARD) == COPIES


def degrade_dataset(
    annotations: Sequence[PathLike],
    images: PathLike,
    output: PathLike,
    *,
    kind: str = SOME_FRAMES,
    share: float = 0.4,
    seed: int = 0,
) -> int:
    """Write the frames of videos, some or all of them degraded, and their annotations.

    Args:
        annotations: COCO-format files of videos; ``x.json`` becomes
            ``output/annotations/<kind>_x.json``.
        images: folder that their ``file_name`` begin in; ``output/JPEGImages`` takes its place.
        output: folder to make.
        kind: "degraded" for single frames of each video, or one of HARD for all of them.
        share: for "degraded", of the frames of each video, from 0 to 0.4; see degraded_frames.
        seed: others degrade other frames.

    Returns:
        How many frames have been degraded.

    Raises:
        InputError: a file is missing, of no use or not below ``images``, ``share`` is out of range,
            or ``output`` exists.
    """
    if kind not in COPIES:
        raise InputError(f"the kind of copy {kind!r} is not known: use {', '.join(COPIES)}")
    check_share(share)
    if seed < 0:
        raise InputError(f"the seed is {seed}: give 0 or more")
    called = Counter(Path(path).name for path in annotations)
    for file, times in called.items():
        if times > 1:
            raise InputError(
                f"--annotations names {times} files called {file}, which would become one: give "
                "each a name of its own"
            )
    videos = _videos(annotations)
    count = 0
    with atomic_folder(output) as folder:
        for key, names in progress(videos.items(), desc="degrading", unit="video"):
            rng = np.random.default_rng([seed, *key])
            sources = [Path(images) / name for name in names]
            targets = [folder / "JPEGImages" / name for name in names]
            for target in targets:
                target.parent.mkdir(parents=True, exist_ok=True)
            if kind == SOME_FRAMES:
                chosen = degraded_frames(rng, len(names), share)
                count += len(chosen)
                for index, (source, target) in enumerate(zip(sources, targets, strict=True)):
                    _write(source, target, rng if index in chosen else None)
            else:
                made = HARD[kind]([_read(source) for source in sources], rng)
                count += len(made)
                for image, target in zip(made, targets, strict=True):
                    Image.fromarray(image).save(target, quality=95)
        (folder / "annotations").mkdir()
        for path in map(Path, annotations):
            shutil.copyfile(path, folder / "annotations" / f"{kind}_{path.name}")
    return count


def _videos(annotations: Sequence[PathLike]) -> dict[tuple[int, int], list[Path]]:
    """(number of the file, id of the video) -> the names of its frames."""
    videos: dict[tuple[int, int], list[Path]] = {}
    for number, path in enumerate(annotations):
        for record in load_video_coco_json(path, ""):
            name = Path(record["file_name"])
            if "video_id" not in record:
                raise InputError(f"{name} in {path} is of no video: leave it out")
            if name.is_absolute() or ".." in name.parts:  # would be written outside of output
                raise InputError(
                    f"{name} in {path} does not lie below the folder of images: name files from "
                    "there, without .."
                )
            videos.setdefault((number, record["video_id"]), []).append(name)
    return videos


def _read(path: Path) -> np.ndarray:
    try:
        return read_image(path)
    except BAD_IMAGE as error:
        raise InputError(f"{path} cannot be read ({error}): give --images its folder") from error


def _write(source: Path, target: Path, rng: np.random.Generator | None) -> None:
    """Copy a frame; with random numbers, a degraded one."""
    try:
        if rng is None:
            shutil.copyfile(source, target)
        else:
            degrade_file(source, target, rng)
    except BAD_IMAGE as error:
        raise InputError(f"{source} cannot be read ({error}): give --images its folder") from error
