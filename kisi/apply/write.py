"""One change, from request to outcome: send, classify, read back, decide. Never two lines.

A write counts when the PSA's list shows it. An update is sent again only if it did not arrive:
refused before it was sent, throttled, or read back as unchanged; at most twice after an unclear
answer, because its quantity is absolute. A create with an unclear answer is sent once: a line that
the list does not show now may appear later, and a second one would bill everything twice.

Where a PSA's write may touch other lines (`Psa.if_others_change`), all lines are read before each
request, stored with its intent, and compared with what every later look shows. No request is sent
while it is not known what an earlier one did, in whichever run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from kisi.errors import AccessRefused, ForeignChange, PsaError
from kisi.journal import Journal, Operation, OperationOutcome
from kisi.model import Agreement, Line, Outcome, PlannedLine, WriteResult, WriteStatus
from kisi.planning import is_live
from kisi.psa import Psa, foreign_change, whole_lines

LOG = logging.getLogger(__name__)

TRIES = 3
"""How often a request that did not arrive, or was throttled, is sent."""
SENDS = 2
"""How often an update with an unclear outcome is sent at most, each time after reading back."""
LONGEST_WAIT = 120.0
"""Seconds; a longer `Retry-After` is not waited for."""
READ_BACK_AFTER = (0.0, 1.0, 2.0, 4.0)
"""Seconds to wait before each look, because a PSA may show a write late."""
SHOWN_AFTER = sum(READ_BACK_AFTER)
"""Seconds for which a write that the PSA does not show is looked for."""
_NOT_SHOWN = (
    "The PSA does not show the new line. It is not sent again: the next run takes it over if it is "
    "shown then, and holds it otherwise."
)
_NOT_WRITTEN = "Reading it back showed that it was not written; the next run tries again."
_NOT_YET = "The PSA answered with the new quantity, but its list has not yet shown it"


@dataclass(frozen=True, slots=True)
class WriteOutcome(OperationOutcome):
    """What became of one change."""

    denied: bool = False
    shown: bool = False
    """The PSA's list shows it; otherwise at most the answer to the write did."""
    doubles: tuple[str, ...] = ()
    """All live lines of a created line's product, by id, where there are several."""


@dataclass(frozen=True, slots=True)
class OtherLines:
    """Proves that writes to one PSA leave other lines alone: its lines before against those after.

    `psa` is one with `if_others_change`; the journal keeps the lines from before a request until
    those after it were compared.
    """

    psa: Psa
    journal: Journal
    now: Callable[[], datetime]

    def before(self, operation: Operation, today: date) -> str:
        """Reads and stores what the agreement holds before a request.

        Returns why the line must not be written any more; empty if it may. `ForeignChange` if an
        earlier write changed something else, `PsaError` if that, or this, could not be read.
        """
        for earlier in self._unproven():
            try:
                self.compare(earlier.line.ref.agreement, self.psa.lines(earlier.line.ref))
            except ForeignChange:
                raise
            except PsaError as error:
                where = f"an earlier write to agreement {earlier.line.agreement} did"
                raise type(error)(
                    f"{error.message} So what {where} is not known. If it cannot be read any more: "
                    "`kisi check` shows its lines from before, `kisi check --repair` goes on.",
                    remedy=error.remedy,
                ) from error
        line = operation.line
        listed = self.psa.lines(line.ref, asked_for([line]))
        why = obstacle(line, listed, today)
        if not why:
            self.journal.keep_lines(operation, listed)
        return why

    def compare(self, agreement: str, after: Sequence[Line]) -> None:
        """Checks all writes to an agreement that are not proven; `ForeignChange` is raised."""
        for operation in self._unproven(agreement):
            before, now = operation.lines_before or (), self.now()
            error = foreign_change(self.psa, operation.line, operation.at, before, after)
            if error is not None:
                where = (self.psa.name, agreement)
                self.journal.record_foreign_change(*where, now, error.message, before)
                raise error
            self.forget(operation)

    def forget(self, operation: Operation) -> None:
        """There is nothing to compare: it is proven, or its request never left."""
        self.journal.keep_lines(operation, None)

    def _unproven(self, agreement: str | None = None) -> list[Operation]:
        return [
            one
            for one in self.journal.unproven()
            if one.line.psa == self.psa.name and agreement in (None, one.line.agreement)
        ]


def asked_for(lines: Collection[PlannedLine]) -> Collection[str] | None:
    """The products of new lines, so that the list proves which there are; None: it need not."""
    return {line.product for line in lines if line.line_id is None} or None


