"""The loop of every demo: read a video, predict in constant memory, write what was drawn."""

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from detectron2.config import CfgNode
from numpy.typing import NDArray
from tqdm import tqdm

from videogcrf_det.cli import add_opts
from videogcrf_det.dispatch import ByArchitecture
from videogcrf_det.drawing.overlay import Picture
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_folder
from videogcrf_det.progress import progress
from videogcrf_det.streams import in_step, read_ahead
from videogcrf_det.video import Frame, VideoWriter, frame_folder, open_video
from videogcrf_det.video.reader import IMAGES

# tqdm's own, but with frames per second also where that is less than one
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"

# takes the (H, W, 3) BGR frames of a video, gives pairs of each frame and what it predicts
Predictor = Callable[[Iterable[NDArray[np.uint8]]], Iterator[tuple[NDArray[np.uint8], Any]]]
# gets the number and the time of a frame, and the predictions that were drawn over it
Keeper = Callable[[int, Fraction, list[Any]], None]


# functions of a config and, by name, of ``baseline`` and of options of their own, that give a Demo:
# ``baseline`` is None, or weights of a per-frame model to compare with, "" for those of the config
DEMOS = ByArchitecture("videogcrf_det.demo", "videogcrf_det.segmentation.demo")


class Kept(NamedTuple):
    """A file beside the pictures, which is whole or absent like them."""

    option: str  # of the tool, which names it
    path: str | Path  # a file or a folder
    keeper: AbstractContextManager[Keeper]


class Demo(NamedTuple):
    """The parts of a model's findings that are shown."""

    cfgs: Sequence[CfgNode]  # that of the model, and that of the baseline if there is one
    load: Callable[[CfgNode], Predictor]
    # makes the picture of a frame (H, W, 3), RGB, and of what each predictor found on it
    draw: Callable[[Picture, list[Any]], Picture]
    kept: Kept | None = None


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every demo takes, what some do, and config overrides at the end."""
    parser.add_argument(
        "--input", required=True, metavar="INPUT", help="a video, a folder of images, or a camera"
    )
    parser.add_argument(
        "--output", required=True, metavar="OUTPUT", help="an .mp4 file, or a folder for PNG files"
    )
    parser.add_argument("--fps", type=float, help="of a folder of images; default: 10")
    parser.add_argument("--max-frames", type=int, metavar="N", help="default: all")
    parser.add_argument(
        "--compare-baseline",
        nargs="?",
        const="",
        metavar="WEIGHTS",
        help="show the per-frame model beside it, with its own weights or with the same ones",
    )
    DEMOS.add_arguments(parser)
    add_opts(parser)


def check_paths(source: str | Path, output: Path, max_frames: int | None) -> None:
    """Raise InputError for options of a demo that cannot be used."""
    if max_frames is not None and max_frames < 1:
        raise InputError(f"--max-frames must be at least 1, got {max_frames}")
    if output.suffix.lower() not in (".mp4", "") and not output.is_dir():
        raise InputError(f"--output must be an .mp4 file or a folder, got {output}")
    if output.suffix.lower() == ".mp4" and output.is_dir():
        raise InputError(f"--output {output} is a folder: name a file, or a folder without .mp4")
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise InputError(f"--output {output} is the input: name another file")


def check_apart(option: str, path: str | Path, source: str | Path, output: Path) -> None:
    """Raise InputError if what ``option`` names would lie in the output, or replace the input."""
    place, taken = Path(path).resolve(), output.resolve()
    if place.is_relative_to(taken) or taken.is_relative_to(place):
        raise InputError(f"{option} {path} and --output {output} overlap: keep them apart")
    given = Path(source).resolve()
    if place == given or (place.parent == given and place.suffix.lower() in IMAGES):
        raise InputError(f"{option} {path} would replace the input {source}: name another file")


def changed_cfg(cfg: CfgNode, *pairs: Any) -> CfgNode:
    """A frozen copy of a config with other values of some keys."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(list(pairs))
    cfg.freeze()
    return cfg


