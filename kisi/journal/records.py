"""What a run hands to the journal, and the operations it gets back, as values.

Values that the rest of kisi already knows (`OwnedLine`, `PlannedLine`, `TenantUsage`) are those of
`kisi.model`; here is what only the journal speaks of. What is asked of the past is in
`kisi.journal.past`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from kisi.model import Category, Company, Outcome, PlannedLine, Status, TenantRef


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
    """A line that is proven to hold a quantity: written and shown, or read and equal."""

    psa: str
    company: str
    agreement: str
    line_id: str
    product: str
    application: str
    categories: tuple[Category, ...]
    name: str
    """The client's name."""
    tenants: tuple[TenantRef, ...]
    quantity: Decimal
    settled: bool = True
    """False: the number is proven, and stands for what the line billed before."""

    @classmethod
    def of(cls, line: PlannedLine, company: Company, *, settled: bool = True) -> Self:
        """The planned line of `company` that was read and found equal to what it should be.

        Raises:
            ValueError: The line has no id, so it does not exist yet.
        """
        return cls.proven(
            line, company.name, company.tenants, line.line_id, Decimal(line.after), settled=settled
        )

    @classmethod
    def proven(
        cls,
        line: PlannedLine,
        name: str,
        tenants: tuple[TenantRef, ...],
        line_id: str | None,
        quantity: Decimal,
        *,
        settled: bool = True,
    ) -> Self:
        """The planned line as the PSA now holds it, under the id that the PSA gave it.

        Raises:
            ValueError: `line_id` is None. A created line is proven only once its id is known.
        """
        if line_id is None:
            raise ValueError("A line without an id cannot be confirmed.")
        return cls(
            psa=line.psa,
            company=line.company,
            agreement=line.agreement,
            line_id=line_id,
            product=line.product,
            application=line.application,
            categories=line.categories,
            name=name,
            tenants=tenants,
            quantity=quantity,
            settled=settled,
        )


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
