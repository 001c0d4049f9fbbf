from __future__ import annotations

from decimal import Decimal

import pytest

from kisi.errors import PsaError
from kisi.psa import PsaCompany, PsaProduct
from tests.unit.psa.connectwise.conftest import API

CATALOG = f"{API}/procurement/catalog"
ITEM = {"id": 1201, "identifier": "KES-WKS", "description": "Workstation", "price": 4.5}


def test_prices_of_mapped_products_come_by_id(psa, api):
    api.get(CATALOG, json=[ITEM], headers={"Link": ""})
    assert psa.products(["1201", "1299", "KES-WKS"]) == {
        "1201": PsaProduct("1201", "KES-WKS: Workstation", price=Decimal("4.5"))
    }


def test_a_product_that_nobody_asked_for_is_part_of_another_answer(psa, api):
    api.get(CATALOG, json=[ITEM, ITEM | {"id": 7}])
    with pytest.raises(PsaError, match="record 7 was not asked for"):
        psa.products(["1201"])


def test_without_an_id_nothing_is_asked(psa, api):
    assert psa.products(["KES-WKS"]) == {}
    assert not api.calls


def test_bundles_and_inactive_items_cannot_be_billed(psa, api):
    rows = [
        ITEM,
        ITEM | {"id": 2, "productClass": "Bundle", "price": "?"},
        {"id": 3, "identifier": "OLD", "description": "OLD", "inactiveFlag": True},
    ]
    api.get(CATALOG, json=rows)
    assert psa.all_products() == (
        PsaProduct("1201", "KES-WKS: Workstation", price=Decimal("4.5")),
        PsaProduct("2", "KES-WKS: Workstation", active=False),
        PsaProduct("3", "OLD", active=False),
    )


def test_companies_in_the_recycle_bin_are_inactive(psa, api):
    rows = [
        {"id": 250, "identifier": "contoso", "name": "Contoso"},
        {"id": 9, "identifier": "old", "deletedFlag": True},
    ]
    api.get(f"{API}/company/companies", json=rows)
    assert psa.all_companies() == (
        PsaCompany("250", "Contoso"),
        PsaCompany("9", "old", active=False),
    )
