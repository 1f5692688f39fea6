"""The things in the drawn data set: walking people, their company, and things in their way.

Coordinates are in pixels of the final image, x to the right and y down; time is in frames. A thing
is a list of convex polygons, painted one over the other.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

Colour = tuple[float, float, float]  # RGB, 0 to 255
Circle = tuple[float, float, float]  # x, y, radius

_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_UNIT_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


class Part(NamedTuple):
    """A convex polygon, (K, 2) float32, and its colour."""

    polygon: np.ndarray
    colour: Colour


def hull(circles: Sequence[Circle], colour: Colour) -> Part:
    """The convex hull of circles: one gives a disc, two a tapered limb, more a trunk."""
    points = [np.array([x, y]) + radius * _UNIT_CIRCLE for x, y, radius in circles]
    return Part(cv2.convexHull(np.concatenate(points).astype(np.float32))[:, 0], colour)


def shade(colour: Colour, factor: float) -> Colour:
    """A lighter (factor > 1) or darker colour."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something with a place in the scene, drawn with its feet at ``ground``.

    Attributes:
        depth: 0 is far and 1 is near; nearer things cover those behind them, and above 1 a thing
            stands in front of all people.
        x, speed: place in frame 0 and pixels per frame, negative to the left; 0 stands still.
        ground: y of the feet.
        size: height in pixels.
        lane: (left, right) ends of the walk, where the thing turns round.
        label: its id in the annotation; 0 is background.
        colour: main colour.
    """

    depth: float
    x: float
    ground: float
    size: float
    colour: Colour
    speed: float = 0.0
    lane: tuple[float, float] = (0.0, 1.0)
    label: int = 0

    def place(self, time: float) -> tuple[float, int]:
        """The place of the thing, and the side that it faces: right (1) or left (-1)."""
        if self.speed == 0:
            return self.x, 1
        left, right = self.lane
        width = right - left
        walked = (self.x - left + self.speed * time) % (2 * width)
        facing = 1 if self.speed > 0 else -1
        if walked > width:
            return right - (walked - width), -facing
        return left + walked, facing

    def shadow(self, time: float) -> np.ndarray | None:
        """The polygon that the thing darkens on the ground."""
        x, _ = self.place(time)
        return _UNIT_CIRCLE * [0.3 * self.size, 0.05 * self.size] + [x, self.ground]

    def parts(self, time: float) -> list[Part]:
        """The polygons at ``time``, the farthest first."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Person(Thing):
    """A walking person: ``colour`` is the shirt's. Lengths below are in body heights.

    Attributes:
        trousers, skin, hair, shoes: colours.
        skirt: whether the legs are covered to the knees, in the colour of the trousers.
        build: width of the body, 1 on average.
        swing: how far the legs swing, radians.
        yaw: how far the body is turned out of the side view, radians.
        phase: place in the walking cycle in frame 0, radians.
    """

    trousers: Colour
    skin: Colour
    hair: Colour
    shoes: Colour
    skirt: bool
    build: float
    swing: float
    yaw: float
    phase: float

    THIGH, SHIN, FOOT, TRUNK, UPPER_ARM, FOREARM = 0.25, 0.23, 0.07, 0.31, 0.16, 0.15

    @staticmethod
    def walking_speed(size: float, swing: float, yaw: float, frames_per_cycle: float) -> float:
        """Pixels per frame at which the feet do not slide."""
        stride = 4 * (Person.THIGH + Person.SHIN) * math.sin(swing)
        return size * stride * math.cos(yaw) / frames_per_cycle

    def parts(self, time: float) -> list[Part]:
        x, facing = self.place(time)
        pace = self.walking_speed(self.size, self.swing, self.yaw, 1.0)
        phase = self.phase + 2 * math.pi * abs(self.speed) * time / pace
        legs = [self._leg(phase + math.pi, -1), self._leg(phase, 1)]
        arms = [self._arm(phase, -1), self._arm(phase + math.pi, 1)]
        lowest = max(joint[1] for leg in legs for joint in leg[2:]) + 0.02

        def at(joint: Sequence[float], radius: float) -> Circle:
            """The image of (forward, down, towards the camera), the hips at the origin."""
            forward, down, near = joint
            across = forward * math.cos(self.yaw) + near * math.sin(self.yaw)
            return (
                x + facing * across * self.size,
                self.ground + (down - lowest + 0.1 * near) * self.size,
                radius * self.build * self.size,
            )

        (far_leg, near_leg), (far_arm, near_arm) = legs, arms
        parts = self._arm_parts([at(joint, 0.026) for joint in far_arm], 0.75)
        parts += self._leg_parts([at(joint, 0.04) for joint in far_leg], 0.75)
        parts += self._leg_parts([at(joint, 0.04) for joint in near_leg], 1.0)
        parts += self._trunk_parts(at)
        return parts + self._arm_parts([at(joint, 0.026) for joint in near_arm], 1.12)

    def _leg(self, phase: float, side: int) -> list[tuple[float, float, float]]:
        """Hip, knee, ankle and toe. The knee bends most early in the forward swing."""
        thigh = self.swing * math.sin(phase)
        shin = thigh - 0.1 - 0.95 * max(0.0, math.cos(phase + 0.5))
        toe = -0.7 * shin  # down as the heel lifts, up as it strikes
        near = 0.055 * side
        knee = (self.THIGH * math.sin(thigh), self.THIGH * math.cos(thigh))
        ankle = (knee[0] + self.SHIN * math.sin(shin), knee[1] + self.SHIN * math.cos(shin))
        tip = (ankle[0] + self.FOOT * math.cos(toe), ankle[1] + self.FOOT * math.sin(toe))
        return [(0.0, 0.0, near), (*knee, near), (*ankle, near), (*tip, near)]

    def _arm(self, phase: float, side: int) -> list[tuple[float, float, float]]:
        """Shoulder, elbow and hand."""
        upper = 0.9 * self.swing * math.sin(phase)
        fore = upper + 0.35 + 0.25 * math.sin(phase)
        near = 0.12 * side
        top = 0.01 - self.TRUNK
        elbow = (self.UPPER_ARM * math.sin(upper), top + self.UPPER_ARM * math.cos(upper))
        hand = (elbow[0] + self.FOREARM * math.sin(fore), elbow[1] + self.FOREARM * math.cos(fore))
        return [(0.02, top, near), (*elbow, near), (*hand, near)]

    def _leg_parts(self, joints: list[Circle], light: float) -> list[Part]:
        hip, knee, ankle, toe = joints
        cloth = shade(self.skin if self.skirt else self.trousers, light)
        narrow = (ankle[0], ankle[1], 0.62 * ankle[2])
        return [
            hull([narrow, (toe[0], toe[1], 0.5 * toe[2])], shade(self.shoes, light)),
            hull([(hip[0], hip[1], 1.4 * hip[2]), knee], cloth),
            hull([knee, narrow], cloth),
        ]

    def _arm_parts(self, joints: list[Circle], light: float) -> list[Part]:
        shoulder, elbow, hand = joints
        sleeve = shade(self.colour, light)
        return [
            hull([elbow, hand], sleeve),
            hull([(hand[0], hand[1], 1.1 * hand[2])], shade(self.skin, light)),
            hull([(shoulder[0], shoulder[1], 1.3 * shoulder[2]), elbow], sleeve),
        ]

    def _trunk_parts(self, at: Callable[[Sequence[float], float], Circle]) -> list[Part]:
        """Clothes between the legs and the arms, and the head."""
        top = 0.03 - self.TRUNK
        shoulders = [at((0.02, top, side * 0.09), 0.06) for side in (-1, 1)]
        hips = [at((0.0, -0.02, side * 0.05), 0.058) for side in (-1, 1)]
        belt = [at((0.0, 0.01, side * 0.05), 0.06) for side in (-1, 1)]
        hem = [at((0.0, 0.19, side * 0.07), 0.085) for side in (-1, 1)]
        head = self.TRUNK + 0.115
        return [
            hull(belt + hem if self.skirt else belt, self.trousers),
            hull(shoulders + hips, self.colour),
            hull([at((0.02, top - 0.03, 0.0), 0.03), at((0.03, -head, 0.0), 0.03)], self.skin),
            hull([at((0.02, -head - 0.015, 0.0), 0.066)], self.hair),
            hull(
                [at((0.047, -head, 0.0), 0.05), at((0.052, -head + 0.025, 0.0), 0.042)],
                self.skin,
            ),
        ]


