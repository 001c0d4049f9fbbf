"""The HTTP client that sources and PSAs share."""

from __future__ import annotations

import json as jsonlib
import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
import requests
from kisi import __version__
from kisi.errors import BadAnswer, NotSent, TransportError, Untrusted
from kisi.fingerprints import fingerprint
from kisi.transport.answer import Answer
from kisi.transport.clock import Clock
from kisi.transport.connection import Attempt
from kisi.transport.certificate import look
from kisi.transport.connection import Line
from kisi.transport.policy import Limits, Repeat, may_repeat, wait_before_repeat
from kisi.transport.trust import Stage, Trust, stages
import socket
import ssl
import requests.exceptions as rq
import urllib3.exceptions as u3
from kisi.errors import AnswerLost, BadAnswer, NotSent, TransportError
from kisi.transport.connection import Attempt, Unasked

_LOG = logging.getLogger(__name__)
_STALE = 10.0
"""Seconds after which an idle connection is not trusted with a request that cannot be repeated."""

Sign = Callable[[str, str], Mapping[str, str]]
"""Makes the headers that sign one try of a request, from its method and path."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    url: str
    params: Any
    body: bytes | None
    headers: Mapping[str, str]
    sign: Sign | None
    title: str
    """What messages call it."""

    def prepared(self) -> requests.PreparedRequest:
        signed = self.sign(self.method, self.path) if self.sign else {}
        return requests.Request(
            self.method,
            self.url,
            params=self.params,
            data=self.body,
            headers={**self.headers, **signed},
        ).prepare()


class Client:
    """Sends requests to one server: bounded in time and size, and repeated only where that is safe.

    Thread-safe: each thread has a session, and so a connection, of its own. Redirects are never
    followed. The environment gives proxies (not for loopback addresses) and nothing else: neither
    `.netrc` nor `REQUESTS_CA_BUNDLE` can change who is trusted or how kisi logs in, except that
    the latter names the authorities where nothing is pinned.

    Args:
        base_url: Scheme, host, port and an optional path that every request's path is put after.
        trust: Pins; without any, the system's authorities.
        headers: Sent with every request.
        limits: Time, size and attempts.
        clock: Time and waiting.
        label: Whom we talk to, as the operator calls it; it begins every message.
        jitter: Random numbers from 0 to 1.
        hidden: The address is a secret: no message and no log names host or path.

    Raises:
        ConfigError: A pinned certificate cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        *,
        trust: Trust | None = None,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        clock: Clock,
        label: str,
        jitter: Callable[[], float] = random.random,
        hidden: bool = False,
    ) -> None:
        self._base = base_url.rstrip("/")
        host = urlsplit(self._base).netloc.rpartition("@")[2]
        self._where = "the server" if hidden else host
        self._hidden = hidden
        self._headers = {
            "User-Agent": f"kisi/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **(headers or {}),
        }
        self._limits = limits or Limits()
        self._clock = clock
        self._label = label
        self._jitter = jitter
        self._stages = stages(trust or Trust())
        self._stage = 0
        self._answered = False
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many requests were tried so far, repeats included."""
        with self._lock:
            return self._requests

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server."""
        parts = urlsplit(self._base)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    def why_trusted(self, presented: str) -> str:
        """Why the server's certificate of this fingerprint is trusted, as a clause for a person.

        Empty where it is not pinned, and no answer came yet that would prove its chain.
        """
        exact, *chain = self._stages
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
        repeat: Repeat = Repeat.NEVER,
        sign: Sign | None = None,
        parting: bool = False,
    ) -> Answer:
        """Sends a request and returns the answer, whatever its status.

        Args:
            method: The HTTP method.
            path: Put after the base URL.
            params: The query.
            json: Sent as the body, with its content type; `None` sends none.
            body: Sent as it is, instead of `json`.
            headers: In addition to the client's own.
            repeat: When the request may be sent again.
            sign: Called before every try, for headers such as a signature over the time.
            parting: It only says goodbye: sent once, with little patience, and also after the
                run's end or a stop.

        Raises:
            Untrusted: The certificate is wrong; nothing was sent.
            NotSent: Nothing of the request left this machine.
            AnswerLost: It was sent, and may have been applied.
            BadAnswer: The answer is too large or cannot be decompressed.
        """
        own = dict(headers or {})
        if json is not None:
            body = jsonlib.dumps(json, allow_nan=False).encode()
            own.setdefault("Content-Type", "application/json")
        url = f"{self._base}/{path.lstrip('/')}"
        title = method if self._hidden else f"{method} {path.partition('?')[0]}"
        request = _Request(method, path, url, params, body, {**self._headers, **own}, sign, title)
        limits = self._limits.for_parting() if parting else self._limits
        outcome = self._repeatedly(request, repeat, limits)
        if isinstance(outcome, TransportError):
            raise outcome
        return outcome

    def close(self) -> None:
        """Closes all connections of all threads. Safe to call twice."""
        with self._lock:
            lines, self._lines = self._lines, []
        for line in lines:
            line.hang_up()

    def _repeatedly(
        self, request: _Request, repeat: Repeat, limits: Limits
    ) -> Answer | TransportError:
        ends = limits.ends(self._clock.monotonic())
        attempt, trouble = 1, ""
        while True:
            outcome = self._judged(request, repeat, limits, ends)
            if limits.stopped or not may_repeat(repeat, outcome, attempt, limits):
                break
            wait = wait_before_repeat(outcome, attempt, limits, self._jitter())
            if self._clock.monotonic() + wait >= ends:
                break
            trouble = _trouble(outcome)
            _LOG.info("%s: %s: %s Again in %.1f s.", self._label, request.title, trouble, wait)
            self._clock.sleep(wait)
            attempt += 1
        if trouble and isinstance(outcome, Answer):
            _LOG.warning("%s: %s took %d tries. %s", self._label, request.title, attempt, trouble)
        return outcome

    def _judged(
        self, request: _Request, repeat: Repeat, limits: Limits, ends: float
    ) -> Answer | TransportError:
        """One try; where the certificate is judged wrong, once more for each other way to judge."""
        presented, first = b"", self._stage
        for offset in range(len(self._stages)):
            number = (first + offset) % len(self._stages)
            attempt = Attempt(self._clock, ends=ends, read=limits.read, stop=limits.stop)
            outcome = self._once(request, repeat, attempt, limits, self._stages[number])
            if not attempt.untrusted:
                self._stage = number
                self._answered |= isinstance(outcome, Answer)
                return outcome
            presented = attempt.presented or presented
        if not presented:
            presented = look(self._base, self._limits, self._clock).presented
        return self._untrusted(presented)

    def _once(
        self, request: _Request, repeat: Repeat, attempt: Attempt, limits: Limits, stage: Stage
    ) -> Answer | TransportError:
        try:
            line = self._line()
        except NotSent as error:  # raised, because trying again would change nothing
            raise NotSent(f"{self._label}: {error.message}", remedy=error.remedy) from error
        now = self._clock.monotonic()
        if limits.stopped:
            return NotSent(f"{self._label}: the run was stopped; {request.title} was not sent.")
        if now >= attempt.ends:
            return NotSent(f"{self._label}: the time is over; {request.title} was not sent.")
        if repeat is not Repeat.READ and now - line.last_used > _STALE:
            line.hang_up()
        with self._lock:
            self._requests += 1
        outcome: Answer | TransportError
        try:
            outcome = line.send(request.prepared(), stage, attempt, limits)
        except BadAnswer as error:
            outcome = BadAnswer(f"{self._label}: {request.title}: {error.message}")
        except Exception as error:  # noqa: BLE001  # see `translate`
            line.hang_up()
            outcome = translate(
                error, attempt, label=self._label, where=self._where, request=request.title
            )
        finally:
            line.last_used = self._clock.monotonic()
        self._tell(request, outcome, line.last_used - now)
        return outcome

    def _tell(self, request: _Request, outcome: Answer | TransportError, seconds: float) -> None:
        """One line a try, for `-vv`: no query, no body, nothing of an address that is hidden."""
        if isinstance(outcome, Answer):
            said = f"{self._label}: {request.title}: {outcome.status}"
        else:
            said = outcome.message
        _LOG.debug("%s (%.0f ms)", said, seconds * 1000)

    def _line(self) -> Line:
        line: Line | None = getattr(self._thread, "line", None)
        with self._lock:
            if line is None or line not in self._lines:
                line = self._thread.line = Line(self._base)
                self._lines.append(line)
        return line

    def _untrusted(self, presented: bytes) -> Untrusted:
        shown = fingerprint(presented) if presented else ""
        what = f"Its fingerprint is {shown}." if shown else "Its fingerprint could not be read."
        pins = self._stages[0].pins
        expected = ""
        if pins is not None:
            expected = f" Pinned: {', '.join(sorted(pins))}."
        return Untrusted(
            f"{self._label}: the certificate of {self._where} is not trusted. {what}{expected} "
            "Nothing was sent, no password either.",
            presented=shown,
            remedy="Ask whoever runs that server whether its certificate was renewed. Only if the "
            "fingerprint is theirs, put it into `fingerprints`, or the new certificate's file into "
            "`ca_files`.",
        )


