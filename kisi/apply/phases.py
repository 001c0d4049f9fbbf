"""Two phases over the whole run: every fall of every PSA, then each rise whose falls are shown.

The plan says which falling lines a rising one waits for (`Arrangement.waits`). So wherever a run
breaks off, a device that changed its place is billed too little until the next run, never twice.
Else no agreement waits for another, except where a PSA refuses our credentials or something that
was not ours has changed; the lines of one agreement are written one after the other.

After its writes an agreement is read once, and that list decides. Only then is an outcome
committed. A process that dies between answer and list leaves an intent without an outcome, which
the next run settles by reading. An outcome committed earlier would have to be taken back where the
list contradicts it, and a crash in between would leave it standing.

Whatever goes wrong in one write, also what kisi did not foresee, leaves that line's outcome unknown
and every other line its turn.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import date

from kisi.apply.write import OtherLines, WriteOutcome, Writer, obstacle
from kisi.errors import ForeignChange, KisiError, StateError
from kisi.journal import Journal, Operation, emergency_line
from kisi.model import (
    Agreement,
    AgreementRef,
    Company,
    Hold,
    Line,
    LineSlot,
    Outcome,
    Plan,
    PlannedLine,
    Status,
)
from kisi.psa import Psa, whole_lines
from kisi.redaction import REDACTOR, describe_bug
from kisi.transport import Clock

LOG = logging.getLogger(__name__)

LONGEST_AGE = 300.0
"""Seconds; lines that were read longer ago are read again before they are written."""
_REPORT = "The next run reads what the PSA holds. Please report it with the file kisi.log."
_TOO_LATE = "this run's time was up before its turn came"
_AMBIGUOUS = "Cancel all but one of them in the PSA; until then this client fails as ambiguous."


@dataclass(frozen=True, slots=True)
class ApplyContext:
    """What writing needs; `read_at`, `ends`, `begin_by`: instants of the clock's `monotonic`."""

    psas: Mapping[str, Psa]
    agreements: Mapping[AgreementRef, Agreement]
    """As they were read in this run."""
    read_at: float
    """No line was read before it."""
    journal: Journal
    run: int
    today: date
    """In the billing time zone."""
    clock: Clock
    stop: threading.Event
    """Set by a signal: nothing new is begun."""
    emergency: Callable[[str], None]
    """Prints a line that could not be stored."""
    pause: Callable[[float], None] | None = None
    """Waits so many seconds, or until `stop` is set; by default as the clock does."""
    ends: float = math.inf
    """From then on nothing new is begun."""
    begin_by: float = math.inf
    """From then on no agreement is begun of which nothing was written yet."""
    turns: Sequence[AgreementRef] = ()
    """The agreements whose turn comes first, in their order."""
    progress: Callable[[str, int, int], None] = lambda *_: None
    """Told how many changes of a PSA are dealt with, and how many there are."""

    def waited(self, seconds: float) -> bool:
        """Waits where a PSA asks for it; False if the run ends, so that nothing is sent again."""
        if self.stop.is_set() or self.clock.monotonic() + seconds >= self.ends:
            return False
        if seconds:
            (self.pause or self.clock.sleep)(seconds)
        return not self.stop.is_set()


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """A plan with outcomes, and what stopped it early."""

    plan: Plan
    interrupted: bool = False
    foreign_changes: tuple[ForeignChange, ...] = ()
    state_error: StateError | None = None


def apply(plan: Plan, context: ApplyContext) -> ApplyResult:
    """Writes every change of `plan` that is not held, and tells what became of each line."""
    return _Run(plan, context).result()


@dataclass(slots=True)
class _Change:
    """A line of the plan that may be written."""

    client: Company
    line: PlannedLine
    """With its outcome, once that is known."""
    waits_for: str = ""
    """Which line should have been brought down first and was not, in words."""


