"""A server, or whoever answers in its place, can lead kisi nowhere and make it read nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Operator
from tests.faults.conftest import CREATE, UPDATE, Trial
from tests.faults.monitor import Monitor, answer
from tests.faults.test_tigerpaw import SUBMIT, Ledger

READS = ("GET */finance/agreements", "GET */additions")


@pytest.fixture
def stranger() -> Iterator[Monitor]:
    """A server that must hear nothing."""
    stranger = Monitor(answer(200))
    yield stranger
    stranger.close()
    assert stranger.heard == []


@pytest.mark.parametrize("code", [302, 307])
@pytest.mark.parametrize("match", [*READS, UPDATE, "LicenseKeys.EnumKeys@Contoso"])
def test_no_redirect_leads_to_a_stranger(billed: Trial, stranger: Monitor, match: str, code: int):
    billed.fault("status", match, times=None, code=code, headers={"Location": stranger.url})

    result = billed.sync()

    assert result.code in {4, 5, 7}
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()


def test_no_link_header_is_followed(trial: Trial, stranger: Monitor):
    """A page says where the next one is: on another host."""
    rows = [{"id": number, "product": {"id": 1}, "quantity": 1} for number in range(1, 1001)]
    link = {"Link": f'<{stranger.url}?pageId=1000>; rel="next"'}
    trial.fault("status", "GET */additions", code=200, body=rows, headers=link)

    result = trial.sync()

    assert result.code == 0, result.err
    asked = [one for one in result.sent_to("connectwise") if "pageId" in one.query]
    assert [one.query["pageId"] for one in asked] == ["1000"]


def test_no_cookie_is_sent_back(trial: Trial):
    trial.fault(
        "status",
        "GET */finance/agreements",
        code=500,
        headers={"Set-Cookie": "session=stolen; Path=/"},
    )

    result = trial.sync()

    assert result.code == 0
    assert not [one for one in result.requests if "cookie" in one.headers]


ENTITIES = "".join(f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10))
BILLION_LAUGHS = f"<!DOCTYPE r [<!ENTITY a0 'ha'>{ENTITIES}]><r>&a9;</r>"


@pytest.mark.parametrize(
    "answer",
    [
        "<!DOCTYPE r [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><r>&x;</r>",
        "<!DOCTYPE r SYSTEM '{stranger}/evil.dtd'><r/>",
        "<!DOCTYPE r [<!ENTITY % x SYSTEM '{stranger}/evil.dtd'> %x;]><r/>",
        "<r xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='{stranger}'/></r>",
        BILLION_LAUGHS,
        "<a>" * 300_000,
        "<a>" + "x" * 2_000_000 + "</a>",
    ],
    ids=["file", "dtd", "parameter entity", "xinclude", "billion laughs", "deep", "large"],
)
def test_no_entity_of_a_soap_answer_is_resolved(operator: Operator, stranger: Monitor, answer: str):
    """The charge itself says what became of the submit."""
    ledger = Ledger(operator, first=True)
    body = answer.replace("{stranger}", stranger.url)
    ledger.fault("status", SUBMIT, code=200, body=body, applied=True)

    result = ledger.sync()

    assert result.code == 0, result.err
    assert ledger.client.quantities["BACKUP"] == 5
    assert "root:" not in result.err + result.out
    ledger.heals()


@pytest.mark.parametrize(
    "body",
    [
        "[" * 200_000,
        '{"id":' * 50_000,
        json.dumps([{"id": 1, "quantity": 1}]).replace("1}", "9" * 5000 + "}"),
        '[{"id": 1, "product": {"id": 1}, "quantity": 1e999}]',
        '[{"id": 1, "product": {"id": 1}, "quantity": NaN}]',
        '[{"id": 99999999999999999999, "product": {"id": 1}, "quantity": 1}]',
    ],
    ids=["deep list", "deep record", "5,000 digits", "infinite", "not a number", "huge id"],
)
def test_no_json_can_be_too_much(billed: Trial, body: str):
    billed.fault("status", "GET */agreements/1042/additions", times=None, code=200, body=body)

    result = billed.sync()

    assert result.code in {5, 6}, result.err
    assert result.writes == []
    assert billed.contoso.quantities == {billed.product: 6}
    billed.heals()


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 03 Nov 99999999999999999999 12:00:07 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2359",
        "Sat, 01 Jan 0001 00:00:00 +2359",
        "9" * 5000,
    ],
)
@pytest.mark.parametrize("code", [200, 429, 503])
def test_no_date_of_a_server_ends_the_run(billed: Trial, code: int, date: str):
    """Not in `Date`, by which clocks are compared, and not in `Retry-After`."""
    headers = {"Date": date, "Retry-After": date}
    billed.fault("status", "*", code=code, headers=headers, body="{}")
    billed.fault("status", "*/agreements*", code=code, headers=headers, body="[]")

    results = [billed.operator.run("check", "--online"), billed.sync()]

    assert {result.code for result in results} <= {0, 4, 5, 6}
    billed.heals()


def test_a_create_that_is_answered_by_a_stranger_is_never_taken_for_done(trial: Trial):
    """Somebody between kisi and ConnectWise answers every write with a plausible success."""
    forged = {"id": 90001, "product": {"id": trial.product}, "quantity": 6, "agreementId": 1042}
    trial.fault("status", CREATE, times=None, code=200, body={**forged, "agreementId": 7})

    result = trial.sync()

    assert result.code == 7
    assert trial.contoso.additions == []
    trial.heals(accept=True)  # nobody can tell whether it was made