@dataclass(frozen=True, kw_only=True)
class Dog(Thing):
    """A trotting dog."""

    def parts(self, time: float) -> list[Part]:
        x, facing = self.place(time)
        phase = 2 * math.pi * self.speed * time / (1.3 * self.size)

        def at(forward: float, up: float, radius: float) -> Circle:
            size = self.size
            return x + facing * forward * size, self.ground - up * size, radius * size

        parts = []
        for index, (hip, side) in enumerate([(-0.45, 1), (0.4, -1), (-0.4, -1), (0.45, 1)]):
            foot = at(hip + 0.28 * math.sin(phase) * side, 0.04, 0.05)
            parts.append(hull([at(hip, 0.5, 0.09), foot], shade(self.colour, 0.7 + 0.2 * index)))
        return [
            *parts,
            hull([at(-0.5, 0.6, 0.06), at(-0.8, 0.85, 0.03)], self.colour),
            hull([at(-0.4, 0.55, 0.17), at(0.4, 0.58, 0.2)], self.colour),
            hull([at(0.45, 0.65, 0.14), at(0.62, 0.85, 0.13)], self.colour),
            hull([at(0.65, 0.85, 0.13), at(0.9, 0.77, 0.07)], shade(self.colour, 1.15)),
            hull([at(0.55, 0.98, 0.05), at(0.5, 0.8, 0.06)], shade(self.colour, 0.6)),
        ]


