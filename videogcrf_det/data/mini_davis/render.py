"""A scene of the drawn data set, and the camera that takes it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from videogcrf_det.data.mini_davis.things import Thing

IGNORE = 255  # label of a bystander
SCALE = 3  # drawn this much larger, then averaged
EXPOSURES = 5  # drawings averaged over the time that the shutter is open; odd, for a middle one
SHUTTER = 0.5  # frames
_SHIFT = 4  # OpenCV's fixed-point bits
# the camera that the sizes of people and the places of their feet agree with: 1.25 m above the
# ground, of a focal length of 1.5 heights of the frame, its vanishing line at 0.461 of the height
CAMERA_HEIGHT, FOCAL_LENGTH, VANISHING_LINE = 1.25, 1.5, 0.461


@dataclass(frozen=True)
class Camera:
    """A hand that sways: amplitude, frequency (radians per frame) and phase, for x and for y."""

    waves: tuple[tuple[float, float, float], ...]

    def offset(self, time: float) -> tuple[float, float]:
        x, y = (size * math.sin(rate * time + phase) for size, rate, phase in self.waves)
        return x, y


@dataclass(frozen=True)
class Scene:
    """The things to draw.

    Attributes:
        size: (height, width) of the frames.
        wall, ground: textures, (., ., 3) uint8 at SCALE, larger than the image by the camera's way.
        horizon: row where the ground begins.
        things: the farthest first.
        camera: how the view moves.
        noise: standard deviation of the sensor's noise, in grey levels.
        categories: label -> category of the annotated objects.
    """

    size: tuple[int, int]
    wall: np.ndarray
    ground: np.ndarray
    horizon: int
    things: list[Thing]
    camera: Camera
    noise: float
    categories: dict[int, str]


def render(
    scene: Scene, time: float, rng: np.random.Generator, interval: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """A frame with motion blur and noise, and its labels at the middle of the exposure.

    Args:
        scene: what there is to see.
        time: of the middle of the exposure.
        rng: for the noise.
        interval: time from frame to frame; the shutter is open for SHUTTER of it.

    Returns:
        RGB image (H, W, 3) and labels (H, W), both uint8.
    """
    height, width = scene.size
    total = np.zeros((height * SCALE, width * SCALE, 3), dtype=np.float32)
    labels = np.zeros(total.shape[:2], dtype=np.uint8)
    for exposure in range(EXPOSURES):
        moment = time + interval * SHUTTER * ((exposure + 0.5) / EXPOSURES - 0.5)
        middle = exposure == EXPOSURES // 2
        cv2.accumulate(_draw(scene, moment, labels if middle else None), total)
    clean = cv2.resize(total / EXPOSURES, (width, height), interpolation=cv2.INTER_AREA)
    image = np.rint(clean + rng.normal(0, scene.noise, clean.shape))
    return np.clip(image, 0, 255).astype(np.uint8), _shrink_labels(labels, scene.size)


def draw_depth(scene: Scene, time: float) -> np.ndarray:
    """The true depth of a frame, (H, W) float32 metres, at the middle of the exposure.

    The ground recedes to the wall, which stands upright, as all things do: each is as far away as
    the ground at its feet. A pixel has the depth of what is at its centre.
    """
    height, width = scene.size
    _, y = scene.camera.offset(time)
    horizon = max(round((scene.horizon + y) * SCALE), 0)
    feet = (np.arange(height * SCALE, dtype=np.float32) + 0.5) / SCALE - y
    feet[:horizon] = scene.horizon  # of the wall
    canvas = np.repeat(_distance(feet / height)[:, None], width * SCALE, axis=1)
    for thing in scene.things:
        # where the feet of a person of this depth are; see scene.py
        distance = float(_distance(0.74 + 0.22 * thing.depth))
        for polygon, _ in thing.parts(time):
            points = _to_pixels(scene, thing, polygon, time)
            cv2.fillConvexPoly(canvas, points, distance, cv2.LINE_8, _SHIFT)
    return canvas[SCALE // 2 :: SCALE, SCALE // 2 :: SCALE].copy()


def _distance(row: np.ndarray | float) -> np.ndarray:
    """Metres to the ground in a row, as a share of the height of the frame."""
    return np.asarray(FOCAL_LENGTH * CAMERA_HEIGHT / (row - VANISHING_LINE), np.float32)


def _draw(scene: Scene, time: float, labels: np.ndarray | None) -> np.ndarray:
    """The scene at one moment, uint8 at SCALE; writes the labels into ``labels``, if given."""
    canvas = _view(scene, time)
    for thing in scene.things:
        outline = thing.shadow(time)
        if outline is not None:
            _darken(canvas, _to_pixels(scene, thing, outline, time))
    for thing in scene.things:
        for polygon, colour in thing.parts(time):
            points = _to_pixels(scene, thing, polygon, time)
            cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_8, _SHIFT)
            if labels is not None:
                cv2.fillConvexPoly(labels, points, thing.label, cv2.LINE_8, _SHIFT)
    return canvas


def _to_pixels(scene: Scene, thing: Thing, polygon: np.ndarray, time: float) -> np.ndarray:
    """Fixed-point corners on the canvas. Near things move more with the camera than far ones."""
    closeness = 0.6 + 0.5 * thing.depth
    offset = np.array(scene.camera.offset(time)) * [closeness, 1.0]
    return np.rint(((polygon + offset) * SCALE - 0.5) * 2**_SHIFT).astype(np.int32)


def _darken(canvas: np.ndarray, points: np.ndarray) -> None:
    """Cast a shadow within the polygon."""
    x, y, width, height = cv2.boundingRect(points >> _SHIFT)
    left, top = max(x, 0), max(y, 0)
    region = canvas[top : max(y + height, 0), left : max(x + width, 0)]
    if region.size:
        mask = np.zeros(region.shape[:2], dtype=np.uint8)
        cv2.fillConvexPoly(mask, points - (np.array([left, top]) << _SHIFT), 1, cv2.LINE_8, _SHIFT)
        inside = mask.astype(bool)
        region[inside] = (region[inside] * 0.6).astype(np.uint8)


def _view(scene: Scene, time: float) -> np.ndarray:
    """The part of the background that the camera sees."""
    rows, columns = scene.size[0] * SCALE, scene.size[1] * SCALE
    x, y = scene.camera.offset(time)

    def crop(texture: np.ndarray, closeness: float, num_rows: int) -> np.ndarray:
        left = round((texture.shape[1] - columns) / 2 - x * closeness * SCALE)
        return texture[:num_rows, left : left + columns]

    horizon = round((scene.horizon + y) * SCALE)
    wall = crop(scene.wall, 0.4, horizon)
    return np.concatenate([wall, crop(scene.ground, 0.6, rows - horizon)])


def _shrink_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The label that covers most of each pixel."""
    present = np.unique(labels)
    covered = [
        cv2.resize((labels == label).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
        for label in present
    ]
    return present[np.argmax(covered, axis=0)].astype(np.uint8)
