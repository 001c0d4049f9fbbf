"""Plan ids: a short name for exactly these changes, the same tomorrow and in any order.

An id covers the lines that are held and the lines held with them, so that the id an operator reads
after a run still fits when that run has written everything else; a client or plan without holds is
named by what it would change. How often these lines were accepted before is part of the id: an id
works once, and a drift that comes back gets a new one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from kisi.model import CompanyPlan, Plan, PlannedLine

_VERSION = "kisi-plan-1"
_COMPANY_DIGITS = 8
_PLAN_DIGITS = 12

ProductKey = tuple[str, str, str]
"""PSA, agreement, product: what names a billing line before and after it exists."""


def product_key(line: PlannedLine) -> ProductKey:
    """What names a line before and after it exists."""
    return (line.psa, line.agreement, line.product)


def with_ids(plan: Plan, accepts: Mapping[ProductKey, int]) -> Plan:
    """Gives the plan and each of its clients an id.

    Args:
        plan: A guarded plan.
        accepts: How often a held change of each line was accepted before.
    """
    companies = tuple(_named(company, accepts) for company in plan.companies)
    return replace(plan, companies=companies, plan_id=whole_id(companies))


def whole_id(companies: Iterable[CompanyPlan]) -> str:
    """The id of a plan whose clients have theirs."""
    plans = tuple(companies)
    held = [company for company in plans if _held(company.lines)]
    relevant = held or [company for company in plans if any(x.changes for x in company.lines)]
    return _digest(company.plan_id for company in relevant)[:_PLAN_DIGITS]


def _named(company: CompanyPlan, accepts: Mapping[ProductKey, int]) -> CompanyPlan:
    lines = _held(company.lines) or [line for line in company.lines if line.changes]
    place = f"{company.company.psa}|{company.company.agreement}"
    plan_id = _digest([place, *(_text(line, accepts) for line in lines)])[:_COMPANY_DIGITS]
    named = tuple(_with_command(line, plan_id) for line in company.lines)
    return replace(company, lines=named, plan_id=plan_id)


def _with_command(line: PlannedLine, plan_id: str) -> PlannedLine:
    """Puts the very command that releases a hold into its remedy."""
    if line.hold is None:
        return line
    remedy = line.hold.remedy.replace("{accept}", f"kisi sync --accept {plan_id}")
    return replace(line, hold=replace(line.hold, remedy=remedy))


def _held(lines: Sequence[PlannedLine]) -> list[PlannedLine]:
    return [line for line in lines if line.hold is not None]


def _text(line: PlannedLine, accepts: Mapping[ProductKey, int]) -> str:
    before = "-" if line.before is None else format(line.before.normalize(), "f")
    guard = line.hold.guard if line.hold else ""
    times = accepts.get(product_key(line), 0)
    parts = (*product_key(line), line.line_id or "-", guard, before, str(line.after), str(times))
    return "|".join(part.replace("|", "||") for part in parts)


def _digest(parts: Iterable[str]) -> str:
    text = "\n".join([_VERSION, *sorted(parts)])
    return hashlib.sha256(text.encode()).hexdigest()
