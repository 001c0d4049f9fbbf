"""An HTTP answer that arrived whole, and what it says of time: when to come back, whose clock."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from http import HTTPStatus
from typing import Any, NoReturn

from kisi.errors import BadAnswer
from kisi.model import Finding, Level
from kisi.redaction import REDACTOR, remote_words

_OPENING = 8192
"""Characters of a body that messages are made from."""
_READ = 2**18
"""Bytes of a body that secrets are looked for in: much more, so that none is cut in two."""
MOST_VALUES = 500_000
"""Values in one JSON answer. A page of 1,000 whole records has 150,000; the smallest values take
thirty times their text in memory, so that a limit to the text alone is none."""
_SECONDS = re.compile(r"\d+(\.\d+)?")


Unwrap = Callable[[dict[str, Any]], Any]
"""What a JSON object of a server stands for; it is asked about those inside others first."""


@dataclass(frozen=True)
class Answer:
    """Status, headers and the whole, decompressed body of an HTTP answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Case-insensitive where it comes from a `Client`."""
    body: bytes
    unwrap: Unwrap | None = None

    @property
    def _content_type(self) -> str:
        """The media type in lower case, without parameters; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def broken(self) -> bool:
        """Whether a success is no JSON though nothing else was announced, or a proxy's page."""
        kind = self._content_type
        if not 200 <= self.status < 300 or self.status == HTTPStatus.NO_CONTENT:
            return False
        if kind not in {"", "text/html", "application/json"} and not kind.endswith("+json"):
            return False
        try:
            self.json()
        except BadAnswer:
            return True
        return False

    def json(self) -> Any:  # noqa: ANN401  any JSON value
        """The body as JSON; `BadAnswer`, with the first characters of it, if it is none."""
        try:
            return self._document
        except (ValueError, RecursionError) as error:
            kind = self.header("Content-Type", 80).partition(";")[0] or "no content type"
            raise BadAnswer(
                f"Expected JSON, got status {self.status} with {kind}: {self.excerpt()!r}."
            ) from error

    @cached_property  # so this class has no slots
    def _document(self) -> Any:  # noqa: ANN401  any JSON value
        if sum(map(self.body.count, (b"{", b"[", b","))) > MOST_VALUES:
            raise BadAnswer(f"The answer has more than {MOST_VALUES:,} values and was not read.")
        return json.loads(self.body, parse_constant=_refuse, object_hook=self.unwrap)

    def header(self, name: str, limit: int) -> str:
        """A header for a message, empty if there is none; see `remote_words`.

        It is read as Latin-1, whatever it is, so a secret is found in it by its bytes.
        """
        return remote_words(self.headers.get(name, ""), limit)

    def excerpt(self, limit: int = 80) -> str:
        """The first `limit` characters of the body, for a message; see `remote_words`."""
        return remote_words(self.opening(), limit)

    def opening(self) -> str:
        """The beginning of the body as text, without our secrets; `remote_words` may show it.

        They are looked for in its bytes first (Latin-1 has a letter for each): an encoding that the
        body is not in breaks their letters, and they would not be found any more.
        """
        raw = REDACTOR.opening(self.body[:_READ].decode("latin-1"), 4 * _OPENING)
        text = raw.encode("latin-1").decode("utf-8", "replace")
        return REDACTOR.opening(text, _OPENING)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """The seconds that a server asks to wait (RFC 9110, section 10.2.3), never negative.

    A date is measured against the answer's own `Date`, whatever the clocks; without one, against
    `now`, or the present. Nonsense is treated as absent.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    until = _http_date(text)
    if until is None:
        return None
    since = _http_date(headers.get("Date", "")) or now or datetime.now(UTC)
    return max(0.0, (until - since).total_seconds())


@lru_cache(maxsize=64)  # a server's answers of one second have one date
def _http_date(text: str) -> datetime | None:
    """The instant of a header such as `Date` (RFC 9110, section 5.6.7), in UTC; None: nonsense."""
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


_LARGEST_SKEW = timedelta(minutes=5)
"""A clock that is further off may put something on the wrong day, or be refused."""


def clock_skew(answer: Answer, *asked: datetime) -> timedelta | None:
    """How far this machine's clock is ahead of an answer's `Date` (RFC 9110, 6.6.1), if it has one.

    `asked` are instants before and after the question, by this machine's clock. A `Date` between
    them agrees with it, also where somebody sets the clock meanwhile.
    """
    theirs = _http_date(answer.headers.get("Date", ""))
    if theirs is None:
        return None
    return max(min(asked) - theirs, timedelta(0)) + min(max(asked) - theirs, timedelta(0))


def clock_finding(skew: timedelta | None, server: str, consequence: str) -> Finding:
    """What a skew means; `consequence` is what it could do at `server`, after the word `so`."""
    if skew is None:
        return Finding(Level.NOTE, f"{server} does not say what time it is.")
    if abs(skew) <= _LARGEST_SKEW:
        return Finding(Level.OK, f"The clocks of this machine and of {server} agree.")
    remedy = "Set the clock, and keep it set with NTP."
    return Finding(Level.PROBLEM, f"This {skew_words(skew, server)}, so {consequence}.", remedy)


def skew_words(skew: timedelta, server: str) -> str:
    """`machine's clock is 30 days ahead of that of psa.cw`, to go on after `this`."""
    minutes = round(abs(skew) / timedelta(minutes=1))
    units = ((2 * 24 * 60, 24 * 60, "days"), (2 * 60, 60, "hours"), (0, 1, "minutes"))
    number, unit = next(
        (round(minutes / one), word) for least, one, word in units if minutes >= least
    )
    direction = "ahead of" if skew > timedelta(0) else "behind"
    return f"machine's clock is {number} {unit} {direction} that of {server}"
