"""Requests, answers and the HTTP server under every simulated vendor: real sockets, real TLS.

A simulated vendor is one function that takes an `Exchange` and answers it with `respond`. The
`Server` owns sockets, threads, TLS and the log of requests. What happens on the wire is decided in
the end by `Exchange.deliver`, which faults replace (see `kisi.sandbox.faults`).
"""

from __future__ import annotations

import json
import math
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from kisi.sandbox.certificate import Certificate

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

    def __init__(
        self, method: str, target: str, headers: Message, body: bytes, wire: Handler
    ) -> None:
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

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "https" if isinstance(self._wire.request, ssl.SSLSocket) else "http"

    @property
    def content(self) -> bytes:
        """The body of the reply."""
        return self.reply.body if self.reply else b""

    def send_reply(self) -> None:
        """The ordinary delivery: head and whole body at once."""
        self.send(self.whole())

    def whole(self) -> bytes:
        """The reply as it goes over the wire."""
        return self.head({"Content-Length": str(len(self.content))}) + self.content

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

    def close_connection(self) -> None:
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
    # Half of a surrogate pair has no place in UTF-8, but JSON can escape it, in this very form.
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="backslashreplace")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text)
    return number


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"JSON has no {word}.")


_LARGEST_BODY = 64 * 2**20
_LONGEST_LINE = 1024


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, hands them to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else keep-alive costs every call 40 ms
    wbufsize = -1
    server: Sockets

    def setup(self) -> None:
        """Give the connection its memory."""
        super().setup()
        self.memory: dict[str, Any] = {}

    def handle(self) -> None:
        """Shake hands in this thread, so that a silent client holds up nobody, then serve."""
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().handle()

    def date_time_string(self, timestamp: float | None = None) -> str:  # noqa: ARG002
        """The server's own clock in the form of the `Date` header."""
        return format_datetime(self.server.now().astimezone(UTC), usegmt=True)

    def put(self, data: bytes) -> None:
        """Send bytes at once."""
        self.wfile.write(data)
        self.wfile.flush()

    def reset_on_close(self) -> None:
        """Close after this exchange, with a TCP reset."""
        self.close_connection = True
        self.server.reset_on_close(self.request)

    def wait(self, seconds: float) -> bool:
        """Wait; false if the server is being closed."""
        return not self.server.closing.wait(seconds)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr: the log is `Server.log`."""

    def _answer(self) -> None:
        try:
            exchange = Exchange(self.command, self.path, self.headers, self._body(), self)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)  # and closes: who knows where the next begins
        else:
            self.server.on_request(exchange)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _body(self) -> bytes:
        """The request's body.

        Raises:
            ValueError: Its length is no number, or larger than any body should be.
        """
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(_size(self.headers.get("Content-Length") or "0", 10))
        body = b""
        while size := _size(self.rfile.readline(_LONGEST_LINE).split(b";")[0].decode("ascii"), 16):
            body += self.rfile.read(size)
            self.rfile.readline(_LONGEST_LINE)
        self.rfile.readline(_LONGEST_LINE)
        return body


def _size(text: str, base: int) -> int:
    size = int(text, base)
    if not 0 <= size <= _LARGEST_BODY:
        raise ValueError("No such length.")
    return size


class Sockets(ThreadingHTTPServer):
    """Listening socket and one thread a connection, all of which end with `stop`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        port: int,
        now: Callable[[], datetime],
        on_request: Callable[[Exchange], None],
        on_bug: Callable[[Exception], None],
    ) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.now = now
        self.on_request = on_request
        self.on_bug = on_bug
        self.context: ssl.SSLContext | None = None
        self.closing = threading.Event()
        self._guard = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._resets: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, under TLS if there is a certificate."""
        connection, address = super().get_request()
        if self.context:  # the handshake happens in the connection's own thread
            connection = self.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve the connection in a thread of its own, which `stop` can find."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), daemon=True
        )
        with self._guard:
            self._open[request] = thread
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Serve the connection to its end."""
        super().process_request_thread(request, client_address)
        with self._guard:
            del self._open[request]

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        """Close a connection: politely, or with a reset where that was asked for."""
        if request in self._resets:
            self._resets.discard(request)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def reset_on_close(self, request: Any) -> None:  # noqa: ANN401
        """Make the coming close of this connection a TCP reset."""
        self._resets.add(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002
        """Keep what was not the network: clients that hang up or distrust us are everyday."""
        error = sys.exception()
        if isinstance(error, Exception) and not isinstance(error, OSError):
            self.on_bug(error)

    def serve(self) -> None:
        """Accept connections until `stop`."""
        while not self.closing.is_set():
            self.handle_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002
        """Turn away whoever comes after `stop`."""
        return not self.closing.is_set()

    def stop(self, accepting: threading.Thread) -> None:
        """Stop accepting, wake every waiting connection, wait for their threads."""
        self.closing.set()
        if accepting.is_alive():
            # It waits for a connection, however long: with the last one it goes on at once.
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.server_port), timeout=5).close()
            accepting.join(timeout=5)
        self.server_close()
        with self._guard:
            waiting = dict(self._open)
        for connection in waiting:
            try:
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            except OSError:
                continue  # closed by its own thread in the meantime
        for thread in waiting.values():
            thread.join(timeout=5)


Handle = Callable[[Exchange], None]
"""A simulated vendor: reads the exchange, changes its world, calls `respond`."""

Apply = Callable[[], None]
"""Lets the vendor act."""

Intercept = Callable[[Exchange, Apply], None]
"""Stands between server and vendor, and decides whether and when the vendor acts."""


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
        self.now = now or (lambda: datetime.now(UTC))
        self.errors: list[Exception] = []
        self._handle = handle
        self.intercept = intercept or (lambda _, apply: apply())
        self._sockets = Sockets(port, self.now, self._exchange, self.errors.append)
        self._thread = threading.Thread(
            target=self._sockets.serve, name=f"sandbox {name}", daemon=True
        )
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
        self._sockets.stop(self._thread)
        if self.errors:
            raise ExceptionGroup(f"The sandbox's server {self.name} failed.", self.errors)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(self, exchange: Exchange) -> None:
        """Let the vendor act, write the request down, deliver the answer."""
        try:
            self.intercept(exchange, lambda: self._handle(exchange))
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