class _Run:
    """One `apply`: what its threads share."""

    def __init__(self, plan: Plan, context: ApplyContext) -> None:
        self.plan = plan
        self.context = context
        self.clients = [
            (company, [_Change(company.company, line) for line in company.lines])
            for company in plan.companies
        ]
        self.changes = [change for _, changes in self.clients for change in changes]
        for change in self.changes:  # of what needs no request
            if change.line.hold is not None:
                change.line = replace(change.line, outcome=Outcome.HELD)
            elif not change.line.changes:
                change.line = replace(change.line, outcome=Outcome.UNCHANGED)
        self.closed: dict[str, str] = {}
        """Why nothing more is sent to a PSA, by its name."""
        self.begun: set[AgreementRef] = set()
        """Agreements that are to be written to their end, falls and rises."""
        self.todo: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        """Changes by PSA, for `progress`."""
        self.lock = threading.Lock()
        self.foreign: list[ForeignChange] = []
        self.broken: list[StateError] = []

    def result(self) -> ApplyResult:
        todo = [change for change in self.changes if change.line.outcome is None]
        self.todo.update(change.line.psa for change in todo)
        self._phase([change for change in todo if change.line.delta < 0])
        rises = [change for change in todo if change.line.delta >= 0]
        self._let_wait(rises)
        self._phase(rises)
        companies = []
        for company, changes in self.clients:
            lines = tuple(change.line for change in changes)
            doubled = company.status is Status.READY and any(line.hold for line in lines)
            status = Status.HELD if doubled else company.status
            companies.append(replace(company, lines=lines, status=status))
        plan = replace(self.plan, companies=tuple(companies))
        interrupted = self.context.stop.is_set() and not self.broken
        return ApplyResult(plan, interrupted, tuple(self.foreign), next(iter(self.broken), None))

    def _let_wait(self, rises: Iterable[_Change]) -> None:
        """Between the phases: finds the rises that wait for a line that its PSA shows not down."""
        standing: dict[LineSlot, str] = {}
        for change in self.changes:
            line = change.line
            down = not line.changes or line.outcome is Outcome.APPLIED  # no rise is written yet
            words = f"{line.application} of {change.client.name} on agreement {line.agreement}"
            standing[line.slot] = standing.get(line.slot) or ("" if down else words)
        for rise in rises:
            for slot in sorted(self.plan.arrangement.waits.get(rise.line.slot, ())):
                unknown = f"product {slot.product} on agreement {slot.agreement}, not in this run,"
                if words := standing.get(slot, unknown):
                    rise.waits_for = f"{words} could not be brought down first"
                    break

    def _phase(self, changes: Iterable[_Change]) -> None:
        """Writes these changes, every PSA's at once, with as many workers as each can take."""
        jobs: dict[AgreementRef, list[_Change]] = defaultdict(list)
        for change in changes:
            jobs[change.line.ref].append(change)
        with ExitStack() as stack:
            pools = {}
            for name, psa in self.context.psas.items():
                workers = 1 if psa.if_others_change else max(1, psa.workers)
                pools[name] = stack.enter_context(ThreadPoolExecutor(workers))
            turns = {ref: turn for turn, ref in enumerate(self.context.turns)}
            in_turn = sorted(jobs, key=lambda ref: turns.get(ref, len(turns)))
            begun = [pools[ref.psa].submit(self._in_turn, ref, jobs[ref]) for ref in in_turn]
            for job in begun:
                job.result()

    def _in_turn(self, ref: AgreementRef, changes: Sequence[_Change]) -> None:
        """Writes one agreement's lines, unless its turn comes too late for a new one."""
        if ref in self.begun or self.context.clock.monotonic() < self.context.begin_by:
            self.begun.add(ref)
            self._agreement(ref, changes)
        else:
            for change in changes:
                detail = f"not sent: {_TOO_LATE}"
                change.line = replace(change.line, outcome=Outcome.FAILED, detail=detail)
        with self.lock, suppress(Exception):  # whatever a caller's function raises, others go on
            self.done[ref.psa] += len(changes)
            self.context.progress(f"{ref.psa}: writing", self.done[ref.psa], self.todo[ref.psa])

    def _agreement(self, ref: AgreementRef, changes: Sequence[_Change]) -> None:
        """Writes one agreement's lines, then looks whether the PSA shows them."""
        context = self.context
        psa = context.psas[ref.psa]
        others = OtherLines(psa, context.journal, context.clock.now)
        looks = others if psa.if_others_change else None
        writer = Writer(psa, context.today, context.waited, context.clock.sleep, looks)
        recheck = _Recheck(ref, changes, context)
        answered: list[tuple[_Change, Operation, WriteOutcome]] = []
        for change in changes:
            operation = self._intend(change, recheck)
            if operation:
                outcome = self._write(change.line, operation, writer)
                if outcome.outcome is Outcome.APPLIED and not outcome.shown:
                    answered.append((change, operation, outcome))
                else:
                    self._finish(change, operation, outcome)
        if not answered:
            return
        try:
            outcomes = writer.confirm([(change.line, answer) for change, _, answer in answered])
        except Exception as error:  # noqa: BLE001 - whatever it is, other agreements are written
            unknown = WriteOutcome(Outcome.UNKNOWN, detail=self._explain(psa.name, error))
            outcomes = [replace(unknown, request_id=answer.request_id) for *_, answer in answered]
        for (change, operation, _), outcome in zip(answered, outcomes, strict=True):
            self._finish(change, operation, outcome)

    def _intend(self, change: _Change, recheck: _Recheck) -> Operation | None:
        """Commits that a line is about to be written; None if it is not, and the line says why."""
        line, context = change.line, self.context
        # Before the intent: during the wait that a rate limit asks for, a signal may end the run.
        in_time = context.waited(context.psas[line.psa].busy_for())
        if context.stop.is_set():
            change.line = replace(line, detail="not tried: the run was stopped")
            return None
        why = self.closed.get(line.psa) or change.waits_for
        if not in_time:
            why = _TOO_LATE
        try:
            why = why or recheck.obstacle(line)
        except Exception as error:  # noqa: BLE001 - whatever it is, other lines are written
            why = f"the agreement could not be read again: {self._explain(line.psa, error)}"
        if why:
            detail = REDACTOR.redact(f"not sent: {why}")  # remote text is in it
            change.line = replace(line, outcome=Outcome.FAILED, detail=detail)
            return None
        try:
            return context.journal.intent(context.run, context.clock.now(), line, change.client)
        except StateError as error:
            change.line = replace(line, detail="not tried: the journal failed")
            self._stop_run(error)
            return None

    def _write(self, line: PlannedLine, operation: Operation, writer: Writer) -> WriteOutcome:
        """Writes a line whose intent is stored; closes its PSA if nothing more may be sent."""
        try:
            outcome = writer.write(line, self.context.agreements[line.ref], operation)
        except Exception as error:  # noqa: BLE001 - whatever it is, other lines are written
            return WriteOutcome(Outcome.UNKNOWN, detail=self._explain(line.psa, error))
        if outcome.denied:
            self.closed[line.psa] = "the PSA refused our credentials"
        return outcome

    def _explain(self, psa: str, error: Exception) -> str:
        """What went wrong, in words. Stops what must not go on after it: this PSA, or the run."""
        if not isinstance(error, KisiError):
            # The words are shown to people; the traceback is for the log, and for `-v`.
            LOG.info("Unexpected error", exc_info=error)
            return f"a bug in kisi stopped the work here ({describe_bug(error)}). {_REPORT}"
        if isinstance(error, ForeignChange):
            self.foreign.append(error)
            self.closed[psa] = "another line of an agreement changed during a write"
        if isinstance(error, StateError):
            self._stop_run(error)
        return error.message

    def _stop_run(self, error: StateError) -> None:
        self.broken.append(error)
        self.context.stop.set()

    def _finish(self, change: _Change, operation: Operation, outcome: WriteOutcome) -> None:
        """Logs and commits an outcome, and takes it into the plan.

        One that cannot be stored is printed, and ends the run.
        """
        context, detail = self.context, REDACTOR.redact(outcome.detail)  # remote text is in it
        outcome, line = replace(outcome, detail=detail), change.line
        LOG.info(
            "%s, agreement %s, product %s: %s -> %s %s%s%s",
            *(change.client.name, line.agreement, line.product),
            *("new" if line.before is None else line.before, line.after, outcome.outcome),
            f" (request {outcome.request_id})" if outcome.request_id else "",
            f": {detail}" if detail else "",
        )
        try:
            context.journal.settle(operation, context.run, context.clock.now(), outcome)
        except StateError as error:
            context.emergency(emergency_line(operation, outcome))
            self._stop_run(error)
        hold = Hold("ambiguous", detail, _AMBIGUOUS, releasable=False) if outcome.doubles else None
        line_id = outcome.line_id or line.line_id
        told = replace(line, outcome=outcome.outcome, line_id=line_id, detail=detail)
        change.line = replace(told, hold=hold)


