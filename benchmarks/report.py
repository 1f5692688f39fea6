"""Results as JSON, as Markdown tables and as plots."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.plots import SOLVERS, STYLE, Row
from videogcrf_det.files import atomic_write

Table = Callable[[Sequence[Row]], list[str]]


def write_report(results: Mapping[str, Any], folder: Path, name: str) -> list[Path]:
    """Write ``name.json``, ``name.md`` and a plot of each suite into ``folder``.

    Args:
        results: for each suite ``"rows"`` and ``"machine"``, what it was measured on.

    Returns:
        The files written.
    """
    lines = [
        "# Benchmark of the inference",
        "",
        "Every table was measured in one run, in which the candidates took turns. Times are "
        "medians, ± is half the range of the runs. Ratios in brackets compare with `direct` in the "
        "same row.",
    ]
    paths = []
    for suite, result in results.items():
        title, table, plot = SECTIONS[suite]
        rows, machine = result["rows"], result["machine"]
        lines += ["", f"## {title}", "", *table(rows)]
        if plot is not None:
            picture = folder / f"{name}_{suite}.png"
            _save(plot, rows, picture)
            lines += ["", f"![{title}]({picture.name})"]
            paths.append(picture)
        facts = f"{machine['device']}, torch {machine['torch']}, {machine['date']}"
        lines += ["", f"<sub>{facts}: `{machine['command']}`</sub>"]
    for suffix, text in ((".md", "\n".join(lines)), (".json", json.dumps(results, indent=1))):
        path = folder / f"{name}{suffix}"
        with atomic_write(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _solver_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| C | V | condition | CG steps | direct: forward | + backward | CG, cached: forward | "
        "+ backward | CG, not cached: forward | + backward |",
        "|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for key in dict.fromkeys((r["columns"], r["frames"], r["condition"]) for r in rows):
        case = {r["solver"]: r for r in rows if (r["columns"], r["frames"], r["condition"]) == key}
        cells = [_ms(case["direct"], lap) for lap in ("forward", "both")]
        for solver in SOLVERS[1:]:
            for lap in ("forward", "both"):
                cells.append(_with_ratio(case.get(solver), case["direct"], lap))
        steps = case["CG, cached"]["iterations"]
        lines.append("| " + " | ".join([*map(str, key), str(steps), *cells]) + " |")
    worst = {
        solver: max(r["residual"] for r in rows if r["solver"] == solver) for solver in SOLVERS
    }
    lines += [
        "",
        "Largest relative residual of any column, in float64: "
        + ", ".join(f"{solver} {value:.1e}" for solver, value in worst.items())
        + ".",
    ]
    return lines


def _window_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| N | C | each frame in one window: per frame | in four windows: per frame | ratio |",
        "|--:|--:|--:|--:|--:|",
    ]
    for one, four in zip(rows[::2], rows[1::2], strict=True):
        times = [f"{1e3 * row['forward'] / row['frames']:.1f} ms" for row in (one, four)]
        ratio = f"{four['forward'] / one['forward']:.2f}"
        cells = [f"{one['positions']}", f"{one['columns']}", *times, ratio]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _operation_table(rows: Sequence[Row]) -> list[str]:
    lines = ["| test | passed | failed |", "|---|--:|--:|"]
    return lines + [f"| {row['test']} | {row['passed']} | {row['failed']} |" for row in rows]


def _training_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| config | frames an iteration | iterations | median | slowest | memory at most | "
        "loss, first and last |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        memory = "not told" if row["memory"] is None else f"{row['memory'] / 2**30:.2f} GiB"
        cells = [row["config"], row["frames"], row["iterations"], f"{row['seconds']:.2f} s"]
        cells += [f"{row['slowest']:.2f} s", memory]
        cells.append(f"{row['first_loss']:.2f}, {row['last_loss']:.2f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _condition_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| C | condition of H | direct: forward | + backward | residual | CG steps | "
        "CG, cached: forward | + backward | residual |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for direct, cg in zip(rows[::2], rows[1::2], strict=True):
        cells = [f"{direct['columns']}", f"{direct['condition']:.0f}"]
        cells += [_ms(direct, "forward"), _ms(direct, "both"), f"{direct['residual']:.1e}"]
        cells += [f"{cg['iterations']}"]
        cells += [_with_ratio(cg, direct, lap) for lap in ("forward", "both")]
        lines.append("| " + " | ".join([*cells, f"{cg['residual']:.1e}"]) + " |")
    return lines


def _library_table(rows: Sequence[Row]) -> list[str]:
    lines = ["| condition | solver | forward | residual |", "|---|---|--:|--:|"]
    for row in rows:
        direct = next(
            r for r in rows if r["solver"] == "direct" and r["condition"] == row["condition"]
        )
        time = _ms(row, "forward") if row is direct else _with_ratio(row, direct, "forward")
        lines.append(f"| {row['condition']} | {row['solver']} | {time} | {row['residual']:.1e} |")
    return lines


def _dense_crf_table(rows: Sequence[Row]) -> list[str]:
    lines = ["| | frames | time | per frame |", "|---|--:|--:|--:|"]
    for row in rows:
        per_frame = 1e3 * row["forward"] / row["frames"]
        time = _ms(row, "forward")
        lines.append(f"| {row['solver']} | {row['frames']} | {time} | {per_frame:.1f} ms |")
    return lines


def _growth_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| V | N | neighbourhood | forward + backward | per frame | memory beyond the inputs |",
        "|--:|--:|---|--:|--:|--:|",
    ]
    for row in rows:
        memory = "not told" if row["memory"] is None else f"{row['memory'] / 2**20:.0f} MiB"
        lines.append(
            f"| {row['frames']} | {row['positions']} | {row['neighbourhood']} | "
            f"{_ms(row, 'both')} | {1e3 * row['both'] / row['frames']:.1f} ms | {memory} |"
        )
    return lines


def _limit_table(rows: Sequence[Row]) -> list[str]:
    rate, bandwidth = rows[0]["flops_per_second"], rows[0]["bytes_per_second"]
    lines = [
        f"Measured in the same run: {rate / 1e9:.0f} GFLOP/s (float32 matrix product), "
        f"{bandwidth / 1e9:.0f} GB/s (copy, bytes read and written).",
        "",
        "| N | C | two passes + Gram | limit: with the products of the right-hand sides | "
        "direct, forward | multiple of the limit |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['positions']} | {row['columns']} | "
            f"{1e3 * row['embeddings and Gram']:.1f} ms | "
            f"{1e3 * row['limit']:.1f} ms | {_ms(row, 'forward')} | "
            f"{row['forward'] / row['limit']:.2f} |"
        )
    return lines


def _share_table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| | without | with | random field | share | embeddings | solver | output |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        solver = row["field"] - row["embeddings"] - row["output"]
        cells = [_ms(row, "without"), _ms(row, "with"), f"{1e3 * row['field']:.0f} ms"]
        cells.append(f"**{row['field'] / row['without']:.1%}**")
        parts = (row["embeddings"], solver, row["output"])
        cells += [f"{1e3 * part:.0f} ms ({part / row['without']:.1%})" for part in parts]
        lines.append(f"| {row['detector']} | " + " | ".join(cells) + " |")
    return lines


def _ms(row: Row, lap: str) -> str:
    milliseconds = 1e3 * row[lap]
    digits = 0 if milliseconds >= 100 else 1
    return f"{milliseconds:.{digits}f} ms ±{row[f'{lap}_spread']:.0%}"


def _with_ratio(row: Row | None, direct: Row, lap: str) -> str:
    if row is None:
        return ""
    return f"{_ms(row, lap)} ({row[lap] / direct[lap]:.1f}x)"


def _save(plot: Callable[[Figure, Sequence[Row]], None], rows: Sequence[Row], path: Path) -> None:
    panels = max(2, 2 * len({row.get("columns") for row in rows}))
    with mpl.rc_context(STYLE), atomic_write(path) as temporary:
        figure = Figure(figsize=(min(4 * panels, 14), 3.6), layout="constrained", dpi=110)
        plot(figure, rows)
        figure.savefig(temporary)


# suite -> its title, table and plot
SECTIONS: dict[str, tuple[str, Table, Callable[[Figure, Sequence[Row]], None] | None]] = {
    "operations": ("Tests of the operations on the device", _operation_table, None),
    "last_layer": (
        "Last layer: 12 labels, 321x321, stride 8, D = 128 (N = 20172, C = 1)",
        _solver_table,
        plots.plot_solvers,
    ),
    "feature_level": (
        "Feature level: 480x854, stride 16, D = 128 (N = 1620)",
        _solver_table,
        plots.plot_solvers,
    ),
    "windows": (
        "A video in windows of 4 frames: D = 128",
        _window_table,
        None,
    ),
    "conditions": (
        "Harder systems: V = 4, N = 20172 with C = 1 and N = 1620 with C = 256",
        _condition_table,
        plots.plot_conditions,
    ),
    "libraries": (
        "Other solvers on the feature-level system: V = 4, C = 256",
        _library_table,
        plots.plot_libraries,
    ),
    "dense_crf": ("DenseCRF, 321x321, 12 labels, 10 iterations", _dense_crf_table, None),
    "growth": ("Growth: D = 128, C = 256", _growth_table, plots.plot_growth),
    "limit": ("How far from the limit: V = 4, D = 128", _limit_table, None),
    "share": ("Share of a detector: 4 frames of 480x854", _share_table, plots.plot_share),
    "training": ("A training with mixed precision, on drawn data", _training_table, None),
}
