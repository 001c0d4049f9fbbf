"""What `kisi status` shows a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, tzinfo

from kisi.errors import ExitCode
from kisi.journal import Billing, LineHistory, QuantityRange, Run, RunState, StoredKey
from kisi.model import Company, CompanyPlan, Status
from kisi.render.formatting import billed_as, day, moment, plural, quantity, unmapped_as
from kisi.render.plan_report import client_section, operation_entry, unmapped_section
from kisi.render.report import (
    Cell,
    Entry,
    Grid,
    Item,
    QuantityChange,
    Remark,
    Report,
    Section,
    Tone,
    listing,
    row,
)
from kisi.render.status_view import NOT_CONFIRMED, UP_TO_DATE, Client, StatusView

_POINTS = 5
"""How many quantities of a line are shown; older ones are `…`."""
_CLIENT_TONES = {
    UP_TO_DATE: Tone.GOOD,
    NOT_CONFIRMED: Tone.HELD,
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


def status_report(view: StatusView, *, detailed: bool = False) -> Report:
    """What an operator reads of the journal.

    Args:
        view: What the journal holds, already narrowed to what was asked for.
        detailed: Also every client that is as it should be, and the trend of each line.
    """
    return Report(
        title="kisi status",
        sections=tuple(_sections(view, detailed=detailed)),
        facts=(f"kisi {view.version}", moment(view.at, view.zone)),
        summary=view.runs[0].message if view.runs else "",
    )


def _sections(view: StatusView, *, detailed: bool) -> Iterable[Section]:
    if view.problem:
        yield Section("Journal", (), (Remark(view.problem, Tone.BAD),), Tone.BAD)
    yield _runs(view)
    yield _overview(view, named=not detailed)
    if detailed:
        yield from (_client(client, view.zone) for client in view.clients)
    yield from _holds(view)
    if view.unsettled:
        entries = tuple(operation_entry(write, view.zone) for write in view.unsettled)
        yield Section("Writes of unknown outcome", (), entries, Tone.HELD)
    if view.unmapped:
        uses = [(quantity(x.quantity), f"{x.company}: {unmapped_as(x)}") for x in view.unmapped]
        todo = Remark("To bill it, or to say that it is not billed: `kisi map`")
        title = "Used, and billed by no row of mapping.toml"
        yield Section(title, (), (listing("", uses), todo), Tone.HELD)
    yield from unmapped_section(view.unmapped_tenants, ())
    keys = [(expires, _key(stored)) for expires, stored in view.expiring_keys]
    for title, ending in (("Keys", keys), ("Certificates", view.expiring_certificates)):
        if ending:
            rows = [(_end(expires, view), what) for expires, what in ending]
            yield Section(f"{title} that end within 30 days", (), (listing("", rows),), Tone.HELD)


def _key(stored: StoredKey) -> str:
    key = stored.key
    used = "" if key.used is None else f", {key.used} in use"
    return f"{stored.name}: {key.name} ({key.serial}{used})"


def _end(expires: datetime, view: StatusView) -> str:
    left = expires - view.at
    if left < timedelta(0):
        words = "has ended"
    else:
        words = f"in {plural(left.days, 'day')}" if left.days else "today"
    return f"{day(expires, view.zone)}, {words}"


# Runs


def _runs(view: StatusView) -> Section:
    if not view.runs:
        return Section("Runs", (), (Remark("No run is in the journal. Next: `kisi sync`"),))
    headers = ("run", "began", "took", "command", "ended", "")
    rows = tuple(_run(run, view.zone) for run in view.runs)
    runs = Grid(headers, rows, right=frozenset({0, 2}), flexible=frozenset({3, 5}))
    newest = view.runs[0]
    said = (Remark(f"Run {newest.id}: {newest.message}", Tone.DIM),) if newest.message else ()
    return Section("Runs", (), (runs, *said))


def _run(run: Run, zone: tzinfo) -> tuple[Cell, ...]:
    took = ""
    if run.ended_at is not None:
        minutes, seconds = divmod(round((run.ended_at - run.at).total_seconds()), 60)
        took = f"{minutes}:{seconds:02d}"
    command = f"{run.command} {run.plan_scope}".rstrip()
    return row(str(run.id), moment(run.at, zone), took, command, _ending(run), _came_to(run))


def _came_to(run: Run) -> str:
    counts, billed = run.summary, run.summary.get("billed")
    parts = [] if billed is None else [f"{counts.get('current')} of {billed} {UP_TO_DATE}"]
    parts += [f"{counts[x]} {x}" for x in ("applied", "held", "failed") if counts.get(x)]
    return ", ".join(parts)


def _ending(run: Run) -> Cell:
    if run.state is RunState.RUNNING:
        return Cell("running", Tone.CHANGE)
    if run.state is not RunState.FINISHED or run.exit_code is None:
        return Cell(run.state, Tone.BAD)
    text = f"{run.exit_code} {_ENDINGS.get(run.exit_code, '')}".rstrip()
    return Cell(text, _RUN_TONES.get(run.exit_code, Tone.BAD))


# Clients


def _overview(view: StatusView, *, named: bool) -> Section:
    """How many clients stand how; `named`: and each that is not as it should be."""
    if not view.clients:
        return Section("Clients", (), (Remark(view.nobody or "No run has seen a client yet."),))
    counts = Counter(client.state for client in view.clients)
    facts = tuple(f"{number} {state}" for state, number in counts.most_common())
    troubled = [
        _trouble(client, view.zone)
        for client in view.clients
        if named and client.record.billing is Billing.ON and client.state != UP_TO_DATE
    ]
    return Section("Clients", facts, tuple(troubled))


def _trouble(client: Client, zone: tzinfo) -> Entry:
    record = client.record
    label = f"{record.name}: {_since(client, zone)}"
    if record.confirmed_at:
        label += f", last confirmed {moment(record.confirmed_at, zone)}"
    return _entry(client, label, record.reason)


def _entry(client: Client, label: str, *more: str) -> Entry:
    """A client's trouble; what releases a hold is told with the hold."""
    failed = client.record.status is Status.FAILED
    texts = (*more, client.record.remedy if failed else "")
    return Entry(
        mark="✗" if failed else "!",
        tone=_CLIENT_TONES.get(client.state, Tone.DIM),
        label=label,
        remarks=tuple(Remark(text) for text in texts if text),
    )


