"""Clips of which some frames are spoilt, as happens to real footage."""

import io
from collections.abc import Callable, Sequence

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from videogcrf_det.data.degrade import DEGRADATIONS

Rng = np.random.Generator
Image = NDArray[np.uint8]  # (H, W, 3)
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
    """Frames encoded at a low rate (MPEG-4 Part 2, or H.264 where FFmpeg has it)."""
    height, width = frames[0].shape[:2]
    even = [frame[: height // 2 * 2, : width // 2 * 2] for frame in frames]
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        try:
            stream = output.add_stream("libx264", rate=25)
            stream.options = {"crf": str(int(rng.integers(42, 51))), "preset": "veryfast"}
        except (ValueError, av.FFmpegError):
            stream = output.add_stream("mpeg4", rate=25)
            stream.options = {"qscale": "31"}
        stream.height, stream.width, stream.pix_fmt = *even[0].shape[:2], "yuv420p"
        for frame in even:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")
            output.mux(stream.encode(picture))
        output.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as source:
        decoded = [frame.to_ndarray(format="bgr24") for frame in source.decode(video=0)]
    result = []
    for frame, small in zip(frames, decoded, strict=True):
        whole = frame.copy()  # a row or column that encoders cannot take stays
        whole[: small.shape[0], : small.shape[1]] = small
        result.append(whole)
    return result


KINDS: tuple[Callable[[Sequence[Image], Rng], list[Image]], ...] = (
    *map(_each, DEGRADATIONS),
    _each(shake),
    compress,
)
