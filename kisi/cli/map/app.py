"""`kisi map`: its commands; here those that show both sides as lists, or the mapping as a table."""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from kisi.cli import options
from kisi.cli.map import editing
from kisi.cli.map.editing import OFFLINE, confirm, edited_mapping, editing_of
from kisi.cli.options import Format, RowsFormat, flag, option, shared_options
from kisi.cli.output import Console, result, show, terminal_text
from kisi.errors import ConfigError, ExitCode, StateError

if TYPE_CHECKING:
    from kisi.mapping.inventory import Inventory
    from kisi.run.setup import Setup

_NEXT = """\
What to do next:
  kisi map suggest --format csv --output suggestions.csv
  kisi map accept suggestions.csv          (after you have looked through it)
  kisi map company --tenant SOURCE:TENANT --company ID --agreement ID
  kisi map product APPLICATION --all ID
  kisi map billing CLIENT on               (new clients are not billed yet)
On a terminal, `kisi map` asks client by client. `kisi map list` shows all ids."""

_NOTHING_STALE = "Every mapped tenant, company, agreement and product is there and active."
_AS_A_FILE = """\
+ is marked for acceptance, ? is for you to decide. As a file to look through:
  kisi map suggest --format csv --output suggestions.csv"""
_AS_CSV = flag("--format", "How it is written.", "-f", default="csv")

map_app = typer.Typer(
    invoke_without_command=True, rich_markup_mode=None, pretty_exceptions_enable=False
)


@map_app.callback()
@shared_options()
def map_root(config: Path | None, console: Console, context: typer.Context) -> None:
    """Say what is billed to whom (mapping.toml).

    kisi map
    kisi map list

    Without a subcommand, on a terminal: asks, client by client, and keeps every confirmed answer.
    Elsewhere: prints what is unmapped and the commands that map it; it never waits for input.
    """
    if context.invoked_subcommand is not None:
        for name in ("config", "quiet", "verbose", "no_color"):
            if options.typed(context, name):  # it would be taken for one of `kisi map` alone
                option = "--" + name.replace("_", "-")
                raise typer.BadParameter(
                    f"Put it after the subcommand: kisi map {context.invoked_subcommand} {option}",
                    param_hint=option,
                )
        return
    if sys.stdin.isatty() and sys.stdout.isatty():
        from kisi.cli.map.questions import map_on_a_terminal

        raise typer.Exit(map_on_a_terminal(config, console))
    from kisi.render.map_lists import unmapped_report
    from kisi.run.setup import opened

    with opened(config) as setup:
        inventory = inventory_of(setup, console)
    report = unmapped_report(inventory.only_unmapped())
    result(terminal_text(report, console), None)
    tell_missing(inventory, console)
    if report.sections:
        console.info(_NEXT)
    elif not inventory.missing:
        console.info("Nothing is unmapped.")
    raise typer.Exit(inventory.exit_code)


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

    with suppress(StateError), Journal.open(setup.config.state_dir, readonly=True) as journal:
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


@shared_options(formats=RowsFormat)
def map_list(
    config: Path | None,
    console: Console,
    unmapped: bool = flag("--unmapped", "Only what nothing is mapped to, on either side."),
    stale: bool = flag("--stale", "Only what is gone, renamed, inactive, or ends in 60 days."),
) -> None:
    """List everything that can be mapped, with its ids.

    kisi map list
    kisi map list --unmapped
    kisi map list --stale

    Tenants, key names, companies, agreements and products: all that a first mapping.toml needs,
    also before there is one. With --unmapped also PSA companies without Kaspersky: the sales view.
    Writes nothing.
    """
    from kisi.mapping.validator import SystemValidator, leaving_clients
    from kisi.render import map_lists
    from kisi.run.setup import opened

    if unmapped and stale:
        raise typer.BadParameter("--unmapped and --stale are two lists; ask for one of them.")
    with opened(config) as setup:
        inventory, rules = inventory_of(setup, console, keys=not stale), setup.rules()
        leavers = tuple(leaving_clients(rules.mapping, known_to_the_journal(setup)[1]))
        entries = SystemValidator.of(inventory, rules.today).stale(rules.mapping) + leavers
    missing, code = inventory.missing, inventory.exit_code
    if stale:
        show(
            console,
            partial(map_lists.stale_report, entries),
            partial(map_lists.stale_document, entries, missing, code),
            partial(map_lists.stale_csv, entries),
        )
        nothing = "" if entries else _NOTHING_STALE
    else:
        shown = inventory.only_unmapped() if unmapped else inventory
        told = () if unmapped else leavers
        report = partial(map_lists.unmapped_report, shown)
        show(
            console,
            report if unmapped else partial(map_lists.inventory_report, shown, told),
            partial(map_lists.inventory_document, shown, told),
            partial(map_lists.inventory_csv, shown),
        )
        some = not unmapped or shown.tenants or shown.key_names or shown.companies
        nothing = "" if some else "Nothing is unmapped."
    if nothing and not missing:
        console.info(nothing)
    tell_missing(inventory, console)
    raise typer.Exit(code)


