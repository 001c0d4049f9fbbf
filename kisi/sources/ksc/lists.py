"""What a virtual server tells: lists of Security Center, read whole or not at all.

Keys and their hosts come from an iterator, which every `GetNextItems` moves even if its answer is
lost: it is never repeated, a broken list is opened again, once, and then `Incomplete`. Devices come
from an accessor that any part can be asked of. The flag `bEOF` is ignored: its page (KSC/14 a00511)
and Kaspersky's own samples contradict each other.

Their rows become kisi's own values (`parse_...`). Attributes without a value are left out of
answers, so that every one is optional, except those without which a record could not be told from
another: without these, and with a wrong type, a list is `Incomplete`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeVar

from kisi.counting import READ_ALL
from kisi.counting.notes import SAME_ID
from kisi.errors import Incomplete, LoginRefused, SourceError
from kisi.model import Device, Key, KeyRow, Reading, Tenant
from kisi.redaction import remote_name, remote_text
from kisi.sources import Select
from kisi.sources.ksc.openapi import Denied, Params, ServerLabel, Session, Unavailable, Vanished
from kisi.transport import Retry

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_KEYS_A_CHUNK = 50  # what Kaspersky recommends for GetNextItems (KSC/14 a00511)
_ROWS_A_CHUNK = 500  # no largest number is documented; who gives fewer rows is asked again
_HOSTS_A_CHUNK = 500
_ITERATOR_LIFETIME, _ACCESSOR_LIFETIME = 900, 3600  # seconds
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

# Where the answer that opens a list has its number of rows, and what stands for the list; the call
# that gives this back, and its argument.
_Handle = tuple[str, str, str, str]
_ITERATOR = ("lKeyCount", "wstrIterator", "GroupSyncIterator.ReleaseIterator", "szwIterator")
_ACCESSOR = ("PxgRetVal", "strAccessor", "ChunkAccessor.Release", "strAccessor")


class _Broken(Exception):
    """A list did not arrive whole; `why` is the error, should a second reading fail too."""

    def __init__(self, why: SourceError) -> None:
        super().__init__(why.event)
        self.why = why


def read_iterator(
    session: Session, opener: str, fields: Iterable[str], *, page: int, **arguments: object
) -> list[Params]:
    """All rows of `LicenseKeys.EnumKeys` or `LicenseKeys.AcquireKeyHosts`, `page` at once."""
    asked = {"pFields": [*fields], "pFieldsToOrder": [], "pOptions": {}, **arguments}
    asked["lTimeoutSec"] = _ITERATOR_LIFETIME
    rows = partial(_drain, session, page)
    return _whole(session, partial(_read, session, opener, asked, _ITERATOR, rows))


def read_devices(session: Session, used: Collection[str], notes: list[str]) -> dict[str, Device]:
    """All devices of the session's own virtual server, by id (`HostGroup.FindHosts`).

    Records of one answer that are equal are one, unless a device among those `used` is missing.
    """
    order = {"Name": "KLHST_WKS_HOSTNAME", "Asc": True}
    asked = {
        "wstrFilter": '(KLHST_WKS_DN="*")',
        "vecFieldsToReturn": list(HOST_FIELDS),
        "vecFieldsToOrder": [{"type": "params", "value": order}],
        "pParams": {"KLGRP_FIND_FROM_CUR_VS_ONLY": True},
        "lMaxLifeTime": _ACCESSOR_LIFETIME,
    }
    rows = partial(_collect, session, used, notes)
    return _whole(session, partial(_read, session, "HostGroup.FindHosts", asked, _ACCESSOR, rows))


def _whole(session: Session, read: Callable[[], _T]) -> _T:
    """What `read` makes of a list. If it does not arrive whole, the list is opened again, once.

    A server that says when it wants to be asked again may say so for as long as a call may take.
    """
    ends: float | None = None
    while True:
        try:
            return read()
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
    announces, name, release, argument = kind
    count = _whole_number(session, opener, opened, announces)
    session.refuse_endless(count, begins=True)
    handle = opened.get(name) or ""
    if not isinstance(handle, str) or (count and not handle):
        raise _broken(session, f"{opener} gave no {name}.")
    try:
        return rows(handle, count)
    finally:
        if handle:
            session.release(release, {argument: handle})


def _drain(session: Session, page: int, iterator: str, count: int) -> list[Params]:
    """Rows until `count` of them are there. A chunk that comes twice is counted once.

    A list that is announced with 0 rows is asked once, because 0 would bill nothing.
    A row that came in an earlier chunk already is taken for the same one as long as others are
    missing. If the iterator has no more, and everything that it gave is as many as announced, the
    rows are different ones that look alike, such as two products without a name on one device.
    """
    rows: list[Params] = []
    delivered: list[Params] = []
    seen: set[int] = set()
    chunks: set[tuple[int, ...]] = set()
    idle = 0
    while iterator and (len(rows) < count or not delivered):
        arguments = {"szwIterator": iterator, "nCount": _asked(count - len(rows), page)}
        chunk = _chunk(session, "GroupSyncIterator.GetNextItems", arguments, "pData", Retry.NEVER)
        if not chunk and len(delivered) == count:
            return delivered
        if not delivered and len(chunk) == count:  # in one piece: there is nothing to compare
            return chunk
        marks = tuple(hash(repr(sorted(row.items()))) for row in chunk)
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


def _collect(
    session: Session, used: Collection[str], notes: list[str], accessor: str, count: int
) -> dict[str, Device]:
    """Devices until `count` are there, or as many records. Asked once where that is 0, as `_drain`.

    A record may come again in another chunk than the first one, or move there as devices come and
    go; it must be the same.
    """
    devices: dict[str, Device] = {}
    start = 0
    while accessor:
        asked = _asked(count - start, _HOSTS_A_CHUNK)
        arguments = {"strAccessor": accessor, "nStart": start, "nCount": asked}
        chunk = _chunk(session, "ChunkAccessor.GetItemsChunk", arguments, "pChunk", Retry.READ)
        known, start = len(devices), start + len(chunk)
        for row in chunk:
            device = parse_device(session.label, row)
            if devices.setdefault(device.id, device) != device:
                twice = f"device {remote_text(device.id, 80)} is listed twice, with a difference."
                raise _broken(session, twice, SAME_ID)
        if not chunk or len(devices) >= count or (len(devices) == known and start >= count):
            break
    doubles = start - len(devices)
    spare = doubles if devices.keys() >= set(used) else 0
    if count not in {len(devices), len(devices) + spare}:
        raise _broken(session, f"of {count} devices, {len(devices)} arrived.")
    if doubles:
        notes.append(f"Records of devices came twice, exactly alike ({doubles}): each counts once.")
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
    session.refuse_endless(0)
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


def _broken(session: Session, what: str, remedy: str = "") -> _Broken:
    return _Broken(session.label.error(Incomplete, what, remedy))


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
    nameless = f"key {serial}, which has no KLLIC_PROD_NAME"
    return Key(**{"name": nameless, "stored": False, **values})


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


def read_server(
    session: Session, server: VirtualServer, tenant: Tenant, select: Select, at: datetime
) -> Reading:
    """All that a virtual server tells: its keys, who uses those that matter, its devices."""
    _check_server(session, server)
    notes: list[str] = []
    keys = _read_keys(session, notes)
    if not keys:
        notes.append("no key is listed; where devices have one, kisi's account may not see keys.")
    rows: list[KeyRow] = []
    # Also where the server's own figure is 0: how far that is up to date is documented nowhere.
    selected = [key for key in keys if select(key)]
    for key in selected:
        opener, data = "LicenseKeys.AcquireKeyHosts", {"KLLIC_SERIAL": key.serial}
        uses = read_iterator(session, opener, KEY_HOST_FIELDS, page=_ROWS_A_CHUNK, pInData=data)
        rows += [parse_key_row(session.label, key.serial, use) for use in uses]
        session.refuse_endless(len(rows))
    if not any(row.current is not None for row in rows):
        _refuse_blind(session, "uses of keys", [{}] * len(rows), "KLLICSRV_HOST_CURRENT")
    # Last: a device that was added meanwhile is known. Also where nobody uses what is in use.
    used = {row.device for row in rows}
    is_used = used or any(key.used for key in selected)
    devices = read_devices(session, used, notes) if is_used else {}
    said = tuple(f"{session.label}: {note}" for note in dict.fromkeys(notes))
    return Reading(tenant, at, tuple(keys), tuple(rows), devices, notes=said)


def _check_server(session: Session, server: VirtualServer) -> None:
    """Makes sure that the session is one of `server`, and not, say, of the main server.

    A server that ignored the name in the login would have every device billed to one client.
    """
    values = {"pValues": ["KLADMSRV_IS_VIRTUAL", "KLADMSRV_VSID"]}
    info = session.call("HostGroup.GetStaticInfo", values, Retry.READ).get("PxgRetVal")
    if not isinstance(info, dict):
        raise session.label.error(Incomplete, "HostGroup.GetStaticInfo did not say who answers.")
    virtual, number = (info.get(name) for name in values["pValues"])
    if virtual is True and number == server.id:
        return
    missing = [name for name in values["pValues"] if info.get(name) is None]
    if missing and virtual is not False:
        said = f"HostGroup.GetStaticInfo did not say {' and '.join(missing)}"
        raise session.label.error(Incomplete, f"{said}, so that nobody knows who answered.")
    who = f"number {remote_text(str(number), 20)}"
    if virtual is not True:
        said = f"KLADMSRV_IS_VIRTUAL is {remote_text(str(virtual), 20)!r}"
        who = "one that is not virtual" if virtual is False else f"one whose {said}"
    raise session.label.error(
        Incomplete,
        f"the wrong virtual server answered: {who} instead of number {server.id}.",
        "Check whether two virtual servers have the same name.",
    )


def _refuse_blind(session: Session, what: str, rows: Collection[Params], *needed: str) -> None:
    """`Incomplete` if none of `rows` has a `needed` attribute: our account lacks a right.

    Where others have it, one that has not is odd itself: it is not counted, and a note says so.
    """
    for attribute in needed:
        if rows and all(row.get(attribute) in (None, "") for row in rows):
            said = f"not one of {len(rows)} {what} has a value of {attribute}, without which"
            raise session.label.error(Incomplete, f"{said} nothing can be counted.", READ_ALL)


def _refuse_blind_keys(session: Session, rows: Iterable[Params]) -> None:
    used = [row for row in rows if row.get("KLLIC_NHOSTS_ASCURRENT") != 0]
    _refuse_blind(session, "keys in use", used, "KLLIC_PROD_NAME", "KLLICSRV_KEY_INSTALLED")
    kinds: dict[bool, list[Params]] = {True: [], False: []}
    for row in used:
        subscribed = row.get("KLLIC_LICTYPE_IS_SUBSCRIPTION") or row.get("KLLIC_KEY_TYPE") == 6
        kinds[bool(subscribed)].append(row)
    endless = [row for row in kinds[True] if not row.get("KLLIC_LIMIT_DATE")]
    _refuse_blind(session, "subscriptions in use", kinds[True], "KLLIC_SUBSCRINFO_STATE")
    _refuse_blind(session, "subscriptions in use", endless, "KLLIC_SUBSCRINFO_ENDDATETYPE")
    _refuse_blind(session, "keys in use", kinds[False], "KLLIC_KEY_TYPE", "KLLIC_LIMIT_DATE")


def _read_keys(session: Session, notes: list[str]) -> list[Key]:
    """All keys, each serial number once: as the server's storage describes it, if it is there.

    Nobody uses a key only if nothing says otherwise.
    """
    found: dict[str, list[Key]] = {}
    rows = read_iterator(session, "LicenseKeys.EnumKeys", KEY_FIELDS, page=_KEYS_A_CHUNK)
    for row in rows:
        key = parse_key(session.label, row, notes)
        found.setdefault(key.serial, []).append(key)
    _refuse_blind_keys(session, rows)
    keys = []
    for serial, same in found.items():
        if any(key != same[0] for key in same):
            notes.append(f"Key {serial} is listed twice with different attributes.")
        chosen = next((key for key in reversed(same) if key.stored), same[0])
        told = [key.used for key in same if key.used is not None]
        keys.append(replace(chosen, used=max(told) if len(told) == len(same) else None))
    return keys
