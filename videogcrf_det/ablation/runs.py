"""One training of a table: its command, its folder, whether it is done, and running it."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import portalocker

from videogcrf_det.ablation.schema import fill
from videogcrf_det.ablation.table_file import Row, Table
from videogcrf_det.errors import InputError
from videogcrf_det.evaluation.record import evaluation_file
from videogcrf_det.files import atomic_write

RECORD = "run.json"
LOG = "output.log"
LOCK = "run.lock"
ENDINGS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
PATIENCE = 10  # seconds that an interrupted training has for its own end


@dataclass(frozen=True)
class Run:
    """A row of a table with one seed.

    Attributes:
        folder: the OUTPUT_DIR.
        command: what Python is called with.
        results: the evaluation.json that it leaves.
    """

    row: Row
    seed: int
    folder: Path
    command: tuple[str, ...]
    results: Path

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}"

    @property
    def record(self) -> dict[str, Any] | None:
        """The record of an earlier start: its command, and whether it finished. None: no start."""
        path = self.folder / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return {"command": tuple(record["command"]), "finished": bool(record["finished"])}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(
                f"{path} cannot be read: remove {self.folder} to have it made again"
            ) from None

    @property
    def state(self) -> str:
        """ "to do", "begun", "done", or "changed": begun or done with another command."""
        record = self.record
        if record is None:
            return "to do"
        if record["command"] != self.command:
            return "changed"
        return "done" if record["finished"] and self.results.is_file() else "begun"

    def check_command(self) -> None:
        """Raise InputError if the folder was made by another command."""
        if self.state != "changed":
            return
        before = (self.record or {})["command"]
        was = shlex.join(word for word in before if word not in self.command)
        now = shlex.join(word for word in self.command if word not in before)
        raise InputError(
            f"the row {self.row.name!r}, seed {self.seed}, was made by another command "
            f"({was or 'less'} in place of {now or 'less'}): take the change back, make the row "
            f"again with --redo {shlex.quote(self.row.name)}, or name another folder with --output"
        )

    @contextlib.contextmanager
    def claimed(self) -> Iterator[IO[Any] | None]:
        """Keep other processes from this run in the ``with`` block.

        Yields:
            the file whose lock does that; None: another process is at the run.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = portalocker.Lock(self.folder / LOCK, timeout=0, fail_when_locked=True)
        try:
            claim = lock.acquire()
        except portalocker.AlreadyLocked:
            yield None
            return
        try:
            yield claim
        finally:
            lock.release()

    def write_record(self, finished: bool) -> None:
        """Write down the command, and whether it came to its end."""
        with atomic_write(self.folder / RECORD) as path:
            record = {"command": self.command, "finished": finished}
            path.write_text(json.dumps(record, indent=1), encoding="utf-8")


def plan_runs(table: Table, opts: Mapping[str, Any]) -> list[Run]:
    """All runs of a table, seed by seed.

    Args:
        table: the table.
        opts: overrides for every row. They win over those of the table and lose to those of a row,
            which make it what it is.
    """
    rows = (*table.rows, *table.cells)
    return [
        _plan(table, row, seed, opts) for seed in table.seeds for row in rows if seed in row.seeds
    ]


def _plan(table: Table, row: Row, seed: int, opts: Mapping[str, Any]) -> Run:
    folder = Path(table.output, row.slug, f"seed{seed}")
    places = {"output": table.output, "folder": folder, "seed": seed}
    words = [row.command, "--config-file", row.config, *row.args, "--resume"]
    for key, value in {**table.opts, **opts, **row.opts}.items():
        words += [key, fill(value, places) if isinstance(value, str) else repr(value)]
    words += ["SEED", str(seed), "OUTPUT_DIR", str(folder)]
    results = evaluation_file(fill(row.results, places), row.dataset)
    return Run(row, seed, folder, tuple(words), results)


def execute(run: Run, claim: IO[Any]) -> str | None:
    """Run a command to its end, going on where an interrupted one was.

    Args:
        run: what to do.
        claim: of the run; the training holds on to it should this process be killed.

    Returns:
        what went wrong; None: nothing.
    """
    run.write_record(finished=False)
    log = run.folder / LOG
    with log.open("ab") as stream, _terminate_as_interrupt():
        stream.write(f"$ python {shlex.join(run.command)}\n".encode())
        stream.flush()
        process = subprocess.Popen(
            [sys.executable, *run.command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            **_apart(claim),
        )
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
    if code:
        return f"exit code {code}: {_last_line(log)} ({log})"
    if not run.results.is_file():
        return f"it ended without writing {run.results} ({log})"
    run.write_record(finished=True)
    return None


def _apart(claim: IO[Any]) -> dict[str, Any]:
    """Options of a process that Ctrl-C reaches through _stop alone, with all its workers."""
    if sys.platform == "win32":  # the training cannot hold on to the claim there
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True, "pass_fds": (claim.fileno(),)}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and those that it started: as by Ctrl-C, and by force if that does not do."""
    if sys.platform == "win32":  # knows no such signal; what was done since a checkpoint is lost
        process.terminate()
        process.wait()
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Have what ends this process, or its terminal, end the training as well: nobody would know of
    it otherwise. What is ignored, as under nohup, stays so."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    heeded = [number for number in ENDINGS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _last_line(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 2**16))
        lines = stream.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
