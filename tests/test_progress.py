import io
import sys

import pytest

from videogcrf_det import progress as module
from videogcrf_det.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_lines_now_and_then(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(progress(range(50), desc="videos")) == list(range(50))
    assert log.getvalue() == ""  # over at once
    monkeypatch.setattr(module, "SECONDS", 0)
    assert list(progress(range(3), desc="videos")) == [0, 1, 2]
    lines = log.getvalue().splitlines()
    assert lines[-1].startswith("videos: 100%| 3/3 [")
    assert "#" not in log.getvalue()
    assert "\r" not in log.getvalue()
    assert all(line.startswith("videos") for line in lines)


def test_what_a_caller_wants_of_a_terminal_is_no_matter_in_a_log_file(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with progress(total=3, desc="videos", mininterval=0, bar_format="{l_bar}{bar}| {n}") as bar:
        bar.update(2)
    assert log.getvalue() == ""
    with progress(total=3, desc="videos", mininterval=0, delay=0) as bar:
        for _ in range(3):
            bar.update()
    (line,) = log.getvalue().splitlines()  # short work that asks for one
    assert line.startswith("videos: 100%| 3/3 [")


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(progress(range(3), desc="videos", file=terminal))
    assert "\r" in terminal.getvalue()


def test_errors_go_through():
    with pytest.raises(ZeroDivisionError):
        list(progress(1 / number for number in [1, 0]))
