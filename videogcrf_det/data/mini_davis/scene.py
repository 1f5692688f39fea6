"""The content of a drawn sequence: people, their company, other things and a background."""

import colorsys
import math

import cv2
import numpy as np

from videogcrf_det.data.mini_davis.render import IGNORE, SCALE, Camera, Scene
from videogcrf_det.data.mini_davis.things import (
    Ball,
    Box,
    Bush,
    Colour,
    Dog,
    Person,
    Post,
    Thing,
)

Rng = np.random.Generator


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
    things: list[Thing] = list(people)
    categories = {person.label: "person" for person in people if person.label != IGNORE}
    if company:
        owner = next(person for person in people if person.label == 1)
        label = len(categories) + 1
        pet, category = _companion(rng, owner, label)
        things.append(pet)
        categories[label] = category
    things += _boxes(rng, size) + _foreground(rng, size)
    things.sort(key=lambda thing: thing.depth)
    sway = width * rng.uniform(0.02, 0.09), rng.uniform(0.15, 0.4), rng.uniform(0, 6.28)
    bob = height * rng.uniform(0.0, 0.015), rng.uniform(0.3, 0.8), rng.uniform(0, 6.28)
    wall, ground, horizon = _background(rng, size)
    camera, noise = Camera((sway, bob)), rng.uniform(2, 5)
    return Scene(size, wall, ground, horizon, things, camera, noise, categories)


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


def _companion(rng: Rng, owner: Person, label: int) -> tuple[Thing, str]:
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


def _boxes(rng: Rng, size: tuple[int, int]) -> list[Thing]:
    """Things behind or between the people that are no people."""
    height, width = size
    boxes: list[Thing] = []
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


def _foreground(rng: Rng, size: tuple[int, int]) -> list[Thing]:
    """Perhaps a post, perhaps a bush."""
    height, width = size
    things: list[Thing] = []
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
