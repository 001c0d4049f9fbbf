"""`kisi reconcile`: a distributor's file and the journal, held against each other."""

from __future__ import annotations

from collections import Counter
from datetime import date
from functools import partial
from pathlib import Path

from kisi.cli.journal import month_asked, statement_for
from kisi.cli.output import Console, show
from kisi.config import Config
from kisi.config.sentences import did_you_mean, shorten
from kisi.counting import Matcher
from kisi.errors import ConfigError, ExitCode
from kisi.journal import Billing, Journal
from kisi.model import BillingMapping
from kisi.purchases.compare import Known, compare
from kisi.purchases.file import read_file
from kisi.redaction import safe_text
from kisi.render.purchases import reconcile_csv, reconcile_document, reconcile_report, summary
from kisi.render.statement import Month, billed_in_all
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
    known = {}
    for name in dict.fromkeys(one.name for one in mapping.companies):
        rows = [one for one in mapping.companies if one.name == name]
        read = [records[x] for one in rows if (x := (one.psa, one.agreement)) in records]
        if read:
            off = "billing is off" if all(one.billing is Billing.OFF for one in read) else ""
            by_hand = {x.application for one in rows for x in one.exceptions if not x.bill}
            statements = [statement_for(journal, one, month, settings) for one in read]
            keys = (x for one in statements for x in one.keys if x.counted and x.licenses)
            bought = {(x.serial, app.name): x for x in keys if (app := matcher.match(x.name))}
            licensed, used = Counter[str](), Counter[str]()
            for (_, application), key in bought.items():
                licensed[application] += key.licenses or 0
            for one in statements:
                used.update(one.used)
            known[name] = Known(licensed, used, billed_in_all(statements), off, by_hand)
    return known
