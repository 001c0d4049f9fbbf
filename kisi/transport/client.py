"""The HTTP client that sources and PSAs share."""

from __future__ import annotations

import json as jsonlib
import logging
import random
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import requests.exceptions as rq
import urllib3.exceptions as u3
from requests.structures import CaseInsensitiveDict

from kisi import __version__
from kisi.errors import AnswerLost, BadAnswer, NotSent, TransportError, Untrusted
from kisi.secrets import fingerprint
from kisi.transport.answer import Answer, Unwrap, clock_skew
from kisi.transport.connection import Attempt, Connection, TrustMethod, UnexpectedAnswer
from kisi.transport.policy import Clock, Limits, Retry, may_retry, shared_wait, wait_before_retry
from kisi.transport.trust import presented_by, trust_methods

_LOG = logging.getLogger(__name__)
WATCHERS: list[Callable[[str, str, Answer], None]] = []
"""Each is told of every answer: the label of its client, method and path (without a query), it."""
_STALE = 10.0
"""Seconds after which an idle connection is not trusted with a request that cannot be repeated."""

Sign = Callable[[str, str], Mapping[str, str]]
"""Makes the headers that sign one try of a request, from its method and path."""


@lru_cache(maxsize=256)  # a server has a dozen addresses, and they are checked at length
def _addressed(method: str, url: str) -> requests.PreparedRequest:
    return requests.Request(method, url).prepare()


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, with all that its tries share; it must be over when the clock shows `ends`."""

    title: str
    """What messages call it."""
    prepare: Callable[[], requests.PreparedRequest]
    retry: Retry
    limits: Limits
    ends: float


class Client:
    """Sends requests to one server: bounded in time and size, and repeated only where that is safe.

    Thread-safe: each thread has a connection of its own, and all of them wait where the server asks
    one of them to. The environment gives proxies (not for
    loopback addresses) and, in `REQUESTS_CA_BUNDLE`, the authorities where nothing is pinned.

    The path of each request is put after `base_url`. `ca_files` (PEM or DER) and `fingerprints`
    (`sha256:` and 64 lower-case hex digits) pin the server's certificate: it must have one of these
    fingerprints, be one of these files, or be issued by one. Without them the system's authorities
    and the name decide. `label` is whom we talk to, as the operator calls it; it begins every
    message. With `hidden` the address is a secret: no message and no log names host or path. With
    `unwrap` answers hold what their JSON objects stand for. `ConfigError`
    if a pinned certificate cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ca_files: Collection[Path] = (),
        fingerprints: Collection[str] = (),
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        clock: Clock,
        label: str,
        jitter: Callable[[], float] = random.random,
        hidden: bool = False,
        unwrap: Unwrap | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        host = urlsplit(self._base).netloc.rpartition("@")[2]
        self._where = "the server" if hidden else host
        self._hidden = hidden
        self._unwrap = unwrap
        self._headers = {
            "User-Agent": f"kisi/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **(headers or {}),
        }
        self.limits = limits or Limits()
        self._clock = clock
        self._label = label
        self._jitter = jitter
        self._methods = trust_methods(ca_files, fingerprints)
        self._method = 0
        self._answered = False
        self._resumes = 0.0
        """The instant of the clock's `monotonic` until which the server asked to be left alone."""
        self.skew: timedelta | None = None
        """How far our clock is ahead of the server's, by the last answer that has a date."""
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._connections: list[Connection] = []

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of the server; None where it has no certificate, on loopback."""
        parts = urlsplit(self._base)
        return (parts.hostname or "", parts.port or 443) if parts.scheme == "https" else None

    @property
    def pins(self) -> Collection[str]:
        """The fingerprints that are compared; none, if only issuers are."""
        return self._methods[0].pins or ()

    def why_trusted(self, presented: str) -> str:
        """Why a certificate is trusted, as a clause; empty while no pin and no chain proves it."""
        exact, *chain = self._methods
        if exact.pins is not None and presented in exact.pins:
            return "which is pinned"
        if not self._answered or not (chain or exact.pins is None):
            return ""
        return "issued by one of `ca_files`" if chain else "which this machine's authorities issued"

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,  # noqa: ANN401  any JSON value
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry = Retry.NEVER,
        sign: Sign | None = None,
        best_effort: bool = False,
    ) -> Answer:
        """Sends a request and returns the answer, whatever its status.

        `json` is sent as the body with its content type, `body` as it is. `sign` is called before
        every try. A `best_effort` request only ends or releases something, such as a session: it is
        sent once, within seconds, and also after the run's end or a stop. Raises `TransportError`:
        `BadAnswer` where the answer is too large or cannot be decompressed.
        """
        own = {**self._headers}
        if json is not None:
            body = jsonlib.dumps(json, allow_nan=False).encode()
            own["Content-Type"] = "application/json"
        own |= headers or {}
        url = f"{self._base}/{path.lstrip('/')}"

        def prepare() -> requests.PreparedRequest:
            signed = own | dict(sign(method, path)) if sign else own
            prepared = copy(_addressed(method, url))
            if params:
                prepared.prepare_url(url, params)
            prepared.headers = CaseInsensitiveDict(signed)
            prepared.prepare_body(body, None)
            return prepared

        title = method if self._hidden else f"{method} {path.partition('?')[0]}"
        limits = self.limits.for_best_effort() if best_effort else self.limits
        if not best_effort:  # before the time of this call begins
            wait = min(self.busy_for(), limits.time_left(self._clock.monotonic()))
            if wait > 0:
                self._clock.sleep(wait)
        ends = limits.ends(self._clock.monotonic())
        outcome = self._with_retries(_Call(title, prepare, retry, limits, ends))
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    def busy_for(self) -> float:
        """Seconds until the server wants to be asked again, by any thread, as it said with 429."""
        return max(0.0, self._resumes - self._clock.monotonic())

    def close(self) -> None:
        """Closes all connections of all threads. Safe to call twice."""
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

    def _with_retries(self, call: _Call) -> Answer | TransportError:
        """Tries until an outcome that is not to be tried again, or the call's end."""
        attempt, trouble, limits = 1, "", call.limits
        while True:
            outcome = self._with_trust_methods(call)
            if asked := shared_wait(outcome, limits):
                self._resumes = max(self._resumes, self._clock.monotonic() + asked)
            if limits.stopped or not may_retry(call.retry, outcome, attempt, limits):
                break
            wait = wait_before_retry(outcome, attempt, limits, self._jitter())
            wait = max(wait, self.busy_for())
            if self._clock.monotonic() + wait >= call.ends:
                break
            if isinstance(outcome, TransportError):
                trouble = outcome.message
            else:
                trouble = f"It answered {outcome.status}: {outcome.excerpt()!r}."
            _LOG.info("%s: %s: %s Again in %.1f s.", self._label, call.title, trouble, wait)
            self._clock.sleep(wait)
            attempt += 1
        if trouble and isinstance(outcome, Answer):
            _LOG.warning("%s: %s took %d tries. %s", self._label, call.title, attempt, trouble)
        return outcome

    def _with_trust_methods(self, call: _Call) -> Answer | TransportError:
        """One try; where the certificate is found wrong, once more with each other trust method."""
        presented, first = b"", self._method
        for offset in range(len(self._methods)):
            number = (first + offset) % len(self._methods)
            attempt = Attempt(self._clock, call.ends, call.limits)
            outcome = self._once(call, attempt, self._methods[number])
            if not attempt.untrusted:
                self._method = number
                self._answered |= isinstance(outcome, Answer)
                return outcome
            presented = attempt.presented or presented
        return self._untrusted(presented or presented_by(self._base, self.limits, self._clock))

    def _once(self, call: _Call, attempt: Attempt, method: TrustMethod) -> Answer | TransportError:
        try:
            connection = self._connection()
        except NotSent as error:  # raised, because trying again would change nothing
            raise NotSent(f"{self._label}: {error.message}", remedy=error.remedy) from error
        now = self._clock.monotonic()
        if call.limits.stopped:
            return NotSent(f"{self._label}: the run was stopped; {call.title} was not sent.")
        if now >= attempt.ends:
            return NotSent(f"{self._label}: the time is over; {call.title} was not sent.")
        if call.retry is not Retry.READ and now - connection.last_used > _STALE:
            connection.close()
        outcome: Answer | TransportError
        try:
            begun = self._clock.now()
            outcome = connection.exchange(call.prepare(), method, attempt)
            for watch in () if self._hidden else WATCHERS:
                watch(self._label, call.title, outcome)
            skew = clock_skew(outcome, begun, self._clock.now())
            self.skew = self.skew if skew is None else skew
            said = f"{self._label}: {call.title}: {outcome.status}"
        except Exception as error:  # noqa: BLE001  # see `_failed`
            if not isinstance(error, BadAnswer):
                connection.close()
            outcome = self._failed(error, attempt.sent, call.title)
            said = outcome.message
        finally:
            connection.last_used = self._clock.monotonic()
        # For `-vv`: no query, no body, nothing of an address that is hidden.
        _LOG.debug("%s (%.0f ms)", said, (connection.last_used - now) * 1000)
        return outcome

    def _failed(self, error: Exception, sent: bool, request: str) -> TransportError:  # noqa: FBT001
        """The error that a failed try means: what is not provably unsent may have been applied.

        That holds for every exception: a chunk size of `-2` is a `ValueError` of `http.client`.
        """
        if isinstance(error, BadAnswer):
            return BadAnswer(f"{self._label}: {request}: {error.message}")
        reason, server = _reason(error), f"{self._label}: {self._where}"
        if not sent:
            return NotSent(
                f"{server} could not be reached: {reason}. {request} was not sent.",
                remedy="Check the address, the network and the proxy settings of this machine.",
            )
        if isinstance(error, u3.DecodeError):
            said = f"the answer of {self._where} to {request} cannot be decompressed."
            return BadAnswer(f"{self._label}: {said}")
        return AnswerLost(f"{server} gave no whole answer to {request}: {reason}.")

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._thread, "connection", None)
        with self._lock:
            if connection is None or connection not in self._connections:
                connection = Connection(self._base, self._methods[self._method], self._unwrap)
                self._thread.connection = connection
                self._connections.append(connection)
        return connection

    def _untrusted(self, presented: bytes) -> Untrusted:
        shown = fingerprint(presented) if presented else ""
        what = f"Its fingerprint is {shown}." if shown else "Its fingerprint could not be read."
        pins = self._methods[0].pins
        expected = "" if pins is None else f" Pinned: {', '.join(sorted(pins))}."
        return Untrusted(
            f"{self._label}: the certificate of {self._where} is not trusted. {what}{expected} "
            "Nothing was sent, no password either.",
            presented=shown,
            remedy="Ask whoever runs that server whether its certificate was renewed. Only if the "
            "fingerprint is theirs, put it into `fingerprints`, or the new certificate's file into "
            "`ca_files`.",
        )


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((rq.InvalidURL, rq.InvalidSchema, rq.MissingSchema), "the address or the proxy is not usable"),
    ((u3.ProxyError, rq.ProxyError), "the proxy did not open the way"),
    ((socket.gaierror, u3.NameResolutionError), "its name could not be resolved"),
    ((ConnectionRefusedError,), "it refused the connection"),
    ((UnexpectedAnswer,), "what it sent is no single answer to the request"),
    ((TimeoutError, u3.TimeoutError, rq.Timeout), "it did not answer in time"),
    ((ssl.SSLError, u3.SSLError), "the TLS connection failed"),
    ((IncompleteRead, u3.InvalidChunkLength), "the body ended too early"),
    ((ConnectionError, HTTPException, u3.ProtocolError), "it broke the connection off"),
)


def _reason(error: Exception) -> str:
    """Why, from the innermost cause that says more than a wrapper does. Never a remote text."""
    found = _causes(error)
    for kinds, words in _WORDS:
        if any(isinstance(item, kinds) for item in found):
            return words
    return f"the connection failed ({type(found[-1]).__name__})"


def _causes(error: BaseException) -> list[BaseException]:
    """`error` and everything that it wraps, was raised from, or carries as its reason."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and not any(item is seen for seen in found):
            found.append(item)
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found
