"""Reading fields of ConnectWise records: leniently where it is harmless, never by guessing.

ConnectWise leaves null fields out of its answers and adds fields between releases, so an absent
field is no error here. A field that is present and cannot be read is a `ValueError` that names it;
the caller says which record it belongs to.

Record shapes: `Agreement`, `Addition`, `CatalogItem` and `Company` of ConnectWise's OpenAPI
document (https://developer.connectwise.com/Products/ConnectWise_PSA/REST). Date-times are UTC, and
a day is stored as that day's midnight (`2026-11-21T00:00:00Z`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from kisi.psa.common import exact_number
from kisi.redaction import remote_name, remote_text

Row = Mapping[str, object]
"""One record of an answer, as JSON has it."""

_LARGEST_ID = 2**31 - 1
"""Ids are int32. A larger one makes ConnectWise refuse the whole request, so it is never sent."""

_ID = re.compile(r"[1-9][0-9]{0,9}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T.*)?", re.ASCII)


def as_id(text: str) -> int | None:
    """The ConnectWise id that `text` from mapping.toml spells, or None if it cannot be one."""
    if not _ID.fullmatch(text):
        return None
    number = int(text)
    return number if number <= _LARGEST_ID else None


def row_id(row: Row) -> int:
    """The record's own id.

    Raises:
        ValueError: It has none.
    """
    value = row.get("id")
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("id is missing or not a whole number")  # noqa: TRY004  # one kind for all
    return value


def part(row: Row, field: str) -> Row:
    """A reference inside a record, such as `company`; empty if it is absent."""
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def text(row: Row, field: str) -> str:
    """A text field; empty if it is absent."""
    value = row.get(field)
    return value if isinstance(value, str) else ""


def name(row: Row, field: str) -> str:
    """A text field for people, which decides nothing; empty if it is absent."""
    return remote_name(text(row, field))


def flag(row: Row, field: str) -> bool:
    """A boolean field; absent means false."""
    return row.get(field) is True


def day(row: Row, field: str) -> date | None:
    """The day a date-time field names, or None if it is absent.

    Year 1 is .NET's unset date and counts as absent.

    Raises:
        ValueError: It is there and is no date.
    """
    value = row.get(field)
    if value is None or value == "":
        return None
    match = _DAY.fullmatch(value) if isinstance(value, str) else None
    try:
        read = date.fromisoformat(match[1]) if match else None
    except ValueError:
        read = None
    if read is None:
        raise ValueError(f"{field} is {shown(value)}")
    return None if read.year == 1 else read


def number(row: Row, field: str) -> Decimal | None:
    """A numeric field exactly as it was written in the answer, or None if it is absent.

    Raises:
        ValueError: It is there and is no number that anybody could bill.
    """
    value = row.get(field)
    if value is None:
        return None
    read = exact_number(value)
    if read is None:
        raise ValueError(f"{field} is {shown(value)}")
    return read


def day_or_none(row: Row, field: str) -> date | None:
    """As `day`, for dates that decide nothing: one that cannot be read is none."""
    try:
        return day(row, field)
    except ValueError:
        return None


def number_or_none(row: Row, field: str) -> Decimal | None:
    """As `number`, for numbers that decide nothing, such as prices."""
    try:
        return number(row, field)
    except ValueError:
        return None


def shown(value: object) -> str:
    """A remote value for a sentence, cut to a sane length."""
    return remote_text(repr(value), 60)
