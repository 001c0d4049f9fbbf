"""What `kisi status` knows, all of it from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any

from kisi.journal import Billing, RunState
from kisi.model import Category, PlannedLine, Status, Tenant, TenantRef, UnmappedUse
from kisi.render.plan_view import EarlierWrite

EXPIRY_NOTICE = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run."""

    id: int
    command: str
    at: datetime
    """When it began (aware)."""
    end: RunState
    ended_at: datetime | None = None
    exit_code: int | None = None
    last_line: str = ""
    scope: str = ""
    """`--only` and `--exclude` in words; empty for all clients."""
    current: int | None = None
    """Clients proven current; None if the run did not get that far."""
    billed: int | None = None
    applied: int | None = None
    held: int | None = None
    failed: int | None = None


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """A quantity and when the PSA was first proven to hold it."""

    quantity: Decimal
    since: datetime


@dataclass(frozen=True, slots=True)
class LineTrend:
    """A billing line over time, oldest quantity first."""

    application: str
    categories: tuple[Category, ...]
    product: str
    line_id: str
    points: tuple[TrendPoint, ...]


@dataclass(frozen=True, slots=True)
class ClientRow:
    """A client as the last run that judged it left it."""

    name: str
    psa: str
    company: str
    agreement: str
    billing: Billing = Billing.ON
    status: Status | None = None
    """None: no run has judged it yet."""
    guard: str = ""
    reason: str = ""
    remedy: str = ""
    since: datetime | None = None
    """Since when it is in this state."""
    confirmed_at: datetime | None = None
    """When all its lines were last proven; None if they never were."""
    lines: tuple[LineTrend, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenHold:
    """What waits for a person at one client."""

    client: str
    psa: str
    company: str
    agreement: str
    plan_id: str
    lines: tuple[PlannedLine, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class KeyExpiry:
    """A licence key that counts, and its end."""

    client: str
    tenant: TenantRef
    serial: str
    name: str
    expires: datetime
    used: int | None = None


@dataclass(frozen=True, slots=True)
class CertificateExpiry:
    """A server's certificate and its end."""

    server: str
    """The section's name in kisi.toml."""
    expires: datetime


@dataclass(frozen=True, slots=True)
class StatusView:
    """Everything that `kisi status` shows."""

    at: datetime
    """Now (aware)."""
    version: str
    zone: tzinfo = UTC
    """The billing time zone."""
    runs: tuple[RunRow, ...] = ()
    """Newest first."""
    clients: tuple[ClientRow, ...] = ()
    nobody: str = ""
    """Why there is no client here, in a sentence; empty: the journal knows none at all."""
    holds: tuple[OpenHold, ...] = ()
    unmapped: tuple[UnmappedUse, ...] = ()
    unmapped_tenants: tuple[Tenant, ...] = ()
    keys: tuple[KeyExpiry, ...] = ()
    """Keys that count; those that end within 30 days are shown."""
    certificates: tuple[CertificateExpiry, ...] = ()
    """Likewise."""
    unsettled: tuple[EarlierWrite, ...] = ()
    last_run: Mapping[str, Any] | None = None
    """The document of the last run (`plan_document`)."""
    problem: str = ""
    """Why the journal could not be read whole."""

    @property
    def expiring_keys(self) -> tuple[KeyExpiry, ...]:
        """Keys that end within 30 days, the first to end first."""
        ending = [key for key in self.keys if key.expires <= self.at + EXPIRY_NOTICE]
        return tuple(sorted(ending, key=lambda key: (key.expires, key.client)))

    @property
    def expiring_certificates(self) -> tuple[CertificateExpiry, ...]:
        """Certificates that end within 30 days, or have ended, the first to end first."""
        ending = [one for one in self.certificates if one.expires <= self.at + EXPIRY_NOTICE]
        return tuple(sorted(ending, key=lambda one: (one.expires, one.server)))
