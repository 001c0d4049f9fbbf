"""`kisi reconcile`: a distributor's file and the journal, held against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path

from typer import BadParameter

from kisi.cli.journal import statement_for
from kisi.cli.output import Console, show
from kisi.config import Config
from kisi.config.sentences import did_you_mean, shorten
from kisi.counting import Matcher
from kisi.errors import ConfigError, ExitCode
from kisi.journal import Billing, ClientRecord, Journal
from kisi.model import BillingMapping
from kisi.purchases.compare import Known, compare
from kisi.purchases.file import read_file
from kisi.redaction import safe_text
from kisi.render.formatting import local_day, per
from kisi.render.purchases import reconcile_csv, reconcile_document, reconcile_report, summary
from kisi.render.statement import Month, Statement
from kisi.run.setup import load
from kisi.transport import Clock

_Billed = dict[str, tuple[Decimal | None, Decimal | None, str]]


def show_comparison(
    config: Path | None, console: Console, file: Path, invoice: str, first: date | None
) -> ExitCode:
    """Shows a file against a month; exit 6 if anything differs or is unmatched."""
    settings, mapping = load(config)
    today = local_day(Clock().now(), settings.timezone)
    try:
        month = Month.of(first or today.replace(day=1), today)
    except ValueError as error:
        raise BadParameter(f"{error}.", param_hint="--month") from None
    if invoice not in settings.invoices:
        raise ConfigError(
            f"There is no [invoices.{shorten(invoice)}] in {settings.path.name}; "
            f"{did_you_mean(invoice, settings.invoices)}",
            remedy="docs/reconcile.md shows one.",
        )
    names = {x for one in mapping.companies for x in (one.name, *one.purchased_as)}
    read = read_file(file, settings.invoices[invoice], names)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        if journal.problem is not None:
            raise journal.problem
        known = _known(journal, mapping, month, settings)
    found = compare(read, invoice, str(month), mapping, known)
    code = ExitCode.WITHHELD if found.differing or found.unmatched else ExitCode.OK
    show(
        console,
        report=lambda: reconcile_report(found, detailed=console.verbose > 0),
        document=lambda: reconcile_document(found, code),
        csv=partial(reconcile_csv, found),
    )
    (console.warn if code else console.info)(safe_text(summary(found)))
    return code


def _known(
    journal: Journal, mapping: BillingMapping, month: Month, settings: Config
) -> dict[str, Known]:
    records = {(one.psa, one.agreement): one for one in journal.clients()}
    of: dict[str, list[tuple[ClientRecord, Statement]]] = defaultdict(list)
    by_hand: dict[str, set[str]] = defaultdict(set)
    for company in mapping.companies:
        by_hand[company.name] |= {x.application for x in company.exceptions if not x.bill}
        if record := records.get((company.psa, company.agreement)):
            statement = statement_for(journal, record, month, settings)
            of[company.name].append((record, statement))
    matcher = Matcher(mapping.applications)
    return {name: _facts(several, by_hand[name], matcher) for name, several in of.items()}


def _facts(
    several: Sequence[tuple[ClientRecord, Statement]], by_hand: set[str], matcher: Matcher
) -> Known:
    licensed: dict[str, dict[str, int]] = defaultdict(dict)
    used: dict[str, int] = defaultdict(int)
    billed: _Billed = {}
    for _, statement in several:
        for key in statement.keys:
            if key.counted and key.licenses and (application := matcher.match(key.name)):
                licensed[application.name][key.serial] = key.licenses
        for name, number in statement.used.items():
            used[name] += number
        for line in statement.lines:
            cycle = per(line.terms.currency, line.terms.cycle)
            units = None if line.quantity is None else Decimal(line.quantity)
            before = billed.get(line.application, (Decimal(0), Decimal(0), cycle))
            money = line.amount if before[2] == cycle else None  # not to be added up
            billed[line.application] = (_sum(before[0], units), _sum(before[1], money), cycle)
    off = all(record.billing is Billing.OFF for record, _ in several)
    return Known(
        {name: sum(keys.values()) for name, keys in licensed.items()},
        used,
        billed,
        "billing is off" if off else "",
        frozenset(by_hand),
    )


def _sum(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else one + other
