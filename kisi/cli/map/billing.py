"""The commands that say which clients and tenants are billed: on, off, never, no more."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kisi.cli import options
from kisi.cli.map.editing import (
    SHOWN,
    Editing,
    Offline,
    OnOff,
    client_argument,
    confirm,
    edited_mapping,
)
from kisi.cli.options import shared_options
from kisi.cli.output import Console
from kisi.errors import ConfigError, Withheld

if TYPE_CHECKING:
    from kisi.model import Company


@shared_options()
def map_billing(
    config: Path | None,
    console: Console,
    client: Annotated[
        str, client_argument("Its name, agreement (cw:1042) or a tenant; or a glob on names.")
    ],
    switch: Annotated[OnOff, typer.Argument(metavar="on|off")],
    yes: options.Yes = False,
    offline: Offline = False,
) -> None:
    """Switch the billing of clients on or off.

    kisi map billing Contoso on

    Off: nothing is read or written for it, and its lines stay as they are. On: the ids are proven
    first, and the next `kisi preview` shows what will be billed.
    """
    from kisi.counting.notes import some
    from kisi.mapping.changes import called

    with edited_mapping(config, console, offline=offline) as editing:
        found = editing.rows.the_clients(client)
        changed = {
            place: replace(company, billing=switch == "on")
            for place in found
            if (company := editing.rows.companies[place]).billing is not (switch == "on")
        }
        if len(found) > 1 and changed:
            names = some([*map(called, changed.values())], SHOWN)
            sentence = f'"{client}" names {len(changed)} clients: {names}.'
            withheld = Withheld(
                f"{sentence} mapping.toml was left as it is.",
                remedy="Name one by the id in parentheses, or add --yes to switch all of them.",
            )
            confirm(f"{sentence} Switch the billing of all of them {switch}?", withheld, yes=yes)
        editing.rows.change_clients(changed)
    if switch == "off" and changed:
        one = next(iter(changed.values()))
        here = f"{one.psa}:{one.agreement}" if len(changed) == 1 else "CLIENT"
        console.info(
            "Its lines stay in the PSA as they are, and are invoiced on. If the client has left, "
            f"set them to 0 there yourself; or switch it on again, and kisi map leave {here}"
        )


@shared_options()
def map_ignore(
    config: Path | None,
    console: Console,
    tenant: Annotated[str, typer.Argument(metavar="SOURCE:TENANT", help="The tenant.")],
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why; for people.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Report it as unmapped again.")] = False,
    offline: Offline = False,
) -> None:
    """Never bill a tenant: your own, a lab, a demo.

    kisi map ignore hq:VSRV1 --note "our own"

    Only `kisi map list` still names it.
    """
    from kisi.mapping.rules import UNTOUCHED
    from kisi.model import IgnoredTenant

    with edited_mapping(config, console, offline=offline or undo) as editing:
        ref = editing.rows.the_tenant(tenant)
        if undo:
            editing.rows.heed_tenant(ref)
            return
        if editing.validator is not None and editing.validator.tenant(ref) is None:
            raise ConfigError(
                f"sources.{ref.source} has no tenant {tenant!r}. {UNTOUCHED}",
                remedy="`kisi map list` shows the tenants.",
            )
        editing.rows.ignore_tenant(IgnoredTenant(ref, note))


@shared_options()
def map_leave(
    config: Path | None,
    console: Console,
    client: Annotated[str, client_argument("Its name, agreement (cw:1042) or a tenant.")],
    on: Annotated[
        datetime | None,
        typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="Its last day; default: today."),
    ] = None,
    bill_period: Annotated[
        bool | None,
        typer.Option(
            "--bill-period/--no-bill-period",
            help="Whether the period that runs now is billed to its end; a terminal is asked.",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="It stays after all.")] = False,
    offline: Offline = False,
) -> None:
    """End a client: after its last day its lines go to 0.

    kisi map leave Contoso --on 2026-11-30

    They are on hold as `left` until you accept that. Another client may name its tenants before,
    and has them from the next day on.
    """
    from kisi.mapping.changes import called
    from kisi.mapping.rules import UNTOUCHED

    with edited_mapping(config, console, offline=offline or undo) as editing:
        place = editing.rows.the_client(client)
        old, until = editing.rows.companies[place], None
        if not undo and not old.billing:
            raise ConfigError(
                f"The billing of {called(old)} is off, so that kisi leaves its lines as "
                f"they are. {UNTOUCHED}",
                remedy=f"Set them to 0 on agreement {old.agreement} in psa.{old.psa} yourself, "
                f"then: kisi map remove {old.psa}:{old.agreement}. Or first: kisi map billing "
                f"{old.psa}:{old.agreement} on",
            )
        if not undo:
            until = _last_day(editing, old, on.date() if on else editing.today, bill_period)
        editing.rows.change_clients({place: replace(old, until=until)})
    if until is not None:
        console.info(
            f"After {until} its lines are to go to 0; each is on hold (left) until you accept "
            "that. Another client may name its tenants from now on, and has them after that day. "
            "Once the lines are 0, `kisi map list` offers to take its row out."
        )


def _last_day(editing: Editing, client: Company, day: date, bill_period: bool | None) -> date:
    """The last day of a client, with the end of the running period where that is still billed.

    A PSA that does not say when it invoices next does so on the 1st.
    """
    from kisi.mapping.changes import called
    from kisi.redaction import safe_text

    if editing.validator is None:
        if bill_period:
            raise typer.BadParameter("--bill-period asks the PSA; leave --offline out.")
        return day
    first = (editing.today.replace(day=1) + timedelta(days=32)).replace(day=1)
    ends = (editing.validator.next_invoice(client) or first) - timedelta(days=1)
    if ends <= day:
        return day
    if bill_period is None and sys.stdin.isatty() and sys.stderr.isatty():
        question = f"The period of {called(client)} runs to {ends}. Is all of it still billed?"
        bill_period = typer.confirm(safe_text(question), default=None, err=True)
    if bill_period is None:
        editing.console.info(
            f"The running period is billed to {day} and not to its end, {ends}; to bill all of "
            "it: --bill-period"
        )
    return ends if bill_period else day
