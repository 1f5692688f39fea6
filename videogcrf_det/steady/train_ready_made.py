"""Trains the fields that come with the package; videogcrf train-ready-made."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.modeling import build_model

from videogcrf_det.checkpoint import ClipCheckpointer
from videogcrf_det.engine import build_cfg
from videogcrf_det.steady.clips import Image, collect_clips
from videogcrf_det.steady.detector import Detector
from videogcrf_det.steady.fit import FitOptions, Fitter
from videogcrf_det.steady.fit_video import restored_table
from videogcrf_det.steady.ready_made import ReadyMade
from videogcrf_det.video.find import find_videos

MOST_CLIPS = 160  # of a video
HEIGHT = 480  # of clips on disk, at most
HEIGHTS = (120, 144, 160, 192, 224, 240)  # of what is seen of them
ASPECTS = (4 / 3, 3 / 2, 16 / 9)
LEAST_WINDOW = 0.35  # share of the height
MOVING = 0.5  # of the windows
SPEED = 0.012  # standard deviation, in heights a frame; growth likewise
GROWTH = 0.01

Rng = np.random.Generator


def train_ready_made(
    backbones: Sequence[str],
    videos: Sequence[str],
    output: str | Path,
    options: FitOptions,
    *,
    resume: bool = False,
) -> ReadyMade:
    """Train fields that know nothing of a detector, to restore the features of several.

    Args:
        backbones: see load_backbone.
        videos: see find_videos.
        output: the file; a folder beside it, ``<name>_fit``, gets the rest.
        options: see FitOptions.
        resume: go on with an interrupted training.

    Returns:
        the fields.
    """
    output = Path(output)
    folder = output.with_name(f"{output.stem}_fit")
    folder.mkdir(parents=True, exist_ok=True)
    paths = find_videos(videos)
    clips = collect_clips(paths, folder / "clips", at_most, HEIGHT, MOST_CLIPS * len(paths))
    print(f"{len(clips.train)} clips to train on, {len(clips.held_out)} held out", flush=True)
    detectors = [load_backbone(each) for each in backbones]
    torch.manual_seed(0)
    fields = ReadyMade()
    fields.motion = "dis" if options.motion else ""
    fitter = Fitter(detectors, fields, clips, folder, options, moving_window)
    if resume:
        fitter.resume()
    fitter.run()
    print(restored_table(fitter.restored()))
    fields.save(output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)")
    return fields


def load_backbone(words: str) -> Detector:
    """A detector of which the backbone alone matters, from ``CONFIG KEY VALUE ...``.

    Without MODEL.WEIGHTS its weights are random. Frames are taken in the size that they have.
    """
    config_file, *opts = shlex.split(words)
    cfg = build_cfg(config_file, opts)
    torch.manual_seed(0)
    model = build_model(cfg).eval().requires_grad_(False)
    if cfg.MODEL.WEIGHTS:
        ClipCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    return Detector(model, cfg, cfg.INPUT.FORMAT == "RGB", 0, 0, {})


def at_most(frame: Image) -> Image:
    """A frame (H, W, 3) of HEIGHT or less."""
    scale = HEIGHT / len(frame)
    if scale >= 1:
        return frame
    return np.asarray(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def moving_window(clips: Sequence[Sequence[Image]], rng: Rng) -> list[list[Image]]:
    """The view of a camera that moves over the frames of clips, in one size, drawn at random."""
    height = int(rng.choice(HEIGHTS))
    size = (round(height * rng.choice(ASPECTS)), height)
    return [_through_window(frames, size, rng) for frames in clips]


def _through_window(frames: Sequence[Image], size: tuple[int, int], rng: Rng) -> list[Image]:
    """Frames as seen through a window, in that size (width, height)."""
    high, wide = frames[0].shape[:2]
    most = min(high, wide * size[1] / size[0])
    first = most * rng.uniform(LEAST_WINDOW, 1)
    moves = rng.random() < MOVING
    growth, *speed = moves * rng.normal(0, [GROWTH, SPEED, SPEED])
    place = rng.uniform(size=2)
    mirrored = rng.random() < 0.5
    seen = []
    for index, frame in enumerate(frames):
        side = min(first * (1 + growth * index), most)  # height of the window
        room = np.array([wide - side * size[0] / size[1], high - side])
        left, top = np.clip(place * room + np.array(speed) * index * high, 0, room)
        scale = size[1] / side
        matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        window = cv2.warpAffine(frame, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        seen.append(np.asarray(window[:, ::-1] if mirrored else window, np.uint8, order="C"))
    return seen
