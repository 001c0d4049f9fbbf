"""What every command that edits mapping.toml does: open, prove, save, say what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli.output import Voice

if TYPE_CHECKING:
    from kisi.cli.setup import Setup
    from kisi.config import Config
    from kisi.mapping.change import Change
    from kisi.mapping.editor import MappingEditor
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.live import Live

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
        sources: The names of the sources in kisi.toml.
        live: The systems, to prove ids; None with `--offline`.
        voice: How to speak.
    """

    editor: MappingEditor
    sources: tuple[str, ...]
    live: Live | None
    voice: Voice

    def carry_out(self, change: Change) -> None:
        """Proves a change, saves it and says what was done.

        Raises:
            ConfigError: It would make the file wrong, an id is gone or not fit to be billed, or
                somebody else changed the file meanwhile.
            SourceError: A source cannot be asked.
            PsaError: A PSA cannot be asked.
            StateError: The file cannot be written.
        """
        from kisi.render.text import safe_text

        self.editor.check(change.text)
        if self.live is not None:
            self.live.refuse(change)
        if not self.editor.save(change.text):
            self.voice.say("Nothing to change: mapping.toml already says this.")
            return
        shown = change.done if self.voice.verbose else change.done[:_SAID]
        for sentence in shown:
            self.voice.say(safe_text(sentence))
        if len(change.done) > len(shown):
            self.voice.say(f"... and {len(change.done) - len(shown)} more (-v shows them all).")
        if self.live is None and (change.companies or change.products):
            self.voice.say("The ids were not validated (--offline); `kisi check --online` does it.")


@contextmanager
def open_mapping(config: Path | None, voice: Voice, *, offline: bool) -> Iterator[Editing]:
    """Opens mapping.toml and, unless `offline`, the systems. Secrets are not needed offline.

    Raises:
        ConfigError: One of the two files is wrong, or a secret does not resolve.
    """
    from kisi.cli.setup import load, opened
    from kisi.mapping.live import Live

    if offline:
        settings, _ = load(config)
        names = tuple(settings.sources)
        yield Editing(editor_of(settings), names, None, voice)
        return
    with opened(config) as setup:
        live = Live(setup.sources, setup.psas, setup.rules().today)
        yield Editing(editor_of(setup.config), tuple(setup.config.sources), live, voice)


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


def inventory_of(setup: Setup, voice: Voice, *, keys: bool = True) -> Inventory:
    """Reads both sides, with progress bars on a terminal.

    Raises:
        Interrupted: ^C, while it was read.
    """
    from kisi.cli.progress import shown
    from kisi.cli.signals import stopping
    from kisi.mapping.inventory import take_inventory

    with stopping("Stopping: nothing is changed.") as stop, shown(voice, stop) as progress:
        return take_inventory(
            setup.mapping, setup.sources, setup.psas, keys=keys, progress=progress
        )


def confirmed(question: str) -> bool:
    """Asks a person on a terminal; without one the answer is no."""
    on_a_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    return on_a_terminal and typer.confirm(question, err=True)


def tell_missing(inventory: Inventory, voice: Voice) -> None:
    """Says what could not be read; the rest was shown."""
    from kisi.render.text import safe_text

    for sentence in inventory.missing:
        voice.insist(safe_text(sentence))
