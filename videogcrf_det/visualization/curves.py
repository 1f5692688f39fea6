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

# chart -> names of its curves in metrics.json and in its legend
CHARTS: Mapping[str, Mapping[str, str]] = {
    "Total loss": {"total_loss": "total"},
    "Detection heads": {"loss_mask": "mask", "loss_cls": "class", "loss_box_reg": "box"},
    "Proposals": {"loss_rpn_cls": "objectness", "loss_rpn_loc": "box"},
    "Learning rate": {"lr": "learning rate"},
}
LINES = ("#4c8dff", "#f5822a", "#1fb37f")  # seen well on white and on near-black
INK = "#123456"  # stands for the page's text colour until the SVG is written


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


def draw_curves(rows: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Draw a chart of each kind that the log has values for.

    Returns:
        inline SVG by title. Its text has the colour of the text around it.
    """
    charts = {}
    for title, curves in CHARTS.items():
        found = {key: name for key, name in curves.items() if any(key in row for row in rows)}
        if found:
            charts[title] = _draw_chart(rows, found)
    return charts


def _draw_chart(rows: Sequence[Mapping[str, float]], curves: Mapping[str, str]) -> str:
    style: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text, in the font of the page
        "font.size": 9,
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
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        axes = figure.add_subplot()
        for (key, name), colour in zip(curves.items(), LINES, strict=False):
            points = [(row["iteration"], row[key]) for row in rows if key in row]
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8, label=name)
        axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.set_xlabel("iteration")
        axes.ticklabel_format(axis="y", style="plain", useOffset=False)
        if len(curves) > 1:
            axes.legend(frameon=False, loc="upper right", ncols=len(curves), handlelength=1.2)
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
    return svg.replace(INK, "currentColor")
