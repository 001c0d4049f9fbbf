"""Which number of an invoice period is billed? Days and a count policy in, one number out.

The days are complete readings of each tenant, so that a policy is applied to the sum over the
tenants that a client has today: one that moves takes its days along. A day on which one of them was
not read is a gap, never a 0; before its first reading a tenant was not there yet. Of November, when
kisi runs since the 3rd and nobody was read on the 5th:

    day           3    4    5    6        peak 95, average 92 (91.67), day:5 90
    devices      90   95    -   90        day:20: not read yet, so the line keeps its quantity
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta

from kisi.model import TODAY, Category, DayCount, PeriodCount, TenantRef

Days = Mapping[tuple[TenantRef, str], Mapping[date, Mapping[Category, int]]]
"""What was counted, by tenant and application, then by day; a day that is missing is a gap."""
_ONE_DAY = timedelta(days=1)
_LOOK_BACK = timedelta(days=31)
"""How long before a period a reading proves that kisi ran then."""
_MONTHS = {"bimonthly": 2, "quarterly": 3, "semiannual": 6, "semiannually": 6}
_MONTHS |= {"annual": 12, "annually": 12, "yearly": 12}
_DAYS = {"daily": 1, "weekly": 7, "biweekly": 14}
_LAST = 29
"""From this day on, `day:N` is the month's last."""


def period_begins(next_invoice: date | None, cycle: str, today: date) -> date:
    """The first day of the invoice period: one billing cycle before the next invoice.

    The 1st, where the PSA tells no next invoice; a cycle that kisi does not know is a month.

    >>> period_begins(date(2026, 3, 31), "Monthly", date(2026, 3, 9))
    datetime.date(2026, 2, 28)
    """
    if next_invoice is None:
        return today.replace(day=1)
    word = "".join(filter(str.isalpha, cycle)).casefold()
    if days := _DAYS.get(word):
        return min(next_invoice - timedelta(days=days), today)
    months = next_invoice.year * 12 + next_invoice.month - 1 - _MONTHS.get(word, 1)
    year, month = months // 12, months % 12 + 1
    return min(date(year, month, min(next_invoice.day, monthrange(year, month)[1])), today)


def look_back(begins: date) -> date:
    """The first day of which the readings matter to a period."""
    return begins - _LOOK_BACK


def number_of(policy: str, begins: date, days: Mapping[date, int]) -> int | None:
    """What a policy bills of the days since a period began; None: nothing was read for it yet."""
    read = [(day, number) for day, number in sorted(days.items()) if day >= begins]
    if policy.startswith("day:"):
        wanted = _nth(begins, int(policy.removeprefix("day:")))
        return next((number for day, number in read if day >= wanted), None)
    numbers = [number for _, number in read]
    if not numbers or policy == TODAY:
        return numbers[-1] if numbers else None
    if policy == "peak":
        return max(numbers)
    return (2 * sum(numbers) + len(numbers)) // (2 * len(numbers))  # half up


def _nth(begins: date, number: int) -> date:
    """The first day of that number since a day."""
    for first in (begins.replace(day=1), begins.replace(day=1) + timedelta(days=32)):
        last = monthrange(first.year, first.month)[1]
        wanted = first.replace(day=last if number >= _LAST else number)
        if wanted >= begins:
            break
    return wanted


def readings(
    tenants: Iterable[TenantRef], application: str, categories: Collection[Category], days: Days
) -> dict[date, int]:
    """The sum over some tenants of each day; gaps are missing."""
    found = [read for tenant in tenants if (read := days.get((tenant, application)))]
    begin = [min(read) for read in found]
    sums = {}
    for day in sorted(set().union(*found)):
        parts = [read.get(day) for read, first in zip(found, begin, strict=True) if first <= day]
        if None not in parts:
            sums[day] = sum(_number(part or {}, categories) for part in parts)
    return sums


def _number(quantities: Mapping[Category, int], categories: Collection[Category]) -> int:
    every = Category.ALL in categories
    wanted = {*categories, Category.ALL}
    return sum(number for one, number in quantities.items() if every or one in wanted)


def period_count(policy: str, begins: date, known: Mapping[date, int], today: date) -> PeriodCount:
    """The days of a period up to today, of those that are known; some from before it too."""
    every = (begins + number * _ONE_DAY for number in range((today - begins).days + 1))
    first = min(known, default=today)
    return PeriodCount(
        policy,
        known.get(today),
        begins,
        tuple(DayCount(day, known.get(day)) for day in every),
        first if first > begins else None,
    )
