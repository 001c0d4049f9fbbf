"""What a PSA holds and answers, what a run would change there, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from kisi.errors import ExitCode
from kisi.model.billing import TODAY, Category, Company, TenantRef, category_text
from kisi.model.usage import Baseline, Outlook, PeriodCount, Tenant, UnmappedUse


@dataclass(frozen=True, slots=True)
class AgreementRef:
    """Where a client is billed."""

    psa: str
    company: str
    agreement: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing of a client was written."""

    guard: str
    reason: str
    remedy: str
    exit_code: ExitCode = ExitCode.WITHHELD


@dataclass(frozen=True, slots=True)
class Terms:
    """What a PSA invoices for the units of a line, as far as it tells."""

    unit_price: Decimal | None = None
    included: Decimal | None = Decimal(0)
    """Units that cost nothing; None: not known."""
    billable: bool = True
    cycle: str = ""
    """How often the agreement is invoiced, in the PSA's word (`Monthly`); empty: not known."""
    currency: str = ""
    """As ISO 4217 has it (`EUR`); empty: not known."""
    policy: str = TODAY
    """Which number of the invoice period is billed, as in `ProductRow.count`."""
    begins: date | None = None
    """The first day of that period; None under `today`."""
    ends: date | None = None
    """As in `PeriodCount`."""

    def amount(self, units: Decimal | int | None) -> Decimal | None:
        """What so many units cost in one billing cycle; None: not known.

        >>> Terms(Decimal("4.50"), included=Decimal(5)).amount(90)
        Decimal('382.50')
        """
        if not self.billable:
            return Decimal(0)
        if units is None or self.unit_price is None or self.included is None:
            return None
        return max(units - self.included, Decimal(0)) * self.unit_price


class NotBillable(Failure):
    """Why an agreement or account is not fit to bill; its guard is `agreement` or `account`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """An agreement as its PSA describes it, judged against the client mapped to it."""

    ref: AgreementRef
    name: str = ""
    not_billable: NotBillable | None = None
    """Set if it must not be billed: missing, ended, another company's, no cross reference."""
    bill_start: date | None = None
    next_invoice: date | None = None
    """Its parent's, if it is invoiced with that; so is the `cycle`."""
    ends: date | None = None
    prorated: bool | None = None
    """Whether a change within a period is invoiced in part; None: the PSA does not say."""
    gone: bool = False
    """It does not exist, or is not active today, so that its lines bill nothing."""
    cycle: str = ""
    """As in `Terms`, with the next."""
    currency: str = ""


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
    empty: bool = False
    """It is ready for a first quantity and bills nothing: like no line, unless it is kisi's."""
    pending: str = ""
    """What is agreed and not in effect yet, as `34 → 30 from 2026-12-01`; `quantity` is the new."""
    problem: str = ""
    """Why it could not be read (nothing but id and product then means anything); else empty."""
    included: Decimal | None = Decimal(0)
    """As in `Terms`."""
    raw: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    """All that the PSA says of it, where `kisi.apply` is to compare that; else empty."""

    def terms(self, agreement: Agreement) -> Terms:
        """What the PSA invoices for its units."""
        known = (self.unit_price, self.included, self.billable)
        return Terms(*known, cycle=agreement.cycle, currency=agreement.currency)


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


class Action(StrEnum):
    """What the numbers ask for, also where it is held."""

    CREATE = "create"
    UPDATE = "update"
    NONE = "none"


class Status(StrEnum):
    """A client in a plan."""

    READY = "ready"
    HELD = "held"
    FAILED = "failed"
    OFF = "off"


class Outcome(StrEnum):
    """What became of a planned line in `sync`."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    HELD = "held"
    FAILED = "failed"
    UNKNOWN = "unknown"


WITH = "with"
"""The guard of a hold that only follows from another one."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a change waits."""

    guard: str
    reason: str
    remedy: str
    """What releases it. `{accept}` stands for the command with every id that is needed."""
    releasable: bool = True
    """False: no id releases it, only what its remedy says."""
    key: str = ""
    """What an accept of this line lifts: a hash over guard and numbers; empty for a line that only
    waits. It stays with a line that was accepted and that still waits for another one."""
    exit_code: ExitCode = ExitCode.WITHHELD
    """What a run ends with that leaves this hold."""

    @property
    def has_id(self) -> bool:
        """Whether an id can release it: it does not only wait, and is no fault."""
        return self.guard != WITH and self.releasable


class Pool(NamedTuple):
    """Devices (or users, or mailboxes) that somebody pays for: one application of one tenant."""

    tenant: TenantRef
    application: str


