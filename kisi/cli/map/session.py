"""What the questions of `kisi map` share: the file, both sides, the one way to keep an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from kisi.cli.map.prompts import Back, Skip
from kisi.errors import KisiError

if TYPE_CHECKING:
    from kisi.cli.map.prompts import Prompter
    from kisi.mapping.change import Change
    from kisi.mapping.editor import MappingEditor
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.live import Live
    from kisi.model import Company
    from kisi.psa import Psa

Question = tuple[str, Callable[[str], None]]
"""What it is about, and what asks it: told its place (`3 of 40`), it raises `Back` or `Skip`."""


@dataclass(slots=True)
class Session:
    """One sitting of a person at `kisi map`.

    Attributes:
        editor: The file.
        inventory: Both sides as they were when the session began.
        live: The systems, to prove the ids of each answer.
        psas: The configured PSAs, to read what an agreement bills.
        today: The day in the billing time zone.
        prompter: The terminal.
        billing: The last answer about billing: the next one's default.
        kept: How many answers were saved.
    """

    editor: MappingEditor
    inventory: Inventory
    live: Live
    psas: Mapping[str, Psa]
    today: date
    prompter: Prompter
    billing: bool = True
    kept: int = 0

    def confirm(self, change: Change) -> bool:
        """Proves and saves one answer. False if it cannot be, which is said with the reason.

        Raises:
            ConfigError: Somebody else changed the file: nothing more can be saved.
            StateError: The file cannot be written.
        """
        try:
            self.editor.check(change.text)
            self.live.refuse(change)
        except KisiError as error:
            self.prompter.complain(error)
            return False
        self.editor.save(change.text)
        self.kept += 1
        for sentence in change.done:
            self.prompter.say(f"Saved. {sentence}")
        return True

    def owners_of_companies(self) -> dict[tuple[str, str], Company]:
        """The client of each PSA company, as the file is now."""
        return {(each.psa, each.company): each for each in self.editor.mapping.companies}

    def owners_of_agreements(self, psa: str) -> dict[str, Company]:
        """The client of each agreement of a PSA, as the file is now."""
        companies = self.editor.mapping.companies
        return {each.agreement: each for each in companies if each.psa == psa}


def in_turn(session: Session, questions: Sequence[Question]) -> None:
    """Asks one question after the other; going back takes back what the one before saved.

    Args:
        session: The sitting.
        questions: What each is about, and how it is asked.

    Raises:
        Quit: The person wants to stop.
        ConfigError: Somebody else changed the file.
        StateError: The file cannot be written.
    """
    before: dict[int, str] = {}
    place = 0
    while place < len(questions):
        before[place] = session.editor.draft.text
        try:
            questions[place][1](f"{place + 1} of {len(questions)}")
        except Back:
            place = max(place - 1, 0)
            if session.editor.save(before[place]):
                session.kept -= 1
                session.prompter.say(f"Taken back: {questions[place][0]}.")
        except Skip:
            place += 1
        else:
            place += 1
