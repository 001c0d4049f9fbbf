from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest

from kisi.errors import PsaError
from kisi.model import Line
from kisi.psa.connectwise.wire import LONGEST_URL
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


@pytest.mark.parametrize("owner", [1043, "1043", 0, True, {"id": 1042}])
def test_a_list_with_an_addition_of_another_agreement_is_another_answer(psa, api, owner):
    api.get(ADDITIONS, json=[addition_row(id=300), addition_row(agreementId=owner)])
    with pytest.raises(PsaError, match=r"agreement 1042 .* answered with one of agreement"):
        psa.lines(REF)


def test_an_addition_that_does_not_say_whose_it_is_is_no_contradiction(psa, api):
    assert read(psa, api, agreementId=None).id == "301"


def test_the_additions_of_products_are_asked_for_by_their_ids(psa, api):
    api.get(ADDITIONS, json=[addition_row()], headers={})
    api.get(ADDITIONS, json=[])
    (line,) = psa.lines(REF, ["1202", "1201", "KES", "1201"])
    assert line.product == "1201"
    query = parse_qs(urlsplit(str(api.calls[0].request.url)).query)
    assert query["conditions"] == ["product/id in (1201,1202)"]
    assert len(api.calls) == 2  # without `Link`, only an empty page says that there are no more


def test_the_additions_of_products_cost_one_request_where_link_ends_them(psa, api):
    api.get(ADDITIONS, json=[addition_row()], headers={"Link": ""})
    assert len(psa.lines(REF, ["1201"])) == 1


def test_many_products_go_out_in_addresses_of_a_safe_length(psa, api):
    api.get(ADDITIONS, json=[])
    ids = [str(2_000_000_000 + number) for number in range(400)]
    assert psa.lines(REF, ids) == ()
    addresses = [str(call.request.url) for call in api.calls]
    assert max(map(len, addresses)) <= LONGEST_URL
    asked = [number for one in addresses for number in re.findall(r"20000\d{5}", one)]
    assert asked == ids


@pytest.mark.parametrize("product", [{"id": 1202}, None])
def test_an_addition_of_a_product_that_nobody_asked_for_is_another_answer(psa, api, product):
    api.get(ADDITIONS, json=[addition_row(product=product)])
    with pytest.raises(PsaError, match="record 301 was not asked for: product/id"):
        psa.lines(REF, ["1201"])


@pytest.mark.parametrize("products", [[], ["KES", ""]])
def test_where_no_product_can_be_an_addition_nothing_is_asked(psa, api, products):
    assert psa.lines(REF, products) == ()
    assert not api.calls


def test_one_addition_is_asked_for_by_its_id(psa, api):
    api.get(f"{ADDITIONS}/301", json=addition_row())
    assert psa.line(REF, "301").quantity == 90
    assert "conditions" not in str(api.calls[0].request.url)


def test_an_addition_is_gone_only_where_connectwise_says_so(psa, api):
    api.get(f"{ADDITIONS}/301", status=404, json={"code": "NotFound", "message": "No."})
    assert psa.line(REF, "301") is None
    assert psa.line(REF, "three") is None
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "<html><title>Not Found</title></html>"),
        (404, ""),
        (404, '{"message": "No."}'),
        (200, "null"),
        (200, "[]"),
        (200, '{"id": 302, "agreementId": 1042, "product": {"id": 1201}, "quantity": 1}'),
        (200, '{"id": 301, "agreementId": 1043, "product": {"id": 1201}, "quantity": 1}'),
        (200, '{"agreementId": 1042, "product": {"id": 1201}, "quantity": 1}'),
        (403, '{"code": "Security", "message": "SSL is required."}'),
        (410, '{"code": "Gone"}'),
    ],
)
def test_no_other_answer_says_that_an_addition_is_gone(psa, api, status, body):
    kind = "text/html" if "html" in body else "application/json"
    api.get(f"{ADDITIONS}/301", status=status, body=body, content_type=kind)
    with pytest.raises(PsaError):
        psa.line(REF, "301")
