"""Short clips of raw footage, as a detector sees it, kept on disk."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder
from videogcrf_det.progress import progress
from videogcrf_det.video import open_video

Image = NDArray[np.uint8]  # (H, W, 3), BGR

LENGTH = 5  # frames of a clip
MOST_FRAMES = 3000  # that are read of a video
MOST_CLIPS = 240
MOST_HELD_OUT = 8
HELD_OUT = 0.15  # of the videos, or of the clips where there are few videos
CUT = 30.0  # mean difference in grey levels of thumbnails: another shot
QUALITY = 95  # of JPEG


@dataclass(frozen=True)
class Clips:
    """Clips to fit on, and others to see how well it goes.

    Attributes:
        train, held_out: folders of JPEG images, one for each clip.
    """

    train: tuple[Path, ...]
    held_out: tuple[Path, ...]


def read_clip(folder: Path) -> list[Image]:
    """The frames of a clip, (H, W, 3) BGR."""
    frames = [cv2.imread(str(path)) for path in sorted(folder.glob("*.jpg"))]
    if len(frames) != LENGTH or any(frame is None for frame in frames):
        raise InputError(f"the clip {folder} is not whole: delete the folder {folder.parent}")
    return [np.asarray(frame, np.uint8) for frame in frames]


def collect_clips(
    videos: Sequence[Path],
    folder: Path,
    resize: Callable[[Image], Image],
    key: Any,
    most_clips: int = MOST_CLIPS,
) -> Clips:
    """Choose clips of videos and write them to ``folder``; what is there already is used again.

    Clips are of LENGTH successive frames of one shot, and do not overlap. Of each video as many
    are drawn at random as of the others, if it has as many.

    Args:
        videos: files or folders of frames.
        folder: to make.
        resize: makes a frame as large as the detector sees it.
        key: what ``resize`` depends on, as JSON.
        most_clips: of all videos together.

    Raises:
        InputError: a video cannot be read, or none has as many successive frames.
    """
    recipe = {"videos": [str(path) for path in videos], "resize": key, "length": LENGTH}
    listing = folder / "clips.json"
    if listing.is_file() and json.loads(listing.read_text())["recipe"] == recipe:
        return _listed(folder)
    if folder.exists():
        shutil.rmtree(folder)
    rng = np.random.default_rng(0)
    most = max(2, -(-most_clips // len(videos)))
    groups: list[list[str]] = []
    with atomic_folder(folder) as partial:
        bar = progress(videos, desc="reading videos", unit="video", mininterval=1)
        for number, path in enumerate(bar):
            groups.append([])
            for index, frames in enumerate(_drawn(_clips_of(path, resize), most, rng)):
                name = f"{number:04d}_{index:03d}"
                (partial / name).mkdir()
                for position, jpeg in enumerate(frames):
                    (partial / name / f"{position}.jpg").write_bytes(jpeg)
                groups[-1].append(name)
        train, held_out = _split(groups)
        held_out = held_out[:: -(-len(held_out) // MOST_HELD_OUT)] if held_out else []
        if not train or not held_out:
            raise InputError(
                f"the {len(videos)} videos have {len(train) + len(held_out)} clips of {LENGTH} "
                "successive frames without a cut, and at least 2 are needed: give longer ones to "
                "--videos"
            )
        content = {"recipe": recipe, "train": train, "held_out": held_out}
        (partial / listing.name).write_text(json.dumps(content, indent=1))
    return _listed(folder)


def _listed(folder: Path) -> Clips:
    content = json.loads((folder / "clips.json").read_text())
    return Clips(*(tuple(folder / n for n in content[k]) for k in ("train", "held_out")))


def _split(groups: Sequence[list[str]]) -> tuple[list[str], list[str]]:
    """Names of clips to fit on, and to hold out: of videos of their own where there are several."""
    groups = [group for group in groups if group]
    if len(groups) >= 4:
        step = round(1 / HELD_OUT)
        held = groups[step // 2 :: step] or groups[-1:]
        kept = [group for group in groups if group not in held]
        return list(chain(*kept)), list(chain(*held))
    held_out, train = [], []
    for group in groups:  # the last ones, not those beside what is fitted on
        number = max(1, round(HELD_OUT * len(group))) if len(group) > 1 or len(groups) > 1 else 0
        number = min(number, len(group) - 1) if len(groups) == 1 else number
        train += group[: len(group) - number]
        held_out += group[len(group) - number :]
    return train, held_out


def _clips_of(path: Path, resize: Callable[[Image], Image]) -> Iterator[list[bytes]]:
    """Successive clips of a video, as JPEG files; across no cut."""
    video = open_video(path)
    clip: list[bytes] = []
    before: NDArray[np.float32] | None = None
    for number, frame in enumerate(video):
        if number >= MOST_FRAMES:
            break
        image = frame.image[:, :, ::-1]
        small = cv2.resize(np.ascontiguousarray(image), (16, 16), interpolation=cv2.INTER_AREA)
        thumbnail = small.mean(2).astype(np.float32)
        if before is not None and np.abs(thumbnail - before).mean() > CUT:
            clip = []
        before = thumbnail
        options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        clip.append(cv2.imencode(".jpg", resize(image), options)[1].tobytes())
        if len(clip) == LENGTH:
            yield clip
            clip = []
    if video.damage:
        tqdm.write(f"note: {video.damage}")


def _drawn(clips: Iterator[list[bytes]], most: int, rng: np.random.Generator) -> list[list[bytes]]:
    """A sample of them of at most that size, each as likely as any other, in their order."""
    kept: list[tuple[int, list[bytes]]] = []
    for number, clip in enumerate(clips):
        if len(kept) < most:
            kept.append((number, clip))
        elif (place := int(rng.integers(number + 1))) < most:
            kept[place] = (number, clip)
    return [clip for _, clip in sorted(kept, key=lambda pair: pair[0])]
