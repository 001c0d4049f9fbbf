"""What `kisi status` knows, as the journal has it; and whether invoices may be made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from kisi.journal import Billing, ClientRecord, HeldPlan, LineHistory, Operation, Run, StoredKey
from kisi.model import Status, Tenant, UnmappedUse
from kisi.render.formatting import moment, plural

_NAMED_AT_MOST = 20
"""Clients in the way of invoicing."""
EXPIRY_NOTICE = timedelta(days=30)
UP_TO_DATE = "up to date"
NOT_CONFIRMED = "not confirmed"
"""Nothing is wrong with the client, and its lines were never all confirmed."""


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
            return NOT_CONFIRMED if record.confirmed_at is None else UP_TO_DATE
        return record.status


class Expiry(NamedTuple):
    """A server's certificate and its end; those that end first come first."""

    expires: datetime
    server: str
    """The section's name in kisi.toml."""


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything that `kisi status` shows."""

    at: datetime
    """Now (aware)."""
    version: str
    zone: tzinfo = UTC
    """The billing time zone."""
    runs: tuple[Run, ...] = ()
    """Newest first."""
    clients: tuple[Client, ...] = ()
    nobody: str = ""
    """Why there is no client here, in a sentence; empty: the journal knows none at all."""
    holds: tuple[HeldPlan, ...] = ()
    unmapped: tuple[UnmappedUse, ...] = ()
    unmapped_tenants: tuple[Tenant, ...] = ()
    keys: tuple[StoredKey, ...] = ()
    """Those that count and end within 30 days are shown."""
    certificates: tuple[Expiry, ...] = ()
    """Likewise."""
    unsettled: tuple[Operation, ...] = ()
    last_run: Mapping[str, Any] | None = None
    """The document of the last run (`plan_document`)."""
    problem: str = ""
    """Why the journal could not be read whole."""

    @property
    def expiring_keys(self) -> tuple[tuple[datetime, StoredKey], ...]:
        """Keys that count and end within 30 days, or have ended, the first to end first."""
        ending = [
            (stored.key.expires, stored)
            for stored in self.keys
            if stored.key.counted and stored.key.expires and self._is_near(stored.key.expires)
        ]
        return tuple(sorted(ending, key=lambda one: (one[0], one[1].name)))

    @property
    def expiring_certificates(self) -> tuple[Expiry, ...]:
        """Certificates that end within 30 days, or have ended, the first to end first."""
        return tuple(sorted(one for one in self.certificates if self._is_near(one.expires)))

    def _is_near(self, expires: datetime) -> bool:
        return expires <= self.at + EXPIRY_NOTICE


# Are we ready to invoice?


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
