"""What kisi says can be said on any console: nothing ends as a bug for want of a letter."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from kisi.cli import run
from kisi.cli.output import Console, result, write

OLD = ["cp932", "cp852", "cp874", "cp1252", "cp437"]
"""Code pages of consoles that lack one or the other of kisi's symbols."""


@contextmanager
def console(encoding: str) -> Iterator[io.BytesIO]:
    """Takes what is said at a console of this code page."""
    said = io.TextIOWrapper(kept := io.BytesIO(), encoding=encoding, newline="\r\n")
    with redirect_stdout(said), redirect_stderr(said):
        yield kept
        said.flush()


@pytest.mark.parametrize("encoding", OLD)
@pytest.mark.parametrize("command", [[], ["sync"], ["map"], ["map", "suggest"], ["check"]])
def test_help_is_shown_on_every_console(encoding: str, command: list[str]):
    with console(encoding) as kept:
        assert run([*command, "--help"]) == 0
        sys.stdout.flush()
        shown = kept.getvalue().decode(encoding)
    assert "Usage: kisi" in shown
    if not command:
        point = "·" if encoding in {"cp1252", "cp437"} else "-"
        assert f"0 done, nothing on hold {point} 1 a bug" in shown


@pytest.mark.parametrize("encoding", [*OLD, "ascii"])
def test_symbols_have_stand_ins_and_letters_are_escaped(encoding: str):
    with console(encoding) as kept:
        assert run(["explain"]) == 2
        write(sys.stdout, "── Ω 株 → ✓")
        shown = kept.getvalue().decode(encoding)
    assert "bug" not in shown
    assert ("──" if encoding in {"cp932", "cp852", "cp437"} else "--") in shown
    assert ("株" if encoding == "cp932" else "\\u682a") in shown


def test_csv_ends_its_lines_itself():
    with console("cp1252") as kept:
        assert run(["--version"]) == 0
        result("name\r\nMüller 株\r\n", None)
        shown = kept.getvalue()
    assert shown.endswith("name\r\nMüller 株\r\n".encode())
    assert b"\r\r" not in shown


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "shown"),
    [
        (
            io.StringIO,
            ["Error: The file is open to other users.", "       Run `kisi check --online`."],
        ),
        (
            _Terminal,
            [
                "Error: The file is open to",
                "other users.",
                "       Run",
                "       `kisi check --online`.",
            ],
        ),
    ],
)
def test_a_terminal_breaks_no_word_and_no_command_of_a_message(stream, shown, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("COLUMNS", "30")
    Console().warn("Error: The file is open to other users.\n       Run `kisi check --online`.")
    assert sys.stderr.getvalue().splitlines() == shown
