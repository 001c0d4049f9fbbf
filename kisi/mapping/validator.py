"""Does what the mapping names still exist, and may it be billed? One answer for every command.

`kisi map list --stale` asks an inventory that was read anyway. A change of the mapping and
`kisi check --online` ask the systems themselves, where a PSA judges each agreement as a run does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import partial

from kisi.config.sentences import shorten
from kisi.counting import NOT_STORED, judge_key
from kisi.errors import ConfigError, KisiError, SourceError
from kisi.mapping.changes import Change, called
from kisi.mapping.inventory import Inventory
from kisi.mapping.rules import UNTOUCHED
from kisi.mapping.similarity import parse_name
from kisi.model import (
    Agreement,
    AgreementRef,
    BillingMapping,
    Company,
    CountingRules,
    Finding,
    Key,
    Level,
    ProductRow,
    Tenant,
    TenantRef,
    look_alikes,
    unmapped_tenants,
)
from kisi.planning import ref_of, rows_of
from kisi.psa import Psa, PsaAgreement, PsaCompany, PsaProduct
from kisi.sources import UsageSource

SOON = timedelta(days=60)
"""How long before its end an agreement is shown."""
_NAMED = 5
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
    LEAVING = "leaving"
    LEFT = "left"


BILLS = frozenset({StaleReason.ENDING, StaleReason.RENAMED, StaleReason.LEAVING})
"""What is so, and keeps nothing from being billed today."""


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """One thing that the mapping names and that is gone, changed, or about to end.

    `kind` is `tenant`, `company`, `agreement` or `product`; `client` is empty for a general row.
    """

    client: str
    kind: str
    id: str
    reason: StaleReason
    message: str
    remedy: str
    ends: date | None = None


class SystemValidator:
    """Looks up what rows name, in an inventory (`of`) or in the systems themselves.

    Systems are asked for each list once, when it is first needed, which may raise `SourceError` or
    `PsaError`. What an inventory could not read is not called gone: its `missing` says so.
    """

    def __init__(
        self, sources: Mapping[str, UsageSource], psas: Mapping[str, Psa], today: date
    ) -> None:
        self._sources, self._psas, self._today = sources, psas, today
        self._tenants: dict[str, dict[TenantRef, Tenant]] = {}
        self._companies: dict[str, dict[str, PsaCompany]] = {}
        self._products: dict[str, dict[str, PsaProduct | None]] = {}
        self._judged: dict[AgreementRef, Agreement | KisiError] = {}
        self._listed: dict[str, dict[str, PsaAgreement]] = {}

    @classmethod
    def of(cls, inventory: Inventory, today: date) -> SystemValidator:
        """Answers from the lists of an inventory, and asks nobody."""
        self, lists = cls({}, {}, today), inventory
        for source in lists.sources_read:
            tenants = (x.tenant for x in lists.tenants if x.tenant.ref.source == source)
            self._tenants[source] = {tenant.ref: tenant for tenant in tenants}
        for psa in lists.psas_read:
            self._companies[psa] = {
                x.company.id: x.company for x in lists.companies if x.psa == psa
            }
            self._listed[psa] = {
                x.agreement.id: x.agreement for x in lists.agreements if x.psa == psa
            }
            self._products[psa] = {x.product.id: x.product for x in lists.products if x.psa == psa}
        return self

    def refuse(self, change: Change) -> None:
        """Raises a `ConfigError` with all ids of a change that are gone or not to be billed."""
        self.ask_for(change.companies, change.products)
        problems = []
        for client in change.companies:
            for each in self.client(client):
                # of an agreement that is gone, the remedy is for a client that is there
                told = each.kind == "agreement" and each.reason is not StaleReason.GONE
                if each.reason not in BILLS:
                    sentence = f"{called(client)}: {each.message} {each.remedy if told else ''}"
                    problems.append(sentence.strip())
        problems += [each.message for row in change.products for each in self.products(row)]
        if problems:
            raise ConfigError(
                problems,
                remedy=f"{UNTOUCHED} Correct these ids; `kisi map list` shows what there is now.",
            )

    def stale(self, mapping: BillingMapping) -> tuple[StaleEntry, ...]:
        """What is gone, renamed, inactive or ends `SOON`, also of clients with billing off."""
        found: list[StaleEntry] = []
        for client in mapping.companies:
            found += self.client(client)
            for row in client.exceptions:
                found += self.products(row, client.name)
        for row in mapping.products:
            found += self.products(row)
        return tuple(found)

    def client(self, client: Company) -> Iterator[StaleEntry]:
        """What of a client's tenants, company and agreement is gone or changed."""
        yield from self.tenants(client)
        yield from self.company(client)
        yield from self.agreement(client)

    def ask_for(self, clients: Iterable[Company], rows: Iterable[ProductRow]) -> None:
        """Reads all their agreements and products at once, but for those of another part's PSA."""
        refs: dict[str, dict[AgreementRef, None]] = defaultdict(dict)
        ids: dict[str, dict[str, None]] = defaultdict(dict)
        for client in (x for x in clients if x.psa in self._psas):
            refs[client.psa][ref_of(client)] = None
        for row in (x for x in rows if x.psa in self._psas):
            ids[row.psa] |= dict.fromkeys(row.products.values())
        for psa, own in refs.items():
            self._judged |= self._psas[psa].agreements(list(own), self._today)
        for psa, wanted in ids.items():
            known = self._products.setdefault(psa, {})
            known |= {**dict.fromkeys(wanted), **self._psas[psa].products(list(wanted))}

    def tenants(self, client: Company) -> Iterator[StaleEntry]:
        """The client's tenants that are gone, or cannot be counted."""
        for ref in client.counted:
            found, stale = self.tenant(ref), partial(StaleEntry, client.name, "tenant", str(ref))
            if found is None and ref.source in self._tenants:
                message = f'sources.{ref.source} has no tenant "{shorten(ref.tenant)}".'
                alike = look_alikes(ref, self._tenants[ref.source].values())
                remedy = (
                    "Map the new tenant (`kisi map list`), and take this one out: "
                    f"kisi map company CLIENT --remove-tenant TENANT. {has_left(client)}"
                )
                yield stale(StaleReason.GONE, f"{message} {alike}".strip(), remedy)
            elif found is not None and not found.enabled:
                named = f'Tenant "{ref}" ({shorten(found.name)})'
                message = f"{named} is disabled, so that it cannot be counted."
                yield stale(StaleReason.INACTIVE, message, f"Enable it. {has_left(client)}")

    def tenant(self, ref: TenantRef) -> Tenant | None:
        """A tenant, also a disabled one; None if its source has none of this id."""
        if ref.source not in self._tenants and ref.source in self._sources:
            found = self._sources[ref.source].tenants()
            self._tenants[ref.source] = {tenant.ref: tenant for tenant in found}
        return self._tenants.get(ref.source, {}).get(ref)

    def company(self, client: Company) -> Iterator[StaleEntry]:
        """The client's company, if it is gone, not active, or called otherwise."""
        found, psa = self.company_of(client.psa, client.company), f"psa.{client.psa}"
        stale = partial(StaleEntry, client.name, "company", client.company)
        word = self._psas[client.psa].accounts_word if client.psa in self._psas else "company"
        if found is None and client.psa in self._companies:
            remedy = self._merged(client) or "Map it anew: kisi map company CLIENT --company ID"
            message = f"{psa} has no {word} {shorten(client.company)}."
            yield stale(StaleReason.GONE, message, remedy)
        elif found is not None and not found.active:
            named = f"{word.capitalize()} {found.id} ({shorten(found.name)})"
            remedy = self._merged(client) or has_left(client)
            yield stale(StaleReason.INACTIVE, f"{named} is not active in {psa}.", remedy)
        elif found is not None:
            ours, theirs = (set(parse_name(each.name).key.split()) for each in (client, found))
            if not (ours <= theirs or theirs <= ours):
                # more than spelling, legal form, or what tells sites apart
                remedy = "Ids decide; to follow: kisi map company CLIENT --name NAME"
                yield stale(StaleReason.RENAMED, f"{psa} calls it {found.name!r} now.", remedy)

    def company_of(self, psa: str, ident: str) -> PsaCompany | None:
        """A company, also an inactive one; None if its PSA has none of this id."""
        if psa not in self._companies and psa in self._psas:
            found = self._psas[psa].all_companies()
            self._companies[psa] = {company.id: company for company in found}
        return self._companies.get(psa, {}).get(ident)

    def agreement(self, client: Company) -> Iterator[StaleEntry]:
        """The client's agreement, if it is gone, another's, does not bill, or ends soon."""
        psa, ref, reason = client.psa, ref_of(client), None
        if client.left:
            return
        if psa in self._psas:
            judged = self._judged[ref]
            if isinstance(judged, KisiError):
                raise judged
            name, ends = judged.name, judged.ends
            if judged.not_billable is not None:
                reason = StaleReason.GONE if judged.gone else StaleReason.INACTIVE
                message, remedy = judged.not_billable.reason, judged.not_billable.remedy
        elif psa in self._listed:
            found, remedy = self.listed(client), self._merged(client) or _RENEW
            name, ends = (found.name, found.ends) if found else ("", None)
            reason, message = _state(found, client, self._today)
        else:
            return
        if reason is None and ends is not None and ends - self._today <= SOON:
            reason, message, remedy = StaleReason.ENDING, f"{name!r} ends on {ends}.", _RENEW
        if reason is not None:
            yield StaleEntry(client.name, "agreement", ref.agreement, reason, message, remedy, ends)

    def next_invoice(self, client: Company) -> date | None:
        """When the client is invoiced next, if the PSA tells."""
        self.ask_for([client], [])
        judged = self._judged.get(ref_of(client))
        return judged.next_invoice if isinstance(judged, Agreement) else None

    def _merged(self, client: Company) -> str:
        """What to do if the client's agreement is another company's now; else empty."""
        found = self.listed(client)
        if found is None or found.company == client.company:
            return ""
        return (
            "If the companies were merged: kisi map company "
            f"{client.psa}:{client.agreement} --company {found.company}"
        )

    def listed(self, client: Company) -> PsaAgreement | None:
        """The client's agreement as an inventory lists it."""
        return self._listed.get(client.psa, {}).get(client.agreement)

    def products(self, row: ProductRow, client: str = "") -> Iterator[StaleEntry]:
        """The products of a row that are gone, or that no agreement can carry."""
        known = self._products.get(row.psa, {})
        for ident in dict.fromkeys(row.products.values()) if row.psa in self._products else ():
            found = known.get(ident)
            if found is None:
                reason, what = StaleReason.GONE, f"psa.{row.psa} has no product {shorten(ident)}"
                others = (x for x in self._psas if x != row.psa)
                having = (x for x in others if ident in self._psas[x].products([ident]))
                if (where := next(having, None)) is not None:
                    what = f"Product {shorten(ident)} is one of psa.{where}, not of psa.{row.psa}"
            elif found.active:
                continue
            else:
                reason, name = StaleReason.INACTIVE, shorten(found.name)
                what = f"Product {ident} ({name}) of psa.{row.psa} is not active, or of a kind that"
                what += " no agreement can carry"
            message = f"{what}; it bills {shorten(row.application)}."
            yield StaleEntry(client, "product", ident, reason, message, _ANOTHER_PRODUCT)


