from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from kisi.errors import PsaError
from kisi.model import Line
from tests.unit.psa.connectwise.conftest import ADDITIONS, REF, addition_row


def read(psa, api, **changes):
    api.get(ADDITIONS, json=[addition_row(**changes)])
    (line,) = psa.lines(REF)
    return line


def test_an_addition_is_a_line(psa, api):
    assert read(psa, api, description="Workstations") == Line(
        id="301",
        agreement="1042",
        product="1201",
        quantity=Decimal(90),
        description="Workstations",
        unit_price=Decimal("4.5"),
        starts=date(2026, 1, 1),
    )


def test_all_additions_are_asked_for_in_one_request(psa, api):
    api.get(ADDITIONS, json=[addition_row(id=number) for number in range(1, 30)])
    assert len(psa.lines(REF)) == 29
    assert "conditions" not in str(api.calls[0].request.url)
    assert len(api.calls) == 1


@pytest.mark.parametrize("quantity", [0.1, "0.1"])
def test_a_fraction_keeps_its_decimals(psa, api, quantity):
    assert read(psa, api, quantity=quantity).quantity == Decimal("0.1")


@pytest.mark.parametrize(
    ("bill", "billable"), [("DoNotBill", False), ("NoCharge", False), (None, True)]
)
def test_an_addition_that_is_not_billed_is_not_billable(psa, api, bill, billable):
    assert read(psa, api, billCustomer=bill).billable is billable


@pytest.mark.parametrize(
    ("status", "cancelled", "dead"),
    [
        ("Cancelled", None, True),
        ("Expired", None, True),
        ("Cancelled", "2026-12-31T00:00:00Z", False),
        ("Inactive", None, False),
        ("Active", None, False),
        (None, None, False),
    ],
)
def test_an_addition_is_dead_only_where_its_status_says_so_without_a_day(
    psa, api, status, cancelled, dead
):
    line = read(psa, api, agreementStatus=status, cancelledDate=cancelled)
    assert line.dead is dead
    assert line.cancelled == (date(2026, 12, 31) if cancelled else None)


@pytest.mark.parametrize(
    ("said", "quantity"),
    [(6.000000001, "6"), (5.9999999999, "6"), (6.5, "6.5"), (0.0001, "0.0001"), (90.0, "90")],
)
def test_the_noise_of_a_double_is_no_change(psa, api, said, quantity):
    assert read(psa, api, quantity=said).quantity == Decimal(quantity)


def test_what_only_decorates_may_be_absent(psa, api):
    line = read(psa, api, unitPrice="free", effectiveDate=None, unknownField={"new": 1})
    assert (line.unit_price, line.starts, line.description) == (None, None, "KES-WKS")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"product": None}, "product/id is missing"),
        ({"product": {"identifier": "KES"}}, "product/id is missing"),
    ],
)
def test_an_addition_that_cannot_be_read_fails_its_agreement(psa, api, changes, says):
    api.get(ADDITIONS, json=[addition_row(id=300), addition_row(**changes)])
    with pytest.raises(PsaError) as caught:
        psa.lines(REF)
    assert "Addition 301 of agreement 1042" in caught.value.message
    assert says in caught.value.message
    assert "none of them was written" in caught.value.message


def test_an_addition_without_an_id_fails_its_agreement(psa, api):
    api.get(ADDITIONS, json=[addition_row(id=None)])
    with pytest.raises(PsaError, match=r"additions of agreement 1042.*id is missing"):
        psa.lines(REF)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"quantity": None}, "quantity is missing"),
        ({"quantity": "many"}, "quantity is 'many'"),
        ({"quantity": True}, "quantity is True"),
        ({"cancelledDate": "soon"}, "cancelledDate is 'soon'"),
        ({"effectiveDate": 5}, "effectiveDate is 5"),
    ],
)
def test_what_cannot_be_read_of_an_addition_is_a_problem_of_that_line_alone(
    psa, api, changes, says
):
    line = read(psa, api, **changes)
    assert says in line.problem
    assert (line.id, line.product) == ("301", "1201")