class _Recheck:
    """What an agreement shows just before its lines are written, where the plan may be too old.

    Once before the first create the products that are to be created are read: a line that somebody
    else has made meanwhile, or that an incomplete list did not show, must not become a second one.
    Before an update everything is read again if that was long ago. A PSA whose other lines are
    looked at is read before each request anyway (`OtherLines.before`).
    """

    def __init__(
        self, ref: AgreementRef, changes: Sequence[_Change], context: ApplyContext
    ) -> None:
        self._ref, self._context, self._read_at = ref, context, context.read_at
        self._known = {change.line.line_id for change in changes if change.line.line_id}
        self._new = {change.line.product for change in changes if change.line.line_id is None}
        self._of_new: tuple[Line, ...] | None = None
        self._all: tuple[Line, ...] | None = None

    def obstacle(self, line: PlannedLine) -> str:
        """Why a line must not be written any more; empty if it may. It may raise `PsaError`."""
        psa, today = self._context.psas[self._ref.psa], self._context.today
        if psa.if_others_change:
            return ""
        if line.line_id is None:
            if self._of_new is None:
                self._of_new = psa.lines(self._ref, self._new)
            return obstacle(line, self._of_new, today)
        now = self._context.clock.monotonic()
        if now - self._read_at > LONGEST_AGE:
            self._all, self._read_at = whole_lines(psa, self._ref, self._known), now
        return "" if self._all is None else obstacle(line, self._all, today)
