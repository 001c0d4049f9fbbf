"""One virtual server, read whole: its keys, who uses those that matter, its devices.

The order matters: devices come after the uses of keys, so that a device added in between is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from kisi.errors import Incomplete
from kisi.model import Key, KeyRow, Reading, Tenant
from kisi.redaction import remote_text
from kisi.sources import Select
from kisi.sources.ksc import records
from kisi.sources.ksc.lists import read_devices, read_iterator
from kisi.sources.ksc.problems import Vanished
from kisi.sources.ksc.records import KEY_FIELDS, KEY_HOST_FIELDS, Malformed, VirtualServer
from kisi.sources.ksc.session import Session
from kisi.transport import Clock, Retry

_LOG = logging.getLogger(__name__)
_KEYS_A_CHUNK = 50
"""What Kaspersky recommends for GetNextItems (KSC/14 a00511)."""
_ROWS_A_CHUNK = 500
"""No largest number is documented; a server that gives fewer rows at once is asked again."""
_ITERATOR_LIFETIME = 900

OpenSession = Callable[[], AbstractContextManager[Session]]


def read_tenant(
    open_session: OpenSession, server: VirtualServer, tenant: Tenant, select: Select, clock: Clock
) -> Reading:
    """Reads a virtual server, in a session of its own; once more if the ground gave way under it.

    Raises:
        SourceError: It could not be read completely.
    """
    try:
        with open_session() as session:
            return _read(session, server, tenant, select, clock)
    except Vanished as gone:
        _LOG.warning("%s is read again from its start. %s", tenant.ref, gone.event)
    with open_session() as session:
        return _read(session, server, tenant, select, clock)


def _read(
    session: Session, server: VirtualServer, tenant: Tenant, select: Select, clock: Clock
) -> Reading:
    at = clock.now()
    _check_server(session, server)
    notes: dict[str, None] = {}
    try:
        keys = _read_keys(session, notes)
        rows = [
            row
            for key in keys
            if select(key) and key.used != 0
            for row in _read_rows(session, key, notes)
        ]
    except Malformed as error:
        raise session.place.error(Incomplete, str(error)) from error
    devices = read_devices(session) if rows else {}
    return Reading(
        tenant=tenant,
        at=at,
        keys=tuple(keys),
        rows=tuple(rows),
        devices=devices,
        notes=tuple(f"{session.place}: {note}" for note in notes),
    )


def _check_server(session: Session, server: VirtualServer) -> None:
    """Makes sure that the session is one of `server`, and not, say, of the main server.

    A server that ignored the name in the login would have every device billed to one client.
    """
    answer = session.call(
        "HostGroup.GetStaticInfo",
        {"pValues": ["KLADMSRV_IS_VIRTUAL", "KLADMSRV_VSID"]},
        Retry.READ,
    )
    info = answer.get("PxgRetVal")
    if not isinstance(info, dict):
        raise session.place.error(Incomplete, "HostGroup.GetStaticInfo did not say who answers.")
    number = info.get("KLADMSRV_VSID")
    if info.get("KLADMSRV_IS_VIRTUAL") is not True or number != server.id or number is None:
        shown = remote_text(str(number), 20)
        raise session.place.error(
            Incomplete,
            f"the wrong virtual server answered: number {shown} instead of {server.id}.",
            "Check whether two virtual servers have the same name.",
        )


def _read_keys(session: Session, notes: dict[str, None]) -> list[Key]:
    """All keys, each serial number once."""
    rows = read_iterator(
        session,
        "LicenseKeys.EnumKeys",
        {
            "pFields": list(KEY_FIELDS),
            "pFieldsToOrder": [],
            "pOptions": {},
            "lTimeoutSec": _ITERATOR_LIFETIME,
        },
        page=_KEYS_A_CHUNK,
    )
    keys: dict[str, list[Key]] = {}
    for row in rows:
        key = records.key(row, lambda note: notes.update({note: None}))
        keys.setdefault(key.serial, []).append(key)
    for serial, same in keys.items():
        if any(key != same[0] for key in same):
            notes[f"Key {serial} is listed twice with different attributes."] = None
    return [_one_key(same) for same in keys.values()]


def _one_key(same: Sequence[Key]) -> Key:
    """One key of all that is listed of it: what the server's storage says of it, if it is there.

    Nobody uses it only if nothing says otherwise.
    """
    chosen = next((key for key in reversed(same) if key.stored), same[0])
    told = [key.used for key in same if key.used is not None]
    return replace(chosen, used=max(told) if len(told) == len(same) else None)


def _read_rows(session: Session, key: Key, notes: dict[str, None]) -> list[KeyRow]:
    rows = read_iterator(
        session,
        "LicenseKeys.AcquireKeyHosts",
        {
            "pInData": {"KLLIC_SERIAL": key.serial},
            "pFields": list(KEY_HOST_FIELDS),
            "pFieldsToOrder": [],
            "pOptions": {},
            "lTimeoutSec": _ITERATOR_LIFETIME,
        },
        page=_ROWS_A_CHUNK,
    )
    return [
        records.key_row(key.serial, row, lambda note: notes.update({note: None})) for row in rows
    ]
