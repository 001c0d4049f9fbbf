"""An Administration Server as a source of usage: its virtual servers are the tenants.

A virtual server is read whole: its keys, who uses those that matter, its devices. Devices come
last, so that a device that was added in between is known.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from kisi.errors import Incomplete, KisiError, LoginRefused, SourceError
from kisi.model import Finding, Key, KeyRow, Level, Reading, Tenant, TenantRef
from kisi.redaction import remote_name, remote_text
from kisi.sources import Select
from kisi.sources.ksc.checks import IF_SKEWED, check_online
from kisi.sources.ksc.lists import (
    KEY_FIELDS,
    KEY_HOST_FIELDS,
    Malformed,
    VirtualServer,
    parse_key,
    parse_key_row,
    parse_server,
    read_devices,
    read_iterator,
)
from kisi.sources.ksc.session import Logins, OpenApi, Session
from kisi.sources.ksc.settings import KscSettings
from kisi.sources.ksc.wire import Account, Params, ServerLabel, Vanished
from kisi.transport import Client, Clock, Limits, Retry, Trust, clock_finding, clock_skew

_LOG = logging.getLogger(__name__)
_VERSIONS = ("KLADMSRV_PRODUCT_FULL_VERSION", "KLADMSRV_SERVER_VERSION_ID")


class KscSource:
    """The virtual servers of one Kaspersky Security Center Administration Server.

    Logs in when it is first asked something. One refused login on the main server is final: every
    later question is answered with the same error, without another login.

    Args:
        name: The section's name.
        client: Talks to the server; closed with this source.
        api: The OpenAPI over that client.
        clock: Tells when readings were made.
        workers: How many virtual servers are read at once, each in a session of its own.
    """

    def __init__(
        self, name: str, client: Client, api: OpenApi, *, clock: Clock, workers: int
    ) -> None:
        self.name = name
        self._client = client
        self._api = api
        self.clock = clock
        self._workers = workers
        self._main_label = ServerLabel(name)
        self._main_lock = threading.RLock()
        self._main: Session | None = None
        self._refusal: LoginRefused | None = None
        self._skew: timedelta | None = None
        self._servers: dict[str, VirtualServer] | None = None
        self._logins = Logins()
        self._stopped = threading.Event()

    def tenants(self) -> tuple[Tenant, ...]:
        """All virtual servers, also disabled ones, by `KLVSRV_UID`.

        Virtual servers of secondary Administration Servers are not among them: each server with
        virtual servers of its own is a source.

        Raises:
            SourceError: The list did not arrive whole, or the login was refused.
        """
        with self._main_lock:
            self._servers = self._read_servers()
            return tuple(
                Tenant(
                    TenantRef(self.name, server.uid),
                    remote_name(server.name) or server.uid,
                    server.enabled,
                )
                for server in self._servers.values()
            )

    def read(
        self, tenants: Collection[Tenant], select: Select
    ) -> Iterator[tuple[TenantRef, Reading | KisiError]]:
        """Reads each of `tenants` whole, several at once, and hands them over as they arrive."""
        stopped = self._stopped = threading.Event()
        waiting = ThreadPoolExecutor(self._workers, thread_name_prefix=f"ksc-{self.name}")
        try:
            results = {
                waiting.submit(self._read_one, tenant, select, stopped): tenant.ref
                for tenant in tenants
            }
            for done in as_completed(list(results)):
                yield results.pop(done), done.result()
        finally:
            stopped.set()
            waiting.shutdown(wait=True, cancel_futures=True)

    def address(self) -> tuple[str, int] | None:
        """Host and port of the Administration Server."""
        return self._client.address

    def why_trusted(self, fingerprint: str) -> str:
        """Why a certificate with this fingerprint is trusted, as a clause; empty if it is not."""
        return self._client.why_trusted(fingerprint)

    def check_online(self) -> tuple[Finding, ...]:
        """The certificate to pin, its end, the login, the clock, the release."""
        return check_online(self)

    def close(self) -> None:
        """Ends the main session and all connections. Safe to call twice, and after a failure."""
        self._stopped.set()
        with self._main_lock:
            if self._main is not None:
                self._main.end()
                self._main = None
        self._client.close()

    def server_version(self) -> str:
        """The full version of Security Center, such as `14.0.0.10902`, for `kisi check --online`.

        Raises:
            SourceError: It cannot be asked, or the login was refused.
        """
        answer = self._ask_main("HostGroup.GetStaticInfo", {"pValues": list(_VERSIONS)})
        info = answer.get("PxgRetVal")
        values = info if isinstance(info, dict) else {}
        known = (values.get(name) for name in _VERSIONS)
        return next((remote_text(str(value), 40) for value in known if value), "unknown")

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of the server's; None if the server does not say.

        Raises:
            SourceError: The login failed.
        """
        with self._main_lock:
            self._main_session()
            return self._skew

    def _read_one(
        self, tenant: Tenant, select: Select, stopped: threading.Event
    ) -> Reading | KisiError:
        try:
            server = self._server_of(tenant)
            return read_tenant(
                lambda: self._session_on(server, stopped), server, tenant, select, self.clock
            )
        except KisiError as error:
            return error

    @contextmanager
    def _session_on(self, server: VirtualServer, stopped: threading.Event) -> Iterator[Session]:
        label = ServerLabel(self.name, server.name)
        with self._logins.one_more(label):
            if stopped.is_set():
                raise label.error(SourceError, "the run was stopped before it was read.")
            session, _ = self._api.start(label, stopped)
        try:
            yield session
        finally:
            session.end()

    def _server_of(self, tenant: Tenant) -> VirtualServer:
        """The virtual server of a tenant that can be read.

        Raises:
            SourceError: There is none, or nobody can log in to it.
        """
        label = ServerLabel(self.name, tenant.name)
        with self._main_lock:
            if self._servers is None:
                self._servers = self._read_servers()
            server = self._servers.get(tenant.ref.tenant)
        if server is None:
            raise label.error(SourceError, "the server does not list it any more.")
        if not server.enabled:
            raise label.error(
                SourceError,
                "it is disabled, so that nobody can log in to it.",
                "Enable it in Security Center, or set `billing = false` for its client.",
            )
        if not server.name or server.id is None:
            raise label.error(Incomplete, "the server does not say its name or its number.")
        return server

    def _read_servers(self) -> dict[str, VirtualServer]:
        answer = self._ask_main("VServers.GetVServers", {"lParentGroup": -1})
        rows = answer.get("PxgRetVal")
        if not isinstance(rows, list):
            raise self._main_label.error(Incomplete, "VServers.GetVServers gave no list.")
        try:
            servers = [parse_server(row) for row in rows]
        except Malformed as error:
            raise self._main_label.error(Incomplete, str(error)) from error
        by_uid = {server.uid: server for server in servers}
        if len(by_uid) != len(servers):
            raise self._main_label.error(Incomplete, "two virtual servers have the same UID.")
        return by_uid

    def _ask_main(self, method: str, arguments: Mapping[str, Any]) -> Params:
        """Calls a method on the main server; in a new session, once, if the old one has died."""
        with self._main_lock:
            session = self._main_session()
            try:
                return session.call(method, arguments, Retry.READ)
            except Vanished:
                if session.alive:
                    raise
            session.end()
            return self._main_session().call(method, arguments, Retry.READ)

    def _main_session(self) -> Session:
        if self._refusal is not None:
            raise self._refusal
        if self._main is None or not self._main.alive:
            try:
                self._main, answer = self._api.start(self._main_label)
            except LoginRefused as refusal:
                self._refusal = refusal
                raise
            self._skew = clock_skew(answer, self.clock.now())
            finding = clock_finding(self._skew, f"sources.{self.name}", IF_SKEWED)
            if finding.level is Level.PROBLEM:
                _LOG.warning("%s %s", finding.message, finding.remedy)
        return self._main


