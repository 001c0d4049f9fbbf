"""The commands that change rows: clients and applications, and as what they are billed."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.map.editing import (
    Editing,
    Offline,
    confirm,
    edited_mapping,
    editing_of,
    inventory_of,
    tell_missing,
)
from kisi.cli.options import shared_options
from kisi.cli.output import Console
from kisi.errors import ConfigError, ExitCode, Withheld

if TYPE_CHECKING:
    from kisi.model import Company

_SHOWN = 20

Id = Annotated[str | None, typer.Option(metavar="ID", help="The product of this category.")]


class Switch(StrEnum):
    """Billing of a client."""

    ON = "on"
    OFF = "off"


class UnitName(StrEnum):
    """`kisi.model.Unit`, without what importing the model would cost every `--help`."""

    DEVICE = "device"
    USER = "user"
    MAILBOX = "mailbox"


@shared_options()
def map_company(
    config: Path | None,
    console: Console,
    client: Annotated[
        str | None,
        typer.Argument(
            metavar="CLIENT",
            autocompletion=client_names,
            help="Change this client: its name, agreement (cw:1042) or a tenant. Without: add one.",
        ),
    ] = None,
    tenant: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE:TENANT", help="A tenant to add (repeatable)."),
    ] = None,
    remove_tenant: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE:TENANT", help="A tenant to take out (repeatable)."),
    ] = None,
    company: Annotated[
        str | None, typer.Option(metavar="ID", help="The PSA's company id or account number.")
    ] = None,
    agreement: Annotated[str | None, typer.Option(metavar="ID", help="Its agreement.")] = None,
    psa: options.PsaName = None,
    name: Annotated[
        str | None, typer.Option(help="What the client is called; default: as in the PSA.")
    ] = None,
    billing: Annotated[
        Switch | None, typer.Option(help="Whether it is billed; off for a new client.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Add a client, or change one.

    kisi map company --tenant hq:VSRV1 --company 250 --agreement 1042

    kisi map company Contoso --agreement 1077 --billing on
    """
    from kisi.mapping.edits import add_clients, change_clients, the_client
    from kisi.mapping.rules import tenant_ref, the_psa

    if client is None:
        needed = {
            "--tenant": tenant,
            "--company": company,
            "--agreement": agreement,
            "--name (with --offline)": name or not offline,
        }
        missing = ", ".join(option for option, value in needed.items() if not value)
        if missing:
            raise typer.BadParameter(
                f"A new client needs {missing}. To change one, name it: kisi map company CLIENT ..."
            )
    with edited_mapping(config, console, offline=offline) as editing:
        rows, sources = editing.rows, editing.editor.names.sources
        place = None if client is None else the_client(editing.editor.mapping, client)
        old = _new_client(editing, psa, company or "") if place is None else rows.companies[place]
        new = [tenant_ref(text, sources) for text in tenant or []]
        gone = [tenant_ref(text, sources) for text in remove_tenant or []]
        if unknown := [str(ref) for ref in gone if ref not in old.tenants]:
            raise ConfigError(
                f"{', '.join(unknown)}: no tenant of this client. mapping.toml was left as it is.",
                remedy="`kisi map export` shows each client's tenants.",
            )
        kept = [ref for ref in old.tenants if ref not in gone]
        changed = replace(
            old,
            name=name or old.name,
            tenants=(*kept, *(ref for ref in new if ref not in kept)),
            psa=the_psa(psa, rows.psas) if psa else old.psa,
            company=company or old.company,
            agreement=agreement or old.agreement,
            billing=old.billing if billing is None else billing is Switch.ON,
        )
        if place is None:
            add_clients(rows, [changed])
        else:
            change_clients(rows, {place: changed})


def _new_client(editing: Editing, psa: str | None, company: str) -> Company:
    """A client that is not billed yet, with its company's name in the PSA if that may be asked."""
    from kisi.mapping.rules import the_psa
    from kisi.model import Company

    psa = the_psa(psa or "", editing.rows.psas)
    found = editing.validator.company_of(psa, company) if editing.validator else None
    return Company(found.name if found else company, (), psa, company, "", billing=False)


