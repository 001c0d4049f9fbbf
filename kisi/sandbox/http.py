"""The HTTP server under every simulated vendor: real sockets, real TLS, and a way to misbehave.

A simulated vendor is one function that takes an `Exchange` and answers it with `respond`. The
`Server` owns sockets, threads, TLS and the log of requests. What happens on the wire is decided in
the end by `Exchange.deliver`, which faults replace (see `kisi.sandbox.faults`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

from kisi.sandbox.certificate import Certificate
from kisi.sandbox.exchange import Exchange, Logged, Reply
from kisi.sandbox.sockets import Sockets

__all__ = ["Certificate", "Exchange", "Handle", "Intercept", "Logged", "Reply", "Server"]

Handle = Callable[[Exchange], None]
"""A simulated vendor: reads the exchange, changes its world, calls `respond`."""

Intercept = Callable[[Exchange, Callable[[], None]], None]
"""Stands between server and vendor; gets the exchange and the call that lets the vendor act."""


class Server:
    """One vendor's server on a loopback port, from `start` to `close`.

    Args:
        name: Its name in the log.
        handle: The simulated vendor.
        tls: The certificate to present; None serves plain HTTP.
        port: The port; 0 takes a free one.
        now: The server's clock, which its `Date` header shows.
        log: Where requests are written down; share a list to see several servers in order.
        intercept: What stands between, usually `Faults.around(...)`.
    """

    def __init__(
        self,
        name: str,
        handle: Handle,
        *,
        tls: Certificate | None = None,
        port: int = 0,
        now: Callable[[], datetime] | None = None,
        log: list[Logged] | None = None,
        intercept: Intercept | None = None,
    ) -> None:
        self.name = name
        self.log: list[Logged] = [] if log is None else log
        self.now = now or _utc_now
        self.errors: list[Exception] = []
        self._handle = handle
        self._intercept = intercept or _let_pass
        self._sockets = Sockets(port, self.now, self._exchange, self.errors.append)
        self._thread = threading.Thread(target=self._serve, name=f"sandbox {name}", daemon=True)
        self.certificate: Certificate | None = None
        if tls:
            self.present(tls)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._sockets.server_address[1])

    @property
    def url(self) -> str:
        """Scheme, address and port, without a path."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the presented certificate; empty for plain HTTP."""
        return self.certificate.fingerprint if self.certificate else ""

    def present(self, certificate: Certificate) -> None:
        """Present another certificate from the next connection on (a rotation)."""
        self._sockets.context = certificate.server_context()
        self.certificate = certificate

    def start(self) -> Self:
        """Begin to serve."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop, end every connection, wait for the threads.

        Raises:
            ExceptionGroup: A handler had a bug; its requests were answered with 500.
        """
        running = self._thread.is_alive()
        self._sockets.stop(running=running)
        if running:
            self._thread.join()
        if self.errors:
            raise ExceptionGroup(f"The sandbox's server {self.name} failed.", self.errors)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _serve(self) -> None:
        self._sockets.serve_forever(poll_interval=0.02)

    def _exchange(self, exchange: Exchange) -> None:
        """Let the vendor act, write the request down, deliver the answer."""
        try:
            self._intercept(exchange, lambda: self._handle(exchange))
        except Exception as error:  # noqa: BLE001 - close() raises it; the client must not hang
            self.errors.append(error)
            exchange.respond(HTTPStatus.INTERNAL_SERVER_ERROR, repr(error))
        self.log.append(
            Logged(
                server=self.name,
                method=exchange.method,
                path=exchange.path,
                query=exchange.query,
                headers={name.lower(): value for name, value in exchange.headers.items()},
                body=exchange.body,
                status=exchange.reply.status if exchange.reply else None,
                at=time.monotonic(),
            )
        )
        try:
            exchange.deliver(exchange)
        finally:
            for act in exchange.afterwards:
                act()


def _let_pass(_: Exchange, apply: Callable[[], None]) -> None:
    apply()


def _utc_now() -> datetime:
    return datetime.now(UTC)