def run_demo(
    cfg: CfgNode,
    source: str | Path,
    output: str | Path,
    *,
    fps: float | None = None,
    max_frames: int | None = None,
    **options: Any,
) -> None:
    """Predict on a video and write what is drawn, in constant memory.

    What was done before Ctrl-C, or before the input breaks off, is written; nothing is, if
    something else goes wrong.

    Args:
        cfg: with trained weights in MODEL.WEIGHTS.
        source: a video file, a folder of images, or the number of a camera; see open_video.
        output: an mp4 file, or a new folder for PNG files.
        fps: frames a second of a folder of images, by default 10.
        max_frames: number of frames after which to stop.
        options: of the meta-architecture's function in DEMOS.

    Raises:
        InputError: something of the above is not usable, or only a part of the video could be read.
        KeyboardInterrupt: after Ctrl-C.
    """
    output = Path(output)
    check_paths(source, output, max_frames)
    cfgs, load, draw, kept = DEMOS.of(cfg)(cfg, **options)
    if kept is not None:
        check_apart(kept.option, kept.path, source, output)
    video = open_video(source, fps)
    predictors = list(map(load, cfgs))
    total = min(filter(None, (video.num_frames, max_frames)), default=None)
    frames: Iterator[Frame] = islice(video, max_frames)
    if video.num_frames is not None:  # a camera's come when they come
        frames = read_ahead(frames)
    found = predict_in_step(frames, predictors)
    bar = progress(found, desc=video.name, total=total, unit=" frames", bar_format=BAR, delay=0)
    keep: Any = contextlib.nullcontext(lambda *_: None) if kept is None else kept.keeper
    count = 0
    with _noting_interrupts(output) as interrupted:
        with bar, _pictures(output, video.rate) as write, keep as add:
            for frame, predictions in bar:
                write(draw(frame.image, predictions), frame.time)
                add(count, frame.time, predictions)
                count += 1
                if interrupted():
                    break
            if not count:
                raise InputError(video.damage or f"there are no frames in {video.name}")
        print(f"wrote {count} frames to {output}" + (f", {kept.path}" if kept else ""))
    if interrupted():
        raise KeyboardInterrupt
    if video.damage:
        raise InputError(f"{video.damage} ({output} shows what there was)")


@contextlib.contextmanager
def keep_maps(path: str | Path, write: Callable[[Path, Any], None]) -> Iterator[Keeper]:
    """Yield a Keeper that writes what the first predictor found as 00000.png, 00001.png, ...

    Args:
        path: a new folder.
        write: writes one of them to a file.
    """
    with atomic_folder(path) as folder:
        yield lambda number, _, found: write(folder / f"{number:05d}.png", found[0])


def predict_in_step(
    frames: Iterable[Frame], predictors: Sequence[Predictor]
) -> Iterator[tuple[Frame, list[Any]]]:
    """Every frame with what each of the predictors finds on it, which run in lockstep."""

    def of_images(predict: Predictor) -> Callable[[Iterator[Frame]], Iterator[Any]]:
        return lambda source: predict(frame.image[:, :, ::-1] for frame in source)

    for frame, found in in_step(frames, [of_images(predictor) for predictor in predictors]):
        yield frame, [prediction for _, prediction in found]


@contextlib.contextmanager
def _pictures(output: Path, rate: Fraction) -> Iterator[Callable[[Picture, Fraction], None]]:
    """Yield a function that writes a picture and the time at which it is shown."""
    if output.suffix.lower() == ".mp4":
        with VideoWriter(output, rate) as video:
            yield video.write
    else:
        with frame_folder(output) as write:
            yield lambda picture, _: write(picture)


@contextlib.contextmanager
def _noting_interrupts(output: Path) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed; pressed again, it does as usual."""
    pressed = False

    def note(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, usual)
        again = f"Ctrl-C again, and {output} is not written"
        tqdm.write(f"stopping after this frame; {again}", file=sys.stderr)

    usual = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, usual)
