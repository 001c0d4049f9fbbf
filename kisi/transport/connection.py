"""Connections that know their deadline, what they have sent, and whom they talk to.

Added to `requests` and `urllib3`: every read from the socket respects the total time of the call
(a server that drips one byte a second would never run into a read time-out); a connection remembers
whether any byte of the request left; a pinned certificate is compared before the first byte; and an
answer is the request's own: interim ones (`103 Early Hints`) are skipped, and a connection on which
anything else comes is closed, because it would be read as the answer to the next request.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

import requests
import requests.adapters
import urllib3
import urllib3.connection
from requests.utils import get_environ_proxies, select_proxy

from kisi.errors import BadAnswer, NotSent
from kisi.secrets import fingerprint, is_loopback
from kisi.transport.answer import Answer, Unwrap
from kisi.transport.policy import Clock, Limits

_SLICE = 1.0
"""Seconds after which a read that still waits looks whether the run was stopped."""
_INTERIM = range(100, 200)
"""Statuses that announce an answer and are none (RFC 9110, section 15.2)."""
_MOST_INTERIM = 16
"""Interim answers to one request; a server that sends more of them is not answering."""
_CHUNK = 65536
_CODING = "Content-Encoding"


class UnexpectedAnswer(http.client.HTTPException):
    """Bytes came over the connection that are no single answer to the request."""


@dataclass(frozen=True, slots=True)
class TrustMethod:
    """One way to check a certificate: its leaf has one of `pins`, or the context verifies it."""

    context: ssl.SSLContext
    pins: frozenset[str] | None
    match_name: bool = False


@dataclass
class Attempt:
    """One try of one request: the time it has, and what its connection came to know."""

    clock: Clock
    ends: float
    """The instant of the clock at which it must be over."""
    limits: Limits
    sent: bool = False
    """At least one byte of the request may have left."""
    presented: bytes = b""
    """The server's certificate (DER), where its fingerprint was compared."""
    untrusted: bool = False
    """The certificate was found wrong; nothing was sent."""
    surplus: bool = False
    """More came than one answer, so that nobody can tell which answer is the request's."""

    def time_left(self) -> float:
        """Seconds that the next read from the socket may take, or `TimeoutError`."""
        left = self.ends - self.clock.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this call is over")
        return min(self.limits.read, left)

    def slices(self) -> Iterator[float]:
        """The time of the next read from the socket, in slices to be waited one after another.

        They add up to `time_left`, so that they end also where the clock stands still.
        """
        self._shorten_deadline()
        left = self.time_left()
        while left > 0:
            portion = min(left, _SLICE, self.time_left())
            yield portion
            left -= portion
            self._shorten_deadline()

    def _shorten_deadline(self) -> None:
        """After a stop an answer has one more second: it may be telling of a new session."""
        if self.limits.stopped:
            self.ends = min(self.ends, self.clock.monotonic() + _SLICE)


