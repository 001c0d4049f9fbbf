"""`kisi reconcile`: a distributor's file and the journal, held against each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path

from kisi.cli.journal import month_asked, statement_for
from kisi.cli.output import Console, show
from kisi.config import Config
from kisi.config.sentences import did_you_mean, shorten
from kisi.counting import Matcher
from kisi.errors import ConfigError, ExitCode
from kisi.journal import Billing, Journal
from kisi.model import BillingMapping, Company
from kisi.purchases.compare import Known, compare
from kisi.purchases.file import read_file
from kisi.redaction import safe_text
from kisi.render.formatting import per
from kisi.render.purchases import reconcile_csv, reconcile_document, reconcile_report, summary
from kisi.render.statement import Month, Statement
from kisi.run.setup import load


def show_comparison(
    config: Path | None, console: Console, file: Path, invoice: str, first: date | None
) -> ExitCode:
    """Shows a file against a month; exit 6 if anything differs or is unmatched."""
    settings, mapping = load(config)
    month = month_asked(first, settings)
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
    matcher = Matcher(mapping.applications)
    clients: dict[str, list[Company]] = defaultdict(list)
    for company in mapping.companies:
        clients[company.name].append(company)
    known = {}
    for name, rows in clients.items():
        read = [records[x] for one in rows if (x := (one.psa, one.agreement)) in records]
        if read:
            statements = [statement_for(journal, one, month, settings) for one in read]
            off = "billing is off" if all(one.billing is Billing.OFF for one in read) else ""
            by_hand = {x.application for one in rows for x in one.exceptions if not x.bill}
            facts = _facts(statements, matcher)
            known[name] = replace(facts, why_unknown=off, by_hand=by_hand)
    return known


def _facts(statements: Sequence[Statement], matcher: Matcher) -> Known:
    licensed: dict[str, dict[str, int]] = defaultdict(dict)
    used = Counter[str]()
    billed: dict[str, tuple[Decimal | None, Decimal | None, str]] = {}
    for statement in statements:
        used.update(statement.used)
        for key in statement.keys:
            if key.counted and key.licenses and (application := matcher.match(key.name)):
                licensed[application.name][key.serial] = key.licenses
        for line in statement.lines:
            cycle = per(line.terms.currency, line.terms.cycle)
            before = billed.get(line.application, (Decimal(0), Decimal(0), cycle))
            money = line.amount if before[2] == cycle else None  # not to be added up
            billed[line.application] = (
                _sum(before[0], line.quantity),
                _sum(before[1], money),
                cycle,
            )
    return Known({name: sum(keys.values()) for name, keys in licensed.items()}, used, billed)


def _sum(one: Decimal | None, other: Decimal | int | None) -> Decimal | None:
    return None if one is None or other is None else one + other
