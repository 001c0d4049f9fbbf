"""What a PSA holds, and what it answers to a write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class AgreementRef:
    """Where a client is billed."""

    psa: str
    company: str
    agreement: str


@dataclass(frozen=True, slots=True)
class NotBillable:
    """Why an agreement or account is not fit to bill."""

    guard: str
    """`agreement` or `account`."""
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement as its PSA describes it, judged against the client mapped to it."""

    ref: AgreementRef
    name: str = ""
    not_billable: NotBillable | None = None
    """Set if it must not be billed: missing, ended, another company's, no cross reference."""
    bill_start: date | None = None
    next_invoice: date | None = None
    ends: date | None = None
    prorated: bool | None = None
    """Whether a change within a period is invoiced in part; None: the PSA does not say."""
    gone: bool = False
    """It does not exist, or is not active today, so that its lines bill nothing."""


@dataclass(frozen=True, slots=True)
class Line:
    """A billing line: a ConnectWise agreement addition, a Tigerpaw additional charge."""

    id: str
    agreement: str
    product: str
    quantity: Decimal
    description: str = ""
    unit_price: Decimal | None = None
    billable: bool = True
    starts: date | None = None
    """The first day it is in effect; None if it has no such date."""
    cancelled: date | None = None
    """From this day on it is cancelled; None if it is not."""
    dead: bool = False
    """The PSA calls it cancelled or expired without giving a day."""
    one_time: bool = False
    """A charge that is gone after the next invoice: never kisi's."""
    problem: str = ""
    """Why it could not be read (nothing but id and product then means anything); else empty."""


class WriteStatus(StrEnum):
    """What a PSA's answer to a write means."""

    APPLIED = "applied"
    """The answer shows the new quantity."""
    REJECTED = "rejected"
    """Refused for good: nothing was written."""
    STALE = "stale"
    """Refused because the line or agreement is not what it was: read again, then decide."""
    NOT_SENT = "not_sent"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    """It may have been applied: read back."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A PSA's answer to one write."""

    status: WriteStatus
    message: str = ""
    """A sentence for the operator; safe to store, without secrets."""
    line_id: str | None = None
    quantity: Decimal | None = None
    wait: float = 0.0
    """Seconds to wait before trying again (`THROTTLED`)."""
    denied: bool = False
    """The PSA refused our credentials: nothing more is sent to it in this run."""
    request_id: str = ""
    """The PSA's own id of the request, for its support."""
