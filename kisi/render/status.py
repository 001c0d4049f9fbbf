"""What `kisi status` knows, as the journal has it; what a person reads of it; may we invoice?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from kisi.errors import ENDINGS, ExitCode
from kisi.journal import (
    Billing,
    ClientRecord,
    HeldPlan,
    LineHistory,
    Operation,
    QuantityRange,
    Run,
    RunState,
)
from kisi.model import (
    Company,
    CompanyPlan,
    LeftLine,
    Outlook,
    OutlookKind,
    Status,
    Tenant,
    TenantRef,
    UnmappedUse,
)
from kisi.reconcile.summary import by_cause, cause_of, together
from kisi.render.formatting import (
    billed_as,
    day,
    in_all,
    local_day,
    moment,
    not_billed,
    over_time,
    plural,
    quantity,
    unmapped_as,
)
from kisi.render.plan_report import (
    client_section,
    left_sections,
    operation_entry,
    outlook_section,
    units_and_money,
    unmapped_section,
)
from kisi.render.report import Entry, Item, Report, Section, Span, Tone, listing, remarks, table
from kisi.run.document import FoundLine

_INDEX = ("state", "units", "amount", "confirmed")
_EXPIRY_NOTICE = timedelta(days=30)
_CLOCK_SLACK = timedelta(minutes=5)
"""So far ahead a proof may be dated; a later one was made by a clock that was wrong."""
UP_TO_DATE_FOR = timedelta(hours=26)
"""How old a proof may be where nobody says: a day, and the time that a run may take or wait."""
_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
_UP_TO_DATE = "up to date"
_OUT_OF_DATE = "out of date"
"""Nothing is wrong with the client but that its lines were last confirmed too long ago."""
_NOT_CONFIRMED = "not confirmed"
"""Nothing is wrong with the client, and its lines were never all confirmed."""
_NAMED_AT_MOST = 20
"""Clients in the way of invoicing."""
_OVER = ("left", "orphaned")
"""The holds of lines that nobody is to be billed for any more."""
_POINTS = 5
"""How many quantities of a line are shown; older ones are `…`."""
_CLIENT_TONES = {
    _UP_TO_DATE: Tone.GOOD,
    _NOT_CONFIRMED: Tone.HELD,
    _OUT_OF_DATE: Tone.HELD,
    Status.HELD: Tone.HELD,
    Status.FAILED: Tone.BAD,
}
_RUN_TONES: dict[int, Tone] = {ExitCode.OK: Tone.GOOD, ExitCode.WITHHELD: Tone.HELD}


@dataclass(frozen=True, slots=True)
class Client:
    """A client as the last run that had it left it, and the lines that kisi owns there."""

    record: ClientRecord
    lines: tuple[LineHistory, ...] = ()
    is_outdated: bool = False
    """It was last confirmed longer ago than `--max-age`."""
    found: Mapping[str, FoundLine] = field(default_factory=dict)
    """By id, the lines in which the PSA holds something else than kisi confirmed last."""
    begins: date | None = None
    """It is billed from this day on, and not before."""
    next_invoice: date | None = None
    """As the last run over all clients has seen it."""

    @property
    def state(self) -> str:
        """How the client stands, in a word or two: `up to date`, `held`."""
        record = self.record
        if record.billing is not Billing.ON:
            return not_billed(self.begins) if record.billing is Billing.OFF else "not mapped"
        if record.status is None:
            return "not yet run"
        if record.status is Status.READY:
            if record.confirmed_at is None:
                return _NOT_CONFIRMED
            return _OUT_OF_DATE if self.is_outdated else _UP_TO_DATE
        return record.status

    def billed(self, line: LineHistory) -> Decimal:
        """What the PSA holds of a line, as the last run that looked has seen it."""
        other = self.found.get(line.line_id)
        return other.quantity if other else line.quantities[-1].quantity

    def amount(self, line: LineHistory) -> Decimal | None:
        """What that costs in a billing cycle; None: not known."""
        return line.terms_at().amount(self.billed(line))

    @property
    def is_fine(self) -> bool:
        """Whether nobody has to look at it: it is up to date, or not billed."""
        return self.state == _UP_TO_DATE or self.record.billing is not Billing.ON


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
    """What clients use and no row bills."""
    unmapped_tenants: tuple[Tenant, ...] = ()
    unmapped_uses: tuple[UnmappedUse, ...] = ()
    """What these tenants use."""
    left: tuple[LeftLine, ...] = ()
    outlook: tuple[Outlook, ...] = ()
    certificates: tuple[tuple[datetime, str], ...] = ()
    """Each its end and its server, by the section's name in kisi.toml."""
    unsettled: tuple[Operation, ...] = ()
    last_run: Mapping[str, Any] | None = None
    """The document (`plan_document`) of the last run over all clients that came to its end."""
    max_age: timedelta = UP_TO_DATE_FOR
    problem: str = ""
    """Why the journal could not be read whole."""

    @property
    def last_run_at(self) -> datetime | None:
        """When the last run over all clients came to its end, if one ever did."""
        return datetime.fromisoformat(self.last_run["generated_at"]) if self.last_run else None

    @property
    def expiring_keys(self) -> list[Outlook]:
        """Keys that count and end soon, or have ended, the first to end first."""
        return [one for one in self.outlook if one.kind is OutlookKind.ENDS]

    @property
    def expiring_certificates(self) -> list[tuple[datetime, str]]:
        """Certificates that end within 30 days, or have ended, the first to end first."""
        return sorted(one for one in self.certificates if one[0] <= self.at + _EXPIRY_NOTICE)


