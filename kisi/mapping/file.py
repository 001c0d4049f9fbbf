"""Reads `mapping.toml`: what is billed to whom, checked row by row and rows against each other.

Nothing here counts or bills; see `kisi.counting` and `kisi.planning`. All problems are found at
once.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from kisi.config.document import Document, read_document
from kisi.config.sentences import did_you_mean, listed, shorten
from kisi.errors import ConfigError
from kisi.mapping import rules
from kisi.mapping.rows import MappingTable, TableRow
from kisi.model import Application, BillingMapping, Category, Company, ProductRow, TenantRef, Unit

_TABLES = ("application", "product", "company")
_APPLICATION = frozenset({"name", "keys", "unit", "bill"})
_PRODUCT = frozenset({"application", "psa", *Category})
_COMPANY = frozenset(
    {"name", "tenants", "psa", "company", "agreement", "alongside", "billing", "product"}
)

Known = Mapping[str, tuple[TableRow, Application]]
"""The applications by name, with their rows."""


def load_mapping(
    path: Path,
    *,
    sources: Collection[str],
    psas: Collection[str],
    global_sources: Collection[str] = (),
) -> BillingMapping:
    """Reads `mapping.toml`; a file that does not exist maps nothing.

    Args:
        path: The file.
        sources: The names of the sources in kisi.toml.
        psas: The names of its PSAs. Where there is one, rows may leave out `psa`.
        global_sources: Those of the sources whose tenant ids are the same in each of them.

    Raises:
        ConfigError: All problems, each as
            `mapping.toml: [[company]] "Contoso" (row 3, line 41) agreement: Sentence.`
    """
    if not os.path.lexists(path):
        return BillingMapping()
    document = read_document(path, if_missing="Mend the link, or remove it to start without one.")
    return read_mapping(document, sources=sources, psas=psas, global_sources=global_sources)


def read_mapping(
    document: Document,
    *,
    sources: Collection[str],
    psas: Collection[str],
    global_sources: Collection[str] = (),
) -> BillingMapping:
    """Turns a parsed mapping.toml into the model.

    Raises:
        ConfigError: All problems, as for `load_mapping`.
    """
    table = MappingTable(document)
    table.refuse_unknown(_TABLES)
    applications = [(row, _application(row)) for row in table.rows("application", title="name")]
    known = {each.name: (row, each) for row, each in applications if each.name}
    products = [
        (row, _product(row, known, _psa(row, psas)))
        for row in table.rows("product", title="application")
    ]
    companies = [
        (row, _company(table, row, known, sources, psas))
        for row in table.rows("company", title="name")
    ]
    rules.check(applications, products, companies, global_sources)
    if table.problems:
        raise ConfigError(
            table.problems,
            remedy=f"Correct {document.path}, then run `kisi check`. Nothing was sent.",
        )
    return BillingMapping(
        tuple(application for _, application in applications),
        tuple(product for _, product in products),
        tuple(company for _, company in companies),
        frozenset(global_sources),
    )


def _application(row: TableRow) -> Application:
    row.refuse_unknown(_APPLICATION)
    unit = row.text("unit", required=False) or Unit.DEVICE
    if unit not in set(Unit):
        row.problem(f"There is no such unit; {did_you_mean(unit, list(Unit))}", "unit")
        unit = Unit.DEVICE
    return Application(
        name=row.text("name"),
        keys=row.texts("keys"),
        unit=Unit(unit),
        bill=row.flag("bill", default=True),
    )


def _product(row: TableRow, known: Known, psa: str) -> ProductRow:
    """A general product row, or (with a parent) a client's exception."""
    if row.parent and row.data.get("psa", psa) != psa:
        row.problem("An exception is for its client's own PSA; leave this key out.", "psa")
    elif row.parent is None and "bill" in row.data:
        row.problem(
            "This belongs in [[application]] (never billed), or in a client's "
            "[[company.product]] (managed by hand there).",
            "bill",
        )
    row.refuse_unknown(_PRODUCT | {"bill"})
    application = row.text("application")
    if application and application not in known:
        hint = did_you_mean(application, known)
        row.problem(f"There is no [[application]] of this name; {hint}", "application")
    products = {category: row.ident(category) for category in Category if category in row.data}
    bill = row.parent is None or row.flag("bill", default=True)
    rules.products_of_a_billed_application(row, products, known.get(application))
    unit = known[application][1].unit if application in known else Unit.DEVICE
    if not bill and products:
        row.problem("It names products, and bill = false says that nothing is billed.")
    elif bill and not products:
        row.problem(
            "It names no product: write all = ID, or windows_workstations, windows_servers and "
            "non_windows." + (" To leave it to people, write bill = false." if row.parent else "")
        )
    elif Category.ALL in products and len(products) > 1:
        row.problem("It names a product for all devices and for categories; keep one of the two.")
    elif bill and unit is not Unit.DEVICE and Category.ALL not in products:
        row.problem(f'An application with unit = "{unit}" has no categories: write all = ID.')
    return ProductRow(application, psa, products, bill)


