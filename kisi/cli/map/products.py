"""`kisi map application`, `product` and `remove`: what is billed, and as what; rows taken out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options
from kisi.cli.completion import client_names
from kisi.cli.map.editing import Offline, edited_mapping
from kisi.cli.options import shared_options
from kisi.cli.output import Console

if TYPE_CHECKING:
    from kisi.cli.map.editing import Editing

Id = Annotated[str | None, typer.Option(metavar="ID", help="The product of this category.")]


class UnitName(StrEnum):
    """`kisi.model.Unit`, without what importing the model would cost every `--help`."""

    DEVICE = "device"
    USER = "user"
    MAILBOX = "mailbox"


@shared_options()
def map_application(
    config: Path | None,
    console: Console,
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
) -> None:
    """Add an application, or change one.

    What is not given stays as it is.

    kisi map application "Mail" --key "Kaspersky Security for Mail Server*" --no-bill
    """
    from kisi.mapping.edits import find_application, set_application, with_keys
    from kisi.model import Application, Unit

    with edited_mapping(config, console, offline=True) as editing:
        old = find_application(editing.rows, name) or Application(name)
        application = Application(
            old.name,
            tuple(key) if key else old.keys,
            Unit(unit or old.unit),
            bill=old.bill if bill is None else bill,
        )
        set_application(editing.rows, with_keys(application, add_key or ()))


@shared_options()
def map_product(
    config: Path | None,
    console: Console,
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
    offline: Offline = False,
) -> None:
    """Bill an application as one product, or as three by category.

    kisi map product "Kaspersky Endpoint Security" --all 1200
    """
    from kisi.mapping.edits import set_exception, set_product, the_application, the_client
    from kisi.mapping.rules import the_psa
    from kisi.model import Category, ProductRow

    given = {
        Category.ALL: all_,
        Category.WINDOWS_WORKSTATIONS: windows_workstations,
        Category.WINDOWS_SERVERS: windows_servers,
        Category.NON_WINDOWS: non_windows,
    }
    products = {category: product for category, product in given.items() if product}
    _refuse_contradictions(products=bool(products), leave=leave, client=client, psa=psa)
    with edited_mapping(config, console, offline=offline) as editing:
        rows = editing.rows
        name = the_application(rows, application).name
        if client is None:
            set_product(rows, ProductRow(name, the_psa(psa or "", rows.psas), products))
        else:
            place = the_client(editing.mapping, client)
            row = ProductRow(name, rows.companies[place].psa, products, bill=not leave)
            set_exception(rows, place, row)


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


@shared_options()
def map_remove(
    config: Path | None,
    console: Console,
    client: Annotated[
        str | None,
        typer.Argument(
            metavar="CLIENT",
            autocompletion=client_names,
            help="The client: its name, agreement (cw:1042) or a tenant.",
        ),
    ] = None,
    application: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The application with all its rows; with CLIENT: that client's exception.",
        ),
    ] = None,
    product: Annotated[
        str | None,
        typer.Option(metavar="APPLICATION", help="As what this application is billed."),
    ] = None,
    psa: options.PsaName = None,
) -> None:
    """Take rows out of mapping.toml.

    A client, a client's exception, an application, or what it is billed as. Nothing is sent: lines
    in the PSA stay as they are. The text before is kept as mapping.toml.bak.
    """
    if (product is not None) is (client is not None or application is not None):
        raise typer.BadParameter(
            "Name a CLIENT, --application NAME (or both: an exception), or --product APPLICATION."
        )
    with edited_mapping(config, console, offline=True) as editing:
        _remove(editing, client, application, product, psa)


def _remove(
    editing: Editing,
    client: str | None,
    application: str | None,
    product: str | None,
    psa: str | None,
) -> None:
    from kisi.mapping.edits import (
        remove_application,
        remove_exception,
        remove_product,
        the_application,
        the_client,
    )
    from kisi.mapping.rules import the_psa

    rows = editing.rows
    if product is not None:
        remove_product(rows, the_application(rows, product).name, the_psa(psa or "", rows.psas))
    elif client is None:
        remove_application(rows, application or "")
    elif application is None:
        del rows.companies[the_client(editing.mapping, client)]
    else:
        place = the_client(editing.mapping, client)
        remove_exception(rows, place, the_application(rows, application).name)
