"""`kisi map product`: as what an application is billed, in general or for one client."""

from __future__ import annotations

from typing import Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.map.editing import Offline

Id = Annotated[str | None, typer.Option(metavar="ID", help="The product of this category.")]


def map_product(
    application: Annotated[
        str, typer.Argument(metavar="APPLICATION", help="The name of an [[application]].")
    ],
    all_: Annotated[
        str | None,
        typer.Option("--all", metavar="ID", help="One product for everything."),
    ] = None,
    windows_workstations: Id = None,
    windows_servers: Id = None,
    non_windows: Id = None,
    psa: options.PsaName = None,
    client: Annotated[
        str | None,
        typer.Option(
            metavar="CLIENT",
            autocompletion=client_names,
            help="An exception for this client alone.",
        ),
    ] = None,
    leave: Annotated[
        bool,
        typer.Option("--leave", help="With --client: leave its lines of this application alone."),
    ] = False,
    config: options.Config = None,
    offline: Offline = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    no_color: options.NoColor = False,
) -> None:
    """Bill an application as one product, or as three by category.

    kisi map product "Kaspersky Endpoint Security" --all 1200
    """
    from kisi.cli.map.editing import open_mapping
    from kisi.mapping.accept import the_psa
    from kisi.mapping.billed import set_exception, set_product, the_application
    from kisi.mapping.clients import the_client
    from kisi.model import Category, ProductRow

    given = {
        Category.ALL: all_,
        Category.WINDOWS_WORKSTATIONS: windows_workstations,
        Category.WINDOWS_SERVERS: windows_servers,
        Category.NON_WINDOWS: non_windows,
    }
    products = {category: product for category, product in given.items() if product}
    _refuse_contradictions(products=bool(products), leave=leave, client=client, psa=psa)
    voice = output.voice(quiet=quiet, verbose=verbose, no_color=no_color)
    with open_mapping(config, voice, offline=offline) as editing:
        draft = editing.editor.draft
        name = the_application(draft.mapping, application).name
        if client is None:
            row = ProductRow(name, the_psa(psa or "", draft.psas), products)
            editing.carry_out(set_product(draft, row))
        else:
            index = the_client(draft.mapping, client)
            row = ProductRow(name, draft.mapping.companies[index].psa, products, bill=not leave)
            editing.carry_out(set_exception(draft, index, row))


def _refuse_contradictions(
    *, products: bool, leave: bool, client: str | None, psa: str | None
) -> None:
    if leave and client is None:
        raise typer.BadParameter(
            "--leave is for one client; name it with --client. An application that is never billed "
            "at all: kisi map application NAME --no-bill"
        )
    if leave is products:
        raise typer.BadParameter(
            "Name the product with --all, or those of the categories"
            + (", or --leave; not both." if client else ".")
        )
    if client is not None and psa is not None:
        raise typer.BadParameter("A client has its own PSA; leave --psa out.")
