"""Whose line is it? The lines that kisi owns, by the mapping of now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from kisi.model import AgreementRef, Company, LineFact

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Inherited:
    """A line that bills a client's tenant until now, and that another client's plan shows."""

    fact: LineFact
    owner: str
    """The name of that other client."""


@dataclass(frozen=True, slots=True)
class Owners:
    """The lines that kisi owns, by client."""

    own: Mapping[AgreementRef, tuple[LineFact, ...]]
    """Facts by the agreement of the client that plans them, orphans among them."""
    awaited: Mapping[AgreementRef, tuple[Inherited, ...]]
    """What a client must wait for although another one plans it."""
    left: tuple[LineFact, ...]
    """Lines of nobody who is billed: they stay as they are."""


def attribute(companies: Sequence[Company], facts: Collection[LineFact]) -> Owners:
    """Finds the client of every line that kisi owns.

    A line belongs to the client that is billed on its agreement. If nobody is, it belongs to those
    whose tenants it billed, so that a changed mapping cannot bill a tenant twice: the first of them
    plans it, and the others wait for it. If those tenants are mapped nowhere any more and the
    agreement neither, it belongs to what stands in the place of the row that is gone: a client of
    the same PSA company with its name, or on whose agreement kisi has nothing yet. What belongs to
    nobody is left as it is.
    """
    mapped = {(company.psa, company.agreement): company for company in companies}
    begun = {(fact.psa, fact.agreement) for fact in facts}
    own: dict[AgreementRef, list[LineFact]] = {}
    awaited: dict[AgreementRef, list[Inherited]] = {}
    left: list[LineFact] = []
    for fact in facts:
        here = mapped.get((fact.psa, fact.agreement))
        heirs = [here] if here and here.billing else _heirs(fact, companies, here, begun)
        if not heirs:
            left.append(fact)
            continue
        first, *others = heirs
        own.setdefault(ref_of(first), []).append(fact)
        for other in others:
            awaited.setdefault(ref_of(other), []).append(Inherited(fact, first.name))
    return Owners(_frozen(own), _frozen(awaited), tuple(left))


def _heirs(
    fact: LineFact,
    companies: Iterable[Company],
    off: Company | None,
    begun: Collection[tuple[str, str]],
) -> list[Company]:
    """Who bills now what a line billed whose own agreement nobody is billed on."""
    tenants = set(fact.tenants)
    sharing = [company for company in companies if not tenants.isdisjoint(company.tenants)]
    if sharing or off is not None:
        return [company for company in sharing if company.billing]
    return [
        company
        for company in companies
        if company.billing
        and (company.psa, company.company) == (fact.psa, fact.company)
        and (company.name == fact.name or (company.psa, company.agreement) not in begun)
    ]


def _frozen(groups: Mapping[AgreementRef, list[_T]]) -> Mapping[AgreementRef, tuple[_T, ...]]:
    return {ref: tuple(items) for ref, items in groups.items()}


def ref_of(company: Company) -> AgreementRef:
    """Where a client is billed."""
    return AgreementRef(company.psa, company.company, company.agreement)
