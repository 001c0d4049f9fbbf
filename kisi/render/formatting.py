"""Quantities, money, instants and kisi's own terms in the one form in which they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date, datetime, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import groupby

from kisi.journal import QuantityRange
from kisi.model import Category, Cycle, PeriodCount, Terms, UnmappedUse
from kisi.render.report import Chart

ACCEPT = re.compile(r"kisi sync(?: --accept \w+)+")
"""What releases holds: one id, or those of all clients that wait for each other."""
COMMAND = re.compile(rf"`([^`]+)`|({ACCEPT.pattern})|(?<=: )(kisi map (?:(?![.;,](?: |$)).)+)")
"""A command in prose: nothing may break it, because somebody will copy it."""
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
    """An amount, rounded half up to cents: `405.00`."""
    amount = value.quantize(Decimal("0.01"), ROUND_HALF_UP, _ANY_DOUBLE)
    return f"{amount:f}" if amount else "0.00"  # never "-0.00"


def per(currency: str, cycle: str) -> str:
    """What stands behind an amount: `EUR a month`; a cycle of another name as the PSA has it."""
    known = Cycle.named(cycle)
    every = known.words if known else f'each "{cycle}"' if cycle else "a billing cycle"
    return f"{currency} {every}" if currency else every


def in_all(amounts: Iterable[tuple[Terms, Decimal | None]]) -> str:
    """A sum in words, one for each billing cycle and currency: `405.00 EUR a month`."""
    sums: dict[str, Decimal] = {}
    unknown = 0
    for terms, amount in amounts:
        unknown += amount is None
        if amount is not None:
            unit = per(terms.currency, terms.cycle)
            sums[unit] = sums.get(unit, Decimal(0)) + amount
    told = [f"{money(amount)} {unit}" for unit, amount in sums.items()]
    told += [f"{plural(unknown, 'line')} of unknown price"] if unknown else []
    return " + ".join(told)


def over_time(quantities: Sequence[QuantityRange], zone: tzinfo, text: str = "") -> Chart | None:
    """The chart of what a line was proven to hold; None where that is not known."""
    days = [(local_day(one.first_at, zone), one.quantity) for one in quantities]
    ends = [(local_day(one.last_at, zone), one.quantity) for one in quantities[-1:]]
    return Chart((*days, *ends), text) if days else None


def signed(number: str) -> str:
    """A change of a quantity or an amount that was made text: `+2`, `-450.00`, `0.00`."""
    return f"+{number}" if Decimal(number) > 0 else number


def moment(at: datetime, zone: tzinfo) -> str:
    """An instant in the billing time zone, to the minute: `2026-11-03 06:00`."""
    with suppress(OverflowError, ValueError, OSError):  # `9999-12-31` stands for never
        at = at.astimezone(zone)
    return at.strftime("%Y-%m-%d %H:%M")


def local_day(at: datetime, zone: tzinfo) -> date:
    """The day of an instant in the billing time zone."""
    return date.fromisoformat(day(at, zone))


def day(at: datetime, zone: tzinfo) -> str:
    """The day of an instant in the billing time zone: `2026-11-03`."""
    return moment(at, zone).partition(" ")[0]


def not_billed(begins: date | None) -> str:
    """How a client stands whose billing is off, or who has none of its tenants before a day."""
    return f"billed from {begins} on" if begins else "billing off"


def told_days(days: Sequence[tuple[date, Decimal | int | None]], gap: str = "not read") -> str:
    """What was counted on days, in words: `1 to 6: 90 · 7: not read · 8 to 30: 92`."""
    one_month = len({(day.year, day.month) for day, _ in days}) == 1
    parts = []
    for number, span in groupby(days, lambda day: day[1]):
        first, *more = [str(day.day) if one_month else f"{day:%m-%d}" for day, _ in span]
        when = f"{first} to {more[-1]}" if more else first
        parts.append(f"{when}: {gap if number is None else quantity(number)}")
    return " · ".join(parts)


def told_period(period: PeriodCount) -> str:
    """What a count policy looked at: `peak since 2026-11-01 (1 to 14: 90 · 15: 88)`, and more."""
    days = told_days([(one.date, one.quantity) for one in period.days])
    said = f"{period.policy} since {period.begins}" + (f" ({days})" if days else "")
    if period.counted is not None:
        said += f"; counted today: {period.counted}"
    if period.since is not None:
        said += f"; no day before {period.since} counts: not all of its tenants had a reading"
    return "; ".join((said, *period.remarks))


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
