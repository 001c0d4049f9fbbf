"""Desired quantities against the lines of the agreement: one client's plan, before guards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from kisi.errors import ExitCode
from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Company,
    CompanyPlan,
    Failure,
    Line,
    LineFact,
    PlannedLine,
    Status,
)
from kisi.plan.products import Wanted, Wants


@dataclass(frozen=True, slots=True)
class Held:
    """What a client's PSA holds."""

    agreement: Agreement
    lines: tuple[Line, ...]
    elsewhere: Mapping[AgreementRef, tuple[Agreement, tuple[Line, ...]]] = field(
        default_factory=dict
    )
    """Other agreements on which kisi owns lines of this client (a mapping that has changed)."""


class Ambiguous(Exception):
    """More than one line could be the one to write."""

    def __init__(self, lines: Sequence[Line]) -> None:
        super().__init__()
        self.lines = lines


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


def candidate(lines: Iterable[Line], product: str, today: date) -> Line | None:
    """The line that bills `product`, or None. One in effect today wins over one that starts later.

    Raises:
        Ambiguous: More than one is left.
        Unreadable: The quantity of the one that is left is not known.
    """
    live = [line for line in lines if line.product == product and is_live(line, today)]
    in_effect = [line for line in live if line.starts is None or line.starts <= today]
    chosen = in_effect or live
    if len(chosen) > 1:
        raise Ambiguous(chosen)
    if chosen and chosen[0].problem:
        raise Unreadable(chosen[0])
    return chosen[0] if chosen else None


def plan_company(
    company: Company, wants: Wants, held: Held, facts: Collection[LineFact], today: date
) -> CompanyPlan:
    """The plan of one client, before guards.

    Args:
        company: The client.
        wants: What its products should bill.
        held: What its PSA holds.
        facts: The lines that kisi owns for this client, wherever they are.
        today: The day in the billing time zone.

    Returns:
        A plan whose status is `READY` or `FAILED`; guards decide about holds.
    """
    failure = _unfit(held.agreement) or wants.failure
    if failure is not None:
        return failed(company, failure, unmapped=wants.unmapped)
    try:
        lines = _current(company, wants.wanted, held.lines, facts, today)
        planned = {line.line_id for line in lines}
        orphans, left = _orphans(company, wants, held, facts, planned, today)
    except Ambiguous as error:
        return failed(company, _ambiguous(error.lines), unmapped=wants.unmapped)
    except Unreadable as error:
        return failed(company, _unreadable(error.line), unmapped=wants.unmapped)
    creates = any(line.action is Action.CREATE for line in lines)
    others = [line for line in held.lines if is_live(line, today) and line.id not in planned]
    return CompanyPlan(
        company=company,
        status=Status.READY,
        lines=(*orphans, *lines),
        unmapped=wants.unmapped,
        others=tuple(others) if creates and not facts else (),
        left=tuple(left),
        notes=tuple(_notes(lines, wants)),
        unknown=frozenset(want.application for want in wants.wanted if want.unknown_devices),
        agreement_name=held.agreement.name,
    )


def failed(company: Company, failure: Failure, **more: object) -> CompanyPlan:
    """The plan of a client of which nothing is written."""
    return CompanyPlan(company=company, status=Status.FAILED, failure=failure, **more)  # type: ignore[arg-type]


def _unfit(agreement: Agreement) -> Failure | None:
    if agreement.unfit is None:
        return None
    unfit = agreement.unfit
    return Failure(unfit.guard, unfit.reason, unfit.remedy, ExitCode.WITHHELD)


def _ambiguous(lines: Sequence[Line]) -> Failure:
    listed = ", ".join(f"{line.id} ({line.quantity})" for line in lines)
    return Failure(
        guard="ambiguous",
        reason=f"the agreement has {len(lines)} live lines of product {lines[0].product}: {listed}",
        remedy="Cancel all but one of them in the PSA; kisi never picks one.",
        exit_code=ExitCode.WITHHELD,
    )


def _unreadable(line: Line) -> Failure:
    return Failure(
        guard="psa",
        reason=f"line {line.id} of product {line.product} cannot be read: {line.problem}",
        remedy="Correct the line in the PSA.",
        exit_code=ExitCode.PSA,
    )


