"""Clips of which some frames are spoilt, as happens to real footage."""

from collections.abc import Callable, Sequence

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.data.degrade import DEGRADATIONS
from videogcrf_det.video.codec import H264, recode

Rng = np.random.Generator
Image = NDArray[np.uint8]  # (H, W, 3), BGR
LONGEST = 3  # spoilt frames in a row


def spoil_clip(frames: Sequence[Image], rng: Rng, *, throughout: bool = False) -> dict[int, Image]:
    """One to three successive frames of a clip, all spoilt in one way; or all of its frames.

    Args:
        frames: of the clip.
        rng: draws which, and how.
        throughout: spoil all of them.

    Returns:
        spoilt frames by their index.
    """
    first, run = 0, len(frames)
    if not throughout:
        run = int(rng.integers(1, min(LONGEST, len(frames) - 1) + 1))
        first = int(rng.integers(0, len(frames) - run + 1))
    kind = KINDS[int(rng.integers(len(KINDS)))]
    spoilt = kind(frames[first : first + run], rng)
    return dict(zip(range(first, first + run), spoilt, strict=True))


def _each(degrade: Callable[[Image, Rng], Image]) -> Callable[[Sequence[Image], Rng], list[Image]]:
    def spoil(frames: Sequence[Image], rng: Rng) -> list[Image]:
        return [degrade(frame, rng) for frame in frames]

    return spoil


def shake(image: Image, rng: Rng) -> Image:
    """Blurred by motion, along a line of a fiftieth to a seventh of the height."""
    length = len(image) * rng.uniform(0.02, 0.14)
    size = 2 * int(np.ceil(length / 2)) + 1
    angle = rng.uniform(0, np.pi)
    way = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    kernel = np.zeros((size, size), np.float32)
    ends = np.rint(size // 2 + np.stack([-way, way])).astype(int).tolist()
    cv2.line(kernel, ends[0], ends[1], 1.0)
    shaken = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(shaken, np.uint8)


def compress(frames: Sequence[Image], rng: Rng) -> list[Image]:
    """Frames encoded at a low rate (H.264 where FFmpeg encodes it, MPEG-4 Part 2 otherwise)."""
    rgb = [frame[..., ::-1] for frame in frames]
    options = {"crf": str(int(rng.integers(42, 51))), "preset": "veryfast"}
    try:
        coded = recode(rgb, H264, options)
    except (ValueError, av.FFmpegError):
        coded = recode(rgb, "mpeg4", {"qmin": "31", "qmax": "31"})
    return [np.ascontiguousarray(frame[..., ::-1]) for frame in coded]


KINDS: tuple[Callable[[Sequence[Image], Rng], list[Image]], ...] = (
    *map(_each, DEGRADATIONS),
    _each(shake),
    compress,
)
