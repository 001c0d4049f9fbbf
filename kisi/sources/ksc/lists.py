"""What a virtual server tells: lists of Security Center, read whole or not at all.

Keys and their hosts come from an iterator, which every `GetNextItems` moves even if its answer is
lost: it is never repeated, a broken list is opened again, once, and then `Incomplete`. Devices come
from an accessor that any part can be asked of. The flag `bEOF` is ignored: its page (KSC/14 a00511)
and Kaspersky's own samples contradict each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from kisi.counting import READ_ALL
from kisi.counting.notes import SAME_ID
from kisi.errors import Incomplete, LoginRefused, SourceError
from kisi.model import Device, Key, KeyRow, Reading, Tenant
from kisi.redaction import remote_text
from kisi.sources import Select
from kisi.sources.ksc.openapi import Denied, Params, Session, Unavailable, Vanished
from kisi.sources.ksc.records import (
    HOST_FIELDS,
    KEY_FIELDS,
    KEY_HOST_FIELDS,
    VirtualServer,
    parse_device,
    parse_key,
    parse_key_row,
)
from kisi.transport import Retry

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_KEYS_A_CHUNK = 50  # what Kaspersky recommends for GetNextItems (KSC/14 a00511)
_ROWS_A_CHUNK = 500  # no largest number is documented; who gives fewer rows is asked again
_HOSTS_A_CHUNK = 500
_USUAL_PAGE = 50  # pages of servers are multiples of it, or powers of two above
_ITERATOR_LIFETIME, _ACCESSOR_LIFETIME = 900, 3600  # seconds

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
    session: Session,
    opener: str,
    fields: Iterable[str],
    notes: list[str],
    *,
    page: int,
    used: int | None = None,
    **arguments: object,
) -> list[Params]:
    """All rows of `LicenseKeys.EnumKeys` or `LicenseKeys.AcquireKeyHosts`, `page` at once.

    Of a key, `used` is in how many uses it is active by its own figure.
    """
    asked = {"pFields": [*fields], "pFieldsToOrder": [], "pOptions": {}, **arguments}
    asked["lTimeoutSec"] = _ITERATOR_LIFETIME
    rows = partial(_drain, session, page, used, notes)
    return _whole(session, partial(_read, session, opener, asked, _ITERATOR, rows))


def read_devices(session: Session, used: AbstractSet[str], notes: list[str]) -> dict[str, Device]:
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


def _drain(
    session: Session, page: int, used: int | None, notes: list[str], iterator: str, count: int
) -> list[Params]:
    """Rows until `count` of them are there, and those beyond. A chunk that comes twice counts once.

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
    ask = partial(_chunk, session, "GroupSyncIterator.GetNextItems", "pData", Retry.NEVER)
    while iterator and (len(rows) < count or not delivered):
        chunk = ask({"szwIterator": iterator, "nCount": _asked(count - len(rows), page)})
        if not chunk and len(delivered) == count:
            return delivered
        if not delivered and len(chunk) == count:  # in one piece: there is nothing to compare
            more = _surplus(chunk, used, partial(ask, {"szwIterator": iterator, "nCount": page}))
            notes += [_as_page(count, count + len(more))] if more else []
            return [*chunk, *more]
        marks = tuple(map(_mark, chunk))
        repeated = marks in chunks
        delivered += [] if repeated else chunk
        fresh = [row for row, mark in zip(chunk, marks, strict=True) if mark not in seen]
        idle = idle + 1 if not fresh and (repeated or len(delivered) > count) else 0
        if not chunk or idle > 1:
            raise _broken(session, f"a list of {count} rows ended after {len(rows)}.")
        chunks.add(marks)
        seen.update(marks)
        rows += fresh
    if iterator and len(rows) == count:
        rows += _surplus(rows, used, partial(ask, {"szwIterator": iterator, "nCount": page}))
    if len(rows) > count:
        raise _broken(session, f"a list of {count} rows holds {len(rows)}: it changed meanwhile.")
    return rows


