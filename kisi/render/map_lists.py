"""The lists of `kisi map`: what can be mapped, suggestions, what is not as it was, renewals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kisi.json_text import FORMAT_VERSION, Json
from kisi.mapping.inventory import CompanyEntry, Inventory, KeyNameEntry, TenantEntry
from kisi.mapping.suggestions import Renewal, SuggestedApplication, SuggestedClient, Suggestions
from kisi.mapping.validator import StaleEntry, StaleReason
from kisi.model import Company, Tenant
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.render.csv_text import csv_text
from kisi.render.formatting import billed_as
from kisi.render.report import Cell, Entry, Grid, Item, Remark, Report, Section, Tone, row

_COLUMNS = ("kind", "source or psa", "id", "name", "belongs to", "active", "mapped to", "used")
_CSV_KEYS = {
    "tenants": ("tenant", ("source", "tenant", "name", "listed_as", "enabled", "mapped_to", "")),
    "key_names": ("key name", ("", "", "name", "", "", "application", "used")),
    "companies": ("company", ("psa", "company", "name", "", "active", "mapped_to", "")),
    "agreements": ("agreement", ("psa", "agreement", "name", "company", "active", "mapped_to", "")),
    "products": ("product", ("psa", "product", "name", "", "active", "bills", "")),
}
"""The lists of the JSON document: what a row of each is called in CSV, and its keys by column."""
_MOST_LISTED = 20
_TONES = {StaleReason.ENDING: Tone.HELD, StaleReason.RENAMED: Tone.DIM}


# --- what can be mapped -------------------------------------------------------------------------


def inventory_report(inventory: Inventory) -> Report:
    """The lists as a person reads them: ids to copy on the left, names beside them."""
    sections = [
        _tenants("Tenants", inventory.tenants),
        _key_names("Key names", inventory.key_names),
        _companies("Companies", inventory.companies),
        _section(
            "Agreements",
            ("psa", "agreement", "company", "name", "until", "mapped to"),
            (
                row(
                    entry.psa,
                    entry.agreement.id,
                    entry.agreement.company,
                    _name(entry.agreement),
                    entry.agreement.ends.isoformat() if entry.agreement.ends else "",
                    _client([entry.client] if entry.client else []),
                )
                for entry in inventory.agreements
            ),
            flexible=frozenset({3, 5}),
        ),
        _section(
            "Products",
            ("psa", "product", "name", "bills"),
            (
                row(
                    entry.psa,
                    entry.product.id,
                    _name(entry.product),
                    _or_nothing(", ".join(entry.applications)),
                )
                for entry in inventory.products
            ),
            flexible=frozenset({2, 3}),
        ),
    ]
    return Report("What can be mapped", tuple(section for section in sections if section.items))


def unmapped_report(inventory: Inventory) -> Report:
    """What nothing is mapped to, on each side; the last list is the sales view."""
    bills_nothing = [entry for entry in inventory.key_names if entry.application is None]
    sections = [
        _tenants("Unmapped tenants", inventory.tenants, mapped=False),
        _key_names("Unmapped licence names", bills_nothing, mapped=False),
        _companies("Companies without Kaspersky", inventory.companies, mapped=False),
    ]
    return Report("Unmapped", tuple(section for section in sections if section.items))


def _tenants(title: str, entries: Iterable[TenantEntry], *, mapped: bool = True) -> Section:
    headers = ("tenant", "name", *(["mapped to"] if mapped else []))
    rows = (
        row(
            str(entry.tenant.ref),
            _tenant(entry.tenant),
            *([_client([entry.company] if entry.company else [])] if mapped else []),
        )
        for entry in entries
    )
    return _section(title, headers, rows, flexible=frozenset(range(1, len(headers))))


def _key_names(title: str, entries: Iterable[KeyNameEntry], *, mapped: bool = True) -> Section:
    headers = ("key name", "in use", "tenants", *(["application"] if mapped else []))
    rows = (
        row(
            entry.name,
            str(entry.used),
            str(entry.tenants),
            *([_or_nothing(entry.application.name if entry.application else "")] if mapped else []),
        )
        for entry in entries
    )
    return _section(
        title,
        headers,
        rows,
        right=frozenset({1, 2}),
        flexible=frozenset({0, 3} if mapped else {0}),
    )


def _companies(title: str, entries: Iterable[CompanyEntry], *, mapped: bool = True) -> Section:
    headers = ("psa", "company", "name", *(["mapped to"] if mapped else []))
    rows = (
        row(
            entry.psa,
            entry.company.id,
            _name(entry.company),
            *([_client(entry.clients)] if mapped else []),
        )
        for entry in entries
    )
    return _section(title, headers, rows, flexible=frozenset(range(2, len(headers))))


def _section(
    title: str,
    headers: tuple[str, ...],
    rows: Iterable[tuple[Cell, ...]],
    *,
    right: frozenset[int] = frozenset(),
    flexible: frozenset[int] = frozenset(),
) -> Section:
    everything = tuple(rows)
    if not everything:
        return Section(title)
    grid = Grid(headers, everything, right, flexible)
    return Section(title, facts=(f"{len(everything)} in all",), items=(grid,))


def _tenant(tenant: Tenant) -> str:
    state = "" if tenant.enabled else " (disabled)"
    return tenant.name + state + (f": {tenant.listed_as}" if tenant.listed_as else "")


def _name(thing: PsaCompany | PsaAgreement | PsaProduct) -> str:
    return thing.name + ("" if thing.active else " (inactive)")


def _or_nothing(text: str) -> Cell:
    return Cell(text) if text else Cell("—", Tone.HELD)


def _client(companies: Iterable[Company]) -> Cell:
    return _or_nothing(
        ", ".join(c.name + ("" if c.billing else " (billing off)") for c in companies)
    )


def inventory_document(inventory: Inventory) -> Json:
    """The lists as JSON data."""
    document: Json = {
        "format_version": FORMAT_VERSION,
        "exit_code": inventory.exit_code,
        "tenants": [
            {
                "source": entry.tenant.ref.source,
                "tenant": entry.tenant.ref.tenant,
                "name": entry.tenant.name,
                "enabled": entry.tenant.enabled,
                "mapped_to": entry.company.name if entry.company else None,
                "listed_as": entry.tenant.listed_as or None,
            }
            for entry in inventory.tenants
        ],
        "key_names": [
            {
                "name": entry.name,
                "application": entry.application.name if entry.application else None,
                "tenants": entry.tenants,
                "used": entry.used,
            }
            for entry in inventory.key_names
        ],
        "companies": [
            {
                "psa": entry.psa,
                "company": entry.company.id,
                "name": entry.company.name,
                "active": entry.company.active,
                "mapped_to": [client.name for client in entry.clients],
            }
            for entry in inventory.companies
        ],
        "agreements": [
            {
                "psa": entry.psa,
                "agreement": entry.agreement.id,
                "company": entry.agreement.company,
                "name": entry.agreement.name,
                "type": entry.agreement.kind,
                "active": entry.agreement.active,
                "starts": entry.agreement.starts.isoformat() if entry.agreement.starts else None,
                "ends": entry.agreement.ends.isoformat() if entry.agreement.ends else None,
                "mapped_to": entry.client.name if entry.client else None,
            }
            for entry in inventory.agreements
        ],
        "products": [
            {
                "psa": entry.psa,
                "product": entry.product.id,
                "name": entry.product.name,
                "active": entry.product.active,
                "price": float(entry.product.price) if entry.product.price is not None else None,
                "bills": list(entry.applications),
            }
            for entry in inventory.products
        ],
    }
    return {**document, "unmapped": _unmapped(document), "missing": list(inventory.missing)}


def _unmapped(document: Json) -> Json:
    """As in the JSON of a run, with the PSA's accounts that no client has."""
    return {
        "tenants": [
            {key: each[key] for key in ("source", "tenant", "name", "listed_as")}
            for each in document["tenants"]
            if each["mapped_to"] is None
        ],
        "applications": [
            {
                "company": None,
                "application": each["name"],
                "quantity": each["used"],
                "estimated": True,
            }
            for each in document["key_names"]
            if each["application"] is None
        ],
        "accounts": [
            {key: each[key] for key in ("psa", "company", "name")}
            for each in document["companies"]
            if each["active"] and not each["mapped_to"]
        ],
    }