def has_left(client: Company) -> str:
    """The way of a client that does not come back, with the command."""
    return f"If the client has left: kisi map leave {client.psa}:{client.agreement}"


def leaving_clients(
    mapping: BillingMapping, up_to_date: Collection[tuple[str, str]]
) -> Iterator[StaleEntry]:
    """How it stands with each client that leaves.

    `up_to_date` are PSA and agreement of clients whose lines the last run saw at 0.
    """
    for client in mapping.companies:
        here, day = f"{client.psa}:{client.agreement}", client.until
        if day is None:
            continue
        reason, message = StaleReason.LEAVING, f"It leaves; {day} is its last day."
        remedy = f"If it stays: kisi map leave {here} --undo"
        if client.left and (client.psa, client.agreement) in up_to_date:
            reason, message = StaleReason.LEFT, f"It left on {day}, and its lines are 0."
            remedy = f"Take its row out: kisi map remove {here}"
        elif client.left and client.billing:
            message = f"It left on {day}; the last run did not see all its lines at 0."
            remedy = "`kisi preview` shows them, and the id that releases them."
        elif client.left:
            message = f"It left on {day}; its billing is off, so that its lines stay as they are."
            remedy = f"Set them to 0 in psa.{client.psa}, or: kisi map billing {here} on"
        yield StaleEntry(client.name, "client", here, reason, message, remedy, day)


