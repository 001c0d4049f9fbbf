"""Containers of Security Center as kisi's own values. Pure.

Attributes without a value are left out of answers, so that every one is optional, except those
without which a record could not be told from another: they raise, and so does a wrong type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from kisi.model import Device, Key, KeyRow
from kisi.redaction import remote_name, remote_text
from kisi.sources.ksc.wire import Params

_T = TypeVar("_T")
_LONGEST_GRACE = 36_500

KEY_FIELDS = (
    "KLLIC_SERIAL",
    "KLLIC_PROD_NAME",
    "KLLIC_KEY_TYPE",
    "KLLIC_LIMIT_DATE",
    "KLLIC_LIC_COUNT",
    "KLLIC_NHOSTS_ASCURRENT",
    "KLLICSRV_KEY_INSTALLED",
    "KLLIC_LICTYPE_IS_SUBSCRIPTION",
    "KLLIC_SUBSCRINFO_ENDDATE",
    "KLLIC_SUBSCRINFO_ENDDATETYPE",
    "KLLIC_SUBSCRINFO_GRACETERM",
    "KLLIC_SUBSCRINFO_STATE",
)
"""Attributes of a key that are asked for (KSC/13 a00115)."""

KEY_HOST_FIELDS = (
    "KLLICSRV_HOSTNAME",
    "KLLICSRV_HOSTDN",
    "KLLICSRV_HOST_CURRENT",
    "KLLICSRV_EXPIRATION_TIME",
    "KLLICSRV_PRODUCT",
    "KLLICSRV_VERSION",
    "KLLIC_LIC_IS_PENDING_SUBSCRIPTION",
)
"""Attributes of a use of a key (KSC/16 a00078); the version tells two rows of a device apart."""

HOST_FIELDS = (
    "KLHST_WKS_HOSTNAME",
    "KLHST_WKS_DN",
    "KLHST_WKS_CTYPE",
    "KLHST_WKS_OS_NAME",
    "KLHST_WKS_LAST_VISIBLE",
)
"""Attributes of a device (KSC/14 a00275)."""

Note = Callable[[str], None]
"""Takes a sentence for the operator about something odd."""


class Malformed(ValueError):
    """A record is not what the interface documents. The message is a sentence."""


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """A virtual Administration Server, as the main server describes it (KSC/14 a00020)."""

    uid: str
    """`KLVSRV_UID`: unique, and never changes."""
    id: int | None
    """`KLVSRV_ID`: its number on this main server."""
    name: str
    """`KLVSRV_DN`: what a login names; people rename it."""
    enabled: bool


def virtual_server(row: object) -> VirtualServer:
    """A container of `VServers.GetVServers`.

    Raises:
        Malformed: It has no `KLVSRV_UID`, or an attribute has a wrong type.
    """
    server = _Record(row, "virtual server")
    return VirtualServer(
        uid=server.identity("KLVSRV_UID"),
        id=server.integer("KLVSRV_ID"),
        name=server.text("KLVSRV_DN"),
        enabled=server.flag("KLVSRV_ENABLED") is not False,
    )


def key(row: object, note: Note) -> Key:
    """A container of `LicenseKeys.EnumKeys`.

    Raises:
        Malformed: It has no serial number, or an attribute has a wrong type.
    """
    record = _Record(row, "key")
    serial = record.identity("KLLIC_SERIAL")
    stored = record.flag("KLLICSRV_KEY_INSTALLED")
    if stored is None:
        note(f"Key {serial} does not say whether it is in the server's storage: taken as not.")
    grace = record.integer("KLLIC_SUBSCRINFO_GRACETERM") or 0
    if not 0 <= grace <= _LONGEST_GRACE:
        note(f"Key {serial} reports a grace term of {grace} days; taken as none.")
        grace = 0
    return Key(
        serial=serial,
        name=record.text("KLLIC_PROD_NAME"),
        key_type=record.integer("KLLIC_KEY_TYPE"),
        subscription=record.flag("KLLIC_LICTYPE_IS_SUBSCRIPTION") is True,
        state=record.integer("KLLIC_SUBSCRINFO_STATE"),
        end_date_type=record.integer("KLLIC_SUBSCRINFO_ENDDATETYPE"),
        limit_date=record.instant("KLLIC_LIMIT_DATE"),
        end_date=record.instant("KLLIC_SUBSCRINFO_ENDDATE"),
        grace_days=grace,
        stored=stored is True,
        used=record.integer("KLLIC_NHOSTS_ASCURRENT"),
        licenses=record.integer("KLLIC_LIC_COUNT"),
    )


def key_row(serial: str, row: object, note: Note) -> KeyRow:
    """A container of `LicenseKeys.AcquireKeyHosts` for the key `serial`.

    Raises:
        Malformed: It names no device, or an attribute has a wrong type.
    """
    record = _Record(row, f"use of key {serial}")
    device = record.identity("KLLICSRV_HOSTNAME")
    current = record.flag("KLLICSRV_HOST_CURRENT")
    if current is None:
        note(f"Device {device} does not say whether key {serial} is its active one: taken as not.")
    return KeyRow(
        serial=serial,
        device=device,
        name=remote_name(record.text("KLLICSRV_HOSTDN")),
        current=current is True,
        pending=record.flag("KLLIC_LIC_IS_PENDING_SUBSCRIPTION") is True,
        expires=record.instant("KLLICSRV_EXPIRATION_TIME"),
        product=remote_name(record.text("KLLICSRV_PRODUCT")),
    )


def device(row: object) -> Device:
    """A container of `HostGroup.FindHosts`.

    Raises:
        Malformed: It has no id, or an attribute has a wrong type.
    """
    record = _Record(row, "device")
    return Device(
        id=record.identity("KLHST_WKS_HOSTNAME"),
        name=remote_name(record.text("KLHST_WKS_DN")),
        os_name=record.text("KLHST_WKS_OS_NAME"),
        ctype=record.integer("KLHST_WKS_CTYPE") or 0,
        last_seen=record.instant("KLHST_WKS_LAST_VISIBLE"),
    )


class _Record:
    """Attributes of one container, by the type that they must have; absent ones are None."""

    def __init__(self, row: object, what: str) -> None:
        if not isinstance(row, dict):
            raise Malformed(f"A {what} is not a container.")
        self._row: Params = row
        self._what = what

    def identity(self, name: str) -> str:
        value = self.text(name).strip()
        if not value:
            raise Malformed(f"A {self._what} has no {name}, so that it cannot be identified.")
        return value

    def text(self, name: str) -> str:
        return self._of(str, "text", name) or ""

    def integer(self, name: str) -> int | None:
        return self._of(int, "a whole number", name)

    def flag(self, name: str) -> bool | None:
        return self._of(bool, "true or false", name)

    def instant(self, name: str) -> datetime | None:
        return self._of(datetime, "a date and time", name)

    def _of(self, kind: type[_T], words: str, name: str) -> _T | None:
        value = self._row.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            shown = remote_text(str(value), 80)
            raise Malformed(f"{name} of a {self._what} is {shown!r} and not {words}.")
        return value