def _trouble(outcome: Answer | TransportError) -> str:
    if isinstance(outcome, TransportError):
        return outcome.message
    return f"It answered {outcome.status}: {outcome.excerpt()!r}."


_BEFORE_SENDING = (
    rq.ConnectTimeout,
    rq.ProxyError,
    rq.SSLError,
    rq.InvalidURL,
    rq.InvalidSchema,
    rq.MissingSchema,
)
"""What `requests` raises before the first byte of a request, where no connection of ours tells."""


def translate(
    error: Exception, attempt: Attempt, *, label: str, where: str, request: str
) -> TransportError:
    """The error that a failed try of `request` means.

    What is not provably unsent counts as sent: the request may have been applied. That holds for
    every exception: a chunk size of `-2` is a bare `ValueError` of `http.client`, and no list of
    such exceptions is ever complete.

    Args:
        error: What was raised while the request was under way.
        attempt: What the connection knows.
        label: Whom we talk to, as the operator calls it.
        where: Host and port.
        request: Method and path.
    """
    reason = _reason(error)
    unsent = not attempt.sent if attempt.watched else isinstance(error, _BEFORE_SENDING)
    if unsent:
        return NotSent(
            f"{label}: {where} could not be reached: {reason}. {request} was not sent.",
            remedy="Check the address, the network and the proxy settings of this machine.",
        )
    if isinstance(error, u3.DecodeError):
        return BadAnswer(f"{label}: the answer of {where} to {request} cannot be decompressed.")
    return AnswerLost(f"{label}: {where} gave no whole answer to {request}: {reason}.")


def _reason(error: Exception) -> str:
    """Why, from the innermost cause that says more than a wrapper does. Never a remote text."""
    found = _causes(error)

    def is_there(*kinds: type[BaseException]) -> bool:
        return any(isinstance(item, kinds) for item in found)

    for kinds, words in _WORDS:
        if is_there(*kinds):
            return words
    return f"the connection failed ({type(found[-1]).__name__})"


_WORDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((rq.InvalidURL, rq.InvalidSchema, rq.MissingSchema), "the address or the proxy is not usable"),
    ((u3.ProxyError, rq.ProxyError), "the proxy did not open the way"),
    ((socket.gaierror, u3.NameResolutionError), "its name could not be resolved"),
    ((ConnectionRefusedError,), "it refused the connection"),
    ((Unasked,), "what it sent is no single answer to the request"),
    ((TimeoutError, u3.TimeoutError, rq.Timeout), "it did not answer in time"),
    ((ssl.SSLError, u3.SSLError), "the TLS connection failed"),
    ((u3.IncompleteRead, u3.InvalidChunkLength), "the body ended too early"),
    ((ConnectionError, u3.ProtocolError), "it broke the connection off"),
)


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
