"""What a source reports of a tenant, what was counted of it over days, and the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from kisi.model.billing import Category, DeviceClass, TenantRef, Unit


@dataclass(frozen=True, slots=True)
class Tenant:
    """A client that a source knows."""

    ref: TenantRef
    name: str
    enabled: bool = True
    """False: a virtual server that nobody can log in to; it counts as missing."""
    listed_as: str = ""
    """For an unmapped tenant: what to know before mapping it, if another source lists it too."""
    in_use: bool | None = None
    """For an unmapped tenant: whether a licence that counts is used there; None: not known."""
    client: str = ""
    """Whose it was until that client left (`until`), where nobody else has it."""
    until: date | None = None

    @property
    def remark(self) -> str:
        """What to know of a tenant that nobody is billed for; may be empty."""
        left = f"of {self.client}, which left on {self.until}" if self.client else ""
        return "; ".join(filter(None, (left, self.listed_as)))


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
    not_counted_reason: str = ""
    """A reason why it does not count that only the source knows (a report's status); else empty."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One use of a key: a device and a product on it (`AcquireKeyHosts`, KSC/16 a00078)."""

    serial: str
    device: str
    """The device's id (`KLLICSRV_HOSTNAME`), not a network name."""
    name: str = ""
    current: bool | None = True
    """False: the key is only the device's next (reserve) key. None: not said."""
    pending: bool = False
    """The device holds the key, its activation is not confirmed."""
    expires: datetime | None = None
    """When the key expires on this device."""


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
class ReportedQuantity:
    """A quantity that a report states as a number, without the devices behind it."""

    name: str
    """The application's name in the report, matched like a key name."""
    category: Category
    quantity: int
    not_counted_reason: str = ""
    """Why it does not count (an expired or trial licence); empty if it counts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything one tenant reported, complete. An incomplete tenant has no `Reading` at all."""

    tenant: Tenant
    at: datetime
    """When it was read, or (report files) when the report was made."""
    keys: tuple[Key, ...] = ()
    rows: tuple[KeyRow, ...] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)
    reported: tuple[ReportedQuantity, ...] = ()
    notes: tuple[str, ...] = ()
    """Whole sentences for the operator about what was odd."""


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
    listed: int | None = None
    """In how many uses it is the active key; None: these were not read."""


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
    """True: the source's own number; the devices behind it were not read."""
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


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key of a billed application in one tenant, without the devices that use it."""

    serial: str
    name: str
    application: str
    counted: bool
    reason: str
    """Why it counts, or why not, as in `KeyEvidence`."""
    devices: int
    """How many are counted with it."""
    used: int | None
    licenses: int | None
    expires: datetime | None


class OutlookKind(StrEnum):
    """What is to be expected of a key."""

    ENDS = "ends"
    """It counts, and ends soon: its devices are counted no more then."""
    PAUSED = "paused"
    """A paused or soft-cancelled subscription that is in use."""
    OVER = "over"
    """More are in use than were bought."""
    NEAR = "near"
    """Almost as many are in use as were bought."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is to be expected of a client's key; nothing is billed or held because of it."""

    company: str
    """The client's name."""
    tenant: TenantRef
    """Where the key is; of several tenants the first."""
    application: str
    key: str
    """Its serial number."""
    key_name: str
    kind: OutlookKind
    devices: int
    """How many of the client are counted with it."""
    licenses: int | None
    used: int | None
    """How many uses it has, of all clients; None: not known."""
    expires: datetime | None
    ends: date | None
    """The same as a day in the billing time zone."""
    reason: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """Earlier readings, which guards compare today's with: of `baseline_days`, or since an accept.

    Under `today`, the quantities that the line was confirmed to hold stand for them.
    """

    highest: Decimal
    lowest: Decimal
    last: Decimal


@dataclass(frozen=True, slots=True)
class DayCount:
    """What was counted on a day; None: a gap, no complete reading that no guard holds."""

    date: date
    quantity: int | None


@dataclass(frozen=True, slots=True)
class PeriodCount:
    """What the quantity of a line was worked out from."""

    policy: str
    counted: int | None
    """Today's reading; None: there is none, because the client has left."""
    begins: date
    """The first day of the invoice period."""
    days: tuple[DayCount, ...] = ()
    """From then to its last day or today, under another policy than `today`."""
    since: date | None = None
    """The first day on which every tenant was read, where the period had begun before."""
    ends: date | None = None
    """The PSA's next invoice date, with which the next period begins; None: not known."""
    remarks: tuple[str, ...] = ()
    """What else to know of the period, as parts of a sentence."""
    baseline: Baseline | None = None
