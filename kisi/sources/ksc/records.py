"""What the rows of Security Center's lists say, as kisi's own values.

Attributes without a value are left out of answers, so that every one is optional, except those
without which a record could not be told from another: without these, and with a wrong type, a list
is `Incomplete`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from kisi.errors import Incomplete, SourceError
from kisi.model import Device, Key, KeyRow
from kisi.redaction import remote_name, remote_text
from kisi.sources.ksc.openapi import ServerLabel

_LOG = logging.getLogger(__name__)
_LONGEST_GRACE = 36_500

_Fields = Mapping[str, tuple[str, type]]
"""Attributes of a record, each with kisi's name for it and its type; the first identifies it."""

KEY_FIELDS: _Fields = {
    "KLLIC_SERIAL": ("serial", str),
    "KLLIC_PROD_NAME": ("name", str),
    "KLLIC_KEY_TYPE": ("key_type", int),
    "KLLIC_LIMIT_DATE": ("limit_date", datetime),
    "KLLIC_LIC_COUNT": ("licenses", int),
    "KLLIC_NHOSTS_ASCURRENT": ("used", int),
    "KLLICSRV_KEY_INSTALLED": ("stored", bool),
    "KLLIC_LICTYPE_IS_SUBSCRIPTION": ("subscription", bool),
    "KLLIC_SUBSCRINFO_ENDDATE": ("end_date", datetime),
    "KLLIC_SUBSCRINFO_ENDDATETYPE": ("end_date_type", int),
    "KLLIC_SUBSCRINFO_GRACETERM": ("grace_days", int),
    "KLLIC_SUBSCRINFO_STATE": ("state", int),
}
"""Of a key (KSC/13 a00115)."""

_USE_FIELDS: _Fields = {
    "KLLICSRV_HOSTNAME": ("device", str),
    "KLLICSRV_HOSTDN": ("name", str),
    "KLLICSRV_HOST_CURRENT": ("current", bool),
    "KLLICSRV_EXPIRATION_TIME": ("expires", datetime),
    "KLLIC_LIC_IS_PENDING_SUBSCRIPTION": ("pending", bool),
}
KEY_HOST_FIELDS = (*_USE_FIELDS, "KLLICSRV_PRODUCT", "KLLICSRV_VERSION")
"""Of a use of a key (KSC/16 a00078); the last two tell two rows of a device apart."""

HOST_FIELDS: _Fields = {
    "KLHST_WKS_HOSTNAME": ("id", str),
    "KLHST_WKS_DN": ("name", str),
    "KLHST_WKS_CTYPE": ("ctype", int),
    "KLHST_WKS_OS_NAME": ("os_name", str),
    "KLHST_WKS_LAST_VISIBLE": ("last_seen", object),
}
"""Of a device (KSC/14 a00275); the last one is information only, so that it may be anything."""

_SERVER_FIELDS: _Fields = {
    "KLVSRV_UID": ("uid", str),
    "KLVSRV_ID": ("id", int),
    "KLVSRV_DN": ("name", str),
    "KLVSRV_ENABLED": ("enabled", bool),
}


class VirtualServer(NamedTuple):
    """A virtual Administration Server, as the main server describes it (KSC/14 a00020).

    `uid` never changes, `id` is its number on this main server; people change the `name`.
    """

    uid: str
    id: int | None = None
    name: str = ""
    enabled: bool = True
    trouble: SourceError | None = None
    """Why it cannot be read."""


def parse_servers(label: ServerLabel, rows: Iterable[object]) -> dict[str, VirtualServer]:
    """The virtual servers of `VServers.GetVServers`, by UID.

    A record that does not say whose it is fails nobody but, as a missing tenant, its own client.
    """
    servers: dict[str, VirtualServer] = {}
    for row in rows:
        try:
            server = _parse_server(label, row)
        except Incomplete as odd:
            _LOG.warning("A record in the list of virtual servers is left out. %s", odd.event)
            continue
        first = servers.setdefault(server.uid, server)
        if first[:4] != server[:4]:
            own = label._replace(server=first.name or first.uid)
            twice = "the server lists it twice, with different names, numbers or states."
            remedy = "See in Security Center which of the two is right."
            trouble = own.error(Incomplete, twice, remedy)
            servers[server.uid] = first._replace(trouble=trouble)
    return servers


