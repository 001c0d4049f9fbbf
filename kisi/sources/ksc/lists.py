"""Lists of Security Center, read whole or not at all.

Keys and their hosts come from an iterator, which every `GetNextItems` moves even if its answer is
lost: it is never repeated, a broken list is opened again, once. Devices come from an accessor that
any part can be asked of. The flag `bEOF` is ignored: its page (KSC/14 a00511) and Kaspersky's own
samples contradict each other.

Their rows become kisi's own values (`parse_...`). Attributes without a value are left out of
answers, so that every one is optional, except those without which a record could not be told from
another: without these, and with a wrong type, a list is `Incomplete`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from kisi.errors import Incomplete, LoginRefused, SourceError
from kisi.model import Device, Key, KeyRow
from kisi.redaction import carries, remote_name, remote_text
from kisi.sources.ksc.openapi import (
    Denied,
    Params,
    ServerLabel,
    Session,
    Unavailable,
    Vanished,
)
from kisi.transport import Retry

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_HOSTS_A_CHUNK = 500
_ITERATOR_LIFETIME = 900
_ACCESSOR_LIFETIME = 3600
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
"""Attributes of a use of a key (KSC/16 a00078); product and version tell two rows of a device
apart."""

HOST_FIELDS = (
    "KLHST_WKS_HOSTNAME",
    "KLHST_WKS_DN",
    "KLHST_WKS_CTYPE",
    "KLHST_WKS_OS_NAME",
    "KLHST_WKS_LAST_VISIBLE",
)
"""Attributes of a device (KSC/14 a00275)."""


class _Broken(Exception):
    """A list did not arrive whole; `why` is the error, should a second reading fail too."""

    def __init__(self, why: SourceError) -> None:
        super().__init__(why.event)
        self.why = why


class _Handle(NamedTuple):
    """What stands for an opened list, and how it is given back."""

    word: str
    announces: str
    """Where the answer that opens the list has the number of rows; `name`: where the handle."""
    name: str
    release: str
    argument: str


_ITERATOR = _Handle(
    "iterator", "lKeyCount", "wstrIterator", "GroupSyncIterator.ReleaseIterator", "szwIterator"
)
_ACCESSOR = _Handle("accessor", "PxgRetVal", "strAccessor", "ChunkAccessor.Release", "strAccessor")


def read_iterator(
    session: Session, opener: str, fields: Sequence[str], *, page: int, **arguments: object
) -> list[Params]:
    """All rows of `opener` (`LicenseKeys.EnumKeys`, `LicenseKeys.AcquireKeyHosts`), `page` at once.

    Raises:
        Incomplete: The list did not arrive whole twice.
    """
    asked = {
        "pFields": list(fields),
        "pFieldsToOrder": [],
        "pOptions": {},
        "lTimeoutSec": _ITERATOR_LIFETIME,
        **arguments,
    }
    return _whole(session, opener, asked, _ITERATOR, partial(_drain, session, page))


def read_devices(session: Session) -> dict[str, Device]:
    """All devices of the session's own virtual server, by id (`HostGroup.FindHosts`).

    Raises:
        Incomplete: The list did not arrive whole twice.
    """
    order = {"Name": "KLHST_WKS_HOSTNAME", "Asc": True}
    asked = {
        "wstrFilter": '(KLHST_WKS_DN="*")',
        "vecFieldsToReturn": list(HOST_FIELDS),
        "vecFieldsToOrder": [{"type": "params", "value": order}],
        "pParams": {"KLGRP_FIND_FROM_CUR_VS_ONLY": True},
        "lMaxLifeTime": _ACCESSOR_LIFETIME,
    }
    return _whole(session, "HostGroup.FindHosts", asked, _ACCESSOR, partial(_collect, session))


def _whole(
    session: Session,
    opener: str,
    arguments: Mapping[str, Any],
    kind: _Handle,
    rows: Callable[[str, int], _T],
) -> _T:
    """A list's `rows` by its handle and number. If they do not arrive, it is opened again, once.

    A server that says when it wants to be asked again may say so for as long as a call may take.
    """
    ends: float | None = None
    while True:
        try:
            return _read(session, opener, arguments, kind, rows)
        except _Broken as broken:
            busy = broken.why if isinstance(broken.why, Unavailable) else None
            if ends is not None and (busy is None or busy.wait is None):
                raise broken.why from broken
            ends = session.ends() if ends is None else ends
            if busy is not None and not session.wait_out(busy, ends):
                raise broken.why from broken
            _LOG.warning("A list is read again from its start. %s", broken)


def _read(
    session: Session,
    opener: str,
    arguments: Mapping[str, Any],
    kind: _Handle,
    rows: Callable[[str, int], _T],
) -> _T:
    try:
        opened = session.call(opener, arguments, Retry.UNPROCESSED)
    except Vanished:
        raise
    except Incomplete as error:
        raise _Broken(error) from error
    count = _whole_number(session, opener, opened, kind.announces)
    handle = opened.get(kind.name)
    if not isinstance(handle, str) or not handle:
        if count:
            raise _broken(session, f"{opener} gave no {kind.word}.")
        return rows("", 0)
    try:
        return rows(handle, count)
    finally:
        session.release(kind.release, {kind.argument: handle})


def _drain(session: Session, page: int, iterator: str, count: int) -> list[Params]:
    """Rows until `count` of them are there. A chunk that comes twice is counted once.

    A row that came in an earlier chunk already is taken for the same one as long as others are
    missing. If the iterator has no more, and everything that it gave is as many as announced, the
    rows are different ones that look alike, such as two products without a name on one device.
    """
    rows: list[Params] = []
    delivered: list[Params] = []
    seen: set[str] = set()
    chunks: set[tuple[str, ...]] = set()
    idle = 0
    while len(rows) < count:
        arguments = {"szwIterator": iterator, "nCount": _asked(count - len(rows), page)}
        chunk = _chunk(session, "GroupSyncIterator.GetNextItems", arguments, "pData", Retry.NEVER)
        if not chunk and len(delivered) == count:
            return delivered
        marks = tuple(repr(sorted(row.items())) for row in chunk)
        repeated = marks in chunks
        delivered += [] if repeated else chunk
        fresh = [row for row, mark in zip(chunk, marks, strict=True) if mark not in seen]
        idle = idle + 1 if not fresh and (repeated or len(delivered) > count) else 0
        if not chunk or idle > 1:
            raise _broken(session, f"a list of {count} rows ended after {len(rows)}.")
        chunks.add(marks)
        seen.update(marks)
        rows += fresh
    if len(rows) > count:
        raise _broken(session, f"a list of {count} rows holds {len(rows)}: it changed meanwhile.")
    return rows


def _asked(left: int, page: int) -> int:
    """How many items to ask for: one more than are left, if that is a page, to see a surplus."""
    return page + 1 if left == page else page


def _collect(session: Session, accessor: str, count: int) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    start = 0
    while start < count:
        asked = _asked(count - start, _HOSTS_A_CHUNK)
        arguments = {"strAccessor": accessor, "nStart": start, "nCount": asked}
        chunk = _chunk(session, "ChunkAccessor.GetItemsChunk", arguments, "pChunk", Retry.READ)
        if not chunk:
            break
        for row in chunk:
            device = parse_device(session.label, row)
            devices[device.id] = device
        start += len(chunk)
    if len(devices) != count:
        raise _broken(session, f"of {count} devices, {len(devices)} arrived.")
    return devices


def _chunk(
    session: Session, method: str, arguments: Mapping[str, Any], container: str, retry: Retry
) -> list[Params]:
    """The rows of one step of a list. If it fails, opening the list again may help."""
    try:
        answer = session.call(method, arguments, retry)
    except (Denied, LoginRefused):
        raise
    except SourceError as error:
        if not session.alive:
            raise
        why = error
        if isinstance(error, Vanished):
            # An iterator that is gone ends this list, not the reading as a key that is gone does.
            why = Incomplete(error.message, remedy=error.remedy)
            why.event = error.event
        raise _Broken(why) from error
    returned = _whole_number(session, method, answer, "PxgRetVal")
    holder = answer.get(container)
    rows = holder.get("KLCSP_ITERATOR_ARRAY", []) if isinstance(holder, dict) else []
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _broken(session, f"{method} answered with something else than rows.")
    if len(rows) != returned:
        raise _broken(session, f"{method} announced {returned} rows and delivered {len(rows)}.")
    return rows


def _whole_number(session: Session, method: str, answer: Params, name: str) -> int:
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _broken(session, f"the answer to {method} has no count in {name}.")
    return value


def _broken(session: Session, what: str) -> _Broken:
    return _Broken(session.label.error(Incomplete, what))


class VirtualServer(NamedTuple):
    """A virtual Administration Server, as the main server describes it (KSC/14 a00020)."""

    uid: str
    """`KLVSRV_UID`: unique, and never changes."""
    id: int | None = None
    """`KLVSRV_ID`: its number on this main server."""
    name: str = ""
    """`KLVSRV_DN`: what a login names; people rename it."""
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
    record = _Record(label, row, "virtual server")
    uid = record.identity("KLVSRV_UID")
    try:
        record = _Record(label._replace(server=uid), row, "virtual server")
        name, number = record.text("KLVSRV_DN"), record.get("KLVSRV_ID", int)
        enabled = record.get("KLVSRV_ENABLED", bool) is not False
    except Incomplete as wrong:
        return VirtualServer(uid, trouble=wrong)
    own = label._replace(server=name or uid)
    trouble: SourceError | None = None
    if not enabled:
        trouble = own.error(
            SourceError,
            "it is disabled, so that nobody can log in to it.",
            "Enable it in Security Center, or set `billing = false` for its client.",
        )
    elif not name or number is None:
        trouble = own.error(Incomplete, "the server does not say its name or its number.")
    elif not carries("utf-8", name):
        trouble = own.error(
            SourceError,
            "its name holds half of a character (a lone surrogate), which no login can name.",
            "Write its name again in Security Center, without what was copied along.",
        )
    return VirtualServer(uid, number, name, enabled, trouble)


def parse_key(label: ServerLabel, row: object, notes: list[str]) -> Key:
    """A container of `LicenseKeys.EnumKeys`."""
    record = _Record(label, row, "key")
    serial = record.identity("KLLIC_SERIAL")
    stored = record.get("KLLICSRV_KEY_INSTALLED", bool)
    if stored is None:
        notes.append(
            f"Key {serial} does not say whether it is in the server's storage: taken as not."
        )
    grace = record.get("KLLIC_SUBSCRINFO_GRACETERM", int) or 0
    if not 0 <= grace <= _LONGEST_GRACE:
        notes.append(f"Key {serial} reports a grace term of {grace} days; taken as none.")
        grace = 0
    return Key(
        serial=serial,
        name=record.text("KLLIC_PROD_NAME"),
        key_type=record.get("KLLIC_KEY_TYPE", int),
        subscription=record.get("KLLIC_LICTYPE_IS_SUBSCRIPTION", bool) is True,
        state=record.get("KLLIC_SUBSCRINFO_STATE", int),
        end_date_type=record.get("KLLIC_SUBSCRINFO_ENDDATETYPE", int),
        limit_date=record.get("KLLIC_LIMIT_DATE", datetime),
        end_date=record.get("KLLIC_SUBSCRINFO_ENDDATE", datetime),
        grace_days=grace,
        stored=stored is True,
        used=record.get("KLLIC_NHOSTS_ASCURRENT", int),
        licenses=record.get("KLLIC_LIC_COUNT", int),
    )


def parse_key_row(label: ServerLabel, serial: str, row: object, notes: list[str]) -> KeyRow:
    """A container of `LicenseKeys.AcquireKeyHosts` for the key `serial`."""
    record = _Record(label, row, f"use of key {serial}")
    device = record.identity("KLLICSRV_HOSTNAME")
    current = record.get("KLLICSRV_HOST_CURRENT", bool)
    if current is None:
        notes.append(
            f"Device {device} does not say whether key {serial} is its active one: taken as not."
        )
    return KeyRow(
        serial=serial,
        device=device,
        name=remote_name(record.text("KLLICSRV_HOSTDN")),
        current=current is True,
        pending=record.get("KLLIC_LIC_IS_PENDING_SUBSCRIPTION", bool) is True,
        expires=record.get("KLLICSRV_EXPIRATION_TIME", datetime),
    )


def parse_device(label: ServerLabel, row: object) -> Device:
    """A container of `HostGroup.FindHosts`."""
    record = _Record(label, row, "device")
    seen = record.row.get("KLHST_WKS_LAST_VISIBLE")  # for information only
    return Device(
        id=record.identity("KLHST_WKS_HOSTNAME"),
        name=remote_name(record.text("KLHST_WKS_DN")),
        os_name=record.text("KLHST_WKS_OS_NAME"),
        ctype=record.get("KLHST_WKS_CTYPE", int) or 0,
        last_seen=seen if isinstance(seen, datetime) else None,
    )


_WORDS = {str: "text", int: "a whole number", bool: "true or false", datetime: "a date and time"}


class _Record:
    """Attributes of one container, by the type that they must have; absent ones are None."""

    def __init__(self, label: ServerLabel, row: object, what: str) -> None:
        if not isinstance(row, dict):
            raise label.error(Incomplete, f"A {what} is not a container.")
        self._label = label
        self.row: Params = row
        self._what = what

    def identity(self, name: str) -> str:
        value = self.text(name).strip()
        if not value:
            what = f"A {self._what} has no {name}, so that it cannot be identified."
            raise self._label.error(Incomplete, what)
        return value

    def text(self, name: str) -> str:
        return self.get(name, str) or ""

    def get(self, name: str, kind: type[_T]) -> _T | None:
        value = self.row.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            what = f"{name} of a {self._what} is {remote_text(str(value), 80)!r}"
            raise self._label.error(Incomplete, f"{what} and not {_WORDS[kind]}.")
        return value
