"""A server on loopback that is none of the vendors', and writes down what it hears."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kisi.sandbox.http import Exchange, Server

TOKEN = "0c7e1d9a-ping-token"
"""What makes its address a secret."""

Behave = Callable[[Exchange], object]


class Monitor(Server):
    """A monitoring service, or a stranger, that behaves as it is told; it serves at once."""

    def __init__(self, behave: Behave) -> None:
        super().__init__("monitor", self._hear)
        self.heard: list[tuple[str, str, Any]] = []
        self._behave = behave
        self.start()

    @property
    def url(self) -> str:
        """The address, with the token that makes it a secret."""
        return f"{super().url}/{TOKEN}"

    def _hear(self, exchange: Exchange) -> None:
        body = exchange.json() if exchange.body else None
        self.heard.append((exchange.method, exchange.target, body))
        self._behave(exchange)


def answer(code: int, **headers: str) -> Behave:
    """Answers so, without a body."""
    return lambda exchange: exchange.respond(code, headers=headers)


def hang_up(exchange: Exchange) -> None:
    """Closes the connection without an answer."""
    exchange.deliver = Exchange.close_connection
