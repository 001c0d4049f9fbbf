"""docs/mapping.md shows what the commands really say, on what `kisi sandbox` serves."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from kisi.cli import run
from kisi.cli.map import questions
from kisi.mapping.similarity import DEFAULT_MIN_SCORE
from kisi.mapping.suggestions import SURE_PRODUCT
from kisi.sandbox import Sandbox
from kisi.sandbox.demo import demo_sandbox, fleet
from tests.e2e.conftest import Operator

PAGE = (Path(__file__).parents[2] / "docs" / "mapping.md").read_text(encoding="utf-8")
SERVED: dict[str, Callable[[], Sandbox]] = {
    "a dozen clients": demo_sandbox,
    "400 clients": lambda: Sandbox(fleet(400).world),
}
QUESTIONS = ("Which?", "Company:", "Agreement:", "Bill this", "Number", "Product:")
COMMAND = re.compile(r"^\$ (kisi .*)$", re.MULTILINE)


class _Terminal(StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdin", _Terminal())


@pytest.mark.parametrize("chapter", SERVED)
def test_the_page_shows_what_the_commands_say(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, chapter: str
):
    text = PAGE[PAGE.index(f"## {chapter.capitalize()}") :].split("\n## ")[0]
    played = 0
    with SERVED[chapter]() as operator.sandbox:
        operator.mapped = False
        operator.by_hand()
        monkeypatch.chdir(operator.folder)
        monkeypatch.setenv("KISI_CONFIG", str(operator.config))
        for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
            _, *parts = COMMAND.split(block)
            for command, shown in zip(parts[::2], parts[1::2], strict=True):
                said = play(operator, monkeypatch, command, shown)
                assert shows(shown.strip("\n"), said.strip("\n")), f"$ {command}\n{said}"
                played += 1
    assert played >= 3


def test_the_page_names_the_scores_that_are_certain_enough():
    assert f"({DEFAULT_MIN_SCORE} for a company, {SURE_PRODUCT} for a product)" in PAGE


def test_only_a_line_of_dots_leaves_lines_out():
    assert shows("a\n...\nd", "a\nb\nc\nd")
    assert not shows("Reading ...\n16 of 16", "Reading ...\n16 of 23\n16 of 16")
    assert not shows("Reading ...", "Reading ... and more")


def shows(shown: str, said: str) -> bool:
    """Whether a page shows what was said; `...` on a line of its own stands for whole lines."""
    parts = re.split(r"^\.\.\.\n", f"{shown}\n", flags=re.MULTILINE)
    return re.fullmatch(r"(?:.*\n)*?".join(map(re.escape, parts)), f"{said}\n") is not None


def play(operator: Operator, monkeypatch: pytest.MonkeyPatch, command: str, shown: str) -> str:
    """What a command says when the answers that the page shows are typed."""
    arguments = shlex.split(command)[1:]
    if arguments != ["map"]:
        result = operator.run_bare(*arguments)
        return result.out + result.err
    answers = [
        line.rpartition(":")[2].strip() for line in shown.splitlines() if line.startswith(QUESTIONS)
    ]
    typed = iter(answers)

    def ask(question: str) -> str:
        line = next(typed, "q")
        sys.stdout.write(f"{question}{line}".rstrip() + "\n")
        return line

    monkeypatch.setattr(questions, "_from_terminal", ask)
    with redirect_stdout(_Terminal()) as stdout:
        assert run(arguments) == 0
    return stdout.getvalue()