@shared_options(formats=RowsFormat)
def map_suggest(
    config: Path | None,
    console: Console,
    min_score: float | None = option(
        "0..1", "Leave out weaker suggestions.", min=0, max=1, show_default="0.85"
    ),
) -> None:
    """Suggest who is whom, and why. Nothing is bound.

    kisi map suggest
    kisi map suggest --format csv --output suggestions.csv

    A company for each unmapped tenant, products for each unmapped application. Write a file, look
    through it, change `accept` where you know better, and hand it to `kisi map accept`.
    """
    from kisi.mapping.similarity import DEFAULT_MIN_SCORE
    from kisi.mapping.suggestions import suggest, suggestions_csv, suggestions_document
    from kisi.render.formatting import plural
    from kisi.render.map_lists import suggestions_report
    from kisi.run.setup import opened

    least = DEFAULT_MIN_SCORE if min_score is None else min_score
    with opened(config) as setup:
        inventory = inventory_of(setup, console)
        rules = setup.rules()
        suggestions = suggest(rules.mapping, inventory, rules.today, min_score=least)
    show(
        console,
        partial(suggestions_report, suggestions, least),
        partial(suggestions_document, suggestions, int(inventory.exit_code)),
        partial(suggestions_csv, suggestions),
    )
    tell_missing(inventory, console)
    accept = [row.accept for row in suggestions.clients]
    accept += (row.accept for row in suggestions.applications)
    count, without = len(accept), len(suggestions.without)
    has = "has" if without == 1 else "have"
    none = f"; {plural(without, 'unmapped tenant')} {has} none from {least:g} on" if without else ""
    console.info(
        f"{plural(count, 'suggestion')}, {sum(accept)} of them marked for acceptance{none}."
    )
    if count and console.format is Format.TABLE:
        console.info(_AS_A_FILE)
    if console.file is not None and console.format is not Format.TABLE:
        console.info(f"Look through {console.file}, then: kisi map accept {console.file}")
    raise typer.Exit(inventory.exit_code)


@shared_options()
def map_renew(config: Path | None, console: Console, yes: bool = options.YES) -> None:
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
        result(terminal_text(renewals_report(found), console), None)
        tell_missing(inventory, console)
        moves = {
            renewal.row: replace(renewal.client, agreement=renewal.successor.id)
            for renewal in found
            if renewal.successor is not None
        }
        if moves:
            clients = "1 client" if len(moves) == 1 else f"{len(moves)} clients"
            remedy = "`kisi map renew --yes` moves them."
            confirm(f"Move {clients}?", f"{clients} could be moved;", remedy, yes=yes)
            editing.rows.change_clients(moves)
            editing.save()
        elif not found:
            console.info("No client's agreement has ended.")
    open_ = len(found) - len(moves)
    raise typer.Exit(inventory.exit_code or (ExitCode.WITHHELD if open_ else ExitCode.OK))


