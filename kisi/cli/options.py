"""The options that commands share, as annotated types."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from kisi.cli.completion import client_names


class Format(StrEnum):
    """How a result is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


class RowsFormat(StrEnum):
    """How a list is written that is no page to hand on."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class FindingsFormat(StrEnum):
    """How the findings of `kisi check` are written."""

    TABLE = "table"
    JSON = "json"


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar="KISI_CONFIG",
        show_default=False,
        help="kisi.toml; without it ./kisi.toml, then the platform's config folder.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only errors, and the last line if something is wrong."),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        show_default=False,
        help="More detail; -vv shows each request.",
    ),
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (NO_COLOR does the same).")]


def _one_format(context: typer.Context, value: object) -> object:
    """Refuses `--json` beside another `--format`; whichever is read last sees both."""
    given = [
        name
        for name in ("format_", "json")
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    form = context.params.get("format_", value)
    if len(given) > 1 and form != Format.JSON:
        raise typer.BadParameter("It is short for --format json; leave one of the two out.")
    return value


_AS = typer.Option("--format", case_sensitive=False, callback=_one_format, help="How to write it.")
As = Annotated[Format, _AS]
AsRows = Annotated[RowsFormat, _AS]
AsFindings = Annotated[FindingsFormat, _AS]
Json = Annotated[
    bool, typer.Option("--json", callback=_one_format, help="Short for --format json.")
]
Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", help="Write the result to a file, not to stdout."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="GLOB",
        autocompletion=client_names,
        help="Only clients whose name matches (repeatable).",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="GLOB",
        autocompletion=client_names,
        help="Leave out clients whose name matches (repeatable).",
    ),
]
PsaName = Annotated[
    str | None,
    typer.Option("--psa", metavar="NAME", help="Which [psa.NAME]; needed if there are several."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]
