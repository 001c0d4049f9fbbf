"""Clients of `kisi status`: how each stands since when, and where its lines come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import tzinfo

from kisi.journal import Billing
from kisi.model import Company, CompanyPlan, Status
from kisi.render.figures import day, moment, quantity
from kisi.render.plan_client import client_section
from kisi.render.report import Entry, Figures, Item, Remark, Section, Tone
from kisi.render.status_view import ClientRow, LineTrend, OpenHold, StatusView, TrendPoint
from kisi.render.words import billed_as

_POINTS = 5
"""How many quantities of a line are shown; older ones are `...`."""
_TONES = {Status.READY: Tone.GOOD, Status.HELD: Tone.HELD, Status.FAILED: Tone.BAD}


def state_of(client: ClientRow) -> str:
    """How a client stands, in a word or two."""
    if client.billing is not Billing.ON:
        return "billing off" if client.billing is Billing.OFF else "not mapped"
    if client.status is None:
        return "not judged yet"
    if client.status is Status.READY:
        return "current" if client.confirmed_at is not None else "not proven"
    return f"{client.status} ({client.guard})" if client.guard else client.status


def overview(view: StatusView, *, told_below: bool = False) -> Section:
    """How many clients stand how, and each that is not as it should be.

    Args:
        view: What the journal holds.
        told_below: Every client follows in detail, so none is told here.
    """
    if not view.clients:
        return Section("Clients", (), (Remark(view.nobody or "No run has seen a client yet."),))
    counts = Counter(state_of(client).split(" (")[0] for client in view.clients)
    facts = tuple(f"{number} {state}" for state, number in counts.most_common())
    troubled = [] if told_below else [client for client in view.clients if _troubled(client)]
    return Section("Clients", facts, tuple(_trouble(client, view.zone) for client in troubled))


def _troubled(client: ClientRow) -> bool:
    return client.billing is Billing.ON and state_of(client) != "current"


def _trouble(client: ClientRow, zone: tzinfo) -> Entry:
    proven = f"last confirmed {moment(client.confirmed_at, zone)}" if client.confirmed_at else ""
    label = ", ".join(text for text in (f"{client.name}: {_since(client, zone)}", proven) if text)
    return _told(client, label, client.reason)


def _told(client: ClientRow, label: str, *more: str) -> Entry:
    """A client's trouble; what releases a hold is told with the hold."""
    failed = client.status is Status.FAILED
    remarks = (*more, client.remedy if failed else "")
    return Entry(
        mark="✗" if failed else "!",
        tone=_tone(client),
        label=label,
        remarks=tuple(Remark(text) for text in remarks if text),
    )


def _tone(client: ClientRow) -> Tone:
    if client.billing is not Billing.ON or client.status is None:
        return Tone.DIM
    return _TONES[client.status] if state_of(client) != "not proven" else Tone.HELD


def client_detail(client: ClientRow, view: StatusView) -> Section:
    """One client with the trend of each of its lines."""
    facts = [client.psa, f"agreement {client.agreement}", _since(client, view.zone)]
    if client.confirmed_at is not None:
        facts.append(f"confirmed {moment(client.confirmed_at, view.zone)}")
    items: list[Item] = []
    if client.reason:
        items.append(_told(client, client.reason))
    items += [_line(line, view.zone) for line in client.lines if line.points]
    return Section(client.name, tuple(facts), tuple(items))


def _line(line: LineTrend, zone: tzinfo) -> Entry:
    now = line.points[-1]
    return Entry(
        mark="=",
        tone=Tone.DIM,
        label=billed_as(line.application, line.categories),
        figures=Figures("", quantity(now.quantity), f"since {day(now.since, zone)}"),
        remarks=(Remark(trend(line.points, zone), Tone.DIM),) if len(line.points) > 1 else (),
    )


def _since(client: ClientRow, zone: tzinfo) -> str:
    state = state_of(client)
    return f"{state} since {day(client.since, zone)}" if client.since else state


def trend(points: Sequence[TrendPoint], zone: tzinfo) -> str:
    """A line's quantities with the days since when: `90 (2026-10-01) → 92 (11-03)`."""
    shown: list[str] = ["…"] if len(points) > _POINTS else []
    year = ""
    for point in points[-_POINTS:]:
        date = day(point.since, zone)
        shown.append(f"{quantity(point.quantity)} ({date.removeprefix(year)})")
        year = date[:5]
    return " → ".join(shown)


def hold_sections(holds: Iterable[OpenHold], zone: tzinfo) -> Iterable[Section]:
    """What waits for a person, with the commands that release it."""
    for hold in holds:
        company = Company(hold.client, (), hold.psa, hold.company, hold.agreement)
        plan = CompanyPlan(company, Status.HELD, hold.lines, plan_id=hold.plan_id)
        section = client_section(plan)
        since = f"held since {day(hold.since, zone)}"
        yield Section(section.title, (*section.facts, since), section.items, Tone.HELD)
