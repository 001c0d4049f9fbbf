"""What `kisi status` knows, as the journal has it; what a person reads of it; may we invoice?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from kisi.errors import ExitCode
from kisi.journal import (
    Billing,
    ClientRecord,
    HeldPlan,
    LineHistory,
    Operation,
    QuantityRange,
    Run,
    RunState,
    StoredKey,
)
from kisi.model import Company, CompanyPlan, Status, Tenant, UnmappedUse
from kisi.render.formatting import (
    billed_as,
    day,
    in_all,
    moment,
    over_time,
    plural,
    quantity,
    unmapped_as,
)
from kisi.render.plan_report import client_section, operation_entry, unmapped_section
from kisi.render.report import Entry, Grid, Item, Report, Section, Span, Tone, listing, remarks, row

_INDEX = ("state", "units", "amount", "confirmed")
_EXPIRY_NOTICE = timedelta(days=30)
_CLOCK_SLACK = timedelta(minutes=5)
"""So far ahead a proof may be dated; a later one was made by a clock that was wrong."""
_UP_TO_DATE = "up to date"
_NOT_CONFIRMED = "not confirmed"
"""Nothing is wrong with the client, and its lines were never all confirmed."""
_NAMED_AT_MOST = 20
"""Clients in the way of invoicing."""
_POINTS = 5
"""How many quantities of a line are shown; older ones are `…`."""
_CLIENT_TONES = {
    _UP_TO_DATE: Tone.GOOD,
    _NOT_CONFIRMED: Tone.HELD,
    Status.HELD: Tone.HELD,
    Status.FAILED: Tone.BAD,
}
_RUN_TONES: dict[int, Tone] = {ExitCode.OK: Tone.GOOD, ExitCode.WITHHELD: Tone.HELD}
_ENDINGS: dict[int, str] = {
    ExitCode.OK: "done",
    ExitCode.BUG: "a bug in kisi",
    ExitCode.USAGE: "wrong usage",
    ExitCode.CONFIG: "configuration",
    ExitCode.SOURCE: "a source failed",
    ExitCode.PSA: "a PSA failed",
    ExitCode.WITHHELD: "on hold",
    ExitCode.WRITE: "a write failed",
    ExitCode.STATE: "journal or disk",
    ExitCode.PENDING: "changes pending",
    ExitCode.LOCKED: "another run",
    ExitCode.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, slots=True)
class Client:
    """A client as the last run that had it left it, and the lines that kisi owns there."""

    record: ClientRecord
    lines: tuple[LineHistory, ...] = ()

    @property
    def state(self) -> str:
        """How the client stands, in a word or two: `up to date`, `held`."""
        record = self.record
        if record.billing is not Billing.ON:
            return "billing off" if record.billing is Billing.OFF else "not mapped"
        if record.status is None:
            return "not yet run"
        if record.status is Status.READY:
            return _NOT_CONFIRMED if record.confirmed_at is None else _UP_TO_DATE
        return record.status


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything that `kisi status` shows."""

    at: datetime
    """Now (aware)."""
    version: str
    zone: tzinfo = UTC
    runs: tuple[Run, ...] = ()
    """Newest first."""
    clients: tuple[Client, ...] = ()
    nobody: str = ""
    """Why there is no client here; empty: the journal knows none at all."""
    holds: tuple[HeldPlan, ...] = ()
    unmapped: tuple[UnmappedUse, ...] = ()
    unmapped_tenants: tuple[Tenant, ...] = ()
    keys: tuple[StoredKey, ...] = ()
    certificates: tuple[tuple[datetime, str], ...] = ()
    """Each its end and its server, by the section's name in kisi.toml."""
    unsettled: tuple[Operation, ...] = ()
    last_run: Mapping[str, Any] | None = None
    """The document of the last run (`plan_document`)."""
    problem: str = ""
    """Why the journal could not be read whole."""

    @property
    def expiring_keys(self) -> list[tuple[datetime, StoredKey]]:
        """Keys that count and end within 30 days, or have ended, the first to end first."""
        ending = [(one.key.expires, one) for one in self.keys if one.key.counted]
        near = [(at, one) for at, one in ending if at and at <= self.at + _EXPIRY_NOTICE]
        return sorted(near, key=lambda pair: (pair[0], pair[1].name))

    @property
    def expiring_certificates(self) -> list[tuple[datetime, str]]:
        """Certificates that end within 30 days, or have ended, the first to end first."""
        return sorted(one for one in self.certificates if one[0] <= self.at + _EXPIRY_NOTICE)


def status_report(view: StatusView, *, detailed: bool = False) -> Report:
    """What an operator reads of the journal; `detailed`: of each client, with its lines' trends."""
    facts = (f"kisi {view.version}", moment(view.at, view.zone))
    last_line = view.runs[0].message if view.runs else ""
    sections = tuple(_sections(view, detailed=detailed))
    lines = [line for client in view.clients for line in client.lines]
    totals = ("", *_sums(lines), "")
    return Report("kisi status", sections, facts, last_line, _INDEX if detailed else (), totals)


