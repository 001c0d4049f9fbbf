"""Which number of an invoice period is billed? Days and a count policy in, one number out.

The days are complete readings of each tenant, so that a policy is applied to the sum over the
tenants that a client has today: one that moves takes its days along. A day on which one of them was
not read is a gap, never the sum of the others: nobody knows whether one that was never read before
was there yet. Of November, when kisi runs since the 3rd and nobody was read on the 5th:

    day           3    4    5    6        peak 95, average 92 (91.67), day:5 90
    devices      90   95    -   90        day:20: not read yet, so the line keeps its quantity
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import NamedTuple, Self

from kisi.model import TODAY, Category, Cycle, DayCount, PeriodCount, TenantRef

Days = Mapping[tuple[TenantRef, str], Mapping[date, Mapping[Category, int]]]
"""What was counted, by tenant and application, then by day; a day that is missing is a gap."""
_ONE_DAY = timedelta(days=1)
_LOOK_BACK = 31
"""How many days before a period a reading proves that kisi ran then."""
_MONTH = Cycle(1, 0, "a month")
_SHORTER = 3
"""By how many days a month may be shorter than the one before."""
_OVERDUE = (
    ". A whole billing cycle has passed: make it, or correct the next invoice date in the PSA, "
    "with `kisi sync` after each invoice; if something else invoices the agreement, choose "
    '`count = "today"`'
)
_LAST = 29
"""From this day on, `day:N` is the month's last."""


class Period(NamedTuple):
    """The invoice period: from one next invoice date of the PSA to the following one."""

    begins: date
    ends: date | None = None
    """With this day the next one begins; None: not known."""
    cycle: str = ""
    """As the PSA calls it."""
    is_guess: bool = False
    """Nobody has told when it began: it is taken for a month."""

    @classmethod
    def of(
        cls, next_invoice: date | None, cycle: str, today: date, earlier: Collection[date] = ()
    ) -> Self:
        """The period before the next invoice, whether that is made late or not.

        It begins one billing cycle before; with the last of the `earlier` next invoice dates,
        where the months differ in length, or kisi does not know how long a cycle is. Where the PSA
        tells no next invoice, it begins on the 1st.

        >>> Period.of(date(2026, 3, 31), "Monthly", date(2026, 3, 9)).begins
        datetime.date(2026, 2, 28)
        """
        if next_invoice is None:
            return cls(today.replace(day=1), cycle=cycle)
        known = Cycle.named(cycle)
        begins = _shifted(next_invoice, known or _MONTH, -1)
        turned = [day for day in earlier if begins <= day <= today and day < next_invoice]
        if known:
            turned = [day for day in turned if (day - begins).days <= _SHORTER]
        is_guess = bool(cycle) and not (known or turned)
        return cls(min(max(turned, default=begins), today), next_invoice, cycle, is_guess)

    def counts(self, policy: str, day: date) -> bool:
        """Whether a policy looks at a day. None does at one that two periods would count."""
        ended = self.ends is not None and day >= self.ends and policy in {"peak", "average"}
        return day >= self.begins and not ended

    def remarks(self, today: date) -> Iterable[str]:
        """What an operator should know of it, as parts of a sentence."""
        if self.is_guess:
            yield (
                f'kisi does not know the billing cycle "{self.cycle}" and takes it for a month, '
                "until the PSA has shown a second next invoice date"
            )
        if self.ends is not None and self.ends <= today:
            following = _shifted(self.ends, Cycle.named(self.cycle) or _MONTH, 1)
            yield (
                f"the invoice of {self.ends} has not been made in the PSA; readings since then "
                "count for the next one" + _OVERDUE * (following <= today)
            )


def _shifted(day: date, cycle: Cycle, number: int) -> date:
    """A day so many cycles later, of the days that there are."""
    months = day.year * 12 + day.month - 1 + number * cycle.months
    year, month = divmod(min(max(months, 12), 12 * date.max.year + 11), 12)
    same = date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
    return _day(same.toordinal() + number * cycle.days)


def _day(ordinal: int) -> date:
    return date.fromordinal(min(max(ordinal, 1), date.max.toordinal()))


def look_back(begins: date) -> date:
    """The first day of which the readings matter to a period."""
    return _day(begins.toordinal() - _LOOK_BACK)


def number_of(policy: str, period: Period, days: Mapping[date, int]) -> int | None:
    """What a policy bills of the days of a period; None: nothing was read for it yet."""
    read = [(day, number) for day, number in sorted(days.items()) if period.counts(policy, day)]
    if policy.startswith("day:"):
        wanted = _nth(period.begins, int(policy.removeprefix("day:")))
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
    """The sum over some tenants of each day on which every one was read; gaps are missing."""
    found = [days.get((tenant, application), {}) for tenant in tenants]
    every = set.intersection(*map(set, found)) if found else set()
    return {day: sum(_number(read[day], categories) for read in found) for day in sorted(every)}


def _number(quantities: Mapping[Category, int], categories: Collection[Category]) -> int:
    every = Category.ALL in categories
    wanted = {*categories, Category.ALL}
    return sum(number for one, number in quantities.items() if every or one in wanted)


def period_count(
    policy: str, period: Period, known: Mapping[date, int], today: date
) -> PeriodCount:
    """The days of a period up to today, of those that are known; some from before it too."""
    begins = period.begins
    every = (begins + number * _ONE_DAY for number in range((today - begins).days + 1))
    first = min(known, default=today)
    return PeriodCount(
        policy,
        known.get(today),
        begins,
        tuple(DayCount(day, known.get(day)) for day in every if period.counts(policy, day)),
        first if first > begins else None,
        ends=period.ends,
        remarks=tuple(period.remarks(today)),
    )
