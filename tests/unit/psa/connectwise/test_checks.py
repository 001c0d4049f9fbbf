from __future__ import annotations

import pytest
import requests

from kisi.model import Level
from tests.unit.psa.connectwise.conftest import AGREEMENTS, API, NO_RIGHT, connect, sent

COUNT = f"{AGREEMENTS}/count"
NO_ADDITION = f"{AGREEMENTS}/1042/additions/2147483647"
DATE = "Sat, 21 Nov 2026 03:00:00 GMT"


def serve(api, *, count=(200, {"count": 12}), companies=200, catalog=200, patch=404, **headers):
    status, body = count
    api.get(COUNT, json=body, status=status, headers={"Date": DATE, **headers})
    api.get(f"{API}/company/companies", json=[] if companies == 200 else NO_RIGHT, status=companies)
    api.get(f"{API}/procurement/catalog", json=[] if catalog == 200 else NO_RIGHT, status=catalog)
    if patch:
        api.patch(NO_ADDITION, json=NO_RIGHT if patch == 403 else {}, status=patch)


def test_a_good_connection_has_no_problem_and_writes_nothing(psa, api):
    serve(api, **{"api-current-version": "2026.4"})
    findings = psa.check_online("1042")
    assert [finding.level for finding in findings] == [Level.OK] * 6
    assert "12 agreements" in findings[0].message
    assert "ConnectWise 2026.4" in findings[2].message
    assert [body for body in sent(api) if body is not None] == [[]]


def test_a_refused_login_is_the_only_finding(psa, api):
    api.get(COUNT, json={"code": "Unauthorized"}, status=401)
    (finding,) = psa.check_online("1042")
    assert finding.level is Level.PROBLEM
    assert "public_key" in finding.remedy


def test_a_server_that_cannot_be_reached_is_the_only_finding(closed_port):
    psa = connect(f"http://127.0.0.1:{closed_port}")
    (finding,) = psa.check_online(None)
    assert finding.level is Level.PROBLEM
    psa.close()


@pytest.mark.parametrize("body", [[], {}, "nothing"])
def test_something_else_at_that_address_is_a_problem(psa, api, body):
    serve(api, count=(200, body))
    finding = psa.check_online("1042")[0]
    assert finding.level is Level.PROBLEM
    assert "is not ConnectWise's API" in finding.message


def test_a_member_that_sees_no_agreement_lacks_the_right(psa, api):
    serve(api, count=(200, {"count": 0}))
    finding = psa.check_online("1042")[0]
    assert finding.level is Level.PROBLEM
    assert "Finance > Agreements, Inquire = All" in finding.remedy


@pytest.mark.parametrize(
    ("date", "level", "says"),
    [
        ("Sat, 21 Nov 2026 03:04:59 GMT", Level.OK, "agree"),
        ("Sat, 21 Nov 2026 03:00:00 -0000", Level.OK, "agree"),
        ("Sat, 21 Nov 2026 01:00:00 GMT", Level.PROBLEM, "2 hours ahead of"),
        ("Sat, 21 Nov 2026 03:06:00 GMT", Level.PROBLEM, "6 minutes behind"),
        ("now", Level.NOTE, "does not say what time"),
    ],
)
def test_a_wrong_clock_is_found(psa, api, date, level, says):
    serve(api, Date=date)
    finding = psa.check_online("1042")[1]
    assert finding.level is level
    assert says in finding.message


def test_an_unknown_release_is_only_noted(psa, api):
    serve(api)
    assert psa.check_online("1042")[2].level is Level.NOTE


def test_missing_rights_to_read_are_named(psa, api):
    serve(api, companies=403, catalog=403)
    findings = psa.check_online("1042")
    assert [finding.level for finding in findings[3:5]] == [Level.PROBLEM, Level.PROBLEM]
    assert "Company Maintenance" in findings[3].remedy
    assert "Product Catalog" in findings[4].remedy


@pytest.mark.parametrize(
    ("status", "level", "says"),
    [
        (404, Level.OK, "may change additions"),
        (403, Level.PROBLEM, "may not change additions"),
        (401, Level.PROBLEM, "refuses writes"),
        (400, Level.NOTE, "was not proven"),
        (200, Level.NOTE, "was not proven"),
    ],
)
def test_the_right_to_write_is_told_from_the_answer_about_no_addition(
    psa, api, status, level, says
):
    serve(api, patch=status)
    finding = psa.check_online("1042")[5]
    assert finding.level is level
    assert says in finding.message


def test_a_lost_answer_proves_nothing_about_the_right_to_write(psa, api):
    serve(api, patch=None)
    api.patch(NO_ADDITION, body=requests.exceptions.ConnectionError("broken off"))
    finding = psa.check_online("1042")[5]
    assert finding.level is Level.NOTE
    assert "was not proven" in finding.message


@pytest.mark.parametrize("agreement", [None, "x"])
def test_without_a_mapped_agreement_the_right_to_write_is_not_asked_for(psa, api, agreement):
    serve(api, patch=None)
    assert "no agreement is mapped" in psa.check_online(agreement)[5].message
