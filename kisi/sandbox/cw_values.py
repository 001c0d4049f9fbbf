"""Values of an addition as clients write them: read, or refused with the name of the field."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from kisi.sandbox.cw_lists import CwError

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
_LARGEST_NUMBER = 1e12
"""So that prices and quantities can be multiplied."""
_LONGEST = {"serialNumber": 50, "invoiceDescription": 6000}


def invalid(code: str, field: str, message: str) -> CwError:
    """The refusal of an addition because of one field."""
    error = {"code": code, "message": message, "resource": "addition", "field": field}
    return CwError(400, "InvalidObject", "Addition object is invalid", [error])


def number(field: str, value: Any) -> float | None:  # noqa: ANN401 - JSON
    """A number; text that looks like one is taken for one.

    Raises:
        CwError: It is none, or none that is finite and of a sane size.
    """
    if value is None:
        return None
    wrong = invalid("InvalidValue", field, f"{field} must be a number.")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise wrong
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong
    try:
        found = float(value)
    except OverflowError:
        raise wrong from None
    if not math.isfinite(found):
        raise wrong
    if abs(found) > _LARGEST_NUMBER:
        raise invalid("OutOfRange", field, f"{field} is too large.")
    return found


def date(field: str, value: Any) -> datetime | None:  # noqa: ANN401 - JSON
    """An instant of the form `2026-11-21T00:00:00Z`, and of no other.

    Raises:
        CwError: It is none, or no day of the calendar.
    """
    if value is None:
        return None
    wrong = invalid("UnsupportedFormat", field, f"Unsupported format applied to {field}")
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise wrong
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise wrong from None


def text(field: str, value: Any) -> str | None:  # noqa: ANN401 - JSON
    """Text that is not longer than the field may be.

    Raises:
        CwError: It is none, or too long.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid("InvalidValue", field, f"{field} must be a string.")
    longest = _LONGEST.get(field)
    if longest is not None and len(value) > longest:
        reason = f"The field {field} must be a string with a maximum length of {longest}."
        raise invalid("MaxLength", field, reason)
    return value


def _flag(field: str, value: Any) -> bool | None:  # noqa: ANN401 - JSON
    if value is None or isinstance(value, bool):
        return value
    raise invalid("InvalidValue", field, f"{field} must be true or false.")


def _reference(field: str, value: Any) -> dict[str, Any] | None:  # noqa: ANN401 - JSON
    """A reference to another record; what is nested in it, for example `_info`, is not kept."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("InvalidValue", field, f"{field} must be an object.")
    return {name: part for name, part in value.items() if not isinstance(part, dict | list)}


def _references(field: str, value: Any) -> list[dict[str, Any] | None] | None:  # noqa: ANN401
    if value is None:
        return None
    if not isinstance(value, list):
        raise invalid("InvalidValue", field, f"{field} must be an array.")
    return [_reference(field, part) for part in value]


OTHER: dict[str, Callable[[str, Any], object]] = {
    "serialNumber": text,
    "invoiceDescription": text,
    "taxableFlag": _flag,
    "purchaseItemFlag": _flag,
    "specialOrderFlag": _flag,
    "uom": text,
    "sequenceNumber": number,
    "opportunity": _reference,
    "invoiceGrouping": _reference,
    "prorateCurrentPeriodFlag": _flag,
    "customFields": _references,
}
"""Fields that are only kept, to what reads them."""
