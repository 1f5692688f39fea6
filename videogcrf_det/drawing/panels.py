"""Pictures beside each other, and pictures as files."""

import os
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from videogcrf_det.drawing.overlay import Picture, font
from videogcrf_det.files import atomic_write

GAP = 8  # pixels around and between panels
CAPTION = 28  # pixels for a caption
BACKGROUND = (22, 25, 30)
TEXT = (232, 235, 240)


def side_by_side(panels: Sequence[tuple[str, Picture]]) -> Picture:
    """Put pictures with captions above them in a row.

    Args:
        panels: captions and (H, W, 3) uint8 RGB pictures; heights and widths may differ.
    """
    height = max(picture.shape[0] for _, picture in panels)
    width = sum(picture.shape[1] + GAP for _, picture in panels) + GAP
    sheet = Image.new("RGB", (width, height + CAPTION + GAP), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    left = GAP
    for caption, picture in panels:
        draw.text((left + 1, CAPTION // 2), caption, fill=TEXT, font=font(13), anchor="lm")
        sheet.paste(Image.fromarray(picture), (left, CAPTION))
        left += picture.shape[1] + GAP
    return np.asarray(sheet)


def tile(panels: Sequence[tuple[str, Picture]]) -> Picture:
    """Put pictures of one size with captions above them in a row, four wide ones in two rows."""
    height, width = panels[0][1].shape[:2]
    if len(panels) == 4 and width > height:
        return np.concatenate([side_by_side(panels[:2]), side_by_side(panels[2:])])
    return side_by_side(panels)


def shrink(picture: Picture, width: int) -> Picture:
    """Make a picture (H, W, 3) that is wider than ``width`` as wide as that."""
    scale = width / picture.shape[1]
    if scale >= 1:
        return picture
    height = round(picture.shape[0] * scale)
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, np.uint8)


def write_png(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write an (H, W, 3) uint8 RGB picture."""
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise OSError(f"cannot write the picture {os.fspath(path)}")


def write_jpeg(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write an (H, W, 3) uint8 RGB picture."""
    with atomic_write(path) as temporary:
        Image.fromarray(picture).save(temporary, quality=85)
