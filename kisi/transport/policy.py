"""How long a call may take, by which clock, and when its request may be sent again."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

from kisi.errors import NotSent, TransportError, Untrusted
from kisi.transport.answer import Answer, retry_after

_BUSY = 429
_UNPROCESSED = frozenset({_BUSY, 503})
_FAULTS = frozenset({408, 500, 502, 504, 520, 521, 522, 523, 524})
"""Server faults. 520 to 524 are Cloudflare's, which stands in front of ConnectWise's cloud."""
_NOT_SENT_ATTEMPTS = 3
"""A closed port or an unknown name is given less patience than a busy server."""
_LONGEST_BACKOFF = 30.0
_RESERVED, _LONGEST_RESERVE = 0.1, 60.0
"""How much of a run's time, and how many seconds at most, belongs to clients that are begun."""
_BEST_EFFORT = 3.0
"""Seconds for a request that only ends or releases something."""


class Clock:
    """Where kisi takes the time from, and how it waits. Injected, so that tests never wait.

    It is the machine's own. Once `stop` is set, nobody waits any longer.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps; only differences mean something."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits for `seconds`, or until stopped; not at all if they are not positive."""
        self._stop.wait(max(0.0, seconds))


class Retry(StrEnum):
    """When a request may be sent again without asking its caller."""

    NEVER = "never"
    """Sent at most once, whatever happens: a write, or a read that moves an iterator."""
    UNPROCESSED = "unprocessed"
    """Again only if it surely was not processed: not sent, or answered 429 or 503."""
    READ = "read"
    """Again also after a server fault, a lost answer, or a body that is no JSON."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one call of a `Client`, in seconds, bytes and attempts."""

    connect: float = 5.0
    read: float = 30.0
    """The longest silence of a server that is answering."""
    call: float = 120.0
    """One call in total: connecting, sending, all repeats and the waits between them."""
    body: int = 8 * 2**20
    """The largest body that is read, decompressed; see also `answer.MOST_VALUES`."""
    rows: int = 100_000
    pages: int = 1_000
    list_bytes: int = 64 * 2**20
    """Rows, pages and bytes of one list, whoever serves it, or of a report."""
    attempts: int = 4
    """Of one request; 1 repeats nothing. A rate limit (429) is waited out for the whole call."""
    retry_after_cap: float = 120.0
    """The longest wait that a server may ask for."""
    run_ends: float | None = None
    """The instant of `Clock.monotonic` at which the whole run must end; None for no end."""
    begin_by: float = math.inf
    """The instant from which no other client is begun, so that those begun come to their end."""
    stop: threading.Event | None = None
    """Once it is set nothing is sent any more, and what is under way fails within seconds."""

    def lasting(self, seconds: float, begins: float) -> Self:
        """For a run, or a part of it, that takes `seconds` at most from the instant `begins` on."""
        reserve = min(seconds * _RESERVED, _LONGEST_RESERVE)
        ends = begins + seconds
        return replace(self, run_ends=ends, begin_by=ends - reserve)

    def ends(self, now: float) -> float:
        """The instant at which a call that begins `now` must be over."""
        own = now + self.call
        return own if self.run_ends is None else min(own, self.run_ends)

    def time_left(self, now: float) -> float:
        """Seconds from `now` in which something may be sent, as far as the whole run goes."""
        ends = math.inf if self.run_ends is None else self.run_ends
        return 0.0 if self.stopped else max(0.0, ends - now)

    @property
    def stopped(self) -> bool:
        """Whether nothing is to be sent any more."""
        return self.stop is not None and self.stop.is_set()

    def beyond(self, rows: int, pages: int, size: int) -> str:
        """Why a list is not read on, as a clause, or empty: without an end it fills the memory."""
        limits = (
            (rows > self.rows, f"it has more than {self.rows:,} rows"),
            (pages > self.pages, f"it has more than {self.pages:,} pages"),
            (size > self.list_bytes, f"it has more than {self.list_bytes / 2**20:g} MiB"),
        )
        return next((why for beyond, why in limits if beyond), "")

    def for_best_effort(self) -> Self:
        """For a request that only ends or releases something: once, also when the run is over."""
        read, call = min(self.read, _BEST_EFFORT), min(self.call, _BEST_EFFORT)
        return replace(self, read=read, call=call, attempts=1, run_ends=None, stop=None)


def may_retry(retry: Retry, outcome: Answer | TransportError, attempt: int, limits: Limits) -> bool:
    """Whether a request may be sent once more after its `attempt`-th try came to `outcome`.

    A rate limit is no failure: it ends, and only the call's own end limits the waiting for that.
    """
    if retry is Retry.NEVER or isinstance(outcome, Untrusted) or limits.attempts == 1:
        return False
    if attempt >= limits.attempts:
        return isinstance(outcome, Answer) and outcome.status == _BUSY
    if isinstance(outcome, NotSent):
        return attempt < _NOT_SENT_ATTEMPTS
    if isinstance(outcome, TransportError):
        return retry is Retry.READ
    if outcome.status in _UNPROCESSED:
        return True
    return retry is Retry.READ and (outcome.status in _FAULTS or outcome.broken)


def wait_before_retry(
    outcome: Answer | TransportError, attempt: int, limits: Limits, chance: float
) -> float:
    """Seconds to wait after the `attempt`-th try (from 1): what the server asks for, or a backoff.

    `chance`, a random number from 0 to 1, keeps many clients from coming back together.
    """
    asked = retry_after(outcome.headers) if isinstance(outcome, Answer) else None
    backoff = min(0.5 * 2.0 ** min(attempt - 1, 10), _LONGEST_BACKOFF) * (1 + chance / 2)
    if asked is None:
        return backoff
    # Who asks for no wait at all, again and again, is not to be asked a thousand times.
    least = backoff if attempt >= limits.attempts else 0.0
    return max(min(asked, limits.retry_after_cap), least)


def shared_wait(outcome: Answer | TransportError, limits: Limits) -> float:
    """Seconds for which every thread is to leave the server alone after `outcome`; mostly 0.

    A rate limit is the account's, not the request's: whoever goes on uses up what others wait for.
    A wait longer than kisi's own cap is not one that a run can sit out; each request fails by it.
    """
    asked = None
    if isinstance(outcome, Answer) and outcome.status in _UNPROCESSED:
        asked = retry_after(outcome.headers)
    return asked if asked is not None and asked <= limits.retry_after_cap else 0.0