class LineSlot(NamedTuple):
    """What names a billing line before and after it exists."""

    psa: str
    agreement: str
    product: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _AgreementLine:
    """What a planned and an owned line have in common: where it is, and what it bills."""

    psa: str
    company: str
    """The PSA's id of the company."""
    agreement: str
    application: str
    categories: tuple[Category, ...]
    product: str

    @property
    def category(self) -> str:
        """The categories as one text, `category_text`."""
        return category_text(self.categories)

    @property
    def ref(self) -> AgreementRef:
        """The agreement that the line is on."""
        return AgreementRef(self.psa, self.company, self.agreement)

    @property
    def slot(self) -> LineSlot:
        """What names the line before and after it exists."""
        return LineSlot(self.psa, self.agreement, self.product)


@dataclass(frozen=True, slots=True)
class Reversal:
    """Where `kisi sync --revert` brings a line back to, and leaves it until a person accepts."""

    quantity: int
    """What the line held before `run`."""
    run: int
    """The run whose change is undone."""
    by: int
    """The run that was told to."""
    over: int | None = None
    """The run whose change was undone there before: it is again, where this is withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLine(_AgreementLine):
    """A line of a client's agreement: what it is, what it should be."""

    line_id: str | None
    action: Action
    before: Decimal | None
    after: int
    unit_price: Decimal | None = None
    included: Decimal | None = Decimal(0)
    """As in `Terms`, with the next two."""
    cycle: str = ""
    currency: str = ""
    description: str = ""
    adopt: bool = False
    """kisi has never written this line, and its quantity differs."""
    orphaned: bool = False
    billable: bool = True
    prorated: bool | None = None
    """False: the new quantity counts in full for the next invoice, whenever it changed."""
    hold: Hold | None = None
    outcome: Outcome | None = None
    detail: str = ""
    """What the operator should read about a failed or unknown outcome."""
    invoice: date | None = None
    """The first invoice that has the new quantity; None: nothing changes, or it is not known."""
    overwritten: Decimal = Decimal(0)
    """Units beyond it that the line held in the running period: no invoice will have them."""
    because: str = ""
    """Why fewer are counted, where keys say so: they have ended."""
    period: PeriodCount | None = None
    """What `after` was worked out from; None: it is today's reading."""
    reversal: Reversal | None = None
    """A run whose change of the line is to be undone, or was, and is not accepted again."""

    @property
    def changes(self) -> bool:
        """Whether the numbers ask for a write."""
        return self.action is not Action.NONE

    @property
    def terms(self) -> Terms:
        """What the PSA invoices for its units."""
        known = (self.unit_price, self.included, self.billable, self.cycle, self.currency)
        if self.period is None or self.policy == TODAY:
            return Terms(*known)
        return Terms(*known, self.policy, self.period.begins, self.period.ends)

    @property
    def policy(self) -> str:
        """Which number of the invoice period `after` is."""
        return self.period.policy if self.period else TODAY

    @property
    def counted(self) -> int | None:
        """Today's reading, which guards judge; None: there is none."""
        if self.orphaned:
            return None
        return self.period.counted if self.period else self.after

    @property
    def delta(self) -> Decimal:
        """How many units more (or, negative, fewer) are to be billed."""
        return Decimal(self.after) - (self.before or Decimal(0))

    @property
    def excess(self) -> int:
        """How many more its policy, or its reversal, bills than are counted today."""
        return self.after - (self.counted or 0) if self.period or self.goes_back else 0

    @property
    def goes_back(self) -> bool:
        """Whether `after` is what the line held before a run, and not what is counted."""
        return self.reversal is not None and self.after == self.reversal.quantity

    @property
    def baseline(self) -> Baseline | None:
        """What today's reading is compared with, where that is not what the line held."""
        return self.period.baseline if self.period else None

    @property
    def drop(self) -> Decimal:
        """How many fewer are counted than the last time; what is billed may not change."""
        if self.baseline is None or self.counted is None:
            return -self.delta if self.changes else Decimal(0)
        return self.baseline.last - self.counted


