"""A proxy on loopback that opens a tunnel to one place, whatever name it is asked for."""

from __future__ import annotations

import select
import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import Self


class Proxy(ThreadingTCPServer):
    """Answers `CONNECT`, then carries bytes both ways.

    Args:
        target: The port on loopback that every tunnel leads to; None refuses them all.

    Attributes:
        asked: The first line of every request.
    """

    daemon_threads = True

    def __init__(self, target: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.target = target
        self.asked: list[str] = []
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """What goes into `HTTPS_PROXY`."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Tunnel(BaseRequestHandler):
    request: socket.socket
    server: Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        self.server.asked.append(head.split(b"\r\n")[0].decode())
        if self.server.target is None:
            self.request.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.server.target)) as other:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._carry(self.request, other)

    def _carry(self, here: socket.socket, there: socket.socket) -> None:
        way = {here: there, there: here}
        while not self.server.closing.is_set():
            for ready in select.select([here, there], [], [], 0.1)[0]:
                try:
                    data = ready.recv(65536)
                except ConnectionError:
                    return
                if not data:
                    return
                way[ready].sendall(data)
