"""What `kisi map suggest` proposes: clients and applications that only wait for a person's word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date

from kisi.mapping.agreements import running
from kisi.mapping.applications import ApplicationSuggestion, group_key_names, suggest_products
from kisi.mapping.inventory import CompanyEntry, Inventory
from kisi.mapping.suggest import DEFAULT_MIN_SCORE, Suggestion, suggest_companies
from kisi.model import SPLIT, BillingMapping, Category, Tenant, Unit
from kisi.usage import Matcher

SURE_PRODUCT = 0.75
"""A product whose name is at least so like the application's is proposed for acceptance."""


@dataclass(frozen=True, slots=True)
class ClientProposal:
    """A tenant, and the company and agreement that may be its client's."""

    accept: bool
    """Whether `kisi map accept` takes it unless a person says otherwise."""
    tenant: str
    """As mapping.toml names it: `source:tenant`."""
    tenant_name: str
    name: str
    """What the client will be called; the company's name."""
    psa: str
    company: str
    agreement: str
    """Empty where a person must choose."""
    billing: bool = False
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ApplicationProposal:
    """Key names that seem to be one application, and the products it may be billed as."""

    accept: bool
    name: str
    keys: tuple[str, ...]
    unit: Unit
    psa: str
    products: Mapping[Category, str]
    """Empty where no product has a similar name."""
    bill: bool = True
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Proposals:
    """Everything that `suggest` has to propose."""

    clients: tuple[ClientProposal, ...] = ()
    applications: tuple[ApplicationProposal, ...] = ()
    without: tuple[Tenant, ...] = ()
    """Unmapped tenants for which no company has a like enough name."""


def propose(
    mapping: BillingMapping, inventory: Inventory, today: date, *, min_score: float
) -> Proposals:
    """Proposes clients for unmapped tenants, and products for unmapped key names.

    A virtual server that is mapped under another source is no client's to be: nothing is proposed
    for it. Of two sources that list one that is not mapped, a person must choose.

    Args:
        mapping: The mapping as it is.
        inventory: Both sides as they are.
        today: The day in the billing time zone.
        min_score: Weaker suggestions are left out. Those below the default are never to be accepted
            unless a person says so.
    """
    unmapped = open_tenants(mapping, inventory)
    found = ranked_companies(inventory, unmapped)
    clients: list[ClientProposal] = []
    without: list[Tenant] = []
    for tenant in unmapped:
        good = [(s, entry) for s, entry in found[str(tenant.ref)] if s.score >= min_score]
        if good:
            clients += _for_tenant(tenant, good, inventory, today)
        else:
            without.append(tenant)
    applications = tuple(_applications(mapping, inventory))
    return Proposals(_told_apart(clients), applications, tuple(without))


def open_tenants(mapping: BillingMapping, inventory: Inventory) -> list[Tenant]:
    """The tenants that no client has, under any source; disabled ones cannot be counted."""
    owners = mapping.owners()
    return [
        entry.tenant
        for entry in inventory.tenants
        if entry.tenant.enabled and entry.tenant.ref.identity(mapping.global_sources) not in owners
    ]


def ranked_companies(
    inventory: Inventory, tenants: Iterable[Tenant], *, limit: int = 5
) -> dict[str, tuple[tuple[Suggestion, CompanyEntry], ...]]:
    """For each tenant the active companies of all PSAs that it may be, best first."""
    entries = {
        f"{entry.psa}:{entry.company.id}": entry
        for entry in inventory.companies
        if entry.company.active
    }
    names = {key: entry.company.name for key, entry in entries.items()}
    found = suggest_companies({str(t.ref): t.name for t in tenants}, names, limit=limit)
    return {
        tenant: tuple((suggestion, entries[suggestion.company]) for suggestion in suggestions)
        for tenant, suggestions in found.items()
    }


def unmatched_key_names(mapping: BillingMapping, inventory: Inventory) -> list[str]:
    """Key names that no application matches; those that several match are not among them."""
    matcher = Matcher(mapping.applications)
    return [entry.name for entry in inventory.key_names if not matcher.matches(entry.name)]


