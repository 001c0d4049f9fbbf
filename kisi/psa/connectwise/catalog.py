"""Catalog items and companies: prices of mapped products, and the lists `kisi map` works on.

Records: `CatalogItem` and `Company` of ConnectWise's OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Collection

from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.connectwise import agreements
from kisi.psa.connectwise.endpoints import AGREEMENTS, CATALOG, COMPANIES
from kisi.psa.connectwise.values import Row, as_id, flag, name, number_or_none, row_id, text
from kisi.psa.connectwise.wire import Wire

ITEM_FIELDS = "id,identifier,description,productClass,inactiveFlag,price"
COMPANY_FIELDS = "id,identifier,name,deletedFlag"


def read_products(wire: Wire, ids: Collection[str]) -> dict[str, PsaProduct]:
    """The catalog items among `ids`, by id as it was asked for; others are left out.

    Raises:
        PsaError: They could not be read.
    """
    numbers = {number: one for one in ids if (number := as_id(one)) is not None}
    found: dict[str, PsaProduct] = {}
    for chunk in wire.chunks(CATALOG, ITEM_FIELDS, "id", sorted(numbers)):
        found |= {item.id: item for item in map(_product, wire.rows(CATALOG, ITEM_FIELDS, chunk))}
    return found


def all_products(wire: Wire) -> tuple[PsaProduct, ...]:
    """The whole product catalog."""
    return tuple(_product(row) for row in wire.rows(CATALOG, ITEM_FIELDS))


def all_companies(wire: Wire) -> tuple[PsaCompany, ...]:
    """Every company. Those in the recycle bin come too, as inactive: a mapping may name one."""
    return tuple(
        PsaCompany(
            id=str(row_id(row)),
            name=name(row, "name") or name(row, "identifier"),
            active=not flag(row, "deletedFlag"),
        )
        for row in wire.rows(COMPANIES, COMPANY_FIELDS)
    )


def all_agreements(wire: Wire) -> tuple[PsaAgreement, ...]:
    """Every agreement, also cancelled and expired ones."""
    return tuple(agreements.listed(row) for row in wire.rows(AGREEMENTS, agreements.FIELDS))


def _product(row: Row) -> PsaProduct:
    """A catalog item. One of class Bundle cannot be an addition, so it is not active either."""
    names = (name(row, "identifier"), name(row, "description"))
    return PsaProduct(
        id=str(row_id(row)),
        name=": ".join(dict.fromkeys(filter(None, names))),
        active=not flag(row, "inactiveFlag") and text(row, "productClass") != "Bundle",
        price=number_or_none(row, "price"),
    )