def status_report(view: StatusView, *, detailed: bool = False) -> Report:
    """What an operator reads of the journal; `detailed`: of each client, with its lines' trends."""
    facts = (f"kisi {view.version}", moment(view.at, view.zone))
    last_line = view.runs[0].message if view.runs else ""
    sections = tuple(_sections(view, detailed=detailed))
    totals = ("", *_sums(view.clients), "")
    return Report("kisi status", sections, facts, last_line, _INDEX if detailed else (), totals)


def _sums(clients: Iterable[Client]) -> tuple[str, str]:
    """Units and money of the clients' lines."""
    lines = [(client, line) for client in clients for line in client.lines if line.quantities]
    units = sum((client.billed(line) for client, line in lines), Decimal(0))
    return quantity(units), in_all((line.terms_at(), client.amount(line)) for client, line in lines)


def _sections(view: StatusView, *, detailed: bool) -> Iterable[Section]:
    if view.problem:
        yield Section("Journal", (), (Span(view.problem, Tone.BAD),), Tone.BAD)
    yield from _last_run(view)
    yield _runs(view)
    yield _overview(view, named=not detailed)
    if detailed:
        yield from (_client(client, view.zone) for client in view.clients)
    invoices = {(x.record.psa, x.record.agreement): x.next_invoice for x in view.clients}
    for hold in view.holds:
        company = Company(hold.name, (), hold.psa, hold.company, hold.agreement)
        plan = CompanyPlan(company, Status.HELD, hold.lines, plan_id=hold.plan_id)
        held = client_section(replace(plan, next_invoice=invoices.get((hold.psa, hold.agreement))))
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
    yield from unmapped_section(view.unmapped_tenants, view.unmapped_uses)
    yield from left_sections(view.left)
    yield from outlook_section(view.outlook, local_day(view.at, view.zone))
    rows = []
    for expires, what in view.expiring_certificates:
        left = expires - view.at
        words = f"in {plural(left.days, 'day')}" if left.days else "today"
        words = "has ended" if left < timedelta(0) else words
        rows.append((f"{day(expires, view.zone)}, {words}", what))
    if rows:
        yield Section("Certificates that end within 30 days", (), listing("", rows), Tone.HELD)


