"""A small Security Center on loopback that answers as documented, except where a test says so."""

from __future__ import annotations

import base64
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
LOST = object()
"""As an answer: the call is carried out, and the connection is cut instead of an answer."""

Params = dict[str, Any]


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def params(**attributes: Any) -> Params:
    return {"type": "params", "value": attributes}


def instant(text: str) -> Params:
    return {"type": "datetime", "value": text}


def pxg(code: int, module: str = "KLSTD", message: str = "No.") -> Params:
    return {"PxgError": {"code": code, "module": module, "file": "", "line": 0, "message": message}}


def key(serial: str, **attributes: Any) -> Params:
    return params(
        **{
            "KLLIC_SERIAL": serial,
            "KLLIC_PROD_NAME": "Kaspersky Endpoint Security for Business - Advanced",
            "KLLIC_KEY_TYPE": 1,
            "KLLIC_LIMIT_DATE": instant("2027-11-03T12:00:00Z"),
            "KLLICSRV_KEY_INSTALLED": True,
            **attributes,
        }
    )


def use(device: str, **attributes: Any) -> Params:
    return params(
        **{
            "KLLICSRV_HOSTNAME": device,
            "KLLICSRV_HOSTDN": device.upper(),
            "KLLICSRV_HOST_CURRENT": True,
            "KLLICSRV_PRODUCT": "KES",
            **attributes,
        }
    )


def host(device: str, **attributes: Any) -> Params:
    return params(**{"KLHST_WKS_HOSTNAME": device, "KLHST_WKS_DN": device.upper(), **attributes})


@dataclass
class FakeServer:
    """A virtual server and what it holds; `devices` names get a host and a use of key K1 each."""

    number: int
    name: str
    devices: int = 0
    enabled: bool = True
    keys: list[Params] = field(default_factory=list)
    uses: dict[str, list[Params]] = field(default_factory=dict)
    hosts: list[Params] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = [f"{self.name}-{n}" for n in range(self.devices)]
        self.keys = self.keys or ([key("K1")] if ids else [])
        self.uses = self.uses or {"K1": [use(device) for device in ids]}
        self.hosts = self.hosts or [host(device) for device in ids]

    @property
    def uid(self) -> str:
        return f"VSRV-{self.number}"


@dataclass
class Call:
    """A call as the server saw it."""

    method: str
    server: str
    arguments: Params
    headers: dict[str, str]


class FakeKsc:
    """The server: `servers` is what it holds, `answers` what it says instead, one call each."""

    def __init__(self, *servers: FakeServer) -> None:
        self.servers = list(servers)
        self.calls: list[Call] = []
        self.answers: dict[str, list[Any]] = defaultdict(list)
        self.page = 500
        self.sessions: dict[str, str] = {}
        self.ended: list[str] = []
        self.released: list[str] = []
        self._lists: dict[str, list[Params]] = {}
        self._number = 0
        self._lock = threading.RLock()

    def instead(self, method: str, *answers: Any, server: str | None = None) -> None:
        """The next calls of `method` are answered so: a body, (status, text), LOST, or None.

        A callable gets the ordinary answer, and returns one of these; None is the ordinary one.
        """
        label = method if server is None else f"{method}@{server}"
        self.answers[label] += answers

    def methods(self, server: str | None = None) -> list[str]:
        return [c.method.split(".")[1] for c in self.calls if server in (None, c.server)]

    def respond(self, method: str, arguments: Params, headers: dict[str, str]) -> Any:
        with self._lock:
            if method == "Session.StartSession":
                server = base64.b64decode(headers.get("X-KSC-VServer", "")).decode()
            else:
                server = self.sessions.get(headers.get("X-KSC-Session", ""), "?")
            self.calls.append(Call(method, server, arguments, headers))
            ordinary = (
                (403, "Forbidden") if server == "?" else self._ordinary(method, server, arguments)
            )
            for label in (f"{method}@{server}", method):
                if self.answers[label]:
                    answer = self.answers[label].pop(0)
                    answer = answer(ordinary) if callable(answer) else answer
                    return ordinary if answer is None else answer
            return ordinary

    def _ordinary(self, method: str, server: str, arguments: Params) -> Any:
        found = next((each for each in self.servers if each.name == server), None)
        if method == "Session.StartSession":
            self._number += 1
            token = f"token-{self._number}=="
            self.sessions[token] = server
            return {"PxgRetVal": token}
        if method == "Session.EndSession":
            self.ended.append(server)
            return {}
        if method == "VServers.GetVServers":
            return {"PxgRetVal": [self._describe(each) for each in self.servers]}
        if method == "HostGroup.GetStaticInfo":
            info = {"KLADMSRV_PRODUCT_FULL_VERSION": "14.0.0.10902", "KLADMSRV_IS_VIRTUAL": False}
            if found:
                number = {"type": "long", "value": str(found.number)}
                info |= {"KLADMSRV_IS_VIRTUAL": True, "KLADMSRV_VSID": number}
            return {"PxgRetVal": info}
        assert found, f"{method} on the main server"
        return self._lists_of(found, method, arguments)

    def _describe(self, server: FakeServer) -> Params:
        return params(
            KLVSRV_UID=server.uid,
            KLVSRV_ID=server.number,
            KLVSRV_DN=server.name,
            KLVSRV_ENABLED=server.enabled,
        )

    def _lists_of(self, server: FakeServer, method: str, arguments: Params) -> Any:
        if method == "LicenseKeys.EnumKeys":
            return self._iterator(server.keys)
        if method == "LicenseKeys.AcquireKeyHosts":
            return self._iterator(server.uses.get(arguments["pInData"]["KLLIC_SERIAL"], []))
        if method == "HostGroup.FindHosts":
            return {"PxgRetVal": len(server.hosts), "strAccessor": self._keep(server.hosts)}
        if method == "GroupSyncIterator.GetNextItems":
            rows = self._lists[arguments["szwIterator"]]
            count = min(arguments["nCount"], self.page)
            chunk, self._lists[arguments["szwIterator"]] = rows[:count], rows[count:]
            return self.chunk(chunk, "pData")
        if method == "ChunkAccessor.GetItemsChunk":
            start = arguments["nStart"]
            count = min(arguments["nCount"], self.page)
            return self.chunk(
                self._lists[arguments["strAccessor"]][start : start + count], "pChunk"
            )
        assert method in {"GroupSyncIterator.ReleaseIterator", "ChunkAccessor.Release"}, method
        self.released += arguments.values()
        return {}

    @staticmethod
    def chunk(rows: list[Params], container: str = "pData") -> Params:
        inside = {"KLCSP_ITERATOR_ARRAY": rows} if rows else {}
        return {"PxgRetVal": len(rows), "bEOF": True, container: inside}

    def _iterator(self, rows: list[Params]) -> Params:
        return {"lKeyCount": len(rows), "wstrIterator": self._keep(rows)}

    def _keep(self, rows: list[Params]) -> str:
        self._number += 1
        self._lists[f"list-{self._number}"] = list(rows)
        return f"list-{self._number}"

    @property
    def everything_was_given_back(self) -> bool:
        return len(self.released) == len(self._lists) and len(self.ended) == len(self.sessions)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    disable_nagle_algorithm = True
    ksc: FakeKsc

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        method = self.path.removeprefix("/api/v1.0/")
        answer = self.ksc.respond(method, json.loads(body), dict(self.headers.items()))
        if answer is LOST:
            self.close_connection = True
            return
        status, content = answer if isinstance(answer, tuple) else (200, json.dumps(answer))
        data = content.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status == 200 else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
