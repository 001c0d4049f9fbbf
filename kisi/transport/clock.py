"""Time, as something that is handed in."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

from kisi.model import Finding, Level
from kisi.transport.answer import Answer


class Clock(Protocol):
    """Where kisi takes the time from, and how it waits. Injected, so that tests never wait."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps; only differences mean something."""

    def sleep(self, seconds: float) -> None:
        """Waits."""


class SystemClock:
    """The machine's own clock.

    Args:
        stop: Once it is set, nobody waits any longer.
    """

    def __init__(self, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed point."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Waits for `seconds`, or until stopped; not at all if they are not positive."""
        self._stop.wait(max(0.0, seconds))


def http_date(text: str) -> datetime | None:
    """The instant that a header such as `Date` names (RFC 9110, section 5.6.7), in UTC.

    None for nonsense, and for years that no calendar of Python's reaches.
    """
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


LARGEST_SKEW = timedelta(minutes=5)
"""A clock that is further off may put something on the wrong day, or be refused."""


def clock_skew(answer: Answer, now: datetime) -> timedelta | None:
    """How far `now` is ahead of the answer's `Date` header (RFC 9110, section 6.6.1).

    None if the server does not say what time it is.
    """
    theirs = http_date(answer.headers.get("Date", ""))
    return None if theirs is None else now - theirs


def clock_finding(skew: timedelta | None, server: str, consequence: str) -> Finding:
    """What a skew means.

    Args:
        skew: As `clock_skew` has it.
        server: What the operator calls the server.
        consequence: What a wrong clock could do there, after `so`.
    """
    if skew is None:
        return Finding(Level.NOTE, f"{server} does not say what time it is.")
    if abs(skew) <= LARGEST_SKEW:
        return Finding(Level.OK, f"The clocks of this machine and of {server} agree.")
    direction = "ahead of" if skew > timedelta(0) else "behind"
    return Finding(
        Level.PROBLEM,
        f"This machine's clock is {abs(skew) // timedelta(minutes=1)} minutes {direction} that of "
        f"{server}, so {consequence}.",
        "Set the clock, and keep it set with NTP.",
    )
