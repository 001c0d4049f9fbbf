"""The Kaspersky side of the simulated world: virtual servers, keys, devices, uses of keys.

Plain mutable records; whoever simulates a change just changes them. Names of attributes on the
wire are in `kisi.sandbox.ksc_records`; what each one means is documented on the pages `a00115`
(keys), `a00078` (hosts of a key) and `a00278` (hosts) of Kaspersky's KSC Open API description,
https://support.kaspersky.com/help/KSC/16/KSCAPI/.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Literal

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sandbox.kisi.example")


def stable_guid(*parts: object) -> str:
    """A GUID that depends on `parts` alone, so that every run sees the same world."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts)))


class KeyType(IntEnum):
    """`KLLIC_KEY_TYPE`."""

    COMMERCIAL = 1
    BETA = 2
    TRIAL = 3
    TEST = 4
    OEM = 5
    SUBSCRIPTION = 6


class SubscriptionState(IntEnum):
    """`KLLIC_SUBSCRINFO_STATE`."""

    ACTIVE = 0
    PAUSED = 1
    SOFT_CANCELLED = 2
    HARD_CANCELLED = 3


class EndDateType(IntEnum):
    """`KLLIC_SUBSCRINFO_ENDDATETYPE`."""

    NOT_DEFINED = 0
    UNLIMITED = 1
    LIMITED = 2
    PAUSED = 3


When = datetime | Literal[""] | None
"""A date on the wire: a value, present but empty, or left out."""


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """What a device reports about its operating system."""

    name: str | None
    """`KLHST_WKS_OS_NAME`; None: left out."""
    ctype: int | None
    """`KLHST_WKS_CTYPE`; None: left out."""
    ptype: int | None = 2


SYSTEMS = {
    "workstation": OperatingSystem("Microsoft Windows 11", 0x1003),
    "server": OperatingSystem("Microsoft Windows Server 2022", 0x9007),
    "linux": OperatingSystem("Linux", 0x200800, None),
    "mac": OperatingSystem("Mac OS X", 0x800, None),
    "android": OperatingSystem("Android", 0, None),
    "ios": OperatingSystem("iOS", 0, None),
    "unknown": OperatingSystem(None, 0x3, None),
}
"""Typical devices by kind. Bits 0x1 and 0x2 are services that every desktop has."""


@dataclass(slots=True)
class Device:
    """A device of a virtual server."""

    host_id: str
    """`KLHST_WKS_HOSTNAME`: an id, not a network name."""
    name: str
    system: OperatingSystem
    last_visible: datetime | None = None
    created: datetime | None = None
    group_id: int = 168
    status: int = 0x1F


@dataclass(slots=True)
class KeyUse:
    """One row of AcquireKeyHosts: a device and a Kaspersky product on it that uses the key."""

    host_id: str
    """Usually a device of the same virtual server; the server does not promise it."""
    name: str
    product: str = "KES"
    version: str = "12.6.0.438"
    current: bool | None = True
    """False: it is the device's reserve key."""
    pending: bool | None = None
    """True: activation on the device is not confirmed yet. None: left out."""
    expires: When = None
    installed: When = None
    group_id: int = 168
    group: str = "Managed devices"


@dataclass(slots=True)
class Key:
    """A licence key as a virtual server knows it."""

    serial: str
    name: str
    """`KLLIC_PROD_NAME`, from which the application is told."""
    key_type: int | None = KeyType.COMMERCIAL
    limit_date: When = None
    subscription: bool | None = False
    """`KLLIC_LICTYPE_IS_SUBSCRIPTION`."""
    state: int | None = None
    end_date_type: int | None = None
    end_date: When = None
    grace_days: int | None = None
    installed: bool | None = True
    """`KLLICSRV_KEY_INSTALLED`: it is in this server's storage; false: products report it."""
    automatic: bool | None = False
    app_id: int | None = 1105
    suite_id: int | None = None
    created: When = None
    licence_count: int | None = 1000
    counts: tuple[int, int] | None = None
    """(as current, as next) where the server's counters shall contradict its rows."""
    uses: list[KeyUse] = field(default_factory=list)

    def uses_as(self, *, current: bool) -> int:
        """How many Kaspersky products use it as their current, or as their next key."""
        if self.counts is not None:
            return self.counts[0 if current else 1]
        return sum(bool(use.current) is current for use in self.uses)

    def use(self, device: Device, *, product: str = "KES", current: bool = True) -> KeyUse:
        """Put the key on a device, and return the row to change details of it."""
        row = KeyUse(device.host_id, device.name, product=product, current=current)
        row.expires = self.limit_date
        row.group_id = device.group_id
        self.uses.append(row)
        return row


@dataclass(slots=True)
class VirtualServer:
    """A virtual Administration Server; id 0 is the main server itself."""

    id: int
    """`KLVSRV_ID`."""
    uid: str
    """`KLVSRV_UID`: the tenant id."""
    name: str
    """`KLVSRV_DN`: the display name, which people change."""
    enabled: bool = True
    created: datetime | None = None
    group_id: int = 0
    keys: list[Key] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    readable: bool = True
    """False: our account has no rights there."""
    made: int = 0
    """How many devices were ever made here: names and ids are never used again."""

    @property
    def is_virtual(self) -> bool:
        """Whether it is not the main server."""
        return self.id != 0

    def key(self, serial: str) -> Key | None:
        """The key with this serial number, if the server knows it."""
        return next((key for key in self.keys if key.serial == serial), None)

    def add_device(
        self, system: OperatingSystem | str = "workstation", *, name: str = ""
    ) -> Device:
        """Add a device of a kind of `SYSTEMS`, or with an operating system of your own."""
        self.made += 1
        kind = system if isinstance(system, str) else "device"
        device = Device(
            host_id=stable_guid(self.uid, self.made),
            name=name or f"{kind.upper()}-{self.made:04}",
            system=SYSTEMS[system] if isinstance(system, str) else system,
        )
        self.devices.append(device)
        return device

    def remove_device(self, device: Device) -> None:
        """Remove a device and every use of a key on it."""
        self.devices.remove(device)
        for key in self.keys:
            key.uses[:] = [use for use in key.uses if use.host_id != device.host_id]
