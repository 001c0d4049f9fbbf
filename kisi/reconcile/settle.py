"""What became of writes whose outcome was never stored? The PSA's lines decide. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from kisi.journal import Operation, OperationOutcome
from kisi.model import (
    Agreement,
    AgreementRef,
    Line,
    Outcome,
    OwnedLine,
    PlannedLine,
)
from kisi.planning import is_live


@dataclass(frozen=True, slots=True)
class SettledOperation(OperationOutcome):
    """The outcome of an earlier write, as the PSA shows it now.

    `APPLIED`, `FAILED` (never arrived) or `UNKNOWN` (the line holds something else).
    """

    operation: Operation = field(kw_only=True)


def settle(
    pending: Iterable[Operation],
    agreements: Mapping[AgreementRef, Agreement],
    lines: Mapping[AgreementRef, tuple[Line, ...]],
    today: date,
    by_hand: Collection[tuple[AgreementRef, str]] = (),
) -> tuple[SettledOperation, ...]:
    """Settles every pending operation whose agreement was read, or bills nothing any more.

    `by_hand` are the agreements and applications that are managed by hand.
    """
    found = []
    for operation in pending:
        ref = operation.line.ref
        if ref in lines:
            waits = (ref, operation.line.application) not in by_hand
            found.append(_settle(operation, lines[ref], today, waits=waits))
        elif ref in agreements and agreements[ref].gone:
            detail = "its agreement is gone or has ended, so it bills nothing"
            line_id = operation.line.line_id
            found.append(
                SettledOperation(Outcome.FAILED, line_id, detail=detail, operation=operation)
            )
    return tuple(found)


def _settle(
    operation: Operation, lines: tuple[Line, ...], today: date, *, waits: bool
) -> SettledOperation:
    """`waits`: a new line that the PSA does not show may still appear."""
    meant = operation.line
    line = _line_of(meant, lines, today)
    line_id = meant.line_id if line is None else line.id
    if line is not None and line.problem:
        detail = f"the PSA shows a line that cannot be read: {line.problem}"
        return SettledOperation(Outcome.UNKNOWN, line_id, detail=detail, operation=operation)
    holds = None if line is None else line.quantity
    if holds == meant.after:
        outcome, detail = Outcome.APPLIED, "an earlier run wrote it; the PSA shows it"
    elif line_id is None and waits:
        outcome, detail = Outcome.UNKNOWN, "the PSA does not show the new line"
    elif holds == meant.before:
        outcome, detail = Outcome.FAILED, "an earlier run did not manage to write it"
    elif holds is None:  # whether it arrived or not
        outcome, detail = Outcome.FAILED, "its line is gone, so it bills nothing"
    else:
        outcome, detail = Outcome.UNKNOWN, f"the PSA shows {holds:f}"
    return SettledOperation(outcome, line_id, holds, detail, operation=operation)


def _line_of(meant: PlannedLine, lines: tuple[Line, ...], today: date) -> Line | None:
    if meant.line_id is not None:
        return next((line for line in lines if line.id == meant.line_id), None)
    mine = [line for line in lines if line.product == meant.product and is_live(line, today)]
    exact = [line for line in mine if line.quantity == meant.after]
    return next(iter(exact or mine), None)


def unshown(settled: Iterable[SettledOperation]) -> tuple[Operation, ...]:
    """The creates whose request was sent, or may have been, and whose line the PSA does not show.

    A request that was refused, or never left, has its outcome already and is not asked about. What
    another run is about to make, while a preview looks on, is not missing yet.
    """
    return tuple(
        one.operation
        for one in settled
        if one.outcome is Outcome.UNKNOWN and one.line_id is None and not one.operation.running
    )


def unseen(
    pending: Iterable[Operation], settled: Collection[SettledOperation]
) -> tuple[OwnedLine, ...]:
    """Lines that earlier writes may have made, or raised, and that nobody has seen since.

    Their agreements could not be read, or do not show the new line yet; such a line has no id.
    Whoever is to bill the same devices waits for it, as for any line of which nothing is known.
    """
    seen = {one.operation.id for one in settled} - {one.id for one in unshown(settled)}
    return tuple(
        replace(_owned(one, one.line.line_id or "", Decimal(one.line.after)), unsettled=True)
        for one in pending
        if one.id not in seen and one.line.delta > 0
    )


def settled_facts(
    facts: Iterable[OwnedLine], settled: Iterable[SettledOperation]
) -> tuple[OwnedLine, ...]:
    """The facts as they are once the settled operations are stored."""
    known = {(fact.psa, fact.agreement, fact.line_id): fact for fact in facts}
    for one in settled:
        operation = one.operation
        key = (operation.line.psa, operation.line.agreement, one.line_id or "")
        fact = known.get(key)
        if one.outcome is Outcome.APPLIED and one.line_id is not None:
            known[key] = _confirmed(operation, one.line_id, fact)
        elif fact is not None:
            known[key] = replace(fact, unsettled=one.outcome is Outcome.UNKNOWN)
        elif one.outcome is Outcome.UNKNOWN and one.quantity is not None:
            # kisi may have made it, or changed it for the first time: its own, as it is shown.
            owned = _owned(operation, one.line_id or "", one.quantity)
            known[key] = replace(owned, unsettled=True)
    return tuple(known.values())


def _confirmed(operation: Operation, line_id: str, fact: OwnedLine | None) -> OwnedLine:
    owned = _owned(operation, line_id, Decimal(operation.line.after))
    if fact is None:
        return owned
    *earlier, last = owned.proofs[0].added_to(fact.proofs)
    return replace(
        fact,
        confirmed=owned.confirmed,
        highest=max(fact.highest, owned.highest),
        lowest=min(fact.lowest, owned.lowest),
        unsettled=False,
        application=last.application,
        categories=last.categories,
        tenants=last.tenants,
        proven=last.run,
        earlier=tuple(earlier),
    )


def _owned(operation: Operation, line_id: str, quantity: Decimal) -> OwnedLine:
    line = operation.line
    return OwnedLine(
        psa=line.psa,
        company=line.company,
        agreement=line.agreement,
        line_id=line_id,
        product=line.product,
        application=line.application,
        categories=line.categories,
        name=operation.name,
        tenants=operation.tenants,
        confirmed=quantity,
        highest=quantity,
        lowest=quantity,
        proven=operation.run_id,
    )
