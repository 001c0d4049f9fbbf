"""Listening sockets, connections and their threads, all of which end when they are told to."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from kisi.sandbox.exchange import Exchange

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

    def stop(self, *, running: bool) -> None:
        """Stop accepting, wake every waiting connection, wait for their threads."""
        self.closing.set()
        if running:
            self.shutdown()
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
