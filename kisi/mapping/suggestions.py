"""What `kisi map suggest` finds: rows of the mapping table that only wait for a person's word."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import product

from kisi.counting import Matcher
from kisi.csv_table import CsvStyle
from kisi.formats import Made, document
from kisi.json_text import Json
from kisi.mapping.inventory import CompanyEntry, Inventory, TenantEntry, running
from kisi.mapping.similarity import (
    DEFAULT_MIN_SCORE,
    Suggestion,
    fold,
    suggest_companies,
    suggest_products,
)
from kisi.mapping.table import COLUMNS, csv_cell, row_cells, write_csv
from kisi.mapping.validator import BILLS, SystemValidator
from kisi.model import (
    SPLIT,
    Application,
    BillingMapping,
    Category,
    Company,
    ProductRow,
    Tenant,
    Unit,
)
from kisi.psa import PsaAgreement, PsaProduct

SURE_PRODUCT = 0.75
"""A product whose name is at least so like the application's is suggested for acceptance."""
_FIRST = ("accept", "kind", "tenant_name", "name", "application", "score", "reason", "products")


@dataclass(frozen=True, slots=True)
class SuggestedClient:
    """A tenant as a company's client; its agreement is empty where a person must choose."""

    company: Company
    tenant_name: str
    accept: bool
    """Whether `kisi map accept` takes it unless a person says otherwise."""
    score: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SuggestedApplication:
    """Key names that seem to be one application, and the products, if any, of a similar name."""

    application: Application
    product: ProductRow
    accept: bool
    score: float = 0.0
    reason: str = ""
    products: str = ""
    """The products with their names and prices."""


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Everything that seems to belong together."""

    clients: tuple[SuggestedClient, ...] = ()
    applications: tuple[SuggestedApplication, ...] = ()
    without: tuple[Tenant, ...] = ()
    """Unmapped tenants for which no company has a like enough name."""


def suggest(
    mapping: BillingMapping, inventory: Inventory, today: date, *, min_score: float
) -> Suggestions:
    """Clients for unmapped tenants, and products for unmapped key names.

    For a virtual server that is mapped under another source nothing is suggested; of two sources
    that list one that is not mapped, a person must choose. Suggestions weaker than `min_score` are
    left out; those below the default are not marked for acceptance.
    """
    tenants = [entry.tenant for entry in open_tenants(mapping, inventory)]
    found = ranked_companies(inventory, tenants)
    clients: list[SuggestedClient] = []
    without: list[Tenant] = []
    for tenant in tenants:
        good = [(s, entry) for s, entry in found[str(tenant.ref)] if s.score >= min_score]
        for place, (found_one, entry) in enumerate(good):
            agreement, why_not = _agreement(entry, inventory, today)
            name, ident = entry.company.name, entry.company.id
            company = Company(name, (tenant.ref,), entry.psa, ident, agreement, billing=False)
            sure = place == 0 and found_one.score >= DEFAULT_MIN_SCORE
            accept = sure and not (why_not or tenant.listed_as)
            reason = "; ".join(filter(None, (found_one.reason, why_not, tenant.listed_as)))
            clients.append(SuggestedClient(company, tenant.name, accept, found_one.score, reason))
        without += [] if good else [tenant]
    shared = Counter((row.company.psa, row.company.company) for row in clients if row.accept)
    for place, row in enumerate(clients):
        count = shared[row.company.psa, row.company.company]
        if row.accept and count > 1:
            reason = f"{row.reason}; one client with {count} tenants"
            clients[place] = replace(row, reason=reason)
    applications = _applications(mapping, inventory)
    return Suggestions(tuple(clients), tuple(applications), tuple(without))


def open_tenants(mapping: BillingMapping, inventory: Inventory) -> list[TenantEntry]:
    """The tenants that nobody has or ignores, under any source; disabled ones cannot be counted."""
    owners = mapping.owners()
    return [
        entry
        for entry in inventory.tenants
        if entry.tenant.enabled
        and entry.tenant.ref.identity(mapping.global_sources) not in owners
        and not mapping.ignores(entry.tenant.ref)
    ]


def ranked_companies(
    inventory: Inventory, tenants: Iterable[Tenant]
) -> dict[str, tuple[tuple[Suggestion, CompanyEntry], ...]]:
    """For each tenant the active companies of all PSAs that it may be, best first."""
    entries = {
        f"{entry.psa}:{entry.company.id}": entry
        for entry in inventory.companies
        if entry.company.active
    }
    names = {key: entry.company.name for key, entry in entries.items()}
    found = suggest_companies({str(t.ref): t.name for t in tenants}, names)
    return {
        tenant: tuple((suggestion, entries[suggestion.id]) for suggestion in suggestions)
        for tenant, suggestions in found.items()
    }


def unmatched_key_names(mapping: BillingMapping, inventory: Inventory) -> list[str]:
    """Key names that no application matches; those that several match are not among them."""
    matcher = Matcher(mapping.applications)
    return [entry.name for entry in inventory.key_names if not matcher.matches(entry.name)]


def _agreement(entry: CompanyEntry, inventory: Inventory, today: date) -> tuple[str, str]:
    """The agreement to propose, and why it is not to be accepted unseen (empty: it may be)."""
    if entry.clients:
        client = entry.clients[0]
        return client.agreement, f"is mapped already: {client.name}"
    found = [each.agreement for each in running(inventory, entry.psa, entry.company.id, today)]
    if len(found) == 1:
        return found[0].id, ""
    if not found:
        return "", "no agreement of it runs today"
    choices = ", ".join(f"{agreement.id} {agreement.name}" for agreement in found)
    return "", f"choose the agreement: {choices}"


def _applications(mapping: BillingMapping, inventory: Inventory) -> list[SuggestedApplication]:
    """Best first; a product that is sure of one application is suggested for no other."""
    psas = [*dict.fromkeys(entry.psa for entry in inventory.products)] or [""]
    free: dict[str, dict[str, PsaProduct]] = {psa: {} for psa in psas}
    for entry in inventory.products:
        if entry.product.active and not entry.applications:
            free[entry.psa][entry.product.id] = entry.product
    groups = group_key_names(unmatched_key_names(mapping, inventory))
    alone = [(_billed(group, psa, free[psa]), group) for group, psa in product(groups, psas)]
    found = []
    for one, group in sorted(alone, key=lambda each: -each[0].score):
        there, chosen = free[one.product.psa], one.product.products.values()
        best = one if there.keys() >= set(chosen) else _billed(group, one.product.psa, there)
        found.append(best)
        if best.score >= SURE_PRODUCT:
            for ident in set(best.product.products.values()):
                del there[ident]
    return sorted(found, key=lambda each: -each.score)


def _billed(
    group: KeyNameGroup, psa: str, products: Mapping[str, PsaProduct]
) -> SuggestedApplication:
    """A group of key names with the best of the products of a PSA that bill nothing yet."""
    application = group.application
    best: dict[Category, Suggestion] = {}
    names = {ident: each.name for ident, each in products.items()}
    for found in suggest_products(application.name, names):
        best.setdefault(found.category, found)
    one = [best[Category.ALL]] if Category.ALL in best else []
    three = [best[each] for each in SPLIT if each in best]
    # by category if all three have a product that is as like as the best single one
    split = application.unit is Unit.DEVICE and len(three) == len(SPLIT)
    chosen = three if split and all(x.score >= y.score for x in three for y in one) else one
    score = min((each.score for each in chosen), default=0.0)
    named = []  # `1201 KES-ADV-WS, 4.50`; in front, what it bills of the application, if not all
    for each in chosen:
        part = "" if each.category is Category.ALL else f"{each.category} "
        price = products[each.id].price
        told = "" if price is None else f", {price:.2f}"
        named.append(f"{part}{each.id} {names[each.id]}{told}")
    like = chosen[0].reason if chosen else "no product has a similar name"
    return SuggestedApplication(
        application,
        ProductRow(application.name, psa, {each.category: each.id for each in chosen}),
        accept=score >= SURE_PRODUCT and not group.doubt,
        score=score,
        reason="; ".join(filter(None, (like, group.doubt))),
        products="; ".join(named),
    )


@dataclass(frozen=True, slots=True)
class Renewal:
    """A client whose agreement bills nothing any more, and what takes its place."""

    row: int
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
        left = client.until is not None and client.until < today
        if left or all(entry.reason in BILLS for entry in validator.agreement(client)):
            continue
        old = validator.listed(client)
        alike = {}  # to whether it has the type of the old one, and its name
        for entry in running(inventory, client.psa, client.company, today):
            if entry.client is None and (new := entry.agreement).id not in client.alongside:
                same = old is not None and fold(new.kind) == fold(old.kind)
                named = old is not None and _lasting_words(new.name) == _lasting_words(old.name)
                alike[new] = (same, named)
        sure = [each for each in alike if len(alike) == 1 or all(alike[each])]
        choices = sorted(alike, key=lambda x: (*(not y for y in alike[x]), len(x.id), x.id))
        successor = sure[0] if len(sure) == 1 else None
        found.append(Renewal(row, client, old, tuple(choices), successor))
    return tuple(found)


def _lasting_words(name: str) -> list[str]:
    """Those of an agreement's name that are no years or numbers."""
    words = re.split(r"[\s/-]+", fold(name))
    return [word for word in words if word and not any(map(str.isdigit, word))]


