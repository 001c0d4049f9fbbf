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

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kisi.sandbox import ksc_records as records
from kisi.sandbox.configuration import Part, literal
from kisi.sandbox.faults import Vendor
from kisi.sandbox.http import Apply, Exchange, Intercept, Server
from kisi.sandbox.ksc_records import Params, PxgError, VirtualServer, container, encode
from kisi.sandbox.ksc_sessions import Account, Refused, ResultSet, Session, Sessions, decode_base64
from kisi.sandbox.world import World

if TYPE_CHECKING:
    from kisi.sandbox.certificate import Certificate

T = TypeVar("T")

_FILTER = re.compile(r'\(?\s*(KLHST_WKS_\w+)\s*=\s*"((?:[^"]|"")*)"\s*\)?')
_LONGEST_LIFE = 7200
_DEFAULT_LIFE = 900
_TWO_31 = 2**31


@dataclass(frozen=True, slots=True)
class Call:
    """A call that got past login and session."""

    ksc: Ksc
    session: Session
    arguments: Mapping[str, Any]
    twists: Mapping[str, Any]

    @property
    def server(self) -> VirtualServer:
        """The server whose session it is."""
        return self.session.server

    def take(self, name: str, kind: type[T]) -> T:
        """A mandatory argument.

        Raises:
            PxgError: It is missing or has another type; an int has 32 bits.
        """
        value = self.arguments.get(name)
        fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        if not fits or (isinstance(value, int) and not -_TWO_31 <= value < _TWO_31):
            raise PxgError(1192, "KLSTD", f"Bad or missing argument: {name}")
        return cast("T", value)

    def take_count(self, name: str, least: int = 0) -> int:
        """A mandatory argument that is a number of something.

        Raises:
            PxgError: It is missing, no number, or smaller than `least`.
        """
        count = self.take(name, int)
        if count < least:
            raise PxgError(1192, "KLSTD", f"{name} must be at least {least}.")
        return count

    def take_orders(self, name: str) -> list[tuple[str, bool]]:
        """An array of `Name` and `Asc` in params containers; clients leave it out, too.

        Raises:
            PxgError: It holds something else.
        """
        orders = []
        for element in self.take(name, list) if name in self.arguments else []:
            value = element.get("value") if isinstance(element, dict) else None
            order = value if isinstance(value, dict) else {}
            attribute, ascending = order.get("Name"), order.get("Asc", True)
            if not isinstance(attribute, str) or not isinstance(ascending, bool):
                raise PxgError(1192, "KLSTD", f"{name} must hold params with Name and Asc.")
            orders.append((attribute, ascending))
        return orders

    def take_names(self, name: str) -> list[str]:
        """A mandatory argument that is an array of strings.

        Raises:
            PxgError: It is missing or holds something else.
        """
        names = self.take(name, list)
        if not all(isinstance(item, str) for item in names):
            raise PxgError(1192, "KLSTD", f"{name} must hold strings.")
        return names

    def take_fields(self, name: str) -> set[str]:
        """A mandatory array of attributes; those that our account is not told are left out.

        Raises:
            PxgError: As `take_names`.
        """
        return set(self.take_names(name)) - self.server.hides

    def need_rights(self) -> None:
        """Check the rights of our account on this server.

        Raises:
            PxgError: It has none.
        """
        if not self.server.readable:
            raise PxgError(1184, "KLSTD", "Access denied.")

    def keep(self, rows: list[Params], seconds: int) -> tuple[str, ResultSet]:
        """Keep rows for an iterator or accessor, twisted as the fault switches say."""
        kept = rows[: len(rows) - int(self.twists.get("cut", 0))]
        count = min(len(rows), self.ksc.max_items) if self.ksc.counts_page else len(rows)
        result = ResultSet(
            rows=kept,
            announced=int(self.twists.get("announced", count)),
            expires=self.ksc.world.now() + timedelta(seconds=seconds or _DEFAULT_LIFE),
            repeat_page=bool(self.twists.get("repeat_page")),
            dies_after=self.twists.get("dies_after"),
        )
        name = self.ksc.sessions.name("result")
        self.session.results[name] = result
        return name, result

    def result(self, argument: str) -> ResultSet:
        """The result set that an argument names.

        Raises:
            PxgError: It does not exist (any more).
        """
        return self.session.result(self.take(argument, str), self.ksc.world.now())


def ping(_: Call) -> Params:
    """Session.Ping: the session is alive."""
    return {}


