"""The methods of the simulated Administration Server, by their case-sensitive names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar, cast

from kisi.sandbox import ksc_records as records
from kisi.sandbox.ksc_records import Params, PxgError, container, encode
from kisi.sandbox.ksc_sessions import ResultSet, Session
from kisi.sandbox.licences import VirtualServer

if TYPE_CHECKING:
    from kisi.sandbox.ksc import Ksc

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
        result = ResultSet(
            rows=kept,
            announced=int(self.twists.get("announced", len(rows))),
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
    }


def get_vserver_info(call: Call) -> Params:
    """VServers.GetVServerInfo: attributes of one virtual server, from the main server."""
    wanted, fields = call.take("lVServer", int), call.take_names("pFields2Return")
    for server in [] if call.server.is_virtual else call.ksc.world.servers:
        if server.id == wanted:
            return {"PxgRetVal": encode(records.of_server(server), fields)}
    raise PxgError(1186, "KLSTD", "The virtual server was not found.")


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
    return {"PxgRetVal": encode(values, call.take_names("pValues"))}


def get_instance_statistics(call: Call) -> Params:
    """HostGroup.GetInstanceStatistics: coarse figures a virtual server, from the main server."""
    world = call.ksc.world
    servers = [world.main, *world.servers]
    values = {
        "KLSRV_ST_VIRT_SERVER_COUNT": len(world.servers),
        "KLSRV_ST_TOTAL_HOSTS_COUNT": sum(len(server.devices) for server in servers),
        "KLSRV_ST_VIRT_SERVERS_DETAILS": [
            container(encode(records.of_statistics(server, world.now()))) for server in servers
        ],
    }
    return {"PxgRetVal": encode(values, call.take_names("vecFilterFields"))}


def enum_keys(call: Call) -> Params:
    """LicenseKeys.EnumKeys: all keys, unless only those in the server's storage are asked for."""
    call.need_rights()
    fields = call.take_names("pFields")
    call.take_names("pFieldsToOrder")
    stored = call.take("pOptions", dict).get("KLLICSRV_ENOPT_INSTALLED_ONLY") is True
    keys = [key for key in call.server.keys if key.installed or not stored]
    rows = [container(encode(records.of_key(key), fields)) for key in keys]
    return _iterator(call, rows)


def acquire_key_hosts(call: Call) -> Params:
    """LicenseKeys.AcquireKeyHosts: the rows of one key, a device and product each."""
    call.need_rights()
    fields = call.take_names("pFields")
    call.take_names("pFieldsToOrder")
    serial = call.take("pInData", dict).get("KLLIC_SERIAL")
    if not isinstance(serial, str):
        raise PxgError(1192, "KLSTD", "pInData needs KLLIC_SERIAL.")
    key = call.server.key(serial)
    if key is None:
        raise PxgError(1186, "KLSTD", "The key was not found.")
    rows = [container(encode(records.of_use(use), fields)) for use in key.uses]
    return _iterator(call, rows)


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
    fields = call.take_names("vecFieldsToReturn")
    matches = _compile(call.take("wstrFilter", str))
    orders = call.take_orders("vecFieldsToOrder")
    life = call.take("lMaxLifeTime", int)
    if not 0 < life <= _LONGEST_LIFE:
        raise PxgError(1229, "KLSTD", "lMaxLifeTime is at most 7200.")
    hosts = [records.of_host(device) for device in call.server.devices]
    hosts = [host for host in hosts if matches(host)]
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


def get_items_count(call: Call) -> Params:
    """ChunkAccessor.GetItemsCount."""
    return {"PxgRetVal": call.result("strAccessor").announced}


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
    "ChunkAccessor.GetItemsCount": get_items_count,
    "ChunkAccessor.Release": release_accessor,
    "GroupSyncIterator.GetNextItems": get_next_items,
    "GroupSyncIterator.ReleaseIterator": release_iterator,
    "HostGroup.FindHosts": find_hosts,
    "HostGroup.GetInstanceStatistics": get_instance_statistics,
    "HostGroup.GetStaticInfo": get_static_info,
    "LicenseKeys.AcquireKeyHosts": acquire_key_hosts,
    "LicenseKeys.EnumKeys": enum_keys,
    "Session.Ping": ping,
    "VServers.GetVServerInfo": get_vserver_info,
    "VServers.GetVServers": get_vservers,
}