def _last_run(view: StatusView) -> Iterable[Section]:
    """How old everything below is."""
    if view.last_run is None or (at := view.last_run_at) is None:
        return
    clients = [one for one in view.last_run["companies"] if one["status"] != Status.OFF]
    current = sum(one.get("current", False) for one in clients)
    code = view.last_run["exit_code"]
    seconds = max((view.at - at).total_seconds(), 0)
    size, unit = next(x for x in _AGES if seconds >= 2 * x[0] or x == _AGES[-1])
    ago = f"{plural(max(1, int(seconds // size)), unit)} ago"
    title = f"Last run {ago}: {ENDINGS.get(code, f'exit code {code}')}"
    facts = (moment(at, view.zone), f"{_up_to_date(current, len(clients))} then")
    if view.at - at <= view.max_age:
        yield Section(title, facts)
        return
    said = "No run over all clients has come to its end since, and the numbers below are as old."
    todo = "See that the schedule is on and what became of its runs, or run `kisi sync`."
    yield Section(title, facts, (Span(said, Tone.BAD), Span(todo)), Tone.BAD)


def _up_to_date(current: int, billed: int) -> str:
    return f"{current} of {billed} {_UP_TO_DATE}" if billed else "no client billed"


def _runs(view: StatusView) -> Section:
    if not view.runs:
        return Section("Runs", (), (Span("No run is in the journal. Next: `kisi sync`"),))
    rows: list[tuple[str | Span, ...]] = []
    for run in view.runs:
        took = ""
        if run.ended_at is not None:
            minutes, seconds = divmod(round((run.ended_at - run.at).total_seconds()), 60)
            took = f"{minutes}:{seconds:02d}"
        counts, billed = run.summary, run.summary.get("billed")
        came_to = [] if billed is None else [_up_to_date(counts.get("current", 0), billed)]
        came_to += [f"{counts[x]} {x}" for x in ("applied", "held", "failed") if counts.get(x)]
        ending = Span(run.state, Tone.CHANGE if run.state is RunState.RUNNING else Tone.BAD)
        if run.state is RunState.FINISHED and run.exit_code is not None:
            text = f"{run.exit_code} {ENDINGS.get(run.exit_code, '')}".rstrip()
            ending = Span(text, _RUN_TONES.get(run.exit_code, Tone.BAD))
        began, command = moment(run.at, view.zone), f"{run.command} {run.plan_scope}".rstrip()
        rows.append((str(run.id), began, took, command, ending, ", ".join(came_to)))
    runs = table("run# | began | took# | command~ | ended | ~", rows)
    newest, told = view.runs[0], (view.last_run or {}).get("run")  # of that one everything is below
    said = f"Run {newest.id}: {newest.message}" if newest.message and newest.id != told else ""
    return Section("Runs", (), (*runs, *remarks(said)))


def _overview(view: StatusView, *, named: bool) -> Section:
    if not view.clients:
        return Section("Clients", (), (Span(view.nobody or "No run has seen a client yet."),))
    counts = Counter(client.state for client in view.clients)
    facts = tuple(f"{number} {state}" for state, number in counts.most_common())
    alike: dict[str, dict[tuple[str, str], list[Client]]] = {}
    for client in view.clients if named else ():
        if not client.is_fine:
            confirmed = client.record.confirmed_at
            label = _since(client, view.zone)
            label += f", last confirmed {moment(confirmed, view.zone)}" if confirmed else ""
            causes = alike.setdefault(_remedy(client), {})
            causes.setdefault((label, client.record.reason), []).append(client)
    items = []
    for todo, causes in alike.items():
        for number, ((label, reason), clients) in enumerate(causes.items(), 1):
            names = together([client.record.name for client in clients], _NAMED_AT_MOST)
            below = todo * (number == len(causes))
            items.append(_entry(clients[0], f"{names}: {label}", reason, below))
    noted = [x["name"] for x in (view.last_run or {}).get("companies", ()) if x.get("notes")]
    said = f"Notes (`kisi preview -v`): {together(noted)}" if noted else ""
    more = (f"Note: {note}" for note in (view.last_run or {}).get("notes", ()))
    return Section("Clients", facts, (*items, *remarks(said, *more)))


def _remedy(client: Client) -> str:
    """What is to be done; what releases a hold is told with the hold."""
    return client.record.remedy if client.record.status is Status.FAILED else ""


def _entry(client: Client, label: str, *more: str) -> Entry:
    mark = "✗" if client.record.status is Status.FAILED else "!"
    tone = _CLIENT_TONES.get(client.state, Tone.DIM)
    return Entry(mark, tone, label, remarks=remarks(*more, tone=Tone.PLAIN))