def _parse_server(label: ServerLabel, row: object) -> VirtualServer:
    what = "virtual server"
    uid = _values(label, row, what, {"KLVSRV_UID": ("uid", str)})["uid"]
    try:
        server = VirtualServer(**_values(label._replace(server=uid), row, what, _SERVER_FIELDS))
    except Incomplete as wrong:
        return VirtualServer(uid, trouble=wrong)
    own = label._replace(server=server.name or uid)
    if not server.enabled:
        trouble = own.error(
            SourceError,
            "it is disabled, so that nobody can log in to it.",
            "Enable it in Security Center, or set `billing = false` for its client.",
        )
    elif not server.name or server.id is None:
        trouble = own.error(Incomplete, "the server does not say its name or its number.")
    elif any("\ud800" <= char <= "\udfff" for char in server.name):
        trouble = own.error(
            SourceError,
            "its name holds half of a character (a lone surrogate), which no login can name.",
            "Write its name again in Security Center, without what was copied along.",
        )
    else:
        return server
    return server._replace(trouble=trouble)


def parse_key(label: ServerLabel, row: object, notes: list[str]) -> Key:
    """A container of `LicenseKeys.EnumKeys`."""
    values = {"grace_days": 0, **_values(label, row, "key", KEY_FIELDS)}
    serial, grace = values["serial"], values["grace_days"]
    if "stored" not in values:
        unsaid = "does not say whether it is in the server's storage: taken as not."
        notes.append(f"Key {serial} {unsaid}")
    if not 0 <= grace <= _LONGEST_GRACE:
        notes.append(f"Key {serial} reports a grace term of {grace} days; taken as none.")
        values["grace_days"] = 0
    if not values.get("name", "").strip():
        values["name"] = f"key {serial}, unnamed"
    return Key(**{"stored": False, **values})


def parse_key_row(label: ServerLabel, serial: str, row: object) -> KeyRow:
    """A container of `LicenseKeys.AcquireKeyHosts` for the key `serial`."""
    values = _values(label, row, f"use of key {serial}", _USE_FIELDS)
    name = remote_name(values.get("name", ""))
    return KeyRow(serial, **{"current": None, **values, "name": name})


def parse_device(label: ServerLabel, row: object) -> Device:
    """A container of `HostGroup.FindHosts`."""
    values = _values(label, row, "device", HOST_FIELDS)
    seen = values.get("last_seen")
    values["last_seen"] = seen if isinstance(seen, datetime) else None
    return Device(**{**values, "name": remote_name(values.get("name", ""))})


_WORDS = {str: "text", int: "a whole number", bool: "true or false", datetime: "a date and time"}


def _values(label: ServerLabel, row: object, what: str, fields: _Fields) -> dict[str, Any]:
    """The attributes of one container, by kisi's names; those that are absent are left out."""
    if not isinstance(row, dict):
        raise label.error(Incomplete, f"A {what} is not a container.")
    values: dict[str, Any] = {}
    for attribute, (name, kind) in fields.items():
        value = row.get(attribute)
        if values and type(value) is kind:  # nearly all are, and there are many
            values[name] = value
            continue
        if not values:
            value = value.strip() if isinstance(value, str) else value
            if value in (None, ""):
                said = f"A {what} has no {attribute}, so that it cannot be identified."
                raise label.error(Incomplete, said)
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            said = f"{attribute} of a {what} is {remote_text(str(value), 80)!r}"
            raise label.error(Incomplete, f"{said} and not {_WORDS[kind]}.")
        values[name] = value
    return values
