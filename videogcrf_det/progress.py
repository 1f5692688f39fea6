"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

SECONDS = 30  # from one line of a log file to the next


class _Lines:
    """A stream that has each state of a bar as a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write a line, unless there is nothing to see in it."""
        if text.strip():
            self._stream.write(text.strip() + "\n")

    def flush(self) -> None:
        """See TextIO."""
        self._stream.flush()


def progress(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """tqdm, which in a log file writes a line every half a minute, and none of shorter work.

    Args:
        items, options: as tqdm takes them.
    """
    if not sys.stderr.isatty():
        lines: dict[str, Any] = {"file": _Lines(sys.stderr), "delay": SECONDS, "ncols": 100}
        lines |= {"mininterval": SECONDS, "maxinterval": SECONDS, "miniters": 1}
        options = {**lines, **options}
    return tqdm(items, **options)
