from __future__ import annotations

import base64
import logging
import re
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from kisi.errors import AccessRefused, PsaError
from kisi.model import AgreementRef
from kisi.psa.connectwise.wire import CHUNK, LONGEST_URL, PAGE_SIZE
from tests.unit.psa.connectwise.conftest import (
    ADDITIONS,
    AGREEMENTS,
    API,
    NO_RIGHT,
    REF,
    TODAY,
    addition_row,
    agreement_row,
    connect,
)

COMPANIES = f"{API}/company/companies"


def companies(first: int, last: int) -> list[dict[str, object]]:
    return [{"id": number, "name": f"C{number}"} for number in range(first, last + 1)]


def queries(api: responses.RequestsMock) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(str(call.request.url)).query) for call in api.calls]


def test_every_request_carries_login_client_id_and_version(psa, api):
    api.get(COMPANIES, json=[])
    psa.all_companies()
    headers = api.calls[0].request.headers
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"acme+PUB:PRIV"
    assert headers["clientId"] == "a-client-id"
    assert headers["Accept"] == "application/vnd.connectwise.com+json; version=2026.4"


def test_codebase_and_version_can_be_pinned_otherwise(api):
    psa = connect(codebase="v2025_1", api_version="2025.8")
    api.get(COMPANIES.replace("v4_6_release", "v2025_1"), json=[])
    psa.all_companies()
    assert api.calls[0].request.headers["Accept"].endswith("version=2025.8")
    psa.close()


def test_a_list_is_read_forward_only_until_a_short_page(psa, api):
    api.get(COMPANIES, json=companies(1, PAGE_SIZE))
    api.get(COMPANIES, json=companies(PAGE_SIZE + 1, 2 * PAGE_SIZE))
    api.get(COMPANIES, json=companies(2 * PAGE_SIZE + 1, 2 * PAGE_SIZE + 3))
    assert len(psa.all_companies()) == 2 * PAGE_SIZE + 3
    assert [query.get("pageId") for query in queries(api)] == [None, ["1000"], ["2000"]]
    assert all(query["pageSize"] == ["1000"] for query in queries(api))
    assert all(call.request.headers["pagination-type"] == "forward-only" for call in api.calls)
    assert len(api.calls) == 3


def test_a_full_page_may_be_the_last(psa, api):
    api.get(COMPANIES, json=companies(1, PAGE_SIZE))
    api.get(COMPANIES, json=[])
    assert len(psa.all_companies()) == PAGE_SIZE


def test_a_record_that_comes_twice_counts_once(psa, api):
    api.get(COMPANIES, json=companies(1, PAGE_SIZE))
    api.get(COMPANIES, json=companies(PAGE_SIZE - 2, PAGE_SIZE + 1))
    assert len(psa.all_companies()) == PAGE_SIZE + 1


NEXT = {
    "an id": '<https://api.example/x?pageId=2&pageSize=1000>; rel="next"',
    "a number": '<https://api.example/x?pagesize=2&page=2>; rel="next", <...?page=9>; rel="last"',
    "another host": "<http://stranger.example/steal?pageId=999>; rel=next",
    "a path": '</v4_6_release/apis/3.0/elsewhere?pageId=2>; title="a; b"; rel="next"',
    "several words": '<x?PAGEID=2>; rel="last next"',
    "nothing known": '<x?cursor=abc>; REL="Next"',
    "nonsense": '<x?page=two>; rel="next"',
}


@pytest.mark.parametrize("link", NEXT.values(), ids=NEXT)
def test_a_short_page_goes_on_where_link_names_a_next_one(psa, api, link):
    """Whatever its address is, only a page's number is taken from it."""
    api.get(COMPANIES, json=companies(1, 2), headers={"Link": link})
    api.get(COMPANIES, json=companies(3, 3), headers={"Link": '<x?page=1>; rel="first"'})
    assert [one.id for one in psa.all_companies()] == ["1", "2", "3"]
    assert all(str(call.request.url).startswith(COMPANIES) for call in api.calls)
    pages = [(query.get("pageId"), query.get("page")) for query in queries(api)]
    assert pages == [(None, None), (["2"], ["2"] if "page=2" in link else None)]


@pytest.mark.parametrize("link", ["", '<x?page=1>; rel="first", <x?page=1>; rel="last"'])
def test_a_short_page_is_the_last_where_link_names_no_next_one(psa, api, link):
    api.get(COMPANIES, json=companies(1, 2), headers={"Link": link})
    assert len(psa.all_companies()) == 2


def test_a_server_that_always_names_a_next_page_ends_with_an_empty_one(psa, api):
    link = {"Link": '<x?pageId=2>; rel="next"'}
    api.get(COMPANIES, json=companies(1, 2), headers=link)
    api.get(COMPANIES, json=[], headers=link)
    assert len(psa.all_companies()) == 2


def test_without_link_a_short_page_is_not_the_last_and_both_ways_of_paging_are_asked_for(psa, api):
    api.get(COMPANIES, json=companies(1, 2), headers={})
    api.get(COMPANIES, json=companies(3, 4), headers={})
    api.get(COMPANIES, json=[], headers={})
    assert len(psa.all_companies()) == 4
    pages = [(query.get("pageId"), query.get("page")) for query in queries(api)]
    assert pages == [(None, None), (["2"], ["2"]), (["4"], ["3"])]