def get_vservers(call: Call) -> Params:
    """VServers.GetVServers: a virtual server has none of its own."""
    group = call.take("lParentGroup", int)
    servers = [] if call.server.is_virtual else call.ksc.world.servers
    return {
        "PxgRetVal": [
            container(encode(records.of_server(server)))
            for server in servers
            if group in {-1, server.group_id}
        ]
        + call.ksc.more_records
    }


def get_static_info(call: Call) -> Params:
    """HostGroup.GetStaticInfo: which server is this?"""
    integers = {
        "KLADMSRV_SERVER_VERSION_ID": call.ksc.version_id,
        "KLADMSRV_VSID": call.server.id,
    }
    wrapped = {name: {"type": "long", "value": value} for name, value in integers.items()}
    values = {
        "KLADMSRV_IS_VIRTUAL": call.server.is_virtual,
        "KLADMSRV_PRODUCT_FULL_VERSION": call.ksc.version,
        **(wrapped if call.ksc.wrap_ids else integers),
    }
    names = set(call.take_names("pValues")) - call.ksc.unsaid
    return {"PxgRetVal": encode(values, names)}


def enum_keys(call: Call) -> Params:
    """LicenseKeys.EnumKeys: all keys, unless only those in the server's storage are asked for."""
    call.need_rights()
    fields = call.take_fields("pFields")
    call.take_names("pFieldsToOrder")
    stored = call.take("pOptions", dict).get("KLLICSRV_ENOPT_INSTALLED_ONLY") is True
    keys = [key for key in call.server.keys if key.installed or not stored]
    rows = [container(encode(records.of_key(key), fields)) for key in keys]
    return _iterator(call, rows)


def acquire_key_hosts(call: Call) -> Params:
    """LicenseKeys.AcquireKeyHosts: the rows of one key, a device and product each."""
    call.need_rights()
    fields = call.take_fields("pFields")
    call.take_names("pFieldsToOrder")
    serial = call.take("pInData", dict).get("KLLIC_SERIAL")
    if not isinstance(serial, str):
        raise PxgError(1192, "KLSTD", "pInData needs KLLIC_SERIAL.")
    key = call.server.key(serial)
    if key is None:
        raise PxgError(1186, "KLSTD", "The key was not found.")
    uses = [] if call.server.hides_devices else key.uses
    return _iterator(call, [container(encode(records.of_use(use), fields)) for use in uses])


def _iterator(call: Call, rows: list[Params]) -> Params:
    name, result = call.keep(rows, call.take_count("lTimeoutSec"))
    return {"lKeyCount": result.announced, "wstrIterator": name}


def get_next_items(call: Call) -> Params:
    """GroupSyncIterator.GetNextItems: moves the iterator, even if the answer is lost."""
    result = call.result("szwIterator")
    count = call.take_count("nCount", least=1)
    page = result.next_page(min(count, call.ksc.max_items))
    last = result.position >= len(result.rows)
    return {
        "PxgRetVal": len(page),
        "bEOF": last if call.ksc.eof == "last" else not last,
        "pData": {"KLCSP_ITERATOR_ARRAY": page},
    }


def find_hosts(call: Call) -> Params:
    """HostGroup.FindHosts: the server's own devices that match the filter."""
    call.need_rights()
    fields = call.take_fields("vecFieldsToReturn")
    matches = _compile(call.take("wstrFilter", str))
    orders = call.take_orders("vecFieldsToOrder")
    life = call.take("lMaxLifeTime", int)
    if not 0 < life <= _LONGEST_LIFE:
        raise PxgError(1229, "KLSTD", "lMaxLifeTime is at most 7200.")
    devices = [] if call.server.hides_devices else call.server.devices
    listed = [x for x in devices for _ in range(1 + (x.host_id in call.server.doubled))]
    hosts = [host for host in map(records.of_host, listed) if matches(host)]
    for attribute, ascending in reversed(orders):
        hosts.sort(key=lambda host: str(host.get(attribute) or ""), reverse=not ascending)
    name, result = call.keep([container(encode(host, fields)) for host in hosts], life)
    return {"PxgRetVal": result.announced, "strAccessor": name}


def _compile(expression: str) -> Callable[[Params], bool]:
    if not expression:
        return lambda _: True
    parsed = _FILTER.fullmatch(expression.strip())
    if parsed is None:
        raise PxgError(1192, "KLSTD", f"The sandbox does not know this filter: {expression}")
    name, pattern = parsed[1], parsed[2].replace('""', '"').casefold()
    return lambda host: fnmatchcase(str(host.get(name) or "").casefold(), pattern)


