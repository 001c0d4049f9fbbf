"""`kisi map list`: everything that can be mapped, with its ids."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.json_text import FORMAT_VERSION, Json
from kisi.mapping.inventory import CompanyEntry, Inventory, KeyNameEntry, TenantEntry
from kisi.model import Company, Tenant
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.render.csv_text import Value, csv_text
from kisi.render.report import Cell, Grid, Report, Section, Tone, row

_COLUMNS = ("kind", "source or psa", "id", "name", "belongs to", "active", "mapped to", "used")


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
    return {
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
        "unmapped": _unmapped(inventory),
        "missing": list(inventory.missing),
    }


def _unmapped(inventory: Inventory) -> Json:
    """As in the JSON of a run, with the PSA's accounts that no client has."""
    return {
        "tenants": [
            {
                "source": entry.tenant.ref.source,
                "tenant": entry.tenant.ref.tenant,
                "name": entry.tenant.name,
                "listed_as": entry.tenant.listed_as or None,
            }
            for entry in inventory.tenants
            if entry.company is None
        ],
        "applications": [
            {"company": None, "application": entry.name, "quantity": entry.used, "estimated": True}
            for entry in inventory.key_names
            if entry.application is None
        ],
        "accounts": [
            {"psa": entry.psa, "company": entry.company.id, "name": entry.company.name}
            for entry in inventory.companies
            if not entry.clients and entry.company.active
        ],
    }


def inventory_csv(inventory: Inventory) -> str:
    """The lists as one table, a kind a row."""
    rows: list[list[Value]] = []
    for tenant in inventory.tenants:
        ref = tenant.tenant.ref
        client = tenant.company.name if tenant.company else None
        name, enabled = tenant.tenant.name, tenant.tenant.enabled
        same = tenant.tenant.listed_as or None
        rows.append(["tenant", ref.source, ref.tenant, name, same, enabled, client, None])
    for key in inventory.key_names:
        application = key.application.name if key.application else None
        rows.append(["key name", None, None, key.name, None, None, application, key.used])
    for company in inventory.companies:
        one = company.company
        clients = ", ".join(client.name for client in company.clients)
        rows.append(["company", company.psa, one.id, one.name, None, one.active, clients, None])
    for agreement in inventory.agreements:
        a = agreement.agreement
        client = agreement.client.name if agreement.client else None
        rows.append(["agreement", agreement.psa, a.id, a.name, a.company, a.active, client, None])
    for product in inventory.products:
        p = product.product
        bills = ", ".join(product.applications)
        rows.append(["product", product.psa, p.id, p.name, None, p.active, bills, None])
    return csv_text(_COLUMNS, rows)