_KEYS_A_CHUNK = 50
"""What Kaspersky recommends for GetNextItems (KSC/14 a00511)."""
_ROWS_A_CHUNK = 500
"""No largest number is documented; a server that gives fewer rows at once is asked again."""

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
        raise session.label.error(Incomplete, str(error)) from error
    devices = read_devices(session) if rows else {}
    return Reading(
        tenant=tenant,
        at=at,
        keys=tuple(keys),
        rows=tuple(rows),
        devices=devices,
        notes=tuple(f"{session.label}: {note}" for note in notes),
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
        raise session.label.error(Incomplete, "HostGroup.GetStaticInfo did not say who answers.")
    number = info.get("KLADMSRV_VSID")
    if info.get("KLADMSRV_IS_VIRTUAL") is not True or number != server.id or number is None:
        shown = remote_text(str(number), 20)
        raise session.label.error(
            Incomplete,
            f"the wrong virtual server answered: number {shown} instead of {server.id}.",
            "Check whether two virtual servers have the same name.",
        )


def _read_keys(session: Session, notes: dict[str, None]) -> list[Key]:
    """All keys, each serial number once."""
    rows = read_iterator(session, "LicenseKeys.EnumKeys", KEY_FIELDS, page=_KEYS_A_CHUNK)
    keys: dict[str, list[Key]] = {}
    for row in rows:
        key = parse_key(row, lambda note: notes.update({note: None}))
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
        KEY_HOST_FIELDS,
        page=_ROWS_A_CHUNK,
        pInData={"KLLIC_SERIAL": key.serial},
    )
    return [parse_key_row(key.serial, row, lambda note: notes.update({note: None})) for row in rows]


def open_source(
    name: str,
    settings: KscSettings,
    secrets: Mapping[str, str],
    *,
    base: Path,
    clock: Clock,
    limits: Limits,
) -> KscSource:
    """The Administration Server of `[sources.NAME]`; sends nothing yet.

    Args:
        name: The section's name.
        settings: The section.
        secrets: `password`, resolved.
        base: The folder that relative paths start from.
        clock: For time-outs and the time of readings.
        limits: For every request.

    Raises:
        ConfigError: A pinned certificate cannot be read.
    """
    trust = Trust(
        ca_files=tuple(base / path for path in settings.ca_files),
        fingerprints=settings.fingerprints,
    )
    client = Client(
        settings.url, trust=trust, limits=limits, clock=clock, label=f"Security Center ({name})"
    )
    account = Account(
        user=settings.user,
        password=secrets["password"],
        domain=settings.domain,
        internal=settings.internal_user,
    )
    api = OpenApi(client, account, clock)
    return KscSource(name, client, api, clock=clock, workers=settings.workers)