def _sums(lines: Sequence[LineHistory]) -> tuple[str, str]:
    """Units and money of lines."""
    units = sum((line.quantities[-1].quantity for line in lines if line.quantities), Decimal(0))
    return quantity(units), in_all((line.terms_at(), line.amount) for line in lines)


def _sections(view: StatusView, *, detailed: bool) -> Iterable[Section]:
    if view.problem:
        yield Section("Journal", (), (Span(view.problem, Tone.BAD),), Tone.BAD)
    yield _runs(view)
    yield _overview(view, named=not detailed)
    if detailed:
        yield from (_client(client, view.zone) for client in view.clients)
    for hold in view.holds:
        company = Company(hold.name, (), hold.psa, hold.company, hold.agreement)
        plan = CompanyPlan(company, Status.HELD, hold.lines, plan_id=hold.plan_id)
        held = client_section(plan)
        since = f"held since {day(hold.first_at, view.zone)}"
        yield Section(held.title, (*held.facts, since), held.items, Tone.HELD)
    if view.unsettled:
        entries = tuple(operation_entry(write, view.zone) for write in view.unsettled)
        yield Section("Writes of unknown outcome", (), entries, Tone.HELD)
    if view.unmapped:
        uses = [(quantity(x.quantity), f"{x.company}: {unmapped_as(x)}") for x in view.unmapped]
        todo = Span("To bill it, or to say that it is not billed: `kisi map`")
        title = "Used, and billed by no row of mapping.toml"
        yield Section(title, (), (*listing("", uses), todo), Tone.HELD)
    yield from unmapped_section(view.unmapped_tenants, ())
    keys = []
    for expires, stored in view.expiring_keys:
        key = stored.key
        used = "" if key.used is None else f", {key.used} in use"
        keys.append((expires, f"{stored.name}: {key.name} ({key.serial}{used})"))
    for title, ending in (("Keys", keys), ("Certificates", view.expiring_certificates)):
        rows = [(_end(expires, view), what) for expires, what in ending]
        if rows:
            yield Section(f"{title} that end within 30 days", (), listing("", rows), Tone.HELD)


def _end(expires: datetime, view: StatusView) -> str:
    left = expires - view.at
    words = f"in {plural(left.days, 'day')}" if left.days else "today"
    words = "has ended" if left < timedelta(0) else words
    return f"{day(expires, view.zone)}, {words}"


def _runs(view: StatusView) -> Section:
    if not view.runs:
        return Section("Runs", (), (Span("No run is in the journal. Next: `kisi sync`"),))
    headers = ("run", "began", "took", "command", "ended", "")
    runs = Grid(headers, tuple(_run(run, view.zone) for run in view.runs), (0, 2), (3, 5))
    newest = view.runs[0]
    said = f"Run {newest.id}: {newest.message}" if newest.message else ""
    return Section("Runs", (), (runs, *remarks(said)))


def _run(run: Run, zone: tzinfo) -> tuple[Span, ...]:
    took = ""
    if run.ended_at is not None:
        minutes, seconds = divmod(round((run.ended_at - run.at).total_seconds()), 60)
        took = f"{minutes}:{seconds:02d}"
    counts, billed = run.summary, run.summary.get("billed")
    came_to = [] if billed is None else [f"{counts.get('current')} of {billed} {_UP_TO_DATE}"]
    came_to += [f"{counts[x]} {x}" for x in ("applied", "held", "failed") if counts.get(x)]
    ending = Span(run.state, Tone.CHANGE if run.state is RunState.RUNNING else Tone.BAD)
    if run.state is RunState.FINISHED and run.exit_code is not None:
        text = f"{run.exit_code} {_ENDINGS.get(run.exit_code, '')}".rstrip()
        ending = Span(text, _RUN_TONES.get(run.exit_code, Tone.BAD))
    command = f"{run.command} {run.plan_scope}".rstrip()
    return row(str(run.id), moment(run.at, zone), took, command, ending, ", ".join(came_to))


def _overview(view: StatusView, *, named: bool) -> Section:
    if not view.clients:
        return Section("Clients", (), (Span(view.nobody or "No run has seen a client yet."),))
    counts = Counter(client.state for client in view.clients)
    facts = tuple(f"{number} {state}" for state, number in counts.most_common())
    troubled = []
    for client in view.clients if named else ():
        record = client.record
        if record.billing is Billing.ON and client.state != _UP_TO_DATE:
            label = f"{record.name}: {_since(client, view.zone)}"
            if record.confirmed_at:
                label += f", last confirmed {moment(record.confirmed_at, view.zone)}"
            troubled.append(_entry(client, label, record.reason))
    return Section("Clients", facts, tuple(troubled))


def _entry(client: Client, label: str, *more: str) -> Entry:
    """A client's trouble; what releases a hold is told with the hold."""
    failed = client.record.status is Status.FAILED
    told = remarks(*more, client.record.remedy if failed else "", tone=Tone.PLAIN)
    tone = _CLIENT_TONES.get(client.state, Tone.DIM)
    return Entry("✗" if failed else "!", tone, label, remarks=told)


