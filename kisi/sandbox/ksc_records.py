"""What the simulated Kaspersky Security Center holds: virtual servers, keys, devices, uses of keys.

Plain mutable records; whoever simulates a change just changes them. What the attributes mean is on
the pages `a00115` (keys), `a00078` (hosts of a key) and `a00278` (hosts) of Kaspersky's KSC Open
API description, https://support.kaspersky.com/help/KSC/16/KSCAPI/.

On the wire, inside a `params` container, types that JSON cannot tell apart are wrapped
(`{"type": "datetime", "value": "2026-11-21T00:00:00Z"}`), attributes are sorted by name, and an
attribute without a value is left out.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Literal

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
    hides_devices: bool = False
    """Our account is told of keys with their figures, and of no device."""
    hides: set[str] = field(default_factory=set)
    """Attributes of keys, their uses and devices that our account is not told."""
    doubled: set[str] = field(default_factory=set)
    """Ids of devices of which each record comes twice."""
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


Params = dict[str, Any]

_DATES = frozenset(
    {
        "KLHST_WKS_CREATED",
        "KLHST_WKS_LAST_VISIBLE",
        "KLLICSRV_EXPIRATION_TIME",
        "KLLICSRV_INSTALL_TIME",
        "KLLIC_CREATION_DATE",
        "KLLIC_LIMIT_DATE",
        "KLLIC_SUBSCRINFO_ENDDATE",
        "KLVSRV_CREATED",
    }
)


class PxgError(Exception):
    """A method failed: HTTP 200 with an error object instead of a result.

    Args:
        code: Kaspersky's number, for example 1184 for missing rights.
        module: The part of the server, for example `KLSTD`.
        message: English text.
    """

    def __init__(self, code: int, module: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.module = module

    def body(self) -> Params:
        """The answer's body."""
        return pxg_error(self.code, self.module, str(self))


def pxg_error(code: int, module: str = "KLSTD", message: str = "Failed") -> Params:
    """The body of an answer that says a method failed; for `faults.add("status", code=200)`."""
    return {
        "PxgError": {
            "code": code,
            "file": "",
            "line": 0,
            "message": message,
            "module": module,
            "subcode": 0,
        }
    }


def encode(values: Mapping[str, Any], wanted: Collection[str] | None = None) -> Params:
    """Sort, leave out what has no value or is not `wanted`, wrap what must be wrapped."""
    return {
        name: _wrap(name, value)
        for name, value in sorted(values.items())
        if value is not None and (wanted is None or name in wanted)
    }


def container(params: Params) -> Params:
    """Encoded params as an element of an array, or as a member of other params."""
    return {"type": "params", "value": params}


def _wrap(name: str, value: Any) -> Any:  # noqa: ANN401 - JSON is anything
    if name in _DATES:
        return {"type": "datetime", "value": _date(value)}
    return value


def _date(value: datetime | str) -> str:
    if isinstance(value, str):
        return value
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_server(server: VirtualServer) -> Params:
    """An element of VServers.GetVServers."""
    first_group = 160 + 8 * server.id
    return {
        "KLVSRV_CREATED": server.created,
        "KLVSRV_DN": server.name,
        "KLVSRV_ENABLED": server.enabled,
        "KLVSRV_GROUPS": first_group + 1,
        "KLVSRV_GRP": server.group_id,
        "KLVSRV_HST_UID": server.uid,
        "KLVSRV_ID": server.id,
        "KLVSRV_LIC_ENABLED": True,
        "KLVSRV_SUPER": first_group,
        "KLVSRV_UID": server.uid,
        "KLVSRV_UNASSIGNED": first_group + 2,
    }


def of_key(key: Key) -> Params:
    """An element of LicenseKeys.EnumKeys. The key's data are never among them."""
    return {
        "KLLICSRV_AUTOKEY": key.automatic,
        "KLLICSRV_KEY_INSTALLED": key.installed,
        "KLLIC_APP_ID": key.app_id,
        "KLLIC_CREATION_DATE": key.created,
        "KLLIC_KEY_TYPE": None if key.key_type is None else int(key.key_type),
        "KLLIC_LICTYPE_IS_SUBSCRIPTION": key.subscription,
        "KLLIC_LIC_COUNT": key.licence_count,
        "KLLIC_LIMIT_DATE": key.limit_date,
        "KLLIC_NHOSTS_ASCURRENT": key.uses_as(current=True),
        "KLLIC_NHOSTS_ASNEXT": key.uses_as(current=False),
        "KLLIC_PROD_NAME": key.name,
        "KLLIC_PROD_SUITE_ID": key.suite_id,
        "KLLIC_SERIAL": key.serial,
        "KLLIC_SUBSCRINFO_ENDDATE": key.end_date,
        "KLLIC_SUBSCRINFO_ENDDATETYPE": None
        if key.end_date_type is None
        else int(key.end_date_type),
        "KLLIC_SUBSCRINFO_GRACETERM": key.grace_days,
        "KLLIC_SUBSCRINFO_STATE": None if key.state is None else int(key.state),
    }


def of_use(use: KeyUse) -> Params:
    """An element of LicenseKeys.AcquireKeyHosts. Its group id is text, a host's is a number."""
    return {
        "KLLICSRV_EXPIRATION_TIME": use.expires,
        "KLLICSRV_HOSTDN": use.name,
        "KLLICSRV_HOSTNAME": use.host_id,
        "KLLICSRV_HOST_CURRENT": use.current,
        "KLLICSRV_HOST_GRPID": str(use.group_id),
        "KLLICSRV_HOST_GRPNAME": use.group,
        "KLLICSRV_INSTALL_TIME": use.installed,
        "KLLICSRV_PRODUCT": use.product,
        "KLLICSRV_VERSION": use.version,
        "KLLIC_LIC_IS_PENDING_SUBSCRIPTION": use.pending,
    }


def of_host(device: Device) -> Params:
    """An element of HostGroup.FindHosts."""
    return {
        "KLHST_WKS_CREATED": device.created,
        "KLHST_WKS_CTYPE": device.system.ctype,
        "KLHST_WKS_DN": device.name,
        "KLHST_WKS_GROUPID": device.group_id,
        "KLHST_WKS_HOSTNAME": device.host_id,
        "KLHST_WKS_LAST_VISIBLE": device.last_visible,
        "KLHST_WKS_OS_NAME": device.system.name,
        "KLHST_WKS_PTYPE": device.system.ptype,
        "KLHST_WKS_STATUS": device.status,
    }
