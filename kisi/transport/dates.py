"""The dates of HTTP headers, which a server may fill with anything."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def http_date(text: str) -> datetime | None:
    """The instant that a header such as `Date` names (RFC 9110, section 5.6.7), in UTC.

    None for nonsense, and for years that no calendar of Python's reaches.
    """
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
