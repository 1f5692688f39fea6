"""One drawn sequence: a moving background, figures in it, and the camera that takes them."""

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np

from videogcrf_det.data.mini_davis_figures import (
    Ball,
    Box,
    Bush,
    Colour,
    Dog,
    Figure,
    Person,
    Post,
)

IGNORE = 255  # label of a bystander
SCALE = 3  # drawn this much larger, then averaged
EXPOSURES = 5  # drawings averaged over the time that the shutter is open; odd, for a middle one
SHUTTER = 0.5  # frames
_SHIFT = 4  # OpenCV's fixed-point bits

Rng = np.random.Generator


@dataclass(frozen=True)
class Camera:
    """A hand that sways: amplitude, frequency (radians per frame) and phase, for x and for y."""

    waves: tuple[tuple[float, float, float], ...]

    def offset(self, time: float) -> tuple[float, float]:
        x, y = (size * math.sin(rate * time + phase) for size, rate, phase in self.waves)
        return x, y


@dataclass(frozen=True)
class Scene:
    """What there is to draw.

    Attributes:
        size: (height, width) of the frames.
        wall, ground: textures, (., ., 3) uint8 at SCALE, larger than the image by the camera's way.
        horizon: row where the ground begins.
        figures: the farthest first.
        camera: how the view moves.
        noise: standard deviation of the sensor's noise, in grey levels.
        categories: label -> category of the annotated objects.
    """

    size: tuple[int, int]
    wall: np.ndarray
    ground: np.ndarray
    horizon: int
    figures: list[Figure]
    camera: Camera
    noise: float
    categories: dict[int, str]


def make_scene(rng: Rng, size: tuple[int, int], bystander: bool, company: bool) -> Scene:
    """A scene with 1 to 3 annotated people.

    Args:
        rng: decides everything else.
        size: (height, width).
        bystander: whether one more person walks by, labelled IGNORE.
        company: whether somebody has a dog or a ball, annotated with its own label.
    """
    height, width = size
    people = _people(rng, size, int(rng.integers(1, 4)), bystander)
    figures: list[Figure] = list(people)
    categories = {person.label: "person" for person in people if person.label != IGNORE}
    if company:
        owner = next(person for person in people if person.label == 1)
        label = len(categories) + 1
        pet, category = _companion(rng, owner, label)
        figures.append(pet)
        categories[label] = category
    figures += _boxes(rng, size) + _foreground(rng, size)
    figures.sort(key=lambda figure: figure.depth)
    sway = width * rng.uniform(0.02, 0.09), rng.uniform(0.15, 0.4), rng.uniform(0, 6.28)
    bob = height * rng.uniform(0.0, 0.015), rng.uniform(0.3, 0.8), rng.uniform(0, 6.28)
    wall, ground, horizon = _background(rng, size)
    camera, noise = Camera((sway, bob)), rng.uniform(2, 5)
    return Scene(size, wall, ground, horizon, figures, camera, noise, categories)


