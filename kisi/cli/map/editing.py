"""What every command that edits mapping.toml does: open, validate, save, say what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli.output import Console
from kisi.errors import Withheld

if TYPE_CHECKING:
    from kisi.config import Config
    from kisi.mapping.changes import MappingEdit
    from kisi.mapping.file import MappingEditor
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.validator import SystemValidator
    from kisi.run.setup import Setup

_SAID = 20
"""Sentences that are said of a change of many rows."""

Offline = Annotated[
    bool,
    typer.Option("--offline", help="Do not ask the systems whether the ids exist and are active."),
]


@dataclass(frozen=True, slots=True)
class Editing:
    """mapping.toml, opened to be changed: the file, and what its rows are to be."""

    editor: MappingEditor
    rows: MappingEdit
    validator: SystemValidator | None
    """Looks up ids in the systems; None with `--offline`."""
    console: Console

    def save(self) -> None:
        """Validates the changed rows, saves them and says what was done.

        A `KisiError`: the file would be wrong, an id is gone or not fit to be billed, a system
        cannot be asked, or the file cannot be written, or was changed by somebody else meanwhile.
        """
        from kisi.redaction import safe_text

        change = self.rows.change()
        self.editor.check(change.text)
        if self.validator is not None:
            self.validator.refuse(change)
        if not self.editor.save(change.text):
            self.console.info("Nothing to change: mapping.toml already says this.")
            return
        shown = change.done if self.console.verbose else change.done[:_SAID]
        for sentence in shown:
            self.console.info(safe_text(sentence))
        if len(change.done) > len(shown):
            self.console.info(f"... and {len(change.done) - len(shown)} more (-v shows them all).")
        if self.validator is None and (change.companies or change.products):
            self.console.info(
                "The ids were not validated (--offline); `kisi check --online` does it."
            )


@contextmanager
def edited_mapping(config: Path | None, console: Console, *, offline: bool) -> Iterator[Editing]:
    """Opens mapping.toml and, unless `offline`, the systems; saves what was changed at the end.

    Offline, secrets are not needed.
    """
    from kisi.run.setup import load, opened

    with ExitStack() as stack:
        setup = None if offline else stack.enter_context(opened(config))
        editing = editing_of(setup.config if setup else load(config)[0], setup, console)
        yield editing
        editing.save()


def editing_of(config: Config, setup: Setup | None, console: Console) -> Editing:
    """The mapping file of a configuration, to be changed; without a `setup` no system is asked."""
    from kisi.mapping.file import ConfigNames, MappingEditor
    from kisi.mapping.validator import SystemValidator

    names = ConfigNames(config.sources, config.psa, config.global_sources)
    editor = MappingEditor(config.mapping_path, names)
    validator = None
    if setup is not None:
        validator = SystemValidator(setup.sources, setup.psas, setup.rules().today)
    return Editing(editor, editor.edit(), validator, console)


def inventory_of(setup: Setup, console: Console, *, keys: bool = True) -> Inventory:
    """Reads both sides, with progress bars on a terminal; ^C raises `Interrupted`."""
    from kisi.cli.running import ProgressBars, handle_signals
    from kisi.mapping.inventory import take_inventory

    said = "Stopping: nothing is changed."
    with handle_signals(said) as stop, ProgressBars(console) as bars:
        progress = stop.checked(bars.report)
        inventory = take_inventory(
            setup.mapping, setup.sources, setup.psas, keys=keys, progress=progress
        )
        stop.check()
    return inventory


def tell_missing(inventory: Inventory, console: Console) -> None:
    """Says what could not be read; the rest was shown."""
    from kisi.redaction import safe_text

    for sentence in inventory.missing:
        console.warn(safe_text(sentence))


def confirm(question: str, withheld: Withheld, *, yes: bool) -> None:
    """Goes on only with `--yes`, or if a person on a terminal says so; else raises `withheld`."""
    from kisi.redaction import safe_text

    on_a_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not (yes or (on_a_terminal and typer.confirm(safe_text(question), err=True))):
        raise withheld