@dataclass(frozen=True, kw_only=True)
class Ball(Thing):
    """A rolling ball with patches that show the rolling."""

    def parts(self, time: float) -> list[Part]:
        x, facing = self.place(time)
        radius = self.size / 2
        turned = facing * abs(self.speed) * time / radius
        centre = (x, self.ground - radius)
        parts = [hull([(*centre, radius)], self.colour)]
        for angle in turned + np.arange(3) * 2 * math.pi / 3:
            patch_x = centre[0] + 0.55 * radius * math.cos(angle)
            patch_y = centre[1] + 0.55 * radius * math.sin(angle)
            parts.append(hull([(patch_x, patch_y, 0.3 * radius)], shade(self.colour, 0.35)))
        return parts


@dataclass(frozen=True, kw_only=True)
class Box(Thing):
    """A crate, or a cart on wheels if it moves: not a person, and not annotated.

    Attributes:
        width: of the front side, in pixels.
    """

    width: float

    def parts(self, time: float) -> list[Part]:
        x, facing = self.place(time)
        clear = 0.15 * self.size if self.speed else 0.0
        bottom, top, left = self.ground - clear, self.ground - self.size, x - self.width / 2

        def panel(x0: float, y0: float, x1: float, y1: float, light: float) -> Part:
            corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=np.float32)
            return Part(corners, shade(self.colour, light))

        side = x + facing * self.width / 2
        parts = [
            panel(left, top, left + self.width, bottom, 1.0),
            panel(left + 0.15 * self.width, top + 0.2 * self.size, x, bottom - 2, 1.25),
            panel(side - facing * 0.2 * self.width, top, side, bottom, 0.7),
        ]
        if self.speed:
            for wheel in (left + 0.2 * self.width, left + 0.8 * self.width):
                parts.append(hull([(wheel, bottom, clear)], (35.0, 35.0, 40.0)))
        return parts


@dataclass(frozen=True, kw_only=True)
class Post(Thing):
    """A lamp post of the given width in the foreground, from the ground to above the image."""

    width: float

    def parts(self, time: float) -> list[Part]:
        foot, head = (self.x, self.ground, self.width / 2), (self.x, -20.0, self.width / 2)
        light = [(x - 0.2 * self.width, y, 0.15 * self.width) for x, y, _ in (foot, head)]
        base = (self.x, self.ground, 0.8 * self.width)
        return [
            hull([foot, head], self.colour),
            hull(light, shade(self.colour, 1.4)),
            hull([base], shade(self.colour, 0.8)),
        ]


@dataclass(frozen=True, kw_only=True)
class Bush(Thing):
    """A bush in the foreground.

    Attributes:
        leaves: (x, y, radius) of clumps, in sizes, from the middle of the ground line.
    """

    leaves: tuple[Circle, ...]

    def parts(self, time: float) -> list[Part]:
        parts = []
        for index, (x, up, radius) in enumerate(self.leaves):
            clump = (self.x + x * self.size, self.ground - up * self.size, radius * self.size)
            parts.append(hull([clump], shade(self.colour, 0.75 + 0.12 * (index % 5))))
        return parts
