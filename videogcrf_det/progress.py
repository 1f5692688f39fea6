"""Progress of long work: a bar on a terminal, a line now and then in a log file."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

SECONDS = 30  # from one line of a log file to the next
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"  # tqdm's own


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
        items, options: as tqdm takes them. With ``delay=0`` shorter work has a line at its end.
    """
    if not sys.stderr.isatty():
        options |= {
            "file": _Lines(sys.stderr),
            "bar_format": options.get("bar_format", BAR).replace("{bar}|", ""),
            # above 0, or tqdm says at once that nothing is done yet
            "delay": sys.float_info.min if options.get("delay") == 0 else SECONDS,
            "mininterval": SECONDS,
            "maxinterval": SECONDS,
            "miniters": 1,
        }
    return tqdm(items, **options)
