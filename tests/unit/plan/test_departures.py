from dataclasses import replace
from decimal import Decimal

import pytest

from kisi.errors import ExitCode
from kisi.model import (
    Action,
    AgreementRef,
    Category,
    Company,
    CompanyPlan,
    Failure,
    PlannedLine,
    Status,
    TenantRef,
)
from kisi.plan import failed, with_departures
from tests.unit.build import AGREEMENT, KES, fact


def client(name, agreement, *tenants, **more):
    refs = tuple(TenantRef("hq", tenant) for tenant in tenants)
    return Company(name, refs, "cw", "250", agreement, **more)


CONTOSO, LAB = client("Contoso", "1042", "t1"), client("Lab", "1043", "t2")
BEFORE = replace(
    fact("1200", 55), tenants=(TenantRef("hq", "t1"), TenantRef("hq", "t2")), name="Contoso"
)


def planned(before, after, agreement="1042", line_id="301", application=KES):
    return PlannedLine(
        psa="cw",
        company="250",
        agreement=agreement,
        application=application,
        categories=(Category.ALL,),
        product="1200",
        line_id=line_id,
        action=Action.NONE if before == after else Action.UPDATE,
        before=Decimal(before),
        after=after,
    )


def awaited(*plans, facts=(BEFORE,), companies=(CONTOSO, LAB), agreements=None):
    """Who waits for which client, because of which tenant."""
    found = with_departures(plans, companies, facts, agreements or {})
    return [
        (plan.company.name, one.owner, one.tenant, one.line.line_id)
        for plan in found
        for one in plan.awaits
    ]


def ready(company, *lines, **more):
    return CompanyPlan(company, Status.READY, lines, **more)


FAILURE = Failure("source-incomplete", "it broke off", "run it again", ExitCode.SOURCE)
WAITS = [("Lab", "Contoso", "hq:t2", "301")]


def test_who_has_a_tenant_now_waits_for_the_line_that_is_to_fall_without_it():
    assert awaited(ready(CONTOSO, planned(55, 5)), ready(LAB)) == WAITS


@pytest.mark.parametrize("after", [55, 60])
def test_nobody_waits_for_a_line_that_does_not_fall(after):
    assert awaited(ready(CONTOSO, planned(55, after)), ready(LAB)) == []


def test_it_is_the_application_that_falls_and_not_one_of_its_categories():
    lines = planned(55, 5), planned(10, 60, line_id="302")
    assert awaited(ready(CONTOSO, *lines), ready(LAB)) == []
    other = planned(10, 60, line_id="302", application="Another")
    assert awaited(ready(CONTOSO, lines[0], other), ready(LAB)) == WAITS


def test_a_client_that_is_not_planned_or_failed_may_still_be_billed_for_it():
    assert awaited(ready(LAB)) == WAITS
    assert awaited(failed(CONTOSO, FAILURE), ready(LAB)) == WAITS


def test_an_agreement_that_bills_nothing_any_more_is_not_waited_for():
    ref = AgreementRef("cw", "250", "1042")
    gone = {ref: replace(AGREEMENT, ref=ref, gone=True)}
    assert awaited(failed(CONTOSO, FAILURE), ready(LAB), agreements=gone) == []


def test_a_corrected_company_id_hides_no_line():
    corrected = replace(CONTOSO, company="251")
    plans = ready(corrected, planned(55, 5)), ready(LAB)
    assert awaited(*plans, companies=(corrected, LAB)) == WAITS


def test_once_it_was_proven_without_the_tenant_nobody_waits():
    proven = replace(BEFORE, tenants=CONTOSO.tenants)
    assert awaited(ready(CONTOSO, planned(55, 5)), ready(LAB), facts=[proven]) == []


def test_nobody_waits_for_what_bills_nothing_or_is_left_to_people():
    zero = replace(BEFORE, confirmed=Decimal(0))
    assert awaited(ready(LAB), facts=[zero]) == []
    assert awaited(ready(LAB), facts=[replace(zero, confirmed=Decimal(1))]) == WAITS
    assert awaited(ready(LAB), facts=[replace(zero, unsettled=True)]) == WAITS
    left = ready(CONTOSO, planned(9, 5, line_id="x"), left=(planned(55, 55),))
    assert awaited(left, ready(LAB)) == []


def test_a_client_that_fails_itself_waits_for_nothing_and_keeps_what_it_awaited():
    assert awaited(ready(CONTOSO, planned(55, 5)), failed(LAB, FAILURE)) == []


def test_a_client_that_is_off_is_somebody_elses_matter():
    off = replace(CONTOSO, billing=False)
    assert awaited(ready(LAB), companies=(off, LAB)) == []


def test_what_is_awaited_is_the_line_as_it_was_proven():
    (_, lab) = with_departures(
        [ready(CONTOSO, planned(55, 5)), ready(LAB)], (CONTOSO, LAB), [BEFORE], {}
    )
    (one,) = lab.awaits
    assert (one.line.before, one.line.after, one.line.action) == (55, 55, Action.NONE)
    assert (one.line.agreement, one.line.product, one.line.application) == ("1042", "1200", KES)
