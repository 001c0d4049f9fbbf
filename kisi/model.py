"""The nouns of kisi, as values: what sources report, what PSAs hold, what a plan says.

Pure data: standard library only, frozen, no behaviour beyond reading oneself. Instants are aware
`datetime`s in UTC, dates are days in the billing time zone, quantities that were counted are `int`,
quantities that a PSA holds are `Decimal` (ConnectWise stores a double, Tigerpaw an integer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from kisi.errors import ExitCode

# --- what is billed -----------------------------------------------------------------------------


class Category(StrEnum):
    """How an application is billed: as one product (`ALL`) or as three."""

    ALL = "all"
    WINDOWS_WORKSTATIONS = "windows_workstations"
    WINDOWS_SERVERS = "windows_servers"
    NON_WINDOWS = "non_windows"


SPLIT = (Category.WINDOWS_WORKSTATIONS, Category.WINDOWS_SERVERS, Category.NON_WINDOWS)
"""The three categories of an application that is billed by category."""


class DeviceClass(StrEnum):
    """What a device is. `MOBILE` and `OTHER` are both billed as non-Windows devices."""

    WINDOWS_WORKSTATION = "windows_workstation"
    WINDOWS_SERVER = "windows_server"
    MOBILE = "mobile"
    OTHER = "other"
    UNKNOWN = "unknown"


class Unit(StrEnum):
    """What one unit of an application is."""

    DEVICE = "device"
    USER = "user"
    MAILBOX = "mailbox"


# --- the mapping --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class TenantRef:
    """A client on the Kaspersky side, `source:tenant` in mapping.toml."""

    source: str
    """The section name of `[sources.NAME]`."""
    tenant: str
    """KSC: `KLVSRV_UID`. Business Hub: the company's name in the report."""

    def __str__(self) -> str:
        return f"{self.source}:{self.tenant}"


@dataclass(frozen=True, slots=True)
class Application:
    """A Kaspersky application as the MSP bills it."""

    name: str
    keys: tuple[str, ...] = ()
    """Case-insensitive globs on the key name; empty means `name` + `*`."""
    unit: Unit = Unit.DEVICE
    bill: bool = True

    @property
    def globs(self) -> tuple[str, ...]:
        """The patterns a key name is matched with."""
        return self.keys or (self.name + "*",)


@dataclass(frozen=True, slots=True)
class ProductRow:
    """Which PSA products bill an application: one (`all`), or one a category."""

    application: str
    psa: str
    products: Mapping[Category, str]
    """Category to product id. Empty where `bill` is false."""
    bill: bool = True
    """False only in a client's exception: its lines of this application are left to people."""


@dataclass(frozen=True, slots=True)
class Company:
    """A client: its tenants on one side, its agreement on the other."""

    name: str
    tenants: tuple[TenantRef, ...]
    psa: str
    company: str
    """ConnectWise: the company id. Tigerpaw: the account number."""
    agreement: str
    billing: bool = True
    exceptions: tuple[ProductRow, ...] = ()


@dataclass(frozen=True, slots=True)
class BillingMapping:
    """All of mapping.toml, validated."""

    applications: tuple[Application, ...] = ()
    products: tuple[ProductRow, ...] = ()
    companies: tuple[Company, ...] = ()


@dataclass(frozen=True, slots=True)
class CountingRules:
    """`[counting]`: every default is the literal reading of Kaspersky's rule."""

    grace: bool = False
    soft_cancelled: bool = False
    oem: bool = False
    pending: bool = False
    reported_keys: bool = False
    unknown_device: str = "non_windows"
    """`windows_workstations`, `windows_servers`, `non_windows`, or `hold`."""


@dataclass(frozen=True, slots=True)
class GuardRules:
    """`[guards]`: when a change waits for a person."""

    baseline_days: int = 30
    decrease_percent: float = 25
    decrease_units: float = 3
    increase_percent: float = 50
    increase_units: float = 10
    create_units: float = 500
    run_percent: float = 10
    run_units: float = 50
    adopt: str = "hold"
    """`hold` or `allow`."""
    drift: str = "hold"
    """`hold` or `overwrite`."""


