"""What `kisi status` knows, as the journal has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from kisi.journal import Billing, ClientRecord, HeldPlan, LineHistory, Operation, Run, StoredKey
from kisi.model import Status, Tenant, UnmappedUse

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