def _for_tenant(
    tenant: Tenant,
    good: Iterable[tuple[Suggestion, CompanyEntry]],
    inventory: Inventory,
    today: date,
) -> Iterator[ClientProposal]:
    for place, (suggestion, entry) in enumerate(good):
        agreement, why_not = _agreement(entry, inventory, today)
        yield ClientProposal(
            accept=place == 0
            and suggestion.score >= DEFAULT_MIN_SCORE
            and not (why_not or tenant.listed_as),
            tenant=str(tenant.ref),
            tenant_name=tenant.name,
            name=entry.company.name,
            psa=entry.psa,
            company=entry.company.id,
            agreement=agreement,
            score=suggestion.score,
            reason="; ".join(filter(None, (suggestion.reason, why_not, tenant.listed_as))),
        )


def _agreement(entry: CompanyEntry, inventory: Inventory, today: date) -> tuple[str, str]:
    """The agreement to propose, and why it is not to be accepted unseen (empty: it may be)."""
    if entry.clients:
        client = entry.clients[0]
        return client.agreement, f"is mapped already: {client.name}"
    found = [each.agreement for each in running(inventory, entry.psa, entry.company.id, today)]
    if not found:
        return "", "no agreement of it runs today"
    if len(found) == 1:
        return found[0].id, ""
    choices = ", ".join(f"{agreement.id} {agreement.name}" for agreement in found)
    return "", f"choose the agreement: {choices}"


def _told_apart(clients: Iterable[ClientProposal]) -> tuple[ClientProposal, ...]:
    """The proposals, with a word where two tenants would become one client."""
    rows = list(clients)
    shared = Counter((row.psa, row.company) for row in rows if row.accept)
    return tuple(
        replace(row, reason=f"{row.reason}; one client with {shared[row.psa, row.company]} tenants")
        if row.accept and shared[row.psa, row.company] > 1
        else row
        for row in rows
    )


# --- applications -------------------------------------------------------------------------------


def _applications(mapping: BillingMapping, inventory: Inventory) -> Iterator[ApplicationProposal]:
    taken: set[tuple[str, str]] = set()
    psas = dict.fromkeys(entry.psa for entry in inventory.products)
    for group in group_key_names(unmatched_key_names(mapping, inventory)):
        for psa in psas or [""]:
            yield _billed(group, psa, inventory, taken)


def _billed(
    group: ApplicationSuggestion, psa: str, inventory: Inventory, taken: set[tuple[str, str]]
) -> ApplicationProposal:
    """A group of key names with the best products of one PSA that bill nothing else."""
    names = {
        entry.product.id: entry.product.name
        for entry in inventory.products
        if entry.psa == psa
        and entry.product.active
        and not entry.applications
        and (psa, entry.product.id) not in taken
    }
    best: dict[Category, tuple[str, float, str]] = {}
    for found in suggest_products(group.name, names):
        best.setdefault(found.category, (found.product, found.score, found.reason))
    chosen = _one_or_three(best, group.unit)
    score = min((best[category][1] for category in chosen), default=0.0)
    sure = bool(chosen) and score >= SURE_PRODUCT
    if sure:
        taken.update((psa, best[category][0]) for category in chosen)
    like = best[chosen[0]][2] if chosen else "no product has a similar name"
    return ApplicationProposal(
        accept=sure and not group.doubt,
        name=group.name,
        keys=group.keys,
        unit=group.unit,
        psa=psa,
        products={category: best[category][0] for category in chosen},
        score=score,
        reason="; ".join(filter(None, (like, group.doubt))),
    )


def _one_or_three(
    best: Mapping[Category, tuple[str, float, str]], unit: Unit
) -> tuple[Category, ...]:
    """By category if all three have a product that is as like as the best single one."""
    one = best[Category.ALL][1] if Category.ALL in best else 0.0
    if unit is Unit.DEVICE and all(each in best and best[each][1] >= one for each in SPLIT):
        return SPLIT
    return (Category.ALL,) if Category.ALL in best else ()
