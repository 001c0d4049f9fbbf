"""`kisi map list`: everything that can be mapped, what is not, and what time has overtaken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.cli.options import Format, RowsFormat
from kisi.cli.output import Voice
from kisi.cli.report import Wish

if TYPE_CHECKING:
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.stale import StaleEntry


def map_list(
    config: options.Config = None,
    unmapped: Annotated[
        bool,
        typer.Option("--unmapped", help="Only what nothing is mapped to, on either side."),
    ] = False,
    stale: Annotated[
        bool,
        typer.Option("--stale", help="Only what is gone, renamed, inactive, or ends in 60 days."),
    ] = False,
    format_: options.AsRows = RowsFormat.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """List everything that can be mapped, with its ids.

    Tenants, key names, companies, agreements and products: all that a first mapping.toml needs,
    also before there is one. With --unmapped also PSA companies without Kaspersky: the sales view.
    Writes nothing.
    """
    from kisi.cli.map.editing import inventory_of, tell_missing
    from kisi.cli.setup import opened
    from kisi.mapping.stale import stale_entries

    if unmapped and stale:
        raise typer.BadParameter("--unmapped and --stale are two lists; ask for one of them.")
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    wish = Wish(output.chosen(Format(format_), json=json), output_file)
    with opened(config) as setup:
        inventory = inventory_of(setup, voice, keys=not stale)
        entries = stale_entries(setup.mapping, inventory, setup.rules().today)
    if stale:
        _show_stale(entries, inventory, voice, wish)
    else:
        _show_inventory(inventory, voice, wish, unmapped=unmapped)
    tell_missing(inventory, voice)
    raise typer.Exit(inventory.exit_code)


def _show_inventory(inventory: Inventory, voice: Voice, wish: Wish, *, unmapped: bool) -> None:
    from kisi.cli.report import show, terminal_text
    from kisi.json_text import dumps
    from kisi.render.inventory import (
        inventory_csv,
        inventory_document,
        inventory_report,
        unmapped_report,
    )

    if unmapped:
        inventory = inventory.only_unmapped()
    report = unmapped_report if unmapped else inventory_report
    show(
        {
            Format.TABLE: lambda: terminal_text(report(inventory), voice, wish),
            Format.JSON: lambda: dumps(inventory_document(inventory)),
            Format.CSV: lambda: inventory_csv(inventory),
        },
        wish,
    )


def _show_stale(
    entries: Sequence[StaleEntry], inventory: Inventory, voice: Voice, wish: Wish
) -> None:
    from kisi.cli.report import show, terminal_text
    from kisi.json_text import dumps
    from kisi.render.stale import stale_csv, stale_document, stale_report

    document = stale_document(entries, inventory.missing, inventory.exit_code)
    show(
        {
            Format.TABLE: lambda: terminal_text(stale_report(entries), voice, wish),
            Format.JSON: lambda: dumps(document),
            Format.CSV: lambda: stale_csv(entries),
        },
        wish,
    )
    if not entries and not inventory.missing:
        voice.say("Every mapped tenant, company, agreement and product is there and active.")