def render(scene: Scene, time: float, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """A frame with motion blur and noise, and its labels at the middle of the exposure.

    Returns:
        RGB image (H, W, 3) and labels (H, W), both uint8.
    """
    height, width = scene.size
    total = np.zeros((height * SCALE, width * SCALE, 3), dtype=np.float32)
    labels = np.zeros(total.shape[:2], dtype=np.uint8)
    for exposure in range(EXPOSURES):
        moment = time + SHUTTER * ((exposure + 0.5) / EXPOSURES - 0.5)
        middle = exposure == EXPOSURES // 2
        cv2.accumulate(_draw(scene, moment, labels if middle else None), total)
    clean = cv2.resize(total / EXPOSURES, (width, height), interpolation=cv2.INTER_AREA)
    image = np.rint(clean + rng.normal(0, scene.noise, clean.shape))
    return np.clip(image, 0, 255).astype(np.uint8), _shrink_labels(labels, scene.size)


def _draw(scene: Scene, time: float, labels: np.ndarray | None) -> np.ndarray:
    """The scene at one moment, uint8 at SCALE; writes the labels into ``labels``, if given."""
    canvas = _view(scene, time)
    for figure in scene.figures:
        outline = figure.shadow(time)
        if outline is not None:
            _darken(canvas, _to_pixels(scene, figure, outline, time))
    for figure in scene.figures:
        for polygon, colour in figure.parts(time):
            points = _to_pixels(scene, figure, polygon, time)
            cv2.fillConvexPoly(canvas, points, colour, cv2.LINE_8, _SHIFT)
            if labels is not None:
                cv2.fillConvexPoly(labels, points, figure.label, cv2.LINE_8, _SHIFT)
    return canvas


def _to_pixels(scene: Scene, figure: Figure, polygon: np.ndarray, time: float) -> np.ndarray:
    """Fixed-point corners on the canvas. Near things move more with the camera than far ones."""
    closeness = 0.6 + 0.5 * figure.depth
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


def _colour(rng: Rng, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(
        rng.random(), rng.uniform(*saturation), rng.uniform(*value)
    )
    return 255 * red, 255 * green, 255 * blue


def _pick(rng: Rng, colours: list[Colour]) -> Colour:
    return colours[rng.integers(len(colours))]


def _people(rng: Rng, size: tuple[int, int], number: int, bystander: bool) -> list[Person]:
    """People side by side in frame 0, most of them walking to the farther side of the image, so
    that they cross. Labels run from 1; the last is IGNORE if it is a bystander."""
    width = size[1]
    labels = [*range(1, number + 1), *([IGNORE] if bystander else [])]
    lanes = rng.permutation(len(labels))
    depths = (rng.permutation(len(labels)) + rng.uniform(0.1, 0.9, len(labels))) / len(labels)
    people = []
    for label, lane, depth in zip(labels, lanes, depths, strict=True):
        x = (lane + rng.uniform(0.3, 0.7)) / len(labels) * width
        facing = (1 if x < width / 2 else -1) * (-1 if rng.random() < 0.15 else 1)
        people.append(_person(rng, size, label=label, x=x, depth=depth, facing=facing))
    return people


def _person(
    rng: Rng, size: tuple[int, int], label: int, x: float, depth: float, facing: int
) -> Person:
    height, width = size
    tall = height * (0.38 + 0.3 * depth) * rng.uniform(0.92, 1.04)
    swing, yaw = rng.uniform(0.38, 0.52), rng.uniform(0.15, 0.75)
    speed = Person.walking_speed(tall, swing, yaw, frames_per_cycle=rng.uniform(11, 20))
    return Person(
        depth=depth,
        x=x,
        ground=height * (0.74 + 0.22 * depth),
        size=tall,
        speed=facing * speed,
        lane=(-0.1 * width, 1.1 * width),
        label=label,
        colour=_colour(rng, (0.3, 0.95), (0.45, 1.0)),
        trousers=_colour(rng, (0.1, 0.7), (0.15, 0.6)),
        skin=_pick(rng, [(236, 196, 168), (214, 164, 126), (166, 113, 77), (107, 70, 48)]),
        hair=_pick(rng, [(28, 22, 20), (74, 46, 28), (150, 104, 52), (170, 168, 165)]),
        shoes=_pick(rng, [(30, 30, 34), (225, 225, 220), (120, 60, 40)]),
        skirt=bool(rng.random() < 0.3),
        build=rng.uniform(0.9, 1.2),
        swing=swing,
        yaw=yaw,
        phase=rng.uniform(0, 2 * math.pi),
    )


def _companion(rng: Rng, owner: Person, label: int) -> tuple[Figure, str]:
    """A dog or a ball that goes ahead of its owner, a little nearer to the camera."""
    ahead = math.copysign(0.5 * owner.size, owner.speed)
    kind, share = (Dog, 0.3) if rng.random() < 0.5 else (Ball, 0.2)
    colours: list[Colour] = [(120, 84, 50), (60, 52, 48), (205, 180, 140)]
    companion = kind(
        depth=owner.depth + 0.01,
        x=owner.x + ahead,
        ground=owner.ground + 0.02 * owner.size,
        size=share * owner.size,
        speed=owner.speed,
        lane=owner.lane,
        label=label,
        colour=_pick(rng, colours) if kind is Dog else _colour(rng, (0.6, 0.9), (0.8, 1.0)),
    )
    return companion, kind.__name__.lower()


def _boxes(rng: Rng, size: tuple[int, int]) -> list[Figure]:
    """Things behind or between the people that are no people."""
    height, width = size
    boxes: list[Figure] = []
    for index in range(int(rng.integers(1, 4))):
        depth = rng.uniform(-0.05, 0.35)
        moves = index == 0 and rng.random() < 0.5
        boxes.append(
            Box(
                depth=depth,
                x=rng.uniform(0, width),
                ground=height * (0.74 + 0.22 * depth),
                size=height * rng.uniform(0.1, 0.3),
                width=height * (rng.uniform(0.3, 0.5) if moves else rng.uniform(0.1, 0.3)),
                speed=width * rng.choice([-1, 1]) * rng.uniform(0.005, 0.02) if moves else 0.0,
                lane=(-0.2 * width, 1.2 * width),
                colour=_colour(rng, (0.2, 0.8), (0.3, 0.8)),
            )
        )
    return boxes


def _foreground(rng: Rng, size: tuple[int, int]) -> list[Figure]:
    """Perhaps a post, perhaps a bush."""
    height, width = size
    things: list[Figure] = []
    if rng.random() < 0.5:
        grey = rng.uniform(60, 170)
        things.append(
            Post(
                depth=1.2,
                x=width * rng.uniform(0.2, 0.8),
                ground=0.98 * height,
                size=0.2 * height,
                width=height * rng.uniform(0.04, 0.07),
                colour=(grey, grey, 1.1 * grey),
            )
        )
    if rng.random() < 0.5:
        clumps = rng.uniform([-0.9, 0.0, 0.25], [0.9, 0.6, 0.4], (14, 3))
        leaves = [(x, up * (1.1 - abs(x)), radius) for x, up, radius in clumps.tolist()]
        things.append(
            Bush(
                depth=1.1,
                x=width * rng.uniform(0.1, 0.9),
                ground=1.0 * height,
                size=height * rng.uniform(0.2, 0.28),
                colour=(rng.uniform(40, 90), rng.uniform(90, 140), rng.uniform(30, 70)),
                leaves=tuple(leaves),
            )
        )
    return things


def _background(rng: Rng, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, int]:
    """Textures of the wall and of the ground, with room for the camera, and the horizon's row."""
    height, width = size
    horizon = round(height * rng.uniform(0.6, 0.7))
    columns = round(1.25 * width) * SCALE
    wall_rows, ground_rows = round((horizon / height + 0.1) * height * SCALE), height * SCALE
    wall = _texture(rng, (wall_rows, columns), (0.05, 0.35), (0.45, 0.9), cells=6)
    for _ in range(int(rng.integers(0, 6))):  # windows and doors
        x, y = rng.uniform(0, columns), rng.uniform(0, 0.6 * wall_rows)
        end = x + rng.uniform(0.05, 0.15) * columns, y + rng.uniform(0.15, 0.4) * wall_rows
        colour = _colour(rng, (0.0, 0.4), (0.2, 0.9))
        cv2.rectangle(wall, (round(x), round(y)), (round(end[0]), round(end[1])), colour, -1)
    ground = _texture(rng, (ground_rows, columns), (0.05, 0.4), (0.3, 0.65), cells=24)
    return wall, ground, horizon


def _texture(
    rng: Rng,
    shape: tuple[int, int],
    saturation: tuple[float, float],
    value: tuple[float, float],
    cells: int,
) -> np.ndarray:
    """A gradient between two colours under smooth noise, (rows, columns, 3) uint8."""
    rows, columns = shape
    top, bottom = (np.array(_colour(rng, saturation, value)) for _ in range(2))
    down = np.linspace(0, 1, rows)[:, None, None]
    image = (1 - down) * top + down * (0.5 * top + 0.5 * bottom)
    noise = np.zeros(shape, dtype=np.float32)
    for octave in range(4):
        grid = rng.normal(0, 12 / 1.5**octave, (cells << octave, 2 * cells << octave))
        noise += cv2.resize(grid.astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.clip(image + noise[..., None], 0, 255).astype(np.uint8)
