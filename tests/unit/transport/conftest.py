"""Fixtures that start raw servers and the clients that talk to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from ssl import SSLContext

import pytest

from kisi.transport import Client, Limits
from tests.unit.transport.raw_server import (
    Certificate,
    Connect,
    FakeClock,
    RawServer,
    Script,
    Serve,
)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No authorities or proxies from the machine that the tests run on."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a `RawServer`; it is stopped after the clients have hung up."""
    servers: list[RawServer] = []

    def start(script: Script, context: SSLContext | None = None) -> RawServer:
        servers.append(RawServer(script, context))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def connect(serve: Serve, clock: FakeClock) -> Iterator[Connect]:
    """Makes a `Client` that is closed before the servers stop."""
    clients: list[Client] = []

    def make(url: str, **settings: object) -> Client:
        settings.setdefault("limits", Limits())
        client = Client(url, clock=clock, label="Source hq", jitter=lambda: 0.0, **settings)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., Certificate]:
    return lambda **properties: Certificate(tmp_path, **properties)