def suggestions_csv(suggestions: Suggestions, style: CsvStyle | None = None) -> str:
    """The suggestions as rows of the mapping table, with what speaks for them."""
    rows = []
    suggested: list[SuggestedClient | SuggestedApplication] = [*suggestions.clients]
    for each in (*suggested, *suggestions.applications):
        if isinstance(each, SuggestedClient):
            row = {**row_cells(each.company), "tenant_name": csv_cell(each.tenant_name)}
        else:
            row = {**row_cells(each.product), **row_cells(each.application)}
            row["products"] = csv_cell(each.products)
        row["accept"] = "yes" if each.accept else "no"
        rows.append(row | {"score": f"{each.score:.2f}", "reason": csv_cell(each.reason)})
    return write_csv((*_FIRST, *(each for each in COLUMNS if each not in _FIRST)), rows, style)


def suggestions_document(suggestions: Suggestions, exit_code: int = 0) -> Json:
    """The suggestions as JSON data; `without_suggestion` is for reading alone."""
    tenant: Made = {"suggested_client.tenant": lambda each: str(each.company.tenants[0])}
    return document("map-suggest", suggestions, tenant, exit_code=exit_code)


# --- key names: which application they are of ---------------------------------------------------
# A key's name (`KLLIC_PROD_NAME`) is the application's name and what was bought of it: `Kaspersky
# Endpoint Security for Business - Advanced European Edition. 50-99 Node 1 year Base License`. Only
# what stands in front is the application.

