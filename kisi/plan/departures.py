"""Tenants that left a client which is still billed: who has them now waits for its line. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Awaited,
    Company,
    CompanyPlan,
    LineFact,
    PlannedLine,
    Status,
    TenantRef,
)
from kisi.plan.owners import ref_of

_Place = tuple[str, str]
"""PSA and agreement: whose a line is does not depend on the company that a row names."""


@dataclass(frozen=True, slots=True)
class _Others:
    """What is known of the clients that tenants may have left, by PSA and agreement."""

    billed: Mapping[_Place, Company]
    plans: Mapping[_Place, CompanyPlan]
    agreements: Mapping[AgreementRef, Agreement]


def with_departures(
    plans: Sequence[CompanyPlan],
    companies: Iterable[Company],
    facts: Iterable[LineFact],
    agreements: Mapping[AgreementRef, Agreement],
) -> list[CompanyPlan]:
    """The plans, each with the lines that still bill one of its tenants for another client.

    Such a line was last proven when the tenant was the other client's. It is waited for as long as
    it is to fall, and also where its client could not be planned, or is not in this run: nobody
    knows then what it holds. Once it is proven without the tenant, nobody waits any more.

    Args:
        plans: The clients of this run, before guards.
        companies: All clients of the mapping.
        facts: The lines that kisi owns.
        agreements: Those that were read.
    """
    billing: dict[TenantRef, list[LineFact]] = defaultdict(list)
    for fact in facts:
        for tenant in fact.tenants:
            billing[tenant].append(fact)
    others = _Others(
        billed={_place(company): company for company in companies if company.billing},
        plans={_place(plan.company): plan for plan in plans},
        agreements=agreements,
    )
    return [_waiting(plan, billing, others) for plan in plans]


def _waiting(
    plan: CompanyPlan, billing: Mapping[TenantRef, Sequence[LineFact]], others: _Others
) -> CompanyPlan:
    if plan.status is not Status.READY:
        return plan
    departed = tuple(
        Awaited(_line(fact), others.billed[place].name, tenant=str(tenant))
        for tenant in plan.company.tenants
        for fact in billing.get(tenant, ())
        for place in [_place(fact)]
        if place != _place(plan.company)
        and place in others.billed
        and _still_bills(fact, place, others)
    )
    return replace(plan, awaits=(*plan.awaits, *departed)) if departed else plan


def _place(what: Company | LineFact) -> _Place:
    return what.psa, what.agreement


def _still_bills(fact: LineFact, place: _Place, others: _Others) -> bool:
    if fact.confirmed <= 0 and not fact.unsettled:
        return False
    plan = others.plans.get(place)
    if plan is None:
        return True
    if plan.status is not Status.READY:
        agreement = others.agreements.get(ref_of(plan.company))
        return agreement is None or not agreement.gone
    if fact.line_id in {line.line_id for line in plan.left}:
        return False
    return sum((one.delta for one in plan.lines if fact.application in one.applications), _ZERO) < 0


_ZERO = Decimal(0)


def _line(fact: LineFact) -> PlannedLine:
    return PlannedLine(
        psa=fact.psa,
        company=fact.company,
        agreement=fact.agreement,
        application=fact.application,
        categories=fact.categories,
        product=fact.product,
        line_id=fact.line_id,
        action=Action.NONE,
        before=fact.confirmed,
        after=int(fact.confirmed),
    )
