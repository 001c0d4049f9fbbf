from __future__ import annotations

import dataclasses
import logging
from datetime import date, timedelta
from decimal import Decimal

import pytest
import responses
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kisi.model import WriteStatus
from kisi.sandbox.http import Exchange, Server
from tests.unit.psa.connectwise.conftest import (
    ADDITIONS,
    AGREEMENT,
    INVOICED,
    TODAY,
    addition_row,
    connect,
    planned,
    sent,
)

NEXT = date(2026, 12, 1)


def agreement(**changes):
    return dataclasses.replace(AGREEMENT, **changes)


def test_a_create_is_one_post_of_a_billable_addition_from_today_on(psa, api):
    api.post(ADDITIONS, json=addition_row(), status=201, headers={"x-cw-request-id": "ab-12"})
    receipt = psa.write(planned(), AGREEMENT, TODAY)
    assert sent(api) == [
        {
            "product": {"id": 1201},
            "quantity": 90,
            "billCustomer": "Billable",
            "effectiveDate": "2026-11-21T00:00:00Z",
        }
    ]
    assert b'"quantity": 90,' in api.calls[0].request.body
    assert receipt.status is WriteStatus.APPLIED
    assert (receipt.line_id, receipt.quantity, receipt.request_id) == ("301", Decimal(90), "ab-12")
    assert receipt.message == "It is billed from 2026-11-21 on."


def test_an_update_is_one_patch_of_the_quantity(psa, api):
    api.patch(f"{ADDITIONS}/301", json=addition_row(quantity=12.0))
    receipt = psa.write(planned(12, line_id="301"), AGREEMENT, TODAY)
    assert sent(api) == [[{"op": "replace", "path": "quantity", "value": 12}]]
    assert (receipt.status, receipt.quantity, receipt.message) == (WriteStatus.APPLIED, 12, "")


@pytest.mark.parametrize(
    ("bill_start", "day"), [(date(2026, 12, 15), "2026-12-15"), (date(2020, 1, 1), "2026-11-21")]
)
def test_an_addition_never_starts_before_the_billing_start(psa, api, bill_start, day):
    api.post(ADDITIONS, json=addition_row(), status=201)
    psa.write(planned(), agreement(bill_start=bill_start), TODAY)
    assert sent(api)[0]["effectiveDate"] == f"{day}T00:00:00Z"


def test_an_invoiced_period_is_answered_with_the_next_invoice_date_once(psa, api):
    api.post(ADDITIONS, json=INVOICED, status=400)
    api.get(ADDITIONS, json=[addition_row(cancelledDate="2026-11-01T00:00:00Z")])
    api.post(ADDITIONS, json=addition_row(), status=201)
    receipt = psa.write(planned(), agreement(next_invoice=NEXT), TODAY)
    assert [body["effectiveDate"][:10] for body in sent(api)] == ["2026-11-21", "2026-12-01"]
    assert receipt.status is WriteStatus.APPLIED
    assert "billed from 2026-12-01 on, the next invoice" in receipt.message


def test_a_second_refusal_is_final(psa, api):
    api.post(ADDITIONS, json=INVOICED, status=400)
    api.get(ADDITIONS, json=[])
    receipt = psa.write(planned(), agreement(next_invoice=NEXT), TODAY)
    assert receipt.status is WriteStatus.REJECTED
    assert "already been invoiced" in receipt.message
    assert len(api.calls) == 3


def test_a_refusal_of_what_was_carried_out_is_not_answered_with_a_second_line(psa, api):
    api.post(ADDITIONS, json=INVOICED, status=400)
    api.get(ADDITIONS, json=[addition_row()])
    receipt = psa.write(planned(), agreement(next_invoice=NEXT), TODAY)
    assert receipt.status is WriteStatus.STALE
    assert "a line of this product now (301)" in receipt.message


def test_where_that_cannot_be_read_nothing_more_is_sent(psa, api):
    api.post(ADDITIONS, json=INVOICED, status=400)
    api.get(ADDITIONS, json={}, status=400)
    receipt = psa.write(planned(), agreement(next_invoice=NEXT), TODAY)
    assert receipt.status is WriteStatus.NOT_SENT
    assert "already been invoiced" in receipt.message
    assert [call.request.method for call in api.calls] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("next_invoice", "says"),
    [(None, "is not known"), (TODAY, "is 2026-11-21"), (date(2026, 11, 1), "is 2026-11-01")],
)
def test_without_a_later_invoice_date_an_invoiced_period_is_rejected(psa, api, next_invoice, says):
    api.post(ADDITIONS, json=INVOICED, status=400)
    receipt = psa.write(planned(), agreement(next_invoice=next_invoice), TODAY)
    assert receipt.status is WriteStatus.REJECTED
    assert f"Next Invoice Date {says}" in receipt.message
    assert len(api.calls) == 1


