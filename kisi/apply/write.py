"""One change, from intent to outcome: send, classify, read back, decide. Never two lines.

A write counts when the PSA shows it. It is sent again only if it provably did not arrive: refused
before sending, throttled, or read back as unchanged; at most twice after an unclear answer. A
create that the PSA acknowledged is never sent again: what it does not show now it may show later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from kisi.errors import ForeignChange, PsaError
from kisi.model import (
    Agreement,
    AgreementRef,
    Line,
    Outcome,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.plan import is_live
from kisi.psa import Psa

LOG = logging.getLogger(__name__)

TRIES = 3
"""How often a request that did not arrive, or was throttled, is sent."""
SENDS = 2
"""How often a request with an unclear outcome is sent at most, each time after reading back."""
LONGEST_WAIT = 120.0
"""Seconds; a longer `Retry-After` is not waited for."""
READ_BACK_AFTER = (0.0, 1.0, 2.0, 4.0)
"""Seconds to wait before each look, because a PSA may show a write late."""
SHOWN_AFTER = sum(READ_BACK_AFTER)
"""Seconds after which a PSA is believed not to have what it does not show."""
_NOT_SHOWN = "The PSA said that it was done, and does not show it; it is not sent again."
_NOT_WRITTEN = "Reading it back showed that it was not written; the next run tries again."


@dataclass(frozen=True, slots=True)
class RetryTimers:
    """How a write waits.

    Args:
        before_sending: Before a request is sent again; says whether it still may be.
        before_looking: Before the PSA is read again: to its end, because looking too early would
            take a write for lost that only shows late.
    """

    before_sending: Callable[[float], bool]
    before_looking: Callable[[float], None]


@dataclass(frozen=True, slots=True)
class WriteOutcome:
    """What became of one change."""

    outcome: Outcome
    line_id: str | None = None
    quantity: Decimal | None = None
    detail: str = ""
    denied: bool = False
    acknowledged: bool = False
    """The PSA said that it was done."""
    request_id: str = ""


def write(
    psa: Psa, line: PlannedLine, agreement: Agreement, today: date, waits: RetryTimers
) -> WriteOutcome:
    """Brings one line to its quantity.

    Args:
        psa: The line's PSA.
        line: What to write; absolute, never a difference.
        agreement: The agreement as it was read in this run.
        today: The day in the billing time zone.
        waits: How to wait.

    Raises:
        ForeignChange: Something else on the agreement changed.
    """
    sends = 0
    while True:
        result = _send(psa, line, agreement, today, waits)
        sends += 1
        if result.status is WriteStatus.APPLIED:
            return _applied(line, result)
        if result.status not in {WriteStatus.UNKNOWN, WriteStatus.STALE}:
            return _failed(result)
        stale = result.status is WriteStatus.STALE
        otherwise = Outcome.FAILED if stale and sends == 1 else Outcome.UNKNOWN
        written = _read_back(psa, line, result, today, waits, otherwise)
        if written is not None:
            return replace(written, acknowledged=result.acknowledged)
        if result.acknowledged and line.line_id is None:
            return _not_shown(result)
        if stale or sends >= SENDS or not waits.before_sending(0):
            return _failed(replace(result, message=f"{result.message} {_NOT_WRITTEN}"))
        LOG.warning(
            "agreement %s, product %s: not written, sending again", line.agreement, line.product
        )


def _send(
    psa: Psa, line: PlannedLine, agreement: Agreement, today: date, waits: RetryTimers
) -> WriteResult:
    for attempt in range(1, TRIES):
        result = psa.write(line, agreement, today)
        again = result.status in {WriteStatus.NOT_SENT, WriteStatus.THROTTLED}
        wait = result.wait or float(attempt)
        if not again or wait > LONGEST_WAIT or not waits.before_sending(wait):
            return result
    return psa.write(line, agreement, today)


def _applied(line: PlannedLine, result: WriteResult) -> WriteOutcome:
    return WriteOutcome(
        Outcome.APPLIED,
        line_id=result.line_id or line.line_id,
        quantity=Decimal(line.after),
        detail=result.message,
        request_id=result.request_id,
    )


def _failed(result: WriteResult) -> WriteOutcome:
    return WriteOutcome(
        Outcome.FAILED,
        detail=result.message,
        denied=result.denied,
        request_id=result.request_id,
    )


def _not_shown(result: WriteResult) -> WriteOutcome:
    return WriteOutcome(
        Outcome.UNKNOWN,
        detail=f"{result.message} {_NOT_SHOWN}",
        acknowledged=True,
        request_id=result.request_id,
    )


def _read_back(
    psa: Psa,
    line: PlannedLine,
    result: WriteResult,
    today: date,
    waits: RetryTimers,
    otherwise: Outcome,
) -> WriteOutcome | None:
    """What the PSA shows, or None if it shows that nothing was written.

    `otherwise` is the outcome where it shows neither before nor after, or nothing at all: unknown,
    unless every request is known to have been refused.
    """
    ref = AgreementRef(line.psa, line.company, line.agreement)
    for wait in READ_BACK_AFTER:
        if wait:
            waits.before_looking(wait)
        try:
            found = _mine(line, psa.lines(ref), today)
        except ForeignChange:
            raise
        except PsaError as error:
            detail = f"{result.message} Reading back failed too: {error.message}"
            return WriteOutcome(otherwise, detail=detail, request_id=result.request_id)
        shown = _shown(line, found, otherwise)
        if shown is not None:
            return replace(shown, request_id=result.request_id)
        if result.status is WriteStatus.STALE:
            break
    return None


def _mine(line: PlannedLine, lines: tuple[Line, ...], today: date) -> list[Line]:
    if line.line_id is not None:
        return [found for found in lines if found.id == line.line_id]
    return [found for found in lines if found.product == line.product and is_live(found, today)]


def _shown(line: PlannedLine, found: list[Line], otherwise: Outcome) -> WriteOutcome | None:
    if len(found) == 1:
        return _judge(line, found[0], otherwise)
    if found:
        listed = ", ".join(item.id for item in found)
        return WriteOutcome(
            otherwise, detail=f"there are now several lines of this product: {listed}"
        )
    if line.line_id is None:
        return None
    return WriteOutcome(Outcome.FAILED, detail=f"the line {line.line_id} is gone; run kisi again")


def _judge(line: PlannedLine, shown: Line, otherwise: Outcome) -> WriteOutcome | None:
    if shown.problem:
        detail = f"the PSA shows a line that cannot be read: {shown.problem}"
        return WriteOutcome(otherwise, line_id=shown.id, detail=detail)
    if shown.quantity == line.after:
        return WriteOutcome(Outcome.APPLIED, line_id=shown.id, quantity=shown.quantity)
    if shown.quantity == line.before:
        return None
    return WriteOutcome(
        otherwise,
        line_id=shown.id,
        quantity=shown.quantity,
        detail=f"the PSA shows {shown.quantity:f} instead of {line.after}; the next run holds it",
    )
