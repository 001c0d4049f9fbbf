"""One client's plan, before guards: desired quantities against the lines of its agreement. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from kisi.counting import Period
from kisi.errors import ExitCode
from kisi.model import (
    TODAY,
    Action,
    Agreement,
    AgreementRef,
    Company,
    CompanyPlan,
    Failure,
    Line,
    OwnedLine,
    Plan,
    PlannedLine,
    Reversal,
    Status,
    UnmappedUse,
)
from kisi.planning.desired import DesiredState


@dataclass(frozen=True, slots=True)
class CurrentState:
    """What a client's PSA holds."""

    agreement: Agreement
    lines: tuple[Line, ...]
    elsewhere: Mapping[AgreementRef, tuple[Agreement, tuple[Line, ...]]] = field(
        default_factory=dict
    )
    """Other agreements on which kisi owns lines of this client (a mapping that has changed)."""


class CannotPlan(Exception):
    """Nothing of a client can be planned, because of what its PSA holds."""

    def __init__(self, guard: str, reason: str, remedy: str, exit_code: ExitCode) -> None:
        super().__init__(reason)
        self.failure = Failure(guard, reason, remedy, exit_code)


def is_live(line: Line, today: date) -> bool:
    """Whether a line can still bill: not one-time, not cancelled today.

    A cancellation in the future is still billing.
    """
    if line.one_time or (line.dead and line.cancelled is None):
        return False
    return line.cancelled is None or line.cancelled > today


def may_bill(line: Line, today: date) -> bool:
    """Whether a line is live, or only called ended without a day: that alone proves nothing.

    Source: ConnectWise's `agreementStatus` of an addition may be the agreement's own.
    """
    return is_live(line, today) or (line.dead and line.cancelled is None and not line.one_time)


def candidate(
    lines: Iterable[Line], product: str, today: date, owned: Collection[tuple[str, str]] = ()
) -> Line | None:
    """The line that bills `product`, or None. One in effect today wins over one that starts later.

    `owned` are kisi's lines, by id and product: only of those an empty one counts.

    Raises:
        CannotPlan: More than one is left, or the quantity of the one that is left is not known.
    """
    live = [
        line
        for line in lines
        if line.product == product
        and is_live(line, today)
        and (not line.empty or (line.id, product) in owned)
    ]
    chosen = [line for line in live if line.starts is None or line.starts <= today] or live
    if len(chosen) > 1:
        listed = ", ".join(f"{line.id} ({line.quantity})" for line in chosen)
        raise CannotPlan(
            "ambiguous",
            f"the agreement has {len(chosen)} live lines of product {product}: {listed}",
            "Cancel all but one of them in the PSA; kisi never picks one.",
            ExitCode.WITHHELD,
        )
    if not chosen:
        return None
    _refuse_unreadable(chosen[0])
    return chosen[0]


def _refuse_doubtful(
    line: Line | None,
    lines: Iterable[Line],
    product: str,
    owned: Collection[tuple[str, str]],
    today: date,
) -> None:
    """Refuses where one more line might bill everything twice, or `line` nothing at all.

    That is a line which kisi never wrote and which begins later, or is called ended without a day;
    and a line of kisi's that a person gave another product: it bills on under that one.
    """
    for other in lines:
        same = other.product == product
        if (other.id, product) in owned:
            if same or line is not None or not _is_doubtful(other, today):
                continue
            what = f"which kisi wrote, bills product {other.product} now"
            remedy = f"Map the client to product {other.product}, or give the line its product back"
        elif same and other == line and other.starts is not None and other.starts > today:
            what = f"which kisi did not write, begins on {other.starts} only"
            remedy = "Set it to begin today or earlier"
        elif same and line is None and _is_doubtful(other, today):
            what = "which kisi did not write, is called ended without a date of cancellation, and"
            what += " may bill"
            remedy = "Give it its date of cancellation"
        else:
            continue
        reason = f"line {other.id} of product {product}, {what}"
        remedy += " in the PSA, or delete it. kisi adds no second line beside it."
        raise CannotPlan("ambiguous", reason, remedy, ExitCode.WITHHELD)