def _client(client: Client, zone: tzinfo) -> Section:
    record = client.record
    facts = [record.psa, f"agreement {record.agreement}", _since(client, zone)]
    if record.confirmed_at is not None:
        facts.append(f"confirmed {moment(record.confirmed_at, zone)}")
    if client.next_invoice is not None:
        facts.append(f"next invoice {client.next_invoice}")
    items: list[Item] = []
    if record.reason:
        items.append(_entry(client, record.reason, _remedy(client)))
    for line in client.lines:
        if line.quantities:
            label = billed_as(line.application, line.categories)
            told = trend(line.quantities, zone) if len(line.quantities) > 1 else ""
            chart = over_time(line.quantities, zone, told)
            held, said = as_billed(line, client.found, zone)
            amount = client.amount(line)
            said += "" if amount is None else f", {in_all([(line.terms_at(), amount)])}"
            items.append(Entry("=", Tone.DIM, label, after=held, change=said, chart=chart))
    state = Span(client.state, _CLIENT_TONES.get(client.state, Tone.DIM))
    confirmed = moment(record.confirmed_at, zone) if record.confirmed_at else ""
    in_index = (state, *map(Span, (*_sums([client]), confirmed)))
    return Section(record.name, tuple(facts), tuple(items), row=in_index)


def as_billed(line: LineHistory, found: Mapping[str, FoundLine], zone: tzinfo) -> tuple[str, str]:
    """What the PSA holds, and since when; where that is not what was confirmed, says so."""
    now = line.quantities[-1]
    other = found.get(line.line_id)
    if other is not None and other.by_hand:
        return quantity(other.quantity), "managed by hand"
    if other is not None and other.quantity != now.quantity:
        confirmed = f"kisi confirmed {quantity(now.quantity)} on {day(now.last_at, zone)}"
        return quantity(other.quantity), confirmed
    return quantity(now.quantity), f"since {day(now.first_at, zone)}"


def _since(client: Client, zone: tzinfo) -> str:
    record, state = client.record, client.state
    if record.guard and state == record.status:
        state += f" ({cause_of(record.guard, record.reason)})"
    if record.since_at is None or state == _OUT_OF_DATE:
        return state
    return f"{state} since {day(record.since_at, zone)}"