def get_items_chunk(call: Call) -> Params:
    """ChunkAccessor.GetItemsChunk: any part of a result set, as often as one likes."""
    result = call.result("strAccessor")
    start, count = call.take_count("nStart"), call.take_count("nCount")
    page = result.page_at(start, min(count, call.ksc.max_items))
    return {"PxgRetVal": len(page), "pChunk": {"KLCSP_ITERATOR_ARRAY": page}}


def release_iterator(call: Call) -> Params:
    """GroupSyncIterator.ReleaseIterator."""
    call.session.results.pop(call.take("szwIterator", str), None)
    return {}


def release_accessor(call: Call) -> Params:
    """ChunkAccessor.Release."""
    call.session.results.pop(call.take("strAccessor", str), None)
    return {}


METHODS: dict[str, Callable[[Call], Params]] = {
    "ChunkAccessor.GetItemsChunk": get_items_chunk,
    "ChunkAccessor.Release": release_accessor,
    "GroupSyncIterator.GetNextItems": get_next_items,
    "GroupSyncIterator.ReleaseIterator": release_iterator,
    "HostGroup.FindHosts": find_hosts,
    "HostGroup.GetStaticInfo": get_static_info,
    "LicenseKeys.AcquireKeyHosts": acquire_key_hosts,
    "LicenseKeys.EnumKeys": enum_keys,
    "Session.Ping": ping,
    "VServers.GetVServers": get_vservers,
}


_PREFIX = "/api/v1.0/"
_OPENERS = frozenset({"login", "Session.StartSession"})
_UNAUTHENTICATED = "Authentication failure"


class Ksc(Vendor):
    """A simulated Administration Server.

    Args:
        world: What it manages.

    Attributes:
        account: Who may log in.
        sessions: Its sessions; `open_sessions` are those not ended.
        eof: `last`: `bEOF` is true with the last page, as Kaspersky's samples expect; `more`: it
            is false then, as the page on GetNextItems says.
        max_items: The most rows of one page, whatever the client asks for.
        counts_page: A list is announced with the length of its first page.
        ignore_vserver_header: Every session is one of the main server.
        version: `KLADMSRV_PRODUCT_FULL_VERSION`.
        version_id: `KLADMSRV_SERVER_VERSION_ID`.
        more_records: Further elements of GetVServers, as they are on the wire.
        unsaid: Attributes that GetStaticInfo does not know.
        wrap_ids: Integers of GetStaticInfo come as `long`, not bare.
        violations: What clients did that the interface forbids, in words.
        methods_by_name: Its calls once a session is open; a test may put others in their place.
    """

    def __init__(self, world: World) -> None:
        super().__init__("ksc", world.now)
        self.world = world
        self.account = Account()
        self.sessions = Sessions()
        self.eof = "last"
        self.max_items = 500
        self.counts_page = False
        self.ignore_vserver_header = False
        self.version = "14.0.0.10902"
        self.version_id = 0x000E0000
        self.wrap_ids = False
        self.more_records: list[Any] = []
        self.unsaid: set[str] = set()
        self.violations: list[str] = []
        self.methods_by_name = dict(METHODS)

    def own_certificate(self) -> Certificate | None:
        """A new one: Kaspersky Security Center makes its own at installation.

        Without the extra `sandbox` there is none, and it serves plain HTTP, on loopback.
        """
        try:
            from kisi.sandbox.certificate import Certificate  # noqa: PLC0415 - it needs the extra
        except ModuleNotFoundError:
            return None
        return Certificate.make()

    def admit(self, struck: Intercept, exchange: Exchange, apply: Apply) -> None:
        """Let a request pass unless another one of its session is under way."""
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

    def part(self, server: Server, name: str = "hq") -> Part:
        """What a `Sandbox` simulates: the section `[sources.NAME]`, and its secret.

        Each server needs a name of its own in the log.
        """
        secret = f"{server.name}-password"
        config = f"""\
[sources.{name}]                          # Kaspersky Security Center
kind = "ksc"
url = "{server.url}"
user = {literal(self.account.user)}
password = "file:secrets/{secret}"
internal_user = {literal(self.account.internal)}
"""
        if server.certificate:  # its own: pinned, not trusted by name
            config += f'fingerprints = ["{server.fingerprint}"]\n'
        return Part(server.name, server, config, {secret: self.account.password})

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
        if method not in self.methods_by_name:
            raise PxgError(1194, "KLCONN", f"There is no such call: {method}")
        return self.methods_by_name[method](
            Call(self, session, _arguments(exchange), exchange.twists)
        )

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