# --- what a source reports ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tenant:
    """A client that a source knows."""

    ref: TenantRef
    name: str
    enabled: bool = True
    """False: a virtual server that nobody can log in to; it counts as missing."""


@dataclass(frozen=True, slots=True)
class Key:
    """A licence key as its server describes it; every attribute but the serial may be absent.

    Attributes and their values: `LicenseKeys.EnumKeys`, KSC/13 a00115 of Kaspersky's OpenAPI pages.
    """

    serial: str
    name: str
    """`KLLIC_PROD_NAME`; what `[[application]] keys` is matched with."""
    key_type: int | None = None
    """1 commercial, 2 beta, 3 trial, 4 test, 5 OEM, 6 subscription."""
    subscription: bool = False
    """`KLLIC_LICTYPE_IS_SUBSCRIPTION`."""
    state: int | None = None
    """Subscriptions: 0 active, 1 paused, 2 soft cancelled, 3 hard cancelled."""
    end_date_type: int | None = None
    """Subscriptions: 0 not defined, 1 unlimited, 2 limited, 3 paused."""
    limit_date: datetime | None = None
    end_date: datetime | None = None
    grace_days: int = 0
    stored: bool = True
    """`KLLICSRV_KEY_INSTALLED`: the key is in this server's own storage."""
    used: int | None = None
    """`KLLIC_NHOSTS_ASCURRENT`: the server's own figure (products or devices, by its version)."""
    licenses: int | None = None
    """`KLLIC_LIC_COUNT`: how many uses were bought."""
    closed: str = ""
    """A reason why it does not count that only the source knows (a report's status); else empty."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One use of a key: a device and a product on it (`AcquireKeyHosts`, KSC/16 a00078)."""

    serial: str
    device: str
    """The device's id (`KLLICSRV_HOSTNAME`), not a network name."""
    name: str = ""
    current: bool = True
    """False: the key is only the device's next (reserve) key."""
    pending: bool = False
    """The device holds the key, its activation is not confirmed."""
    expires: datetime | None = None
    """When the key expires on this device."""
    product: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the tenant's own (`HostGroup.FindHosts`, KSC/14 a00275 and a00278)."""

    id: str
    name: str = ""
    os_name: str = ""
    ctype: int = 0
    """`KLHST_WKS_CTYPE`, a bit field; 0 if absent."""
    last_seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity that a report states as a number, without the devices behind it."""

    name: str
    """The application's name in the report, matched like a key name."""
    category: Category
    quantity: int
    closed: str = ""
    """Why it does not count (an expired or trial licence); empty if it counts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything one tenant reported, complete. An incomplete tenant has no `Reading` at all."""

    tenant: Tenant
    at: datetime
    """When it was read, or (report files) when the figures were made."""
    keys: tuple[Key, ...] = ()
    rows: tuple[KeyRow, ...] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    """Whole sentences for the operator about what was odd."""


# --- usage --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why one device was counted for an application, or why it was not."""

    device: str
    name: str
    os_name: str
    device_class: DeviceClass
    counted: bool
    serial: str
    reason: str
    """In words: `active key`, `reserve key`, `activation pending` and so on."""


@dataclass(frozen=True, slots=True)
class KeyEvidence:
    """Why the uses of a key count, or why they do not."""

    serial: str
    name: str
    counted: bool
    reason: str
    used: int | None
    licenses: int | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class ApplicationUsage:
    """What one tenant used of one application."""

    application: str
    unit: Unit
    quantities: Mapping[Category, int]
    """Device applications: the three of `SPLIT`. Users, mailboxes and reported totals: `ALL`."""
    rows: int
    """Rows read for it; equals counted rows plus `left_out`."""
    counted_rows: int
    left_out: Mapping[str, int]
    """Reason to number of rows."""
    evidence: tuple[Evidence, ...] = ()
    keys: tuple[KeyEvidence, ...] = ()
    unknown_devices: tuple[str, ...] = ()
    """Names of counted devices whose operating system is not known."""

    @property
    def total(self) -> int:
        """All units, whatever the category."""
        return sum(self.quantities.values())


