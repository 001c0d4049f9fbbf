from __future__ import annotations

from datetime import date

import pytest

from kisi.errors import PsaError
from kisi.model import Agreement, AgreementRef
from tests.unit.psa.connectwise.conftest import AGREEMENTS, REF, TODAY, agreement_row


def validated(psa, api, **changes):
    api.get(AGREEMENTS, json=[agreement_row(**changes)])
    return psa.agreements([REF], TODAY)[REF]


def test_a_running_agreement_of_the_mapped_company_is_fit(psa, api):
    got = validated(
        psa,
        api,
        noEndingDateFlag=False,
        endDate="2026-12-31T00:00:00Z",
        billStartDate="2025-02-01T00:00:00Z",
        nextInvoiceDate="2026-12-01T00:00:00Z",
        prorateFlag=True,
    )
    assert got == Agreement(
        REF,
        name="Managed Security",
        bill_start=date(2025, 2, 1),
        next_invoice=date(2026, 12, 1),
        ends=date(2026, 12, 31),
        prorated=True,
    )


@pytest.mark.parametrize(
    ("changes", "says", "gone"),
    [
        ({"company": {"id": 251, "name": "Fabrikam"}}, "belongs to company 251 (Fabrikam)", False),
        ({"company": {"id": 251}, "cancelledFlag": True}, "company 251 (no name)", True),
        ({"cancelledFlag": True}, "is cancelled", True),
        ({"agreementStatus": "Cancelled"}, "is cancelled", True),
        (
            {"noEndingDateFlag": False, "endDate": "2026-11-20T00:00:00Z"},
            "ended on 2026-11-20",
            True,
        ),
        ({"startDate": "2026-11-22T00:00:00Z"}, "starts only on 2026-11-22", True),
        ({"agreementStatus": "Expired"}, "calls it Expired", True),
        ({"agreementStatus": "Inactive", "name": None}, "Agreement 1042 is not active", True),
    ],
)
def test_an_agreement_that_must_not_be_billed_says_why(psa, api, changes, says, gone):
    got = validated(psa, api, **changes)
    assert got.not_billable.guard == "agreement"
    assert says in got.not_billable.reason
    assert got.not_billable.remedy
    assert got.gone is gone


@pytest.mark.parametrize("changes", [{"cancelledFlag": True}, {"agreementStatus": "Expired"}, None])
def test_what_took_the_agreements_place_is_named_by_a_command_that_can_do_it(psa, api, changes):
    api.get(AGREEMENTS, json=[] if changes is None else [agreement_row(**changes)])
    remedy = psa.agreements([REF], TODAY)[REF].not_billable.remedy
    assert remedy.endswith("`kisi map renew`, or `kisi map company cw:1042 --agreement ID`.")


@pytest.mark.parametrize(
    "changes",
    [
        {"agreementStatus": None, "cancelledFlag": None, "startDate": None, "prorateFlag": None},
        {"agreementStatus": "ACTIVE"},
        {"noEndingDateFlag": False, "endDate": "2026-11-21T00:00:00Z"},
        {"noEndingDateFlag": False, "endDate": None},
        {"noEndingDateFlag": True, "endDate": "2020-01-01T00:00:00Z"},
        {"startDate": "2026-11-21T00:00:00Z"},
        {"nextInvoiceDate": "first of the month"},
    ],
)
def test_absent_fields_and_the_days_themselves_do_not_make_it_unfit(psa, api, changes):
    got = validated(psa, api, **changes)
    assert got.not_billable is None
    assert not got.gone


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"endDate": "soon", "noEndingDateFlag": False}, "endDate is 'soon'"),
        ({"company": None}, "company/id is missing"),
    ],
)
def test_an_agreement_that_cannot_be_judged_is_an_error(psa, api, changes, says):
    got = validated(psa, api, **changes)
    assert isinstance(got, PsaError)
    assert "Agreement 1042" in got.message
    assert says in got.message


def test_an_agreement_that_connectwise_does_not_know_is_gone(psa, api):
    api.get(AGREEMENTS, json=[])
    got = psa.agreements([REF], TODAY)[REF]
    assert got.gone
    assert "does not exist" in got.not_billable.reason


def test_what_is_no_id_is_unfit_before_anything_is_sent(psa, api):
    ref = AgreementRef("cw", "250", "Managed) or (1=1")
    got = psa.agreements([ref], TODAY)[ref]
    assert got.gone
    assert "is not an agreement id" in got.not_billable.reason
    with pytest.raises(PsaError, match="is not an agreement id"):
        psa.lines(ref)
    assert not api.calls


