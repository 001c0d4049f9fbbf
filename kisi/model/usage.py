"""What was counted, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from kisi.model.billing import Category, DeviceClass, TenantRef, Unit
from kisi.model.reading import Tenant


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
