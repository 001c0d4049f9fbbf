"""What the journal takes and gives, as values.

Values that the rest of kisi already knows (`OwnedLine`, `PlannedLine`, `TenantUsage`) are those of
`kisi.model`; here is what only the journal speaks of: first what a run stores, then what is asked
of the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

from kisi.model import (
    Category,
    Company,
    KeyEvidence,
    Line,
    Outcome,
    PlannedLine,
    Status,
    TenantRef,
    TenantUsage,
)


def tenant_ref(text: str) -> TenantRef:
    """Reads what `str` made of a reference; a tenant's own id may have colons."""
    source, _, tenant = text.partition(":")
    return TenantRef(source, tenant)


class RunState(StrEnum):
    """How far a run came."""

    RUNNING = "running"
    """It has begun and not ended; without a process that holds the lock it has crashed."""
    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"
    """A later run found that it never ended."""


class Billing(StrEnum):
    """Where a client stands in the mapping that was recorded last."""

    ON = "on"
    OFF = "off"
    UNMAPPED = "unmapped"


class Subject(StrEnum):
    """What only the last run's value is kept of (`Journal.replace_latest`)."""

    REPORT = "report"
    """The run's JSON, as `sync --format json` prints it."""
    CERTIFICATES = "certificates"
    """The servers' certificates and when they expire."""
    TENANTS = "tenants"
    """What each tenant was called when it was last read: `source:tenant` to name."""


@dataclass(frozen=True, slots=True, order=True)
class LineKey:
    """What tells a line from every other one."""

    psa: str
    agreement: str
    line_id: str


@dataclass(frozen=True, slots=True)
class ConfirmedLine:
    """A line that is proven to hold a quantity: written and shown, or read and equal.

    Raises:
        ValueError: The line has no id. A created line is proven only once its id is known.
    """

    line: PlannedLine
    """As it was planned, under the id that the PSA gave it."""
    name: str
    """The client's name."""
    tenants: tuple[TenantRef, ...]
    quantity: Decimal
    settled: bool = True
    """False: the number is proven, and stands for what the line billed before."""

    def __post_init__(self) -> None:
        if self.line.line_id is None:
            raise ValueError("A line without an id cannot be confirmed.")

    @classmethod
    def of(cls, line: PlannedLine, company: Company, *, settled: bool = True) -> Self:
        """The planned line of `company` that was read and found equal to what it should be."""
        return cls(line, company.name, company.tenants, Decimal(line.after), settled)


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    """What became of one write.

    `APPLIED` and `UNCHANGED` prove the line at `quantity` (default: what was to be written) under
    `line_id` (needed for a create).
    """

    outcome: Outcome
    line_id: str | None = None
    quantity: Decimal | None = None
    """What the PSA shows, where it does."""
    detail: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """One write: its intent, and its outcome once that is known."""

    id: int
    key: str
    """The same for the same change, whichever run means to make it; `operation_key`."""
    run_id: int
    at: datetime
    """When the intent was committed."""
    name: str
    """The client's name."""
    tenants: tuple[TenantRef, ...]
    line: PlannedLine
    """What was to be changed; without price, description and hold."""
    outcome: Outcome | None = None
    """None: no outcome was ever stored."""
    quantity: Decimal | None = None
    """What the PSA showed afterwards, where it did."""
    detail: str = ""
    request_id: str = ""
    settled: bool = False
    """False while nobody knows what the write did: no outcome, or an unknown one."""
    running: bool = False
    """Its run has not ended: it may be under way just now."""
    lines_before: tuple[Line, ...] | None = None
    """All lines of the agreement from just before the request, until those after it were seen."""


@dataclass(frozen=True, slots=True)
class StoredForeignChange:
    """A write with which something else changed, and at which no person has looked yet."""

    psa: str
    agreement: str
    at: datetime
    """When it was found."""
    what: str
    """In a sentence."""
    lines: tuple[Mapping[str, Any], ...] = ()
    """All lines of the agreement from before the write, as the PSA gave them."""


@dataclass(frozen=True, slots=True)
class ClientState:
    """What a run found of one client."""

    name: str
    psa: str
    company: str
    agreement: str
    status: Status
    guard: str = ""
    """Which guard held or failed it; empty if none did."""
    reason: str = ""
    remedy: str = ""
    confirmed: bool = False
    """All its lines are proven to hold what this run counted."""


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
