"""What `preview` and `sync` know at their end, and what can be read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum

from kisi.model import CompanyPlan, LineFact, Outcome, Plan, PlannedLine, Status
from kisi.reconcile.verdict import UNWRITTEN


class Mode(StrEnum):
    """Which command made the plan."""

    PREVIEW = "preview"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class EarlierWrite:
    """A write of an earlier run whose outcome was not known when that run ended."""

    client: str
    line: PlannedLine
    run: int
    at: datetime
    """When it was sent (aware)."""
    outcome: Outcome | None
    """What the PSA shows now; None if it was not read."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PlanView:
    """A plan with everything that its readers want to know about the run."""

    plan: Plan
    mode: Mode
    exit_code: int
    last_line: str
    generated_at: datetime
    """Aware."""
    version: str
    """kisi's own."""
    zone: tzinfo = UTC
    """The billing time zone, in which people read instants."""
    run: int | None = None
    """The journal's id of the run; None for a preview."""
    accepted: tuple[str, ...] = ()
    """The ids that released holds in this run."""
    left: tuple[LineFact, ...] = ()
    """Lines that kisi owns and that belong to no billed client; they stay as they are."""
    earlier: tuple[EarlierWrite, ...] = ()


@dataclass(frozen=True, slots=True)
class Amount:
    """Units and money a month, before and after."""

    lines: int = 0
    before: Decimal = Decimal(0)
    after: Decimal = Decimal(0)
    money_before: Decimal = Decimal(0)
    money_after: Decimal = Decimal(0)
    unpriced: int = 0
    """Lines whose price is not known; their money is not in the sums."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What one PSA bills for all clients together."""

    psa: str
    billed: Amount
    """Lines that are as they should be, are to be written, or were written."""
    held: Amount
    unwritten: Amount
    """Writes that failed or have an unknown outcome."""


def accept_command(company: CompanyPlan) -> str:
    """The command that releases what is held of a client."""
    return f"kisi sync --accept {company.plan_id}"


def released_by_id(company: CompanyPlan) -> int:
    """How many lines of a client its id releases; none where the PSA is set to report only."""
    command = accept_command(company)
    return sum(line.hold is not None and command in line.hold.remedy for line in company.lines)


def money_before(line: PlannedLine) -> Decimal | None:
    """What the line bills a month now; None if its price is not known."""
    return _money(line, line.before or Decimal(0))


def money_after(line: PlannedLine) -> Decimal | None:
    """What the line would bill a month; None if its price is not known."""
    return _money(line, Decimal(line.after))


def _money(line: PlannedLine, units: Decimal) -> Decimal | None:
    if not line.billable:
        return Decimal(0)
    return None if line.unit_price is None else line.unit_price * units


def totals(plan: Plan) -> tuple[Totals, ...]:
    """Adds up the lines of each PSA, by name."""
    lines = [line for company in plan.companies for line in company.lines]
    return tuple(
        _totals(psa, [x for x in lines if x.psa == psa]) for psa in sorted({x.psa for x in lines})
    )


def _totals(psa: str, lines: Sequence[PlannedLine]) -> Totals:
    held = [line for line in lines if line.hold]
    free = [line for line in lines if not line.hold]
    unwritten = [line for line in free if line.outcome in UNWRITTEN]
    billed = [line for line in free if line.outcome not in UNWRITTEN]
    return Totals(psa, _amount(billed), _amount(held), _amount(unwritten))


def _amount(lines: list[PlannedLine]) -> Amount:
    zero = Decimal(0)
    return Amount(
        lines=len(lines),
        before=sum((line.before or zero for line in lines), zero),
        after=sum((Decimal(line.after) for line in lines), zero),
        money_before=sum((money_before(line) or zero for line in lines), zero),
        money_after=sum((money_after(line) or zero for line in lines), zero),
        unpriced=sum(money_after(line) is None for line in lines),
    )


def is_quiet_client(company: CompanyPlan) -> bool:
    """Whether nothing changed, is held, failed or is unmapped for this client."""
    if company.status in {Status.FAILED, Status.HELD} or company.unmapped:
        return False
    return not any(line.changes or line.hold for line in company.lines)


def is_quiet(view: PlanView) -> bool:
    """Whether the last line says all there is to say."""
    plan = view.plan
    loud = (
        plan.failures or plan.unmapped_tenants or plan.unmapped_uses or plan.notes or view.earlier
    )
    return not loud and all(is_quiet_client(company) for company in plan.companies)
