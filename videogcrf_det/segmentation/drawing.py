"""Label maps as pictures: in the colours of a data set, with a legend.

Letters: L labels, H x W pixels of a frame.
"""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.utils.colormap import colormap
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from videogcrf_det.drawing.overlay import Picture, enlarge, font
from videogcrf_det.drawing.panels import BACKGROUND, TEXT

LabelMap = NDArray[np.integer]  # (H, W); what is no label is void
OPACITY = 0.6
EDGE = 0.5  # how much darker the border of a region is


class Palette(NamedTuple):
    """The labels of a data set."""

    names: list[str]  # L
    colours: list[tuple[int, int, int]]  # L of RGB


def palette_of(dataset: str) -> Palette | None:
    """The labels that a registered data set names; None if it names none."""
    known = MetadataCatalog.get(dataset)
    names, colours = known.get("stuff_classes", []), known.get("stuff_colors", [])
    if not names or len(names) != len(colours):
        return None
    return Palette(list(names), [(int(r), int(g), int(b)) for r, g, b in colours])


def palette_for(cfg: CfgNode) -> Palette:
    """The labels of a model: those of its first test set if they are as many; or numbers."""
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    known = palette_of(cfg.DATASETS.TEST[0]) if cfg.DATASETS.TEST else None
    if known is not None and len(known.names) == number:
        return known
    colours = colormap(rgb=True).astype(int).tolist()
    return Palette(
        [f"class {i + 1}" for i in range(number)],
        [tuple(colours[i % len(colours)]) for i in range(number)],
    )


def draw_labels(
    image: Picture,
    labels: LabelMap,
    palette: Palette,
    *,
    opacity: float = OPACITY,
    own_size: bool = False,
) -> Picture:
    """Tint a frame with the colours of its labels.

    Args:
        image: (H, W, 3) uint8, RGB. It is not changed.
        labels: (H, W). Pixels with what is no label of the palette keep their colours.
        palette: of L labels.
        opacity: of the colours, from 0 to 1.
        own_size: keep the size of the frame.

    Returns:
        uint8 RGB picture of ``display_size(H, W)``, or of (H, W).
    """
    canvas = image if own_size else enlarge(image)
    height, width = canvas.shape[:2]
    # as bytes: OpenCV resizes no larger integers
    clipped = np.where((labels >= 0) & (labels < len(palette.names)), labels, 255).astype(np.uint8)
    resized = cv2.resize(clipped, (width, height), interpolation=cv2.INTER_NEAREST)
    shown = np.asarray(resized, np.uint8)
    colours, opacities = np.zeros((256, 3), np.float32), np.zeros(256, np.float32)
    colours[: len(palette.colours)] = palette.colours
    # black, which backgrounds have, would hide the picture
    opacities[: len(palette.colours)] = [
        opacity if any(c) else opacity / 2 for c in palette.colours
    ]
    alpha = opacities[shown][..., None]
    tinted = canvas * (1 - alpha) + colours[shown] * alpha
    tinted[_edges(shown, max(height, width))] *= 1 - EDGE * min(1.0, 2 * opacity)
    return tinted.round().astype(np.uint8)


def _edges(labels: NDArray[np.uint8], longer: int) -> NDArray[np.bool_]:
    """Where the borders between regions are, one to three pixels wide."""
    kernel = np.ones((2, 2), np.uint8) if longer < 800 else np.ones((3, 3), np.uint8)
    return cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, kernel) > 0


def with_legend(picture: Picture, palette: Palette) -> Picture:
    """A picture (H, W, 3) with the names of all labels below it, each beside its colour."""
    return np.concatenate([picture, legend(palette, picture.shape[1], _unit(picture))])


def _unit(picture: Picture) -> float:
    return max(1.0, max(picture.shape[:2]) / 1200)


def legend(palette: Palette, width: int, unit: float = 1.0) -> Picture:
    """The names of labels beside their colours, in as many rows as they need.

    Args:
        palette: of L labels.
        width: in pixels.
        unit: how much larger than usual it is written.

    Returns:
        (height, width, 3) uint8 RGB picture.
    """
    face = font(round(12 * unit))
    margin, swatch, row = (round(length * unit) for length in (10, 13, 22))
    longest = max(face.getlength(name) for name in palette.names)
    cell = math.ceil(swatch + 0.6 * margin + longest + 1.6 * margin)
    count = len(palette.names)
    rows = math.ceil(count / max(1, (width - margin) // cell))
    columns = math.ceil(count / rows)  # as many in each row, where they fit
    sheet = Image.new("RGB", (width, rows * row + margin), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for index, (name, colour) in enumerate(zip(palette.names, palette.colours, strict=True)):
        left = margin + index % columns * cell
        middle = margin // 2 + row // 2 + index // columns * row
        box = (left, middle - swatch // 2, left + swatch - 1, middle + swatch // 2)
        draw.rounded_rectangle(box, radius=max(2, swatch // 5), fill=colour, outline=_rim(colour))
        at = (left + swatch + round(0.6 * margin), middle)
        draw.text(at, name, fill=TEXT, font=face, anchor="lm")
    return np.asarray(sheet)


def _rim(colour: Sequence[int]) -> tuple[int, ...]:
    """A lighter colour, so that dark ones stand out from the background."""
    return tuple((value + 255) // 2 for value in colour)


def write_label_map(path: str | os.PathLike[str], labels: LabelMap, palette: Palette) -> None:
    """Write labels (H, W) as the values of an indexed PNG file, which shows their colours."""
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette([value for colour in palette.colours for value in colour])
    picture.save(path, format="PNG")
