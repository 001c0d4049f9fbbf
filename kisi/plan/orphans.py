"""Lines of an earlier mapping that still bill. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date

from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Company,
    Line,
    LineFact,
    PlannedLine,
)
from kisi.plan.products import Wants


@dataclass(frozen=True, slots=True)
class Held:
    """What a client's PSA holds."""

    agreement: Agreement
    lines: tuple[Line, ...]
    elsewhere: Mapping[AgreementRef, tuple[Agreement, tuple[Line, ...]]] = field(
        default_factory=dict
    )
    """Other agreements on which kisi owns lines of this client (a mapping that has changed)."""


class Unreadable(Exception):
    """The line to write holds nobody knows what."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self.line = line


def is_live(line: Line, today: date) -> bool:
    """Whether a line can still bill: not one-time, not cancelled today.

    A cancellation in the future is still billing.
    """
    if line.one_time or (line.dead and line.cancelled is None):
        return False
    return line.cancelled is None or line.cancelled > today


def orphans_of(
    company: Company,
    wants: Wants,
    held: Held,
    facts: Collection[LineFact],
    planned: Collection[str | None],
    today: date,
) -> tuple[list[PlannedLine], list[PlannedLine]]:
    """Owned lines that still bill and that nothing maps to any more; and those managed by hand.

    Raises:
        Unreadable: One of the former may still bill, and nobody knows how much.
    """
    orphans, left = [], []
    for fact in facts:
        here = (fact.psa, fact.agreement) == (company.psa, company.agreement)
        if here and fact.line_id in planned:
            continue
        line = _still_billing(company, held, fact, today)
        if line is None:
            continue
        left_to_people = fact.application in wants.left_to_people or (
            fact.psa == company.psa and fact.product in wants.left_products
        )
        if line.problem and not left_to_people:
            raise Unreadable(line)
        if line.quantity <= 0:
            continue
        if left_to_people:
            left.append(_orphan(fact, line, after=int(line.quantity), action=Action.NONE))
        else:
            orphans.append(_orphan(fact, line, after=0, action=Action.UPDATE))
    return orphans, left


def _still_billing(company: Company, held: Held, fact: LineFact, today: date) -> Line | None:
    """The line that a fact is about, unless it is gone, cancelled, or of another product by now."""
    here = (fact.psa, fact.agreement) == (company.psa, company.agreement)
    agreement, lines = held.elsewhere.get(fact.ref, (held.agreement, held.lines if here else ()))
    line = next((line for line in lines if line.id == fact.line_id), None)
    if line is None or agreement.gone or line.product != fact.product or not is_live(line, today):
        return None
    return line


def _orphan(fact: LineFact, line: Line, *, after: int, action: Action) -> PlannedLine:
    return PlannedLine(
        psa=fact.psa,
        company=fact.company,
        agreement=fact.agreement,
        application=fact.application,
        categories=fact.categories,
        product=line.product,
        line_id=line.id,
        action=action,
        before=line.quantity,
        after=after,
        unit_price=line.unit_price,
        description=line.description,
        orphaned=action is Action.UPDATE,
        billable=line.billable,
    )
