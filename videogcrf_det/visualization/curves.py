"""Training curves from detectron2's metrics.json, as SVG that takes the colours of its page."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from videogcrf_det.errors import InputError

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
# what stands for colours of the page until the SVG is written
INK = "#123456"
LINES = {"#123457": "var(--run)", "#123458": "var(--baseline)"}

Row = Mapping[str, float]


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """The lines of a ``metrics.json``, by ascending iteration.

    Training again into the same folder appends to the file; the later run counts.

    Raises:
        InputError: the file is missing or has a line that is not a JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(
            f"the training log {path} cannot be read ({error.strerror}): train first, or name "
            "another file"
        ) from None
    rows: list[dict[str, float]] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            iteration = row["iteration"]
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"line {number} of the training log {path} is not a JSON object with an "
                "iteration: remove the line"
            ) from None
        while rows and rows[-1]["iteration"] >= iteration:
            rows.pop()
        rows.append(row)
    return rows


def draw_curves(logs: Sequence[Sequence[Row]]) -> dict[str, str]:
    """Draw a chart of each kind that one of the logs has values for.

    Args:
        logs: those of a run and, if there is one, of its baseline.

    Returns:
        inline SVG by title. Its text has the colour of the text around it, its lines have the
        colours ``--run`` and ``--baseline`` of the page.
    """
    charts = {}
    for title, key in CHARTS.items():
        curves = [[(row["iteration"], row[key]) for row in rows if key in row] for rows in logs]
        if any(curves):
            charts[title] = _draw_chart(curves)
    return charts


def _draw_chart(curves: Sequence[Sequence[tuple[float, float]]]) -> str:
    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text, in the font of the page
        "font.size": 8,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "ytick.major.size": 0,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(2.9, 1.8), layout="constrained")
        axes = figure.add_subplot()
        for number, (points, colour) in enumerate(zip(curves, LINES, strict=False)):
            if points:  # the run lies over its baseline
                axes.plot(*zip(*points, strict=True), color=colour, lw=1.6, zorder=9 - number)
        axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.locator_params(axis="x", nbins=4)
        axes.locator_params(axis="y", nbins=5)
        axes.ticklabel_format(style="plain", useOffset=False)
        return _inline_svg(figure)


def _inline_svg(figure: Figure) -> str:
    """A figure as an <svg> element for HTML, which needs no names of XML namespaces."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "curves"}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(<svg[^>]*?)\swidth="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?)\sheight="[^"]*"', r"\1", svg, count=1)
    for stand_in, colour in {INK: "currentColor", **LINES}.items():
        svg = svg.replace(stand_in, colour)
    return svg
