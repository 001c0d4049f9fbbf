from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import AnswerLost, BadAnswer, NotSent, Untrusted
from kisi.model import WriteStatus
from kisi.psa.connectwise.adapter import classify
from kisi.psa.http import DEFAULT_WAIT
from kisi.transport import Answer
from tests.unit.psa.connectwise.conftest import INVOICED, NO_RIGHT, addition_row, planned

CREATE = planned()
UPDATE = planned(line_id="301")


def receipt(status, body=None, *, change=UPDATE, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return classify(Answer(status, headers, raw), change)


@pytest.mark.parametrize("change", [CREATE, UPDATE])
@pytest.mark.parametrize("quantity", [90, 90.0, "90.00"])
def test_a_write_is_applied_if_the_record_shows_product_and_quantity(change, quantity):
    got = receipt(200, addition_row(quantity=quantity), change=change)
    assert (got.status, got.line_id, got.quantity) == (WriteStatus.APPLIED, "301", Decimal(90))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (addition_row(quantity=89.5), "quantity 89.5 instead of 90"),
        (addition_row(product={"id": 1202}), "product 1202 instead of 1201"),
        (addition_row(id=302), "addition 302 instead of 301"),
        (addition_row(agreementId=7), "agreement 7 instead of 1042"),
        (addition_row(agreementId="x" * 99), f"agreement {'x' * 39}… instead of 1042"),
        (addition_row(quantity=None), "quantity is missing"),
        (addition_row(product=None), "product/id is missing"),
        ({}, "id is missing"),
        ([], "it holds no record"),
        (b"", "Expected JSON"),
        (b"<html>maintenance", "Expected JSON"),
    ],
)
def test_a_success_that_does_not_show_the_change_is_unknown(body, says):
    got = receipt(200, body)
    assert got.status is WriteStatus.UNKNOWN
    assert says in got.message


def test_no_content_is_unknown():
    assert receipt(204, b"").status is WriteStatus.UNKNOWN


def test_an_agreement_that_the_record_leaves_out_is_no_difference():
    assert receipt(200, addition_row(agreementId=None)).status is WriteStatus.APPLIED


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (302, WriteStatus.UNKNOWN),
        (400, WriteStatus.REJECTED),
        (401, WriteStatus.REJECTED),
        (403, WriteStatus.REJECTED),
        (404, WriteStatus.STALE),
        (405, WriteStatus.REJECTED),
        (408, WriteStatus.UNKNOWN),
        (409, WriteStatus.STALE),
        (412, WriteStatus.STALE),
        (413, WriteStatus.REJECTED),
        (415, WriteStatus.REJECTED),
        (422, WriteStatus.REJECTED),
        (429, WriteStatus.THROTTLED),
        (500, WriteStatus.UNKNOWN),
        (502, WriteStatus.UNKNOWN),
        (503, WriteStatus.UNKNOWN),
        (504, WriteStatus.UNKNOWN),
        (524, WriteStatus.UNKNOWN),
    ],
)
def test_the_status_of_a_refusal_decides_what_may_have_happened(status, verdict):
    got = receipt(status, {"code": "X", "message": "Why."}, **{"x-cw-request-id": "ab-12"})
    assert got.status is verdict
    assert got.request_id == "ab-12"
    assert f"{status} X: Why. ConnectWise's request id: ab-12." in got.message


@pytest.mark.parametrize(
    ("status", "asked", "wait"),
    [(429, "7", 7.0), (429, "99999", 99999.0), (429, "soon", DEFAULT_WAIT), (503, "2", 2.0)],
)
def test_a_rate_limit_says_how_long_to_wait(status, asked, wait):
    got = receipt(status, {}, **{"Retry-After": asked})
    assert (got.status, got.wait) == (WriteStatus.THROTTLED, wait)


@pytest.mark.parametrize(
    ("status", "verdict", "wait"),
    [(503, WriteStatus.UNKNOWN, 0.0), (429, WriteStatus.THROTTLED, 7.0)],
)
def test_a_create_that_a_gateway_calls_unavailable_may_have_arrived(status, verdict, wait):
    got = receipt(status, {}, change=CREATE, **{"Retry-After": "7"})
    assert (got.status, got.wait) == (verdict, wait)


@pytest.mark.parametrize(
    ("status", "body", "denied"),
    [
        (401, {"code": "Unauthorized"}, True),
        (403, {"code": "Security", "message": "SSL is required."}, True),
        (403, NO_RIGHT, False),
        (400, INVOICED, False),
    ],
)
def test_only_refused_credentials_stop_all_further_writes(status, body, denied):
    assert receipt(status, body).denied is denied


@pytest.mark.parametrize(("change", "right"), [(CREATE, "Add = All"), (UPDATE, "Edit = All")])
def test_a_missing_right_is_named(change, right):
    assert f"Finance > Agreements, {right}" in receipt(403, NO_RIGHT, change=change).message


def test_a_change_refused_for_its_own_effective_date_says_where_to_correct_it():
    assert "correct its effective date there" in receipt(400, INVOICED).message


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (NotSent("Refused.", remedy="Look."), WriteStatus.NOT_SENT),
        (Untrusted("Unknown certificate.", remedy="Look."), WriteStatus.NOT_SENT),
        (AnswerLost("Broken off."), WriteStatus.UNKNOWN),
        (BadAnswer("Too large."), WriteStatus.UNKNOWN),
    ],
)
def test_without_an_answer_only_what_was_not_sent_is_certain(error, verdict):
    got = classify(error, CREATE)
    assert got.status is verdict
    assert error.message in got.message


def test_an_untrusted_server_leads_to_the_authorities_file():
    assert "REQUESTS_CA_BUNDLE" in classify(Untrusted("Unknown."), CREATE).message


_BODIES = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["id", "product", "quantity", "code", "message", "errors"]), inner
            )
        ),
    ).map(lambda body: json.dumps(body).encode()),
)


@given(status=st.integers(200, 599), body=_BODIES)
def test_whatever_the_answer_only_an_echoed_change_is_applied(status, body):
    got = classify(Answer(status, {}, body), CREATE)
    if got.status is WriteStatus.APPLIED:
        echoed = json.loads(body)
        assert (echoed["product"]["id"], Decimal(str(echoed["quantity"]))) == (1201, 90)
        assert 200 <= status < 300
    elif 200 <= status < 300 or status >= 500:
        assert got.status is WriteStatus.UNKNOWN
