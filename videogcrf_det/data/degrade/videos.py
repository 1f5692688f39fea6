"""Whole videos that are hard to see, in ways that fields are never fitted to (steady/spoil.py)."""

from collections.abc import Callable, Sequence

import av
import cv2
import numpy as np

from videogcrf_det.data.degrade import Image, Rng
from videogcrf_det.errors import InputError
from videogcrf_det.video.codec import H264, recode, unit_type, units

LOST = 0.15  # share of the packets of a stream
SLICE = 500  # bytes of H.264 in a packet, at most


def low_rate(frames: Sequence[Image], rng: Rng) -> list[Image]:
    """H.264 at a very low rate, the whole video in one stream."""
    crf = str(int(rng.integers(42, 47)))
    return _recoded(frames, {"crf": crf, "preset": "medium"}, None)


def lost_packets(frames: Sequence[Image], rng: Rng) -> list[Image]:
    """A live stream of H.264 of which some packets are lost.

    The decoder conceals what is missing, and pictures that are told by it are wrong as well, until
    one stands by itself, every 12 frames. Nothing of the first picture is lost.
    """
    first = True

    def damage(packet: bytes) -> bytes:
        nonlocal first
        kept = [
            unit
            for unit in units(packet)
            if first or unit_type(unit) not in (1, 5) or rng.random() >= LOST
        ]
        first = False
        return b"".join(kept)

    options = {"crf": "26", "preset": "veryfast", "tune": "zerolatency", "g": "12"}
    options["x264-params"] = f"slice-max-size={SLICE}:scenecut=0"
    return _recoded(frames, options, damage)


def wet_lens(frames: Sequence[Image], rng: Rng) -> list[Image]:
    """Drops on the lens, at the same places in all frames.

    A drop shows the scene small, upside down and out of focus, and is darker towards its edge; all
    of the picture is a little hazy.
    """
    height, width = frames[0].shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    at_y, at_x = rows.copy(), columns.copy()
    inside = np.zeros((height, width), np.float32)
    shade = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(14, 22))):
        radius = height * rng.uniform(0.03, 0.11)
        y, x = rng.uniform(0, 1, 2) * (height, width)
        distance = np.hypot((rows - y) / rng.uniform(1.0, 1.3), columns - x) / radius
        drop = distance < 1
        at_y[drop] = np.clip(y - 4 * (rows - y), 0, height - 1)[drop]
        at_x[drop] = np.clip(x - 4 * (columns - x), 0, width - 1)[drop]
        shade[drop] = (1 - 0.5 * distance**4)[drop]
        inside = np.maximum(inside, np.clip(3 * (1 - distance), 0, 1))
    result = []
    for frame in frames:
        blurred = cv2.GaussianBlur(frame, (0, 0), height / 120)
        seen = cv2.remap(blurred, at_x, at_y, cv2.INTER_LINEAR) * shade[..., None]
        haze = 0.85 * frame + 0.15 * frame.mean((0, 1))
        mixed = haze + (seen - haze) * inside[..., None]
        result.append(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
    return result


HARD: dict[str, Callable[[Sequence[Image], Rng], list[Image]]] = {
    "low_rate": low_rate,
    "lost_packets": lost_packets,
    "wet_lens": wet_lens,
}


def _recoded(
    frames: Sequence[Image], options: dict[str, str], damage: Callable[[bytes], bytes] | None
) -> list[Image]:
    try:
        return recode(frames, H264, options, damage)
    except (ValueError, av.FFmpegError) as error:
        raise InputError(
            f"cannot encode H.264 ({error}): install a PyAV whose FFmpeg has {H264}, such as the "
            "one on PyPI"
        ) from error
