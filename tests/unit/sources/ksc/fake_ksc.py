"""The sandbox's Security Center with rows as they are on the wire, and a test's own answers."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kisi.sandbox import ksc as sandbox
from kisi.sandbox.http import Exchange
from kisi.sandbox.ksc_records import Params, VirtualServer, pxg_error
from kisi.sandbox.ksc_sessions import Session, decode_base64
from kisi.sandbox.world import World

NOW = datetime(2026, 11, 3, 12, 0, tzinfo=UTC)
LOST = object()
"""As an answer: the call is carried out, and the connection is cut instead of an answer."""


def params(**attributes: Any) -> Params:
    return {"type": "params", "value": attributes}


def instant(text: str) -> Params:
    return {"type": "datetime", "value": text}


def pxg(code: int, module: str = "KLSTD", message: str = "No.") -> Params:
    return pxg_error(code, module, message)


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


class FakeServer(VirtualServer):
    """A virtual server; `devices` names get a host and a use of key K1 each."""

    def __init__(
        self,
        number: int,
        name: str,
        devices: int = 0,
        *,
        enabled: bool = True,
        keys: list[Params] | None = None,
    ) -> None:
        super().__init__(number, f"VSRV-{number}", name, enabled=enabled)
        ids = [f"{name}-{n}" for n in range(devices)]
        self.keys: list[Any] = keys or ([key("K1")] if ids else [])
        self.uses = {"K1": [use(device) for device in ids]}
        self.hosts = [host(device) for device in ids]


@dataclass
class Call:
    """A call as the server saw it."""

    method: str
    server: str
    arguments: Params
    headers: dict[str, str]


class FakeKsc(sandbox.Ksc):
    """The server: `servers` is what it holds, `answers` what it says instead, one call each."""

    def __init__(self, *servers: FakeServer) -> None:
        super().__init__(World(lambda: NOW))
        self.world.servers += servers
        self.servers = servers
        self.account.password = "pa55 ü"
        self.wrap_ids = True
        self.methods_by_name |= {
            "LicenseKeys.EnumKeys": lambda call: _iterator(call, call.server.keys),
            "LicenseKeys.AcquireKeyHosts": lambda call: _iterator(
                call, call.server.uses.get(call.arguments["pInData"]["KLLIC_SERIAL"], [])
            ),
            "HostGroup.FindHosts": _find_hosts,
        }
        self.calls: list[Call] = []
        self.answers: dict[str, list[Any]] = defaultdict(list)
        self.begun: list[Session] = []

    def instead(self, method: str, *answers: Any, server: str | None = None) -> None:
        """The next calls of `method` are answered so: a body, (status, text[, headers]), LOST, or None.

        A callable gets the ordinary answer, and returns one of these; None is the ordinary one.
        """
        label = method if server is None else f"{method}@{server}"
        self.answers[label] += answers

    def methods(self, server: str | None = None) -> list[str]:
        return [c.method.split(".")[1] for c in self.calls if server in (None, c.server)]

    def handle(self, exchange: Exchange) -> None:
        with self.world.lock:
            method = exchange.path.removeprefix("/api/v1.0/")
            session = self._named_session(exchange)
            server = session.server.name if session else "?"
            if method == "Session.StartSession":
                server = decode_base64(exchange.headers.get("X-KSC-VServer", ""))
            headers = dict(exchange.headers.items())
            self.calls.append(Call(method, server, exchange.json(), headers))
            super().handle(exchange)
            if method == "Session.StartSession":
                self.begun += list(self.sessions.open.values())[-1:]
            for label in (f"{method}@{server}", method):
                if self.answers[label]:
                    return self._answer_so(exchange, self.answers[label].pop(0))
            return None

    @staticmethod
    def _answer_so(exchange: Exchange, answer: Any) -> None:
        if callable(answer):
            answer = answer(json.loads(exchange.content))
        if answer is LOST:
            exchange.deliver = Exchange.close_connection
        elif isinstance(answer, tuple):
            status, text, *more = answer
            headers = {"Content-Type": "text/plain", **(more[0] if more else {})}
            exchange.respond(status, text, headers)
        elif answer is not None:
            exchange.respond(200, answer)

    @staticmethod
    def chunk(rows: list[Params]) -> Params:
        inside = {"KLCSP_ITERATOR_ARRAY": rows} if rows else {}
        return {"PxgRetVal": len(rows), "bEOF": True, "pData": inside}

    @property
    def ended(self) -> list[str]:
        """The names of the servers whose sessions were ended, in order."""
        ends = [call for call in self.calls if call.method == "Session.EndSession"]
        return [call.server for call in ends if call.server != "?"]

    @property
    def everything_was_given_back(self) -> bool:
        """A session's end frees what it holds."""
        return len(self.ended) == len(self.begun)


def _iterator(call: sandbox.Call, rows: list[Params]) -> Params:
    name, result = call.keep(list(rows), 0)
    return {"lKeyCount": result.announced, "wstrIterator": name}


def _find_hosts(call: sandbox.Call) -> Params:
    name, result = call.keep(list(call.server.hosts), 0)
    return {"PxgRetVal": result.announced, "strAccessor": name}