_COUNTED = (
    "nodes?|users?|workstations?|file ?servers?|servers?|mail ?address(?:es)?|mailbox(?:es)?|"
    "devices?|mobile|cores?|cpus?|virtual|licen[cs]es?|months?|years?|days?"
)
_QUANTITY = re.compile(rf"[.,;]?\s+\d[\d\s+-]*\s*-?(?:{_COUNTED})\b", re.IGNORECASE)
"""`. 50-99 Node`, ` 1 year`: from here on it is what was bought."""
_REGION = re.compile(
    r"[.,]?\s+(?:european|international|worldwide|global|(?:north|latin) american|american|"
    r"russian(?: federation)?|cis|ukrain\w+|baltic|turkish|middle east\w*|african|asian?|"
    r"asia pacific|chinese|japanese|korean|indian)\s+edition\b",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"[\s.,;:/-]+(?:base|renewal|cross-?grade|licen[cs]es?|pack|subscriptions?|msp|nfr|trial|"
    r"commercial|educational|governmental|public sector|monthly|annual|yearly|promo|for)$"
    r"|[\s.,;:/-]+$",
    re.IGNORECASE,
)
_PER_DEVICE = re.compile(r"\b(?:nodes?|devices?|workstations?|file ?servers?)\b", re.IGNORECASE)
"""Where a name speaks of users too, it is per user: `10-14 User; 20-28 Mobile device`."""
_FEWEST_WORDS = 2
PER_USER_OR_DEVICE = "per user or per device? look at the licence"


