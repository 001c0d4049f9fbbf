"""Brings the PSAs to the plan: intent, send, classify, read back, outcome; journaled at each step.

Within a client decreases come first, and an increase or create of the same application waits for
them; what may bill an orphaned line's devices instead waits for that line. So a run that breaks off
in the middle leaves a client billed too little until the next run, never too much. Clients do not
wait for each other, except where a PSA refuses our credentials or something that was not ours has
changed.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date

from kisi.apply.write import SHOWN_AFTER, RetryTimers, WriteOutcome, write
from kisi.errors import ForeignChange, StateError
from kisi.journal import Journal, Operation, emergency_line
from kisi.model import (
    Agreement,
    AgreementRef,
    Company,
    CompanyPlan,
    LineSlot,
    Outcome,
    Plan,
    PlannedLine,
)
from kisi.psa import Psa
from kisi.redaction import REDACTOR
from kisi.transport import Clock

__all__ = ["SHOWN_AFTER", "ApplyResult", "ApplyContext", "apply"]


LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ApplyContext:
    """What writing needs.

    Args:
        psas: The configured PSAs, by name.
        agreements: The agreements as they were read in this run.
        journal: Where intents and outcomes are committed.
        run: The journal's id of this run.
        today: The day in the billing time zone.
        clock: Tells the time and waits.
        stop: Set by a signal: nothing new is begun.
        emergency: Prints a line that could not be stored.
        progress: Told how many clients are done, and of how many.
        pause: Waits so many seconds, or until `stop` is set; by default as the clock does.
        ends: The instant of the clock's `monotonic` from which on nothing new is begun.
    """

    psas: Mapping[str, Psa]
    agreements: Mapping[AgreementRef, Agreement]
    journal: Journal
    run: int
    today: date
    clock: Clock
    stop: threading.Event
    emergency: Callable[[str], None]
    progress: Callable[[int, int], None]
    pause: Callable[[float], None] | None = None
    ends: float = math.inf

    def waited(self, seconds: float) -> bool:
        """Waits where a PSA asks for it; False if the run ends, so that nothing is sent again."""
        if self.stop.is_set() or self.clock.monotonic() + seconds >= self.ends:
            return False
        if seconds:
            (self.pause or self.clock.sleep)(seconds)
        return not self.stop.is_set()


class _PsaGate:
    """The way to one PSA: how many writes it takes at once, and why it is closed, if it is."""

    def __init__(self, psa: Psa) -> None:
        self.closed = ""
        self.places = threading.BoundedSemaphore(max(1, psa.workers))


@dataclass(frozen=True, slots=True)
class _State:
    """What the threads of one run share."""

    gates: Mapping[str, _PsaGate]
    foreign: list[ForeignChange] = field(default_factory=list)
    broken: list[StateError] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """A plan with outcomes, and what stopped it early."""

    plan: Plan
    interrupted: bool = False
    foreign_changes: tuple[ForeignChange, ...] = ()
    state_error: StateError | None = None


def apply(plan: Plan, context: ApplyContext) -> ApplyResult:
    """Writes every change of `plan` that is not held, and tells what became of each line."""
    state = _State({name: _PsaGate(psa) for name, psa in context.psas.items()})
    companies = list(plan.companies)
    shown: set[LineSlot] = set()
    for rises in (False, True):
        work = [i for i, company in enumerate(companies) if _to_write(company.lines, rises)]
        for name, psa in context.psas.items():
            mine = [index for index in work if companies[index].company.psa == name]

            def one(index: int, rises: bool = rises) -> None:
                companies[index] = _company(companies[index], context, state, rises, plan, shown)

            with ThreadPoolExecutor(max_workers=max(1, psa.workers)) as pool:
                list(pool.map(one, mine))
    companies = [replace(company, lines=tuple(_settled(company.lines))) for company in companies]
    return ApplyResult(
        plan=replace(plan, companies=tuple(companies)),
        interrupted=context.stop.is_set() and not state.broken,
        foreign_changes=tuple(state.foreign),
        state_error=state.broken[0] if state.broken else None,
    )


def _to_write(lines: Iterable[PlannedLine], rises: bool) -> bool:
    return any(line.changes and line.hold is None and (line.delta > 0) is rises for line in lines)


def _settled(lines: Iterable[PlannedLine]) -> Iterable[PlannedLine]:
    """Outcomes of the lines that need no request."""
    for line in lines:
        if line.hold is not None:
            yield replace(line, outcome=Outcome.HELD)
        elif not line.changes and line.outcome is None:
            yield replace(line, outcome=Outcome.UNCHANGED)
        else:
            yield line


def _company(
    company: CompanyPlan,
    context: ApplyContext,
    state: _State,
    rises: bool,
    plan: Plan,
    shown: set[LineSlot],
) -> CompanyPlan:
    lines = list(company.lines)
    for index, line in enumerate(lines):
        if not _to_write([line], rises):
            continue
        waits = plan.waits.get(line.slot, frozenset()) - shown if rises else frozenset()
        why = f"line of {next(iter(waits))} could not be brought down first" if waits else ""
        with state.gates[line.psa].places:
            lines[index] = _line(line, company.company, why, context, state)
        if lines[index].outcome is Outcome.APPLIED:
            shown.add(line.slot)
    return replace(company, lines=tuple(lines))


def _line(
    line: PlannedLine,
    client: Company,
    waits_for: str,
    context: ApplyContext,
    state: _State,
) -> PlannedLine:
    if context.stop.is_set():
        return replace(line, detail="not tried: the run was stopped")
    if context.clock.monotonic() >= context.ends:
        detail = "not sent: this run's time was up before its turn came"
        return replace(line, outcome=Outcome.FAILED, detail=detail)
    why = state.gates[line.psa].closed or waits_for
    if why:
        return replace(line, outcome=Outcome.FAILED, detail=f"not sent: {why}")
    try:
        operation = context.journal.intent(context.run, context.clock.now(), line, client)
    except StateError as error:
        state.broken.append(error)
        context.stop.set()
        return replace(line, detail="not tried: the journal failed")
    written = _send(line, context, state)
    written = replace(written, detail=REDACTOR.redact(written.detail))  # remote text is in it
    _log(line, client, written)
    _store(operation, written, context, state)
    return replace(
        line,
        outcome=written.outcome,
        line_id=written.line_id or line.line_id,
        detail=written.detail,
    )


def _send(line: PlannedLine, context: ApplyContext, state: _State) -> WriteOutcome:
    """Writes a line whose intent is stored; closes the gate if nothing more may be sent."""
    agreement = context.agreements[AgreementRef(line.psa, line.company, line.agreement)]
    gate = state.gates[line.psa]
    try:
        waits = RetryTimers(context.waited, context.clock.sleep)
        written = write(context.psas[line.psa], line, agreement, context.today, waits)
    except ForeignChange as error:
        state.foreign.append(error)
        gate.closed = "another line of an agreement changed during a write"
        return WriteOutcome(Outcome.UNKNOWN, detail=error.message)
    if written.denied:
        gate.closed = "the PSA refused our credentials"
    return written


def _log(line: PlannedLine, client: Company, written: WriteOutcome) -> None:
    LOG.info(
        "%s, agreement %s, product %s: %s -> %s %s%s%s",
        client.name,
        line.agreement,
        line.product,
        "new" if line.before is None else line.before,
        line.after,
        written.outcome,
        f" (request {written.request_id})" if written.request_id else "",
        f": {written.detail}" if written.detail else "",
    )


def _store(
    operation: Operation, written: WriteOutcome, context: ApplyContext, state: _State
) -> None:
    """Commits an outcome or, where that fails, prints it and stops the run: it must not be lost."""
    try:
        context.journal.outcome(
            operation,
            context.clock.now(),
            written.outcome,
            line_id=written.line_id,
            quantity=written.quantity,
            detail=written.detail,
            request_id=written.request_id,
            acknowledged=written.acknowledged,
        )
    except StateError as error:
        context.emergency(
            emergency_line(
                operation,
                written.outcome,
                line_id=written.line_id,
                quantity=written.quantity,
                detail=written.detail,
                request_id=written.request_id,
            )
        )
        state.broken.append(error)
        context.stop.set()
