"""A raw server on loopback that does exactly what a test tells it, and certificates of all kinds."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kisi.secrets import fingerprint
from kisi.transport import Client

PATIENCE = 20.0


class FakeClock:
    """Time that passes only when somebody says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 11, 3, 12, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, server: RawServer, sock: socket.socket, number: int) -> None:
        self.number = number
        self._server = server
        self._sock = sock

    def request(self) -> bytes:
        """Reads one request, records and returns it; empty when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = self._sock.recv(65536)
            if not chunk:
                return b""
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            body += self._sock.recv(65536)
        whole = head + b"\r\n\r\n" + body
        self._server.requests.append(whole)
        return whole

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def answer(self, body: bytes = b"{}", status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        if not any(line.startswith("Content-Type") for line in headers):
            lines.append("Content-Type: application/json")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def reset(self) -> None:
        """Ends the connection with a RST instead of a FIN."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()


Script = Callable[[Peer], None]


class RawServer:
    """Hands every accepted connection to `script`, in a thread of its own, then closes it."""

    def __init__(self, script: Script, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._script = script
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(
                target=self._serve, args=(sock, self.connections), daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is sent is there at once
        with contextlib.suppress(OSError), sock:
            if self._context is None:
                self._script(Peer(self, sock, number))
            else:
                with self._context.wrap_socket(sock, server_side=True) as secure:
                    self._script(Peer(self, secure, number))

    def wait_for_hang_up(self) -> None:
        """Returns when the last connection is closed on this side."""
        self._threads[-1].join(PATIENCE)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


Serve = Callable[..., RawServer]
Connect = Callable[..., Client]


class Certificate:
    """A self-signed certificate for a name that nobody asks for, and a server that presents it."""

    def __init__(self, folder: Path, *, days: int = 30, version_1: bool = False) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "KSC-SERVER-OLD-NAME")])
        now = datetime.now(UTC)
        self.der = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER)
        )
        if version_1:
            self.der = _as_version_1(self.der, key)
        self.fingerprint = fingerprint(self.der)
        self.pem = folder / f"{self.fingerprint[7:15]}.pem"
        self.pem.write_text(ssl.DER_cert_to_PEM_cert(self.der))
        secret = folder / f"{self.fingerprint[7:15]}.key"
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.pem, secret)


def _as_version_1(der: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The same certificate without version and extensions, signed anew (X.509 version 1)."""
    tbs, algorithm, _ = _elements(_elements(der)[0][1])
    kept = b"".join(whole for whole, _ in _elements(tbs[1]) if whole[0] not in {0xA0, 0xA3})
    body = _element(0x30, kept)
    signature = b"\x00" + key.sign(body, ec.ECDSA(hashes.SHA256()))
    return _element(0x30, body + algorithm[0] + _element(0x03, signature))


def _elements(data: bytes) -> list[tuple[bytes, bytes]]:
    """The DER elements in `data`: each whole, and its content."""
    found = []
    while data:
        start, length = 2, data[1]
        if length & 0x80:
            start = 2 + (length & 0x7F)
            length = int.from_bytes(data[2:start])
        found.append((data[: start + length], data[start : start + length]))
        data = data[start + length :]
    return found


def _element(tag: int, content: bytes) -> bytes:
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size) + content
