"""What can be mapped: everything the sources and PSAs have, beside what the mapping says of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from kisi.counting import Matcher
from kisi.errors import KisiError
from kisi.model import (
    Application,
    BillingMapping,
    Company,
    IgnoredTenant,
    Tenant,
    TenantRef,
    unmapped_tenants,
)
from kisi.psa import Psa, PsaAgreement, PsaCompany, PsaProduct
from kisi.sources import UsageSource

Progress = Callable[[str, int, int], None]
"""Told what is being read, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class TenantEntry:
    """A tenant (`listed_as` is set where no client has it), and the client it is mapped to."""

    tenant: Tenant
    company: Company | None
    uses: tuple[tuple[str, int], ...] = ()
    """Key names and how often they are used there, by the source's own figures."""
    ignored: IgnoredTenant | None = None
    """The row by which it is never billed."""


@dataclass(frozen=True, slots=True)
class KeyNameEntry:
    """A key name, or a report's application: at how many tenants, and the uses there added up."""

    name: str
    application: Application | None
    tenants: int
    used: int


@dataclass(frozen=True, slots=True)
class CompanyEntry:
    """A PSA company, and the clients of the mapping that are billed there."""

    psa: str
    company: PsaCompany
    clients: tuple[Company, ...]


@dataclass(frozen=True, slots=True)
class AgreementEntry:
    """A PSA agreement, and the client billed on it."""

    psa: str
    agreement: PsaAgreement
    client: Company | None


@dataclass(frozen=True, slots=True)
class ProductEntry:
    """A PSA product, and the applications it bills."""

    psa: str
    product: PsaProduct
    applications: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inventory:
    """Both sides, as they are now."""

    tenants: tuple[TenantEntry, ...] = ()
    key_names: tuple[KeyNameEntry, ...] = ()
    companies: tuple[CompanyEntry, ...] = ()
    agreements: tuple[AgreementEntry, ...] = ()
    products: tuple[ProductEntry, ...] = ()
    missing: tuple[str, ...] = ()
    """Whole sentences about what could not be read."""
    exit_code: int = 0
    sources_read: frozenset[str] = frozenset()
    psas_read: frozenset[str] = frozenset()
    """The sources and PSAs whose lists are whole."""
    former: frozenset[tuple[str, str]] = frozenset()
    """PSA and id of companies that were clients in some run."""

    def only_unmapped(self) -> Inventory:
        """What nothing is mapped to: what is not billed, and who has no Kaspersky."""
        return replace(
            self,
            tenants=tuple(x for x in self.tenants if x.company is None and x.ignored is None),
            key_names=tuple(entry for entry in self.key_names if entry.application is None),
            companies=tuple(
                entry
                for entry in self.companies
                if entry.company.active
                and not entry.clients
                and (entry.psa, entry.company.id) not in self.former
            ),
            agreements=(),
            products=(),
        )


def take_inventory(
    mapping: BillingMapping,
    sources: Mapping[str, UsageSource],
    psas: Mapping[str, Psa],
    *,
    keys: bool = True,
    former: Iterable[tuple[str, str]] = (),
    progress: Progress = lambda _what, _done, _total: None,
) -> Inventory:
    """Reads both sides. What cannot be read is said in `missing`; the rest is still there.

    `mapping` is that of today, `former` as in the inventory. With `keys` it also looks into every
    tenant for key names (some requests a tenant).
    """
    troubles: list[KisiError] = []
    tenants: list[Tenant] = []
    uses: dict[TenantRef, Counter[str]] = {}
    read: set[str] = set()
    for name, source in sources.items():
        try:
            found = source.tenants()
        except KisiError as error:
            troubles.append(error)
            continue
        read.add(name)
        tenants += found
        enabled = [tenant for tenant in found if tenant.enabled and keys]
        for done, (ref, reading) in enumerate(source.read(enabled, lambda _key: False), 1):
            progress(name, done, len(enabled))
            if isinstance(reading, KisiError):
                troubles.append(reading)
                continue
            uses[ref] = Counter()  # by key name, or a report's application, as it states them
            for key in reading.keys:
                uses[ref][key.name] += key.used or 0
            for each in reading.reported:
                uses[ref][each.name] += each.quantity
    lists: dict[str, Inventory] = {}
    progress("PSAs", 0, len(psas))
    for done, (name, psa) in enumerate(psas.items(), 1):
        try:
            lists[name] = _psa_lists(name, psa, mapping)
        except KisiError as error:
            troubles.append(error)
        progress("PSAs", done, len(psas))
    # of two clients that name a tenant, the one that is billed
    billed_last = sorted(mapping.everyone, key=lambda each: (each.billing, not each.left))
    owner = {ref: company for company in billed_last for ref in company.tenants}
    unmapped = {tenant.ref: tenant for tenant in unmapped_tenants(mapping, tenants)}
    matcher = Matcher(mapping.applications)
    seen = Counter(name for names in uses.values() for name in names)
    used = sum(uses.values(), Counter[str]())
    return Inventory(
        tenants=tuple(
            TenantEntry(
                unmapped.get(tenant.ref, tenant),
                owner.get(tenant.ref),
                tuple(uses.get(tenant.ref, {}).items()),
                mapping.ignores(tenant.ref),
            )
            for tenant in tenants
        ),
        key_names=tuple(
            KeyNameEntry(name, matcher.match(name), count, used[name])
            for name, count in sorted(seen.items())
        ),
        companies=tuple(entry for each in lists.values() for entry in each.companies),
        agreements=tuple(entry for each in lists.values() for entry in each.agreements),
        products=tuple(entry for each in lists.values() for entry in each.products),
        missing=tuple(f"{error.message} {error.remedy}".strip() for error in troubles),
        exit_code=max((error.exit_code for error in troubles), default=0),
        sources_read=frozenset(read),
        psas_read=frozenset(lists),
        former=frozenset(former),
    )


def _psa_lists(name: str, psa: Psa, mapping: BillingMapping) -> Inventory:
    companies, agreements, products = psa.all_companies(), psa.all_agreements(), psa.all_products()
    clients = [company for company in mapping.everyone if company.psa == name]
    owners = {client.agreement: client for client in reversed(clients)}
    of_company: dict[str, list[Company]] = defaultdict(list)
    for client in clients:
        of_company[client.company].append(client)
    bills: dict[str, dict[str, None]] = defaultdict(dict)
    for row in (*mapping.products, *(row for client in clients for row in client.exceptions)):
        for product in row.products.values() if row.psa == name else ():
            bills[product][row.application] = None
    return Inventory(
        companies=tuple(CompanyEntry(name, each, (*of_company[each.id],)) for each in companies),
        agreements=tuple(AgreementEntry(name, each, owners.get(each.id)) for each in agreements),
        products=tuple(ProductEntry(name, each, (*bills[each.id],)) for each in products),
    )


def runs(agreement: PsaAgreement, today: date) -> bool:
    """Whether the agreement is active, has begun and has not ended."""
    begun = agreement.starts is None or agreement.starts <= today
    return agreement.active and begun and (agreement.ends is None or agreement.ends >= today)


def running(
    inventory: Inventory, psa: str, company: str, today: date
) -> tuple[AgreementEntry, ...]:
    """A company's agreements that run today, also those that are mapped to a client."""
    return tuple(
        entry
        for entry in inventory.agreements
        if entry.psa == psa and entry.agreement.company == company and runs(entry.agreement, today)
    )