def _state(
    found: PsaAgreement | None, client: Company, today: date
) -> tuple[StaleReason | None, str]:
    """Why a listed agreement bills nothing; one that has not begun may still be waited for."""
    if found is None:
        return StaleReason.GONE, f"psa.{client.psa} has no agreement {shorten(client.agreement)}."
    if found.company != client.company:
        return StaleReason.FOREIGN, f"{found.name!r} belongs to company {found.company}."
    if found.ends is not None and found.ends < today:
        return StaleReason.ENDED, f"{found.name!r} ended on {found.ends}."
    if not found.active:
        return StaleReason.INACTIVE, f"{found.name!r} is cancelled or not active."
    return None, ""


def _finding(entry: StaleEntry) -> Finding:
    level = Level.WARNING if entry.reason is StaleReason.ENDING else Level.PROBLEM
    client = f"{entry.client}: " if entry.client else ""
    return Finding(level, client + entry.message, entry.remedy)


def check_lines(
    name: str, validator: SystemValidator, mapping: BillingMapping
) -> Iterator[Finding]:
    """Mapped agreements and products of a PSA that are gone, bill nothing, or are about to end."""
    clients = [client for client in mapping.companies if client.psa == name and client.billing]
    rows = [row for client in clients for row in rows_of(mapping, client).values()]
    try:
        validator.ask_for(clients, rows)
    except KisiError as error:
        yield Finding.of(error)
        return
    for client in clients:
        try:
            stale = (*validator.company(client), *validator.agreement(client))
            yield from (_finding(each) for each in stale if each.reason is not StaleReason.RENAMED)
        except KisiError as error:
            yield Finding(Level.PROBLEM, f"{client.name}: {error.message}", error.remedy)
    products = {entry.id: _finding(entry) for row in rows for entry in validator.products(row)}
    yield from (products[ident] for ident in sorted(products))
    if clients:
        looked_at = f"the agreements of all billed clients ({len(clients)}) were looked at."
        yield Finding(Level.OK, f"psa.{name}: {looked_at}")


