"""`kisi map list` and `suggest`: what can be mapped, what is not as it was, who may be whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli.options import Format, RowsFormat, shared_options
from kisi.cli.output import Console, OutputOptions

if TYPE_CHECKING:
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.validator import StaleEntry


_AS_A_FILE = """\
+ is marked for acceptance, ? is for you to decide. As a file to look through:
  kisi map suggest --format csv --output suggestions.csv"""


@shared_options(formats=RowsFormat)
def map_list(
    config: Path | None,
    console: Console,
    output: OutputOptions,
    unmapped: Annotated[
        bool,
        typer.Option("--unmapped", help="Only what nothing is mapped to, on either side."),
    ] = False,
    stale: Annotated[
        bool,
        typer.Option("--stale", help="Only what is gone, renamed, inactive, or ends in 60 days."),
    ] = False,
) -> None:
    """List everything that can be mapped, with its ids.

    Tenants, key names, companies, agreements and products: all that a first mapping.toml needs,
    also before there is one. With --unmapped also PSA companies without Kaspersky: the sales view.
    Writes nothing.
    """
    from kisi.cli.map.editing import inventory_of, tell_missing
    from kisi.mapping.validator import SystemValidator
    from kisi.run.setup import opened

    if unmapped and stale:
        raise typer.BadParameter("--unmapped and --stale are two lists; ask for one of them.")
    with opened(config) as setup:
        inventory = inventory_of(setup, console, keys=not stale)
        entries = SystemValidator.of(inventory, setup.rules().today).stale(setup.mapping)
    if stale:
        _show_stale(entries, inventory, console, output)
    else:
        _show_inventory(inventory, console, output, unmapped=unmapped)
    tell_missing(inventory, console)
    raise typer.Exit(inventory.exit_code)


def _show_inventory(
    inventory: Inventory, console: Console, output: OutputOptions, *, unmapped: bool
) -> None:
    from kisi.cli.output import show
    from kisi.render.map_lists import (
        inventory_csv,
        inventory_document,
        inventory_report,
        unmapped_report,
    )

    if unmapped:
        inventory = inventory.only_unmapped()
    report = unmapped_report if unmapped else inventory_report
    show(
        console,
        output,
        report=lambda: report(inventory),
        document=lambda: inventory_document(inventory),
        csv=lambda: inventory_csv(inventory),
    )


def _show_stale(
    entries: Sequence[StaleEntry], inventory: Inventory, console: Console, output: OutputOptions
) -> None:
    from kisi.cli.output import show
    from kisi.render.map_lists import stale_csv, stale_document, stale_report

    show(
        console,
        output,
        report=lambda: stale_report(entries),
        document=lambda: stale_document(entries, inventory.missing, inventory.exit_code),
        csv=lambda: stale_csv(entries),
    )
    if not entries and not inventory.missing:
        console.info("Every mapped tenant, company, agreement and product is there and active.")


@shared_options(formats=RowsFormat)
def map_suggest(
    config: Path | None,
    console: Console,
    output: OutputOptions,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="0..1",
            min=0,
            max=1,
            show_default="0.85",
            help="Leave out weaker suggestions.",
        ),
    ] = None,
) -> None:
    """Suggest who is whom, and why. Nothing is bound.

    A company for each unmapped tenant, products for each unmapped application. Write a file, look
    through it, change `accept` where you know better, and hand it to `kisi map accept`:

    kisi map suggest --format csv --output suggestions.csv
    """
    from kisi.cli.map.editing import inventory_of, tell_missing
    from kisi.cli.output import show
    from kisi.mapping.similarity import DEFAULT_MIN_SCORE
    from kisi.mapping.suggestions import suggest, suggestions_csv, suggestions_document
    from kisi.render.formatting import plural
    from kisi.render.map_lists import suggestions_report
    from kisi.run.setup import opened

    least = DEFAULT_MIN_SCORE if min_score is None else min_score
    with opened(config) as setup:
        inventory = inventory_of(setup, console)
        suggestions = suggest(setup.mapping, inventory, setup.rules().today, min_score=least)
    document = {**suggestions_document(suggestions), "exit_code": int(inventory.exit_code)}
    show(
        console,
        output,
        report=lambda: suggestions_report(suggestions, least),
        document=lambda: document,
        csv=lambda: suggestions_csv(suggestions),
    )
    tell_missing(inventory, console)
    marked = sum(row.accept for row in suggestions.clients)
    marked += sum(row.accept for row in suggestions.applications)
    count = len(suggestions.clients) + len(suggestions.applications)
    without = len(suggestions.without)
    console.info(
        f"{plural(count, 'suggestion')}, {marked} of them marked for acceptance; "
        f"{plural(without, 'unmapped tenant')} {'has' if without == 1 else 'have'} none from "
        f"{least:g} on."
    )
    if count and output.format is Format.TABLE:
        console.info(_AS_A_FILE)
    if output.file is not None and output.format is not Format.TABLE:
        console.info(f"Look through {output.file}, then: kisi map accept {output.file}")
    raise typer.Exit(inventory.exit_code)
