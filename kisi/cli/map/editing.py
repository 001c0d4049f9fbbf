"""What every command that edits mapping.toml does: open, validate, save, say what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli.output import Console

if TYPE_CHECKING:
    from kisi.config import Config
    from kisi.mapping.changes import MappingEdit
    from kisi.mapping.editor import MappingEditor
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.validator import SystemValidator
    from kisi.model import BillingMapping
    from kisi.run.setup import Setup

_SAID = 20
"""Sentences that are said of a change of many rows."""

Offline = Annotated[
    bool,
    typer.Option("--offline", help="Do not ask the systems whether the ids exist and are active."),
]


@dataclass(frozen=True, slots=True)
class Editing:
    """mapping.toml, opened to be changed.

    Args:
        editor: The file.
        rows: What its rows are to be.
        sources: The names of the sources in kisi.toml.
        validator: Looks up ids in the systems; None with `--offline`.
        console: Where messages go.
    """

    editor: MappingEditor
    rows: MappingEdit
    sources: tuple[str, ...]
    validator: SystemValidator | None
    console: Console

    @property
    def mapping(self) -> BillingMapping:
        """What the file means as it is."""
        return self.editor.mapping

    def save(self) -> None:
        """Validates the changed rows, saves them and says what was done.

        Raises:
            ConfigError: They would make the file wrong, an id is gone or not fit to be billed, or
                somebody else changed the file meanwhile.
            SourceError: A source cannot be asked.
            PsaError: A PSA cannot be asked.
            StateError: The file cannot be written.
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

    Secrets are not needed offline.

    Raises:
        ConfigError: One of the two files is wrong, a secret does not resolve, or as for `save`.
        KisiError: As for `save`.
    """
    from kisi.mapping.validator import SystemValidator
    from kisi.run.setup import load, opened

    if offline:
        settings, _ = load(config)
        editor = editor_of(settings)
        editing = Editing(editor, editor.edit(), tuple(settings.sources), None, console)
        yield editing
        editing.save()
        return
    with opened(config) as setup:
        editor = editor_of(setup.config)
        validator = SystemValidator(setup.sources, setup.psas, setup.rules().today)
        editing = Editing(editor, editor.edit(), tuple(setup.sources), validator, console)
        yield editing
        editing.save()


def editor_of(config: Config) -> MappingEditor:
    """The mapping file of a configuration.

    Raises:
        ConfigError: It is wrong.
    """
    from kisi.mapping.editor import MappingEditor

    return MappingEditor.open(
        config.mapping_path,
        sources=config.sources,
        psas=config.psa,
        global_sources=config.global_sources,
    )


def inventory_of(setup: Setup, console: Console, *, keys: bool = True) -> Inventory:
    """Reads both sides, with progress bars on a terminal.

    Raises:
        Interrupted: ^C, while it was read.
    """
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


def confirmed(question: str) -> bool:
    """Asks a person on a terminal; without one the answer is no."""
    on_a_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    return on_a_terminal and typer.confirm(question, err=True)


def tell_missing(inventory: Inventory, console: Console) -> None:
    """Says what could not be read; the rest was shown."""
    from kisi.redaction import safe_text

    for sentence in inventory.missing:
        console.warn(safe_text(sentence))