@dataclass(frozen=True, slots=True)
class KeyNameGroup:
    """Key names that seem to be of one application."""

    application: Application
    """With globs that each of `seen` matches one of, and the unit that the names speak of."""
    seen: tuple[str, ...]
    doubt: str = ""
    """What a person must look up before this unit bills anybody; empty: the names tell it."""
    known: bool = False
    """Whether mapping.toml has the application."""
    psas: tuple[str, ...] = ()
    """Where it has no product, if that was asked."""


def group_key_names(names: Iterable[str]) -> tuple[KeyNameGroup, ...]:
    """Key names found on servers, grouped into applications, by name.

    >>> [group] = group_key_names([
    ...     "Kaspersky Endpoint Security for Business - Advanced. 50 Node 1 year Base License",
    ...     "Kaspersky Endpoint Security for Business - Advanced Subscription MSP",
    ... ])
    >>> group.application.keys
    ('Kaspersky Endpoint Security for Business - Advanced*',)
    """
    stems: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, set[str]] = defaultdict(set)
    for name in filter(str.strip, names):
        stem = application_of(name)
        words = " ".join(re.findall(r"[^\W_]+", stem.casefold())) or stem
        stems[words].add(stem)
        seen[words].add(name)
    groups = []
    for key, members in seen.items():
        unit, doubt = _unit(members)
        name = min(stems[key], key=lambda stem: (stem.isupper(), stem))
        # of the stems that differ only in case, which globs do not regard, one is enough
        keys = tuple({stem.casefold(): f"{stem}*" for stem in sorted(stems[key])}.values())
        groups.append(KeyNameGroup(Application(name, keys, unit), tuple(sorted(members)), doubt))
    return tuple(sorted(groups, key=lambda group: group.application.name.casefold()))


def open_applications(
    mapping: BillingMapping, inventory: Inventory, psas: Iterable[str]
) -> list[KeyNameGroup]:
    """Key names of no application, in groups, and applications without a product.

    Asked of the PSAs that bill clients; of all `psas` where none does yet.
    """
    psas = tuple(dict.fromkeys(each.psa for each in mapping.companies)) or tuple(psas)
    names = unmatched_key_names(mapping, inventory)
    found = [replace(group, psas=psas) for group in group_key_names(names)]
    billed = {(row.application, row.psa) for row in mapping.products}
    for each in mapping.applications:
        where = tuple(psa for psa in psas if (each.name, psa) not in billed)
        if each.bill and where:
            own = Matcher([each])
            seen = tuple(entry.name for entry in inventory.key_names if own.match(entry.name))
            application = replace(each, keys=each.globs)
            found.append(KeyNameGroup(application, seen, known=True, psas=where))
    return found


def application_of(key_name: str) -> str:
    """The application's name: `key_name` up to the region, the quantity or the kind of licence."""
    cuts = [match.start() for rule in (_QUANTITY, _REGION) if (match := rule.search(key_name))]
    stem = key_name[: min(cuts, default=len(key_name))].rstrip()
    while (shorter := _TAIL.sub("", stem)) != stem and len(shorter.split()) >= _FEWEST_WORDS:
        stem = shorter
    return stem if len(stem.split()) >= _FEWEST_WORDS else key_name.strip()


def _unit(names: Collection[str]) -> tuple[Unit, str]:
    """What one unit seems to be, and the doubt that is left.

    Endpoint Security Cloud is licensed per user; licences from before April 2019 are per device. A
    name that does not say which leaves a doubt, because the two bill differently.
    """
    text = " ".join(names).casefold()
    if re.search(r"office 365|mail ?address|mailbox", text):
        return Unit.MAILBOX, ""
    if "endpoint security cloud" not in text:
        return Unit.DEVICE, ""
    users = [name for name in names if re.search(r"(?i)\busers?\b", name)]
    devices = [name for name in names if name not in users and _PER_DEVICE.search(name)]
    if len(devices) == len(names):
        return Unit.DEVICE, ""
    return Unit.USER, "" if len(users) == len(names) else PER_USER_OR_DEVICE
