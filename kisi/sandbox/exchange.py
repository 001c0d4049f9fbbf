"""One request to a simulated vendor, its answer, and the wire between them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

_KNOWN = frozenset(int(status) for status in HTTPStatus)


@dataclass(frozen=True, slots=True)
class Logged:
    """One request that reached a server, whatever became of it."""

    server: str
    """The server's name, for example `ksc` or `connectwise`."""
    method: str
    path: str
    """Decoded, without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """As sent; the names in lower case."""
    body: bytes
    status: int | None
    """The status of the answer; None where no answer was given."""
    at: float
    """Monotonic seconds at which the server was done with the request: differences are waits."""

    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        """The request's body, decoded."""
        return json.loads(self.body)


@dataclass(slots=True)
class Reply:
    """An answer that has not been sent yet."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Wire(Protocol):
    """The connection under an exchange."""

    memory: dict[str, Any]
    close_connection: bool

    def date_time_string(self) -> str:
        """The server's clock as a `Date` header."""

    def put(self, data: bytes) -> None:
        """Send bytes at once."""

    def reset_on_close(self) -> None:
        """Close after this exchange, with a TCP reset."""

    def wait(self, seconds: float) -> bool:
        """Wait; false if the server is being closed."""


class Exchange:
    """One request and the answer to it.

    Attributes:
        method: `GET`, `POST` and so on.
        target: Path and query exactly as sent (signatures are made over it).
        path: The decoded path without the query.
        query: Parameters by name as sent; the last of equal names wins.
        headers: The request's headers, read without regard to case.
        body: The request's body.
        connection: A dict that lives as long as the TCP connection (logins bound to it go here).
        reply: What `respond` was given; None until then.
        deliver: Sends the reply; replaced to misbehave on the wire.
        afterwards: Called in order once `deliver` is done or has failed.
        twists: What the `twist` fault asks the vendor to do wrong (see each vendor's module).
    """

    def __init__(self, method: str, target: str, headers: Message, body: bytes, wire: Wire) -> None:
        self._wire = wire
        self.method = method
        self.target = target
        parts = urlsplit(target)
        self.path = unquote(parts.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.headers = headers
        self.body = body
        self.connection = wire.memory
        self.reply: Reply | None = None
        self.deliver: Callable[[Exchange], None] = Exchange.send_reply
        self.afterwards: list[Callable[[], None]] = []
        self.twists: dict[str, Any] = {}

    def json(self) -> Any:  # noqa: ANN401 - JSON is anything
        """The request's body, decoded.

        Raises:
            ValueError: The body is not JSON, which has no NaN and no Infinity, or holds a number
                that would become one.
        """
        try:
            return json.loads(self.body, parse_constant=_no_number, parse_float=_finite)
        except RecursionError as error:
            raise ValueError("The body is nested too deeply.") from error

    def respond(
        self,
        status: int,
        content: object = b"",
        headers: Mapping[str, str] | None = None,
        *,
        content_type: str = "application/json; charset=utf-8",
    ) -> None:
        """Decide the answer. It is sent when the handler has returned.

        Args:
            status: The HTTP status.
            content: `bytes` and `str` are sent as they are, anything else as JSON.
            headers: Further headers.
            content_type: What the body is; left out of an answer without a body.
        """
        body = _encode(content)
        head = {"Content-Type": content_type} if body else {}
        self.reply = Reply(status, body, {**head, **(headers or {})})

    # --- the wire, for deliveries ---------------------------------------------------------------

    def send_reply(self) -> None:
        """The ordinary delivery: head and whole body at once."""
        reply = self.reply or Reply(HTTPStatus.NOT_FOUND)
        self.send(self.head({"Content-Length": str(len(reply.body))}) + reply.body)

    def head(self, framing: Mapping[str, str]) -> bytes:
        """The status line and headers of the reply, with `framing` (its length) added."""
        reply = self.reply or Reply(HTTPStatus.NOT_FOUND)
        phrase = HTTPStatus(reply.status).phrase if reply.status in _KNOWN else "Unknown"
        headers = {"Server": "sandbox", "Date": self._wire.date_time_string()}
        headers |= {**reply.headers, **framing}
        lines = [f"HTTP/1.1 {reply.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, data: bytes) -> None:
        """Put bytes on the wire at once."""
        self._wire.put(data)

    def hang_up(self) -> None:
        """Close the connection in an orderly way after this exchange."""
        self._wire.close_connection = True

    def reset(self) -> None:
        """Break the connection off with a TCP reset: the client cannot tell what was applied."""
        self._wire.reset_on_close()

    def wait(self, seconds: float) -> bool:
        """Wait; true if the time is over, false if the server is being closed."""
        return self._wire.wait(seconds)


def _encode(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    # Half of a surrogate pair, which JSON can escape, has no place in UTF-8.
    return json.dumps(content, ensure_ascii=False, allow_nan=False).encode(errors="replace")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text)
    return number


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"JSON has no {word}.")