def inventory_csv(inventory: Inventory) -> str:
    """The lists as one table, a kind a row."""
    document = inventory_document(inventory)
    return csv_text(
        _COLUMNS,
        (
            [kind, *(_joined(each.get(key)) for key in keys)]
            for name, (kind, keys) in _CSV_KEYS.items()
            for each in document[name]
        ),
    )


def _joined(value: Any) -> Any:  # noqa: ANN401 - a value of the document
    return ", ".join(value) if isinstance(value, list) else value


# --- suggestions --------------------------------------------------------------------------------


def suggestions_report(suggestions: Suggestions, min_score: float) -> Report:
    """Suggestions, and the tenants that none was found for; ids are in the CSV and JSON."""
    sections = [
        Section(
            "Clients",
            facts=(_count(suggestions.clients),),
            items=tuple(_suggested_client(each) for each in suggestions.clients),
        ),
        Section(
            "Applications",
            facts=(_count(suggestions.applications),),
            items=tuple(_suggested_application(each) for each in suggestions.applications),
        ),
        Section(
            "Tenants without a suggestion",
            facts=(f"{len(suggestions.without)} below {min_score:g}",),
            items=_without(suggestions.without),
        ),
    ]
    return Report("Suggestions", tuple(section for section in sections if section.items))


def _count(rows: Sequence[SuggestedClient] | Sequence[SuggestedApplication]) -> str:
    sure = sum(row.accept for row in rows)
    return f"{sure} of {len(rows)} marked for acceptance"


def _suggested_client(each: SuggestedClient) -> Entry:
    agreement = f"agreement {each.company.agreement}" if each.company.agreement else ""
    remark = "; ".join(filter(None, (each.reason, agreement)))
    label = f"{each.score:.2f}  {each.tenant_name} → {each.company.name}"
    return _entry(label, remark, accepted=each.accept)


