"""The commands that change rows of mapping.toml: open, validate, save, say what was done."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kisi.cli import options, output
from kisi.cli.completion import client_names
from kisi.cli.options import shared_options
from kisi.cli.output import Console
from kisi.errors import ConfigError, ExitCode, StateError, Withheld

if TYPE_CHECKING:
    from kisi.config import Config
    from kisi.mapping.changes import MappingEdit
    from kisi.mapping.file import MappingEditor
    from kisi.mapping.inventory import Inventory
    from kisi.mapping.validator import SystemValidator
    from kisi.model import Company
    from kisi.run.setup import Setup

SHOWN = 20
"""Clients, or sentences of a change, that are said."""

Texts = list[str] | None
OnOff = Literal["on", "off"]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Do not ask the systems whether the ids exist and are active."),
]


def client_argument(text: str) -> Any:  # noqa: ANN401 - as `typer.Argument`
    """An argument that names one client, and completes its name."""
    return typer.Argument(metavar="CLIENT", autocompletion=client_names, help=text)


def _option(metavar: str, text: str, *names: str) -> Any:  # noqa: ANN401 - as `typer.Option`
    return typer.Option(*names, metavar=metavar, help=text)


Product = Annotated[str | None, _option("ID", "The product of this category.")]


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

    names = ConfigNames(config.sources, config.psa, config.global_sources)
    editor = MappingEditor(config.mapping_path, names)
    validator, today = None, datetime.now(config.timezone).date()
    if setup is not None:
        validator = SystemValidator(setup.sources, setup.psas, today)
    return Editing(editor, editor.edit(), validator, console, today)


def inventory_of(setup: Setup, console: Console, *, keys: bool = True) -> Inventory:
    """Reads both sides, with progress bars on a terminal; ^C raises `Interrupted`."""
    from kisi.cli.running import ProgressBars, handle_signals
    from kisi.mapping.inventory import take_inventory

    said = "Stopping: nothing is changed."
    with handle_signals(said) as stop, ProgressBars(console) as bars:
        inventory = take_inventory(
            setup.rules().mapping,
            setup.sources,
            setup.psas,
            keys=keys,
            former=known_to_the_journal(setup)[0],
            progress=stop.checked(bars.report),
        )
        stop.check()
    return inventory


def known_to_the_journal(
    setup: Setup,
) -> tuple[Collection[tuple[str, str]], Collection[tuple[str, str]]]:
    """The companies that ever were clients; the agreements on which the last run left all at 0.

    Each with its PSA. Where the journal cannot be read, nothing is known.
    """
    from kisi.journal import Journal, Subject

    with (
        suppress(StateError),
        Journal.open(setup.config.state_dir, readonly=True) as journal,
    ):
        report = journal.latest(Subject.REPORT) or {}
        empty = {
            (company["psa"], company["agreement"])
            for company in report.get("companies", ())
            if company["current"] and not any(line["after"] for line in company["lines"])
        }
        return {(x.psa, x.company) for x in journal.clients(unmapped=True)}, empty
    return (), ()


def tell_missing(inventory: Inventory, console: Console) -> None:
    """Says what could not be read; the rest was shown."""
    from kisi.redaction import safe_text

    for sentence in inventory.missing:
        console.warn(safe_text(sentence))


def confirm(question: str, withheld: Withheld, *, yes: bool) -> None:
    """Goes on only with `--yes`, or if a person on a terminal says so; else raises `withheld`."""
    from kisi.redaction import safe_text

    on_a_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    if not (yes or (on_a_terminal and typer.confirm(safe_text(question), err=True))):
        raise withheld


@shared_options()
def map_company(
    config: Path | None,
    console: Console,
    client: Annotated[
        str | None,
        client_argument(
            "Change this client: its name, agreement (cw:1042) or a tenant. Without: add one."
        ),
    ] = None,
    tenant: Annotated[Texts, _option("SOURCE:TENANT", "A tenant to add (repeatable).")] = None,
    remove_tenant: Annotated[
        Texts, _option("SOURCE:TENANT", "A tenant to take out (repeatable).")
    ] = None,
    company: Annotated[str | None, _option("ID", "The PSA's company id or account number.")] = None,
    agreement: Annotated[str | None, _option("ID", "Its agreement.")] = None,
    psa: options.PsaName = None,
    name: Annotated[
        str | None, typer.Option(help="What the client is called; default: as in the PSA.")
    ] = None,
    billing: Annotated[
        OnOff | None, typer.Option(help="Whether it is billed; off for a new client.")
    ] = None,
    offline: Offline = False,
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
    with edited_mapping(config, console, offline=offline) as editing:
        rows = editing.rows
        place = None if client is None else rows.the_client(client)
        old = _new_client(editing, psa, company or "") if place is None else rows.companies[place]
        new = [rows.the_tenant(text) for text in tenant or []]
        gone = [rows.the_tenant(text) for text in remove_tenant or []]
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
            psa=rows.the_psa(psa) if psa else old.psa,
            company=company or old.company,
            agreement=agreement or old.agreement,
            billing=old.billing if billing is None else billing == "on",
        )
        if place is None:
            rows.add_clients([changed])
        else:
            rows.change_clients({place: changed})


def _new_client(editing: Editing, psa: str | None, company: str) -> Company:
    from kisi.model import Company

    psa = editing.rows.the_psa(psa)
    found = editing.validator.company_of(psa, company) if editing.validator else None
    return Company(found.name if found else company, (), psa, company, "", billing=False)


@shared_options()
def map_renew(config: Path | None, console: Console, yes: options.Yes = False) -> None:
    """Move clients to what follows an ended agreement.

    kisi map renew

    It is shown first. A successor is the only free agreement of the company that runs today, or the
    only one with the old one's type and name. Where a person must choose, the choices are shown and
    nothing is moved.
    """
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
            editing.rows.change_clients(moves)
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
    key: Annotated[Texts, _option("GLOB", "Key names of it (repeatable); default: NAME*.")] = None,
    add_key: Annotated[Texts, _option("GLOB", "Key names that are added to those it has.")] = None,
    unit: Annotated[
        Literal["device", "user", "mailbox"] | None,
        typer.Option(help="What is counted; default: device."),
    ] = None,
    bill: Annotated[
        bool | None, typer.Option("--bill/--no-bill", help="Whether it is ever billed.")
    ] = None,
) -> None:
    """Add an application, or change one.

    kisi map application "Mail" --key "Kaspersky Security for Mail*" --no-bill

    What is not given stays as it is.
    """
    from kisi.mapping.changes import with_keys
    from kisi.model import Application, Unit

    with edited_mapping(config, console, offline=True) as editing:
        old = editing.rows.applications.get(name.casefold()) or Application(name)
        application = Application(
            old.name,
            tuple(key) if key else old.keys,
            Unit(unit or old.unit),
            bill=old.bill if bill is None else bill,
        )
        editing.rows.set_application(with_keys(application, add_key or ()))


@shared_options()
def map_product(
    config: Path | None,
    console: Console,
    application: Annotated[
        str, typer.Argument(metavar="APPLICATION", help="The name of an [[application]].")
    ],
    all_: Annotated[str | None, _option("ID", "One product for everything.", "--all")] = None,
    windows_workstations: Product = None,
    windows_servers: Product = None,
    non_windows: Product = None,
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
    count: Annotated[
        str | None,
        _option("POLICY", "Which number is billed: today, peak, average or day:N."),
    ] = None,
    offline: Offline = False,
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
            rows.set_product(ProductRow(name, rows.the_psa(psa), products, count=count or ""))
        else:
            place = rows.the_client(client)
            psa = rows.companies[place].psa
            row = ProductRow(name, psa, products, bill=not leave, count=count or "")
            rows.set_exception(place, row)


@shared_options()
def map_remove(
    config: Path | None,
    console: Console,
    client: Annotated[
        str | None, client_argument("The client: its name, agreement (cw:1042) or a tenant.")
    ] = None,
    application: Annotated[
        str | None,
        _option("NAME", "The application with all its rows; with CLIENT: that client's exception."),
    ] = None,
    product: Annotated[
        str | None, _option("APPLICATION", "As what this application is billed.")
    ] = None,
    psa: options.PsaName = None,
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
            rows.remove_product(rows.the_application(product).name, rows.the_psa(psa))
        elif place is None:
            rows.remove_application(application or "")
        elif application is None:
            del rows.companies[place]
        else:
            rows.remove_exception(place, rows.the_application(application).name)
