"""All of mapping.toml as one CSV table; `table_import` reads it back.

A row is of one kind: `application`, `product`, `company`, or `exception` (a `[[company.product]]`,
which names its client by PSA and agreement). Cells are read back without a loss; see `csv_cells`.
"""

from __future__ import annotations

from kisi.mapping.csv_cells import csv_cell, csv_list, write_csv
from kisi.model import Application, BillingMapping, Category, Company, ProductRow

COLUMNS = (
    *("kind", "name", "application", "tenants", "psa", "company", "agreement", "billing"),
    *("keys", "unit", "bill", *map(str, Category), "alongside"),
)


def mapping_csv(mapping: BillingMapping) -> str:
    """The whole mapping, in its own order; each client is followed by its exceptions."""
    rows = [_application_cells(each) for each in mapping.applications]
    rows += [{"kind": "product", **_product_cells(each)} for each in mapping.products]
    for company in mapping.companies:
        rows.append(_company_cells(company))
        rows += [_exception_cells(company, each) for each in company.exceptions]
    return write_csv(COLUMNS, rows)


def _application_cells(application: Application) -> dict[str, str]:
    return {
        "kind": "application",
        "application": csv_cell(application.name),
        "keys": csv_list(application.keys),
        "unit": str(application.unit),
        "bill": _flag(application.bill),
    }


def _product_cells(row: ProductRow) -> dict[str, str]:
    return {
        "application": csv_cell(row.application),
        "psa": row.psa,
        **{str(category): csv_cell(product) for category, product in row.products.items()},
    }


def _company_cells(company: Company) -> dict[str, str]:
    return {
        "kind": "company",
        "name": csv_cell(company.name),
        "tenants": csv_list(map(str, company.tenants)),
        "psa": company.psa,
        "company": csv_cell(company.company),
        "agreement": csv_cell(company.agreement),
        "billing": _flag(company.billing),
        "alongside": csv_list(company.alongside),
    }


def _exception_cells(company: Company, row: ProductRow) -> dict[str, str]:
    return {
        **_product_cells(row),
        "kind": "exception",
        "name": csv_cell(company.name),
        "company": csv_cell(company.company),
        "agreement": csv_cell(company.agreement),
        "bill": _flag(row.bill),
    }


def _flag(value: bool) -> str:  # noqa: FBT001 - a value to write, not a switch
    return "true" if value else "false"