def test_two_clients_on_one_agreement_are_validated_apart(psa, api):
    other = AgreementRef("cw", "251", "1042")
    api.get(AGREEMENTS, json=[agreement_row()])
    got = psa.agreements([REF, other], TODAY)
    assert got[REF].not_billable is None
    assert "belongs to company 250 (Contoso)" in got[other].not_billable.reason
    assert len(api.calls) == 1


def test_a_hundred_agreements_are_one_request(psa, api):
    refs = [AgreementRef("cw", "250", str(number)) for number in range(100_000, 100_100)]
    api.get(AGREEMENTS, json=[agreement_row(id=number) for number in range(100_000, 100_100)])
    got = psa.agreements(refs, TODAY)
    assert all(got[ref].not_billable is None for ref in refs)
    assert len(api.calls) == 1


def test_a_chunk_that_cannot_be_read_fails_its_own_agreements_only(psa, api):
    refs = [AgreementRef("cw", "250", str(number)) for number in range(1, 152)]
    api.get(AGREEMENTS, json={"message": "No."}, status=400)
    api.get(AGREEMENTS, json=[agreement_row(id=151)])
    got = psa.agreements(refs, TODAY)
    assert all(isinstance(got[ref], PsaError) for ref in refs[:150])
    assert got[refs[150]].not_billable is None


def test_nothing_read_is_an_error_of_the_psa(psa, api):
    api.get(AGREEMENTS, json={"message": "No."}, status=400)
    with pytest.raises(PsaError, match="could not read the agreements"):
        psa.agreements([REF], TODAY)


def test_no_agreements_are_no_request(psa, api):
    assert psa.agreements([], TODAY) == {}
    assert not api.calls


def test_map_shows_every_agreement_whatever_its_dates_are(psa, api):
    rows = [
        agreement_row(),
        agreement_row(id=2, cancelledFlag=True, noEndingDateFlag=False, endDate="soon"),
        agreement_row(id=3, agreementStatus="Expired", type=None, company=None, startDate=None),
    ]
    api.get(AGREEMENTS, json=rows)
    listed = psa.all_agreements()
    assert [(one.id, one.company, one.kind, one.active) for one in listed] == [
        ("1042", "250", "Managed Services", True),
        ("2", "250", "Managed Services", False),
        ("3", "", "", False),
    ]
    assert listed[0].starts == date(2025, 1, 1)
    assert listed[1].ends is None


def test_the_agreements_of_companies_are_asked_for_by_their_ids(psa, api):
    rows = [
        agreement_row(),
        agreement_row(id=1050, parentAgreement={"id": 1042}),
        agreement_row(id=1051, cancelledFlag=True),
        agreement_row(id=1052, company={"id": 251}, startDate="2027-01-01T00:00:00Z"),
    ]
    api.get(AGREEMENTS, json=rows, headers={"Link": ""})
    found = psa.agreements_of(["251", "250", "x"], TODAY)
    assert {company: [one.ref for one in all_of] for company, all_of in found.items()} == {
        "250": [REF, AgreementRef("cw", "250", "1050")],
        "251": [],
        "x": [],
    }
    assert "company%2Fid+in+%28250%2C251%29" in str(api.calls[0].request.url)
    assert len(api.calls) == 1


def test_an_agreement_of_a_company_that_cannot_be_judged_may_bill(psa, api):
    api.get(AGREEMENTS, json=[agreement_row(startDate="soon")], headers={"Link": ""})
    (one,) = psa.agreements_of(["250"], TODAY)["250"]
    assert (one.gone, one.not_billable.guard) == (False, "agreement")
    assert "startDate is 'soon'" in one.not_billable.reason


@pytest.mark.parametrize("company", [{"id": 251}, {}, None, {"id": True}])
def test_an_agreement_of_a_company_that_nobody_asked_for_is_another_answer(psa, api, company):
    api.get(AGREEMENTS, json=[agreement_row(company=company)])
    with pytest.raises(PsaError, match="record 1042 was not asked for: company/id"):
        psa.agreements_of(["250"], TODAY)


def test_an_agreement_that_nobody_asked_for_is_another_answer(psa, api):
    api.get(AGREEMENTS, json=[agreement_row(id=1043)])
    with pytest.raises(PsaError, match="record 1043 was not asked for: id 1043"):
        psa.agreements([REF], TODAY)


def test_four_hundred_companies_take_three_requests(psa, api):
    api.get(AGREEMENTS, json=[])
    found = psa.agreements_of([str(number) for number in range(1, 401)], TODAY)
    assert len(found) == 400
    assert len(api.calls) == 3