def _current(
    company: Company,
    wanted: Sequence[Wanted],
    lines: Sequence[Line],
    facts: Collection[LineFact],
    today: date,
) -> list[PlannedLine]:
    owned = {(fact.agreement, fact.line_id) for fact in facts if fact.psa == company.psa}
    planned = []
    for want in wanted:
        line = candidate(lines, want.product, today)
        if line is None and want.quantity == 0:
            continue
        same = line is not None and line.quantity == want.quantity
        adopt = line is not None and not same and (company.agreement, line.id) not in owned
        planned.append(
            PlannedLine(
                psa=company.psa,
                company=company.company,
                agreement=company.agreement,
                application=want.application,
                categories=want.categories,
                product=want.product,
                line_id=line.id if line else None,
                action=Action.CREATE if line is None else Action.NONE if same else Action.UPDATE,
                before=line.quantity if line else None,
                after=want.quantity,
                unit_price=line.unit_price if line else None,
                description=line.description if line else "",
                adopt=adopt,
                billable=line.billable if line else True,
            )
        )
    return planned


def _orphans(
    company: Company,
    wants: Wants,
    held: Held,
    facts: Collection[LineFact],
    planned: Collection[str | None],
    today: date,
) -> tuple[list[PlannedLine], list[PlannedLine]]:
    """Owned lines that still bill and that nothing maps to any more; and those left to people.

    Raises:
        Unreadable: One of the former may still bill, and nobody knows how much.
    """
    orphans, left = [], []
    for fact in facts:
        here = (fact.psa, fact.agreement) == (company.psa, company.agreement)
        if here and fact.line_id in planned:
            continue
        ref = AgreementRef(fact.psa, fact.company, fact.agreement)
        agreement, lines = held.elsewhere.get(ref, (held.agreement, held.lines if here else ()))
        line = next((line for line in lines if line.id == fact.line_id), None)
        if line is None or agreement.gone or not is_live(line, today):
            continue
        left_to_people = fact.application in wants.left_to_people
        if line.problem and not left_to_people:
            raise Unreadable(line)
        if line.quantity <= 0:
            continue
        if left_to_people:
            left.append(_orphan(fact, line, after=int(line.quantity), action=Action.NONE))
        else:
            orphans.append(_orphan(fact, line, after=0, action=Action.UPDATE))
    return orphans, left


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


def _notes(lines: Sequence[PlannedLine], wants: Wants) -> Iterable[str]:
    for line in lines:
        if not line.billable:
            yield (
                f"The line of product {line.product} ({line.application}) is not billable in the "
                "PSA; its quantity is kept up to date, and nothing is invoiced for it."
            )
    unknown = {want.application: want.unknown_devices for want in wants.wanted}
    for application, devices in unknown.items():
        if devices:
            some = ", ".join(devices[:5]) + (" ..." if len(devices) > 5 else "")
            yield f"{application}: {len(devices)} devices with an unknown operating system: {some}."


def attribute(
    companies: Sequence[Company], facts: Iterable[LineFact]
) -> tuple[Mapping[AgreementRef, tuple[LineFact, ...]], tuple[LineFact, ...]]:
    """Finds the client of every line that kisi owns.

    A line belongs to the client of its agreement. If no client is mapped to that agreement any
    more, it belongs to the billed client with the same PSA company or with one of the same tenants,
    so that a changed mapping cannot bill twice. What belongs to nobody is left as it is.

    Returns:
        Facts by the client's agreement, and the facts that belong to no billed client.
    """
    mapped = {(company.psa, company.agreement): company for company in companies}
    billed = [company for company in companies if company.billing]
    found: dict[AgreementRef, list[LineFact]] = {}
    left: list[LineFact] = []
    for fact in facts:
        company = mapped.get((fact.psa, fact.agreement))
        if company is None:
            company = next((row for row in billed if _same_client(row, fact)), None)
        if company is None or not company.billing:
            left.append(fact)
        else:
            found.setdefault(ref_of(company), []).append(fact)
    return {ref: tuple(items) for ref, items in found.items()}, tuple(left)


def _same_client(company: Company, fact: LineFact) -> bool:
    same_company = (company.psa, company.company) == (fact.psa, fact.company)
    return same_company or not set(company.tenants).isdisjoint(fact.tenants)


def ref_of(company: Company) -> AgreementRef:
    """Where a client is billed."""
    return AgreementRef(company.psa, company.company, company.agreement)


def net_change(lines: Iterable[PlannedLine]) -> Decimal:
    """How many units more would be billed, over all of `lines`."""
    return sum((line.delta for line in lines if line.changes), Decimal(0))
