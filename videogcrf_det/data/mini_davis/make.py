"""A small data set in the layout of DAVIS, drawn by program: people who walk through a scene.

It trains and tests a detector where no real data is at hand. Sequences have occlusions, motion blur
and noise; some have a bystander whom the annotation leaves out (do-not-care), some an annotated dog
or ball.
"""

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from videogcrf_det.data.degrade import check_share, degrade_file, degraded_frames
from videogcrf_det.data.depth import write_depth_png
from videogcrf_det.data.mini_davis.render import IGNORE, draw_depth, render
from videogcrf_det.data.mini_davis.scene import Scene, make_scene
from videogcrf_det.errors import InputError
from videogcrf_det.progress import progress

NUM_TRAIN, NUM_VAL, NUM_FRAMES, SIZE = 24, 6, 16, (120, 200)
MIN_SIZE = (48, 64)  # people in smaller images are a few pixels wide
NAMES = {"train": "walk", "val": "stroll"}  # how the sequences of a split begin
DEPTH_UNIT = 0.001  # metres a grey level of depth maps
RECEIPT = "mini_davis.json"  # the arguments; marks a folder that may be overwritten


def make_mini_davis(
    root: str | os.PathLike[str],
    *,
    num_train: int = NUM_TRAIN,
    num_val: int = NUM_VAL,
    num_frames: int = NUM_FRAMES,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    speed: float = 1.0,
    degraded: float = 0.0,
    depth: bool = False,
    overwrite: bool = False,
) -> None:
    """Draw the data set into ``root``, which appears whole or not at all.

    The same arguments give the same bytes, and a sequence does not depend on how many others there
    are. With R = ``<height>p`` and S a sequence, written are

    * JPEGImages/R/S/00000.jpg and Annotations/R/S/00000.png (indexed, one id per object);
    * IgnoreMasks/S/00000.png, 255 where a bystander is, of the sequences that have one;
    * with ``depth``, Depth/R/S/00000.png, 16 bits of millimetres;
    * davis_semantics.json, ImageSets/2017/{train,val}.txt and mini_davis.json (these arguments).

    Args:
        root: folder to make; an empty one may exist.
        num_train, num_val: sequences per split, named walk-000 and stroll-000 onwards. The first
            and every third of a split have a bystander; the second and every third, a dog or ball.
        num_frames: frames of each sequence.
        size: (height, width) of the frames, at least MIN_SIZE.
        seed: 0 or more.
        speed: of everything that moves. At 1 a person takes 11 to 20 frames for two steps and
            covers half of what he covered a frame ago; at 0.4 three quarters, as in DAVIS.
        degraded: the share of frames, from 0 to 0.4, of which little can be seen; see degrade. All
            other frames, and all masks, are the same as without.
        depth: write the true depth of every frame as well; see draw_depth.
        overwrite: replace ``root``, provided that this function wrote it.

    Raises:
        InputError: a value out of range, or a ``root`` that cannot be written or must not be.
    """
    _check(num_train, num_val, num_frames, size, seed, speed, degraded)
    with _whole_folder(Path(root), overwrite) as folder:
        names = {
            "train": [f"{NAMES['train']}-{index:03d}" for index in range(num_train)],
            "val": [f"{NAMES['val']}-{index:03d}" for index in range(num_val)],
        }
        jobs = [(split, index) for split in names for index in range(len(names[split]))]
        semantics = {}
        for split, index in progress(jobs, desc="drawing", unit="sequence"):
            name = names[split][index]
            key = [seed, list(names).index(split), index]
            rng = np.random.default_rng(key)
            scene = make_scene(rng, size, bystander=index % 3 == 0, company=index % 3 == 1)
            semantics[name] = _write_sequence(folder, name, rng, scene, num_frames, speed)
            if depth:
                _write_depth(folder / f"Depth/{size[0]}p" / name, scene, num_frames, speed)
            _degrade(folder / f"JPEGImages/{size[0]}p" / name, key, num_frames, degraded)
        for split, lines in names.items():
            _write_text(folder / f"ImageSets/2017/{split}.txt", "".join(f"{x}\n" for x in lines))
        _write_text(folder / "davis_semantics.json", json.dumps(semantics, indent=1))
        receipt = {
            "num_train": num_train,
            "num_val": num_val,
            "num_frames": num_frames,
            "size": list(size),
            "seed": seed,
            "speed": speed,
            "degraded": degraded,
            "depth": depth,
        }
        _write_text(folder / RECEIPT, json.dumps(receipt, indent=1))


