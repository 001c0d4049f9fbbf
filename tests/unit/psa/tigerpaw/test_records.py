from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from kisi.psa.records import day
from kisi.psa.tigerpaw.records import (
    money,
    names_product,
    read_account,
    read_agreement,
    read_charges,
    read_item,
)

CHARGE = {"DetailId": 1, "SpecialItemId": "KES", "Quantity": 4}


def test_a_charge_becomes_a_line_without_dates():
    raw = {**CHARGE, "ItemDescription": "Endpoint", "Price": 4.5, "DeleteAfterInvoicing": False}
    (line,) = read_charges([raw], "SpecialItemId", "7001")
    assert (line.id, line.agreement, line.product) == ("1", "7001", "KES")
    assert (line.quantity, line.unit_price) == (Decimal(4), Decimal("4.5"))
    assert (line.starts, line.cancelled, line.one_time) == (None, None, False)


def test_a_charge_that_is_deleted_after_invoicing_is_one_time():
    (line,) = read_charges([{**CHARGE, "DeleteAfterInvoicing": True}], "SpecialItemId", "7001")
    assert line.one_time


def test_a_flat_price_is_no_unit_price():
    (line,) = read_charges([{**CHARGE, "Price": 90, "UseFlatPrice": True}], "SpecialItemId", "7001")
    assert line.unit_price is None
    assert line.raw["Price"] == 90


def test_a_whole_quantity_may_come_with_a_decimal_point():
    (line,) = read_charges([{**CHARGE, "Quantity": 5.0}], "SpecialItemId", "7001")
    assert line.quantity == 5


def test_the_field_of_the_item_can_be_another_one():
    (line,) = read_charges([{**CHARGE, "ItemId": 12}], "ItemId", "7001")
    assert line.product == "12"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {},
        {"Success": True},
        ["x"],
        [{**CHARGE, "DetailId": None}],
        [{**CHARGE, "Quantity": 4.5}],
        [{**CHARGE, "Quantity": True}],
        [{**CHARGE, "Quantity": "4"}],
        [{**CHARGE, "Quantity": float("inf")}],
        [{**CHARGE, "Quantity": 1e308}],
        [{**CHARGE, "Quantity": -(10**400)}],
        [{**CHARGE, "SpecialItemId": ["KES"]}],
        [CHARGE, {**CHARGE, "Quantity": 5}],
    ],
)
def test_a_list_of_charges_is_read_whole_or_not_at_all(answer):
    with pytest.raises(ValueError, match=r"charge|list"):
        read_charges(answer, "SpecialItemId", "7001")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Quantity": None}, r"Quantity of additional charge 1 \(KES\) is missing"),
        ({"Quantity": 4.5}, r"Quantity of additional charge 1 \(KES\) is 4\.5, no whole"),
        ({"Quantity": None, "SpecialItemId": None}, r"additional charge 1 \(without item\)"),
        ({"DetailId": None}, r"DetailId of an additional charge \(KES\) is missing"),
    ],
)
def test_a_charge_that_cannot_be_read_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        read_charges([{**CHARGE, **change}], "SpecialItemId", "7001")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T00:00:00", date(2026, 1, 31)),
        ("2026-01-31T00:00:00.5Z", date(2026, 1, 31)),
        ("0001-01-01T00:00:00", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_a_day_and_the_minimum_is_none(text, expected):
    assert day({"EndDate": text}, "EndDate") == expected


@pytest.mark.parametrize("value", [True, "4", None, float("inf"), 1e308, 10**400])
def test_a_price_that_nobody_could_bill_is_none(value):
    assert money(value) is None


def test_an_agreement_tells_its_account_and_term():
    answer = {
        "AgreementNumber": 7,
        "Agreement": {"AccountNumber": 5, "Type": "MS", "EndDate": "2026-01-31T00:00:00"},
    }
    record = read_agreement(answer, date(2026, 1, 31))
    assert (record.id, record.company, record.kind) == ("7", "5", "MS")
    assert record.active
    assert not read_agreement(answer, date(2026, 2, 1)).active


@pytest.mark.parametrize(
    "record",
    [
        None,
        {"AgreementNumber": 7},
        {"AgreementNumber": 0, "Agreement": {"AccountNumber": 5}},
        {"AgreementNumber": 7, "Agreement": {}},
        {"AgreementNumber": 7, "Agreement": {"AccountNumber": 5, "StartDate": "soon"}},
    ],
)
def test_an_agreement_without_number_account_or_readable_dates_is_unreadable(record):
    with pytest.raises(ValueError, match=r"AgreementNumber|AccountNumber|StartDate is"):
        read_agreement(record, date(2026, 11, 21))


def test_accounts_and_items_go_by_their_ids():
    assert read_account({"AccountNumber": 5, "Account": {"Name": "Contoso"}}).name == "Contoso"
    assert read_account({"AccountNumber": 5}).name == "Account 5"
    with pytest.raises(ValueError, match="AccountNumber"):
        read_account({"Account": {"Name": "Contoso"}})
    with pytest.raises(ValueError, match="ItemId"):
        read_item({"PriceBookItemNumber": 4})


@pytest.mark.parametrize(
    ("prices", "expected"), [((), None), ((4.5, 4.5), Decimal("4.5")), ((4.5, 5), None)]
)
def test_a_price_is_known_only_where_all_price_levels_agree(prices, expected):
    levels = [{"PriceLevel": n, "SellingPrice": price} for n, price in enumerate(prices)]
    assert read_item({"ItemId": "KES", "Pricing": levels}).price == expected


def test_an_external_product_goes_by_its_name_in_any_case():
    assert names_product({"ExternalProduct": " kaspersky"}, "Kaspersky")
    assert names_product({"Product": "Kaspersky"}, "Kaspersky")
    assert not names_product({"Product": None}, "Kaspersky")
    assert not names_product("Kaspersky", "Kaspersky")