def test_another_refusal_is_not_answered_with_another_date(psa, api):
    body = {
        "code": "InvalidObject",
        "message": "Addition object is invalid",
        "errors": [
            {"message": "effectiveDate cannot be less than the agreement billing start date"}
        ],
    }
    api.post(ADDITIONS, json=body, status=400)
    receipt = psa.write(planned(), agreement(next_invoice=NEXT), TODAY)
    assert receipt.status is WriteStatus.REJECTED
    assert "cannot be less than the agreement billing start date" in receipt.message
    assert len(api.calls) == 1


def test_a_line_is_not_moved_past_the_end_of_its_agreement(psa, api):
    api.add(responses.POST, ADDITIONS, json=INVOICED, status=400)
    ending = agreement(next_invoice=NEXT, ends=date(2026, 11, 25))
    receipt = psa.write(planned(), ending, TODAY)
    assert receipt.status is WriteStatus.REJECTED
    assert "is 2026-12-01, and it ends on 2026-11-25" in receipt.message
    assert len(api.calls) == 1


def test_an_invoiced_period_does_not_repeat_an_update(psa, api):
    api.patch(f"{ADDITIONS}/301", json=INVOICED, status=400)
    receipt = psa.write(planned(12, line_id="301"), agreement(next_invoice=NEXT), TODAY)
    assert receipt.status is WriteStatus.REJECTED
    assert len(api.calls) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("line_id", [None, "301"])
def test_a_write_is_never_repeated_here(psa, api, clock, status, line_id):
    method, url = ("POST", ADDITIONS) if line_id is None else ("PATCH", f"{ADDITIONS}/301")
    api.add(method, url, json={}, status=status, headers={"Retry-After": "9"})
    psa.write(planned(line_id=line_id), AGREEMENT, TODAY)
    assert len(api.calls) == 1
    assert clock.slept == []


@pytest.mark.parametrize(
    "line",
    [
        planned(product="KES-WKS"),
        planned(line_id="x"),
        dataclasses.replace(planned(), agreement="0"),
    ],
)
def test_what_is_no_id_is_rejected_before_anything_is_sent(psa, api, line):
    receipt = psa.write(line, AGREEMENT, TODAY)
    assert receipt.status is WriteStatus.REJECTED
    assert "Nothing was sent" in receipt.message
    assert not api.calls


def test_a_write_to_a_closed_port_was_not_sent(closed_port):
    psa = connect(f"http://127.0.0.1:{closed_port}")
    assert psa.write(planned(), AGREEMENT, TODAY).status is WriteStatus.NOT_SENT
    psa.close()


def test_a_lost_answer_is_unknown_and_the_write_was_sent_once():
    def hang_up(exchange: Exchange) -> None:
        exchange.deliver = Exchange.close_connection

    with Server("cw", hang_up) as server:
        psa = connect(server.url)
        receipt = psa.write(planned(), AGREEMENT, TODAY)
        psa.close()
    assert receipt.status is WriteStatus.UNKNOWN
    assert "asked ConnectWise to create the addition" in receipt.message
    assert [logged.json()["quantity"] for logged in server.log] == [90]


def test_a_write_is_logged_with_its_request_id(psa, api, caplog):
    caplog.set_level(logging.INFO, "kisi.psa.connectwise")
    api.patch(f"{ADDITIONS}/301", json=addition_row(), headers={"x-cw-request-id": "ab-12"})
    psa.write(planned(line_id="301"), AGREEMENT, TODAY)
    assert "PATCH /finance/agreements/1042/additions/301: 200, request id ab-12" in caplog.text


_DAYS = st.one_of(st.none(), st.integers(-400, 400).map(lambda days: TODAY + timedelta(days=days)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(bill_start=_DAYS, next_invoice=_DAYS)
def test_no_effective_date_is_in_the_past_or_before_the_billing_start(
    psa, bill_start, next_invoice
):
    with responses.RequestsMock(assert_all_requests_are_fired=False) as api:
        api.post(ADDITIONS, json=INVOICED, status=400)
        api.get(ADDITIONS, json=[])
        psa.write(planned(), agreement(bill_start=bill_start, next_invoice=next_invoice), TODAY)
        days = [date.fromisoformat(body["effectiveDate"][:10]) for body in sent(api)]
    assert all(day >= TODAY and day >= (bill_start or day) for day in days)
    assert len(set(days)) == len(days) <= 2
