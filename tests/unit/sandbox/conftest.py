"""Bare clients for the simulated servers: requests alone, nothing of kisi's own."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from kisi.sandbox import Sandbox
from kisi.sandbox.world import World

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class KscClient:
    """Calls methods of the simulated Administration Server."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.account = sandbox.ksc.account
        self.url = sandbox.ksc_server.url + "/api/v1.0/"
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = False

    def authorization(self, *, password: str | None = None, rest: str = ', internal="1"') -> str:
        user = base64.b64encode(self.account.user.encode()).decode()
        secret = base64.b64encode((password or self.account.password).encode()).decode()
        return f'KSCBasic user="{user}", pass="{secret}"{rest}'

    def post(self, method: str, headers: dict[str, str], **arguments: Any) -> requests.Response:
        return self.http.post(self.url + method, json=arguments, headers=headers, timeout=10)

    def login(self, server: str = "", **how: str) -> requests.Response:
        name = base64.b64encode(server.encode()).decode()
        headers = {"Authorization": self.authorization(**how), "X-KSC-VServer": name}
        return self.post("Session.StartSession", headers)

    def session(self, server: str = "") -> KscSession:
        return KscSession(self, self.login(server).json()["PxgRetVal"])


class KscSession:
    """A session: method calls, and whole lists."""

    def __init__(self, client: KscClient, token: str) -> None:
        self.client = client
        self.headers = {"X-KSC-Session": token}

    def raw(self, method: str, **arguments: Any) -> requests.Response:
        return self.client.post(method, self.headers, **arguments)

    def call(self, method: str, **arguments: Any) -> Any:
        return self.raw(method, **arguments).json()

    def error(self, method: str, **arguments: Any) -> int:
        return int(self.call(method, **arguments)["PxgError"]["code"])

    def keys(self, fields: list[str], options: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.call(
            "LicenseKeys.EnumKeys",
            pFields=fields,
            pFieldsToOrder=[],
            pOptions=options or {},
            lTimeoutSec=900,
        )

    def uses(self, serial: str, fields: list[str]) -> dict[str, Any]:
        return self.call(
            "LicenseKeys.AcquireKeyHosts",
            pInData={"KLLIC_SERIAL": serial},
            pFields=fields,
            pFieldsToOrder=[],
            pOptions={},
            lTimeoutSec=0,
        )

    def hosts(self, fields: list[str], filter_: str = '(KLHST_WKS_DN="*")') -> dict[str, Any]:
        return self.call(
            "HostGroup.FindHosts",
            wstrFilter=filter_,
            vecFieldsToReturn=fields,
            vecFieldsToOrder=[
                {"type": "params", "value": {"Name": "KLHST_WKS_HOSTNAME", "Asc": True}}
            ],
            pParams={"KLGRP_FIND_FROM_CUR_VS_ONLY": True},
            lMaxLifeTime=3600,
        )

    def next(self, iterator: str, count: int = 50) -> dict[str, Any]:
        return self.call("GroupSyncIterator.GetNextItems", szwIterator=iterator, nCount=count)

    def rows(self, opened: dict[str, Any]) -> list[dict[str, Any]]:
        page = self.next(opened["wstrIterator"], 10_000)
        return [row["value"] for row in page["pData"]["KLCSP_ITERATOR_ARRAY"]]


class CwClient:
    """Requests to the simulated ConnectWise Manage."""

    def __init__(self, sandbox: Sandbox) -> None:
        cw = sandbox.cw
        self.url = sandbox.cw_server.url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.auth = (f"{cw.company}+{cw.public_key}", cw.private_key)
        self.http.headers["clientId"] = cw.client_id

    def send(self, method: str, path: str, **how: Any) -> requests.Response:
        return self.http.request(
            method, f"{self.url}/v4_6_release/apis/3.0/{path}", timeout=10, **how
        )

    def get(self, path: str, **parameters: Any) -> requests.Response:
        return self.send("GET", path, params=parameters)

    def post(self, agreement: int, **body: Any) -> requests.Response:
        return self.send("POST", f"finance/agreements/{agreement}/additions", json=body)

    def patch(self, agreement: int, line: int, *operations: Any) -> requests.Response:
        body = [
            operation
            if isinstance(operation, dict)
            else {"op": "replace", "path": operation[0], "value": operation[1]}
            for operation in operations
        ]
        path = f"finance/agreements/{agreement}/additions/{line}"
        return self.send("PATCH", path, json=body)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(World(clock)) as running:
        yield running


@pytest.fixture
def ksc(sandbox: Sandbox) -> Iterator[KscClient]:
    client = KscClient(sandbox)
    with client.http:
        yield client


@pytest.fixture
def cw(sandbox: Sandbox) -> Iterator[CwClient]:
    client = CwClient(sandbox)
    with client.http:
        yield client
