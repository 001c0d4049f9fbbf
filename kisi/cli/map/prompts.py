"""Plain questions: a line out, a line in. Works over SSH, on Windows, on any console."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from kisi.cli.output import Console, explain_error, terminal_text, write
from kisi.errors import KisiError
from kisi.mapping.changes import MappingEdit
from kisi.mapping.file import MappingEditor
from kisi.mapping.inventory import Inventory
from kisi.mapping.validator import SystemValidator
from kisi.model import Company
from kisi.psa import Psa
from kisi.redaction import safe_text
from kisi.render.report import Report
from kisi.render.terminal import adapted, wrap

Ask = Callable[[str], str]
"""Shows a question and returns the line that was typed; raises `EOFError` at the end of input."""


class Quit(Exception):
    """The person wants to stop; everything confirmed so far is saved."""


class Back(Exception):
    """The person wants the question before this one again."""


class Skip(Exception):
    """The person leaves this one as it is."""


class Never(Exception):
    """The person says that this one is never billed."""


Commands = Mapping[str, type[Quit | Back | Skip | Never]]
"""What may be typed for an answer, also as its first letter."""
COMMANDS: Commands = {"quit": Quit, "back": Back, "skip": Skip}
OR_NEVER: Commands = {**COMMANDS, "never": Never}
_HELP = (
    "A number takes what stands beside it, Enter alone what stands in [brackets]. Where a name is "
    "asked for, any part of it searches; a slash before it searches for what would be a command. "
    "s skips this one, b goes back to the question before, q quits; what was saved stays saved."
)


class Prompter:
    """Asks and shows; `ask` reads a line, by default from the terminal."""

    def __init__(self, console: Console, ask: Ask | None = None) -> None:
        self._console = console
        self._ask = ask or _from_terminal

    def show(self, report: Report) -> None:
        """Shows something to choose from, after a blank line."""
        write(sys.stdout, "\n" + terminal_text(report, self._console))

    def say(self, text: str) -> None:
        """Says a sentence, as wide as the terminal; remote text in it cannot act."""
        shown = adapted(text, sys.stdout.encoding or "ascii")
        write(sys.stdout, "\n".join(wrap(shown, shutil.get_terminal_size().columns)))

    def line(self, question: str, default: str = "", commands: Commands = COMMANDS) -> str:
        """The line, or `default`; a command, and the end of input (`Quit`), are raised."""
        hint = f" [{default}]" if default else ""
        prompt = safe_text(f"{question}{hint}: ")
        try:
            while (typed := self._ask(prompt).strip()) == "?":
                self.say(_HELP)
        except EOFError:
            raise Quit from None
        for word, command in commands.items():
            if typed.casefold() in {word, word[0]}:
                raise command
        return typed or default

    def yes(self, question: str, *, default: bool) -> bool:
        """A question that is answered with y or n."""
        words = {"y": True, "yes": True, "n": False, "no": False}
        while True:
            typed = self.line(f"{question} (y/n)", "y" if default else "n").casefold()
            if typed in words:
                return words[typed]
            self.say("Please type y or n.")

    def number(self, question: str, count: int, default: int | None = None) -> int:
        """One of `count` numbered choices, counted from 0."""
        while True:
            place = number_of(self.line(question, str(default + 1) if default is not None else ""))
            if place is not None and 0 <= place < count:
                return place
            self.say(f"Please type a number from 1 to {count}.")


def number_of(typed: str) -> int | None:
    """The place in a list that a typed number names, counted from 0; None if it is no number."""
    return int(typed) - 1 if typed.isascii() and typed.isdigit() and len(typed) < 10 else None


def _from_terminal(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    typed = sys.stdin.readline()
    if not typed:
        sys.stdout.write("\n")
        raise EOFError
    return typed


Question = tuple[str, Callable[[str], None]]
"""What it is about, and what asks it: told its place (`3 of 40`), it raises `Back` or `Skip`."""


@dataclass(slots=True)
class Session:
    """One sitting of a person at `kisi map`."""

    editor: MappingEditor
    inventory: Inventory
    validator: SystemValidator
    psas: Mapping[str, Psa]
    today: date
    prompter: Prompter
    billing: bool = True
    """The last answer about billing: the next one's default."""
    kept: int = 0

    def confirm(self, answer: Callable[[MappingEdit], None]) -> bool:
        """Validates and saves one answer. False if it cannot be, which is said with the reason.

        What the file itself refuses is raised: nothing more can be saved.
        """
        rows = self.editor.edit()
        try:
            answer(rows)
            change = rows.change()
            self.editor.check(change.text)
            self.validator.refuse(change)
        except KisiError as error:
            write(sys.stdout, explain_error(error))
            return False
        self.editor.save(change.text)
        self.kept += 1
        for sentence in change.done:
            self.prompter.say(f"Saved. {sentence}")
        return True

    def owners_of_companies(self) -> dict[tuple[str, str], Company]:
        """The client of each PSA company, as the file is now."""
        return {(each.psa, each.company): each for each in self.editor.mapping.companies}


def in_turn(session: Session, questions: Sequence[Question]) -> None:
    """Asks one question after the other; going back takes back what the one before saved."""
    before: dict[int, str] = {}
    place = 0
    while place < len(questions):
        before[place] = session.editor.text
        try:
            questions[place][1](f"{place + 1} of {len(questions)}")
        except Back:
            place = max(place - 1, 0)
            if session.editor.save(before[place]):
                session.kept -= 1
                session.prompter.say(f"Taken back: {questions[place][0]}.")
            continue
        except Skip:
            pass
        place += 1
