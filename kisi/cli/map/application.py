"""`kisi map application`: which key names are one application, and what a unit of it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kisi.cli import options, output


class UnitName(StrEnum):
    """`kisi.model.Unit`, without what importing the model would cost every `--help`."""

    DEVICE = "device"
    USER = "user"
    MAILBOX = "mailbox"


def map_application(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Your name for it.")],
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Key names of it (repeatable); default: NAME*."),
    ] = None,
    add_key: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Key names that are added to those it has."),
    ] = None,
    unit: Annotated[UnitName | None, typer.Option(help="What is counted; default: device.")] = None,
    bill: Annotated[
        bool | None, typer.Option("--bill/--no-bill", help="Whether it is ever billed.")
    ] = None,
    config: options.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Add an application, or change one.

    What is not given stays as it is.

    kisi map application "Mail" --key "Kaspersky Security for Mail Server*" --no-bill
    """
    from kisi.cli.map.editing import open_mapping
    from kisi.mapping.billed import find_application, set_application, with_keys
    from kisi.model import Application, Unit

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with open_mapping(config, voice, offline=True) as editing:
        draft = editing.editor.draft
        row = find_application(draft.mapping, name)
        old = Application(name) if row is None else draft.mapping.applications[row]
        application = Application(
            old.name,
            tuple(key) if key else old.keys,
            Unit(unit or old.unit),
            bill=old.bill if bill is None else bill,
        )
        application = with_keys(application, add_key or ())
        editing.carry_out(set_application(draft, application))
