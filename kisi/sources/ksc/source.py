"""An Administration Server as a source of usage: its virtual servers are the tenants."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from kisi.errors import (
    Incomplete,
    KisiError,
    LoginRefused,
    NotSent,
    OutOfTime,
    SourceError,
    Untrusted,
)
from kisi.model import Finding, Level, Reading, Tenant, TenantRef
from kisi.redaction import remote_name, remote_text
from kisi.sources import Readings, Select
from kisi.sources.ksc import KscSettings
from kisi.sources.ksc.lists import read_server
from kisi.sources.ksc.openapi import (
    Denied,
    Logins,
    Params,
    ServerLabel,
    Session,
    Vanished,
    authorization,
    unwrap,
)
from kisi.sources.ksc.records import VirtualServer, parse_servers
from kisi.transport import Client, Clock, Limits, Retry, certificate_of, clock_finding

_LOG = logging.getLogger(__name__)
_VERSIONS = ("KLADMSRV_PRODUCT_FULL_VERSION", "KLADMSRV_SERVER_VERSION_ID")
_SOON = timedelta(days=30)


class KscSource:
    """The virtual servers of one Kaspersky Security Center Administration Server.

    Logs in when it is first asked something. One refused login on the main server is final: every
    later question is answered with the same error, without another login.
    """

    def __init__(
        self,
        name: str,
        settings: KscSettings,
        secrets: Mapping[str, str],
        *,
        base: Path,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self.name = name
        self._client = Client(
            settings.url,
            ca_files=[base / path for path in settings.ca_files],
            fingerprints=settings.fingerprints,
            limits=limits,
            clock=clock,
            label=f"Security Center ({name})",
            unwrap=unwrap,
        )
        login = authorization(
            settings.user, secrets["password"], settings.domain, internal=settings.internal_user
        )
        self._begin = partial(Session, self._client, clock, limits, login)
        self._clock, self._limits = clock, limits
        self._workers = settings.workers
        self._main_lock = threading.RLock()
        self._main: Session | None = None
        self._refusal: LoginRefused | None = None
        self._servers: dict[str, VirtualServer] | None = None
        self._logins = Logins()
        self._stopped = threading.Event()

    def tenants(self) -> tuple[Tenant, ...]:
        """All virtual servers, also disabled ones, by `KLVSRV_UID`.

        Virtual servers of secondary Administration Servers are not among them: each server with
        virtual servers of its own is a source.
        """
        with self._main_lock:
            label = ServerLabel(self.name)
            try:
                rows = self._ask_main("VServers.GetVServers", {"lParentGroup": -1}).get("PxgRetVal")
            except Denied:
                self._refuse_virtual(label)
                raise
            if not rows:
                self._refuse_virtual(label)
            if not isinstance(rows, list):
                raise label.error(Incomplete, "VServers.GetVServers gave no list.")
            self._main_session().refuse_endless(len(rows), begins=True)
            self._servers = parse_servers(label, rows)
            return tuple(
                Tenant(TenantRef(self.name, uid), remote_name(server.name) or uid, server.enabled)
                for uid, server in self._servers.items()
            )

    def read(self, tenants: Collection[Tenant], select: Select) -> Readings:
        """Reads several tenants at once, and hands them over as they arrive."""
        stopped = self._stopped = threading.Event()
        waiting = ThreadPoolExecutor(self._workers, thread_name_prefix=f"ksc-{self.name}")
        read = partial(self._read_one, select=select, stopped=stopped)
        try:
            results = {waiting.submit(read, tenant): tenant.ref for tenant in tenants}
            for done in as_completed(list(results)):
                yield results.pop(done), done.result()
        finally:
            stopped.set()
            waiting.shutdown(wait=True, cancel_futures=True)

    def address(self) -> tuple[str, int] | None:
        """Host and port of the server; None where it has no certificate, on loopback."""
        return self._client.address

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of the server's, by its last answer."""
        return self._client.skew

    def check_online(self) -> tuple[Finding, ...]:
        """The certificate to pin, its end, the login, the clock, the release."""
        login = tuple(self._check_login())  # first: only an answer proves an issuer
        return (*self._check_certificate(), *login)

    def close(self) -> None:
        """Ends the main session and all connections. Safe to call twice, and after a failure."""
        self._stopped.set()
        with self._main_lock:
            if self._main is not None:
                self._main.end()
                self._main = None
        self._client.close()

    def _check_login(self) -> Iterator[Finding]:
        label = f"sources.{self.name}"
        try:
            tenants = self.tenants()
            enabled = f"{sum(each.enabled for each in tenants)} of {len(tenants)} virtual servers"
            yield Finding(Level.OK, f"{label} accepted the login; {enabled} are enabled.")
            yield self._clock_finding()
            asked = {"pValues": list(_VERSIONS)}
            info = self._ask_main("HostGroup.GetStaticInfo", asked).get("PxgRetVal")
            told = [info.get(name) for name in _VERSIONS] if isinstance(info, dict) else []
            version = remote_text(str(next(filter(None, told), "unknown")), 40)
            yield Finding(Level.OK, f"{label} runs Security Center {version}.")
        except SourceError as error:
            untrusted = isinstance(error.__cause__, Untrusted) and error.__cause__.presented
            yield self._to_pin(untrusted) if untrusted else Finding.of(error)

    def _to_pin(self, presented: str) -> Finding:
        """A certificate that is not trusted: the first one, or one that another was pinned for."""
        label, told = f"sources.{self.name}", "Nothing was sent, no password either."
        pin = f'\nfingerprints = ["{presented}"]'
        if pinned := ", ".join(sorted(self._client.pins)):
            return Finding(
                Level.PROBLEM,
                f"{label} has another certificate than the one that is pinned: was {pinned}, "
                f"is now {presented}. {told}",
                "Ask whoever runs the server whether it was renewed, and compare it there "
                "(klserver.cer). If it was not, somebody may be between: change nothing. "
                f"If it was, this line takes the place of the old one in [{label}]:{pin}",
            )
        return Finding(
            Level.PROBLEM,
            f"The certificate of {label} is not trusted yet. {told}",
            "Compare it on the server itself (klserver.cer); if it is the same, put this line into "
            f"[{label}] of kisi.toml:{pin}",
        )

    def _clock_finding(self) -> Finding:
        consequence = "a key could be counted after its end, or not until it"
        return clock_finding(self._client.skew, f"sources.{self.name}", consequence)

    def _check_certificate(self) -> Iterator[Finding]:
        label = f"sources.{self.name}"
        if (address := self.address()) is None:
            return
        try:
            certificate = certificate_of(*address)
        except NotSent as error:
            yield Finding.of(error)
            return
        presents = f"{label} presents the certificate {certificate.fingerprint}"
        if trusted := self._client.why_trusted(certificate.fingerprint):
            yield Finding(Level.OK, f"{presents}, {trusted}.")
        else:
            yield Finding(Level.NOTE, f"{presents}.")
        if certificate.expired:
            yield Finding(
                Level.PROBLEM,
                f"The certificate of {label} has expired, or is not valid yet.",
                "Renew it in Security Center, then pin the new one.",
            )
        elif certificate.expires is not None:
            left = certificate.expires - self._clock.now()
            ends = f"ends on {certificate.expires:%Y-%m-%d}, in {left.days} days."
            yield Finding(
                Level.WARNING if left < _SOON else Level.OK,
                f"The certificate of {label} {ends}",
                "Pin the next one beside it before it is replaced." if left < _SOON else "",
            )

    def _read_one(
        self, tenant: Tenant, select: Select, stopped: threading.Event
    ) -> Reading | KisiError:
        if self._clock.monotonic() >= self._limits.begin_by:
            return OutOfTime()
        try:
            read = partial(self._read_in_session, self._server_of(tenant), tenant, select, stopped)
            try:
                return read()
            except Vanished as gone:
                _LOG.warning("%s is read again from its start. %s", tenant.ref, gone.event)
            return read()
        except KisiError as error:
            return error

    def _read_in_session(
        self, server: VirtualServer, tenant: Tenant, select: Select, stopped: threading.Event
    ) -> Reading:
        label = ServerLabel(self.name, server.name)
        with self._logins.one_more(label):
            if stopped.is_set():
                raise label.error(SourceError, "the run was stopped before it was read.")
            session = self._begin(label, stopped)
        try:
            return read_server(session, server, tenant, select, self._clock.now())
        finally:
            session.end()

    def _server_of(self, tenant: Tenant) -> VirtualServer:
        """The virtual server of a tenant, if it is there and can be logged in to."""
        with self._main_lock:
            if self._servers is None:
                self.tenants()
            server = (self._servers or {}).get(tenant.ref.tenant)
        if server is None:
            label = ServerLabel(self.name, tenant.name)
            raise label.error(SourceError, "the server does not list it any more.")
        if server.trouble:
            raise server.trouble
        return server

    def _refuse_virtual(self, label: ServerLabel) -> None:
        """`SourceError` where the login is one of a virtual server, which has none of its own."""
        asked = {"pValues": ["KLADMSRV_IS_VIRTUAL"]}
        with suppress(Incomplete, Denied):  # what is wrong with the list is to be said then
            info = self._ask_main("HostGroup.GetStaticInfo", asked).get("PxgRetVal")
            if isinstance(info, dict) and info.get("KLADMSRV_IS_VIRTUAL") in (True, 1):
                raise label.error(
                    SourceError,
                    "the login led to a virtual server, which has no virtual servers of its own.",
                    "Write the address of the main Administration Server into `url`, and into "
                    "`user` an account that was made there and may read each virtual server.",
                )

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
                self._main = self._begin(ServerLabel(self.name), threading.Event())
            except LoginRefused as refusal:
                self._refusal = refusal
                raise
            finding = self._clock_finding()
            if finding.level is Level.PROBLEM:
                _LOG.warning("%s %s", finding.message, finding.remedy)
        return self._main
