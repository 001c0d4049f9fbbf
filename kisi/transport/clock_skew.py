"""Does this machine's clock agree with a server's? Expiry dates and signatures depend on it."""

from __future__ import annotations

from datetime import datetime, timedelta

from kisi.model import Finding, Level
from kisi.transport.answer import Answer
from kisi.transport.dates import http_date

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
