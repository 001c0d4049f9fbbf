"""Plan ids: a short name for exactly these changes, the same tomorrow and in any order.

An id covers the lines that guards hold, so that the id an operator reads after a run still fits
when that run has written everything else. Lines that merely wait are in no id. A client or plan
without such lines is named by what it would change. How often a line was accepted before is part of
its key: an id works once, and a drift that comes back gets a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from kisi.model import CompanyPlan, LineSlot, OwnedLine, Plan, PlannedLine
from kisi.planning.lines import with_lines

_VERSION = "kisi-plan-2"
_COMPANY_DIGITS = 8
_PLAN_DIGITS = 12


def with_ids(plan: Plan, accepts: Mapping[LineSlot, int]) -> Plan:
    """Gives a guarded plan, each of its clients, and each line that a guard holds its id.

    What is accepted includes the lines `elsewhere` that a line is to be billed beside. `accepts`
    says how often a held change of each line was accepted before.
    """

    def keyed(line: PlannedLine) -> PlannedLine:
        hold = line.hold
        if hold is None or not hold.has_id:
            return line
        arrangement = plan.arrangement
        beside: list[OwnedLine | PlannedLine] = [
            *arrangement.elsewhere.get(line.slot, ()),
            *arrangement.lasting.get(line.slot, ()),
        ]
        also = sorted(_joined(one.psa, one.agreement, one.line_id or one.product) for one in beside)
        key = _digest([_text(line), hold.guard, str(accepts.get(line.slot, 0)), *also])
        return replace(line, hold=replace(hold, key=key))

    return named(with_lines(plan, keyed))


def named(plan: Plan) -> Plan:
    """The plan with the ids that its lines' keys make."""
    companies = tuple(replace(company, plan_id=_company_id(company)) for company in plan.companies)
    held = [company for company in companies if _keys(company.lines)]
    relevant = held or [company for company in companies if any(x.changes for x in company.lines)]
    plan_id = _digest(sorted(company.plan_id for company in relevant))[:_PLAN_DIGITS]
    return replace(plan, companies=companies, plan_id=plan_id)


def _company_id(company: CompanyPlan) -> str:
    place = f"{company.company.psa}|{company.company.agreement}"
    parts = _keys(company.lines) or [_text(line) for line in company.lines if line.changes]
    return _digest([place, *sorted(parts)])[:_COMPANY_DIGITS]


def _keys(lines: Sequence[PlannedLine]) -> list[str]:
    return [line.hold.key for line in lines if line.hold is not None and line.hold.key]


def accepted_keys(plan: Plan, ids: Collection[str]) -> Mapping[str, Mapping[str, CompanyPlan]]:
    """For each of `ids` the keys of the lines that it accepts, each with its client.

    An id that names nothing in the plan is left out; one that names a client without a guarded line
    accepts nothing.
    """
    found: dict[str, dict[str, CompanyPlan]] = {}
    for plan_id in ids:
        for company in plan.companies:
            if plan_id in (plan.plan_id, company.plan_id):
                found.setdefault(plan_id, {}).update(dict.fromkeys(_keys(company.lines), company))
    return found


def _text(line: PlannedLine) -> str:
    before = "-" if line.before is None else format(line.before.normalize(), "f")
    is_counted = line.period is not None and not line.goes_back
    counted = (line.policy, str(line.counted)) if is_counted else ()
    return _joined(*line.slot, line.line_id or "-", before, str(line.after), *counted)


def _joined(*parts: str) -> str:
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join([_VERSION, *parts]).encode()).hexdigest()