@shared_options()
def map_billing(
    config: Path | None,
    console: Console,
    client: Annotated[
        str,
        typer.Argument(
            metavar="CLIENT",
            autocompletion=client_names,
            help="Its name, agreement (cw:1042) or a tenant; or a glob on names.",
        ),
    ],
    switch: Annotated[Switch, typer.Argument(metavar="on|off")],
    yes: options.Yes = False,
    offline: Offline = False,
) -> None:
    """Switch the billing of clients on or off.

    Off: nothing is read or written for it, and its lines stay as they are. On: the ids are proven
    first, and the next `kisi preview` shows what will be billed.
    """
    from kisi.mapping.changes import called
    from kisi.mapping.edits import change_clients, the_clients

    with edited_mapping(config, console, offline=offline) as editing:
        found = the_clients(editing.editor.mapping, client)
        changed = {
            place: replace(company, billing=switch is Switch.ON)
            for place in found
            if (company := editing.rows.companies[place]).billing is not (switch is Switch.ON)
        }
        if len(found) > 1 and changed:
            some = ", ".join(map(called, [*changed.values()][:_SHOWN]))
            more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            sentence = f'"{client}" names {len(changed)} clients: {some}{more}.'
            withheld = Withheld(
                f"{sentence} mapping.toml was left as it is.",
                remedy="Name one by the id in parentheses, or add --yes to switch all of them.",
            )
            confirm(f"{sentence} Switch the billing of all of them {switch}?", withheld, yes=yes)
        change_clients(editing.rows, changed)


@shared_options()
def map_renew(config: Path | None, console: Console, yes: options.Yes = False) -> None:
    """Move clients to what follows an ended agreement.

    It is shown first. A successor is the only free agreement of the company that runs today, or the
    only one with the old one's type and name. Where a person must choose, the choices are shown and
    nothing is moved.
    """
    from kisi.mapping.edits import change_clients
    from kisi.mapping.suggestions import renewals
    from kisi.render.map_lists import renewals_report
    from kisi.run.setup import opened

    with opened(config) as setup:
        editing = editing_of(setup.config, setup, console)
        inventory = inventory_of(setup, console, keys=False)
        found = renewals(editing.editor.mapping.companies, inventory, setup.rules().today)
        output.result(output.terminal_text(renewals_report(found), console), None)
        tell_missing(inventory, console)
        moves = {
            renewal.row: replace(renewal.client, agreement=renewal.successor.id)
            for renewal in found
            if renewal.successor is not None
        }
        if moves:
            clients = "1 client" if len(moves) == 1 else f"{len(moves)} clients"
            withheld = Withheld(
                f"{clients} could be moved; mapping.toml was left as it is.",
                remedy="`kisi map renew --yes` moves them.",
            )
            confirm(f"Move {clients}?", withheld, yes=yes)
            change_clients(editing.rows, moves)
            editing.save()
        elif not found:
            console.info("No client's agreement has ended.")
    open_ = len(found) - len(moves)
    raise typer.Exit(inventory.exit_code or (ExitCode.WITHHELD if open_ else ExitCode.OK))


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
        str | None, typer.Option("--all", metavar="ID", help="One product for everything.")
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
    if leave and client is None:
        raise typer.BadParameter(
            "--leave is for one client; name it with --client. An application that is never billed "
            "at all: kisi map application NAME --no-bill"
        )
    if leave is bool(products):
        raise typer.BadParameter(
            "Name the product with --all, or those of the categories"
            + (", or --leave; not both." if client else ".")
        )
    if client is not None and psa is not None:
        raise typer.BadParameter("A client has its own PSA; leave --psa out.")
    with edited_mapping(config, console, offline=offline) as editing:
        rows = editing.rows
        name = the_application(rows, application).name
        if client is None:
            set_product(rows, ProductRow(name, the_psa(psa or "", rows.psas), products))
        else:
            place = the_client(editing.editor.mapping, client)
            row = ProductRow(name, rows.companies[place].psa, products, bill=not leave)
            set_exception(rows, place, row)


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
        str | None, typer.Option(metavar="APPLICATION", help="As what this application is billed.")
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
    from kisi.mapping.edits import (
        remove_application,
        remove_exception,
        remove_product,
        the_application,
        the_client,
    )
    from kisi.mapping.rules import the_psa

    with edited_mapping(config, console, offline=True) as editing:
        rows = editing.rows
        place = None if client is None else the_client(editing.editor.mapping, client)
        if product is not None:
            remove_product(rows, the_application(rows, product).name, the_psa(psa or "", rows.psas))
        elif place is None:
            remove_application(rows, application or "")
        elif application is None:
            del rows.companies[place]
        else:
            remove_exception(rows, place, the_application(rows, application).name)