def _surplus(
    rows: Collection[Params], used: int | None, ask: Callable[[], list[Params]]
) -> list[Params]:
    """Rows beyond the announced ones, read until there are no new ones, where there may be some.

    A server may announce the length of its own page. Whether it did is asked where so many `rows`
    are a usual page and the key's own figure does not say the same, or where that says more.
    """
    current = sum(row.get("KLLICSRV_HOST_CURRENT") is True for row in rows)
    size = len(rows)
    page = size >= _USUAL_PAGE and (size % _USUAL_PAGE == 0 or not size & (size - 1))
    found: list[Params] = []
    if used == current or not rows or not (page or (used or 0) > current):
        return found
    seen = set(map(_mark, rows))
    while fresh := [row for row in _beyond(ask) if _mark(row) not in seen]:
        found += fresh
        seen.update(map(_mark, fresh))
    return found


def _mark(row: Params) -> int:
    return hash(repr(sorted(row.items())))


def _beyond(ask: Callable[[], list[Params]]) -> list[Params]:
    """A chunk after the last row that was announced: none where the server refuses it."""
    try:
        return ask()
    except Denied:
        return []
    except _Broken as broken:
        if isinstance(broken.__cause__, Vanished):
            return []
        raise


def _as_page(count: int, number: int) -> str:
    return (
        f"A list was announced with {count} rows, which is one page of it, and has {number}: all "
        "of them are read."
    )


def _asked(left: int, page: int) -> int:
    """How many items to ask for: one more than are left, if that is a page, to see a surplus."""
    return page + 1 if left == page else page


def _collect(
    session: Session, used: AbstractSet[str], notes: list[str], accessor: str, count: int
) -> dict[str, Device]:
    """Devices until `count` are there, or as many records. Asked once where that is 0, as `_drain`.

    A record may come again in another chunk than the first one, or move there as devices come and
    go; it must be the same. Where one of those `used` is missing, the count may be that of a page.
    """
    devices: dict[str, Device] = {}
    start = first = 0
    ask = partial(_chunk, session, "ChunkAccessor.GetItemsChunk", "pChunk", Retry.READ)
    while accessor:
        number = _asked(count - start, _HOSTS_A_CHUNK)
        step = partial(ask, {"strAccessor": accessor, "nStart": start, "nCount": number})
        chunk = _beyond(step) if first and start >= count else step()
        known, start, first = len(devices), start + len(chunk), first or len(chunk)
        for row in chunk:
            device = parse_device(session.label, row)
            if devices.setdefault(device.id, device) != device:
                twice = f"device {remote_text(device.id, 80)} is listed twice, with a difference."
                raise _broken(session, twice, SAME_ID)
        idle = len(devices) == known and start >= count
        if not chunk or idle or (len(devices) >= count and used <= devices.keys()):
            break
    doubles = start - len(devices)
    spare = doubles if used <= devices.keys() else 0
    announced = start if first == count < len(devices) else count
    if announced not in {len(devices), len(devices) + spare}:
        raise _broken(session, f"of {count} devices, {len(devices)} arrived.")
    if announced > count:
        notes.append(_as_page(count, announced))
    if doubles:
        notes.append(f"Records of devices came twice, exactly alike ({doubles}): each counts once.")
    return devices


def _chunk(
    session: Session, method: str, container: str, retry: Retry, arguments: Mapping[str, Any]
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
        asked = ("LicenseKeys.AcquireKeyHosts", KEY_HOST_FIELDS, notes)
        told: dict[str, Any] = {"used": key.used, "pInData": {"KLLIC_SERIAL": key.serial}}
        uses = read_iterator(session, *asked, page=_ROWS_A_CHUNK, **told)
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
    rows = read_iterator(session, "LicenseKeys.EnumKeys", KEY_FIELDS, notes, page=_KEYS_A_CHUNK)
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
