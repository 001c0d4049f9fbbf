"""`kisi map export`, `import` and `accept`: the mapping as a table, and rows of one back."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.map.editing import Offline, edited_mapping
from kisi.cli.options import shared_options
from kisi.cli.output import Console
from kisi.errors import ConfigError


class TableFormat(StrEnum):
    """How the whole mapping is written."""

    CSV = "csv"


As = Annotated[TableFormat, typer.Option("--format", help="How it is written.")]


@shared_options()
def map_export(
    config: Path | None,
    console: Console,
    format_: As = TableFormat.CSV,
    output_file: options.Output = None,
) -> None:
    """Write all of mapping.toml as one table.

    For a spreadsheet; reads the file alone. `kisi map import` takes it back without a loss;
    comments stay in mapping.toml.
    """
    from kisi.mapping.table import mapping_csv
    from kisi.run.setup import load

    del format_
    _, mapping = load(config)
    output.result(mapping_csv(mapping), output_file)
    rows = len(mapping.applications) + len(mapping.products) + len(mapping.companies)
    if output_file is not None:
        console.info(f"Wrote {rows} rows. After your changes: kisi map import {output_file}")


@shared_options()
def map_import(
    config: Path | None,
    console: Console,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table of `kisi map export`.")],
    format_: As = TableFormat.CSV,
    remove_missing: Annotated[
        bool,
        typer.Option("--remove-missing", help="Take out what the table does not name."),
    ] = False,
    offline: Offline = False,
) -> None:
    """Bring mapping.toml to what a table says.

    Only rows that differ are touched. A client is the one on the same agreement, else the one of
    the same company and name, else the one with the same tenants. What the table does not name
    stays, unless --remove-missing.
    """
    from kisi.mapping.table import import_rows, read_mapping_table

    del format_
    text = read_table(file)
    with edited_mapping(config, console, offline=offline) as editing:
        rows = read_mapping_table(text, editing.rows, sources=editing.sources, name=file.name)
        import_rows(editing.rows, rows, remove_missing=remove_missing)


@shared_options()
def map_accept(
    config: Path | None,
    console: Console,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What `kisi map suggest` wrote (CSV or JSON); - is stdin."
        ),
    ],
    offline: Offline = False,
) -> None:
    """Add suggestions to mapping.toml: all that say yes, or none.

    Clients are added with billing off unless their `billing` says yes; they go live one by one with
    `kisi map billing`. Two tenants on one agreement become one client.
    """
    from kisi.mapping.table import accept_rows, read_mapping_table

    text = read_table(file)
    with edited_mapping(config, console, offline=offline) as editing:
        rows = read_mapping_table(
            text, editing.rows, sources=editing.sources, name=file.name, accepted=True
        )
        accept_rows(editing.rows, rows)
    off = sum(not company.billing for _, company in rows.companies)
    if off:
        console.info(
            f"{off} are not billed yet. One by one, or by a glob on names: "
            "kisi map billing CLIENT on"
        )


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
