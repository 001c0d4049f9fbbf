"""`kisi map`: what is billed to whom."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.options import Format

map_app = typer.Typer(
    help="Map tenants to clients and applications to products (mapping.toml).",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@map_app.callback()
def map_root() -> None:
    """Map tenants to clients and applications to products (mapping.toml)."""


@map_app.command("list")
def map_list(
    config: options.Config = None,
    unmapped: Annotated[
        bool, typer.Option("--unmapped", help="Only what nothing is mapped to.")
    ] = False,
    format_: options.As = Format.TABLE,
    json: options.Json = False,
    output_file: options.Output = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """List tenants, key names, companies, agreements and products with their ids. Writes nothing.

    Everything a first mapping.toml needs, also before there is one.
    """
    from kisi.cli.report import Wish, show, terminal_text
    from kisi.cli.setup import opened
    from kisi.mapping.inventory import take_inventory
    from kisi.render.inventory import inventory_csv, inventory_document, inventory_report
    from kisi.render.plan_json import dumps
    from kisi.render.text import safe_text

    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with opened(config) as setup:
        inventory = take_inventory(setup.mapping, setup.sources, setup.psas)
    if unmapped:
        inventory = inventory.only_unmapped()
    wish = Wish(output.chosen(format_, json=json), output_file)
    show(
        {
            Format.TABLE: lambda: terminal_text(inventory_report(inventory), voice, wish),
            Format.JSON: lambda: dumps(inventory_document(inventory)),
            Format.CSV: lambda: inventory_csv(inventory),
        },
        wish,
    )
    for sentence in inventory.missing:
        voice.insist(safe_text(sentence))
    raise typer.Exit(inventory.exit_code)
