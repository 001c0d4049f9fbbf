"""mapping.toml before and after a change that is not saved yet, and what must hold for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kisi.mapping.edit import EXCEPTION
from kisi.model import Application, BillingMapping, Company, ProductRow, Unit

_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Draft:
    """mapping.toml as it is, or as changes have left it so far: checked, and not saved."""

    text: str
    """All of it."""
    mapping: BillingMapping
    """What it means; its rows are in the text's order."""
    psas: tuple[str, ...]
    """The names of the PSAs in kisi.toml: rows name theirs only where there are several."""


@dataclass(frozen=True, slots=True)
class Change:
    """An edited text, and the rows whose ids the change brings into it."""

    text: str
    """All of mapping.toml."""
    companies: tuple[Company, ...] = ()
    """Clients whose tenants, company and agreement must exist before it is saved."""
    products: tuple[ProductRow, ...] = ()
    """Rows whose products must exist before it is saved."""
    done: tuple[str, ...] = ()
    """What it does, in sentences in the past tense."""

    def followed_by(self, other: Change) -> Change:
        """Both changes, where `other` was made on this one's text."""
        return Change(
            other.text,
            self.companies + other.companies,
            self.products + other.products,
            self.done + other.done,
        )


def toml_id(ident: str) -> int | str:
    """An id as it is written: a whole number where nothing is lost by it, else text.

    >>> toml_id("250"), toml_id("007"), toml_id("KES-ADV")
    (250, '007', 'KES-ADV')
    """
    if ident.isascii() and ident.isdigit() and ident[0] != "0" and int(ident) <= _LARGEST_ID:
        return int(ident)
    return ident


def application_row(application: Application) -> dict[str, Any]:
    """`[[application]]`, without the keys that have their defaults."""
    row: dict[str, Any] = {"name": application.name}
    if application.keys and application.keys != (application.name + "*",):
        row["keys"] = list(application.keys)
    if application.unit is not Unit.DEVICE:
        row["unit"] = str(application.unit)
    if not application.bill:
        row["bill"] = False
    return row


def product_row(
    row: ProductRow, psas: Collection[str], *, exception: bool = False
) -> dict[str, Any]:
    """`[[product]]`, or an exception of a client; `psa` only where kisi.toml has several."""
    values: dict[str, Any] = {"application": row.application}
    if len(psas) > 1 and not exception:
        values["psa"] = row.psa
    values |= {str(category): toml_id(product) for category, product in row.products.items()}
    if not row.bill:
        values["bill"] = False
    return values


def company_row(company: Company, psas: Collection[str]) -> dict[str, Any]:
    """`[[company]]` with its exceptions; `billing` only where it is off."""
    row: dict[str, Any] = {
        "name": company.name,
        "tenants": [str(ref) for ref in company.tenants],
    }
    if len(psas) > 1:
        row["psa"] = company.psa
    row |= {"company": toml_id(company.company), "agreement": toml_id(company.agreement)}
    if company.alongside:
        row["alongside"] = [toml_id(agreement) for agreement in company.alongside]
    if not company.billing:
        row["billing"] = False
    if company.exceptions:
        row[EXCEPTION] = [product_row(each, psas, exception=True) for each in company.exceptions]
    return row


def product_words(products: Mapping[Any, str]) -> str:
    """Products of a row in words: `1201`, or `windows_workstations 1201, windows_servers 1202`."""
    if list(products) == ["all"]:
        return products["all"]
    return ", ".join(f"{category} {product}" for category, product in products.items())
