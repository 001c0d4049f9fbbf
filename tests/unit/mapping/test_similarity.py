from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.mapping.similarity import (
    DEFAULT_MIN_SCORE,
    Weights,
    compare,
    parse_name,
    suggest_companies,
    word_similarity,
)
from kisi.sandbox.demo import fleet as build_fleet
from tests.unit.mapping import names

NAMES = [
    "Contoso Logistics",
    "Fabrikam Logistics",
    "Tailspin Logistics",
    "Contso Logistics",
    "K1042 Contoso",
]


def similarity(one, other):
    names = [parse_name(name) for name in [*NAMES, one, other]]
    return compare(names[-2], names[-1], Weights(names))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("contoso", "contso"),
        ("construction", "constr"),
        ("services", "svcs"),
        ("tailspin", "tialspin"),
    ],
)
def test_slips_and_shortened_words_are_like(one, other):
    assert 0 < word_similarity(one, other) < 1
    assert word_similarity(one, other) == word_similarity(other, one)
    found = suggest_companies({"t": one}, {"1": other, "2": "unrelated"})["t"]
    assert [match.id for match in found] == ["1"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bau", "bar"),
        ("site12", "site13"),
        ("contoso", "fabrikam"),
        ("2024", "2025"),
        ("marble", "market"),
    ],
)
def test_other_words_and_other_numbers_are_not(one, other):
    assert word_similarity(one, other) == 0


def test_the_order_of_words_does_not_matter():
    assert similarity("Logistics Contoso", "Contoso Logistics")[0] == 1


def test_a_rare_word_weighs_more_than_a_trade():
    assert (
        similarity("Contoso", "Contoso Logistics")[0]
        > similarity("Logistics", "Contoso Logistics")[0]
    )


def test_a_customer_number_means_nothing_to_a_name_without_one():
    assert similarity("K1042 Fabrikam", "Fabrikam")[0] == 1
    assert similarity("Area 511 Fabrikam", "Area 512 Fabrikam")[0] < 0.9


def test_what_differs_is_told():
    _, reason = similarity("Contso Group", "Contoso Logistics")
    assert reason == 'similar name; taking "contso" for "contoso"; only one has "logistics"'


@pytest.mark.slow
@given(st.text(), st.text())
def test_likeness_is_symmetrical_and_within_bounds(one, other):
    (forth, _), (back, _) = similarity(one, other), similarity(other, one)
    assert 0 <= forth <= 1
    assert forth == pytest.approx(back)


# --- which company a tenant may be


def first(tenant, *companies):
    found = suggest_companies({"hq:1": tenant}, dict(enumerate_ids(companies)))["hq:1"]
    return found[0] if found else None


def enumerate_ids(companies):
    return ((str(number), name) for number, name in enumerate(companies, 1))


CROWD = [
    f"{name} {trade}"
    for name in ("Fabrikam", "Tailspin", "Wingtip")
    for trade in ("Bau", "Dental", "Foods")
]


@pytest.mark.parametrize("seed", [1, 2, 2026, 7919])
def test_first_suggestions_are_right_and_found_on_400_tenants_and_600_companies(seed):
    """Precision 0.994 to 1.0 and recall 0.90 to 0.95 on these and on seeds 1 to 8.

    The rules were made while looking at seeds 1 to 8; 2026 and 7919 were only ever measured.
    """
    lists = names.build(seed)
    assert len(lists.tenants) == 400
    assert len(lists.companies) >= 600
    found = suggest_companies(lists.tenants, lists.companies)
    firsts = {
        tenant: best[0].id
        for tenant, best in found.items()
        if best and best[0].score >= DEFAULT_MIN_SCORE
    }
    right = [tenant for tenant, company in firsts.items() if lists.truth[tenant] == company]
    known = [tenant for tenant, company in lists.truth.items() if company]
    assert len(right) / len(firsts) >= 0.98
    assert len(right) / len(known) >= 0.85


def test_the_lists_are_the_same_every_time():
    assert names.build(5) == names.build(5)
    assert names.build(5) != names.build(6)


def test_the_same_name_is_certain_and_says_so():
    best = first("Contoso GmbH", "Contoso GmbH", *CROWD)
    assert (best.id, best.score, best.reason) == ("1", 1.0, "the same name")