def check_tenants(
    name: str,
    source: UsageSource,
    validator: SystemValidator,
    mapping: BillingMapping,
    now: datetime,
    rules: CountingRules,
) -> Iterator[Finding]:
    """Mapped tenants that are gone or disabled, and keys that are in use and not counted."""
    billed = [
        replace(client, tenants=tuple(ref for ref in client.tenants if ref.source == name))
        for client in mapping.companies
        if client.billing
    ]
    try:
        stale = [entry for client in billed for entry in validator.tenants(client)]
        found = [validator.tenant(ref) for client in billed for ref in client.counted]
    except SourceError:
        return  # the source says so itself
    yield from map(_finding, stale)
    present = [tenant for tenant in found if tenant is not None and tenant.enabled]
    in_use: dict[TenantRef, Key] = {}
    for ref, reading in source.read(present, lambda _key: False):
        if isinstance(reading, KisiError):
            yield Finding.of(reading)
            continue
        unstored = [
            f"{key.name} ({_uses(key)})"
            for key in reading.keys
            if key.used != 0 and judge_key(key, rules, now).reason == NOT_STORED
        ]
        if unstored:
            yield Finding(
                Level.WARNING,
                f"{reading.tenant.name}: keys in use that are not in its server's own storage are "
                f"not counted: {', '.join(unstored[:_NAMED])}.",
                "If the MSP keeps its keys on the main server, set `reported_keys = true` under "
                "[counting] and look at `kisi preview`.",
            )
        if used := next((key for key in reading.keys if key.used != 0), None):
            in_use[ref] = used
    if source.address() is not None:  # files are read whole, or not at all
        yield from _devices(name, source, present, in_use)


def check_listed_twice(
    sources: Mapping[str, UsageSource], mapping: BillingMapping
) -> Iterator[Finding]:
    """Virtual servers that no client has and that another source lists too: by mistake, or moved.

    Sources that cannot be read are left out; `check_tenants` says so.
    """
    listed: list[Tenant] = []
    for name in sorted(mapping.global_sources & sources.keys()):
        with suppress(SourceError):
            listed += sources[name].tenants()
    twice: dict[str, list[str]] = defaultdict(list)
    for tenant in unmapped_tenants(mapping, listed):
        if tenant.listed_as:
            twice[tenant.ref.source].append(f"{tenant.name} ({tenant.ref}): {tenant.listed_as}")
    for name, some in twice.items():
        more = f"; and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
        yield Finding(
            Level.WARNING,
            f"sources.{name} lists {len(some)} that another source lists too: "
            f"{'; '.join(some[:_NAMED])}{more}.",
            "Map each of them once, under the Security Center that manages its devices now. If two "
            "sections of kisi.toml are one server, remove one.",
        )


def _devices(
    name: str, source: UsageSource, tenants: Collection[Tenant], in_use: Mapping[TenantRef, Key]
) -> Iterator[Finding]:
    """Reads the devices of one key, since an account may be allowed to list keys and no devices."""
    tenant = next((tenant for tenant in tenants if tenant.ref in in_use), None)
    if tenant is None:
        what = f"sources.{name}: whether devices can be read could not be tried: "
        yield Finding(Level.NOTE, what + "no mapped tenant that could be read has a key in use.")
        return
    key = in_use[tenant.ref]
    for _, reading in source.read([tenant], lambda other: other.serial == key.serial):
        if isinstance(reading, KisiError):
            yield Finding.of(reading)
            continue
        listed = len(reading.rows)
        yield Finding(
            Level.OK if listed else Level.NOTE,
            f"sources.{name}: reading devices was tried on {reading.tenant.name}, with key "
            f"{key.serial} ({_uses(key)}, {listed} in its list).",
        )


def _uses(key: Key) -> str:
    return "in use" if key.used is None else f"{key.used} in use"
