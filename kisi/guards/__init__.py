"""Which changes must wait for a person? A plan and the journal's facts in, holds out. Pure.

A hold leaves the line, and every other changing line of the same client and application, as they
are; the first guard in the order of `rules` names it. An orphaned line takes along what may bill
its devices from now on, also under another application and for another client; and what was held
takes along the application that the same devices went to, or came from. Failures (a
source or agreement that cannot be trusted) are decided earlier and have no lines here.
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
    FactIndex,
    Guard,
)
from kisi.model import WITH, Awaited, CompanyPlan, Hold, Move, Plan, PlannedLine, Status
from kisi.plan import net_change, takes_over, whole_id

__all__ = ["Context", "FactIndex", "empty_sources", "freed_lines", "guard", "release", "withhold"]


def empty_sources(
    counted: Mapping[str, Sequence[int]], companies: Iterable[CompanyPlan], facts: FactIndex
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


def _had_some(line: PlannedLine, facts: FactIndex) -> bool:
    fact = facts.of_line(line)
    return bool(line.before) or (fact is not None and fact.confirmed > 0)


def guard(companies: Sequence[CompanyPlan], context: Context) -> tuple[CompanyPlan, ...]:
    """Puts holds on the lines that must wait, and sets each client's status."""
    order = (*BEFORE_RUN, *AFTER_RUN)
    held = [_hold_lines(company, order, context) for company in companies]
    return tuple(_judged(company) for company in _guard_run(held, context))


def _hold_lines(company: CompanyPlan, order: Sequence[Guard], context: Context) -> CompanyPlan:
    lines = [
        replace(line, hold=_first_hold(line, company, order, context)) if line.changes else line
        for line in company.lines
    ]
    return _take_along(replace(company, lines=tuple(lines)))


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


def _take_along(company: CompanyPlan) -> CompanyPlan:
    """Holds what must not change alone: what may take over from an orphan, one application."""
    lines = list(company.lines)
    for awaited in company.awaits:
        lines = [
            _after(line, awaited) if line.hold is None and _awaits(line, awaited, lines) else line
            for line in lines
        ]
    for orphan in [line for line in lines if line.orphaned and line.hold]:
        lines = [
            _with(line, orphan) if line.hold is None and takes_over(line, orphan, lines) else line
            for line in lines
        ]
    return replace(company, lines=_spread(lines, company))


def _spread(lines: Sequence[PlannedLine], company: CompanyPlan) -> tuple[PlannedLine, ...]:
    """Holds along every changing line of the applications of which one is held.

    A line that the mapping has given from one application to another binds the two together, and
    so do devices that have moved from one to the other.
    """
    result = list(lines)
    causes: dict[str, PlannedLine] = {}
    while True:
        for line in result:
            if line.hold is not None:
                for application in line.applications:
                    causes.setdefault(application, line)
        free = [
            (index, next(name for name in causes if name in bound))
            for index, line in enumerate(result)
            if line.changes and line.hold is None
            for bound in [company.bound_to(line)]
            if not causes.keys().isdisjoint(bound)
        ]
        if not free:
            return tuple(result)
        for index, named in free:
            result[index] = _with(result[index], causes[named], company.moves)


def _awaits(line: PlannedLine, awaited: Awaited, lines: Sequence[PlannedLine]) -> bool:
    """Whether a line may bill what another client's line still bills.

    Of a tenant that left a client which is still billed, only an application that bills more in
    all can: so two clients that exchange tenants never wait for each other.
    """
    rises = line.delta > 0 and net_change(_of_same(line, lines)) > 0
    same = awaited.line.application in line.applications
    follows = takes_over(line, awaited.line, lines)
    if awaited.tenant:
        return rises and (same or follows)
    return follows or (same and rises)


def _of_same(line: PlannedLine, lines: Iterable[PlannedLine]) -> Iterable[PlannedLine]:
    return (one for one in lines if not one.applications.isdisjoint(line.applications))


