"""What the readers of all PSAs' records have in common. Pure.

Vendors leave fields out and add some between releases, so an absent field alone is no error. One
that a bill rests on and that cannot be read is a `ValueError` that names it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from kisi.model import AgreementRef
from kisi.redaction import remote_name, remote_text

Row = Mapping[str, Any]
"""One record of an answer, as JSON has it."""

LARGEST_ID = 2**31 - 1
"""Ids are int32. A larger one may make a PSA refuse the whole request, so it is never sent."""
LARGEST = 10**15
"""From here on it is no quantity and no price, and sums of products would break every report."""
_LONGEST = 40
"""Characters: more than any double or decimal of a database has."""
_ID = re.compile(r"[1-9][0-9]{0,9}")
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T.*)?", re.ASCII)


def as_id(text: str) -> int | None:
    """The id that `text` from mapping.toml spells, or None if it cannot be one."""
    return int(text) if _ID.fullmatch(text) and int(text) <= LARGEST_ID else None


def ids_of(texts: Iterable[str]) -> set[int]:
    """The ids among these texts; what cannot be an id is none."""
    return {number for one in texts if (number := as_id(one)) is not None}


def shown(value: object) -> str:
    """A remote value for a sentence, cut to a sane length."""
    return remote_text(repr(value), 60)


def whole(row: Row, field: str, called: str = "") -> int:
    """A whole number; `5.0` is one, `true` and `"5"` are not. A message names it as `called`."""
    value, called = row.get(field), called or field
    if value is None:
        raise ValueError(f"{called} is missing")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= LARGEST:
        raise ValueError(f"{called} is {shown(value)}, no whole number")
    return value


def day(row: Row, field: str) -> date | None:
    """The day of a date-time field; None if absent, or in year 1 (.NET's unset date)."""
    value = row.get(field)
    if value is None or value == "":
        return None
    match = _DAY.fullmatch(value) if isinstance(value, str) else None
    try:
        read = date.fromisoformat(match[1] if match else "")
    except ValueError:
        raise ValueError(f"{field} is {shown(value)}, no day") from None
    return None if read.year == 1 else read


def part(row: Row, field: str) -> Row:
    """A record inside a record, such as `company`; empty if it is absent."""
    value = row.get(field)
    return value if isinstance(value, dict) else {}


def text(row: Row, field: str) -> str:
    """A text field; empty if it is absent."""
    value = row.get(field)
    return value if isinstance(value, str) else ""


def name(row: Row, field: str) -> str:
    """A text field for people, which decides nothing; empty if it is absent."""
    return remote_name(text(row, field))


def exact_number(value: object) -> Decimal | None:
    """A JSON number, or a text that spells one, exactly as it was written.

    None for what nobody can bill: `true`, NaN, infinity, `1e400`, a million digits.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, int) and abs(value) >= LARGEST:
        return None
    spelled = str(value)
    if len(spelled) > _LONGEST:
        return None
    try:
        read = Decimal(spelled)
    except InvalidOperation:
        return None
    # The exponent first: `1e999999999` would fill the memory before it is compared.
    if not read.is_finite() or abs(read.adjusted()) >= _LONGEST or abs(read) >= LARGEST:
        return None
    return read


def move(ref: AgreementRef) -> str:
    """The commands that move a client to another agreement."""
    return f"`kisi map renew`, or {move_by_hand(ref)}"


def move_by_hand(ref: AgreementRef) -> str:
    """The command that moves a client to an agreement that a person names."""
    return f"`kisi map company {ref.psa}:{ref.agreement} --agreement ID`"