def _suggested_application(each: SuggestedApplication) -> Entry:
    products = ", ".join(
        billed_as(product, (category,)) for category, product in each.product.products.items()
    )
    remark = f"product {products}; {each.reason}" if products else each.reason
    label = f"{each.score:.2f}  {each.application.name}, per {each.application.unit}"
    return _entry(label, remark, accepted=each.accept)


def _entry(label: str, remark: str, *, accepted: bool) -> Entry:
    mark, tone = ("+", Tone.GOOD) if accepted else ("?", Tone.HELD)
    return Entry(mark, tone, label, remarks=(Remark(remark, Tone.DIM),))


def _without(tenants: Sequence[Tenant]) -> tuple[Item, ...]:
    if not tenants:
        return ()
    names = tuple(row(tenant.name) for tenant in tenants[:_MOST_LISTED])
    more = len(tenants) - _MOST_LISTED
    end = (Remark(f"and {more} more", Tone.DIM),) if more > 0 else ()
    return (Grid(("",), names, flexible=frozenset({0})), *end)


# --- what is not as it was ----------------------------------------------------------------------


def stale_report(entries: Sequence[StaleEntry]) -> Report:
    """What is gone, renamed, inactive or about to end, client by client."""
    titles = dict.fromkeys(entry.client for entry in entries)
    return Report(
        "Stale mappings",
        tuple(
            Section(
                title or "All clients",
                items=tuple(_stale(entry) for entry in entries if entry.client == title),
            )
            for title in titles
        ),
    )


def _stale(entry: StaleEntry) -> Entry:
    tone = _TONES.get(entry.reason, Tone.BAD)
    mark = "✗" if tone is Tone.BAD else "·"
    label = f"{entry.kind} {entry.id}: {entry.message}"
    return Entry(mark, tone, label, remarks=(Remark(entry.remedy, Tone.DIM),))


def stale_document(entries: Sequence[StaleEntry], missing: Sequence[str], code: int) -> Json:
    """The same as JSON data."""
    return {
        "format_version": FORMAT_VERSION,
        "exit_code": code,
        "stale": [_stale_fields(entry) for entry in entries],
        "missing": list(missing),
    }


def stale_csv(entries: Sequence[StaleEntry]) -> str:
    """The same as a table."""
    columns = ("client", "kind", "id", "fate", "ends", "reason", "remedy")
    rows = map(_stale_fields, entries)
    return csv_text(columns, ([fields[column] for column in columns] for fields in rows))


def _stale_fields(entry: StaleEntry) -> Json:
    return {
        "client": entry.client or None,
        "kind": entry.kind,
        "id": entry.id,
        "fate": str(entry.reason),
        "ends": entry.ends.isoformat() if entry.ends else None,
        "reason": entry.message,
        "remedy": entry.remedy,
    }


def renewals_report(renewals: Sequence[Renewal]) -> Report:
    """Each client with the agreement that ended and the one that takes its place."""
    moved = tuple(_moved(each) for each in renewals if each.successor)
    open_ = tuple(_open(each) for each in renewals if not each.successor)
    sections = (
        Section("To be moved to a new agreement", items=moved),
        Section("For you to decide", items=open_),
    )
    return Report("Renewals", tuple(section for section in sections if section.items))


def _moved(renewal: Renewal) -> Entry:
    old = renewal.old.id if renewal.old else renewal.client.agreement
    new = renewal.successor.id if renewal.successor else ""
    label = f"{renewal.client.name}: {old} → {new}"
    remarks = [Remark(f"before: {agreement_words(renewal.old)}", Tone.DIM)] if renewal.old else []
    if renewal.successor:
        remarks.append(Remark(f"now:    {agreement_words(renewal.successor)}", Tone.DIM))
    return Entry("~", Tone.CHANGE, label, remarks=tuple(remarks))


def _open(renewal: Renewal) -> Entry:
    client = renewal.client
    remarks = [Remark(f"choice: {agreement_words(each)}", Tone.DIM) for each in renewal.choices]
    if remarks:
        what = "several agreements could take its place"
        command = f"kisi map company {client.psa}:{client.agreement} --agreement ID"
        remarks.append(Remark(command, Tone.COMMAND))
    else:
        what = "no other agreement of the company runs today"
        remarks.append(Remark(f"Renew it in psa.{client.psa}, or switch billing off.", Tone.DIM))
    return Entry(
        "?", Tone.HELD, f"{client.name}, {client.agreement}: {what}", remarks=tuple(remarks)
    )


def agreement_words(agreement: PsaAgreement | None) -> str:
    """An agreement in a line: `1042 Managed Security (Managed), 2026-01-01 to 2026-12-31`."""
    if agreement is None:
        return "unknown to the PSA"
    kind = f" ({agreement.kind})" if agreement.kind else ""
    return f"{agreement.id} {agreement.name}{kind}, {_dates(agreement)}"


def _dates(agreement: PsaAgreement) -> str:
    if agreement.starts and agreement.ends:
        return f"{agreement.starts} to {agreement.ends}"
    if agreement.ends:
        return f"until {agreement.ends}"
    return f"since {agreement.starts}, no end" if agreement.starts else "no end"
