"""The plots of the benchmark's report."""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = dict[str, Any]

SOLVERS = ("direct", "CG, cached", "CG, not cached")
CONDITIONS = ("well", "ill")
STYLE: Any = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}
COLOURS = {"direct": "#1f77d0", "CG, cached": "#f0802a", "CG, not cached": "#9a9a9a"}


def plot_solvers(figure: Figure, rows: Sequence[Row]) -> None:
    """Time over the frames of a clip, a panel for each number of columns and condition."""
    counts = list(dict.fromkeys(row["columns"] for row in rows))
    panels = figure.subplots(1, 2 * len(counts), sharey=False, squeeze=False)[0]
    cases = [(columns, condition) for columns in counts for condition in CONDITIONS]
    for axes, (columns, condition) in zip(panels, cases, strict=True):
        for solver in SOLVERS:
            line = [
                (row["frames"], 1e3 * row["both"])
                for row in rows
                if (row["columns"], row["condition"], row["solver"]) == (columns, condition, solver)
            ]
            axes.plot(*zip(*line, strict=True), "o-", color=COLOURS[solver], label=solver)
        _logarithmic(axes, "frames V", (row["frames"] for row in rows))
        plural = "right-hand side" if columns == 1 else "right-hand sides"
        axes.set_title(f"{columns} {plural}, {condition}-conditioned")
    panels[0].set_ylabel("forward + backward, ms")
    panels[0].legend(frameon=False)


def plot_conditions(figure: Figure, rows: Sequence[Row]) -> None:
    """Time and residual over the condition of H."""
    counts = list(dict.fromkeys(row["columns"] for row in rows))
    panels = figure.subplots(1, 2 * len(counts))
    for index, columns in enumerate(counts):
        times, residuals = panels[2 * index : 2 * index + 2]
        for solver in SOLVERS[:2]:
            case = [row for row in rows if (row["columns"], row["solver"]) == (columns, solver)]
            x = [row["condition"] for row in case]
            style = {"color": COLOURS[solver], "label": solver}
            times.plot(x, [1e3 * row["both"] for row in case], "o-", **style)
            residuals.plot(x, [row["residual"] for row in case], "o-", **style)
        for axes, title in ((times, "forward + backward, ms"), (residuals, "relative residual")):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("condition of H")
            axes.set_title(f"{title}, C = {columns}")
            axes.grid(alpha=0.3)
        residuals.axhline(1e-5, color="#888888", linestyle=":")
    panels[0].legend(frameon=False)


def plot_libraries(figure: Figure, rows: Sequence[Row]) -> None:
    """Bars of the times of all solvers."""
    panels = figure.subplots(1, 2)
    for axes, condition in zip(panels, CONDITIONS, strict=True):
        case = [row for row in rows if row["condition"] == condition][::-1]
        names = [row["solver"] for row in case]
        colours = ["#1f77d0" if name == "direct" else "#b9b9b9" for name in names]
        bars = axes.barh(names, [1e3 * row["forward"] for row in case], color=colours)
        axes.bar_label(bars, fmt="%.0f ms", padding=3)
        axes.margins(x=0.25)
        axes.set_title(f"{condition}-conditioned")
        axes.set_xlabel("ms")


def plot_growth(figure: Figure, rows: Sequence[Row]) -> None:
    """Time and memory over the frames of a clip, time over the positions of a frame."""
    per_frame, memory, positions = figure.subplots(1, 3)
    for neighbourhood in dict.fromkeys(row["neighbourhood"] for row in rows):
        case = [
            row for row in rows if (row["axis"], row["neighbourhood"]) == ("frames", neighbourhood)
        ]
        frames = [row["frames"] for row in case]
        times = [1e3 * row["both"] / row["frames"] for row in case]
        per_frame.plot(frames, times, "o-", label=neighbourhood)
        if all(row["memory"] is not None for row in case):
            memory.plot(frames, [row["memory"] / 2**20 for row in case], "o-", label=neighbourhood)
    counts = [row["frames"] for row in rows]
    _logarithmic(per_frame, "frames V", counts)
    per_frame.set_yscale("linear")
    per_frame.set_ylim(bottom=0)
    per_frame.set_title("ms per frame")
    per_frame.legend(frameon=False)
    if memory.lines:
        _logarithmic(memory, "frames V", counts)
    memory.set_title("MiB beyond the inputs" if memory.lines else "memory: not told")
    case = [row for row in rows if row["axis"] == "positions"]
    line = [(row["positions"], 1e3 * row["both"]) for row in case]
    positions.plot(*zip(*line, strict=True), "o-")
    _logarithmic(positions, "positions N, 4 frames", (row["positions"] for row in case))
    positions.set_title("ms")


def plot_share(figure: Figure, rows: Sequence[Row]) -> None:
    """The time that the parts of the random field add to a detector's."""
    axes = figure.subplots()
    names = [row["detector"] for row in rows]
    left = [0.0] * len(rows)
    parts = {
        "embeddings": [row["embeddings"] for row in rows],
        "solver": [row["field"] - row["embeddings"] - row["output"] for row in rows],
        "output": [row["output"] for row in rows],
    }
    for part, seconds in parts.items():
        shares = [100 * s / row["without"] for s, row in zip(seconds, rows, strict=True)]
        axes.barh(names, shares, left=left, label=part)
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_xlabel("% of the detector's time without it")
    axes.legend(frameon=False)


def _logarithmic(axes: Axes, label: str, ticks: Iterable[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sorted(set(ticks)), minor=False)
    axes.minorticks_off()
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)
