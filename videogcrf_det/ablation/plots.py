"""The plots of a table: dots by row, and a heat map of a grid."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from videogcrf_det.ablation.results import MISSING, Results
from videogcrf_det.files import atomic_write

# the colours of the report page (report/templates/style.css), in light
INK, SOFT, LINE, RUN, PAPER = "#1b1f24", "#5b6470", "#e2e5ea", "#2563eb", "#c2410c"
STYLE: Any = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "ytick.major.size": 0,
}


def plot_rows(results: Results, path: Path) -> None:
    """Draw the plotted column of a table's rows: a dot for each seed, a bar at their mean.

    Args:
        results: what there is; rows without a value are left out.
        path: a PNG file.
    """
    table, column = results.table, results.table.plot
    rows = [r for r in table.rows if results.values(r.name, column) or column.heading in r.paper]
    with _plot(path, (7.5, 1.3 + 0.42 * max(1, len(rows)))) as figure:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            values = results.values(row.name, column)
            alpha = 0.45 if len(values) > 1 else 1
            axes.plot(values, [place] * len(values), "o", color=RUN, alpha=alpha, ms=7, mew=0)
            summary = results.summary(row.name, column)
            if summary is not None:
                if summary.spread is not None:
                    axes.plot([summary.mean], [place], "|", color=RUN, ms=22, mew=2.5)
                text = results.cell(row.name, column)
                axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center")
            if column.heading in row.paper:
                axes.plot([row.paper[column.heading]], [place], "D", mfc="none", mec=PAPER, ms=7)
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
        axes.margins(x=0.08)
        axes.grid(axis="x", color=LINE)
        axes.set_axisbelow(True)
        axes.set_xlabel(_legend(results))
        figure.suptitle(table.title, x=0.01, ha="left", size=11, weight="bold")


def plot_grid(results: Results, path: Path) -> None:
    """Draw the plotted column of a table's grid as a heat map.

    Args:
        results: what there is; cells without a value stay empty.
        path: a PNG file.
    """
    table, column, grid = results.table, results.table.plot, results.table.grid
    assert grid is not None
    means = []
    for row in grid.rows:
        summaries = [results.summary(grid.cells[row, other], column) for other in grid.columns]
        means.append([math.nan if s is None else s.mean for s in summaries])
    known = [mean for row in means for mean in row if not math.isnan(mean)]
    low, high = (min(known), max(known)) if known else (0, 1)
    size = (2.2 + 0.95 * len(grid.columns), 1.5 + 0.62 * len(grid.rows))
    with _plot(path, size) as figure:
        axes = figure.subplots()
        shades: Any = {"cmap": "Blues", "vmin": low - (high - low) / 4, "vmax": high}
        axes.pcolormesh(means, edgecolors="white", linewidth=3, **shades)
        axes.invert_yaxis()
        for y, row_means in enumerate(means):
            for x, mean in enumerate(row_means):
                dark = mean > (low + high) / 2
                text = MISSING if math.isnan(mean) else format(mean, column.format)
                axes.text(
                    x + 0.5, y + 0.5, text, ha="center", va="center", color="white" if dark else INK
                )
        axes.set_xticks([x + 0.5 for x in range(len(grid.columns))], grid.columns)
        axes.set_yticks([y + 0.5 for y in range(len(grid.rows))], grid.rows)
        axes.set_ylabel(grid.names[0])
        axes.set_xlabel(grid.names[1])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.suptitle(
            f"{table.title} ({column.heading})", x=0.01, ha="left", size=11, weight="bold"
        )


def _legend(results: Results) -> str:
    column = results.table.plot
    parts = [column.heading]
    if len(results.table.seeds) > 1:
        parts.append("dots: seeds, bars: means")
    if any(column.heading in row.paper for row in results.table.rows):
        parts.append("diamonds: the paper")
    return "; ".join(parts)


@contextmanager
def _plot(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    with mpl.rc_context(STYLE), atomic_write(path) as temporary:
        figure = Figure(figsize=size, layout="constrained", dpi=130)
        yield figure
        figure.savefig(temporary)
