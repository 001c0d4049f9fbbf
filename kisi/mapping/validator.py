"""Does what the mapping names still exist, and may it be billed? One answer for every command.

`kisi map list --stale` asks an inventory that was read anyway. A change of the mapping and
`kisi check --online` ask the systems themselves, where a PSA judges each agreement as a run does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from kisi.config.sentences import shorten
from kisi.errors import ConfigError, KisiError
from kisi.mapping.changes import Change, called
from kisi.mapping.inventory import AgreementEntry, Inventory
from kisi.mapping.names import fold, parse_name
from kisi.mapping.rules import UNTOUCHED
from kisi.model import (
    Agreement,
    AgreementRef,
    BillingMapping,
    Company,
    ProductRow,
    Tenant,
    TenantRef,
)
from kisi.planning import ref_of
from kisi.psa import Psa, PsaAgreement, PsaCompany, PsaProduct
from kisi.sources import UsageSource

SOON = timedelta(days=60)
"""How long before its end an agreement is shown."""
_BOTH = 3
"""Two agreements have the same type and the same name."""
_RENEW = "Renew it in the PSA; if that makes a new agreement: kisi map renew"
_ANOTHER_PRODUCT = "Bill it as another one (`kisi map list`): kisi map product APPLICATION --all ID"


class StaleReason(StrEnum):
    """What became of something that the mapping names; foreign: of another company."""

    GONE = "gone"
    INACTIVE = "inactive"
    ENDED = "ended"
    ENDING = "ending"
    RENAMED = "renamed"
    FOREIGN = "foreign"


BILLS = frozenset({StaleReason.ENDING, StaleReason.RENAMED})
"""What is so, and keeps nothing from being billed today."""


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """One thing that the mapping names and that is gone, changed, or about to end."""

    client: str
    """Whose row names it; empty for a general row."""
    kind: str
    """`tenant`, `company`, `agreement` or `product`."""
    id: str
    """As mapping.toml has it."""
    reason: StaleReason
    message: str
    remedy: str
    """A sentence or a command."""
    ends: date | None = None


class SystemValidator:
    """Looks up what rows name, in an inventory (`of`) or in the systems themselves.

    Systems are asked for each list once, when it is first needed; every answer may then raise
    `SourceError` or `PsaError`. What an inventory could not read is not called gone: it has no
    entry, and the inventory says so in `missing`.
    """

    def __init__(
        self, sources: Mapping[str, UsageSource], psas: Mapping[str, Psa], today: date
    ) -> None:
        self._sources = sources
        self._psas = psas
        self._today = today
        self._tenants: dict[str, dict[TenantRef, Tenant]] = {}
        self._companies: dict[str, dict[str, PsaCompany]] = {}
        self._products: dict[str, dict[str, PsaProduct | None]] = {}
        self._judged: dict[AgreementRef, Agreement | KisiError] = {}
        self._listed: dict[str, dict[str, PsaAgreement]] = {}

    @classmethod
    def of(cls, inventory: Inventory, today: date) -> SystemValidator:
        """Answers from the lists of an inventory, and asks nobody."""
        self = cls({}, {}, today)
        self._tenants = {source: {} for source in inventory.sources_read}
        self._companies = {psa: {} for psa in inventory.psas_read}
        self._products = {psa: {} for psa in inventory.psas_read}
        self._listed = {psa: {} for psa in inventory.psas_read}
        for tenant in (entry.tenant for entry in inventory.tenants):
            self._tenants[tenant.ref.source][tenant.ref] = tenant
        for company in inventory.companies:
            self._companies[company.psa][company.company.id] = company.company
        for agreement in inventory.agreements:
            self._listed[agreement.psa][agreement.agreement.id] = agreement.agreement
        for product in inventory.products:
            self._products[product.psa][product.product.id] = product.product
        return self

    def refuse(self, change: Change) -> None:
        """Does nothing if every id of a change exists and is fit to be billed.

        Raises:
            ConfigError: All that is gone, inactive, or of another PSA.
        """
        self.ask_for(change.companies, change.products)
        problems = []
        for client in change.companies:
            for each in self._of_client(client):
                # of an agreement that is gone, the remedy is for a client that is there
                told = each.kind == "agreement" and each.reason is not StaleReason.GONE
                sentence = f"{called(client)}: {each.message} {each.remedy if told else ''}"
                problems += [sentence.strip()] if each.reason not in BILLS else []
        for row in change.products:
            problems += [each.message for each in self.products(row)]
        if problems:
            raise ConfigError(
                problems,
                remedy=f"{UNTOUCHED} Correct these ids; `kisi map list` shows what there is now.",
            )

    def stale(self, mapping: BillingMapping) -> tuple[StaleEntry, ...]:
        """What of the mapping is gone, renamed, inactive, or ends within `SOON`.

        Clients with billing off are looked at too: they are what is switched on next.
        """
        found: list[StaleEntry] = []
        for client in mapping.companies:
            found += self._of_client(client)
            for row in client.exceptions:
                found += self.products(row, client.name)
        for row in mapping.products:
            found += self.products(row)
        return tuple(found)

    def _of_client(self, client: Company) -> Iterator[StaleEntry]:
        yield from self.tenants(client)
        yield from self.company(client)
        yield from self.agreement(client)

    def ask_for(self, clients: Iterable[Company], rows: Iterable[ProductRow]) -> None:
        """Reads all their agreements and products at once, not one by one."""
        refs: dict[str, dict[AgreementRef, None]] = defaultdict(dict)
        ids: dict[str, dict[str, None]] = defaultdict(dict)
        for client in clients:
            refs[client.psa][ref_of(client)] = None
        for row in rows:
            ids[row.psa] |= dict.fromkeys(row.products.values())
        for psa, own in refs.items():
            self._judged |= self._psas[psa].agreements(list(own), self._today)
        for psa, wanted in ids.items():
            known = self._products.setdefault(psa, {})
            known |= {**dict.fromkeys(wanted), **self._psas[psa].products(list(wanted))}

    def tenants(self, client: Company) -> Iterator[StaleEntry]:
        """The client's tenants that are gone, or cannot be counted."""
        for ref in client.tenants:
            found = self.tenant(ref)
            if found is None and ref.source in self._tenants:
                reason = StaleReason.GONE
                message = f'sources.{ref.source} has no tenant "{shorten(ref.tenant)}".'
                remedy = (
                    "Map the new tenant (`kisi map list`), and take this one out: "
                    "kisi map company CLIENT --remove-tenant TENANT"
                )
            elif found is not None and not found.enabled:
                reason, name = StaleReason.INACTIVE, shorten(found.name)
                message = f'Tenant "{ref}" ({name}) is disabled, so that it cannot be counted.'
                remedy = "Enable it, or set `billing = false` for this client in mapping.toml."
            else:
                continue
            yield StaleEntry(client.name, "tenant", str(ref), reason, message, remedy)

    def tenant(self, ref: TenantRef) -> Tenant | None:
        """A tenant, also a disabled one; None if its source has none of this id."""
        if ref.source not in self._tenants and ref.source in self._sources:
            found = self._sources[ref.source].tenants()
            self._tenants[ref.source] = {tenant.ref: tenant for tenant in found}
        return self._tenants.get(ref.source, {}).get(ref)

    def company(self, client: Company) -> Iterator[StaleEntry]:
        """The client's company, if it is gone, not active, or called otherwise."""
        found = self.company_of(client.psa, client.company)
        psa = f"psa.{client.psa}"
        word = self._psas[client.psa].accounts_word if client.psa in self._psas else "company"
        if found is None and client.psa in self._companies:
            reason, message = StaleReason.GONE, f"{psa} has no {word} {shorten(client.company)}."
            remedy = "Map the client anew: kisi map company CLIENT --company ID"
        elif found is not None and not found.active:
            named = f"{word.capitalize()} {found.id} ({shorten(found.name)})"
            reason, message = StaleReason.INACTIVE, f"{named} is not active in {psa}."
            remedy = "Take it out: kisi map remove CLIENT"
        elif found is not None and _renamed(client.name, found.name):
            reason, message = StaleReason.RENAMED, f"{psa} calls it {found.name!r} now."
            remedy = "Ids decide; to follow: kisi map company CLIENT --name NAME"
        else:
            return
        yield StaleEntry(client.name, "company", client.company, reason, message, remedy)

    def company_of(self, psa: str, ident: str) -> PsaCompany | None:
        """A company, also an inactive one; None if its PSA has none of this id."""
        if psa not in self._companies and psa in self._psas:
            found = self._psas[psa].all_companies()
            self._companies[psa] = {company.id: company for company in found}
        return self._companies.get(psa, {}).get(ident)

    def agreement(self, client: Company) -> Iterator[StaleEntry]:
        """The client's agreement, if it is gone, another's, does not bill, or ends soon."""
        psa, ref = client.psa, ref_of(client)
        if psa in self._psas:
            if ref not in self._judged:
                self.ask_for([client], [])
            judged = self._judged[ref]
            if isinstance(judged, KisiError):
                raise judged
            name, ends, reason = judged.name, judged.ends, None
            if judged.not_billable is not None:
                reason = StaleReason.GONE if judged.gone else StaleReason.INACTIVE
                message, remedy = judged.not_billable.reason, judged.not_billable.remedy
        elif psa in self._listed:
            found, remedy = self.listed(client), _RENEW
            name, ends = (found.name, found.ends) if found else ("", None)
            reason, message = _state(found, client, self._today)
        else:
            return
        if reason is None and ends is not None and ends - self._today <= SOON:
            reason, message, remedy = StaleReason.ENDING, f"{name!r} ends on {ends}.", _RENEW
        if reason is not None:
            yield StaleEntry(client.name, "agreement", ref.agreement, reason, message, remedy, ends)

    def listed(self, client: Company) -> PsaAgreement | None:
        """The client's agreement as an inventory lists it."""
        return self._listed.get(client.psa, {}).get(client.agreement)

    def products(self, row: ProductRow, client: str = "") -> Iterator[StaleEntry]:
        """The products of a row that are gone, or that no agreement can carry."""
        known = self._products.get(row.psa, {})
        if row.psa in self._psas and not known.keys() >= set(row.products.values()):
            self.ask_for([], [row])
            known = self._products[row.psa]
        for ident in dict.fromkeys(row.products.values()) if row.psa in self._products else ():
            found = known.get(ident)
            if found is None:
                reason, what = StaleReason.GONE, self._no_product(row.psa, ident)
            elif not found.active:
                reason, name = StaleReason.INACTIVE, shorten(found.name)
                what = f"Product {ident} ({name}) of psa.{row.psa} is not active, or of a kind that"
                what += " no agreement can carry"
            else:
                continue
            message = f"{what}; it bills {shorten(row.application)}."
            yield StaleEntry(client, "product", ident, reason, message, _ANOTHER_PRODUCT)

    def _no_product(self, psa: str, ident: str) -> str:
        for name, other in self._psas.items():
            if name != psa and ident in other.products([ident]):
                return f"Product {shorten(ident)} is one of psa.{name}, not of psa.{psa}"
        return f"psa.{psa} has no product {shorten(ident)}"