INVOICED = {
    "oneTimeFlag": False,
    "billOneTimeFlag": False,
    "billingCycle": {"id": 2},
    "nextInvoiceDate": "2026-12-01T00:00:00Z",
}
"""What ConnectWise says of an agreement that it invoices every month; null fields are left out."""
NO_CYCLE = {**INVOICED, "billingCycle": None}
CYCLE_NONE = {**INVOICED, "billingCycle": {"id": 9, "name": "None"}}
NO_DATE = {**INVOICED, "nextInvoiceDate": None}
ONE_TIME = {**INVOICED, "billOneTimeFlag": True}
CHILD = {"parentAgreement": {"id": 900}}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (ONE_TIME, "is billed only one time"),
        ({"oneTimeFlag": True}, "is billed only one time"),
        (NO_CYCLE, "has no billing cycle"),
        ({**INVOICED, "billingCycle": {}}, "has no billing cycle"),
        ({"billingCycle": {"id": None}}, "has no billing cycle"),
        (CYCLE_NONE, "has no billing cycle"),
        ({"billingCycle": {"name": " NONE "}}, "has no billing cycle"),
        ({**INVOICED, "billingCycle": "None"}, "has no billing cycle"),
        (NO_DATE, "has no next invoice date"),
        ({"nextInvoiceDate": ""}, "has no next invoice date"),
        ({"nextInvoiceDate": "0001-01-01T00:00:00Z"}, "has no next invoice date"),
        ({**ONE_TIME, **CHILD}, "is billed only one time"),
        ({**NO_CYCLE, "parentAgreement": {"id": 2**31}}, None),
    ],
)
def test_an_agreement_that_is_never_invoiced_is_unfit_and_may_still_hold_lines(
    psa, api, changes, says
):
    got = validated(psa, api, **changes)
    says = says or "has no billing cycle"
    assert got.not_billable.guard == "agreement"
    assert got.not_billable.reason == (
        f"Agreement 1042 'Managed Security' {says}: ConnectWise will never invoice what is added"
        " to it."
    )
    assert "--agreement ID" in got.not_billable.remedy
    assert not got.gone
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    "changes",
    [
        INVOICED,
        {},
        {"billingCycle": {"id": 2}},
        {"nextInvoiceDate": "2026-12-01"},
        {**INVOICED, "nextInvoiceDate": "first of the month"},
        {**INVOICED, "billingCycle": "Monthly"},
        {**INVOICED, "billingCycle": {"name": "Monthly"}},
        {**INVOICED, "billingCycle": {"id": 2, "name": None}},
        {**NO_CYCLE, **NO_DATE, "billOneTimeFlag": None},
        {**INVOICED, **CHILD},
        CHILD,
    ],
)
def test_what_a_record_does_not_say_of_invoices_is_no_proof_against_it(psa, api, changes):
    assert validated(psa, api, **changes).not_billable is None
    assert len(api.calls) == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (INVOICED, ""),
        ({}, ""),
        ({"startDate": "soon"}, ""),
        (None, ""),
        (NO_DATE, "has no next invoice date"),
        (ONE_TIME, "is billed only one time"),
        ({**INVOICED, "cancelledFlag": True}, "is not active"),
    ],
)
@pytest.mark.parametrize("own", [NO_CYCLE, CYCLE_NONE, NO_DATE])
def test_a_child_is_fit_unless_its_parent_is_known_not_to_invoice(psa, api, own, changes, says):
    api.get(AGREEMENTS, json=[agreement_row(**own, **CHILD)])
    api.get(
        AGREEMENTS,
        json=[] if changes is None else [agreement_row(id=900, **changes)],
        headers={"Link": ""},
    )
    found = psa.agreements([REF], TODAY)[REF].not_billable
    assert (found is None) == (not says)
    if found:
        assert f", and its parent, agreement 900, {says}: ConnectWise" in found.reason
    assert "id+in+%28900%29" in str(api.calls[1].request.url)


def test_parents_are_one_more_request_and_none_where_they_were_read(psa, api):
    refs = [AgreementRef("cw", "250", str(number)) for number in range(1, 101)]
    children = [
        agreement_row(id=number, **NO_CYCLE, parentAgreement={"id": number + 1})
        for number in range(1, 100)
    ]
    api.get(AGREEMENTS, json=[*children, agreement_row(id=100, **INVOICED, **CHILD)])
    got = psa.agreements(refs, TODAY)
    assert [number for number in range(1, 101) if got[refs[number - 1]].not_billable is None] == [
        99,  # its parent is invoiced; that of the others is a child itself
        100,
    ]
    assert len(api.calls) == 1


def test_a_parent_that_cannot_be_read_fails_its_children_only(psa, api):
    other = AgreementRef("cw", "250", "1043")
    api.get(
        AGREEMENTS,
        json=[agreement_row(**NO_CYCLE, **CHILD), agreement_row(id=1043, **INVOICED)],
    )
    api.get(AGREEMENTS, json={"message": "No."}, status=400)
    got = psa.agreements([REF, other], TODAY)
    assert isinstance(got[REF], PsaError)
    assert got[other].not_billable is None
