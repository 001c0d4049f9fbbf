"""What `kisi map` shows: the lists of what can be mapped, and a screen before each question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kisi.csv_table import CsvStyle
from kisi.formats import Made, columns, described, document
from kisi.json_text import Json, attribute
from kisi.mapping.inventory import CompanyEntry, Inventory, KeyNameEntry, ProductEntry, TenantEntry
from kisi.mapping.similarity import Suggestion
from kisi.mapping.suggestions import (
    KeyNameGroup,
    Renewal,
    SuggestedApplication,
    SuggestedClient,
    Suggestions,
)
from kisi.mapping.validator import StaleEntry, StaleReason, has_left
from kisi.model import Company, Line
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.render.export import csv_of, csv_text
from kisi.render.formatting import money, quantity
from kisi.render.report import Entry, Item, Report, Section, Span, Tone, remarks, table

_UNMAPPED = {
    "Tenants": "Unmapped tenants",
    "Key names": "Unmapped licence names",
    "Companies": "Companies without Kaspersky",
}
"""The lists of which something may be unmapped, and what the rest of each is called then."""
_CSV_KEYS = {
    "tenants": ("tenant", ("source", "tenant", "name", "listed_as", "enabled", "mapped_to", "")),
    "key_names": ("key name", ("", "", "name", "", "", "application", "used")),
    "companies": ("company", ("psa", "company", "name", "", "active", "mapped_to", "")),
    "agreements": ("agreement", ("psa", "agreement", "name", "company", "active", "mapped_to", "")),
    "products": ("product", ("psa", "product", "name", "", "active", "bills", "")),
}
"""The lists of the JSON document: what a row of each is called in CSV, and its keys by column."""
_MADE: Made = {"listed_tenant.bill": lambda entry: entry.ignored is None}
_STALE_TONES = {
    StaleReason.ENDING: Tone.HELD,
    StaleReason.LEAVING: Tone.HELD,
    StaleReason.LEFT: Tone.HELD,
    StaleReason.RENAMED: Tone.DIM,
}
_MOST_LISTED = 20
_MOST_KEY_NAMES = 6
_MOST_LINES = 4
MOST_CHOICES = 12
"""A longer list is cut: more of the name finds the one that is meant."""


def inventory_report(inventory: Inventory, leaving: Iterable[StaleEntry] = ()) -> Report:
    """The lists as a person reads them: ids to copy on the left, names beside them."""
    leavers = tuple(_stale(entry, f"{entry.client}: {entry.message}") for entry in leaving)
    lists = (_section(*one) for one in _lists(inventory))
    return _report("What can be mapped", *lists, Section("Clients that leave", (), leavers))


def unmapped_report(unmapped: Inventory) -> Report:
    """The lists of what nothing is mapped to, on each side; the last is the sales view."""
    lists = (one for one in _lists(unmapped) if one[0] in _UNMAPPED)
    short = ((_UNMAPPED[x], columns.rpartition("|")[0], rows) for x, columns, rows in lists)
    return _report("Unmapped", *(_section(*one) for one in short))


def _section(title: str, columns: str, rows: Sequence[Sequence[str | Span]]) -> Section:
    return Section(title, (f"{len(rows)} in all",), table(columns, rows))


def _lists(inventory: Inventory) -> Iterable[tuple[str, str, Sequence[Sequence[str | Span]]]]:
    """Each with its title and columns, of which the last says what an entry is mapped to."""
    tenants = []
    for entry in inventory.tenants:
        tenant, owner = entry.tenant, _clients(entry.company)
        name = tenant.name + ("" if tenant.enabled else " (disabled)")
        name += f": {tenant.listed_as}" if tenant.listed_as else ""
        if entry.ignored is not None:
            owner = Span(f"never billed: {entry.ignored.note}".removesuffix(": "), Tone.DIM)
        tenants.append((str(tenant.ref), name, owner))
    yield "Tenants", "tenant | name~ | mapped to~", tenants
    names = [
        (x.name, str(x.used), str(x.tenants), _mapped(attribute(x, "application.name")))
        for x in inventory.key_names
    ]
    yield "Key names", "key name~ | in use# | tenants# | application~", names
    companies = [
        (x.psa, x.company.id, _name(x.company), _clients(*x.clients)) for x in inventory.companies
    ]
    yield "Companies", "psa | company | name~ | mapped to~", companies
    agreements = [
        (x.psa, one.id, one.company, _name(one), str(one.ends or ""), _clients(x.client))
        for x in inventory.agreements
        for one in [x.agreement]
    ]
    yield "Agreements", "psa | agreement | company | name~ | until | mapped to~", agreements
    products = [
        (x.psa, x.product.id, _name(x.product), _mapped(*x.applications))
        for x in inventory.products
    ]
    yield "Products", "psa | product | name~ | bills~", products


def _report(title: str, *sections: Section) -> Report:
    return Report(title, tuple(section for section in sections if section.items))


def _name(thing: PsaCompany | PsaAgreement | PsaProduct) -> str:
    return thing.name + ("" if thing.active else " (inactive)")


def _mapped(*names: str | None) -> Span:
    return Span(", ".join(filter(None, names)) or "—", Tone.PLAIN if any(names) else Tone.HELD)


def _clients(*companies: Company | None) -> Span:
    return _mapped(*(x.name + ("" if x.billing else " (billing off)") for x in companies if x))


def inventory_document(inventory: Inventory, leaving: Sequence[StaleEntry] = ()) -> Json:
    """The lists as JSON data."""
    open_ = inventory.only_unmapped()
    unmapped = {  # as in the JSON of a run, with accounts that no client has
        "tenants": [entry.tenant for entry in open_.tenants],
        "applications": [
            {"company": None, "application": x.name, "quantity": x.used, "estimated": True}
            for x in open_.key_names
        ],
        "accounts": open_.companies,
    }
    return document("map-list", inventory, _MADE, leaving=leaving, unmapped=unmapped)


def inventory_csv(inventory: Inventory, style: CsvStyle | None = None) -> str:
    """The lists as one table, a kind a row."""
    lists = inventory_document(inventory)
    rows = (
        [kind, *(", ".join(x) if isinstance(x, list) else x for x in map(each.get, keys))]
        for name, (kind, keys) in _CSV_KEYS.items()
        for each in lists[name]
    )
    return csv_text(columns("map-list"), rows, style or CsvStyle())


def suggestions_report(suggestions: Suggestions, min_score: float) -> Report:
    """Suggestions, and the tenants that none was found for; ids are in the CSV and JSON."""
    shown = suggestions.without[:_MOST_LISTED]
    more = len(suggestions.without) - len(shown)
    without = (
        *table("~", ([one.name] for one in shown)),
        *remarks(f"and {more} more" if more else ""),
    )
    few = f"{len(suggestions.without)} below {min_score:g}"
    return _report(
        "Suggestions",
        _suggested("Clients", suggestions.clients),
        _suggested("Applications", suggestions.applications),
        Section("Tenants without a suggestion", (few,), without),
    )


def _suggested(
    title: str, rows: Sequence[SuggestedClient] | Sequence[SuggestedApplication]
) -> Section:
    entries = []
    for each in rows:
        if isinstance(each, SuggestedClient):
            label, agreement = f"{each.tenant_name} → {each.company.name}", each.company.agreement
            said = (each.reason, agreement and f"agreement {agreement}")
        else:
            label = f"{each.application.name}, per {each.application.unit}"
            said = (each.products and f"product {each.products}", each.reason)
        mark, tone = ("+", Tone.GOOD) if each.accept else ("?", Tone.HELD)
        told = remarks("; ".join(filter(None, said)))
        entries.append(Entry(mark, tone, f"{each.score:.2f}  {label}", remarks=told))
    facts = (f"{sum(each.accept for each in rows)} of {len(rows)} marked for acceptance",)
    return Section(title, facts, tuple(entries))


def stale_report(entries: Sequence[StaleEntry]) -> Report:
    """What is gone, renamed, inactive or about to end, client by client."""
    clients: dict[str, list[Entry]] = {}
    for entry in entries:
        told = _stale(entry, f"{entry.kind} {entry.id}: {entry.message}")
        clients.setdefault(entry.client, []).append(told)
    sections = (Section(name or "All clients", (), tuple(x)) for name, x in clients.items())
    return Report("Stale mappings", tuple(sections))


def _stale(entry: StaleEntry, label: str) -> Entry:
    tone = _STALE_TONES.get(entry.reason, Tone.BAD)
    mark = "✗" if tone is Tone.BAD else "·"
    return Entry(mark, tone, label, remarks=remarks(entry.remedy))


def stale_document(entries: Sequence[StaleEntry], missing: Sequence[str], code: int) -> Json:
    """The same as JSON data."""
    return document("map-stale", {"exit_code": code, "stale": entries, "missing": missing})


def stale_csv(entries: Sequence[StaleEntry], style: CsvStyle | None = None) -> str:
    """The same as a table."""
    rows = (described("stale", entry) for entry in entries)
    return csv_of("map-stale", rows, style or CsvStyle())


def renewals_report(renewals: Sequence[Renewal]) -> Report:
    """Each client with the agreement that ended and the one that takes its place."""
    moved, undecided = [], []
    for renewal in renewals:
        client, new, choices = renewal.client, renewal.successor, renewal.choices
        if new is not None:
            before = f"before: {agreement_words(renewal.old)}" if renewal.old else ""
            told = remarks(before, f"now:    {agreement_words(new)}")
            label = f"{client.name}: {client.agreement} → {new.id}"
            moved.append(Entry("~", Tone.CHANGE, label, remarks=told))
            continue
        what = "no other agreement of the company runs today"
        told = remarks(f"Renew it in psa.{client.psa}. {has_left(client)}")
        if choices:
            what = "several agreements could take its place"
            command = f"kisi map company {client.psa}:{client.agreement} --agreement ID"
            told = remarks(*(f"choice: {agreement_words(each)}" for each in choices))
            told += (Span(command, Tone.COMMAND),)
        label = f"{client.name}, {client.agreement}: {what}"
        undecided.append(Entry("?", Tone.HELD, label, remarks=told))
    return _report(
        "Renewals",
        Section("To be moved to a new agreement", (), tuple(moved)),
        Section("For you to decide", (), tuple(undecided)),
    )


def agreement_words(agreement: PsaAgreement | None) -> str:
    """An agreement in a line: `1042 Managed Security (Managed), 2026-01-01 to 2026-12-31`."""
    if agreement is None:
        return "unknown to the PSA"
    kind = f" ({agreement.kind})" if agreement.kind else ""
    starts, ends = agreement.starts, agreement.ends
    if ends:
        dates = f"{starts} to {ends}" if starts else f"until {ends}"
    else:
        dates = f"since {starts}, no end" if starts else "no end"
    return f"{agreement.id} {agreement.name}{kind}, {dates}"


# --- before each question of `kisi map` on a terminal ---------------------------------------------


def overview_screen(unmapped: Mapping[str, str], stale: int, parts: Sequence[str]) -> Report:
    """What is unmapped on each side, and the numbered parts that can be mapped now."""
    count = "1 mapping is" if stale == 1 else f"{stale} mappings are"
    said = remarks(f"{count} stale: kisi map list --stale" if stale else "", tone=Tone.HELD)
    open_now = Section("Not mapped yet", (), (*table("|~", unmapped.items()), *said))
    numbered = ((str(number), words) for number, words in enumerate(parts, 1))
    to_map = Section("To map", (), table("|", numbered))
    return Report("kisi map", (open_now, to_map) if parts else (open_now,))


def _numbered(columns: str, rows: Iterable[Sequence[str | Span]]) -> tuple[Item, ...]:
    """Rows to choose from, by their number; a longer list is cut, and says so."""
    every = [(str(number), *one) for number, one in enumerate(rows, 1)]
    more = len(every) - MOST_CHOICES
    said = remarks(f"and {more} more: type more of the name" if more > 0 else "")
    return (*table(f"#|{columns}", every[:MOST_CHOICES]), *said)


def tenant_screen(
    entry: TenantEntry,
    place: str,
    choices: Sequence[tuple[Suggestion, CompanyEntry]],
    owners: Mapping[tuple[str, str], Company],
) -> Report:
    """A tenant, what it uses, and the companies that it may be."""
    used = sorted(entry.uses, key=lambda use: (-use[1], use[0]))[:_MOST_KEY_NAMES]
    rows = [
        (f"{suggestion.score:.2f}", _company(company, owners), Span(suggestion.reason, Tone.DIM))
        for suggestion, company in choices
    ]
    nothing = Span("No company has a similar name. Type a part of its name.", Tone.HELD)
    items = (
        *remarks(*(f"{count} x {name}" for name, count in used)),
        *(_numbered("score | company~ | why~", rows) or [nothing]),
    )
    tenant = entry.tenant
    facts = (place, str(tenant.ref), *([tenant.listed_as] if tenant.listed_as else []))
    return Report("Tenant", (Section(tenant.name, facts, items),))


def companies_screen(
    found: Sequence[CompanyEntry], owners: Mapping[tuple[str, str], Company]
) -> Report:
    """The companies that a search found."""
    rows = ((_company(entry, owners), f"{entry.psa}:{entry.company.id}") for entry in found)
    return Report("Search", (Section("Found", (), _numbered("company~ | id", rows)),))


def _company(entry: CompanyEntry, owners: Mapping[tuple[str, str], Company]) -> Span:
    owner = owners.get((entry.psa, entry.company.id))
    if owner is None:
        return Span(entry.company.name)
    known = "mapped" if owner.name == entry.company.name else f"mapped: {owner.name}"
    return Span(f"{entry.company.name} ({known})")


def agreements_screen(
    company: str,
    agreements: Sequence[PsaAgreement],
    bills: Mapping[str, str],
    owners: Mapping[str, Company],
) -> Report:
    """A company's running agreements, with what each bills already."""
    entries = []
    for number, agreement in enumerate(agreements, 1):
        owner = owners.get(agreement.id)
        joins = f"mapped to {owner.name}: the tenant joins it" if owner else ""
        told = (*remarks(bills.get(agreement.id, "")), *remarks(joins, tone=Tone.HELD))
        mark = f"{number} " if len(agreements) > 1 else "·"
        entries.append(Entry(mark, Tone.PLAIN, agreement_words(agreement), remarks=told))
    title = "Agreements of" if len(entries) > 1 else "Agreement of"
    return Report("Agreements", (Section(f"{title} {company}", (), tuple(entries)),))


