"""A grid of pictures and heat maps: frames of a clip in columns, quantities in rows.

Letters: V frames of the clip, H x W their pixels, which may differ.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from videogcrf_det.affinity.clip import Mask
from videogcrf_det.affinity.couplings import Map
from videogcrf_det.drawing.overlay import Picture

INK, PALE, EMPTY = "#1b1f24", "#656d76", "#f3f4f6"
# inches: the left column, the colour bars, between cells, above the grid; margins
LABELS, BARS, GAP, TOP, MARGIN = 2.3, 0.65, 0.07, 0.88, 0.15
# inches: a line of the footer, a row of the legend, a letter in it
LINE, ROW, LETTER = 0.16, 0.24, 0.08


class PictureRow(NamedTuple):
    """A picture of each frame, of whatever size."""

    title: str
    text: str
    pictures: Sequence[Picture]  # V


class HeatRow(NamedTuple):
    """A quantity over the pixels of each frame, in the colours of one scale."""

    title: str
    text: str
    maps: Sequence[Map | None]  # V of (H, W); None where a frame has none
    limit: float  # the largest value of the scale
    signed: bool = False  # the scale starts at -limit, not at 0
    notes: Sequence[str] = ()  # V, written into the maps


class Grid(NamedTuple):
    """The parts of a drawing."""

    title: str
    subtitle: str
    captions: Sequence[str]  # V
    sizes: Sequence[tuple[int, int]]  # V of H, W
    rows: Sequence[PictureRow | HeatRow]
    outlines: Sequence[Mask | None]  # V of (H, W), drawn into heat maps
    reference: int  # the frame that has the point
    point: tuple[int, int]  # x, y in pixels
    footer: str
    legend: Sequence[tuple[str, tuple[int, int, int]]] = ()  # names of RGB colours in pictures


def draw_grid(grid: Grid) -> Figure:
    """Draw a grid; cells have the shape of the reference frame."""
    height, width = grid.sizes[grid.reference]
    columns = len(grid.captions)
    cell_width = min(2.6, max(1.4, 18 / columns), 2.2 * width / height)
    cell_height = cell_width * height / width
    pitch = max(cell_height, 0.95) + GAP  # the text beside a row needs its room
    right = LABELS + columns * (cell_width + GAP)
    total_width = max(right + BARS, 7.0)  # for the texts above and below
    names = _place_names(grid, total_width)
    bottom = TOP + len(grid.rows) * pitch + 0.06
    foot = bottom + max((y + ROW for _, y in names), default=0.0)
    total_height = foot + LINE * (grid.footer.count("\n") + 1) + MARGIN
    figure = Figure(figsize=(total_width, total_height), facecolor="white")

    def write(x: float, y: float, text: str, **options: Any) -> None:
        """At x inches from the left and y from the top."""
        options = {"color": INK, "va": "top", "size": 9, "linespacing": 1.4, **options}
        figure.text(x / total_width, 1 - y / total_height, text, **options)

    def place(x: float, y: float, width: float, height: float) -> Axes:
        bottom = 1 - (y + height) / total_height
        box = (x / total_width, bottom, width / total_width, height / total_height)
        axes = figure.add_axes(box)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_linewidth(0.6)
        return axes

    write(MARGIN, 0.14, grid.title, size=13, weight="bold", parse_math=False)
    write(MARGIN, 0.40, grid.subtitle, color=PALE, parse_math=False)
    write(MARGIN, foot, grid.footer, color=PALE, size=8)
    for (name, colour), (x, y) in zip(grid.legend, names, strict=True):
        swatch = place(x, bottom + y + 0.03, 0.13, 0.13)
        swatch.set_facecolor("#{:02x}{:02x}{:02x}".format(*colour))
        write(x + 0.2, bottom + y + 0.02, name, size=8.5, parse_math=False)
    for index, caption in enumerate(grid.captions):
        middle = LABELS + index * (cell_width + GAP) + cell_width / 2
        weight = "bold" if index == grid.reference else "normal"
        write(middle, TOP - 0.2, caption, ha="center", weight=weight)
    for number, row in enumerate(grid.rows):
        top = TOP + number * pitch
        write(MARGIN, top + 0.03, row.title, size=10.5, weight="bold")
        write(MARGIN, top + 0.27, row.text, color=PALE)
        for index in range(columns):
            axes = place(LABELS + index * (cell_width + GAP), top, cell_width, cell_height)
            _fill_cell(axes, grid, row, index)
        if isinstance(row, HeatRow):
            bar = place(right + 0.02, top + 0.02, 0.11, cell_height - 0.04)
            scale = ScalarMappable(*_scale(row))
            figure.colorbar(scale, bar, format="%g").outline.set_linewidth(0.6)
            bar.locator_params(nbins=5)
            bar.tick_params(labelsize=7.5, width=0.6, length=2.5, color=PALE, labelcolor=INK)
    return figure


def _place_names(grid: Grid, width: float) -> list[tuple[float, float]]:
    """The places of a legend's names, in inches from the left and from its top."""
    pitch = 0.4 + LETTER * max((len(name) for name, _ in grid.legend), default=0)
    columns = max(1, int((width - MARGIN) / pitch))
    return [(MARGIN + i % columns * pitch, i // columns * ROW) for i in range(len(grid.legend))]


def _scale(row: HeatRow) -> tuple[Normalize, str]:
    """The range of values and the name of its colour map."""
    limit = row.limit or 1.0  # all zero: any scale does
    return (Normalize(-limit, limit), "RdBu_r") if row.signed else (Normalize(0, limit), "magma")


def _fill_cell(axes: Axes, grid: Grid, row: PictureRow | HeatRow, index: int) -> None:
    height, width = grid.sizes[index]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)  # whole numbers are centres of pixels
    if isinstance(row, PictureRow):
        axes.imshow(row.pictures[index], extent=extent)
    elif (values := row.maps[index]) is None:
        axes.set_facecolor(EMPTY)
        axes.spines[:].set_visible(False)
        axes.text(0.5, 0.5, "not coupled", color=PALE, size=9, ha="center", va="center")
        return
    else:
        norm, colours = _scale(row)
        axes.imshow(values, colours, norm, interpolation="nearest", extent=extent)
        if (mask := grid.outlines[index]) is not None:
            _outline(axes, mask, INK if row.signed else "white")
        if row.notes and row.notes[index]:
            box = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 1.5}
            style: Any = {"size": 7.5, "color": INK, "ha": "right", "va": "bottom", "bbox": box}
            axes.text(0.985, 0.03, row.notes[index], transform=axes.transAxes, **style)
    axes.set(xlim=extent[:2], ylim=extent[2:])  # which an outline along the border widens
    if index == grid.reference:
        for colour, line in (("black", 3.2), ("white", 1.6)):
            style = {"markersize": 9, "markeredgewidth": line, "markeredgecolor": colour}
            axes.plot(*grid.point, "o", fillstyle="none", **style)


def _outline(axes: Axes, mask: Mask, colour: str) -> None:
    rows, columns = (np.arange(-1, length + 1) for length in mask.shape)
    # padded, so that a mask that reaches the border is closed there
    axes.contour(columns, rows, np.pad(mask, 1), [0.5], colors=colour, linewidths=0.8)