def _is_doubtful(line: Line, today: date) -> bool:
    return may_bill(line, today) and (line.quantity > 0 or bool(line.problem))


def _refuse_unreadable(line: Line) -> None:
    if line.problem:
        reason = f"line {line.id} of product {line.product} cannot be read: {line.problem}"
        raise CannotPlan("psa", reason, "Correct the line in the PSA.", ExitCode.PSA)


def plan_company(
    company: Company,
    desired: DesiredState,
    current: CurrentState,
    facts: Collection[OwnedLine],
    today: date,
) -> CompanyPlan:
    """The plan of one client, `READY` or `FAILED`; guards decide about holds.

    The `facts` are the lines that kisi owns for this client, wherever they are.
    """
    done = company.left and current.agreement.gone  # nothing is left to be brought to 0
    failure = (None if done else current.agreement.not_billable) or desired.failure
    if failure is not None:
        return failed(company, failure, unmapped=desired.unmapped)
    try:
        lines = list(_desired_lines(company, desired, current, facts, today))
        planned = {line.line_id for line in lines}
        unmapped = list(_unmapped_lines(company, desired, current, facts, planned, today))
    except CannotPlan as error:
        return failed(company, error.failure, unmapped=desired.unmapped)
    creates = any(line.action is Action.CREATE for line in lines)
    others = [
        line
        for line in current.lines
        if is_live(line, today) and not line.empty and line.id not in planned
    ]
    return CompanyPlan(
        company=company,
        status=Status.READY,
        lines=(*(line for line in unmapped if line.orphaned), *lines),
        unmapped=desired.unmapped,
        others=tuple(others) if creates and not facts else (),
        left=tuple(line for line in unmapped if not line.orphaned),
        notes=(*_notes(lines, desired), *_pending(current.lines, planned)),
        unknown=frozenset(one.application for one in desired.lines if one.unknown_devices),
        agreement_name=current.agreement.name,
        next_invoice=current.agreement.next_invoice,
    )


def failed(
    company: Company,
    failure: Failure,
    *,
    unmapped: tuple[UnmappedUse, ...] = (),
    notes: tuple[str, ...] = (),
) -> CompanyPlan:
    """The plan of a client of which nothing is written."""
    return CompanyPlan(company, Status.FAILED, failure=failure, unmapped=unmapped, notes=notes)


def _desired_lines(
    company: Company,
    desired: DesiredState,
    current: CurrentState,
    facts: Iterable[OwnedLine],
    today: date,
) -> Iterable[PlannedLine]:
    here = {(fact.line_id, fact.product): fact for fact in facts if _is_here(fact, company)}
    owned, of_product = here.keys(), {fact.product: fact for fact in here.values()}
    troubles: list[Failure] = []
    for want in desired.lines:
        try:
            line = candidate(current.lines, want.product, today, owned)
            if want.quantity:
                _refuse_doubtful(line, current.lines, want.product, owned, today)
        except CannotPlan as error:
            troubles.append(error.failure)
            continue
        if line is None and want.quantity == 0:
            continue
        fact = here.get((line.id, want.product)) if line else of_product.get(want.product)
        after, reversal = _reverted(fact, want.quantity, line, keeps=want.keeps)
        same = line is not None and line.quantity == after
        policy = want.policy if after == want.quantity else TODAY  # else it goes back
        yield PlannedLine(
            psa=company.psa,
            company=company.company,
            agreement=company.agreement,
            application=want.application,
            categories=want.categories,
            product=want.product,
            line_id=line.id if line else None,
            action=Action.CREATE if line is None else Action.NONE if same else Action.UPDATE,
            before=line.quantity if line else None,
            after=after,
            unit_price=line.unit_price if line else None,
            included=line.included if line else Decimal(0),
            cycle=current.agreement.cycle,
            currency=current.agreement.currency,
            description=line.description if line else "",
            adopt=line is not None and not same and (line.id, line.product) not in owned,
            billable=line.billable if line else True,
            prorated=current.agreement.prorated,
            invoice=None if same else current.agreement.next_invoice,
            overwritten=_overwritten(line, after, policy, current.agreement, today),
            period=want.period,
            reversal=reversal,
        )
    if troubles:  # all at once: who mends one in the PSA mends the others with it
        reason = "; ".join(dict.fromkeys(each.reason for each in troubles))
        remedy = " ".join(dict.fromkeys(each.remedy for each in troubles))
        first = min(troubles, key=lambda each: each.exit_code)
        raise CannotPlan(first.guard, reason, remedy, first.exit_code)


