"""What can be mapped: everything the sources and PSAs have, beside what the mapping says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from kisi.counting import Matcher
from kisi.errors import KisiError
from kisi.model import (
    Application,
    BillingMapping,
    Company,
    Reading,
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
    """A tenant, and the client it is mapped to."""

    tenant: Tenant
    """With `listed_as` where no client has it."""
    company: Company | None
    uses: tuple[tuple[str, int], ...] = ()
    """Key names and how often they are used there, by the source's own figures."""


@dataclass(frozen=True, slots=True)
class KeyNameEntry:
    """A key name, or a report's application, and where it was seen."""

    name: str
    application: Application | None
    tenants: int
    """In how many tenants it was seen."""
    used: int
    """The sources' own figures of uses, added up."""


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
    """The sources whose list of tenants is whole."""
    psas_read: frozenset[str] = frozenset()
    """The PSAs whose lists are whole."""

    def only_unmapped(self) -> Inventory:
        """What nothing is mapped to: what is not billed, and who has no Kaspersky."""
        return replace(
            self,
            tenants=tuple(entry for entry in self.tenants if entry.company is None),
            key_names=tuple(entry for entry in self.key_names if entry.application is None),
            companies=tuple(
                entry for entry in self.companies if not entry.clients and entry.company.active
            ),
            agreements=(),
            products=(),
        )


def _silent(_what: str, _done: int, _total: int) -> None:
    """Nobody wants to know."""


def take_inventory(
    mapping: BillingMapping,
    sources: Mapping[str, UsageSource],
    psas: Mapping[str, Psa],
    *,
    keys: bool = True,
    progress: Progress = _silent,
) -> Inventory:
    """Reads both sides. What cannot be read is said in `missing`; the rest is still there.

    Args:
        mapping: The mapping as it is.
        sources: The configured sources.
        psas: The configured PSAs.
        keys: Also look into every tenant for key names (some requests a tenant).
        progress: Told as sources, tenants and PSAs are read.
    """
    troubles: list[KisiError] = []
    tenants: list[Tenant] = []
    readings: dict[TenantRef, Reading] = {}
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
            else:
                readings[ref] = reading
    uses = {ref: _uses(reading) for ref, reading in readings.items()}
    psa_parts = {}
    progress("PSAs", 0, len(psas))
    for done, (name, psa) in enumerate(psas.items(), 1):
        part = _psa_entries(name, psa, mapping, troubles)
        if part is not None:
            psa_parts[name] = part
        progress("PSAs", done, len(psas))
    owner = _owners(mapping)
    unmapped = {tenant.ref: tenant for tenant in unmapped_tenants(mapping, tenants)}
    return Inventory(
        tenants=tuple(
            TenantEntry(
                unmapped.get(tenant.ref, tenant),
                owner.get(tenant.ref),
                tuple(uses.get(tenant.ref, {}).items()),
            )
            for tenant in tenants
        ),
        key_names=tuple(_key_names(uses, mapping)),
        companies=tuple(entry for part in psa_parts.values() for entry in part.companies),
        agreements=tuple(entry for part in psa_parts.values() for entry in part.agreements),
        products=tuple(entry for part in psa_parts.values() for entry in part.products),
        missing=tuple(f"{error.message} {error.remedy}".strip() for error in troubles),
        exit_code=max((error.exit_code for error in troubles), default=0),
        sources_read=frozenset(read),
        psas_read=frozenset(psa_parts),
    )


def _owners(mapping: BillingMapping) -> dict[TenantRef, Company]:
    """The client of each tenant; of two that name it, the one that is billed."""
    billed_last = sorted(mapping.companies, key=lambda company: company.billing)
    return {ref: company for company in billed_last for ref in company.tenants}


def _uses(reading: Reading) -> dict[str, int]:
    """Key names of a tenant, or a report's applications, with the uses that it states."""
    uses: Counter[str] = Counter()
    for key in reading.keys:
        uses[key.name] += key.used or 0
    for each in reading.reported:
        uses[each.name] += each.quantity
    return dict(uses)


def _key_names(
    uses: Mapping[TenantRef, Mapping[str, int]], mapping: BillingMapping
) -> Iterable[KeyNameEntry]:
    matcher = Matcher(mapping.applications)
    tenants: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for names in uses.values():
        tenants.update(names.keys())
        used.update(names)
    for name in sorted(tenants):
        yield KeyNameEntry(name, matcher.match(name), tenants[name], used[name])


def _psa_entries(
    name: str, psa: Psa, mapping: BillingMapping, troubles: list[KisiError]
) -> Inventory | None:
    try:
        companies, agreements = psa.all_companies(), psa.all_agreements()
        products = psa.all_products()
    except KisiError as error:
        troubles.append(error)
        return None
    clients = [company for company in mapping.companies if company.psa == name]
    rows = [*mapping.products, *(row for client in clients for row in client.exceptions)]
    rows = [row for row in rows if row.psa == name]

    def applications(product: PsaProduct) -> tuple[str, ...]:
        names = [row.application for row in rows if product.id in row.products.values()]
        return tuple(dict.fromkeys(names))

    return Inventory(
        companies=tuple(
            CompanyEntry(name, company, tuple(c for c in clients if c.company == company.id))
            for company in companies
        ),
        agreements=tuple(
            AgreementEntry(
                name, agreement, next((c for c in clients if c.agreement == agreement.id), None)
            )
            for agreement in agreements
        ),
        products=tuple(ProductEntry(name, product, applications(product)) for product in products),
    )
