"""How a caller follows a run and ends it; what the run returns, and what can be read off it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from kisi.errors import ExitCode, Interrupted, KisiError
from kisi.journal import LineHistory, Operation
from kisi.model import Company, CompanyPlan, LeftLine, Outcome, Plan, PlannedLine, Status
from kisi.reconcile.collect import Progress
from kisi.reconcile.summary import UNWRITTEN
from kisi.redaction import REDACTOR, safe_text

_ZERO = Decimal(0)
_Key = TypeVar("_Key", bound=Hashable)
_WRITES = (Outcome.APPLIED, *UNWRITTEN)


@dataclass(frozen=True, slots=True)
class Message:
    """What a run says while it goes on. `str(message)` is its text: `print` can be a callback."""

    text: str
    """Whole sentences, without a secret, safe to print."""
    is_warning: bool = False
    """It matters also to somebody who wants to hear nothing of a good run."""
    error: KisiError | None = None
    """Of a part that failed while the run went on."""

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(cls, error: KisiError) -> Message:
        """The message of an error that does not end the run."""
        lines = REDACTOR.redact(f"{error.message} {error.remedy}").splitlines()
        text = "\n".join(map(safe_text, lines)).rstrip()
        return cls(text, is_warning=True, error=error)


OnMessage = Callable[[Message], None]


@dataclass(slots=True)
class Stop:
    """Ends a run from outside, as a signal does: what is being written is finished first."""

    requested: threading.Event = field(default_factory=threading.Event)
    """Nothing new is begun."""
    reading: threading.Event = field(default_factory=threading.Event)
    """Set along with it as long as nothing is written: what is under way is dropped too."""
    writing: bool = False

    def request(self) -> None:
        """The run is to end. May be called from any thread."""
        self.requested.set()
        if not self.writing:
            self.reading.set()

    def check(self) -> None:
        """Raises `Interrupted` once the run is to end; for where nothing was written yet."""
        if self.requested.is_set():
            raise Interrupted("Stopped by a signal before anything was written.")

    def checked(self, progress: Progress | None) -> Progress:
        """A callback that tells `progress`, and raises `Interrupted` once the run is to end."""

        def report(what: str, done: int, total: int) -> None:
            self.check()
            if progress is not None:
                progress(what, done, total)

        return report


class Mode(StrEnum):
    """Which command made the plan."""

    PREVIEW = "preview"
    SYNC = "sync"


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run that has ended. Names are as remote systems have them, not yet safe for a screen."""

    plan: Plan
    mode: Mode
    exit_code: ExitCode
    """As the command would end: 0 if nothing is on hold and nothing failed."""
    last_line: str
    generated_at: datetime
    version: str
    zone: tzinfo = UTC
    run: int | None = None
    """The journal's id of the run; None for a preview."""
    accepted: tuple[str, ...] = ()
    left: tuple[LeftLine, ...] = ()
    """Orphaned lines: kisi owns them, no billed client has them, and they stay as they are."""
    earlier: tuple[Operation, ...] = ()
    """Writes of earlier runs whose outcome was not known, with what the PSA shows now."""
    history: tuple[LineHistory, ...] = ()
    """Lines as the journal knows them, where that was asked for."""

    @property
    def outcomes(self) -> tuple[tuple[Company, PlannedLine], ...]:
        """Each line that was to be written, with its client; `outcome` says what became of it."""
        lines = ((client.company, x) for client in self.plan.companies for x in client.lines)
        return tuple((company, line) for company, line in lines if line.outcome in _WRITES)

    @property
    def is_quiet(self) -> bool:
        """Whether the last line says all there is to say."""
        plan = self.plan
        told = (plan.failures, plan.unmapped_tenants, plan.unmapped_uses, plan.notes, plan.outlook)
        return not any((*told, self.earlier)) and all(map(is_quiet_client, plan.companies))


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


def amount(line: PlannedLine, mode: Mode) -> Decimal | None:
    """What the PSA will invoice a billing cycle for what it holds when the run ends.

    In a preview, for what it would hold then. None where it is not known.
    """
    if line.outcome is Outcome.UNKNOWN:
        return None
    ready = mode is Mode.PREVIEW and line.hold is None
    held = line.after if ready or line.outcome is Outcome.APPLIED else line.before
    return line.terms.amount(held or _ZERO)


def money_delta(line: PlannedLine) -> Decimal | None:
    """How much more (or, negative, less) the line would cost a billing cycle; None: not known."""
    before, after = line.terms.amount(line.before or _ZERO), line.terms.amount(line.after)
    return None if before is None or after is None else after - before


@dataclass(frozen=True, slots=True)
class Amount:
    """Units and money a billing cycle, before and after."""

    lines: int
    before: Decimal
    after: Decimal
    money_before: Decimal | None
    """None, as the next, where the lines have several billing cycles or currencies."""
    money_after: Decimal | None
    unpriced: int
    """Lines whose price is not known; their money is not in the sums."""


def _amount(every: Sequence[PlannedLine]) -> Amount:
    before = [(line.terms.amount(line.before or _ZERO) or _ZERO) for line in every]
    after = [(line.terms.amount(line.after) or _ZERO) for line in every]
    alike = len({invoiced_alike(line)[1:] for line in every}) <= 1
    return Amount(
        lines=len(every),
        before=sum((line.before or _ZERO for line in every), _ZERO),
        after=sum((Decimal(line.after) for line in every), _ZERO),
        money_before=sum(before, _ZERO) if alike else None,
        money_after=sum(after, _ZERO) if alike else None,
        unpriced=sum(money_delta(line) is None for line in every),
    )


def invoiced_alike(line: PlannedLine) -> tuple[str, str, str]:
    """PSA, currency and billing cycle of a line: the amounts of two lines add up if it is equal."""
    return line.psa, line.currency, line.cycle


def totals(plan: Plan, key: Callable[[PlannedLine], _Key]) -> Mapping[_Key, Mapping[str, Amount]]:
    """What is billed, by `key`: lines `billed`, `held`, and `unwritten` (failed or unknown)."""
    parts: dict[_Key, dict[str, list[PlannedLine]]] = {}
    for line in plan.lines:
        of_key = parts.setdefault(key(line), {"billed": [], "held": [], "unwritten": []})
        unwritten = "unwritten" if line.outcome in UNWRITTEN else "billed"
        of_key["held" if line.hold else unwritten].append(line)
    return {one: {x: _amount(parts[one][x]) for x in parts[one]} for one in sorted(parts)}  # type: ignore[type-var]
