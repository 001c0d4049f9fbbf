"""`kisi status` and `kisi explain`: what the journal knows, shown. Nothing is sent or written."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from typer import BadParameter

from kisi import __version__
from kisi.cli.options import Format
from kisi.cli.output import Console, explain_error, fitted, new_folder, result, show, terminal_text
from kisi.config import Config
from kisi.counting import Period, look_back, outlook, period_count, readings
from kisi.errors import ConfigError, ExitCode
from kisi.journal import Billing, ClientRecord, Journal, LineHistory, RunState, Subject
from kisi.lock import is_running
from kisi.model import BillingMapping, PeriodCount, TenantRef, Terms
from kisi.redaction import safe_text
from kisi.render.explain import ExplainView, explain_report, of_application
from kisi.render.export import explain_csv, explain_document, status_csv, status_document
from kisi.render.formatting import local_day, plural
from kisi.render.statement import (
    BEFORE,
    Month,
    Statement,
    file_name,
    statement_csv,
    statement_document,
    statement_of,
    statement_report,
)
from kisi.render.status import (
    Client,
    StatusView,
    readiness,
    ready_report,
    ready_sentence,
    status_report,
)
from kisi.run.document import read_found, read_left, read_tenant, read_use
from kisi.run.setup import clients_named, load
from kisi.transport import Clock

_RUNS = 10
_MANY_RUNS = 1000


def show_status(
    config: Path | None,
    console: Console,
    named: Sequence[str],
    since: datetime | timedelta | None,
    max_age: timedelta,
    *,
    failed: bool,
    ready: bool,
) -> ExitCode:
    """Shows how it stands, or answers whether invoices may be made; a proof may be `max_age` old.

    Only clients that are `named`, if any is; if `failed`, that are billed and not up to date.
    """
    settings, mapping = load(config)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        view, problem = _status(journal, settings, mapping, since, max_age), journal.problem
    names = [client.record.name for client in view.clients]
    meant = set().union(*(clients_named(text, names) for text in named)) if named else set(names)
    asked = tuple(
        client
        for client in view.clients
        if client.record.name in meant
        and not (failed and client.is_fine and not client.record.guard)
    )
    like = " or ".join(f'"{text}"' for text in named)
    nobody = f"No client with a name like {like}" if named else "No client"
    trouble = "failed or is held" if failed or not named else "is known"
    view = replace(view, clients=asked, nobody=f"{nobody} {trouble}." if view.clients else "")
    if named and not ready:  # what concerns these alone
        billed_on = {(one.record.psa, one.record.agreement) for one in asked}
        view = replace(
            view,
            holds=tuple(x for x in view.holds if (x.psa, x.agreement) in billed_on),
            unmapped=tuple(use for use in view.unmapped if use.company in meant),
            unmapped_tenants=(),
            unmapped_uses=(),
            left=(),
            outlook=tuple(one for one in view.outlook if one.company in meant),
        )
    answer = readiness(view, max_age) if ready else None
    if answer is None or console.format is not Format.TABLE:
        detailed = console.verbose > 0 or bool(named) or console.format is Format.HTML
        show(
            console,
            report=lambda: status_report(view, detailed=detailed),
            document=lambda: status_document(view, answer),
            csv=partial(status_csv, view),
        )
    if problem is not None:
        console.warn(explain_error(problem))
        return problem.exit_code
    if answer is None:
        return ExitCode.OK
    sentence = safe_text(ready_sentence(answer))
    if console.format is Format.TABLE:
        report = ready_report(view)
        more = "\n" + terminal_text(report, console) if report.sections else ""
        shown = sentence if console.file else fitted(sentence, sys.stdout)
        result(f"{shown}\n{more}", console.file)
    else:
        console.info(sentence)
    return ExitCode.OK if answer.ready else ExitCode.WITHHELD


def _status(
    journal: Journal,
    config: Config,
    mapping: BillingMapping,
    since: datetime | timedelta | None,
    max_age: timedelta,
) -> StatusView:
    now = Clock().now()
    today = local_day(now, config.timezone)
    mapping = mapping.on(today)
    if isinstance(since, timedelta):
        since = now - since
    elif since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=config.timezone)
    # Nobody holds the lock: a run that has not ended never will.
    crashed = {} if is_running(config.state_dir) else {RunState.RUNNING: RunState.CRASHED}
    runs = journal.last_runs(_RUNS if since is None else _MANY_RUNS, since)
    last_run: Mapping[str, Any] | None = journal.latest(Subject.REPORT)
    unmapped = last_run.get("unmapped", {}) if last_run else {}
    told = tuple(map(read_tenant, unmapped.get("tenants", ())))
    # One that is never billed is so at once, and not from the next run on.
    tenants = tuple(one for one in told if not mapping.ignores(one.ref))
    uses = tuple(map(read_use, unmapped.get("applications", ())))
    nobodys, shown = ({one.ref for one in some} for some in (told, tenants))
    certificates = journal.latest(Subject.CERTIFICATES) or ()
    return StatusView(
        at=now,
        version=__version__,
        zone=config.timezone,
        runs=tuple(replace(run, state=crashed.get(run.state, run.state)) for run in runs),
        clients=tuple(_clients(journal, mapping, now - max_age, last_run)),
        holds=journal.open_holds(),
        unmapped=tuple(use for use in uses if use.tenant not in nobodys),
        unmapped_tenants=tenants,
        unmapped_uses=tuple(use for use in uses if use.tenant in shown),
        left=read_left(last_run),
        outlook=outlook(mapping.companies, journal.keys(), config.outlook, today, config.timezone),
        certificates=tuple(
            (datetime.fromisoformat(one["expires"]), one["server"]) for one in certificates
        ),
        unsettled=journal.pending(),
        last_run=last_run,
        max_age=max_age,
        problem=journal.problem.message if journal.problem else "",
    )


def _clients(
    journal: Journal, mapping: BillingMapping, oldest: datetime, last_run: Mapping[str, Any] | None
) -> Iterable[Client]:
    """The clients of the journal, and those that the mapping bills and no run has seen yet."""
    wanted = (one for one in mapping.companies if one.billing or one.begins)
    new = {(one.psa, one.agreement): one for one in wanted}
    begins = {billed_on: one.begins for billed_on, one in new.items()}
    lines: dict[tuple[str, str], list[LineHistory]] = defaultdict(list)
    for line in journal.line_history():
        if line.owned:
            lines[line.psa, line.agreement].append(line)
    found = read_found(last_run, chain.from_iterable(lines.values()))
    told = last_run["companies"] if last_run else ()
    invoices = {(x["psa"], x["agreement"]): x.get("next_invoice") for x in told}
    for record in journal.clients():
        billed_on = (record.psa, record.agreement)
        if record.billing is Billing.ON or begins.get(billed_on):
            new.pop(billed_on, None)
        if billed_on not in new:
            mine, seen = tuple(lines[billed_on]), found.get(billed_on, {})
            is_outdated = record.confirmed_at is not None and record.confirmed_at < oldest
            due = date.fromisoformat(at) if (at := invoices.get(billed_on)) else None
            yield Client(record, mine, is_outdated, seen, begins.get(billed_on), due)
    for one in new.values():
        billing = Billing.ON if one.billing else Billing.OFF
        billed = (one.psa, one.company, one.agreement, billing)
        yield Client(ClientRecord(one.name, *billed, one.tenants), begins=one.begins)


def show_explanation(
    config: Path | None,
    console: Console,
    company: str,
    run_id: int | None,
    application: str | None,
    *,
    devices: bool,
) -> None:
    """Shows a client's quantities in a run, by default the last that read the client."""
    settings, mapping = load(config)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        if journal.problem is not None:
            raise journal.problem
        clients = _clients_called(journal.clients(unmapped=True), company)
        read = journal.usage_at(clients[0].name, run_id)
        by_agreement = groupby(read, lambda one: (one.psa, one.agreement))
        usage = {billed_on: tuple(records) for billed_on, records in by_agreement}
        # after a renewal its old agreement has the same name
        client = next((x for x in clients if (x.psa, x.agreement) in usage), clients[0])
        billed_on = (client.psa, client.agreement)
        records = usage.get(billed_on, ())
        newest = max((record.last_run for record in records), default=0)
        run = journal.run(newest if run_id is None else run_id)
        if run is None or not records:
            when = "yet" if run_id is None else f"as of run {run_id}"
            raise ConfigError(
                f"The journal holds no usage of {client.name} {when}.",
                remedy="`kisi status` lists the runs; evidence is kept for `evidence_days`.",
            )
        lines = []
        for line in journal.line_history(client.name):
            known = tuple(one for one in line.quantities if one.first_run <= run.id)
            if known and (line.psa, line.agreement) == billed_on:
                lines.append(replace(line, quantities=known))
        holds = [x for x in journal.open_holds() if (x.psa, x.agreement) == billed_on]
        held = (line for x in holds if x.first_run <= run.id for line in x.lines)
        last_run = journal.latest(Subject.REPORT) if run_id is None else None
        found = read_found(last_run, lines).get(billed_on, {})
        tenants = {record.usage.tenant.ref for record in records}
        tenants |= {*client.tenants} if run_id is None else set()  # also one that was never read
        today, at = local_day(run.at, settings.timezone), run.ended_at or run.at
        at += timedelta(seconds=1)  # of the run's end are the terms that it found
        periods = {x.line_id: _period(journal, x, tenants, today, x.terms_at(at)) for x in lines}
    view = ExplainView(
        client if run_id is None else replace(client, status=None),
        run,
        settings.timezone,
        tuple(lines),
        records,
        held=tuple(held),
        found=found,
        periods={line_id: period for line_id, period in periods.items() if period},
        left_to_people=[
            row.application
            for one in mapping.companies
            if (one.psa, one.agreement) == billed_on and run_id is None
            for row in one.exceptions
            if not row.bill
        ],
    )
    view = of_application(view, application) if application else view
    show(
        console,
        report=lambda: explain_report(view, devices=devices),
        document=lambda: explain_document(view),
        csv=partial(explain_csv, view),
    )