def system_context(cafile: str | None = None, capath: str | None = None) -> ssl.SSLContext:
    """A context that verifies chain and name, by a file or folder of authorities or the system's.

    `ssl.create_default_context` would write the keys of each connection to `$SSLKEYLOGFILE`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):  # as `create_default_context` does
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if cafile or capath:
        context.load_verify_locations(cafile, capath)
    else:
        context.load_default_certs()
    return context


def proxies_for(url: str) -> dict[str, str]:
    """The proxies that the environment names for `url`; none for a loopback address.

    `NotSent` if it is a SOCKS proxy: what would carry its connections knows nothing of pins.
    """
    proxies = {} if is_loopback(urlsplit(url).hostname or "") else dict(get_environ_proxies(url))
    if (select_proxy(url, proxies) or "").lower().startswith("socks"):
        raise NotSent(
            "the environment names a SOCKS proxy, which kisi does not speak to. Nothing was sent.",
            remedy="For the user that runs kisi, name an HTTP proxy in HTTPS_PROXY, or the server "
            "in NO_PROXY.",
        )
    return proxies


class _Received(NamedTuple):
    """As much of a response as is looked at."""

    status_code: int
    headers: Mapping[str, str]
    raw: Any


class Connection(requests.adapters.HTTPAdapter):
    """One thread's connection to the server at `url`, kept open from one request to the next.

    An adapter without a session of `requests`: none reads the environment, follows a redirect
    (whose body it would read without any limit), or keeps a cookie. See also `proxies_for`.
    """

    attempt: Attempt
    """The try under way."""

    def __init__(self, url: str, method: TrustMethod, unwrap: Unwrap | None = None) -> None:
        self._unwrap = unwrap
        self._proxies = proxies_for(url)
        self._is_direct = select_proxy(url, self._proxies) is None
        self._line: Any = None
        """What is connected to the server itself, where no proxy is between."""
        self.method = method
        self.last_used = 0.0
        """The instant of the clock at which the last try ended; its keeper sets it."""
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def exchange(
        self, prepared: requests.PreparedRequest, method: TrustMethod, attempt: Attempt
    ) -> Answer:
        """Sends once, to a server whose certificate `method` accepts, and reads the whole answer.

        `attempt` says what was sent, whatever is raised: a `BadAnswer` for too large a body.
        """
        if method is not self.method:
            self.close()
            self.method = method
        self.attempt, limits = attempt, attempt.limits
        time_left = attempt.time_left()
        attempt.sent = True  # for all we know, until a connection of ours is asked for
        response: Any = self.send(
            prepared,
            stream=True,
            proxies=self._proxies,
            timeout=(min(limits.connect, time_left), time_left),
        )
        body = bytearray()
        with response.raw:
            while chunk := response.raw.read(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > limits.body:
                    raise BadAnswer(
                        f"The answer is larger than {limits.body} bytes and was not read further."
                    )
        if attempt.surplus:
            raise requests.ConnectionError(UnexpectedAnswer("more than one answer"))
        return Answer(response.status_code, response.headers, bytes(body), self._unwrap)

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """What carries a request, made of connections that report to `attempt`.

        Through a proxy it is a pool of `urllib3`; else one connection, without what a pool costs.
        """
        self.attempt.sent = False
        if self._is_direct:
            self._line = self._line or self._opened(urlsplit(request.url or ""))
            return self
        pool: Any = super().get_connection_with_tls_context(request, *args, **kwargs)
        kind = _SecureConnection if pool.scheme == "https" else _PlainConnection
        pool.ConnectionCls = partial(kind, self)
        return pool

    def _opened(self, url: SplitResult) -> Any:  # noqa: ANN401
        place = {"host": url.hostname, "port": url.port}
        if url.scheme == "https":
            return _SecureConnection(self, **place, **self._tls())
        return _PlainConnection(self, **place)

    def urlopen(
        self,
        *,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: urllib3.Timeout,
        **_: object,
    ) -> http.client.HTTPResponse:
        """Sends a request over the one connection; as a pool does it, but repeats nothing."""
        line, line.timeout = self._line, timeout.connect_timeout
        if line.sock is not None:
            if line.is_connected:
                line.sock.settimeout(line.timeout)
            else:
                line.close()
        http.client.HTTPConnection.request(line, method, url, body, headers)
        return http.client.HTTPConnection.getresponse(line)

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:  # noqa: ANN401
        """What is asked for: to a server itself, the path and query."""
        return request.path_url if self._is_direct else super().request_url(request, proxies)

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Any:  # noqa: ANN401
        """What was received. A body of known length and no coding needs nothing but reading."""
        if not isinstance(resp, _Response):
            return super().build_response(req, resp)
        fields = resp.headers.items()
        headers = urllib3.HTTPHeaderDict(fields)
        if resp.length is None or resp.chunked or len(headers) < len(fields) or _CODING in headers:
            resp = urllib3.HTTPResponse(
                body=resp,
                headers=headers,
                status=resp.status,
                version=resp.version,
                preload_content=False,
                original_response=resp,
                request_method=req.method,
            )
        return _Received(resp.status, headers, resp)

    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Host and TLS settings of the pool: `method` alone decides, not `verify`."""
        host, _ = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, self._tls()

    def _tls(self) -> dict[str, Any]:
        return {
            "ssl_context": self.method.context,
            "cert_reqs": self.method.context.verify_mode,
            "assert_hostname": None if self.method.match_name else False,
        }

    def cert_verify(self, *_args: object) -> None:
        """Leaves the pool alone: `requests` would add its own bundle to the pinned authorities."""

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401
        """The manager of a proxy. A proxy that is itself reached by TLS must prove its name."""
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = system_context()
        return super().proxy_manager_for(proxy, **kwargs)

    def close(self) -> None:
        """Closes what is open now (`urllib3` leaves it to the garbage collection); it reopens."""
        line, self._line = self._line, None
        if line is not None:
            line.close()
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # iterating over it is not allowed
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()