def _reverted(
    fact: OwnedLine | None, counted: int, line: Line | None, *, keeps: bool = False
) -> tuple[int, Reversal | None]:
    """What a line is to hold, and by which reversal.

    Until it was brought back, that is the number from before the run. From then on it is what is
    counted, which a guard holds until it is accepted, or is that number: not while the line only
    `keeps` what it holds.
    """
    reversal = fact.reversal if fact else None
    if fact is None or reversal is None or (reversal.quantity == counted and not keeps):
        return counted, None
    if line is None or reversal.quantity in (fact.confirmed, line.quantity):
        return counted, reversal
    return reversal.quantity, reversal


def _overwritten(
    line: Line | None, after: int, policy: str, agreement: Agreement, today: date
) -> Decimal:
    """How many units of the running period no invoice will have, because the line falls.

    A quantity has no date in the PSA. Other policies than `today` have looked at the whole period.
    """
    if line is None or not line.billable or policy != TODAY or agreement.next_invoice is None:
        return Decimal(0)
    begins = Period.of(agreement.next_invoice, agreement.cycle, today).begins
    return max(line.quantity - after, Decimal(0)) if begins < today else Decimal(0)


def _is_here(fact: OwnedLine, company: Company) -> bool:
    return (fact.psa, fact.agreement) == (company.psa, company.agreement)


def _notes(lines: Sequence[PlannedLine], desired: DesiredState) -> Iterable[str]:
    for line in lines:
        if not line.billable:
            yield (
                f"The line of product {line.product} ({line.application}) is not billable in the "
                "PSA; its quantity is kept up to date, and nothing is invoiced for it."
            )
    unknown = {want.application: want.unknown_devices for want in desired.lines}
    for application, devices in unknown.items():
        if devices:
            some = ", ".join(devices[:5]) + (" ..." if len(devices) > 5 else "")
            yield f"{application}: {len(devices)} devices with an unknown operating system: {some}."


def _pending(lines: Iterable[Line], planned: Collection[str | None]) -> Iterable[str]:
    for line in lines:
        if line.pending and line.id in planned:
            yield f"Line {line.id} of product {line.product} changes: {line.pending}."


def _unmapped_lines(
    company: Company,
    desired: DesiredState,
    current: CurrentState,
    facts: Iterable[OwnedLine],
    planned: Collection[str | None],
    today: date,
) -> Iterable[PlannedLine]:
    """Owned lines that still bill and that nothing maps to any more, or that a person manages."""
    for fact in facts:
        if _is_here(fact, company) and fact.line_id in planned:
            continue
        agreement, line = _still_billing(company, current, fact, today)
        if line is None:
            continue
        # A client that was given another one's tenant does not manage that one's lines.
        by_hand = (
            _is_here(fact, company) or (fact.psa, fact.company) == (company.psa, company.company)
        ) and (
            fact.application in desired.managed_by_hand or fact.product in desired.products_by_hand
        )
        if not by_hand:
            _refuse_unreadable(line)
        if line.quantity > 0 or (fact.reversal and not by_hand):
            ending = _unmapped_line(fact, line, agreement, by_hand=by_hand)
            lost = _overwritten(line, ending.after, TODAY, agreement, today)
            yield ending if by_hand else replace(ending, overwritten=lost)