def _client(client: Client, zone: tzinfo) -> Section:
    """One client with the trend of each of its lines."""
    record = client.record
    facts = [record.psa, f"agreement {record.agreement}", _since(client, zone)]
    if record.confirmed_at is not None:
        facts.append(f"confirmed {moment(record.confirmed_at, zone)}")
    items: list[Item] = [_entry(client, record.reason)] if record.reason else []
    items += [_line(line, zone) for line in client.lines if line.quantities]
    return Section(record.name, tuple(facts), tuple(items))


def _since(client: Client, zone: tzinfo) -> str:
    record, state = client.record, client.state
    if record.guard and state == record.status:
        state += f" ({record.guard})"
    return f"{state} since {day(record.since_at, zone)}" if record.since_at else state


def _line(line: LineHistory, zone: tzinfo) -> Entry:
    now = line.quantities[-1]
    trended = (Remark(trend(line.quantities, zone), Tone.DIM),)
    return Entry(
        mark="=",
        tone=Tone.DIM,
        label=billed_as(line.application, line.categories),
        quantity=QuantityChange("", quantity(now.quantity), f"since {day(now.first_at, zone)}"),
        remarks=trended if len(line.quantities) > 1 else (),
    )


def trend(quantities: Sequence[QuantityRange], zone: tzinfo) -> str:
    """A line's quantities with the days since when: `90 (2026-10-01) → 92 (11-03)`."""
    shown: list[str] = ["…"] if len(quantities) > _POINTS else []
    year = ""
    for one in quantities[-_POINTS:]:
        date = day(one.first_at, zone)
        shown.append(f"{quantity(one.quantity)} ({date.removeprefix(year)})")
        year = date[:5]
    return " → ".join(shown)


def _holds(view: StatusView) -> Iterable[Section]:
    """What waits for a person, with the commands that release it."""
    for hold in view.holds:
        company = Company(hold.name, (), hold.psa, hold.company, hold.agreement)
        plan = CompanyPlan(company, Status.HELD, hold.lines, plan_id=hold.plan_id)
        section = client_section(plan)
        since = f"held since {day(hold.first_at, view.zone)}"
        yield Section(section.title, (*section.facts, since), section.items, Tone.HELD)