def obstacle(line: PlannedLine, listed: Iterable[Line], today: date) -> str:
    """Why a line must not be written any more, by what its agreement holds now; else empty."""
    live = [one for one in listed if one.product == line.product and is_live(one, today)]
    if line.line_id is None:
        if not live:
            return ""
        return (
            f"a line of this product appeared meanwhile ({', '.join(one.id for one in live)}); the "
            "next run plans with it. If it does not, the PSA's list of the agreement lacks that "
            "line: cancel it there, and kisi makes its own"
        )
    shown = [one for one in live if one.id == line.line_id]
    if any(one.quantity == line.before and not one.problem for one in shown):
        return ""
    found = "the line is gone or cancelled"
    if shown:
        found = shown[0].problem or f"the PSA shows {shown[0].quantity:f}"
    return f"changed since it was read: {found}; the next run decides anew"


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes lines to one PSA."""

    psa: Psa
    today: date
    """In the billing time zone."""
    before_sending: Callable[[float], bool]
    """Waits before a request is sent again; says whether it still may be."""
    before_looking: Callable[[float], None]
    """Waits before the PSA is read again: to its end, because looking too early would take a write
    for lost that only shows late."""
    others: OtherLines | None = None
    """Looks at the other lines, where the PSA asks for it."""

    def write(
        self, line: PlannedLine, agreement: Agreement, operation: Operation | None = None
    ) -> WriteOutcome:
        """Brings one line to its quantity, which is absolute, never a difference.

        Where only the answer shows it, `confirm` is still to be asked. `operation`, its intent, is
        needed where other lines are looked at. `ForeignChange` if something else changed.
        """
        sends = 0
        while True:
            result = self._send(line, agreement, operation)
            sends += 1
            if result.status is WriteStatus.APPLIED:
                made = result.line_id or line.line_id
                return replace(_outcome(Outcome.APPLIED, result), line_id=made)
            stale = result.status is WriteStatus.STALE
            unclear = result.status is WriteStatus.UNKNOWN
            told = self.others is None or result.status is WriteStatus.NOT_SENT
            if told and not stale and not unclear:
                return _outcome(Outcome.FAILED, result)
            outcome = self._read_back(line, result)
            if outcome is not None:
                # Where every request is known to have been refused, nothing is unknown.
                known = stale and sends == 1 and outcome.outcome is Outcome.UNKNOWN
                return replace(outcome, outcome=Outcome.FAILED) if known else outcome
            if line.line_id is None and unclear:
                return _outcome(Outcome.UNKNOWN, result, _NOT_SHOWN)
            if not unclear or sends >= SENDS or not self.before_sending(0):
                return _outcome(Outcome.FAILED, result, _NOT_WRITTEN)
            LOG.warning(
                "%sagreement %s, product %s: not written, sending again",
                f"{operation.name}, " if operation else "",
                line.agreement,
                line.product,
            )

    def confirm(self, writes: Sequence[tuple[PlannedLine, WriteOutcome]]) -> list[WriteOutcome]:
        """The outcomes of writes to one agreement whose answers showed the new quantity.

        One read if the list shows all of them; else it is read again, as `READ_BACK_AFTER` says.
        Example: the answer to a PATCH shows 92, and the list 90 to the end: unknown, "not yet
        shown". `ForeignChange` if something else changed.
        """
        lines = [(line, answer.line_id) for line, answer in writes]
        found, error = self._watch(lines, READ_BACK_AFTER)
        return [_confirmed(was, seen, error) for (_, was), seen in zip(writes, found, strict=True)]

    def _send(
        self, line: PlannedLine, agreement: Agreement, operation: Operation | None
    ) -> WriteResult:
        for attempt in range(1, TRIES):
            result = self._send_once(line, agreement, operation, again=attempt > 1)
            again = result.status in {WriteStatus.NOT_SENT, WriteStatus.THROTTLED}
            wait = result.wait or float(attempt)
            again = again and not result.denied and wait <= LONGEST_WAIT
            if not again or not self.before_sending(wait):
                return result
        return self._send_once(line, agreement, operation, again=True)

    def _send_once(
        self, line: PlannedLine, agreement: Agreement, operation: Operation | None, *, again: bool
    ) -> WriteResult:
        """One request, after a look at the other lines where the PSA asks for one.

        A new line is looked for once more before its request is sent `again`: during the wait
        somebody else may have made it, or the refused request may have arrived all the same.
        """
        why = ""
        try:
            if self.others is not None and operation is not None:
                why = self.others.before(operation, self.today)
            elif again and line.line_id is None:
                why = obstacle(line, self.psa.lines(line.ref, {line.product}), self.today)
        except ForeignChange:
            raise
        except PsaError as error:
            message, denied = f"{error.message} Nothing was sent.", isinstance(error, AccessRefused)
            return WriteResult(WriteStatus.NOT_SENT, message, denied=denied)
        if why:
            return WriteResult(WriteStatus.STALE, f"Nothing was sent: {why}.")
        result = self.psa.write(line, agreement, self.today)
        if result.status is WriteStatus.NOT_SENT and self.others is not None and operation:
            self.others.forget(operation)
        return result

    def _read_back(self, line: PlannedLine, result: WriteResult) -> WriteOutcome | None:
        """What the PSA shows after an unclear answer; None: that nothing was written."""
        looks = READ_BACK_AFTER if result.status is WriteStatus.UNKNOWN else READ_BACK_AFTER[:1]
        (outcome,), error = self._watch([(line, None)], looks)
        if error is not None:
            detail = f"{result.message} Reading back failed too: {error.message}"
            outcome = WriteOutcome(Outcome.UNKNOWN, detail=detail)
        return outcome and replace(outcome, request_id=result.request_id, denied=result.denied)

    def _watch(
        self, lines: Sequence[tuple[PlannedLine, str | None]], looks: Sequence[float]
    ) -> tuple[list[WriteOutcome | None], PsaError | None]:
        """Reads an agreement's lines of these products until each shows something, or to the end.

        The list of all lines may end early; that of some products proves what it does not hold.
        `lines` are what was written, each with the id that the answer gave to a new one; `looks`
        the seconds to wait before each look. Returns what the list shows of each line, None where
        nothing was written, and the error that ended the looking, if one did.
        """
        ref, products = lines[0][0].ref, {line.product for line, _ in lines}
        asked = asked_for([line for line, _ in lines]) if self.others else products
        ids = {line.line_id for line, _ in lines if line.line_id}
        found: list[WriteOutcome | None] = [None] * len(lines)
        for seconds in looks:
            if seconds:
                self.before_looking(seconds)
            try:
                listed = whole_lines(self.psa, ref, ids, asked)
            except PsaError as error:
                return found, error
            if self.others is not None:
                self.others.compare(ref.agreement, listed)
            found = [
                known or _judge(line, made, listed, self.today)
                for known, (line, made) in zip(found, lines, strict=True)
            ]
            if None not in found:
                break
        return found, None


def _confirmed(
    answer: WriteOutcome, shown: WriteOutcome | None, error: PsaError | None
) -> WriteOutcome:
    if shown is None:
        why = f": it could not be read. {error.message}" if error else "; the next run looks again."
        return replace(answer, outcome=Outcome.UNKNOWN, detail=_NOT_YET + why)
    if shown.outcome is Outcome.APPLIED:
        shown = replace(shown, detail=f"{answer.detail} {shown.detail}".strip())
    else:
        shown = replace(shown, outcome=Outcome.UNKNOWN)
    return replace(shown, request_id=answer.request_id)


def _outcome(outcome: Outcome, result: WriteResult, more: str = "") -> WriteOutcome:
    detail = f"{result.message} {more}".strip()
    return WriteOutcome(outcome, detail=detail, denied=result.denied, request_id=result.request_id)


def _judge(
    line: PlannedLine, made: str | None, listed: Sequence[Line], today: date
) -> WriteOutcome | None:
    """What a list says of one line; None: that nothing was written. `made`: a new line's id."""
    live = [one for one in listed if one.product == line.product and is_live(one, today)]
    line_id = line.line_id or made
    mine = [one for one in listed if one.id == line_id] if line_id else live
    several = line.line_id is None and len(live) > 1
    doubles = tuple(one.id for one in live) if several else ()
    said = f"there are now several lines of this product: {', '.join(doubles)}" if several else ""
    if len(mine) > 1:
        return WriteOutcome(Outcome.UNKNOWN, detail=said, doubles=doubles)
    if line.line_id and line.after == 0 and not any(is_live(one, today) for one in mine):
        # A line that is gone or cancelled bills 0, whoever ended it.
        return WriteOutcome(Outcome.APPLIED, quantity=Decimal(0), shown=True)
    if mine:
        outcome = _compare(line, mine[0])
        return outcome and replace(outcome, detail=outcome.detail or said, doubles=doubles)
    if line.line_id is None:
        return None
    return WriteOutcome(Outcome.FAILED, detail=f"the line {line.line_id} is gone; run kisi again")


def _compare(line: PlannedLine, shown: Line) -> WriteOutcome | None:
    if shown.problem:
        detail = f"the PSA shows a line that cannot be read: {shown.problem}"
        return WriteOutcome(Outcome.UNKNOWN, line_id=shown.id, detail=detail)
    if shown.quantity == line.after:
        return WriteOutcome(Outcome.APPLIED, shown.id, shown.quantity, shown=True)
    if shown.quantity == line.before:
        return None
    return WriteOutcome(
        Outcome.UNKNOWN,
        line_id=shown.id,
        quantity=shown.quantity,
        detail=f"the PSA shows {shown.quantity:f} instead of {line.after}; the next run holds it",
    )