@dataclass(frozen=True, slots=True)
class Proof:
    """A run in which a line held what it should, and whose devices were counted for it."""

    run: int
    application: str
    categories: tuple[Category, ...]
    tenants: tuple[TenantRef, ...]

    def added_to(self, proofs: tuple[Proof, ...]) -> tuple[Proof, ...]:
        """Older proofs (at least one) and this one, which replaces a later one of the same kind."""
        oldest, *others = proofs
        if proofs[-1].run > self.run or oldest.run == self.run:
            return proofs
        return oldest, *(x for x in others if replace(x, run=self.run) != self), self


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedLine(_AgreementLine):
    """What the journal knows of a line that kisi owns."""

    line_id: str
    name: str
    """The client's name when the line was last confirmed."""
    tenants: tuple[TenantRef, ...]
    confirmed: Decimal
    """The quantity last written and shown, or read and equal."""
    highest: Decimal
    """The highest quantity confirmed within the baseline, `confirmed` included."""
    lowest: Decimal
    unsettled: bool = False
    """An earlier write has an unknown outcome."""
    proven: int = 0
    """The run with whose readings the quantity was proven: what was counted then is billed."""
    accepted: datetime | None = None
    """When a change of it was accepted last; None: never."""
    by_days: bool = False
    """It was billed by another policy than `today`, or is reverted: its quantities are no
    readings."""
    earlier: tuple[Proof, ...] = ()
    """Where it is not settled: earlier proofs, oldest first. Its units may stand for any of them,
    and stood for those of the oldest one when they were last known to."""
    reversal: Reversal | None = None
    """As in `PlannedLine`."""
    invoices: tuple[date, ...] = ()
    """The next invoice dates that its PSA has shown while a count policy looked at days."""

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """What its units may stand for, the oldest first; at least one."""
        return *self.earlier, Proof(self.proven, self.application, self.categories, self.tenants)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftLine(_AgreementLine):
    """A line of kisi's that still bills and belongs to nobody who is billed: it stays as it is."""

    name: str
    line_id: str
    quantity: Decimal
    """What the PSA holds; where that was not read, what was confirmed last."""
    terms: Terms
    is_off: bool
    """A client has it whose billing is off; False: no row of the mapping has it."""

    @property
    def money(self) -> Decimal | None:
        """What it bills in a billing cycle; None: not known."""
        return self.terms.amount(self.quantity)


@dataclass(frozen=True, slots=True)
class CompanyPlan:
    """All planned lines of one client."""

    company: Company
    status: Status
    lines: tuple[PlannedLine, ...] = ()
    failure: Failure | None = None
    unmapped: tuple[UnmappedUse, ...] = ()
    others: tuple[Line, ...] = ()
    """Other live lines of the agreement, for a client's first create."""
    unconfirmed: str = ""
    """Why nothing of it counts as confirmed, whatever its lines hold; else empty."""
    left: tuple[PlannedLine, ...] = ()
    """Owned lines that stay as they are: billing off, an exception with `bill = false`."""
    notes: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    """Applications of which devices with an unknown operating system are counted."""
    uncounted: Mapping[str, str] = field(default_factory=dict)
    """By application, what is in use and does not count, with the reasons, in words."""
    plan_id: str = ""
    agreement_name: str = ""
    next_invoice: date | None = None
    """When the PSA invoices the agreement next; None: not known."""

    @property
    def hold(self) -> Hold | None:
        """What the client waits for: its first hold that does not only follow from another one."""
        holds = [line.hold for line in self.lines if line.hold is not None]
        return next((hold for hold in holds if hold.guard != WITH), holds[0] if holds else None)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Who has to do with whom, and who waits for whom."""

    pools: Mapping[LineSlot, frozenset[Pool]] = field(default_factory=dict)
    """The pools of each line that changes, each joined set of pools under one of its members."""
    waits: Mapping[LineSlot, frozenset[LineSlot]] = field(default_factory=dict)
    """For each line that rises, the falling lines that its PSA must show before it is written."""
    moved: Mapping[tuple[LineSlot, LineSlot], int] = field(default_factory=dict)
    """How many devices went from a line that falls to one that rises."""
    unknown: frozenset[Pool] = frozenset()
    """The pools, joined, of lines that may still bill and of which nothing is planned."""
    elsewhere: Mapping[LineSlot, tuple[OwnedLine, ...]] = field(default_factory=dict)
    """For each line that rises, the lines in its pools of which nothing is planned."""
    lasting: Mapping[LineSlot, tuple[PlannedLine, ...]] = field(default_factory=dict)
    """For each line that rises, those that go on billing devices which it counts now."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run would do."""

    companies: tuple[CompanyPlan, ...]
    unmapped_tenants: tuple[Tenant, ...] = ()
    unmapped_uses: tuple[UnmappedUse, ...] = ()
    """Of tenants that belong to no client; a client's own are in its `CompanyPlan`."""
    failures: tuple[Failure, ...] = ()
    """What failed without a client to tell it."""
    notes: tuple[str, ...] = ()
    outlook: tuple[Outlook, ...] = ()
    plan_id: str = ""
    arrangement: Arrangement = field(default_factory=Arrangement)

    @property
    def lines(self) -> tuple[PlannedLine, ...]:
        """All lines of all clients."""
        return tuple(line for company in self.companies for line in company.lines)