@pytest.mark.parametrize(
    ("tenant", "company", "reason"),
    [
        ("CONTOSO", "Contoso GmbH", "but for spelling and legal form"),
        ("Contoso AG", "Contoso GmbH", "another legal form"),
        ("Contoso - HQ", "Contoso GmbH", "words that tell sites apart"),
        ("Contso Dental", "Contoso Dental Ltd", 'taking "contso" for "contoso"'),
        ("Dental Contoso", "Contoso Dental", "the same words"),
        ("Contosodental", "Contoso Dental", "other spaces"),
        ("BMDF", "Baltic Marine Data Freight SE", "initials"),
    ],
)
def test_what_people_do_to_names_is_seen_through_and_told(tenant, company, reason):
    best = first(tenant, company, *CROWD)
    assert best.id == "1"
    assert best.score >= DEFAULT_MIN_SCORE
    assert reason in best.reason


@pytest.mark.parametrize("tenant", ["Contoso", "Contoso GmbH", "Contoso Ltd"])
def test_of_two_companies_with_one_name_neither_is_suggested(tenant):
    found = suggest_companies({"hq:1": tenant}, {"1": "Contoso GmbH", "2": "Contoso Ltd"})["hq:1"]
    assert {suggestion.id for suggestion in found} == {"1", "2"}
    assert all(suggestion.score < DEFAULT_MIN_SCORE for suggestion in found)
    assert all("another company fits as well" in suggestion.reason for suggestion in found)


def test_a_company_that_another_tenant_fits_better_is_not_suggested():
    found = suggest_companies(
        {"hq:1": "Meyer Logistik", "hq:2": "Meier Logistik"},
        {"1": "Meyer Logistik GmbH", **{f"c{number}": name for number, name in enumerate(CROWD)}},
    )
    assert found["hq:1"][0].score >= DEFAULT_MIN_SCORE
    assert found["hq:2"][0].score < DEFAULT_MIN_SCORE
    assert "another tenant fits this company better" in found["hq:2"][0].reason


def test_two_sites_of_one_client_are_both_suggested():
    found = suggest_companies(
        {"hq:1": "Contoso - HQ", "hq:2": "Contoso (old)"}, {"1": "Contoso Ltd", "2": "Fabrikam"}
    )
    assert [found[tenant][0].id for tenant in found] == ["1", "1"]
    assert all(found[tenant][0].score >= DEFAULT_MIN_SCORE for tenant in found)


@pytest.mark.parametrize("tenant", ["Northwind", "ABC", "Müller Bau Hamburg", "!!", ""])
def test_a_tenant_that_the_psa_does_not_know_gets_no_confident_suggestion(tenant):
    best = first(tenant, "Alpha Beta Consulting", "Müller Bau Berlin", "!?", *CROWD)
    assert best is None or best.score < DEFAULT_MIN_SCORE


def test_every_tenant_is_in_the_answer_in_order_and_lists_are_short():
    companies = {
        str(number): f"Contoso {trade}"
        for number, trade in enumerate(["Bau", "Dental", "Foods", "Motors", "Air", "Tools"])
    }
    found = suggest_companies({"b": "Contoso", "a": "nothing alike"}, companies)
    assert list(found) == ["b", "a"]
    assert len(found["b"]) == 5
    assert found["a"] == ()


def test_a_common_word_brings_names_together_where_there_is_no_rarer_one():
    companies = {str(number): f"Client {number:03}" for number in range(120)}
    found = suggest_companies({"hq:1": "Client 077", "hq:2": "Client"}, companies)
    assert found["hq:1"][0].id == "77"
    assert all(suggestion.score < DEFAULT_MIN_SCORE for suggestion in found["hq:2"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sandboxs_fleet_is_found_too(seed):
    """Precision 1.0 and recall 0.97 to 0.98: 400 virtual servers, 600 companies."""
    fleet = build_fleet(400, seed=seed)
    tenants = {server.uid: server.name for server in fleet.world.servers}
    companies = {str(company.id): company.name for company in fleet.world.companies.values()}
    assert (len(tenants), len(companies)) == (400, 600)
    found = suggest_companies(tenants, companies)
    firsts = {
        tenant: int(best[0].id)
        for tenant, best in found.items()
        if best and best[0].score >= DEFAULT_MIN_SCORE
    }
    right = [tenant for tenant, company in firsts.items() if fleet.truth[tenant] == company]
    known = [tenant for tenant, company in fleet.truth.items() if company]
    assert len(right) / len(firsts) >= 0.98
    assert len(right) / len(known) >= 0.95
