"""Whose line is it? The lines that kisi owns, by the mapping of now. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kisi.model import AgreementRef, Company, OwnedLine


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
    its agreement is not mapped, it belongs to the first client that bills one of its tenants now.
    If its tenants are not mapped either, it belongs to what stands in the place of the row that is
    gone: a client of the same PSA company with its name, or on whose agreement kisi has no line
    yet. What belongs to nobody is left as it is.
    """
    mapped = {(company.psa, company.agreement): company for company in companies}
    begun = {(fact.psa, fact.agreement) for fact in facts}
    own: dict[AgreementRef, list[OwnedLine]] = {}
    left: list[OwnedLine] = []
    for fact in facts:
        here = mapped.get((fact.psa, fact.agreement))
        owner = here if here is not None else _heir(fact, companies, begun)
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
    sharing = [company for company in companies if not tenants.isdisjoint(company.tenants)]
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