def _check(
    num_train: int,
    num_val: int,
    num_frames: int,
    size: tuple[int, int],
    seed: int,
    speed: float,
    degraded: float,
) -> None:
    for name, value in [("train", num_train), ("val", num_val)]:
        if value < 0:
            raise InputError(f"the number of {name} sequences is {value}: give 0 or more")
    if num_train + num_val == 0:
        raise InputError("0 train and 0 val sequences leave nothing to draw: give 1 or more")
    if num_frames < 1:
        raise InputError(f"the number of frames is {num_frames}: give 1 or more")
    if size[0] < MIN_SIZE[0] or size[1] < MIN_SIZE[1]:
        raise InputError(
            f"frames of height {size[0]} and width {size[1]} are too small to show people: "
            f"give at least {MIN_SIZE[0]} and {MIN_SIZE[1]}"
        )
    if seed < 0:
        raise InputError(f"the seed is {seed}: give 0 or more")
    if not 0 < speed < math.inf:
        raise InputError(f"the speed is {speed}: give a number above 0")
    check_share(degraded)


@contextlib.contextmanager
def _whole_folder(root: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary folder beside ``root`` that takes its place at the end."""
    root = root.resolve()
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file: name a folder to write the data set to")
    if root.exists() and any(root.iterdir()):
        if not overwrite:
            raise InputError(
                f"{root} is not empty: name another folder, or pass overwrite (--overwrite)"
            )
        if not (root / RECEIPT).is_file():
            raise InputError(
                f"{root} holds no {RECEIPT}, so it is not a drawn data set and will not be "
                "overwritten: name another folder"
            )
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    except OSError as error:
        raise InputError(
            f"cannot make a folder in {root.parent} ({error.strerror}): name another place"
        ) from error
    try:
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if root.exists():
            root.rename(old)
        new.rename(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_sequence(
    folder: Path,
    name: str,
    rng: np.random.Generator,
    scene: Scene,
    num_frames: int,
    speed: float,
) -> dict[str, str]:
    """Draw one sequence; return object id -> category, as in davis_semantics.json."""
    resolution = f"{scene.size[0]}p"
    images = folder / "JPEGImages" / resolution / name
    annotations = folder / "Annotations" / resolution / name
    ignored = folder / "IgnoreMasks" / name
    has_bystander = any(thing.label == IGNORE for thing in scene.things)
    for path in [images, annotations] + [ignored] * has_bystander:
        path.mkdir(parents=True)
    for frame in range(num_frames):
        image, labels = render(scene, speed * frame, rng, speed)
        Image.fromarray(image).save(images / f"{frame:05d}.jpg", quality=95)
        indexed = Image.fromarray(np.where(labels == IGNORE, 0, labels).astype(np.uint8), mode="P")
        indexed.putpalette(davis_palette())
        indexed.save(annotations / f"{frame:05d}.png")
        if has_bystander:
            mask = np.where(labels == IGNORE, 255, 0).astype(np.uint8)
            Image.fromarray(mask).save(ignored / f"{frame:05d}.png")
    return {str(label): category for label, category in sorted(scene.categories.items())}


def _write_depth(folder: Path, scene: Scene, num_frames: int, speed: float) -> None:
    folder.mkdir(parents=True)
    for frame in range(num_frames):
        write_depth_png(folder / f"{frame:05d}.png", draw_depth(scene, speed * frame), DEPTH_UNIT)


def _degrade(images: Path, key: list[int], num_frames: int, share: float) -> None:
    """Spoil some frames of a sequence, with random numbers of their own."""
    rng = np.random.default_rng([*key, 1])
    for frame in degraded_frames(rng, num_frames, share):
        path = images / f"{frame:05d}.jpg"
        degrade_file(path, path, rng)


def davis_palette() -> bytes:
    """The palette of DAVIS and PASCAL VOC annotations: 256 RGB triples, black for background.

    Bits 0, 1, 2 of an id give the highest bits of red, green, blue, bits 3, 4, 5 the next.
    """
    palette = np.zeros((256, 3), dtype=np.uint8)
    ids = np.arange(256)
    for bit in range(8):
        palette[:, bit % 3] |= ((ids >> bit & 1) << 7 - bit // 3).astype(np.uint8)
    return palette.tobytes()


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
