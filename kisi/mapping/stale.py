"""Mappings that time has overtaken: what they name is gone, renamed, inactive, or about to end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from kisi.mapping.inventory import Inventory
from kisi.mapping.names import parse_name
from kisi.model import BillingMapping, Company, ProductRow
from kisi.psa import PsaAgreement, PsaCompany

SOON = timedelta(days=60)
"""How long before its end an agreement is shown."""


class Fate(StrEnum):
    """What became of something that the mapping names."""

    GONE = "gone"
    INACTIVE = "inactive"
    ENDED = "ended"
    ENDING = "ending"
    RENAMED = "renamed"
    FOREIGN = "foreign"
    """The agreement belongs to another company."""


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """One thing that the mapping names and that is not what it was."""

    client: str
    """Whose row names it; empty for a general row."""
    kind: str
    """`tenant`, `company`, `agreement` or `product`."""
    id: str
    """As mapping.toml has it."""
    fate: Fate
    reason: str
    """In a sentence."""
    remedy: str
    """What to do, in a sentence or a command."""
    ends: date | None = None


def stale_entries(
    mapping: BillingMapping, inventory: Inventory, today: date
) -> tuple[StaleEntry, ...]:
    """What of the mapping is gone, renamed, inactive, or ends within `SOON`.

    Clients with billing off are looked at too: they are what is switched on next. Sources and PSAs
    that could not be read are left out; the inventory says so in `missing`.
    """
    eyes = _Eyes(inventory, today)
    found: list[StaleEntry] = []
    for client in mapping.companies:
        found += eyes.tenants(client)
        found += eyes.company(client)
        found += eyes.agreement(client)
        for row in client.exceptions:
            found += eyes.products(row, client.name)
    for row in mapping.products:
        found += eyes.products(row, "")
    return tuple(found)


class _Eyes:
    """Both sides, by id."""

    def __init__(self, inventory: Inventory, today: date) -> None:
        self._today = today
        self._tenants = {entry.tenant.ref: entry.tenant for entry in inventory.tenants}
        self._companies = {(e.psa, e.company.id): e.company for e in inventory.companies}
        self._agreements = {(e.psa, e.agreement.id): e.agreement for e in inventory.agreements}
        self._products = {(e.psa, e.product.id): e.product for e in inventory.products}
        self._sources = inventory.sources_read
        self._psas = inventory.psas_read

    def tenants(self, client: Company) -> Iterator[StaleEntry]:
        for ref in client.tenants:
            if ref.source not in self._sources:
                continue
            tenant = self._tenants.get(ref)
            if tenant is None:
                yield StaleEntry(
                    client.name,
                    "tenant",
                    str(ref),
                    Fate.GONE,
                    f"sources.{ref.source} has no such tenant any more.",
                    "Take it out: kisi map company CLIENT --remove-tenant TENANT",
                )
            elif not tenant.enabled:
                yield StaleEntry(
                    client.name,
                    "tenant",
                    str(ref),
                    Fate.INACTIVE,
                    f"Virtual server {tenant.name!r} is disabled, so that it cannot be counted.",
                    "Enable it in Security Center, or take it out of its client.",
                )

    def company(self, client: Company) -> Iterator[StaleEntry]:
        if client.psa not in self._psas:
            return
        found = self._companies.get((client.psa, client.company))
        fate, reason, remedy = _company_fate(client, found)
        if fate:
            yield StaleEntry(client.name, "company", client.company, fate, reason, remedy)

    def agreement(self, client: Company) -> Iterator[StaleEntry]:
        if client.psa not in self._psas:
            return
        found = self._agreements.get((client.psa, client.agreement))
        fate, reason = self._agreement_fate(client, found)
        if fate:
            yield StaleEntry(
                client.name,
                "agreement",
                client.agreement,
                fate,
                reason,
                "Renew it in the PSA; if that makes a new agreement: kisi map renew",
                found.ends if found else None,
            )

    def _agreement_fate(
        self, client: Company, found: PsaAgreement | None
    ) -> tuple[Fate | None, str]:
        if found is None:
            return Fate.GONE, f"psa.{client.psa} has no such agreement."
        if found.company != client.company:
            return Fate.FOREIGN, f"{found.name!r} belongs to company {found.company}."
        if found.ends is not None and found.ends < self._today:
            return Fate.ENDED, f"{found.name!r} ended on {found.ends}."
        if not found.active:
            return Fate.INACTIVE, f"{found.name!r} is cancelled or not active."
        if found.ends is not None and found.ends - self._today <= SOON:
            return Fate.ENDING, f"{found.name!r} ends on {found.ends}."
        return None, ""

    def products(self, row: ProductRow, client: str) -> Iterator[StaleEntry]:
        if row.psa not in self._psas:
            return
        for product in dict.fromkeys(row.products.values()):
            found = self._products.get((row.psa, product))
            if found is not None and found.active:
                continue
            state = (
                f"{found.name!r} is not active" if found else f"psa.{row.psa} has no such product"
            )
            yield StaleEntry(
                client,
                "product",
                product,
                Fate.INACTIVE if found else Fate.GONE,
                f"{state}; it bills {row.application!r}.",
                "Bill it as another one: kisi map product APPLICATION --all ID",
            )


def _company_fate(client: Company, found: PsaCompany | None) -> tuple[Fate | None, str, str]:
    if found is None:
        reason = f"psa.{client.psa} has no such company."
        return Fate.GONE, reason, "Map the client anew: kisi map company CLIENT --company ID"
    if not found.active:
        reason = f"{found.name!r} is deleted or inactive in psa.{client.psa}."
        return Fate.INACTIVE, reason, "Take it out: kisi map remove CLIENT"
    if _renamed(client.name, found.name):
        reason = f"psa.{client.psa} calls it {found.name!r} now."
        return Fate.RENAMED, reason, "Ids decide; to follow: kisi map company CLIENT --name NAME"
    return None, "", ""


def _renamed(ours: str, theirs: str) -> bool:
    """Whether two names differ in more than spelling, legal form, or what tells sites apart."""
    words = (set(parse_name(name).key.split()) for name in (ours, theirs))
    one, other = words
    return not (one <= other or other <= one)