def _period(
    journal: Journal, line: LineHistory, tenants: Collection[TenantRef], today: date, terms: Terms
) -> PeriodCount | None:
    """What a count policy looked at up to a day; None under `today`."""
    if terms.begins is None:
        return None
    days = journal.days(look_back(terms.begins), today, tenants)
    known = readings(tenants, line.application, line.categories, days)
    period = Period(terms.begins, terms.ends, terms.cycle)
    return period_count(terms.policy, period, known, today)


def month_asked(first: date | None, settings: Config) -> Month:
    """The month that begins with a day, or this one; `BadParameter` if it has not begun."""
    today = local_day(Clock().now(), settings.timezone)
    try:
        return Month.of(first or today.replace(day=1), today)
    except ValueError as error:
        raise BadParameter(f"{error}.", param_hint="--month") from None


def show_statement(
    config: Path | None,
    console: Console,
    company: str | None,
    named: Sequence[str],
    first: date | None,
) -> None:
    """Shows what clients used in a month, or writes a file for each to the console's folder.

    All billed clients, or those that are named. `typer.BadParameter` if the month has not begun.
    """
    settings, _ = load(config)
    month = month_asked(first, settings)
    with Journal.open(settings.state_dir, readonly=True) as journal:
        if journal.problem is not None:
            raise journal.problem
        clients = [*_clients_called(journal.clients(unmapped=True), company)][:1] if company else []
        clients = clients or [one for one in journal.clients() if one.billing is Billing.ON]
        if named:
            meant = set().union(*(clients_named(x, [c.name for c in clients]) for x in named))
            clients = [one for one in clients if one.name in meant]
        statements = [statement_for(journal, one, month, settings) for one in clients]
    if not statements:
        raise ConfigError(
            "The journal knows no such client that is billed.",
            remedy="`kisi status -v` lists the clients.",
        )
    if console.file is None:
        show_statements(console, statements, one=company is not None)
        return
    written: dict[str, Path] = {}
    suffix = "txt" if console.format is Format.TABLE else str(console.format)
    folder = new_folder(console.file)
    for statement in statements:
        name = file_name(statement, written, suffix)
        written[name] = folder / name
        show_statements(replace(console, file=written[name]), [statement], one=True)
    console.info(f"Wrote {plural(len(written), 'file')} to {folder}.")


