"""Which changes must wait for a person? A plan and the journal's facts in, holds out. Pure.

A guard looks at one changing line; the first one in the order of `rules` names the hold. What waits
for a held line follows from the pools that they share (`kisi.plan.order`). Failures (a source or
agreement that cannot be trusted) are decided earlier and have no lines here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from kisi.guards.rules import (
    AFTER_RUN,
    BEFORE_RUN,
    RUN,
    RUN_REMEDY,
    Context,
    Guard,
    OwnedLines,
)
from kisi.model import CompanyPlan, Hold, LineSlot, Plan, PlannedLine, Status
from kisi.plan import named, net_change, spread, with_commands, with_lines

__all__ = ["Context", "OwnedLines", "empty_sources", "guard", "release"]


def empty_sources(
    counted: Mapping[str, Sequence[int]], companies: Iterable[CompanyPlan], facts: OwnedLines
) -> frozenset[str]:
    """Sources of which every tenant counts 0 although the PSA or the last run had more.

    Args:
        counted: For each source the total units of each tenant that was read.
        companies: The clients' plans, unguarded.
        facts: What the journal knows.
    """
    silent = {name for name, totals in counted.items() if totals and not any(totals)}
    had_more = {
        tenant.source
        for company in companies
        if any(_had_some(line, facts) for line in company.lines)
        for tenant in company.company.tenants
    }
    return frozenset(silent & had_more)


def _had_some(line: PlannedLine, facts: OwnedLines) -> bool:
    fact = facts.of_line(line)
    return bool(line.before) or (fact is not None and fact.confirmed > 0)


def guard(plan: Plan, context: Context) -> Plan:
    """Puts holds on the lines that must wait, and sets each client's status."""
    order = (*BEFORE_RUN, *AFTER_RUN)
    companies = tuple(_hold_lines(company, order, context) for company in plan.companies)
    return _judged(_guard_run(spread(replace(plan, companies=companies)), context))


def _hold_lines(company: CompanyPlan, order: Sequence[Guard], context: Context) -> CompanyPlan:
    lines = tuple(
        replace(line, hold=_first_hold(line, company, order, context))
        if line.changes and line.hold is None
        else line
        for line in company.lines
    )
    return replace(company, lines=lines)


def _first_hold(
    line: PlannedLine, company: CompanyPlan, order: Sequence[Guard], context: Context
) -> Hold | None:
    """The first guard names the hold; the others' reasons follow, so that nothing is hidden."""
    fired = [
        (rule, reason)
        for rule in order
        if (reason := rule.fires(line, company, context)) is not None
    ]
    if not fired:
        return None
    first = fired[0][0]
    return Hold(first.name, "; also ".join(reason for _, reason in fired), first.remedy)


def _guard_run(plan: Plan, context: Context) -> Plan:
    for psa in sorted({line.psa for company in plan.companies for line in company.lines}):
        free = [
            line
            for company in plan.companies
            for line in company.lines
            if line.psa == psa and line.hold is None
        ]
        reason = _run_reason(free, context)
        if reason is not None:
            hold = Hold(RUN, reason, RUN_REMEDY)
            plan = spread(_hold_free(plan, psa, hold, decreases=True))
    return plan


def _run_reason(free: Sequence[PlannedLine], context: Context) -> str | None:
    before = sum((line.before or Decimal(0) for line in free), Decimal(0))
    fall = -net_change(free)
    limits = context.rules
    if before <= 0 or fall <= Decimal(str(limits.run_units)):
        return None
    percent = fall / before * 100
    if percent <= Decimal(str(limits.run_percent)):
        return None
    return f"the whole run would bill {fall:f} units ({percent:.0f} %) fewer than {before:f} now"


def _hold_free(plan: Plan, psa: str, hold: Hold, *, decreases: bool) -> Plan:
    """Holds the changes of a PSA that nothing holds yet: all of them, or those that fall."""

    def held(line: PlannedLine) -> PlannedLine:
        concerned = line.psa == psa and line.changes and (line.delta < 0 or not decreases)
        return replace(line, hold=hold) if concerned and line.hold is None else line

    return with_lines(plan, held)


def _judged(plan: Plan) -> Plan:
    return replace(plan, companies=tuple(map(_status, plan.companies)))


def _status(company: CompanyPlan) -> CompanyPlan:
    if company.status not in {Status.READY, Status.HELD}:
        return company
    held = any(line.hold is not None for line in company.lines)
    return replace(company, status=Status.HELD if held else Status.READY)


def release(plan: Plan, keys: Collection[str], withheld: Mapping[str, Hold]) -> Plan:
    """Lifts what was accepted, and works out anew what waits.

    Args:
        plan: A guarded plan with its ids.
        keys: The keys of the lines that a person accepted.
        withheld: The hold of each PSA (by its section name) that lets kisi write nothing: no id
            releases it, and it is no reason for what is held for another one.

    Returns:
        The plan as it is written, with ids for what is still held, and commands in its remedies.
    """
    guarded = {
        (line.slot, line.line_id): line.hold.key
        for company in plan.companies
        for line in company.lines
        if line.hold is not None and line.hold.key
    }
    plan = _without_holds(plan, keys)
    for psa, hold in withheld.items():
        plan = _hold_free(plan, psa, replace(hold, releasable=False), decreases=False)
    plan = named(_with_keys(spread(plan), guarded))
    return _judged(with_commands(plan))


def _without_holds(plan: Plan, keys: Collection[str]) -> Plan:
    """Without what only waits, and without what was accepted."""

    def lifted(line: PlannedLine) -> PlannedLine:
        hold = line.hold
        lifts = hold is not None and hold.releasable and (not hold.key or hold.key in keys)
        return replace(line, hold=None) if lifts else line

    return with_lines(plan, lifted)


def _with_keys(plan: Plan, guarded: Mapping[tuple[LineSlot, str | None], str]) -> Plan:
    """A line that was accepted and still waits keeps its key: the same id names it next time."""

    def keyed(line: PlannedLine) -> PlannedLine:
        key = guarded.get((line.slot, line.line_id), "")
        return replace(line, hold=replace(line.hold, key=key)) if line.hold and key else line

    return with_lines(plan, keyed)
