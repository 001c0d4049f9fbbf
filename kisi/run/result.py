"""What a run returns, and what can be read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Self

from kisi.errors import ExitCode
from kisi.journal import Operation
from kisi.model import Company, CompanyPlan, Outcome, OwnedLine, Plan, PlannedLine, Status
from kisi.reconcile.summary import UNWRITTEN

_ZERO = Decimal(0)
_WRITES = (Outcome.APPLIED, *UNWRITTEN)


class Mode(StrEnum):
    """Which command made the plan."""

    PREVIEW = "preview"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that has come to its end: the plan, what became of each line, and how it went.

    `result.plan.companies` has each client with its lines. A line that was sent has an `outcome`.
    Names are as remote systems have them: `kisi.redaction.safe_text` makes them fit for a screen.
    """

    plan: Plan
    mode: Mode
    exit_code: ExitCode
    """As the command would end: 0 if nothing is on hold and nothing failed."""
    last_line: str
    """The run in one sentence."""
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
    left: tuple[OwnedLine, ...] = ()
    """Orphaned lines: kisi owns them, no billed client has them, and they stay as they are."""
    earlier: tuple[Operation, ...] = ()
    """Writes of earlier runs whose outcome was not known, with what the PSA shows now."""

    @property
    def outcomes(self) -> tuple[tuple[Company, PlannedLine], ...]:
        """Each line that was to be written, with its client; `outcome` says what became of it."""
        return tuple(
            (client.company, line)
            for client in self.plan.companies
            for line in client.lines
            if line.outcome in _WRITES
        )

    @property
    def is_quiet(self) -> bool:
        """Whether the last line says all there is to say."""
        plan = self.plan
        return not (
            plan.failures
            or plan.unmapped_tenants
            or plan.unmapped_uses
            or plan.notes
            or self.earlier
            or any(not is_quiet_client(company) for company in plan.companies)
        )


def is_quiet_client(company: CompanyPlan) -> bool:
    """Whether nothing changed, is held, failed or is unmapped for this client."""
    if company.status in {Status.FAILED, Status.HELD} or company.unmapped:
        return False
    return not any(line.changes or line.hold for line in company.lines)


def accept_command(company: CompanyPlan) -> str:
    """The command that releases what is held of a client."""
    return f"kisi sync --accept {company.plan_id}"


def released_by_id(company: CompanyPlan) -> int:
    """How many lines of a client its id releases; none where the PSA is set to report only."""
    command = accept_command(company)
    return sum(line.hold is not None and command in line.hold.remedy for line in company.lines)


def money_of(line: PlannedLine, units: Decimal | int | None) -> Decimal | None:
    """What the line bills a month for so many units; None if its price is not known."""
    if not line.billable:
        return _ZERO
    return None if line.unit_price is None else line.unit_price * (units or _ZERO)


def money_delta(line: PlannedLine) -> Decimal | None:
    """How much more (or, negative, less) the line would bill a month; None: price not known."""
    return money_of(line, line.delta)


@dataclass(frozen=True, slots=True)
class Amount:
    """Units and money a month, before and after."""

    lines: int
    before: Decimal
    after: Decimal
    money_before: Decimal
    money_after: Decimal
    unpriced: int
    """Lines whose price is not known; their money is not in the sums."""

    @classmethod
    def of(cls, every: Sequence[PlannedLine]) -> Self:
        """Adds up lines."""
        return cls(
            lines=len(every),
            before=sum((line.before or _ZERO for line in every), _ZERO),
            after=sum((Decimal(line.after) for line in every), _ZERO),
            money_before=sum((money_of(line, line.before) or _ZERO for line in every), _ZERO),
            money_after=sum((money_of(line, line.after) or _ZERO for line in every), _ZERO),
            unpriced=sum(money_delta(line) is None for line in every),
        )


def totals(plan: Plan) -> dict[str, dict[str, Amount]]:
    """What each PSA bills for all clients together, by its name.

    `billed` are the lines that are as they should be, are to be written, or were written;
    `unwritten` are writes that failed or have an unknown outcome; `held` are the others.
    """
    parts: dict[str, dict[str, list[PlannedLine]]] = {}
    for line in (line for company in plan.companies for line in company.lines):
        of_psa = parts.setdefault(line.psa, {"billed": [], "held": [], "unwritten": []})
        unwritten = "unwritten" if line.outcome in UNWRITTEN else "billed"
        of_psa["held" if line.hold else unwritten].append(line)
    return {psa: {x: Amount.of(parts[psa][x]) for x in parts[psa]} for psa in sorted(parts)}