def _client(client: Client, zone: tzinfo) -> Section:
    record = client.record
    facts = [record.psa, f"agreement {record.agreement}", _since(client, zone)]
    if record.confirmed_at is not None:
        facts.append(f"confirmed {moment(record.confirmed_at, zone)}")
    items: list[Item] = [_entry(client, record.reason)] if record.reason else []
    for line in client.lines:
        if line.quantities:
            now, label = line.quantities[-1], billed_as(line.application, line.categories)
            told = trend(line.quantities, zone) if len(line.quantities) > 1 else ""
            chart = over_time(line.quantities, zone, told)
            held, since = quantity(now.quantity), f"since {day(now.first_at, zone)}"
            if line.amount is not None:
                since += f", {in_all([(line.terms_at(), line.amount)])}"
            items.append(Entry("=", Tone.DIM, label, after=held, change=since, chart=chart))
    state = Span(client.state, _CLIENT_TONES.get(client.state, Tone.DIM))
    confirmed = moment(record.confirmed_at, zone) if record.confirmed_at else ""
    in_index = row(state, *_sums(client.lines), confirmed)
    return Section(record.name, tuple(facts), tuple(items), row=in_index)


def _since(client: Client, zone: tzinfo) -> str:
    record, state = client.record, client.state
    if record.guard and state == record.status:
        state += f" ({record.guard})"
    return f"{state} since {day(record.since_at, zone)}" if record.since_at else state


def trend(quantities: Sequence[QuantityRange], zone: tzinfo) -> str:
    """A line's quantities with the days since when: `90 (2026-10-01) → 92 (11-03)`."""
    shown: list[str] = ["…"] if len(quantities) > _POINTS else []
    year = ""
    for one in quantities[-_POINTS:]:
        date = day(one.first_at, zone)
        shown.append(f"{quantity(one.quantity)} ({date.removeprefix(year)})")
        year = date[:5]
    return " → ".join(shown)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every billed client may be invoiced from its lines."""

    billed: int
    blockers: tuple[tuple[str, str], ...]
    """Each client that must not be invoiced yet, and why."""
    max_age: timedelta

    @property
    def ready(self) -> bool:
        """True if somebody is billed and nothing stands against anybody."""
        return self.billed > 0 and not self.blockers


def readiness(view: StatusView, max_age: timedelta) -> Readiness:
    """Looks at every billed client of the journal.

    In the way is one that failed, was not confirmed within `max_age` or not judged by a newer run,
    or of which anything is held, unmapped or of unknown outcome.
    """
    billed = [one.record for one in view.clients if one.record.billing is Billing.ON]
    reasons = [(client.name, next(_reasons(client, view, max_age), "")) for client in billed]
    blockers = tuple((name, reason) for name, reason in reasons if reason)
    return Readiness(len(billed), blockers, max_age)


def _reasons(client: ClientRecord, view: StatusView, max_age: timedelta) -> Iterator[str]:
    if client.status is None:
        yield "not yet run"
    if client.status in {Status.FAILED, Status.HELD}:
        yield f"{client.status}: {client.guard}"
    billed_on = (client.psa, client.agreement)
    if any((hold.psa, hold.agreement) == billed_on for hold in view.holds):
        yield "held"
    if any((one.line.psa, one.line.agreement) == billed_on for one in view.unsettled):
        yield "a write of unknown outcome"
    if any(use.company == client.name for use in view.unmapped):
        yield "unmapped usage"
    if client.missed_by is not None:
        yield f"run {client.missed_by} is newer and has not come to its end"
    if client.confirmed_at is None:
        yield "never confirmed"
    elif client.confirmed_at > view.at + _CLOCK_SLACK:
        confirmed = moment(client.confirmed_at, view.zone)
        yield f"confirmed in the future: {confirmed}, the clock was wrong"
    elif view.at - client.confirmed_at > max_age:
        yield f"last confirmed {moment(client.confirmed_at, view.zone)}"


def ready_sentence(readiness: Readiness) -> str:
    """The answer in one sentence, naming the clients that are in the way."""
    good = readiness.billed - len(readiness.blockers)
    clients = f"{good} of {readiness.billed} billed clients"
    if readiness.ready:
        hours = readiness.max_age.total_seconds() / 3600
        age = f"{hours:g} h" if hours < 72 else plural(round(hours / 24), "day")
        return f"Ready to invoice: {clients} were confirmed within {age} and nothing is on hold."
    if not readiness.billed:
        return "NOT ready to invoice: no client is billed."
    named = [f"{name} ({reason})" for name, reason in readiness.blockers[:_NAMED_AT_MOST]]
    more = len(readiness.blockers) - len(named)
    text = ", ".join(named) + (f" and {more} more" if more else "")
    return f"NOT ready to invoice: {text}; {clients} are ready."