def _state(
    found: PsaAgreement | None, client: Company, today: date
) -> tuple[StaleReason | None, str]:
    """Why a listed agreement bills nothing; one that has not begun yet may still be waited for."""
    if found is None:
        return StaleReason.GONE, f"psa.{client.psa} has no agreement {shorten(client.agreement)}."
    if found.company != client.company:
        return StaleReason.FOREIGN, f"{found.name!r} belongs to company {found.company}."
    if found.ends is not None and found.ends < today:
        return StaleReason.ENDED, f"{found.name!r} ended on {found.ends}."
    if not found.active:
        return StaleReason.INACTIVE, f"{found.name!r} is cancelled or not active."
    return None, ""


def _renamed(ours: str, theirs: str) -> bool:
    """Whether two names differ in more than spelling, legal form, or what tells sites apart."""
    one, other = (set(parse_name(name).key.split()) for name in (ours, theirs))
    return not (one <= other or other <= one)


# --- agreements that run, and what takes the place of one that does not ---------------------------


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


@dataclass(frozen=True, slots=True)
class Renewal:
    """A client whose agreement bills nothing any more, and what takes its place."""

    row: int
    """The client's row in the mapping."""
    client: Company
    old: PsaAgreement | None
    """None: the PSA does not know the agreement at all."""
    choices: tuple[PsaAgreement, ...]
    """Running agreements of the same company that no other client has, the likeliest first."""
    successor: PsaAgreement | None
    """The one that is certain enough to be moved to; None where a person must choose."""


