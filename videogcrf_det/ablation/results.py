"""From result files to a table."""

import difflib
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tabulate import tabulate

from videogcrf_det.ablation.runs import Run
from videogcrf_det.ablation.table_file import Column, Row, Table
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.record import COST, read_cost, read_evaluation

MISSING = "–"  # noqa: RUF001 - an en dash


class Summary(NamedTuple):
    """The mean over seeds, and the sample standard deviation where there are several."""

    mean: float
    spread: float | None

    @staticmethod
    def of(values: Sequence[float]) -> "Summary | None":
        """Of one value a seed; None of no values."""
        if not values:
            return None
        return Summary(
            statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None
        )


@dataclass(frozen=True)
class Outcome:
    """The metrics of a run.

    Attributes:
        values: by heading; None is an undefined metric. Headings are absent where the run has no
            such metric, as the base network has none of couplings.
        paths: of all metrics that its file has.
        versions: what it ran with.
    """

    run: Run
    values: dict[str, float | None]
    paths: tuple[str, ...]
    versions: dict[str, str]


class Results:
    """The outcomes of a table as far as there are some."""

    def __init__(self, table: Table, runs: Sequence[Run]) -> None:
        """
        Raises:
            InputError: a result file cannot be read, or all are there and a column is in none.
        """
        self.table = table
        self.outcomes: dict[str, list[Outcome]] = {}
        for run in runs:
            if run.state == "done":
                outcome = read_outcome(run, table.columns)
                self.outcomes.setdefault(run.row.name, []).append(outcome)
        if all(run.state == "done" for run in runs):
            for column in table.columns:
                self._check_column(column)

    def _check_column(self, column: Column) -> None:
        """Raise InputError if no run has the column's metric."""
        paths = {path for rows in self.outcomes.values() for o in rows for path in o.paths}
        if column.path not in paths:
            nearest = difflib.get_close_matches(column.path, sorted(paths), cutoff=0)
            raise InputError(
                f"no result file of the table has {column.path}, the path of the column "
                f"{column.heading!r}: the nearest that they have are {', '.join(nearest)}; correct "
                f"it in {self.table.path}"
            )

    def values(self, name: str, column: Column) -> list[float]:
        """The metrics of a row by seed; empty unless all its finished runs have one."""
        values = [o.values.get(column.heading) for o in self.outcomes.get(name, ())]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) else []

    def summary(self, name: str, column: Column) -> Summary | None:
        """Mean and spread of a row; None if there is nothing."""
        return Summary.of(self.values(name, column))

    def gains(self, row: Row, column: Column) -> dict[int, float]:
        """By how much a row is above its baseline, by the seeds that both have."""
        own, baseline = (
            {o.run.seed: o.values.get(column.heading) for o in self.outcomes.get(name, ())}
            for name in (row.name, row.baseline)
        )
        pairs = ((seed, own[seed], baseline[seed]) for seed in own if seed in baseline)
        return {s: a - b for s, a, b in pairs if a is not None and b is not None}

    def markdown(self, command: str) -> str:
        """The table as a page.

        Args:
            command: what made it.
        """
        parts = [f"# {self.table.title}"]
        for caption, headers, lines in self.tables():
            parts += [f"{caption}:"] * bool(caption) + [_pipe(headers, lines)]
        parts += ["\n".join(self.notes()), f"    {command}"]
        return "\n\n".join(parts) + "\n"

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Caption, headers and lines of cells: of the rows, of what each gains over its baseline,
        and of the grid by column."""
        table = self.table
        rows = [("", *self._rows())] if table.rows else []
        if any(row.baseline for row in table.rows):
            rows.append(("Gains over a row, seed by seed", *self._gains()))
        return rows + [self._grid(column) for column in table.columns if table.grid]

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        table, several = self.table, len(self.table.seeds) > 1
        paper = [c for c in table.columns if any(c.heading in row.paper for row in table.rows)]
        headers = ["", *(c.heading for c in table.columns)]
        headers += ["seeds"] * several + [f"{c.heading} (paper)" for c in paper]
        lines = []
        for row in table.rows:
            cells = [row.name, *(self.cell(row.name, column) for column in table.columns)]
            cells += [str(len(self.outcomes.get(row.name, ())))] * several
            for column in paper:
                value = row.paper.get(column.heading)
                cells.append(MISSING if value is None else format(value, column.format))
            lines.append(cells)
        return headers, lines

    def _gains(self) -> tuple[list[str], list[list[str]]]:
        columns, lines = self.table.columns, []
        for row in self.table.rows:
            gains = {column: self.gains(row, column) for column in columns}
            seeds = {seed for of_column in gains.values() for seed in of_column}
            cells = [
                _cell(Summary.of(list(of_column.values())), f"+{column.format}")
                for column, of_column in gains.items()
            ]
            if seeds:
                lines.append([row.name, row.baseline, *cells, str(len(seeds))])
        return ["", "over", *(c.heading for c in columns), "seeds"], lines

    def _grid(self, column: Column) -> tuple[str, list[str], list[list[str]]]:
        grid = self.table.grid
        assert grid is not None
        lines = [
            [row, *(self.cell(grid.cells[row, other], column) for other in grid.columns)]
            for row in grid.rows
        ]
        down, across = grid.names
        return f"{column.heading}, {down} down, {across} across", ["", *grid.columns], lines

    def cell(self, name: str, column: Column) -> str:
        """Mean and spread of a row to read."""
        return _cell(self.summary(name, column), column.format)

    def notes(self) -> list[str]:
        """Remarks on the metrics."""
        table = self.table
        runs = sum(len(row.seeds) for row in (*table.rows, *table.cells))
        done = sum(len(outcomes) for outcomes in self.outcomes.values())
        seeds = ", ".join(map(str, table.seeds))
        if len(table.seeds) > 1:
            notes = [f"Means ± sample standard deviations over the seeds {seeds}"]
        else:
            notes = [f"One run each, with seed {seeds}"]
        notes[0] += f", on {table.dataset}."
        if done < runs:
            notes.append(f"{done} of {runs} runs are done.")
        if any(row.paper for row in table.rows):
            notes.append("Columns with (paper) have the metrics that the paper reports.")
        machines = [o.versions for outcomes in self.outcomes.values() for o in outcomes]
        known = {", ".join(f"{k} {v}" for k, v in m.items()): None for m in machines if m}
        return notes + [f"Evaluated with {versions}." for versions in known]

    def content(self, command: str) -> dict[str, Any]:
        """The table with every value and where it is from, for JSON."""
        table, grid = self.table, self.table.grid
        rows = {row.name: self._row_content(row.name) for row in (*table.rows, *table.cells)}
        for row in table.rows:
            rows[row.name]["paper"] = row.paper
            if row.baseline:
                gains = {c.heading: self.gains(row, c) for c in table.columns}
                rows[row.name] |= {"baseline": row.baseline, "gains": gains}
        content = {
            "title": table.title,
            "dataset": table.dataset,
            "made_by": command,
            "columns": {column.heading: column.path for column in table.columns},
            "rows": rows,
        }
        if grid:
            cells = {row: {c: grid.cells[row, c] for c in grid.columns} for row in grid.rows}
            content["grid"] = {"rows": grid.names[0], "columns": grid.names[1], "cells": cells}
        return content

    def _row_content(self, name: str) -> dict[str, Any]:
        summaries = {c.heading: self.summary(name, c) for c in self.table.columns}
        return {
            "mean": {heading: s and s.mean for heading, s in summaries.items()},
            "spread": {heading: s and s.spread for heading, s in summaries.items()},
            "runs": [
                {
                    "seed": outcome.run.seed,
                    "file": str(outcome.run.results),
                    "command": outcome.run.command,
                    "values": outcome.values,
                    "versions": outcome.versions,
                }
                for outcome in self.outcomes.get(name, ())
            ],
        }


def _cell(summary: Summary | None, form: str) -> str:
    if summary is None:
        return MISSING
    text = format(summary.mean, form)
    if summary.spread:  # what is the same for all seeds has none
        text += f" ± {format(summary.spread, form.removeprefix('+'))}"
    return text


def read_outcome(run: Run, columns: Sequence[Column]) -> Outcome:
    """Read the metrics of a run.

    Below ``cost`` is what its evaluation took, below ``datasets`` what its evaluations on other
    data sets found, by name.

    Raises:
        InputError: a file cannot be read.
    """
    remedy = f"make the row {run.row.name!r} again with --redo"
    content, cost = read_evaluation(run.results, remedy), run.results.with_name(COST)
    inference = run.results.parent.parent
    metrics = dict(
        _metrics(
            {
                **asdict(content),
                "cost": read_cost(cost, remedy) if cost.is_file() else {},
                "datasets": {
                    path.parent.name: asdict(read_evaluation(path, remedy))
                    for path in sorted(inference.glob(f"*/{run.results.name}"))
                    if path != run.results
                },
            }
        )
    )
    values = {c.heading: metrics[c.path] for c in columns if c.path in metrics}
    return Outcome(run, values, tuple(metrics), content.versions)


def _metrics(content: Any, path: str = "") -> Iterator[tuple[str, float | None]]:
    """The numbers of a result file, and what is undefined, with the keys to them."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _metrics(value, f"{path}.{key}" if path else key)
    elif not isinstance(content, str):
        yield path, content


def _pipe(headers: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(lines, headers, tablefmt="pipe", disable_numparse=True, colalign=align)
