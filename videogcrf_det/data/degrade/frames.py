"""Single frames of which little can be seen, so that their neighbours have to say what is there."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Picture

from videogcrf_det.data.images import read_image
from videogcrf_det.errors import InputError

Rng = np.random.Generator
Image = np.ndarray  # (H, W, 3) uint8


def degraded_frames(rng: Rng, num_frames: int, share: float) -> list[int]:
    """About ``share`` of the frames, no two of them in a row, ascending.

    Frames are drawn one after another as long as there is one with no neighbour among them, which
    ends at 0.43 of many frames: hence the limit of check_share.
    """
    chosen: list[int] = []
    for frame in rng.permutation(num_frames).tolist():
        if len(chosen) >= round(share * num_frames):
            break
        if frame - 1 not in chosen and frame + 1 not in chosen:
            chosen.append(frame)
    return sorted(chosen)


def check_share(share: float) -> None:
    """Raise InputError for a share that degraded_frames cannot give."""
    if not 0 <= share <= 0.4:
        raise InputError(
            f"the share of degraded frames is {share}: give 0 to 0.4, since no two are in a row"
        )


def degrade_file(source: Path, target: Path, rng: Rng) -> None:
    """Write what degrade makes of a picture; ``target`` may be ``source``."""
    Picture.fromarray(degrade(read_image(source), rng)).save(target, quality=95)


def degrade(image: Image, rng: Rng) -> Image:
    """The frame out of focus, full of noise, behind something, or in the dark."""
    return DEGRADATIONS[int(rng.integers(len(DEGRADATIONS)))](image, rng)


def blur(image: Image, rng: Rng) -> Image:
    """Out of focus, by a twentieth of the height or more."""
    return cv2.GaussianBlur(image, (0, 0), len(image) * rng.uniform(0.05, 0.08))


def add_noise(image: Image, rng: Rng) -> Image:
    """Noise as strong as what there is to see."""
    return _bytes(image + rng.normal(0, rng.uniform(70, 110), image.shape))


def occlude(image: Image, rng: Rng) -> Image:
    """Behind one to three upright things of some colour, close to the camera."""
    occluded = image.copy()
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        left, wide = rng.uniform(-0.1, 0.9), rng.uniform(0.2, 0.4)
        corners = np.array([[left, 0.0], [left + wide, 1.0]]) * [width, height]
        (x0, y0), (x1, y1) = corners.round().astype(int).tolist()
        colour = rng.uniform(0, 255, 3).tolist()
        cv2.rectangle(occluded, (x0, y0), (x1, y1), colour, -1)
    return occluded


def darken(image: Image, rng: Rng) -> Image:
    """A few grey levels, and the sensor's noise."""
    dark = image * rng.uniform(0.03, 0.07) + rng.normal(0, rng.uniform(3, 5), image.shape)
    return _bytes(dark)


DEGRADATIONS: tuple[Callable[[Image, Rng], Image], ...] = (blur, add_noise, occlude, darken)


def _bytes(image: np.ndarray) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
