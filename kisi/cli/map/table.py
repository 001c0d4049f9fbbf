"""`kisi map export` and `kisi map import`: the whole mapping as a table, and back."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.map.editing import Offline
from kisi.errors import ConfigError


class TableFormat(StrEnum):
    """How the whole mapping is written."""

    CSV = "csv"


As = Annotated[TableFormat, typer.Option("--format", help="How it is written.")]


def map_export(
    config: options.Config = None,
    format_: As = TableFormat.CSV,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Write all of mapping.toml as one table.

    For a spreadsheet; reads the file alone. `kisi map import` takes it back without a loss;
    comments stay in mapping.toml.
    """
    from kisi.cli.setup import load
    from kisi.mapping.mapping_csv import mapping_csv

    del format_
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    _, mapping = load(config)
    output.result(mapping_csv(mapping), output_file)
    rows = len(mapping.applications) + len(mapping.products) + len(mapping.companies)
    if output_file is not None:
        voice.say(f"Wrote {rows} rows. After your changes: kisi map import {output_file}")


def map_import(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table of `kisi map export`.")],
    config: options.Config = None,
    format_: As = TableFormat.CSV,
    remove_missing: Annotated[
        bool,
        typer.Option("--remove-missing", help="Take out what the table does not name."),
    ] = False,
    offline: Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Bring mapping.toml to what a table says.

    Only rows that differ are touched. A client is the one on the same agreement, else the one of
    the same company and name, else the one with the same tenants. What the table does not name
    stays, unless --remove-missing.
    """
    from kisi.cli.map.editing import open_mapping
    from kisi.mapping.merge import merge
    from kisi.mapping.table_import import read_mapping_csv

    del format_
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    text = read_table(file)
    with open_mapping(config, voice, offline=offline) as editing:
        draft = editing.editor.draft
        table = read_mapping_csv(text, draft, sources=editing.sources, name=file.name)
        editing.carry_out(merge(draft, table, remove_missing=remove_missing))


def read_table(file: Path) -> str:
    """The text of a file that a person edited; `-` is stdin.

    Raises:
        ConfigError: It is missing, unreadable, larger than a mapping may be, or not UTF-8.
    """
    from kisi.config.document import MAX_BYTES

    try:
        text = _limited(file, MAX_BYTES)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file} is not UTF-8. Nothing was changed.",
            remedy='In Excel choose "CSV UTF-8" when you save it.',
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read ({error.strerror}). Nothing was changed.",
            remedy="Name a file that `kisi map suggest` or `kisi map export` wrote.",
        ) from error
    if text is None:
        raise ConfigError(
            f"{file} is larger than {MAX_BYTES // 2**20} MiB. Nothing was changed.",
            remedy="Name a file that `kisi map suggest` or `kisi map export` wrote.",
        )
    return text


def _limited(file: Path, largest: int) -> str | None:
    """The whole text; None if it is larger, and then no more than `largest` of it was read."""
    if str(file) == "-":
        text = sys.stdin.read(largest + 1)
        return text if len(text) <= largest else None
    with file.open("rb") as stream:
        raw = stream.read(largest + 1)
    return raw.decode("utf-8-sig") if len(raw) <= largest else None
