"""Reading the file that says what a table is made of (docs/ablation.md)."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from videogcrf_det.ablation.schema import (
    PLACEHOLDERS,
    REQUIRED,
    ROW_KEYS,
    TABLE_KEYS,
    Opts,
    beside,
    check_keys,
    check_opts,
    fill,
)
from videogcrf_det.errors import InputError


@dataclass(frozen=True)
class Column:
    """A metric of every row: what to call it, where a result file has it, how to print it."""

    heading: str
    path: str  # keys with dots between
    format: str = ".1f"


@dataclass(frozen=True)
class Row:
    """A training and its evaluation, once for each of its seeds."""

    name: str
    command: str
    config: str
    args: tuple[str, ...]
    opts: Opts  # those of the row alone
    results: str  # the folder that has inference/<data set>, with placeholders
    dataset: str
    seeds: tuple[int, ...]
    baseline: str  # the other row that it is compared with; "": none
    paper: dict[str, float]  # the paper's metrics by heading

    @property
    def slug(self) -> str:
        """The name as a folder's name."""
        return re.sub(r"[^\w.+-]+", "_", self.name).strip("_.")


@dataclass(frozen=True)
class Grid:
    """Combinations of what two keys, or groups of keys, are set to.

    Attributes:
        names: what the rows and what the columns stand for.
        rows, columns: their headings.
        cells: (row, column) -> name of the Row that is trained for it.
    """

    names: tuple[str, str]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[tuple[str, str], str]


@dataclass(frozen=True)
class Table:
    """A table file."""

    path: Path
    title: str
    dataset: str
    output: str
    seeds: tuple[int, ...]
    columns: tuple[Column, ...]
    plot: Column
    opts: Opts  # of every row
    rows: tuple[Row, ...]
    grid: Grid | None
    cells: tuple[Row, ...]  # what the grid needs trained