def show_statements(console: Console, statements: Sequence[Statement], *, one: bool) -> None:
    """Writes statements in the wanted format; `one` is a document of its own."""
    show(
        console,
        report=lambda: statement_report(statements),
        document=lambda: statement_document(statements, one=one),
        csv=partial(statement_csv, statements),
    )


def statement_for(
    journal: Journal, client: ClientRecord, month: Month, settings: Config
) -> Statement:
    """A client's month from the journal."""
    zone = settings.timezone
    begins, ends = month.between(zone)
    lines = []
    for line in journal.line_history(client.name):
        billed = [x for x in line.quantities if x.first_at < ends]
        current = billed and (line.owned or billed[-1].last_at >= begins)
        if current and (line.psa, line.agreement) == (client.psa, client.agreement):
            lines.append((line, line.terms_at(ends)))
    since = min([month.first, *(terms.begins for _, terms in lines if terms.begins)]) - BEFORE
    began = begins - (month.first - since)
    read = journal.usage_between(client.psa, client.agreement, began, ends)
    readings = [(local_day(a, zone), local_day(b, zone), usage) for a, b, usage in read]
    tenants = {usage.tenant.ref for _, _, usage in readings}
    days = journal.days(since, month.last, tenants)
    seen = {x: at for ref in tenants for x, at in journal.last_seen(ref).items()}
    rules = (settings.counting, zone)
    return statement_of(client, month, lines, days, readings, seen, rules)


def _clients_called(clients: Sequence[ClientRecord], wanted: str) -> Sequence[ClientRecord]:
    """The client, and after it what it was on earlier agreements, the ones still mapped first."""
    name = wanted.casefold()
    found = [one for one in clients if one.name.casefold() == name]
    found = found or [one for one in clients if name in one.name.casefold()]
    by_billing = sorted(found, key=lambda one: list(Billing).index(one.billing))
    current = [one for one in by_billing if one.billing is by_billing[0].billing]
    if len({one.name for one in found}) == 1 and len(current) == 1:
        return by_billing
    if found:
        listed = ", ".join(f"{one.name} ({one.psa}, agreement {one.agreement})" for one in found)
        raise ConfigError(
            f"{len(found)} clients match {wanted!r}: {listed}.",
            remedy="Name one of them in full; two rows of one name need different names.",
        )
    if not clients:
        raise ConfigError(
            f"The journal knows no client yet, so not {wanted!r} either.",
            remedy="Run `kisi sync` first: what it stores of each client is explained here.",
        )
    near = get_close_matches(wanted, [one.name for one in clients], n=3)
    raise ConfigError(
        f"The journal knows no client {wanted!r}.",
        remedy="Did you mean " + ", ".join(near) + "?" if near else "`kisi status -v` lists them.",
    )