@shared_options()
def map_export(
    config: Path | None,
    console: Console,
    format_: Literal["csv"] = _AS_CSV,
    output_file: Path | None = options.OUTPUT,
    delimiter: str = options.DELIMITER,
) -> None:
    """Write all of mapping.toml as one table.

    kisi map export --output mapping.csv

    For a spreadsheet; reads the file alone. `kisi map import` takes it back without a loss;
    comments stay in mapping.toml.
    """
    from kisi.csv_table import CsvStyle
    from kisi.mapping.table import mapping_csv
    from kisi.run.setup import load

    del format_
    _, mapping = load(config)
    result(mapping_csv(mapping, CsvStyle(delimiter)), output_file)
    if output_file is not None:
        rows = len(mapping.applications) + len(mapping.products) + len(mapping.everyone)
        console.info(f"Wrote {rows} rows. After your changes: kisi map import {output_file}")


@shared_options()
def map_import(
    config: Path | None,
    console: Console,
    file: Path = typer.Argument(metavar="FILE", help="A table of `kisi map export`."),
    format_: Literal["csv"] = _AS_CSV,
    remove_missing: bool = flag("--remove-missing", "Take out what the table does not name."),
    offline: bool = OFFLINE,
) -> None:
    """Bring mapping.toml to what a table says.

    kisi map import mapping.csv

    Only rows that differ are touched. A client is the one on the same agreement, else the one of
    the same company and name, else the one with the same tenants. What the table does not name
    stays, unless --remove-missing.
    """
    from kisi.mapping.table import import_rows, read_mapping_table

    del format_
    text = read_table(file)
    with edited_mapping(config, console, offline=offline) as edited:
        rows = read_mapping_table(text, edited.rows, name=file.name)
        import_rows(edited.rows, rows, remove_missing=remove_missing)


@shared_options()
def map_accept(
    config: Path | None,
    console: Console,
    file: Path = typer.Argument(
        metavar="FILE", help="What `kisi map suggest` wrote (CSV or JSON); - is stdin."
    ),
    offline: bool = OFFLINE,
) -> None:
    """Add suggestions to mapping.toml: all that say yes, or none.

    kisi map accept suggestions.csv

    Clients are added with billing off unless their `billing` says yes; they go live one by one with
    `kisi map billing`. Two tenants on one agreement become one client.
    """
    from kisi.mapping.table import accept_rows, read_mapping_table

    text = read_table(file)
    with edited_mapping(config, console, offline=offline) as edited:
        rows = read_mapping_table(text, edited.rows, name=file.name, accepted=True)
        accept_rows(edited.rows, rows)
    off = sum(not company.billing for _, company in rows.companies)
    if off:
        console.info(
            f"{off} are not billed yet. One by one, or by a glob on names: "
            "kisi map billing CLIENT on"
        )


def read_table(file: Path) -> str:
    """The text of a file that a person edited (`-` is stdin), or a `ConfigError`."""
    from kisi.config.document import MAX_BYTES

    remedy = "Name a file that `kisi map suggest` or `kisi map export` wrote."
    piped = str(file) == "-"
    try:
        with (
            nullcontext(sys.stdin) if piped else file.open(encoding="utf-8-sig", newline="")
        ) as stream:
            text = stream.read(MAX_BYTES + 1)
    except UnicodeDecodeError:
        what, remedy = "is not UTF-8", 'In Excel choose "CSV UTF-8" when you save it.'
    except OSError as error:
        what = f"cannot be read ({error.strerror})"
    else:
        if len(text) <= MAX_BYTES:
            return text
        what = f"is larger than {MAX_BYTES // 2**20} MiB"
    raise ConfigError(f"{file} {what}. Nothing was changed.", remedy=remedy)


map_app.command("list")(map_list)
map_app.command("suggest")(map_suggest)
map_app.command("accept")(map_accept)
map_app.command("company")(editing.map_company)
map_app.command("product")(editing.map_product)
map_app.command("application")(editing.map_application)
map_app.command("billing")(editing.map_billing)
map_app.command("ignore")(editing.map_ignore)
map_app.command("leave")(editing.map_leave)
map_app.command("remove")(editing.map_remove)
map_app.command("renew")(map_renew)
map_app.command("export")(map_export)
map_app.command("import")(map_import)