def _company(
    table: MappingTable,
    row: TableRow,
    known: Known,
    sources: Collection[str],
    psas: Collection[str],
) -> Company:
    row.refuse_unknown(_COMPANY)
    psa = _psa(row, psas)
    exceptions = [
        (inner, _product(inner, known, psa))
        for inner in table.rows_of(row, "product", title="application")
    ]
    rules.one_exception_an_application(exceptions)
    agreement = row.ident("agreement")
    return Company(
        name=row.text("name"),
        tenants=_tenants(row, sources),
        psa=psa,
        company=row.ident("company"),
        agreement=agreement,
        billing=row.flag("billing", default=True),
        exceptions=tuple(exception for _, exception in exceptions),
        alongside=_alongside(row, agreement),
    )


def _alongside(row: TableRow, agreement: str) -> tuple[str, ...]:
    others = row.idents("alongside")
    if agreement and agreement in others:
        row.problem("This client's own agreement is among them; name only others.", "alongside")
    for ident in sorted({ident for ident in others if others.count(ident) > 1}):
        row.problem(f"Agreement {shorten(ident)} is named twice.", "alongside")
    return others


def _psa(row: TableRow, psas: Collection[str]) -> str:
    if "psa" not in row.data:
        if len(psas) == 1:
            return next(iter(psas))
        if psas:
            row.problem(f"This key is missing, and kisi.toml has several: {listed(psas)}.", "psa")
        else:
            row.problem("kisi.toml has no [psa.NAME] that this could be billed in.", "psa")
        return ""
    psa = row.text("psa")
    if psa and psa not in psas:
        row.problem(
            f"There is no [psa.{shorten(psa)}] in kisi.toml; {did_you_mean(psa, psas)}", "psa"
        )
        return ""
    return psa


def _tenants(row: TableRow, sources: Collection[str]) -> tuple[TenantRef, ...]:
    if "tenants" not in row.data:
        row.problem("This key is missing.", "tenants")
    refs = [_tenant(row, text, sources) for text in row.texts("tenants")]
    for ref in sorted({ref for ref in refs if refs.count(ref) > 1 and ref.source}):
        row.problem(f'"{shorten(str(ref))}" is named twice.', "tenants")
    return tuple(refs)


def _tenant(row: TableRow, text: str, sources: Collection[str]) -> TenantRef:
    source, colon, tenant = text.partition(":")
    if not colon or not tenant.strip():
        row.problem(
            f'"{shorten(text)}" is not a tenant: write "SOURCE:TENANT", such as '
            f'"{next(iter(sources), "hq")}:{shorten(text.strip(":"))}".',
            "tenants",
        )
    elif source not in sources:
        hint = did_you_mean(source, sources)
        row.problem(
            f'"{shorten(text)}": There is no [sources.{shorten(source)}] in kisi.toml; {hint}',
            "tenants",
        )
    else:
        return TenantRef(source, tenant)
    return TenantRef("", "")
