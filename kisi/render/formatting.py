"""Quantities, money, instants and kisi's own terms in the one form in which they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal

from kisi.model import Category, UnmappedUse

_ANY_DOUBLE = Context(prec=400)
"""Enough digits for whatever a PSA can store, so that no number can break a report."""
_CATEGORIES = {
    Category.WINDOWS_WORKSTATIONS: "workstations",
    Category.WINDOWS_SERVERS: "servers",
    Category.NON_WINDOWS: "non-Windows",
}
AS_REPORTED = "as reported by Security Center"
"""A quantity that the server states for a key whose devices were not read."""


def quantity(value: Decimal | int) -> str:
    """A quantity without trailing zeros: `10`, `2.5`."""
    number = Decimal(value)
    return format(number.normalize(_ANY_DOUBLE), "f") if number else "0"


def money(value: Decimal) -> str:
    """An amount, rounded half up to cents: `405.00`. The PSA's currency, whatever that is."""
    amount = value.quantize(Decimal("0.01"), ROUND_HALF_UP, _ANY_DOUBLE)
    return f"{amount:f}" if amount else "0.00"  # never "-0.00"


def signed(number: str) -> str:
    """A change of a quantity or an amount that was made text: `+2`, `-450.00`, `0.00`."""
    return f"+{number}" if Decimal(number) > 0 else number


def moment(at: datetime, zone: tzinfo) -> str:
    """An instant in the billing time zone, to the minute: `2026-11-03 06:00`."""
    with suppress(OverflowError, ValueError, OSError):  # `9999-12-31` stands for never
        at = at.astimezone(zone)
    return at.strftime("%Y-%m-%d %H:%M")


def day(at: datetime, zone: tzinfo) -> str:
    """The day of an instant in the billing time zone: `2026-11-03`."""
    return moment(at, zone).partition(" ")[0]


def plural(number: int, noun: str, plural_form: str = "") -> str:
    """A number with its noun: `1 line`, `3 lines`, `2 companies`."""
    return f"{number} {noun if number == 1 else plural_form or noun + 's'}"


def billed_as(application: str, categories: Sequence[Category]) -> str:
    """A line as people call it: `KES Advanced, servers`."""
    words = " + ".join(_CATEGORIES[one] for one in categories if one in _CATEGORIES)
    return f"{application}, {words}" if words else application


def unmapped_as(use: UnmappedUse) -> str:
    """What is used and not billed; says where the quantity is only the server's own number."""
    name = billed_as(use.application, (use.category,) if use.category else ())
    return f"{name} ({AS_REPORTED})" if use.estimated else name