def renewals(
    companies: Collection[Company], inventory: Inventory, today: date
) -> tuple[Renewal, ...]:
    """The clients whose agreement does not run today.

    A successor is named where only one free agreement of the company runs, or only one of several
    has the old one's type and name. Clients of a PSA that could not be read are left out.
    """
    validator = SystemValidator.of(inventory, today)
    found = []
    for row, client in enumerate(companies):
        if all(entry.reason in BILLS for entry in validator.agreement(client)):
            continue
        old = validator.listed(client)
        alike = {
            entry.agreement: _similarity(old, entry.agreement)
            for entry in running(inventory, client.psa, client.company, today)
            if entry.client is None and entry.agreement.id not in client.alongside
        }
        choices = tuple(sorted(alike, key=lambda each: (-alike[each], len(each.id), each.id)))
        sure = choices if len(choices) == 1 else [each for each in choices if alike[each] == _BOTH]
        found.append(Renewal(row, client, old, choices, sure[0] if len(sure) == 1 else None))
    return tuple(found)


def _similarity(old: PsaAgreement | None, new: PsaAgreement) -> int:
    """How much of type and name two agreements share; a name without what a renewal changes."""
    if old is None:
        return 0
    same_kind = fold(old.kind) == fold(new.kind)
    return 2 * same_kind + (_lasting_words(old.name) == _lasting_words(new.name))


def _lasting_words(name: str) -> list[str]:
    """A name's words without years and numbers."""
    words = fold(name).replace("/", " ").replace("-", " ").split()
    return [word for word in words if not any(map(str.isdigit, word))]
