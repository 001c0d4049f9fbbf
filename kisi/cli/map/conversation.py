"""`kisi map` on a terminal: what is unmapped, then question by question.

Every confirmed answer is saved at once, so that a person can quit, or lose the connection, at any
time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from kisi.cli.map.editing import editor_of, inventory_of, tell_missing
from kisi.cli.map.prompts import Back, Prompter, Quit, Session, Skip
from kisi.cli.map.questions import (
    ask_for_applications,
    ask_for_clients,
    open_applications,
    open_clients,
)
from kisi.cli.output import Console
from kisi.errors import ExitCode
from kisi.mapping.validator import SystemValidator
from kisi.render.formatting import plural
from kisi.render.map_screens import MappingProgress, overview_screen
from kisi.run.setup import opened

_SITTING = 24 * 3600.0
"""Seconds in which the systems may be asked: a person maps hundreds of clients in one go."""

Part = tuple[str, Callable[[Session], None]]
"""What it is called in the menu, and the questions."""


def map_on_a_terminal(config: Path | None, console: Console) -> int:
    """Maps clients and applications by questions.

    Returns:
        The exit code: 0, or 130 after ^C.
    """
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")
    with opened(config, waits=_SITTING) as setup:
        editor, today = editor_of(setup.config), setup.rules().today
        prompter = Prompter(console)
        prompter.say("Reading both sides ...")
        inventory = inventory_of(setup, console)
        tell_missing(inventory, console)
        validator = SystemValidator(setup.sources, setup.psas, today)
        return converse(Session(editor, inventory, validator, setup.psas, today, prompter))


def converse(session: Session) -> int:
    """Shows what is unmapped and asks until each part was gone through, or the person quits.

    Returns:
        The exit code: 0, or 130 after ^C.
    """
    code = ExitCode.OK
    gone_through: set[str] = set()
    try:
        while _ask_for_a_part(session, gone_through):
            continue
    except Quit as quit_:
        code = ExitCode.INTERRUPTED if quit_.interrupted else ExitCode.OK
    kept = "1 answer is" if session.kept == 1 else f"{session.kept} answers are"
    session.prompter.say(f"{kept} in {session.editor.path.name}.")
    if session.kept:
        session.prompter.say("`kisi preview` shows what would be billed, and writes nothing.")
    return code


def _ask_for_a_part(session: Session, gone_through: set[str]) -> bool:
    """Shows what is left and asks which part to map; False once there is none left to ask for."""
    parts = _parts(session)
    session.prompter.show(
        overview_screen(_progress(session), [words for words, _ in parts.values()])
    )
    fresh = [name for name in parts if name not in gone_through]
    if not fresh:
        return False
    names = list(parts)
    try:
        place = session.prompter.number("Which? q quits", len(names), names.index(fresh[0]))
    except (Back, Skip):
        return True
    parts[names[place]][1](session)
    gone_through.add(names[place])
    return True


def _parts(session: Session) -> dict[str, Part]:
    tenants, applications = len(open_clients(session)), len(open_applications(session))
    parts: dict[str, Part] = {}
    if tenants:
        parts["clients"] = (f"clients: {plural(tenants, 'tenant')}, one by one", ask_for_clients)
    if applications:
        words = f"applications: {applications} to be billed as products"
        parts["applications"] = (words, ask_for_applications)
    return parts


def _progress(session: Session) -> MappingProgress:
    inventory, mapping = session.inventory, session.editor.mapping
    owned = session.owners_of_companies()
    active = [entry for entry in inventory.companies if entry.company.active]
    return MappingProgress(
        tenants=len(inventory.tenants),
        tenants_open=len(open_clients(session)),
        applications_open=len(open_applications(session)),
        companies=len(active),
        companies_open=sum((entry.psa, entry.company.id) not in owned for entry in active),
        stale=len(SystemValidator.of(inventory, session.today).stale(mapping)),
    )
