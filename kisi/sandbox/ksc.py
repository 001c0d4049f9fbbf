"""A simulated Kaspersky Security Center: the part of its Open API that licences need.

The interface is described at https://support.kaspersky.com/help/KSC/16/KSCAPI/. Where Kaspersky
does not say what happens, the server here does the inconvenient thing, and switches cover both
readings. What goes wrong for single calls is set with `Faults`; the twists known here are

* on `Session.StartSession` and `login`: `dies_after=n` (the session is forgotten after n calls),
  `server="name"` (another server answers than the one asked for, `""` is the main server);
* on `LicenseKeys.EnumKeys`, `LicenseKeys.AcquireKeyHosts` and `HostGroup.FindHosts`: `cut=n` (the
  last n rows never come), `announced=n` (a wrong count), `repeat_page=True` (the second page is
  the first again), `dies_after=n` (the iterator or accessor is gone after n pages).

Answers that contradict the documentation or each other without a fault are attributes of `Ksc`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kisi.sandbox.exchange import Exchange
from kisi.sandbox.faults import Faults
from kisi.sandbox.http import Certificate, Logged, Server
from kisi.sandbox.ksc_methods import METHODS, Call
from kisi.sandbox.ksc_records import Params, PxgError, pxg_error
from kisi.sandbox.ksc_sessions import Account, Refused, Session, Sessions, decode_base64
from kisi.sandbox.licences import VirtualServer
from kisi.sandbox.world import World

__all__ = ["Account", "Ksc", "PxgError", "pxg_error"]

_PREFIX = "/api/v1.0/"
_OPENERS = frozenset({"login", "Session.StartSession"})
_UNAUTHENTICATED = "Authentication failure"


class Ksc:
    """A simulated Administration Server.

    Args:
        world: What it manages.

    Attributes:
        account: Who may log in.
        sessions: Its sessions; `open_sessions` are those not ended.
        eof: `last`: `bEOF` is true with the last page, as Kaspersky's samples expect; `more`: it
            is false then, as the page on GetNextItems says.
        max_items: The most rows of one page, whatever the client asks for.
        ignore_vserver_header: Every session is one of the main server.
        version: `KLADMSRV_PRODUCT_FULL_VERSION`.
        version_id: `KLADMSRV_SERVER_VERSION_ID`.
        wrap_ids: Integers of GetStaticInfo come as `long`, not bare.
        violations: What clients did that the interface forbids, in words.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.account = Account()
        self.sessions = Sessions()
        self.eof = "last"
        self.max_items = 500
        self.ignore_vserver_header = False
        self.version = "14.0.0.10902"
        self.version_id = 0x000E0000
        self.wrap_ids = False
        self.violations: list[str] = []

    def serve(
        self,
        *,
        tls: Certificate | None = None,
        port: int = 0,
        faults: Faults | None = None,
        log: list[Logged] | None = None,
        name: str = "ksc",
    ) -> Server:
        """A server for it, not started yet; by default with a new certificate of its own."""
        struck = (faults or Faults()).around(self.labels)

        def intercept(exchange: Exchange, apply: Callable[[], None]) -> None:
            session = self._named_session(exchange)
            if session is None:
                struck(exchange, apply)
            elif not session.busy.acquire(blocking=False):
                self.violations.append(f"{exchange.path} while another request was under way")
                exchange.respond(400, "A session takes one request at a time.", _PLAIN)
            else:
                try:
                    struck(exchange, apply)
                finally:
                    session.busy.release()

        return Server(
            name,
            self.handle,
            tls=tls or Certificate.make(),
            port=port,
            now=self.world.now,
            log=log,
            intercept=intercept,
        )

    @property
    def open_sessions(self) -> list[Session]:
        """Sessions that were begun with StartSession and neither ended nor forgotten."""
        return list(self.sessions.open.values())

    @property
    def open_iterators(self) -> list[str]:
        """Iterators and accessors of open sessions that were not released."""
        return [name for session in self.open_sessions for name in session.results]

    def labels(self, exchange: Exchange) -> Sequence[str]:
        """What faults match: `Class.Method`, and `Class.Method@Virtual server` if it is known."""
        method = exchange.path.removeprefix(_PREFIX)
        session = self._named_session(exchange)
        try:
            server = session.server if session else self._asked_for(exchange)
        except Refused:
            return (method,)
        return (method, f"{method}@{server.name or 'main'}")

    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        with self.world.lock:
            try:
                exchange.respond(200, self._answer(exchange))
            except PxgError as error:
                exchange.respond(200, error.body())
            except Refused as refused:
                exchange.respond(refused.status, str(refused), _PLAIN)

    def _answer(self, exchange: Exchange) -> Params:
        if not exchange.path.startswith(_PREFIX):
            raise Refused(404, "Not Found")
        if exchange.method != "POST":
            raise Refused(405, "Method Not Allowed")
        media_type = exchange.headers.get("Content-Type", "application/json")
        if media_type.partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "Unsupported Media Type")
        method = exchange.path.removeprefix(_PREFIX)
        if method in _OPENERS:
            return self._open(exchange, method)
        session = self._session(exchange)
        if method == "Session.EndSession":
            self.sessions.end(session)
            return {}
        if method not in METHODS:
            raise PxgError(1194, "KLCONN", f"There is no such call: {method}")
        return METHODS[method](Call(self, session, _arguments(exchange), exchange.twists))

    def _open(self, exchange: Exchange, method: str) -> Params:
        self.account.admit(exchange.headers.get("Authorization", ""))
        server = self._asked_for(exchange)
        if not server.enabled:
            raise Refused(401, _UNAUTHENTICATED)
        if "server" in exchange.twists:
            server = self._by_name(exchange.twists["server"])
        elif self.ignore_vserver_header:
            server = self.world.main
        session = self.sessions.start(server, self.world.now(), exchange.twists)
        if method == "login":
            exchange.connection["session"] = self.sessions.open.pop(session.token)
            return {}
        return {"PxgRetVal": session.token}

    def _session(self, exchange: Exchange) -> Session:
        token = exchange.headers.get("X-KSC-Session")
        if token:
            return self.sessions.find(token, self.world.now())
        bound = exchange.connection.get("session")
        if isinstance(bound, Session):
            bound.count_call()
            return bound
        raise Refused(401, _UNAUTHENTICATED)

    def _named_session(self, exchange: Exchange) -> Session | None:
        with self.world.lock:
            token = exchange.headers.get("X-KSC-Session", "")
            bound = exchange.connection.get("session")
            return self.sessions.open.get(token) or bound

    def _asked_for(self, exchange: Exchange) -> VirtualServer:
        header = exchange.headers.get("X-KSC-VServer", "")
        return self._by_name("" if header == "x" else decode_base64(header))

    def _by_name(self, name: str) -> VirtualServer:
        if not name:
            return self.world.main
        for server in self.world.servers:
            if server.name == name:
                return server
        raise Refused(401, _UNAUTHENTICATED)


_PLAIN = {"Content-Type": "text/plain; charset=utf-8"}


def _arguments(exchange: Exchange) -> dict[str, Any]:
    if not exchange.body:
        return {}
    try:
        arguments = exchange.json()
    except ValueError as error:
        raise PxgError(1192, "KLSTD", "The body is not JSON.") from error
    if not isinstance(arguments, dict):
        raise PxgError(1192, "KLSTD", "The body is not an object.")
    return arguments
