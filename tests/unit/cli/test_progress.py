"""Progress bars: on a terminal that wants them, and gone before anything else is shown there."""

from __future__ import annotations

import io
import itertools
import sys

import pytest

from kisi.cli.output import Console
from kisi.cli.running import ProgressBars


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("rich.console.detect_legacy_windows", lambda: False)
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    return shown


def test_a_bar_is_gone_once_everything_is_read(monkeypatch):
    terminal = _terminal(monkeypatch)
    seconds = itertools.count(0, 0.1)  # a clock of 16 ms would show no rate
    monkeypatch.setattr("rich.console.monotonic", lambda: next(seconds))
    with ProgressBars(Console()) as bars:
        bars.report("hq", 0, 2)
        bars.report("cw", 1, 1)
        bars.report("hq", 1, 2)
        bars.report("hq", 2, 2)
        assert sys.stderr is terminal  # nothing is redirected any more
        assert all(word in terminal.getvalue() for word in ("hq", "/min", "left"))
        bars.report("tp", 0, 1)
        assert sys.stderr is not terminal
        bars.hide()
        assert sys.stderr is terminal
        bars.report("tp", 0, 1)
    assert sys.stderr is terminal


@pytest.mark.parametrize("console", [Console(quiet=True), Console(color=False)])
def test_nobody_sees_a_bar_who_does_not_want_one(monkeypatch, console):
    terminal = _terminal(monkeypatch)
    with ProgressBars(console) as bars:
        bars.report("hq", 1, 2)
    assert terminal.getvalue() == ""


def test_a_file_gets_no_bars(monkeypatch):
    terminal = _terminal(monkeypatch)
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    with ProgressBars(Console()) as bars:
        bars.report("hq", 1, 2)
    assert terminal.getvalue() == ""
