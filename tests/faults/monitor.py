"""A server on loopback that is none of the vendors', and writes down what it hears."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "0c7e1d9a-ping-token"
"""What makes its address a secret."""


class Monitor:
    """A monitoring service, or a stranger, that behaves as it is told."""

    def __init__(self, behave: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.heard: list[tuple[str, str, Any]] = []
        self.over = threading.Event()
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                monitor.heard.append((self.command, self.path, body))
                behave(self)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        """The address, with the token that makes it a secret."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{TOKEN}"

    def close(self) -> None:
        """Ends it."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
