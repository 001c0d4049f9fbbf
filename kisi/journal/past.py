"""What the journal tells of the past, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from kisi.journal.records import Billing, LineKey, RunState
from kisi.model import Category, KeyEvidence, PlannedLine, Status, TenantRef, TenantUsage


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command that may write."""

    id: int
    at: datetime
    version: str
    """kisi's own."""
    command: str
    config_hash: str
    plan_scope: str
    """`--only` and `--exclude` in words; empty for a run over all clients."""
    state: RunState
    ended_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    """The run's last line."""
    summary: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClientRecord:
    """A client as the journal last saw it."""

    name: str
    psa: str
    company: str
    agreement: str
    billing: Billing
    tenants: tuple[TenantRef, ...]
    status: Status | None = None
    """None: no run has looked at it yet."""
    guard: str = ""
    reason: str = ""
    remedy: str = ""
    since_at: datetime | None = None
    """The first run that found it in this very state, without another state in between."""
    last_run: int | None = None
    last_at: datetime | None = None
    confirmed_at: datetime | None = None
    """When all its lines were last proven; None if they never were."""


@dataclass(frozen=True, slots=True)
class HeldPlan:
    """What an id that could be given to `--accept` stood for."""

    plan_id: str
    name: str
    """The client's name; empty for the id of a whole plan."""
    psa: str
    company: str
    agreement: str
    lines: tuple[PlannedLine, ...]
    """The lines that were held, with their holds."""
    first_run: int
    first_at: datetime
    last_run: int
    last_at: datetime
    open: bool
    """Whether it is still held, as far as the last run that judged it knows."""


@dataclass(frozen=True, slots=True)
class QuantityRange:
    """A quantity and the runs between which a line was proven to hold it."""

    quantity: Decimal
    first_run: int
    first_at: datetime
    last_run: int
    last_at: datetime


@dataclass(frozen=True, slots=True)
class LineHistory:
    """A line of a client with every quantity it was proven to hold, oldest first."""

    key: LineKey
    name: str
    product: str
    application: str
    categories: tuple[Category, ...]
    owned: bool
    quantities: tuple[QuantityRange, ...]


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What one tenant of a client used, with the evidence, and for which runs that is proven."""

    name: str
    psa: str
    agreement: str
    usage: TenantUsage
    """`usage.at` is the newest of the readings that had this content."""
    first_run: int
    first_at: datetime
    last_run: int
    last_at: datetime
    read: bool
    """False: the run that was asked for did not read this tenant; this is the reading before."""
    previous: TenantUsage | None = None
    """The last reading before that had another content; None if there was none, or it is pruned."""
    previous_run: int | None = None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A licence key of a client, as its tenant's newest reading has it."""

    name: str
    """The client's name."""
    tenant: TenantRef
    key: KeyEvidence


@dataclass(frozen=True, slots=True)
class Latest:
    """The last run's value of a `Subject`, as plain JSON data."""

    run_id: int
    at: datetime
    value: Any