def load_table(path: str | os.PathLike[str], output: str | None = None) -> Table:
    """Read a table file.

    Args:
        path: YAML; docs/ablation.md has its keys.
        output: a folder to use instead of the file's.

    Raises:
        InputError: the file cannot be read, or something in it is wrong or missing.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the table file {path} cannot be read ({error.strerror}): check its name"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"the table file {path} is no YAML: {' '.join(str(error).split())}"
        ) from None
    try:
        return _table(content, Path(path), output)
    except InputError as error:
        raise InputError(f"in the table file {path}: {error}") from None


def _table(content: Any, path: Path, output: str | None) -> Table:
    check_keys(content, "the table", TABLE_KEYS, REQUIRED)
    columns = tuple(_column(heading, value) for heading, value in content["columns"].items())
    by_heading = {column.heading: column for column in columns}
    if not columns:
        raise InputError("there are no columns: give headings and paths into evaluation.json")
    plot = content.get("plot", columns[0].heading)
    if plot not in by_heading:
        raise InputError(f"plot is {plot!r}, which is no column: use {', '.join(by_heading)}")
    seeds = _seeds(content.get("seeds", [0]))
    opts = content.get("opts", {})
    check_opts(opts, "the table")
    rows = tuple(_row(row, content, path, by_heading) for row in content.get("rows", []))
    grid: Grid | None = None
    cells: tuple[Row, ...] = ()
    if "grid" in content:
        grid, cells = _grid(content["grid"], content, path)
    if not rows and not cells:
        raise InputError("there are no rows: list some, or a grid")
    for kind in ("name", "slug"):
        names, times = Counter(getattr(row, kind) for row in (*rows, *cells)).most_common(1)[0]
        if times > 1:
            raise InputError(f"{times} rows have the {kind} {names!r}: rename one")
    for row in rows:
        if row.baseline and row.baseline not in {other.name for other in rows}:
            known = ", ".join(other.name for other in rows)
            raise InputError(
                f"the row {row.name!r} has the baseline {row.baseline!r}, which is no row: use "
                f"{known}"
            )
    return Table(
        path=path,
        title=content["title"],
        dataset=content["dataset"],
        output=output or content["output"],
        seeds=seeds,
        columns=columns,
        plot=by_heading[plot],
        opts=opts,
        rows=rows,
        grid=grid,
        cells=cells,
    )


def _seeds(seeds: Any) -> tuple[int, ...]:
    if not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise InputError(f"seeds are {seeds!r}, where numbers from 0 are needed")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"seeds are {seeds!r}: name each once")
    return tuple(seeds)


def _column(heading: Any, value: Any) -> Column:
    where = f"the column {heading!r}"
    if isinstance(value, str):
        value = {"path": value}
    check_keys(value, where, {"path": str, "format": str}, ("path",))
    column = Column(str(heading), **value)
    try:
        format(0.5, column.format)
    except ValueError:
        raise InputError(f"{where} has the format {column.format!r}: write one like .1f") from None
    return column


def _row(content: Any, table: Mapping[str, Any], path: Path, columns: Mapping[str, Column]) -> Row:
    check_keys(content, "a row", ROW_KEYS, ("name",))
    name = str(content["name"])
    where = f"the row {name!r}"
    if not re.search(r"\w", name):
        raise InputError(f"{where} has a name that no folder can have: give it letters or digits")
    paper = {str(heading): value for heading, value in content.get("paper", {}).items()}
    for heading, value in paper.items():
        if heading not in columns:
            known = ", ".join(columns)
            raise InputError(f"{where} has a paper's {heading!r}, which is no column: use {known}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{where} has {value!r} as the paper's {heading}: give a number")
    config = content.get("config", table.get("config"))
    if config is None:
        raise InputError(f"{where} has no config: give one to it or to the table")
    opts = content.get("opts", {})
    check_opts(opts, where)
    results = content.get("results", table.get("results", "{folder}"))
    fill(results, dict.fromkeys(PLACEHOLDERS, ""))
    baseline = content.get("baseline", table.get("baseline", ""))
    all_seeds = table.get("seeds", [0])
    seeds = _seeds(content.get("seeds", all_seeds))
    if not set(seeds) <= set(all_seeds):
        raise InputError(f"{where} has seeds {list(seeds)}: use some of the table's, {all_seeds}")
    return Row(
        name=name,
        command=beside(path, content.get("command", table["command"]), "command"),
        config=beside(path, config, "config"),
        args=(*_words(table.get("args", "")), *_words(content.get("args", ""))),
        opts=opts,
        results=results,
        dataset=content.get("dataset", table["dataset"]),
        seeds=seeds,
        baseline="" if baseline == name else baseline,
        paper=paper,
    )


def _words(args: str) -> list[str]:
    try:
        return shlex.split(args)
    except ValueError as error:
        raise InputError(f"args are {args!r} ({error}): correct them") from None


def _grid(content: Any, table: Mapping[str, Any], path: Path) -> tuple[Grid, tuple[Row, ...]]:
    check_keys(
        content, "the grid", {"rows": dict, "columns": dict, "same": dict}, ("rows", "columns")
    )
    (row_name, rows), (column_name, columns) = (
        _axis(content, kind) for kind in ("rows", "columns")
    )
    same = _same(content.get("same", {}), tuple(rows), tuple(columns))
    cells, trained = {}, []
    for row, row_opts in rows.items():
        for column, column_opts in columns.items():
            cells[row, column] = f"{row}x{same.get((row, column), column)}"
            if (row, column) in same:
                continue
            twice = row_opts.keys() & column_opts.keys()
            if twice:
                raise InputError(f"rows and columns of the grid both set {min(twice)}")
            cell = {"name": f"{row}x{column}", "opts": {**row_opts, **column_opts}}
            trained.append(_row(cell, table, path, {}))
    return Grid((row_name, column_name), tuple(rows), tuple(columns), cells), tuple(trained)


def _axis(grid: Mapping[str, Any], kind: str) -> tuple[str, dict[str, Opts]]:
    """The meaning of a grid's rows or columns, and the overrides of each."""
    check_keys(
        grid[kind], f"{kind} of the grid", {"name": (str, int), "values": dict}, ("name", "values")
    )
    values = grid[kind]["values"]
    for value, opts in values.items():
        if not isinstance(opts, dict):
            raise InputError(f"{kind} of the grid have {opts!r} at {value!r}: give keys and values")
    if not values:
        raise InputError(f"{kind} of the grid have no values: give some")
    return str(grid[kind]["name"]), {str(value): opts for value, opts in values.items()}


def _same(
    content: Mapping[Any, Any], rows: Sequence[str], columns: Sequence[str]
) -> dict[tuple[str, str], str]:
    """(row, column) -> the column of that row which comes to the same."""
    same = {}
    for row, pairs in content.items():
        if not isinstance(pairs, dict):
            raise InputError(
                f"same of the grid has {pairs!r} at {row!r}: give columns that are equal"
            )
        for column, other in pairs.items():
            same[str(row), str(column)] = str(other)
    for (row, column), other in same.items():
        unknown = [n for n in (column, other) if n not in columns] or [row] * (row not in rows)
        if unknown:
            raise InputError(f"same of the grid names {unknown[0]!r}, which it does not have")
        if (row, other) in same:
            raise InputError(
                f"same of the grid leads from {column!r} to {other!r} and on: name the last"
            )
    return same
