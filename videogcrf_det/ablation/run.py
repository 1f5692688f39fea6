"""A table from end to end: train what is missing, read the results, write."""

import json
import shlex
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from videogcrf_det.ablation.results import Results, read_outcome
from videogcrf_det.ablation.runs import Run, execute, plan_runs
from videogcrf_det.ablation.schema import check_opts
from videogcrf_det.ablation.table_file import Table, load_table
from videogcrf_det.commands import called_as
from videogcrf_det.errors import InputError
from videogcrf_det.files import atomic_write
from videogcrf_det.progress import progress


def run_ablation(
    path: str | Path,
    *,
    output: str | None = None,
    rows: Sequence[str] = (),
    redo: Sequence[str] = (),
    opts: Sequence[str] = (),
    dry_run: bool = False,
    table_only: bool = False,
) -> None:
    """Train and evaluate the rows of a table file, and write what they come to.

    ``table.md``, ``table.json``, plots and a page go to the table's folder after every run. Runs
    that are done are left out, ones that were interrupted go on, and ones that another process is
    at are left to it.

    Args:
        path: the table file; see docs/ablation.md.
        output: a folder to use instead of the file's.
        rows: the rows to train; all if empty. The table has all of them anyway.
        redo: rows that are trained anew, their folders being removed first.
        opts: ``KEY VALUE`` pairs for the config of every row.
        dry_run: only say what is done and what would be run.
        table_only: train and remove nothing.

    Raises:
        InputError: the table file is wrong, a row was made by another command, a row to be made
            anew is being made, or others that stay start from it, or a row failed, which the others
            were not kept from running by.
    """
    table = load_table(path, output)
    if len(opts) % 2:
        raise InputError(f"--opts has {len(opts)} words, where pairs of KEY VALUE are needed")
    overrides = dict(zip(opts[::2], opts[1::2], strict=True))
    _check_overrides(overrides, table, path)
    runs = plan_runs(table, overrides)
    chosen = _choose(runs, [*rows, *redo]) if rows else runs
    remade = _choose(runs, redo)
    _check_dependents(runs, remade)
    if dry_run:
        for run in chosen:
            print(f"{run} ({run.state}):\n    python {shlex.join(run.command)}")
        return
    try:
        Path(table.output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"the folder {table.output} cannot be made ({error.strerror}): name another with "
            "--output"
        ) from None
    for run in runs:
        if run not in remade:
            run.check_command()
    words = [*called_as(), str(path), *(["--output", output] if output else [])]
    write = partial(
        write_table, table, runs, shlex.join([*words, *(["--opts", *opts] if opts else [])])
    )
    failed = []
    if not table_only:
        for run in remade:
            if run.record is not None:  # nothing else is removed
                _remove(run)
        failed = _train(table, [run for run in chosen if run.state != "done"], write)
    print(write())
    if failed:
        raise InputError(
            f"{len(failed)} of {len(chosen)} runs failed, first {failed[0]}: see its log in "
            f"{failed[0].folder}, then give the same command again"
        )


def write_table(table: Table, runs: Sequence[Run], command: str) -> str:
    """Write ``table.md``, ``table.json``, the plots and a page to the table's folder.

    Args:
        table: the table.
        runs: all of its runs, done or not.
        command: what makes it.

    Returns:
        the Markdown.
    """
    from videogcrf_det.ablation.page import render_table
    from videogcrf_det.ablation.plots import plot_grid, plot_rows

    results = Results(table, runs)
    folder = Path(table.output)
    markdown = results.markdown(command)
    with atomic_write(folder / "table.json") as path:
        path.write_text(json.dumps(results.content(command), indent=1), encoding="utf-8")
    if table.rows:
        plot_rows(results, folder / "table.png")
    if table.grid:
        plot_grid(results, folder / "grid.png")
    with atomic_write(folder / "index.html") as path:
        path.write_text(render_table(results, runs, command), encoding="utf-8")
    with atomic_write(folder / "table.md") as path:
        path.write_text(markdown, encoding="utf-8")
    return markdown


def _check_overrides(overrides: Mapping[str, str], table: Table, path: str | Path) -> None:
    check_opts(overrides, "--opts")
    for key in overrides:
        shared = table.opts.get(key)
        if isinstance(shared, str) and "{" in shared:
            raise InputError(
                f"--opts sets {key}, which is {shared!r} in {path}, so that rows share what one of "
                "them trains: change it there"
            )


def _check_dependents(runs: Sequence[Run], remade: Sequence[Run]) -> None:
    """Raise InputError where runs that stay start from weights that are made anew."""
    for run in runs:
        for other in remade:
            starts = any(word.startswith(f"{other.folder}/") for word in run.command)
            if starts and run not in remade and run.record is not None:
                raise InputError(
                    f"{run}, starts from what {other}, trains: name {run.row.name!r} after --redo "
                    "as well, or they would not be of one detector"
                )


def _choose(runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    known = dict.fromkeys(run.row.name for run in runs)
    for name in names:
        if name not in known:
            raise InputError(f"there is no row {name!r}: there are {', '.join(known)}")
    return [run for run in runs if run.row.name in names]


def _remove(run: Run) -> None:
    with run.claimed() as claim:
        if claim is None:
            raise InputError(f"{run}, is being made by another process: let it end, or stop it")
    shutil.rmtree(run.folder)


def _train(table: Table, due: Sequence[Run], write: Callable[[], str]) -> list[Run]:
    """Run what is due, with a line about each, and ``write`` the table after it.

    Returns:
        those that failed.
    """
    failed = []
    with progress(due, unit="run", disable=not due) as bar:
        for run in bar:
            bar.set_description(str(run))
            start = time.perf_counter()
            with run.claimed() as claim:
                if claim is None:
                    bar.write(f"{run}: another process is at it")
                    continue
                if run.state == "done":  # by another process, meanwhile
                    continue
                error = execute(run, claim)
            if error is None:
                column = table.plot
                value = read_outcome(run, table.columns).values.get(column.heading)
                metric = f": {column.heading} {value:{column.format}}" if value is not None else ""
                minutes = (time.perf_counter() - start) / 60
                bar.write(f"{run}{metric}, {minutes:.1f} min")
                write()
            else:
                failed.append(run)
                bar.write(f"{run}: failed, {error}")
    return failed