def lines_words(lines: Iterable[Line], products: Mapping[str, str]) -> str:
    """What an agreement bills already: `bills 12 x Backup, 3 x Firewall`."""
    names = [
        f"{quantity(x.quantity)} x {x.description or products.get(x.product, x.product)}"
        for x in lines
    ]
    if not names:
        return "bills nothing yet"
    more = f" and {len(names) - _MOST_LINES} more" if len(names) > _MOST_LINES else ""
    return "bills " + ", ".join(names[:_MOST_LINES]) + more


def application_screen(
    group: KeyNameGroup, place: str, key_names: Sequence[KeyNameEntry], choices: Sequence[str]
) -> Report:
    """Key names that seem to be one application, and how it may be billed."""
    names = ((x.name, str(x.used), str(x.tenants)) for x in key_names[:_MOST_KEY_NAMES])
    more = len(key_names) - _MOST_KEY_NAMES
    items = (
        *table("key name~ | in use# | tenants#", names),
        *remarks(f"and {more} more key names" if more > 0 else ""),
    )
    facts = (*([place] if place else []), group.doubt or f"counted per {group.application.unit}")
    known = Section(group.application.name, facts, items)
    question = "How is it billed?" if place else "Which is it?"
    numbered = ((str(number), words) for number, words in enumerate(choices, 1))
    return Report("Application", (known, Section(question, (), table("|~", numbered))))


def products_screen(title: str, found: Sequence[tuple[ProductEntry, Suggestion | None]]) -> Report:
    """Products to choose from, suggested or found by a search."""
    rows = (
        (
            entry.product.name
            + (f" (bills {', '.join(entry.applications)})" if entry.applications else ""),
            entry.product.id,
            money(entry.product.price) if entry.product.price is not None else "",
            f"{suggestion.score:.2f}" if suggestion else "",
            Span(suggestion.reason if suggestion else "", Tone.DIM),
        )
        for entry, suggestion in found
    )
    nothing = Span("No product has a similar name. Type a part of its name.", Tone.HELD)
    items = _numbered("product~ | id | price# | score# | why~", rows) or (nothing,)
    return Report("Products", (Section(title, (), items),))
