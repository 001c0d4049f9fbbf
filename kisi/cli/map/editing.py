"""The commands that change rows of mapping.toml: open, validate, save, say what was done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from kisi.cli import options
from kisi.cli.options import Texts, client_argument, client_option, flag, option, shared_options
from kisi.cli.output import Console
from kisi.errors import ConfigError, Withheld

if TYPE_CHECKING:
    from kisi.config import Config
    from kisi.mapping.changes import MappingEdit
    from kisi.mapping.file import MappingEditor
    from kisi.mapping.validator import SystemValidator
    from kisi.model import Company
    from kisi.run.setup import Setup

SHOWN = 20
"""Clients, or sentences of a change, that are said."""

OnOff = Literal["on", "off"]
OFFLINE = flag("--offline", "Do not ask the systems whether the ids exist and are active.")
_PRODUCT = option("ID", "The product of this category.")


@dataclass(frozen=True, slots=True)
class Editing:
    """mapping.toml, opened to be changed: the file, and what its rows are to be."""

    editor: MappingEditor
    rows: MappingEdit
    validator: SystemValidator | None
    """Looks up ids in the systems; None with `--offline`."""
    console: Console
    today: date

    def save(self) -> None:
        """Validates the changed rows, saves them, says what was done; or raises a `KisiError`."""
        from kisi.redaction import safe_text

        change = self.rows.change()
        self.editor.check(change.text)
        if self.validator is not None:
            self.validator.refuse(change)
        if not self.editor.save(change.text):
            self.console.info("Nothing to change: mapping.toml already says this.")
            return
        shown = change.done if self.console.verbose else change.done[:SHOWN]
        for sentence in shown:
            self.console.info(safe_text(sentence))
        if len(change.done) > len(shown):
            self.console.info(f"... and {len(change.done) - len(shown)} more (-v shows them all).")
        if self.validator is None and (change.companies or change.products):
            self.console.info(
                "The ids were not validated (--offline); `kisi check --online` does it."
            )


@contextmanager
def edited_mapping(config: Path | None, console: Console, *, offline: bool) -> Iterator[Editing]:
    """Opens mapping.toml and, unless `offline`, the systems and secrets; saves what was changed."""
    from kisi.run.setup import load, opened

    with nullcontext() if offline else opened(config) as setup:
        editing = editing_of(setup.config if setup else load(config)[0], setup, console)
        yield editing
        editing.save()


def editing_of(config: Config, setup: Setup | None, console: Console) -> Editing:
    """The mapping file of a configuration, to be changed; without a `setup` no system is asked."""
    from kisi.mapping.file import ConfigNames, MappingEditor
    from kisi.mapping.validator import SystemValidator

    editor = MappingEditor(config.mapping_path, ConfigNames.of(config))
    validator, today = None, datetime.now(config.timezone).date()
    if setup is not None:
        validator = SystemValidator(setup.sources, setup.psas, today)
    return Editing(editor, editor.edit(), validator, console, today)


def confirm(question: str, withheld: str, remedy: str, *, yes: bool) -> None:
    """Goes on only with `--yes`, or if a person on a terminal says so; else raises `Withheld`."""
    from kisi.redaction import safe_text

    on_a_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not (yes or (on_a_terminal and typer.confirm(safe_text(question), err=True))):
        raise Withheld(f"{withheld} mapping.toml was left as it is.", remedy=remedy)


@shared_options()
def map_company(
    config: Path | None,
    console: Console,
    client: str | None = client_argument(
        "Change this client: its name, agreement (cw:1042) or a tenant. Without: add one."
    ),
    tenant: Texts = option("SOURCE:TENANT", "A tenant to add (repeatable)."),
    remove_tenant: Texts = option("SOURCE:TENANT", "A tenant to take out (repeatable)."),
    company: str | None = option("ID", "The PSA's company id or account number."),
    agreement: str | None = option("ID", "Its agreement."),
    psa: str | None = options.PSA,
    name: str | None = typer.Option(
        None, help="What the client is called; default: as in the PSA."
    ),
    billing: OnOff | None = typer.Option(None, help="Whether it is billed; off for a new client."),
    offline: bool = OFFLINE,
) -> None:
    """Add a client, or change one.

    kisi map company --tenant hq:VSRV1 --company 250 --agreement 1042
    kisi map company Contoso --agreement 1077 --billing on
    """
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
    from kisi.model import Company

    with edited_mapping(config, console, offline=offline) as editing:
        rows, ask = editing.rows, editing.validator
        place = None if client is None else rows.the_client(client)
        if place is None:
            where, ident = rows.names.the_psa(psa), company or ""
            found = ask.company_of(where, ident) if ask else None
            old = Company(found.name if found else ident, (), where, ident, "", billing=False)
        else:
            old = rows.companies[place]
        new = [rows.names.the_tenant(text) for text in tenant or []]
        gone = [rows.names.the_tenant(text) for text in remove_tenant or []]
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
            psa=rows.names.the_psa(psa) if psa else old.psa,
            company=company or old.company,
            agreement=agreement or old.agreement,
            billing=old.billing if billing is None else billing == "on",
        )
        if place is None:
            rows.add_clients([changed])
        else:
            rows.change_clients({place: changed})


@shared_options()
def map_application(
    config: Path | None,
    console: Console,
    name: str = typer.Argument(metavar="NAME", help="Your name for it."),
    key: Texts = option("GLOB", "Key names of it (repeatable); default: NAME*."),
    add_key: Texts = option("GLOB", "Key names that are added to those it has."),
    unit: Literal["device", "user", "mailbox"] | None = typer.Option(
        None, help="What is counted; default: device."
    ),
    bill: bool | None = flag("--bill/--no-bill", "Whether it is ever billed.", default=None),
) -> None:
    """Add an application, or change one.

    kisi map application "Mail" --key "Kaspersky Security for Mail*" --no-bill

    What is not given stays as it is.
    """
    from kisi.mapping.changes import with_keys
    from kisi.model import Application, Unit

    with edited_mapping(config, console, offline=True) as editing:
        old = editing.rows.applications.get(name.casefold()) or Application(name)
        application = replace(
            old,
            keys=tuple(key) if key else old.keys,
            unit=Unit(unit or old.unit),
            bill=old.bill if bill is None else bill,
        )
        editing.rows.set_application(with_keys(application, add_key or ()))


@shared_options()
def map_product(
    config: Path | None,
    console: Console,
    application: str = typer.Argument(
        metavar="APPLICATION", help="The name of an [[application]]."
    ),
    all_: str | None = option("ID", "One product for everything.", "--all"),
    windows_workstations: str | None = _PRODUCT,
    windows_servers: str | None = _PRODUCT,
    non_windows: str | None = _PRODUCT,
    psa: str | None = options.PSA,
    client: str | None = client_option("An exception for this client alone.", "--client"),
    leave: bool = flag("--leave", "With --client: leave its lines of this application alone."),
    count: str | None = option("POLICY", "Which number is billed: today, peak, average or day:N."),
    offline: bool = OFFLINE,
) -> None:
    """Bill an application as one product, or as three by category.

    kisi map product "Kaspersky Endpoint Security" --all 1200
    kisi map product "Kaspersky Endpoint Security" --client Contoso --leave
    """
    from kisi.model import Category, ProductRow

    given = zip(Category, (all_, windows_workstations, windows_servers, non_windows), strict=True)
    products = {category: product for category, product in given if product}
    if leave and client is None:
        raise typer.BadParameter(
            "--leave is for one client; name it with --client. An application that is never billed "
            "at all: kisi map application NAME --no-bill"
        )
    if leave is bool(products or count):
        raise typer.BadParameter(
            "Name the product with --all, or those of the categories, or a --count"
            + (", or --leave; not both." if client else ".")
        )
    if client is not None and psa is not None:
        raise typer.BadParameter("A client has its own PSA; leave --psa out.")
    with edited_mapping(config, console, offline=offline) as editing:
        rows = editing.rows
        name = rows.the_application(application).name
        if client is None:
            psa = rows.names.the_psa(psa)
            rows.set_product(ProductRow(name, psa, products, count=count or ""))
        else:
            place = rows.the_client(client)
            psa = rows.companies[place].psa
            row = ProductRow(name, psa, products, bill=not leave, count=count or "")
            rows.set_exception(place, row)


@shared_options()
def map_remove(
    config: Path | None,
    console: Console,
    client: str | None = client_argument("The client: its name, agreement (cw:1042) or a tenant."),
    application: str | None = option(
        "NAME", "The application with all its rows; with CLIENT: that client's exception."
    ),
    product: str | None = option("APPLICATION", "As what this application is billed."),
    psa: str | None = options.PSA,
) -> None:
    """Take rows out of mapping.toml.

    kisi map remove Contoso
    kisi map remove --application "Mail"

    A client, a client's exception, an application, or what it is billed as. Nothing is sent: lines
    in the PSA stay as they are. The text before is kept as mapping.toml.bak.
    """
    if (product is not None) is (client is not None or application is not None):
        raise typer.BadParameter(
            "Name a CLIENT, --application NAME (or both: an exception), or --product APPLICATION."
        )
    with edited_mapping(config, console, offline=True) as editing:
        rows = editing.rows
        place = None if client is None else rows.the_client(client)
        if product is not None:
            rows.remove_product(rows.the_application(product).name, rows.names.the_psa(psa))
        elif place is None:
            rows.remove_application(application or "")
        elif application is None:
            del rows.companies[place]
        else:
            rows.remove_exception(place, rows.the_application(application).name)


@shared_options()
def map_billing(
    config: Path | None,
    console: Console,
    client: str = client_argument(
        "Its name, agreement (cw:1042) or a tenant; or a glob on names.", ...
    ),
    switch: OnOff = typer.Argument(metavar="on|off"),
    yes: bool = options.YES,
    offline: bool = OFFLINE,
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
            remedy = "Name one by the id in parentheses, or add --yes to switch all of them."
            question = f"{sentence} Switch the billing of all of them {switch}?"
            confirm(question, sentence, remedy, yes=yes)
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
    tenant: str = typer.Argument(metavar="SOURCE:TENANT", help="The tenant."),
    note: str = option("TEXT", "Why; for people.", default=""),
    undo: bool = flag("--undo", "Report it as unmapped again."),
    offline: bool = OFFLINE,
) -> None:
    """Never bill a tenant: your own, a lab, a demo.

    kisi map ignore hq:VSRV1 --note "our own"

    Only `kisi map list` still names it.
    """
    from kisi.mapping.rules import UNTOUCHED
    from kisi.model import IgnoredTenant

    with edited_mapping(config, console, offline=offline or undo) as editing:
        ref = editing.rows.names.the_tenant(tenant)
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
    client: str = client_argument("Its name, agreement (cw:1042) or a tenant.", ...),
    on: str | None = option("YYYY-MM-DD", "Its last day; by default today."),
    bill_period: bool | None = flag(
        "--bill-period/--no-bill-period",
        "Whether the period that runs now is billed to its end; a terminal is asked.",
        default=None,
    ),
    undo: bool = flag("--undo", "It stays after all."),
    offline: bool = OFFLINE,
) -> None:
    """End a client: after its last day its lines go to 0.

    kisi map leave Contoso --on 2026-11-30

    They are on hold as `left` until you accept that. Another client may name its tenants before,
    and has them from the next day on.
    """
    from kisi.mapping.changes import called
    from kisi.mapping.rules import UNTOUCHED

    last = options.day(on, "--on")
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
            until = _last_day(editing, old, last or editing.today, bill_period)
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