def test_agreements_that_all_came_are_whole_whatever_link_says(psa, api):
    link = {"Link": '<x?pageId=1042>; rel="next"'}
    api.get(AGREEMENTS, json=[agreement_row()], headers=link)
    assert psa.agreements([REF], TODAY)[REF].not_billable is None
    assert len(api.calls) == 1


def test_where_nothing_but_its_length_ends_a_list_what_it_lacks_is_asked_for(psa, api):
    """An agreement that is missing would be taken for gone."""
    refs = [REF, AgreementRef("cw", "250", "1043"), AgreementRef("cw", "250", "1044")]
    api.get(AGREEMENTS, json=[agreement_row()], headers={})
    api.get(AGREEMENTS, json=[agreement_row(id=1043)], headers={})
    api.get(AGREEMENTS, json=[])
    found = psa.agreements(refs, TODAY)
    assert [found[ref].gone for ref in refs] == [False, False, True]
    assert [query.get("pageId") for query in queries(api)] == [None, ["1042"], ["1043"]]


@pytest.mark.parametrize(
    "second", [companies(1, PAGE_SIZE), companies(1, 3), companies(500, 1600)[::-1]]
)
def test_a_server_that_ignores_page_id_is_an_error_and_no_loop(psa, api, second):
    api.get(COMPANIES, json=companies(401, 400 + PAGE_SIZE))
    api.get(COMPANIES, json=[*companies(1, 1), *second])
    with pytest.raises(PsaError, match="did not arrive whole") as caught:
        psa.all_companies()
    assert "pagination-type" in caught.value.remedy


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 1}',
        '[{"name": "no id"}]',
        "[1]",
        '[{"id": 1}',
        "<html>Service maintenance</html>",
        "",
    ],
)
def test_what_is_no_list_of_records_is_never_an_empty_list(psa, api, body):
    api.get(COMPANIES, body=body, content_type="application/json")
    with pytest.raises(PsaError, match=r"does not hold the companies of psa\.cw"):
        psa.all_companies()


def test_a_read_waits_as_long_as_a_rate_limit_asks(psa, api, clock):
    api.get(COMPANIES, status=429, headers={"Retry-After": "7"})
    api.get(COMPANIES, json=[])
    assert psa.all_companies() == ()
    assert clock.slept == [7.0]


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, {"code": "Unauthorized", "message": "No."}, "company, public_key, private_key"),
        (403, NO_RIGHT, "right Finance > Agreements, Inquire = All"),
        (403, {"code": "Security", "message": "SSL is required."}, "the API's host"),
        (403, {}, "client_id"),
        (404, {"code": "NotFound"}, "url, company, public_key and private_key"),
    ],
)
def test_refused_access_fails_the_whole_psa_and_says_what_to_check(psa, api, status, body, remedy):
    api.get(AGREEMENTS, json=body, status=status)
    with pytest.raises(AccessRefused, match="could not read the agreements") as caught:
        psa.agreements([REF], TODAY)
    assert remedy in caught.value.remedy
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(301, "own host"), (400, "request id: ab-12"), (404, "still exists"), (405, "again later")],
)
def test_any_other_refusal_of_a_read_fails_that_read(psa, api, status, remedy):
    headers = {"x-cw-request-id": "ab-12", "Location": "http://elsewhere.example/"}
    api.get(ADDITIONS, json={"message": "No."}, status=status, headers=headers)
    with pytest.raises(PsaError, match=f"additions of agreement 1042.*{status}") as caught:
        psa.lines(REF)
    assert not isinstance(caught.value, AccessRefused)
    assert remedy in caught.value.remedy


def test_a_server_that_cannot_be_reached_is_a_psa_error(closed_port):
    psa = connect(f"http://127.0.0.1:{closed_port}")
    with pytest.raises(PsaError, match=r"could not read the companies of psa\.cw") as caught:
        psa.all_companies()
    assert caught.value.remedy
    psa.close()


def test_ids_go_out_in_few_addresses_of_a_safe_length(psa, api):
    ids = [2_000_000_000 + number for number in range(400)]
    api.get(re.compile(re.escape(f"{API}/procurement/catalog")), json=[])
    psa.products([str(number) for number in ids])
    addresses = [str(call.request.url) for call in api.calls]
    assert max(map(len, addresses)) <= LONGEST_URL
    assert len(addresses) == 4
    conditions = [query["conditions"][0] for query in queries(api)]
    assert all(re.fullmatch(r"id in \([0-9,]+\)", condition) for condition in conditions)
    assert [int(number) for one in conditions for number in re.findall(r"\d+", one)] == ids


def test_no_condition_holds_more_ids_than_a_chunk(psa, api):
    api.get(f"{API}/procurement/catalog", json=[])
    psa.products([str(number) for number in range(1, CHUNK + 2)])
    assert [query["conditions"][0].count(",") + 1 for query in queries(api)] == [CHUNK, 1]


def test_request_ids_are_logged_and_nothing_secret(psa, api, caplog):
    caplog.set_level(logging.DEBUG)
    api.get(AGREEMENTS, json=[agreement_row()], headers={"x-cw-request-id": "ab-12"})
    api.get(ADDITIONS, json=[addition_row()])
    psa.agreements([REF], TODAY)
    psa.lines(REF)
    assert "request id ab-12" in caplog.text
    assert "PRIV" not in caplog.text
    assert base64.b64encode(b"acme+PUB:PRIV").decode() not in caplog.text
