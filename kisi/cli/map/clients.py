"""`kisi map company`, `billing` and `renew`: clients are added, changed, switched and moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.map.editing import Editing, Offline, confirmed, edited_mapping
from kisi.cli.options import shared_options
from kisi.cli.output import Console
from kisi.errors import ConfigError, ExitCode, Withheld

if TYPE_CHECKING:
    from kisi.model import Company, TenantRef

_SHOWN = 20


class Switch(StrEnum):
    """Billing of a client."""

    ON = "on"
    OFF = "off"


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
    from kisi.mapping.rules import the_psa

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
        rows = editing.rows
        place = None if client is None else the_client(editing.mapping, client)
        old = _new_client(editing, psa, company or "") if place is None else rows.companies[place]
        new = replace(
            old,
            name=name or old.name,
            tenants=_tenants(old, editing, added=tenant or [], removed=remove_tenant or []),
            psa=the_psa(psa, rows.psas) if psa else old.psa,
            company=company or old.company,
            agreement=agreement or old.agreement,
            billing=old.billing if billing is None else billing is Switch.ON,
        )
        if place is None:
            add_clients(rows, [new])
        else:
            change_clients(rows, {place: new})


def _new_client(editing: Editing, psa: str | None, company: str) -> Company:
    """A client that is not billed yet, with its company's name in the PSA if that may be asked."""
    from kisi.mapping.rules import the_psa
    from kisi.model import Company

    psa = the_psa(psa or "", editing.rows.psas)
    found = editing.validator.company_of(psa, company) if editing.validator else None
    return Company(found.name if found else company, (), psa, company, "", billing=False)


def _tenants(
    old: Company, editing: Editing, *, added: Sequence[str], removed: Sequence[str]
) -> tuple[TenantRef, ...]:
    from kisi.mapping.rules import tenant_ref

    new = [tenant_ref(text, editing.sources) for text in added]
    gone = [tenant_ref(text, editing.sources) for text in removed]
    unknown = [str(ref) for ref in gone if ref not in old.tenants]
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: no tenant of this client. mapping.toml was left as it is.",
            remedy="`kisi map export` shows each client's tenants.",
        )
    kept = [ref for ref in old.tenants if ref not in gone]
    return (*kept, *(ref for ref in new if ref not in kept))


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
    from kisi.mapping.edits import change_clients, the_clients

    billing = switch is Switch.ON
    with edited_mapping(config, console, offline=offline) as editing:
        found = the_clients(editing.mapping, client)
        companies = {place: editing.rows.companies[place] for place in found}
        changed = {
            place: replace(company, billing=billing)
            for place, company in companies.items()
            if company.billing is not billing
        }
        if len(found) > 1:
            _ask_to_switch(client, list(changed.values()), switch, yes=yes)
        change_clients(editing.rows, changed)


def _ask_to_switch(wanted: str, changed: Sequence[Company], switch: Switch, *, yes: bool) -> None:
    """Several clients are switched only if a person says so.

    Raises:
        Withheld: Nobody said so.
    """
    from kisi.mapping.changes import called
    from kisi.redaction import safe_text

    if yes or not changed:
        return
    some = ", ".join(called(company) for company in changed[:_SHOWN])
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    sentence = f'"{wanted}" names {len(changed)} clients: {some}{more}.'
    if confirmed(f"{safe_text(sentence)} Switch the billing of all of them {switch}?"):
        return
    raise Withheld(
        f"{sentence} mapping.toml was left as it is.",
        remedy="Name one by the id in parentheses, or add --yes to switch all of them.",
    )


@shared_options()
def map_renew(
    config: Path | None,
    console: Console,
    yes: options.Yes = False,
) -> None:
    """Move clients to what follows an ended agreement.

    It is shown first. A successor is the only free agreement of the company that runs today, or the
    only one with the old one's type and name. Where a person must choose, the choices are shown and
    nothing is moved.
    """
    from kisi.cli.map.editing import editor_of, inventory_of, tell_missing
    from kisi.cli.output import OutputOptions, terminal_text
    from kisi.mapping.edits import change_clients
    from kisi.mapping.validator import SystemValidator, renewals
    from kisi.render.map_lists import renewals_report
    from kisi.run.setup import opened

    with opened(config) as setup:
        editor, today = editor_of(setup.config), setup.rules().today
        inventory = inventory_of(setup, console, keys=False)
        found = renewals(editor.mapping.companies, inventory, today)
        wish = OutputOptions(options.Format.TABLE)
        output.result(terminal_text(renewals_report(found), console, wish), None)
        tell_missing(inventory, console)
        moves = {
            renewal.row: replace(renewal.client, agreement=renewal.successor.id)
            for renewal in found
            if renewal.successor is not None
        }
        if moves:
            _ask_to_move(len(moves), yes=yes)
            validator = SystemValidator(setup.sources, setup.psas, today)
            editing = Editing(editor, editor.edit(), tuple(setup.sources), validator, console)
            change_clients(editing.rows, moves)
            editing.save()
        elif not found:
            console.info("No client's agreement has ended.")
    open_ = len(found) - len(moves)
    raise typer.Exit(inventory.exit_code or (ExitCode.WITHHELD if open_ else ExitCode.OK))


def _ask_to_move(moves: int, *, yes: bool) -> None:
    """The moves are made only if a person says so.

    Raises:
        Withheld: Nobody said so.
    """
    clients = "1 client" if moves == 1 else f"{moves} clients"
    if yes or confirmed(f"Move {clients}?"):
        return
    raise Withheld(
        f"{clients} could be moved; mapping.toml was left as it is.",
        remedy="`kisi map renew --yes` moves them.",
    )
