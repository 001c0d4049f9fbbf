"""Are we ready to invoice? The question before the invoices are made, and its answer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from kisi.journal import Billing, ClientRecord
from kisi.model import Status
from kisi.render.formatting import moment, plural
from kisi.render.status_view import StatusView

_NAMED_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Blocker:
    """A client that must not be invoiced yet, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every billed client may be invoiced from its lines."""

    billed: int
    blockers: tuple[Blocker, ...]
    max_age: timedelta

    @property
    def ready(self) -> bool:
        """True if somebody is billed and nothing stands against anybody."""
        return self.billed > 0 and not self.blockers


def readiness(view: StatusView, max_age: timedelta) -> Readiness:
    """Looks at every billed client of the journal.

    A client is in the way if its lines were not confirmed within `max_age`, if it failed in its
    last run, or if anything of it is held, unmapped or of unknown outcome.
    """
    billed = [one.record for one in view.clients if one.record.billing is Billing.ON]
    blockers = [
        Blocker(client.name, reason)
        for client in billed
        if (reason := next(iter(_reasons(client, view, max_age)), ""))
    ]
    return Readiness(len(billed), tuple(blockers), max_age)


def _reasons(client: ClientRecord, view: StatusView, max_age: timedelta) -> Iterable[str]:
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
    if client.confirmed_at is None:
        yield "never confirmed"
    elif view.at - client.confirmed_at > max_age:
        yield f"last confirmed {moment(client.confirmed_at, view.zone)}"


def ready_sentence(readiness: Readiness) -> str:
    """The answer in one sentence, naming the clients that are in the way."""
    good = readiness.billed - len(readiness.blockers)
    clients = f"{good} of {readiness.billed} billed clients"
    if readiness.ready:
        within = f"within {_hours(readiness.max_age)} and nothing is on hold"
        return f"Ready to invoice: {clients} were confirmed {within}."
    if not readiness.billed:
        return "NOT ready to invoice: no client is billed."
    named = [f"{one.name} ({one.reason})" for one in readiness.blockers[:_NAMED_AT_MOST]]
    more = len(readiness.blockers) - len(named)
    text = ", ".join(named) + (f" and {more} more" if more else "")
    return f"NOT ready to invoice: {text}; {clients} are ready."


def _hours(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours:g} h" if hours < 72 else plural(round(hours / 24), "day")
