"""Connections that know their deadline, what they have sent, and whom they talk to.

`requests` and `urllib3` do the work. Four things are added underneath, because neither offers
them: every read from the socket respects the total time of the call (a server that drips one byte
a second, even of its headers, would otherwise never run into a read time-out); a connection
remembers whether any byte of the request left; a pinned certificate is compared after the
handshake and before the first byte; and an answer is the request's own. Interim answers (`100`,
`103 Early Hints`) are skipped, and a connection on which anything else comes that no request asked
for is closed: what is left in it would be read as the answer to the next request.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3.connection
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connectionpool import HTTPConnectionPool

from kisi.errors import BadAnswer, NotSent
from kisi.secrets import fingerprint, is_loopback
from kisi.transport.answer import Answer
from kisi.transport.clock import Clock
from kisi.transport.policy import Limits
from kisi.transport.trust import TrustMethod

_SLICE = 1.0
"""Seconds after which a read that still waits looks whether the run was stopped."""
_INTERIM = range(100, 200)
"""Statuses that announce an answer and are none (RFC 9110, section 15.2)."""
_MOST_INTERIM = 16
"""Interim answers to one request; a server that sends more of them is not answering."""


class UnexpectedAnswer(http.client.HTTPException):
    """Bytes came over the connection that are no single answer to the request."""


class Attempt:
    """One try of one request: the time it has, and what its connection came to know."""

    def __init__(
        self, clock: Clock, *, ends: float, read: float, stop: threading.Event | None = None
    ) -> None:
        self._clock = clock
        self._stop = stop
        self.ends = ends
        """The instant of the clock at which it must be over."""
        self._read = read
        self.tracked = False
        """A connection of ours carries it, so that `sent` can be relied on."""
        self.sent = False
        """At least one byte of the request may have left."""
        self.presented = b""
        """The server's certificate (DER), where its fingerprint was compared."""
        self.untrusted = False
        """The certificate was found wrong; nothing was sent."""
        self.surplus = False
        """More came than one answer, so that nobody can tell which answer is the request's."""

    def time_left(self) -> float:
        """Seconds that the next read from the socket may take.

        Raises:
            TimeoutError: The time for the whole call is over.
        """
        left = self.ends - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this call is over")
        return min(self._read, left)

    def slices(self) -> Iterator[float]:
        """The time of the next read from the socket, in slices to be waited one after another.

        They add up to `time_left`, so that they end also where the clock stands still.

        Raises:
            TimeoutError: The time for the whole call is over.
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
        if self._stop is not None and self._stop.is_set():
            self._stop = None
            self.ends = min(self.ends, self._clock.monotonic() + _SLICE)


class Adapter(requests.adapters.HTTPAdapter):
    """A `requests` adapter of one thread whose connections check certificates by `method`."""

    def __init__(self, method: TrustMethod, attempt: Attempt) -> None:
        self.method = method
        self.attempt = attempt
        """The try under way. The caller sets it before every request."""
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:  # noqa: ANN401
        """The pool for a request, made to open connections that report to `attempt`."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        self.attempt.tracked = True
        kind = _SecureConnection if pool.scheme == "https" else _PlainConnection
        pool.ConnectionCls = partial(kind, self)
        return pool  # type: ignore[no-any-return]

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ANN401
        cert: Any = None,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Host and TLS settings of the pool: `method` alone, whatever the session's `verify` is."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {
            "ssl_context": self.method.context,
            "cert_reqs": self.method.context.verify_mode,
            "assert_hostname": None if self.method.match_name else False,
        }

    def cert_verify(self, *_args: object) -> None:
        """Leaves the pool alone: `requests` would add its own bundle to the pinned authorities."""

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401
        """The manager of a proxy. A proxy that is itself reached by TLS must prove its name."""
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = ssl.create_default_context()
        return super().proxy_manager_for(proxy, **kwargs)

    def close(self) -> None:
        """Closes all connections now; `urllib3` leaves it to whoever collects the garbage."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  # iterating over it is not allowed
                if (pool := manager.pools.get(key)) is not None:
                    pool.close()
        super().close()


class _TrackedConnection:
    """What both kinds of connection add to `urllib3`'s: reports to the attempt, and timed reads."""

    sock: Any
    _adapter: Adapter
    _ready = False

    def connect(self) -> None:
        self._ready = False
        super().connect()  # type: ignore[misc]
        self._check_pins()
        self._ready = True

    def send(self, data: Any) -> None:  # noqa: ANN401
        if self.sock is None:
            self.connect()
        if self._ready:  # before that, it is a proxy's CONNECT
            self._adapter.attempt.sent = True
        super().send(data)  # type: ignore[misc]

    def response_class(
        self,
        sock: socket.socket,
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> http.client.HTTPResponse:
        reader = _TimedReader(sock, self._adapter.attempt.slices)
        return _Response(reader, self._answered, *args, **kwargs)

    def _answered(self, surplus: bytes) -> None:
        """Notes what came after the end of an answer; then the connection is closed."""
        if surplus:
            self._adapter.attempt.surplus |= bool(surplus.strip())
            self.close()  # type: ignore[attr-defined]

    def _check_pins(self) -> None:
        """Compares the peer's certificate with the pins. Without TLS there is none."""


class _PlainConnection(_TrackedConnection, urllib3.connection.HTTPConnection):  # type: ignore[misc]
    def __init__(self, adapter: Adapter, **settings: Any) -> None:  # noqa: ANN401
        self._adapter = adapter
        super().__init__(**settings)


class _SecureConnection(_TrackedConnection, urllib3.connection.HTTPSConnection):  # type: ignore[misc]
    def __init__(self, adapter: Adapter, **settings: Any) -> None:  # noqa: ANN401
        self._adapter = adapter
        super().__init__(**settings)

    def connect(self) -> None:
        try:
            super().connect()
        except ssl.SSLCertVerificationError:
            self._adapter.attempt.untrusted = True
            raise

    def _check_pins(self) -> None:
        pins = self._adapter.method.pins
        if pins is None:
            return
        attempt = self._adapter.attempt
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

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `http.client` asks of a socket."""
        return self._buffered

    def readable(self) -> bool:
        return True

    def left(self) -> bytes:
        """What has arrived and was not read, without waiting for anything."""
        self._waits = False
        try:
            return self._buffered.peek(1)
        except (OSError, ValueError):  # the connection is broken, or closed already
            return b""

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401
        if not self._waits:
            return self._at_once(buffer)
        for portion in self._slices():
            self._sock.settimeout(portion)
            try:
                count = self._sock.recv_into(buffer)
            except TimeoutError:
                continue
            self.ended = count == 0
            return count
        raise TimeoutError("it was silent for too long")

    def _at_once(self, buffer: Any) -> int | None:  # noqa: ANN401
        """Reads what is there already; None where nothing is."""
        time_left = self._sock.gettimeout()
        self._sock.settimeout(0)
        try:
            return self._sock.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        finally:
            self._sock.settimeout(time_left)

    def close(self) -> None:
        self._held.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer: interim ones before it are skipped, and bytes after it are noticed."""

    def __init__(
        self,
        reader: _TimedReader,
        answered: Callable[[bytes], None],
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        self._reader = reader
        self._answered = answered
        sock: Any = reader
        super().__init__(sock, *args, **kwargs)

    def begin(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().begin(*args, **kwargs)
        if (
            self._reader.ended
        ):  # `http.client` takes a connection cut inside the headers as their end
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
        left = self._reader.left()
        super()._close_conn()  # type: ignore[misc]
        self._answered(left)


def proxies_for(url: str) -> dict[str, str]:
    """The proxies that the environment names for `url` (`HTTPS_PROXY`, `NO_PROXY` and so on).

    A loopback address is never asked for through a proxy.

    Raises:
        NotSent: It is a SOCKS proxy. What would carry its connections knows nothing of pins.
    """
    host = urlsplit(url).hostname or ""
    proxies = {} if is_loopback(host) else dict(get_environ_proxies(url))
    if (select_proxy(url, proxies) or "").lower().startswith("socks"):
        raise NotSent(
            "the environment names a SOCKS proxy, which kisi does not speak to. Nothing was sent.",
            remedy="For the user that runs kisi, name an HTTP proxy in HTTPS_PROXY, or the server "
            "in NO_PROXY.",
        )
    return proxies


_CHUNK = 65536


class _Session(requests.Session):
    """A session that ignores the environment, redirects and cookies."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def get_redirect_target(self, _resp: requests.Response) -> None:
        """No redirect is looked at: `requests` would read its body without any limit."""


class Connection:
    """One thread's session to the server at `url`, and the adapter that it talks through."""

    def __init__(self, url: str) -> None:
        self._proxies = proxies_for(url)
        self._session = _Session()
        self._adapter: Adapter | None = None
        self.last_used = 0.0
        """The instant of the clock at which the last try ended; its keeper sets it."""

    def send(
        self,
        prepared: requests.PreparedRequest,
        method: TrustMethod,
        attempt: Attempt,
        limits: Limits,
    ) -> Answer:
        """Sends once and reads the whole answer.

        Raises:
            requests.RequestException: No answer came, or more than one.
        """
        adapter = self._adapter_for(method, attempt)
        time_left = adapter.attempt.time_left()
        response = self._session.send(
            prepared,
            stream=True,
            allow_redirects=False,
            proxies=self._proxies,
            timeout=(min(limits.connect, time_left), time_left),
        )
        with response:
            answer = Answer(response.status_code, response.headers, _body(response, limits.body))
        if attempt.surplus:
            raise requests.ConnectionError(UnexpectedAnswer("more than one answer"))
        return answer

    def close(self) -> None:
        """Closes idle connections; the next request opens a new one."""
        self._session.close()

    def _adapter_for(self, method: TrustMethod, attempt: Attempt) -> Adapter:
        if self._adapter is None or self._adapter.method is not method:
            self.close()
            self._adapter = Adapter(method, attempt)
            self._session.mount("http://", self._adapter)
            self._session.mount("https://", self._adapter)
        self._adapter.attempt = attempt
        return self._adapter


def _body(response: requests.Response, limit: int) -> bytes:
    body = bytearray()
    while chunk := response.raw.read(_CHUNK, decode_content=True):
        body += chunk
        if len(body) > limit:
            raise BadAnswer(f"The answer is larger than {limit} bytes and was not read further.")
    return bytes(body)
