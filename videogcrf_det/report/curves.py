"""Training curves from detectron2's metrics.json, as charts of the report page."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator, ScalarFormatter

from videogcrf_det.report.metrics import KINDS

# title -> name in metrics.json
CHARTS: Mapping[str, str] = {
    "Total loss": "total_loss",
    "Masks": "loss_mask",
    "Classes": "loss_cls",
    "Boxes": "loss_box_reg",
    "Proposals, objectness": "loss_rpn_cls",
    "Proposals, boxes": "loss_rpn_loc",
    "Learning rate": "lr",
}
# of a chart, in pixels of its own
WIDTH, HEIGHT = 209, 130
RIGHT, TOP, BOTTOM = 198, 5, 112  # of its lines
DIGIT = 5.1  # the width of a digit of its text

Row = Mapping[str, float]
Points = list[tuple[float, float]]
Tick = tuple[float, str]  # where it is, and what it says


class Chart(NamedTuple):
    """A chart as the page draws it, with an axis to the left and one below."""

    title: str
    left: int  # of the axis below
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[tuple[str, str]]  # its colour, one of KINDS, and the points of an SVG polyline
    right: int = RIGHT
    bottom: int = BOTTOM
    width: int = WIDTH
    height: int = HEIGHT


def draw_charts(logs: Sequence[Sequence[Row]]) -> list[Chart]:
    """Draw a chart of each kind that one of the logs has values for.

    Args:
        logs: those of a run and, if there is one, of its baseline.
    """
    charts = []
    for title, key in CHARTS.items():
        curves = [
            [(row["iteration"], row[key]) for row in rows if math.isfinite(row.get(key, math.nan))]
            for rows in logs
        ]
        if any(curves):
            charts.append(_draw_chart(title, curves))
    return charts


def _draw_chart(title: str, curves: Sequence[Points]) -> Chart:
    xs, ys = zip(*(point for points in curves for point in points), strict=True)
    first, last, highest = min(xs), max(xs), max(ys)
    top = highest + 0.05 * (highest - min(ys)) if highest > 0 else 1
    y_ticks = _ticks(0, top, 5)
    left = round(6 + DIGIT * max(len(text) for _, text in y_ticks))
    margin = 0.01 * max(last - first, 1)
    first, last = first - margin, last + margin

    def place_x(x: float) -> float:
        return round(left + (RIGHT - left) * (x - first) / (last - first), 1)

    def place_y(y: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * max(y, 0) / top, 1)

    return Chart(
        title,
        left,
        [(place_x(x), text) for x, text in _ticks(first, last, 4)],
        [(place_y(y), text) for y, text in y_ticks],
        [
            (kind, " ".join(f"{place_x(x)},{place_y(y)}" for x, y in points))
            for kind, points in zip(KINDS, curves, strict=False)
        ],
    )


def _ticks(least: float, most: float, count: int) -> list[Tick]:
    """Round numbers from ``least`` to ``most``, at most one more than ``count``."""
    places = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(least, most)
    places = [place for place in places if least <= place <= most]
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(False)
    formatter.create_dummy_axis()
    return list(zip(places, formatter.format_ticks(places), strict=True))
