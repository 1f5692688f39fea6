"""Instances drawn over a frame.

detectron2's Visualizer draws with matplotlib, which takes twenty times as long (100 ms against 5 ms
for seven instances on 432 x 240 pixels) and leaves labels of small frames unreadable; here OpenCV
draws masks and Pillow text.

Letters: N instances, H x W a frame.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from videogcrf_det.drawing.colours import palette_colour

Picture = NDArray[np.uint8]  # (H, W, 3), RGB

FILL = 0.45  # opacity of a mask
HATCH_PERIOD = 10  # pixels from one stripe of a do-not-care region to the next
DASH = 4  # length of a dash, and of the gap after it, in widths of the line
DARK = (17, 20, 24)
GREY = (205, 208, 212)


def display_size(height: int, width: int) -> tuple[int, int]:
    """The height and width at which a frame is shown: its longer side has 400 to 720 pixels.

    >>> display_size(120, 160), display_size(240, 427), display_size(480, 854)
    ((360, 480), (240, 427), (405, 720))
    """
    longer = max(height, width)
    # enlarged by a whole number, so that every pixel of a small frame keeps the same size
    scale = -(-400 // longer) if longer < 400 else min(1.0, 720 / longer)
    return max(1, round(height * scale)), max(1, round(width * scale))


def enlarge(image: Picture) -> Picture:
    """A frame at the size at which it is shown."""
    height, width = display_size(*image.shape[:2])
    if (height, width) == image.shape[:2]:
        return image.copy()
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def draw_instances(
    image: Picture,
    masks: NDArray[np.bool_],
    colours: Sequence[int],
    *,
    labels: Sequence[str] | None = None,
    boxes: NDArray[np.floating] | None = None,
    crowd: Sequence[bool] | None = None,
    dashed: Sequence[bool] | None = None,
    own_size: bool = False,
) -> Picture:
    """Draw masks, and where they are given boxes and labels, over a frame.

    Args:
        image: (H, W, 3) uint8, RGB. It is not changed.
        masks: (N, H, W) bool.
        colours: the N palette indices, as TrackColours gives them.
        labels: N texts; an empty one is left out.
        boxes: (N, 4) corners x0, y0, x1, y1 in pixels of the frame.
        crowd: which of the N are do-not-care regions. They are hatched in grey, below the others,
            without a label.
        dashed: which of the N have a dashed outline.
        own_size: keep the size of the frame. Lines and labels grow with it.

    Returns:
        uint8 RGB picture of ``display_size(H, W)``, or of (H, W).
    """
    canvas = image.copy() if own_size else enlarge(image)
    height, width = canvas.shape[:2]
    unit = max(1.0, max(height, width) / 800)
    is_crowd = [False] * len(masks) if crowd is None else list(crowd)
    # small instances last, so that large ones do not cover them
    order = sorted(range(len(masks)), key=lambda i: (not is_crowd[i], -int(masks[i].sum())))
    tags: list[tuple[int, int, str, int]] = []
    for i in order:
        soft = cv2.resize(masks[i].astype(np.float32), (width, height))
        if is_crowd[i]:
            _hatch(canvas, soft)
            continue
        _fill(canvas, soft, palette_colour(colours[i]), unit, dashed is not None and dashed[i])
        x, y = _top(soft)
        if boxes is not None:
            scale = np.tile([width / image.shape[1], height / image.shape[0]], 2)
            x0, y0, x1, y1 = np.round(boxes[i] * scale).astype(int).tolist()
            cv2.rectangle(canvas, (x0, y0), (x1, y1), palette_colour(colours[i]), 1, cv2.LINE_AA)
            x, y = x0, y0
        if labels is not None and labels[i]:
            tags.append((x, y, labels[i], colours[i]))
    return _draw_tags(canvas, tags, unit) if tags else canvas


def _fill(
    canvas: Picture,
    soft: NDArray[np.floating],
    colour: tuple[int, int, int],
    unit: float,
    dashed: bool,
) -> None:
    """Tint a mask with values from 0 to 1 and trace its outline, in place."""
    inside = (soft > 0.5).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(inside)
    window = np.s_[y : y + height, x : x + width]
    opacity = FILL * soft[window][..., None]
    canvas[window] = canvas[window] * (1 - opacity) + np.asarray(colour) * opacity
    outline, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    line = 1 if len(canvas) < 300 else round(2 * unit)
    if dashed:
        dash = DASH * line
        parts = [
            contour[start : start + dash]
            for contour in outline
            for start in range(0, len(contour), 2 * dash)
        ]
        cv2.polylines(canvas, parts, False, colour, line, cv2.LINE_AA)
    else:
        cv2.drawContours(canvas, outline, -1, colour, line, cv2.LINE_AA)


def _hatch(canvas: Picture, soft: NDArray[np.floating]) -> None:
    """Grey diagonal stripes over a do-not-care region, in place."""
    inside = (soft > 0.5).astype(np.uint8)
    rows, columns = np.indices(inside.shape)
    stripe = (rows + columns) % HATCH_PERIOD < HATCH_PERIOD // 3
    grey = np.asarray(GREY, np.float32)
    opacity = (inside * np.where(stripe, 0.7, 0.3))[..., None]
    canvas[:] = canvas * (1 - opacity) + grey * opacity
    outline, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, outline, -1, GREY, 1, cv2.LINE_AA)


def _top(soft: NDArray[np.floating]) -> tuple[int, int]:
    """The highest point of a mask; the corner of the frame if it is empty."""
    rows = np.flatnonzero((soft > 0.5).any(axis=1))
    if not len(rows):
        return 0, 0
    return int(np.flatnonzero(soft[rows[0]] > 0.5).mean()), int(rows[0])


@functools.cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The bold DejaVu Sans that matplotlib brings along."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf")
    return ImageFont.truetype(str(path), size)


def _draw_tags(canvas: Picture, tags: list[tuple[int, int, str, int]], unit: float) -> Picture:
    """Draw labels in their colours above the points (x, y), none over another where room is."""
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    face = font(round(11 * unit))
    margin = round(4 * unit)
    placed: list[tuple[int, int, int, int]] = []
    for x, y, text, colour in sorted(tags, key=lambda tag: tag[1]):
        width, height = round(face.getlength(text)) + 2 * margin, round(16 * unit)
        left = min(max(x - width // 2, 2), max(canvas.shape[1] - width - 2, 2))
        top = min(max(y - height - margin, 2), max(canvas.shape[0] - height - 2, 2))
        box = (left, top, left + width, top + height)
        while (other := next((p for p in placed if _overlap(p, box)), None)) is not None:
            if other[3] + 1 + height > canvas.shape[0]:
                break
            box = (left, other[3] + 1, left + width, other[3] + 1 + height)
        placed.append(box)
        draw.rounded_rectangle(box, radius=margin, fill=palette_colour(colour))
        middle = (box[0] + margin, (box[1] + box[3]) / 2)
        draw.text(middle, text, fill=DARK, font=face, anchor="lm")
    return np.asarray(picture)


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