def trend(quantities: Sequence[QuantityRange], zone: tzinfo) -> str:
    """A line's quantities with the days since when: `90 (2026-10-01) → 92 (11-03)`."""
    shown: list[str] = ["…"] if len(quantities) > _POINTS else []
    year = ""
    for one in quantities[-_POINTS:]:
        since = day(one.first_at, zone)
        shown.append(f"{quantity(one.quantity)} ({since.removeprefix(year)})")
        year = since[:5]
    return " → ".join(shown)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every billed client may be invoiced from its lines, and nobody is forgotten."""

    billed: int
    blockers: tuple[tuple[str, str], ...]
    """Each client that must not be invoiced yet, and why."""
    max_age: timedelta
    tenants: tuple[tuple[Tenant, int | None], ...] = ()
    """Tenants in use that are unmapped, or whose client has left, with how many units; None: what
    they use could not be read."""
    unmapped_lines: tuple[LeftLine, ...] = ()
    """Lines that still bill clients which are not mapped any more."""
    off_lines: tuple[LeftLine, ...] = ()
    """Lines of clients with billing off: named, and not in the way."""
    due: tuple[tuple[str, date, bool], ...] = ()
    """The invoices that are due within `max_age`, or overdue: whose, when, whether it is ready."""
    reverted: tuple[str, ...] = ()
    """Clients whose lines were brought back since the last count: named, and not in the way."""

    @property
    def ready(self) -> bool:
        """True if somebody is billed and nothing stands against it."""
        return self.billed > 0 and not (self.blockers or self.tenants or self.unmapped_lines)


def readiness(view: StatusView, max_age: timedelta) -> Readiness:
    """Looks at every billed client of the journal.

    In the way is one that failed, was not confirmed within `max_age` or not judged by a newer run,
    or of which anything is held, unmapped or of unknown outcome. So is what nobody is billed for:
    an unmapped tenant in use, or one whose client has left, and a line of a client that is not
    mapped any more.
    """
    on = [one for one in view.clients if one.record.billing is Billing.ON]
    billed = [one.record for one in on]
    reasons = [(client.name, next(_reasons(client, view, max_age), "")) for client in billed]
    blockers = tuple((name, reason) for name, reason in reasons if reason)
    until = local_day(view.at + max_age, view.zone)
    invoices = ((day, x.record.name) for x in on if (day := x.next_invoice))
    due = sorted((day, name) for day, name in invoices if day <= until)
    used: Counter[TenantRef | None] = Counter()
    for use in view.unmapped_uses:
        used[use.tenant] += use.quantity
    tenants = (x for x in view.unmapped_tenants if x.in_use is not False)
    return Readiness(
        len(billed),
        blockers,
        max_age,
        tuple((one, used[one.ref] if one.in_use else None) for one in tenants),
        tuple(line for line in view.left if not line.is_off),
        tuple(line for line in view.left if line.is_off),
        tuple((name, day, name not in dict(blockers)) for day, name in due),
        tuple(one.name for one in billed if (one.guard, one.status) == ("reverted", Status.READY)),
    )


def _reasons(client: ClientRecord, view: StatusView, max_age: timedelta) -> Iterator[str]:
    if client.status is None:
        yield "not yet run"
    billed_on = (client.psa, client.agreement)
    mine = [hold for hold in view.holds if (hold.psa, hold.agreement) == billed_on]
    if client.status in {Status.FAILED, Status.HELD}:
        held = (x for hold in mine for x in hold.lines)
        over = [(x.terms, x.before) for x in held if x.hold and x.hold.guard in _OVER and x.before]
        worth = f", {units_and_money(over)}" if over else ""
        yield f"{client.status}: {cause_of(client.guard, client.reason)}{worth}"
    if mine:
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
    """The answer, naming the clients that are in the way, and the invoices that are due."""
    when = ((x, f"{day}" if ready else f"{day}, NOT ready") for x, day, ready in readiness.due)
    due = f" Invoices due: {by_cause(when, _NAMED_AT_MOST)}." if readiness.due else ""
    back = together(readiness.reverted, _NAMED_AT_MOST) if readiness.reverted else ""
    due += back and f" Billed as before a reverted run, and not as counted: {back}."
    good = readiness.billed - len(readiness.blockers)
    clients = f"{good} of {readiness.billed} billed clients"
    if readiness.ready:
        hours = readiness.max_age.total_seconds() / 3600
        age = f"{hours:g} h" if hours < 72 else plural(round(hours / 24), "day")
        said = f"Ready to invoice: {clients} were confirmed within {age} and nothing is on hold."
        return said + due
    if not readiness.billed:
        return "NOT ready to invoice: no client is billed." + due
    against = [by_cause(readiness.blockers, _NAMED_AT_MOST)] if readiness.blockers else []
    if lines := readiness.unmapped_lines:
        names = together(list(dict.fromkeys(line.name for line in lines)), _NAMED_AT_MOST)
        billed = units_and_money((line.terms, line.quantity) for line in lines)
        against.append(f"not mapped any more and still billed: {names} ({billed})")
    unread = "what it uses is not known before the next `kisi sync`"
    for has_left, title in ((False, "unmapped and in use"), (True, "left and still in use")):
        uses = [
            (x.client or x.name, (x.listed_as or unread) if n is None else plural(n, "device"))
            for x, n in readiness.tenants
            if bool(x.client) is has_left
        ]
        against += [f"{title}: {by_cause(uses, _NAMED_AT_MOST)}"] if uses else []
    return f"NOT ready to invoice: {'; '.join(against)}; {clients} are ready.{due}"


def ready_report(view: StatusView) -> Report:
    """What the answer names, line by line: tenants and lines of nobody who is billed."""
    used = [tenant for tenant in view.unmapped_tenants if tenant.in_use is not False]
    sections = (*unmapped_section(used, view.unmapped_uses), *left_sections(view.left))
    return Report("kisi status --ready", sections)