@dataclass(frozen=True, slots=True)
class UnmappedUse:
    """Something a client uses that no row bills: money lost silently."""

    company: str
    application: str
    """The application's name, or the key name where no application matches."""
    quantity: int
    estimated: bool = True
    """True: the source's own figure; the devices behind it were not read."""
    tenant: TenantRef | None = None
    category: Category | None = None


@dataclass(frozen=True, slots=True)
class TenantUsage:
    """One tenant, counted."""

    tenant: Tenant
    at: datetime
    applications: tuple[ApplicationUsage, ...]
    unmapped: tuple[UnmappedUse, ...] = ()
    keys: tuple[KeyEvidence, ...] = ()
    """All keys of the tenant, also those that do not count."""
    notes: tuple[str, ...] = ()


# --- what a PSA holds ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AgreementRef:
    """Where a client is billed."""

    psa: str
    company: str
    agreement: str


@dataclass(frozen=True, slots=True)
class Unfit:
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
    unfit: Unfit | None = None
    """Set if it must not be billed: missing, ended, another company's, no cross reference."""
    bill_start: date | None = None
    next_invoice: date | None = None
    ends: date | None = None
    prorated: bool = False
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


# --- the plan -----------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a change waits for a person."""

    guard: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Failure:
    """Why nothing of a client was written."""

    guard: str
    reason: str
    remedy: str
    exit_code: ExitCode


@dataclass(frozen=True, slots=True)
class PlannedLine:
    """A line of a client's agreement: what it is, what it should be."""

    psa: str
    company: str
    """The PSA's id of the company."""
    agreement: str
    application: str
    categories: tuple[Category, ...]
    product: str
    line_id: str | None
    action: Action
    before: Decimal | None
    after: int
    unit_price: Decimal | None = None
    description: str = ""
    adopt: bool = False
    """kisi has never written this line, and its quantity differs."""
    orphaned: bool = False
    billable: bool = True
    hold: Hold | None = None
    outcome: Outcome | None = None
    detail: str = ""
    """What the operator should read about a failed or unknown outcome."""

    @property
    def category(self) -> str:
        """The categories joined by `+`, as the contract's JSON has it."""
        return "+".join(self.categories)

    @property
    def changes(self) -> bool:
        """Whether the numbers ask for a write."""
        return self.action is not Action.NONE

    @property
    def delta(self) -> Decimal:
        """How many units more (or, negative, fewer) are to be billed."""
        return Decimal(self.after) - (self.before or Decimal(0))


@dataclass(frozen=True, slots=True)
class LineFact:
    """What the journal knows of a line that kisi owns."""

    psa: str
    company: str
    agreement: str
    line_id: str
    product: str
    application: str
    categories: tuple[Category, ...]
    name: str
    """The client's name when the line was last confirmed."""
    tenants: tuple[TenantRef, ...]
    confirmed: Decimal
    """The quantity last written and shown, or read and equal."""
    highest: Decimal
    """The highest quantity confirmed within the baseline, `confirmed` included."""
    lowest: Decimal
    accepts: int = 0
    """How often a held change of this line was accepted."""
    unsettled: bool = False
    """An earlier write has an unknown outcome."""


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
    left: tuple[PlannedLine, ...] = ()
    """Owned lines that stay as they are: billing off, an exception with `bill = false`."""
    notes: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()
    """Applications of which devices with an unknown operating system are counted."""
    plan_id: str = ""
    agreement_name: str = ""


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
    plan_id: str = ""


# --- writing ------------------------------------------------------------------------------------


class Verdict(StrEnum):
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
class Receipt:
    """A PSA's answer to one write."""

    verdict: Verdict
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


# --- checking -----------------------------------------------------------------------------------


class Level(StrEnum):
    """How a finding of `kisi check` ends."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, or it could not be proven."""
    WARNING = "warning"
    """It works, and someone should know."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: in whole sentences what is so, and what to do about it."""

    level: Level
    message: str
    remedy: str = ""
