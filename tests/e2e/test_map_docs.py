"""docs/mapping.md shows what the commands really say."""

from __future__ import annotations

import doctest
import re
import shlex
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from kisi.cli import run
from kisi.cli.map import prompts
from kisi.sandbox.demo import demo
from kisi.sandbox.fleet import fleet
from tests.e2e.conftest import Operator

PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"
WORLDS = {"a dozen clients": demo, "400 clients": lambda: fleet(400).world}
QUESTIONS = ("Which?", "Company:", "Agreement:", "Bill this", "Number,", "Product:")
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


@pytest.mark.parametrize("chapter", WORLDS)
def test_the_page_shows_what_the_commands_say(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, chapter: str
):
    vars(operator.world).update(vars(WORLDS[chapter]()))  # the servers hold on to their world
    operator.mapped = False
    operator.by_hand()
    monkeypatch.chdir(operator.folder)
    monkeypatch.setenv("KISI_CONFIG", str(operator.config))
    page = PAGE.read_text(encoding="utf-8")
    text = page[page.index(f"## {chapter.capitalize()}") :].split("\n## ")[0]
    played = 0
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        _, *parts = COMMAND.split(block)
        for command, shown in zip(parts[::2], parts[1::2], strict=True):
            same(shown.lstrip("\n"), play(operator, monkeypatch, command, shown), command)
            played += 1
    assert played >= 3


def same(shown: str, said: str, command: str) -> None:
    """Equal, where `...` on a line of its own stands for any lines."""
    checker = doctest.OutputChecker()
    assert checker.check_output(shown, said, doctest.ELLIPSIS), f"$ {command}\n{said}"


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

    monkeypatch.setattr(prompts, "_from_terminal", ask)
    with redirect_stdout(_Terminal()) as stdout:
        assert run(arguments) == 0
    return stdout.getvalue()