def _still_billing(
    company: Company, current: CurrentState, fact: OwnedLine, today: date
) -> tuple[Agreement, Line | None]:
    """The line that a fact is about, unless it is gone, cancelled, or of another product by now."""
    here = current.lines if _is_here(fact, company) else ()
    agreement, lines = current.elsewhere.get(fact.ref, (current.agreement, here))
    line = next((line for line in lines if line.id == fact.line_id), None)
    if line is None or agreement.gone or line.product != fact.product or not is_live(line, today):
        return agreement, None
    return agreement, line


def _unmapped_line(
    fact: OwnedLine, line: Line, agreement: Agreement, *, by_hand: bool
) -> PlannedLine:
    after, reversal = (int(line.quantity), None) if by_hand else _reverted(fact, 0, line)
    return PlannedLine(
        psa=fact.psa,
        company=fact.company,
        agreement=fact.agreement,
        application=fact.application,
        categories=fact.categories,
        product=line.product,
        line_id=line.id,
        action=Action.NONE if by_hand or after == line.quantity else Action.UPDATE,
        before=line.quantity,
        after=after,
        reversal=reversal,
        unit_price=line.unit_price,
        included=line.included,
        cycle=agreement.cycle,
        currency=agreement.currency,
        prorated=agreement.prorated or None,
        invoice=None if by_hand else agreement.next_invoice,
        description=line.description,
        orphaned=not by_hand,
        billable=line.billable,
    )


def with_lines(plan: Plan, change: Callable[[PlannedLine], PlannedLine]) -> Plan:
    """The plan with every line changed."""
    companies = tuple(
        replace(company, lines=tuple(map(change, company.lines))) for company in plan.companies
    )
    return replace(plan, companies=companies)


@dataclass(frozen=True, slots=True)
class Owners:
    """The lines that kisi owns, by client."""

    own: Mapping[AgreementRef, tuple[OwnedLine, ...]]
    """Facts by the agreement of the client that plans them, orphans among them."""
    left: tuple[OwnedLine, ...]
    """Lines of nobody who is billed: they stay as they are."""


def attribute(companies: Sequence[Company], facts: Collection[OwnedLine]) -> Owners:
    """Finds the client of every line that kisi owns.

    A line belongs to the client of its agreement, and to nobody while that one is switched off. If
    its agreement is not mapped, it belongs to the first client that bills one of its tenants now,
    or had one until it left. If its tenants are not mapped either, it belongs to what stands in the
    place of the row that is gone: a client of the same PSA company with its name, or on whose
    agreement kisi has no line yet. What belongs to nobody is left as it is.
    """
    mapped = {(company.psa, company.agreement): company for company in companies}
    begun = {(fact.psa, fact.agreement) for fact in facts}
    own: dict[AgreementRef, list[OwnedLine]] = {}
    left: list[OwnedLine] = []
    for fact in facts:
        owner = mapped.get((fact.psa, fact.agreement)) or _heir(fact, companies, begun)
        if owner is None or not owner.billing:
            left.append(fact)
        else:
            own.setdefault(ref_of(owner), []).append(fact)
    return Owners({ref: tuple(mine) for ref, mine in own.items()}, tuple(left))


def _heir(
    fact: OwnedLine, companies: Iterable[Company], begun: Collection[tuple[str, str]]
) -> Company | None:
    """Who bills now what a line billed whose agreement is not mapped any more; None if nobody."""
    tenants = set(fact.tenants)
    here_first = sorted(companies, key=lambda company: company.left)
    sharing = [company for company in here_first if not tenants.isdisjoint(company.tenants)]
    if sharing:
        return next((company for company in sharing if company.billing), None)
    return next(
        (
            company
            for company in companies
            if company.billing
            and (company.psa, company.company) == (fact.psa, fact.company)
            and (company.name == fact.name or (company.psa, company.agreement) not in begun)
        ),
        None,
    )


def ref_of(company: Company) -> AgreementRef:
    """Where a client is billed."""
    return AgreementRef(company.psa, company.company, company.agreement)
