"""What a client's lines should bill by their count policies, and what guards compare with. Pure.

Guards judge today's reading by earlier readings, never the policy's number, so that none fires
because a period turns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from kisi.counting import Days, Period, look_back, number_of, period_count, readings
from kisi.counting.notes import some
from kisi.model import (
    TODAY,
    Agreement,
    Baseline,
    Company,
    CompanyPlan,
    LineSlot,
    OwnedLine,
    PeriodCount,
    Rules,
)
from kisi.planning.desired import DesiredLine, DesiredState


def period_of(agreement: Agreement, facts: Iterable[OwnedLine], today: date) -> Period:
    """The invoice period of an agreement; `facts` tell which next invoice dates it had."""
    earlier = {day for fact in facts if fact.ref == agreement.ref for day in fact.invoices}
    return Period.of(agreement.next_invoice, agreement.cycle, today, earlier)


def period_notes(plans: Iterable[CompanyPlan]) -> Iterable[str]:
    """What an operator should know of the clients' invoice periods, each sentence once."""
    said: dict[str, dict[str, None]] = defaultdict(dict)
    for plan in plans:
        for line in plan.lines:
            for remark in line.period.remarks if line.period else ():
                said[remark][plan.company.name] = None
    return (f"{some(names)}: {remark}." for remark, names in said.items())


def first_day(begins: date, rules: Rules) -> date:
    """The first day of which the readings matter, for a period and for guards."""
    return min(look_back(begins), rules.today - timedelta(days=rules.guards.baseline_days))


def needs_days(desired: DesiredState, facts: Iterable[OwnedLine]) -> bool:
    """Whether earlier days matter to a client: to what is billed, or to guards."""
    return any(line.policy != TODAY for line in desired.lines) or any(x.by_days for x in facts)


def with_policies(
    desired: DesiredState,
    company: Company,
    invoiced: Period,
    facts: Iterable[OwnedLine],
    days: Days,
    rules: Rules,
) -> DesiredState:
    """What should be billed by each line's policy; `desired` is today's reading.

    `days` are those of the client's tenants, and of those that its `facts` stand for.
    """
    here = {fact.slot: fact for fact in facts}

    def counted(line: DesiredLine) -> DesiredLine:
        fact = here.get(LineSlot(company.psa, company.agreement, line.product))
        if line.policy == TODAY and not (fact and fact.by_days):
            return line
        if company.left:
            return _left(line, company, fact, invoiced)
        period = _period(line, company, invoiced, days, rules)
        period = replace(period, baseline=_baseline(line, company, fact, days, rules))
        period = replace(period, remarks=(*period.remarks, *_lost(line, fact, period, days)))
        number = _number(line, period)
        if number is not None:
            return replace(line, quantity=number, period=period)
        # Before there is one, a line keeps its quantity, while that stands for today's row: where
        # the period is over, also for one that got more tenants since.
        now = (company.counted, line.application, line.categories)
        more = (
            fact and not invoiced.counts(line.policy, rules.today) and {*fact.tenants} < {*now[0]}
        )
        was = (now[0] if more else fact.tenants, fact.application, fact.categories) if fact else ()
        if fact and was == now:
            return replace(line, quantity=int(fact.confirmed), period=period, keeps=True)
        return replace(line, period=period)

    return replace(desired, lines=tuple(map(counted, desired.lines)))


def _lost(
    line: DesiredLine, fact: OwnedLine | None, period: PeriodCount, days: Days
) -> Iterable[str]:
    """Says once that days of the tenants that a line was proven with last count no more."""
    if fact is None or period.since is None:
        return
    had = readings(fact.tenants, line.application, line.categories, days)
    if any(period.begins <= day < period.since for day in had):
        yield (
            f"days before {period.since} do not count for `{line.policy}`, because not every "
            "tenant that the client has now was read then"
        )


def _left(
    line: DesiredLine, company: Company, fact: OwnedLine | None, invoiced: Period
) -> DesiredLine:
    """Of a client that has left: what it had until the period of its last day is invoiced."""
    if line.policy == TODAY and not (fact and fact.reversal):
        return line
    lasts = fact is not None and company.until is not None and invoiced.begins <= company.until
    kept = int(fact.confirmed) if fact and lasts and line.policy != TODAY else 0
    period = PeriodCount(line.policy, None, invoiced.begins, ends=invoiced.ends)
    return replace(line, quantity=kept, period=period)


def _period(
    line: DesiredLine, company: Company, invoiced: Period, days: Days, rules: Rules
) -> PeriodCount:
    if line.policy == TODAY:
        return PeriodCount(TODAY, line.quantity, rules.today)
    known = readings(company.counted, line.application, line.categories, days)
    known[rules.today] = line.quantity  # the newest; of several tenants, each device once
    return period_count(line.policy, invoiced, known, rules.today)


def _number(line: DesiredLine, period: PeriodCount) -> int | None:
    if line.policy == TODAY:
        return line.quantity
    days = {one.date: one.quantity for one in period.days if one.quantity is not None}
    return number_of(line.policy, Period(period.begins), days)


def _baseline(
    line: DesiredLine, company: Company, fact: OwnedLine | None, days: Days, rules: Rules
) -> Baseline | None:
    """Of what a line was proven with last, so that a tenant that is taken away is seen to be."""
    first = rules.today - timedelta(days=rules.guards.baseline_days)
    what = (company.counted, line.application, line.categories)
    if fact is not None:
        what = (fact.tenants, fact.application, fact.categories)
        if fact.accepted is not None:
            first = max(first, fact.accepted.astimezone(rules.zone).date())
    seen = [Decimal(x) for day, x in readings(*what, days).items() if first <= day <= rules.today]
    return Baseline(max(seen), min(seen), seen[-1]) if seen else None