class _TrackedConnection:
    """What both kinds of connection add to `urllib3`'s: reports to the attempt, and timed reads."""

    sock: Any
    _ready = False

    def __init__(self, owner: Connection, **settings: Any) -> None:  # noqa: ANN401
        self._owner = owner
        super().__init__(**settings)

    # As it is in the standard library: what `urllib3` would leave out, nobody asks for.
    putheader = http.client.HTTPConnection.putheader

    def connect(self) -> None:
        self._ready = False
        try:
            super().connect()  # type: ignore[misc]
            self._check_pins()
        except ssl.SSLCertVerificationError:
            self._owner.attempt.untrusted = True
            raise
        self._ready = True

    def send(self, data: Any) -> None:  # noqa: ANN401
        if self.sock is None:
            self.connect()
        if self._ready:  # before that, it is a proxy's CONNECT
            self._owner.attempt.sent = True
        super().send(data)  # type: ignore[misc]

    def response_class(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None
    ) -> http.client.HTTPResponse:
        reader: Any = _TimedReader(sock, self._owner.attempt.slices)
        response = _Response(reader, debuglevel, method)
        response.reader, response.answered = reader, self._answered
        return response

    def _answered(self, surplus: bytes) -> None:
        """Notes what came after the end of an answer; then the connection is closed."""
        if surplus:
            self._owner.attempt.surplus |= bool(surplus.strip())
            self.close()  # type: ignore[attr-defined]

    def _check_pins(self) -> None:
        """Without TLS there is no certificate to compare with the pins."""


class _PlainConnection(_TrackedConnection, urllib3.connection.HTTPConnection):  # type: ignore[misc]
    pass


class _SecureConnection(_TrackedConnection, urllib3.connection.HTTPSConnection):  # type: ignore[misc]
    def _check_pins(self) -> None:
        pins, attempt = self._owner.method.pins, self._owner.attempt
        if pins is None:
            return
        attempt.presented = self.sock.getpeercert(binary_form=True) or b""
        if fingerprint(attempt.presented) not in pins:
            raise ssl.SSLCertVerificationError("the certificate is not pinned")
        self.is_verified = True


class _TimedReader(io.RawIOBase):
    """Reads from a socket within the time of the call, and until the run is stopped."""

    def __init__(self, sock: socket.socket, slices: Callable[[], Iterator[float]]) -> None:
        self._sock = sock
        self._slices = slices
        self._held = sock.makefile("rb", buffering=0)
        """Keeps the socket open until this reader is closed; it is not read through, because it
        refuses to be read again after a time-out."""
        self.ended = False
        """The peer has sent all that it will ever send."""
        self._waits = True
        raw: Any = self
        self._buffered = io.BufferedReader(raw)

    def makefile(self, _mode: str) -> io.BufferedReader:  # `http.client` asks it of a socket
        return self._buffered

    def readable(self) -> bool:
        return True

    def left(self) -> bytes:
        """What has arrived and was not read, without waiting for anything."""
        self._waits, timeout = False, self._sock.gettimeout()
        with suppress(OSError, ValueError):  # the connection is broken, or closed already
            try:
                return self._buffered.peek(1)
            finally:
                self._sock.settimeout(timeout)
        return b""

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401
        for portion in self._slices() if self._waits else (0.0,):
            self._sock.settimeout(portion)
            try:
                count = self._sock.recv_into(buffer)
            except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
                continue
            self.ended = count == 0
            return count
        if self._waits:
            raise TimeoutError("it was silent for too long")
        return None

    def close(self) -> None:
        self._held.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer: interim ones before it are skipped, and bytes after it are noticed."""

    reader: _TimedReader
    answered: Callable[[bytes], None]
    """Is told what came after the end."""

    def read(self, amt: int | None = None, **_: object) -> bytes:
        """As it is; but a body that is shorter than was announced is none."""
        data = super().read(amt)
        if amt and not data and self.length:
            raise http.client.IncompleteRead(b"", self.length)
        return data

    def begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().begin(*args, **kwargs)
        if self.reader.ended:  # `http.client` takes a cut inside the headers as their end
            raise http.client.IncompleteRead(b"")
        if self.status in _INTERIM:
            raise UnexpectedAnswer(f"status {self.status} is no answer")

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the answer itself. `http.client` skips `100` alone, and for ever."""
        for _ in range(_MOST_INTERIM):
            read: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if read[1] not in _INTERIM or read[1] == http.client.SWITCHING_PROTOCOLS:
                return read
            http.client.parse_headers(self.fp)
        raise UnexpectedAnswer("interim answers without an end")

    def _close_conn(self) -> None:
        """The answer is over. `http.client` calls it at its end, whatever its framing."""
        left = self.reader.left()
        super()._close_conn()  # type: ignore[misc]
        self.answered(left)
