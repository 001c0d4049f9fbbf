from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal

import pytest

from kisi.errors import PsaError
from kisi.model import AgreementRef
from tests.unit.psa.tigerpaw.conftest import TODAY

DAY = timedelta(days=1)


def test_a_client_costs_two_reads_for_its_agreement_and_one_for_its_charges(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    item = scene.world.item("KES-WS", 4.5)
    scene.world.charge(agreement, item, 90)
    scene.world.charge(agreement, "BACKUP", 3, one_time=True)
    psa = scene.open()
    ref = scene.ref(agreement)
    validated = psa.agreements([ref], TODAY)[ref]
    kes, backup = psa.lines(ref)
    assert validated.not_billable is None
    assert (validated.name, validated.bill_start) == (
        "Managed Services",
        TODAY - timedelta(days=365),
    )
    assert (kes.product, kes.quantity, kes.unit_price) == ("KES-WS", 90, Decimal("4.5"))
    assert [kes.one_time, backup.one_time] == [False, True]
    assert scene.calls() == [
        "GET /api/accounts/500/service/externalproducts",
        "GET /api/agreements/7001",
        "GET /api/agreements/7001/additionalcharges",
    ]


def test_two_agreements_of_one_account_ask_for_its_cross_references_once(scene):
    account = scene.world.account("Contoso")
    refs = [scene.ref(scene.world.agreement(account)) for _ in range(2)]
    validated = scene.open().agreements(refs, TODAY)
    assert [one.not_billable for one in validated.values()] == [None, None]
    assert len(scene.calls()) == 3


@pytest.mark.parametrize(
    ("term", "said", "gone"),
    [
        ({"ends": TODAY}, None, False),
        ({"ends": TODAY - DAY}, "ended on 2026-11-20", True),
        ({"starts": TODAY}, None, False),
        ({"starts": TODAY + DAY}, "starts on 2026-11-22", True),
    ],
)
def test_an_agreement_is_billed_from_its_first_to_its_last_day(scene, term, said, gone):
    agreement = scene.world.agreement(scene.world.account("Contoso"), **term)
    validated = scene.validated(agreement)
    assert validated.gone is gone
    if said is None:
        assert validated.not_billable is None
    else:
        assert validated.not_billable.guard == "agreement"
        assert said in validated.not_billable.reason


def test_an_account_without_cross_reference_is_refused_with_the_steps_in_tigerpaw(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso", cross_referenced=False))
    not_billable = scene.validated(agreement).not_billable
    assert not_billable.guard == "account"
    assert 'Account 500 (Contoso) is not cross-referenced to the External Product "Kaspersky"' in (
        not_billable.reason
    )
    assert "Assign External Products to an Account" in not_billable.remedy
    assert "Edit > Master Tables > Account > External Products > New" in not_billable.remedy


def test_missing_accounts_and_agreements_and_those_of_others_have_their_own_sentences(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    scene.world.account("Fabrikam")
    refs = {
        "no account": AgreementRef("tp", "999", "7001"),
        "no agreement": AgreementRef("tp", "500", "9999"),
        "another": AgreementRef("tp", "501", str(agreement.number)),
        "another spelling": AgreementRef("tp", "500", f"0{agreement.number}"),
        "account name": AgreementRef("tp", "Contoso", "7001"),
        "agreement name": AgreementRef("tp", "500", "7001/details"),
    }
    validated = scene.open().agreements(refs.values(), TODAY)
    found = {key: validated[ref] for key, ref in refs.items()}
    assert {key: one.not_billable.guard for key, one in found.items()} == {
        "no account": "account",
        "no agreement": "agreement",
        "another": "agreement",
        "another spelling": "agreement",
        "account name": "account",
        "agreement name": "agreement",
    }
    assert found["no account"].not_billable.reason == "Tigerpaw has no account 999."
    assert found["no agreement"].not_billable.reason == "Tigerpaw has no agreement 9999."
    assert (
        "belongs to account 500 (Contoso), not to account 501"
        in found["another"].not_billable.reason
    )
    assert found["another spelling"].not_billable.reason == "Tigerpaw calls agreement 07001 7001."
    assert [key for key, one in found.items() if one.gone] == ["no agreement"]
    assert not any("details" in call for call in scene.calls())


def test_another_external_product_on_an_agreement_is_pointed_out_once(scene, caplog):
    account = scene.world.account("Contoso")
    agreements = [scene.world.agreement(account) for _ in range(3)]
    agreements[0].external_product = "N-able"
    agreements[1].external_product = "kaspersky"
    with caplog.at_level(logging.WARNING):
        scene.open().agreements([scene.ref(one) for one in agreements], TODAY)
    (record,) = caplog.records
    assert "on 1 of the mapped agreements another" in record.getMessage()
    assert "7001 (N-able)" in record.getMessage()


def test_a_failure_inside_status_200_concerns_its_client_and_is_never_taken_for_missing(scene):
    account = scene.world.account("Contoso")
    good, missing = scene.world.agreement(account), AgreementRef("tp", "500", "9999")
    scene.world.soft_errors = True
    validated = scene.open().agreements([missing, scene.ref(good)], TODAY)
    assert isinstance(validated[missing], PsaError)
    assert "Success: false, The record was not found." in validated[missing].message
    assert validated[scene.ref(good)].not_billable is None


@pytest.mark.parametrize("fault", ["html", "truncate", "empty", "garbage"])
def test_an_unreadable_answer_fails_its_client_alone(scene, fault):
    bad, good = (scene.world.agreement(scene.world.account(name)) for name in ("A", "B"))
    scene.faults.add(fault, match="GET /api/agreements/7001", times=None)
    validated = scene.open().agreements([scene.ref(bad), scene.ref(good)], TODAY)
    assert isinstance(validated[scene.ref(bad)], PsaError)
    assert validated[scene.ref(good)].not_billable is None


def test_a_read_is_repeated_after_a_server_fault(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    scene.faults.add("status", match="GET /api/agreements/*", code=502)
    scene.faults.add("lost", match="GET /api/accounts/*")
    assert scene.validated(agreement).not_billable is None
    assert len(scene.clock.slept) == 2


def test_a_lasting_server_fault_names_the_request(scene):
    scene.world.agreement(scene.world.account("Contoso"))
    scene.faults.add("status", match="GET /api/agreements/*", times=None, code=500, body="oops")
    with pytest.raises(
        PsaError, match="GET /api/agreements/7001/additionalcharges with status 500"
    ):
        scene.open().lines(AgreementRef("tp", "500", "7001"))


def test_refused_keys_end_the_reading_at_once_and_speak_of_the_clock(scene):
    refs = [scene.ref(scene.world.agreement(scene.world.account(name))) for name in "ABC"]
    scene.clock.start += timedelta(minutes=16)
    with pytest.raises(PsaError, match="401") as caught:
        scene.open().agreements(refs, TODAY)
    assert "clock" in caught.value.remedy
    assert len(scene.calls()) == 1


def test_keys_that_are_refused_halfway_fail_the_rest_unasked(scene):
    refs = [scene.ref(scene.world.agreement(scene.world.account(name))) for name in "ABCD"]
    scene.faults.add("status", match="GET /api/agreements/7002", times=None, code=401)
    validated = scene.open().agreements(refs, TODAY)
    assert validated[refs[0]].not_billable is None
    assert [isinstance(validated[ref], PsaError) for ref in refs[1:]] == [True] * 3
    assert len(scene.calls()) == 4


@pytest.mark.parametrize(
    "path", ["/api/agreements/7001", "/api/accounts/500/service/externalproducts"]
)
def test_a_record_that_the_rep_may_not_read_fails_its_client_alone(scene, path):
    refs = [scene.ref(scene.world.agreement(scene.world.account(name))) for name in "ABC"]
    scene.faults.add("status", match=f"GET {path}", times=None, code=403)
    first, *others = scene.open().agreements(refs, TODAY).values()
    assert isinstance(first, PsaError)
    assert f"GET {path} with 403" in first.message
    assert "rights" in first.remedy
    assert [one.not_billable for one in others] == [None, None]


def test_fewer_charges_than_the_agreement_counts_are_no_whole_list(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    scene.world.charge(agreement, "BACKUP", 3)
    scene.world.charge(agreement, "KES-WS", 3, one_time=True)
    psa = scene.open()
    ref = scene.ref(agreement)
    psa.agreements([ref], TODAY)
    path = "GET /api/agreements/7001/additionalcharges"
    scene.faults.add("status", match=path, code=200, body=[])
    with pytest.raises(PsaError, match="7001 has 2 additional charges and gave 0 of them"):
        psa.lines(ref)
    scene.world.charge(agreement, "NEW", 1)
    assert len(psa.lines(ref)) == 3


def test_where_an_agreement_counts_something_else_its_number_means_nothing(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    psa = scene.open(charges_counted=False)
    ref = scene.ref(agreement)
    body = {**agreement.record(1), "AdditionalCharges": 7}
    scene.faults.add("status", match="GET /api/agreements/7001", code=200, body=body)
    psa.agreements([ref], TODAY)
    assert psa.lines(ref) == ()


@pytest.mark.parametrize("count", [None, 0, [], True, "2"])
def test_an_agreement_that_does_not_count_its_charges_is_believed(scene, count):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    scene.world.charge(agreement, "BACKUP", 3)
    body = {**agreement.record(1), "AdditionalCharges": count}
    scene.faults.add("status", match="GET /api/agreements/7001", code=200, body=body)
    psa = scene.open()
    ref = scene.ref(agreement)
    assert psa.agreements([ref], TODAY)[ref].not_billable is None
    assert len(psa.lines(ref)) == 1


def test_an_address_where_nothing_listens_ends_the_reading(scene):
    ref = AgreementRef("tp", "500", "7001")
    with pytest.raises(PsaError, match="not sent"):
        scene.open(url="http://127.0.0.1:9").agreements([ref, ref], TODAY)


def test_an_address_that_answers_everything_with_404_is_no_tigerpaw(scene):
    scene.faults.add("status", match="*", times=None, code=404)
    with pytest.raises(PsaError, match="not the address of a Tigerpaw API"):
        scene.open().agreements([AgreementRef("tp", "500", "7001")], TODAY)


def test_no_content_is_never_an_empty_list_of_charges(scene):
    scene.world.agreement(scene.world.account("Contoso"))
    scene.faults.add("status", match="*additionalcharges", times=None, code=204)
    scene.faults.add("status", match="*externalproducts", times=None, code=200, body={"a": 1})
    psa = scene.open()
    ref = AgreementRef("tp", "500", "7001")
    with pytest.raises(PsaError, match="204"):
        psa.lines(ref)
    assert "not a list" in psa.agreements([ref], TODAY)[ref].message


def test_an_item_is_read_once_in_a_run_and_goes_by_its_exact_id(scene):
    scene.world.item("KES-WS", 4.5, description="Workstations")
    scene.world.item("OLD", inactive=True)
    psa = scene.open()
    found = psa.products(["KES-WS", "OLD", "kes-ws", "NONE"])
    assert sorted(found) == ["KES-WS", "OLD"]
    assert (found["KES-WS"].name, found["KES-WS"].price) == ("Workstations", Decimal("4.5"))
    assert [found["KES-WS"].active, found["OLD"].active] == [True, False]
    asked = len(scene.calls())
    assert psa.products(["KES-WS", "NONE"]).keys() == {"KES-WS"}
    assert len(scene.calls()) == asked


def test_an_item_that_answers_in_another_case_is_not_the_mapped_one(scene):
    scene.faults.add("status", match="GET /api/pricebook/*", code=200, body={"ItemId": "kes-ws"})
    assert scene.open().products(["KES-WS"]) == {}


def test_lists_for_the_mapping_follow_all_pages(scene):
    for number in range(250):
        scene.world.agreement(scene.world.account(f"Client {number}"))
        scene.world.item(f"ITEM-{number}")
    psa = scene.open()
    assert len({one.id for one in psa.all_companies()}) == 250
    assert len({one.id for one in psa.all_products()}) == 250
    agreements = psa.all_agreements()
    assert len(agreements) == 250
    assert (agreements[0].id, agreements[0].company, agreements[0].active) == ("7001", "500", True)
    assert len(scene.calls()) == 9


def test_a_search_whose_rows_begin_elsewhere_is_incomplete_until_told(scene):
    for number in range(3):
        scene.world.account(f"Client {number}")
    scene.world.first_row = 0
    with pytest.raises(PsaError, match="has 3 records and gave 2") as caught:
        scene.open().all_companies()
    assert "first_row = 0" in caught.value.remedy
    assert len(scene.open(first_row=0).all_companies()) == 3


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ({"Accounts": [{"AccountNumber": 5}], "NextRow": 2, "TotalCount": 9}, "gave 1 of them"),
        ({"Accounts": [{"AccountNumber": 5}], "NextRow": 2, "TotalCount": 0}, "has 0 records and"),
        ({"Accounts": [{"AccountNumber": 5}], "NextRow": 2}, "not a page of results"),
        ({"Accounts": None, "TotalCount": 4}, "not a page of results"),
        ([], "not a page of results"),
    ],
)
def test_a_server_that_repeats_a_page_or_sends_none_does_not_hold_kisi(scene, page, said):
    scene.faults.add("status", match="POST *", times=None, code=200, body=page)
    with pytest.raises(PsaError, match=said):
        scene.open().all_companies()
    assert len(scene.calls()) <= 2


def test_an_empty_search_is_an_empty_list(scene):
    body = {"Accounts": None, "TotalCount": 0, "Success": True}
    scene.faults.add("status", match="POST *", code=200, body=body)
    assert scene.open().all_companies() == ()


def test_the_agreements_of_an_account_take_one_request_and_know_their_charges(scene):
    account = scene.world.account("Contoso", cross_referenced=False)
    runs = scene.world.agreement(account)
    scene.world.agreement(account, ends=TODAY - DAY)
    scene.world.agreement(scene.world.account("Fabrikam"))
    scene.world.charge(runs, "BACKUP", 3)
    psa = scene.open()
    found = psa.agreements_of(["500", "999", "Contoso", "500"], TODAY)
    assert {account: [one.ref for one in all_of] for account, all_of in found.items()} == {
        "500": [scene.ref(runs)],
        "999": [],
        "Contoso": [],
    }
    assert scene.calls()[0] == "GET /api/agreements/account/500"
    path = "GET /api/agreements/7001/additionalcharges"
    scene.faults.add("status", match=path, code=200, body=[])
    with pytest.raises(PsaError, match="has 1 additional charges and gave 0 of them"):
        psa.lines(scene.ref(runs))


def test_agreements_of_another_account_are_another_answer(scene):
    for name in ("Contoso", "Fabrikam"):
        scene.world.agreement(scene.world.account(name))
    scene.faults.add("misrouted", match="*", times=None, old="/500", new="/501")
    with pytest.raises(PsaError, match="asked for account 500, it gave agreements of 501"):
        scene.open().agreements_of(["500"], TODAY)


@pytest.mark.parametrize("body", [{}, [], {"Agreements": []}, {"Agreements": 1, "TotalCount": 1}])
def test_agreements_of_an_account_that_are_not_counted_are_no_whole_list(scene, body):
    scene.world.agreement(scene.world.account("Contoso"))
    scene.faults.add("status", match="GET */account/*", code=200, body=body, times=None)
    with pytest.raises(PsaError, match="it says that there are"):
        scene.open().agreements_of(["500"], TODAY)


def test_before_a_create_the_charges_are_counted_again_after_a_submit(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    item = scene.world.item("KES-WS").id
    psa, ref = scene.open(), scene.ref(agreement)
    psa.agreements([ref], TODAY)
    count = "GET /api/agreements/7001"
    asked = scene.calls().count(count)
    psa.lines(ref, [item])
    assert scene.calls().count(count) == asked
    scene.submit(psa, agreement, item, 5)
    psa.lines(ref)
    assert scene.calls().count(count) == asked
    match = f"{count}/additionalcharges"
    scene.faults.add("status", match=match, code=200, body=[], times=None)
    with pytest.raises(PsaError, match="has 1 additional charges and gave 0 of them"):
        psa.lines(ref, ["EDR"])
    assert scene.calls().count(count) == asked + 1


def test_a_charge_is_asked_for_by_its_number_and_gone_where_tigerpaw_says_so(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    charge = scene.world.charge(agreement, "KES-WS", 9)
    psa, ref = scene.open(), scene.ref(agreement)
    assert psa.line(ref, str(charge.id)).quantity == 9
    assert psa.line(ref, "99999") is None
    path = f"/api/agreements/7001/additionalcharges/{charge.id}"
    assert scene.calls()[0] == f"GET {path}"
    scene.faults.add("status", match=f"GET {path}", code=200, body=b"null")
    assert psa.line(ref, str(charge.id)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"DetailId": 30002}, "gave charge 30002"),
        ({"AgreementNumber": 7002}, "asked for agreement 7001, it gave additional charges of 7002"),
    ],
)
def test_another_charge_than_the_one_asked_for_is_another_answer(scene, change, said):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    charge = scene.world.charge(agreement, "KES-WS", 9)
    body = {**charge.record(), **change}
    scene.faults.add("status", match="GET */additionalcharges/*", code=200, body=body)
    with pytest.raises(PsaError, match=said):
        scene.open().line(scene.ref(agreement), str(charge.id))


def test_a_list_with_a_charge_of_another_agreement_is_another_answer(scene):
    agreement = scene.world.agreement(scene.world.account("Contoso"))
    charge = scene.world.charge(agreement, "KES-WS", 9)
    body = [{**charge.record(), "AgreementNumber": 7002}]
    scene.faults.add("status", match="GET */additionalcharges", code=200, body=body)
    with pytest.raises(PsaError, match="additional charges of 7002"):
        scene.open().lines(scene.ref(agreement))