def _after(line: PlannedLine, awaited: Awaited) -> PlannedLine:
    bills, owner = awaited.line, awaited.owner
    still = f"line {bills.line_id} of agreement {bills.agreement} still bills {bills.application}"
    if awaited.tenant:
        reason = f"{still} for {awaited.tenant}, which was a tenant of {owner} until now"
        remedy = (
            f"It is written by the first run after the one that brings the line of {owner} down; "
            "no id releases it here."
        )
    else:
        reason = f"{still} for one of this client's tenants, and {owner} shows it as orphaned"
        remedy = "Settle it there first, with the id of that client; no id releases it here."
    return replace(line, hold=Hold(WITH, reason, remedy))


def _with(line: PlannedLine, cause: PlannedLine, moves: Iterable[Move] = ()) -> PlannedLine:
    if cause.hold is None:
        return line
    what = cause.application if cause.application != line.application else cause.category
    reason = f"held with {what} ({cause.hold.guard}), so that nothing is billed twice or not at all"
    pair = {line.application, cause.application}
    for move in moves:
        if {move.old, move.new} == pair:
            reason += f": {move.devices} devices went from {move.old} to {move.new}"
    return replace(line, hold=Hold(WITH, reason, cause.hold.remedy))


def _guard_run(companies: Sequence[CompanyPlan], context: Context) -> list[CompanyPlan]:
    result = list(companies)
    for psa in sorted({line.psa for company in companies for line in company.lines}):
        free = [
            line
            for company in result
            for line in company.lines
            if line.psa == psa and line.hold is None
        ]
        reason = _run_reason(free, context)
        if reason is not None:
            hold = Hold(RUN, reason, RUN_REMEDY)
            result = [_hold_decreases(company, psa, hold) for company in result]
    return result


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


def _hold_decreases(company: CompanyPlan, psa: str, hold: Hold) -> CompanyPlan:
    lines = [
        replace(line, hold=hold)
        if line.psa == psa and line.changes and line.hold is None and line.delta < 0
        else line
        for line in company.lines
    ]
    return _take_along(replace(company, lines=tuple(lines)))


def _judged(company: CompanyPlan) -> CompanyPlan:
    if company.status not in {Status.READY, Status.HELD}:
        return company
    held = any(line.hold is not None for line in company.lines)
    return replace(company, status=Status.HELD if held else Status.READY)


def release(plan: Plan, accepted: Collection[str]) -> Plan:
    """Takes the holds off the clients that `accepted` names, by their id or the whole plan's.

    Where others are still held, the plan has a new id: the one that would release those next time.
    """
    everything = plan.plan_id in accepted
    companies = tuple(
        _judged(_released(company)) if everything or company.plan_id in accepted else company
        for company in plan.companies
    )
    is_held = any(line.hold is not None for company in companies for line in company.lines)
    plan_id = whole_id(companies) if is_held else plan.plan_id
    return replace(plan, companies=companies, plan_id=plan_id)


def freed_lines(plan: Plan, plan_id: str) -> tuple[PlannedLine, ...]:
    """The held lines that an id releases, as they stand in `plan`."""
    after = release(plan, [plan_id])
    return tuple(
        line
        for held, free in zip(plan.companies, after.companies, strict=True)
        for line, now in zip(held.lines, free.lines, strict=True)
        if line.hold is not None and now.hold is None
    )


def _released(company: CompanyPlan) -> CompanyPlan:
    """Without its holds, but for those that wait for another client's line to be 0."""
    lines = tuple(replace(line, hold=None) for line in company.lines)
    return _take_along(replace(company, lines=lines))


def withhold(
    companies: Sequence[CompanyPlan], holds: Mapping[str, Hold]
) -> tuple[CompanyPlan, ...]:
    """Holds every remaining change of a PSA that does not let kisi write; no id releases these.

    Args:
        companies: Guarded plans.
        holds: The hold of each such PSA, by its section name.
    """

    def held(company: CompanyPlan) -> CompanyPlan:
        lines = tuple(
            replace(line, hold=holds[line.psa])
            if line.psa in holds and line.changes and line.hold is None
            else line
            for line in company.lines
        )
        return _judged(replace(company, lines=lines))

    return tuple(held(company) for company in companies)
