"""A plan in; an exit code, counts and one sentence out."""

from dataclasses import replace

import pytest

from kisi.errors import ExitCode
from kisi.model import WITH, CompanyPlan, Failure, Hold, Outcome, Plan, Status, Tenant, UnmappedUse
from kisi.reconcile.summary import (
    Summary,
    by_cause,
    exit_code,
    is_current,
    last_line,
    summarise,
)
from tests.unit.build import COMPANY, tenant
from tests.unit.fakes import planned

HELD = Hold("decrease", "fewer by half", "accept it")
CREATE = planned(None, 5)
UPDATE = planned(5, 6, line_id="301")
EQUAL = planned(5, 5, line_id="301")


def named(name, *lines, status=Status.READY, **more):
    return CompanyPlan(replace(COMPANY, name=name), status, lines, **more)


def failed(name, code=ExitCode.SOURCE, guard="source-incomplete"):
    return named(name, status=Status.FAILED, failure=Failure(guard, "it broke", "", code))


def after(line, outcome, detail=""):
    return replace(line, outcome=outcome, detail=detail)


def plan(*companies, **more):
    return Plan(companies, **more)


@pytest.mark.parametrize(
    ("company", "code"),
    [
        (named("A", CREATE, UPDATE, EQUAL), ExitCode.OK),
        (named("A", status=Status.OFF), ExitCode.OK),
        (named("A", replace(CREATE, hold=HELD), status=Status.HELD), ExitCode.WITHHELD),
        (named("A", unmapped=(UnmappedUse("A", "EDR", 3),)), ExitCode.WITHHELD),
        (failed("A"), ExitCode.SOURCE),
        (failed("A", ExitCode.PSA, "psa"), ExitCode.PSA),
        (failed("A", ExitCode.WITHHELD, "ambiguous"), ExitCode.WITHHELD),
        (named("A", after(CREATE, Outcome.APPLIED)), ExitCode.OK),
        (named("A", after(CREATE, Outcome.FAILED)), ExitCode.WRITE),
        (named("A", after(CREATE, Outcome.UNKNOWN)), ExitCode.WRITE),
    ],
)
def test_what_happens_to_one_client_decides_the_exit_code(company, code):
    assert exit_code(plan(company)) is code


def test_the_worst_client_decides():
    held = named("B", replace(CREATE, hold=HELD), status=Status.HELD)
    assert exit_code(plan(held, failed("A"))) is ExitCode.SOURCE
    assert exit_code(plan(failed("A"), failed("C", ExitCode.PSA))) is ExitCode.PSA
    unknown = named("D", after(UPDATE, Outcome.UNKNOWN))
    assert exit_code(plan(unknown, failed("C", ExitCode.PSA))) is ExitCode.WRITE


def test_changes_that_wait_count_only_on_demand_and_are_the_least():
    waiting = named("A", CREATE)
    assert exit_code(plan(waiting)) is ExitCode.OK
    assert exit_code(plan(waiting), detailed=True) is ExitCode.PENDING
    held = named("B", replace(CREATE, hold=HELD), status=Status.HELD)
    assert exit_code(plan(held), detailed=True) is ExitCode.WITHHELD
    assert exit_code(plan(waiting, failed("C")), detailed=True) is ExitCode.SOURCE
    assert exit_code(plan(named("A", EQUAL)), detailed=True) is ExitCode.OK


def test_what_failed_without_a_client_counts_too():
    failures = (Failure("source-incomplete", "hub is down", "", ExitCode.SOURCE),)
    assert exit_code(plan(failures=failures)) is ExitCode.SOURCE


def test_each_line_is_counted_in_exactly_one_of_four():
    company = named(
        *("A", CREATE, UPDATE, EQUAL, replace(UPDATE, hold=HELD), replace(EQUAL, hold=HELD)),
        status=Status.HELD,
    )
    assert summarise(plan(company)) == Summary(create=1, update=1, unchanged=1, held=2)


def test_failed_counts_clients_and_writes():
    company = named(
        "A",
        after(CREATE, Outcome.FAILED),
        after(UPDATE, Outcome.UNKNOWN),
        after(CREATE, Outcome.APPLIED),
    )
    summary = summarise(plan(company, failed("B")))
    assert (summary.failed, summary.applied) == (3, 1)
    assert (summary.create, summary.update) == (2, 1)


def test_a_client_is_current_once_every_line_is_shown():
    assert is_current(named("A", EQUAL, after(CREATE, Outcome.APPLIED)))
    assert is_current(named("A"))
    assert not is_current(named("A", CREATE))
    assert not is_current(named("A", EQUAL, status=Status.HELD))
    assert not is_current(failed("A"))


def test_the_last_line_names_who_is_not_current_and_why():
    text = last_line(
        plan(
            named("Contoso", EQUAL),
            named("Fabrikam", after(UPDATE, Outcome.UNKNOWN, "the PSA shows 7 instead of 6")),
            named("Coho", replace(UPDATE, hold=HELD), status=Status.HELD),
            failed("Tailspin"),
            named("Proseware", CREATE, UPDATE),
            named("Litware", UPDATE),
            named("Nobody", status=Status.OFF),
        )
    )
    assert text == (
        "1 of 6 clients up to date; need attention: Fabrikam (unknown: the PSA shows 7 instead of 6), "
        "Coho (held: decrease), Tailspin (source-incomplete: it broke), "
        "Proseware (2 changes to write), Litware (1 change to write)."
    )


def test_the_last_line_has_of_a_write_its_first_sentence_and_whom_it_concerns():
    def refused(name, line_id):
        said = f"It refused to change addition {line_id}. It answered 400 Bad Request. See there."
        return named(name, replace(after(UPDATE, Outcome.FAILED, said), line_id=line_id))

    waits = Hold(WITH, "waits for line 90001 of Contoso (agreement 1042), 9 → 5", "{accept}")
    text = last_line(
        plan(
            refused("Contoso", "90001"),
            refused("Fabrikam", "90002"),
            named("Coho", replace(UPDATE, hold=waits), status=Status.HELD),
            named("Proseware", UPDATE),
            named("Litware", UPDATE),
        )
    )
    assert text == (
        "0 of 5 clients up to date; need attention: Contoso and Fabrikam (failed: It refused to "
        "change addition …), Coho (held: waits for line 90001 of Contoso), Proseware and Litware "
        "(1 change to write each); `kisi status` says more."
    )


def test_the_last_line_tells_what_is_used_and_not_billed():
    uses = (UnmappedUse("Contoso", "EDR", 3),)
    text = last_line(plan(named("Contoso", EQUAL, unmapped=uses)))
    assert text == "1 of 1 clients up to date; unmapped usage: Contoso."


@pytest.mark.parametrize(
    ("number", "said"), [(1, "; 1 tenant unmapped."), (2, "; 2 tenants unmapped.")]
)
def test_the_last_line_tells_of_tenants_that_no_client_has(number, said):
    whole = replace(plan(named("Contoso", EQUAL)), unmapped_tenants=(tenant(),) * number)
    assert last_line(whole) == f"1 of 1 clients up to date{said}"
    assert exit_code(whole) == 0


def test_the_last_line_stays_short():
    clients = [failed(f"Client {number}") for number in range(10)]
    text = last_line(plan(*clients))
    assert "Client 7 and 2 more (source-incomplete: it broke)." in text
    assert "Client 8" not in text
    causes = by_cause((name, f"because of {name}") for name in "ABCDEFGHIJ")
    assert causes.endswith("H (because of H) and 2 more")


def test_one_common_cause_is_said_once_also_where_each_quotes_its_own_name():
    causes = [("A", "held"), ("B", 'no right on "B"'), ("C", "held"), ("D", 'no right on "D"')]
    assert by_cause(causes) == 'A and C (held), B and D (no right on "…")'
    assert by_cause(causes[:2]) == 'A (held), B (no right on "B")'


def test_without_billed_clients_the_last_line_says_what_to_do():
    tenants: tuple[Tenant, ...] = (tenant(), tenant("Fabrikam", "VSRV-2"))
    text = last_line(plan(named("A", status=Status.OFF), unmapped_tenants=tenants))
    off = "No client is billed: billing is off for all of them"
    assert text == f"{off}; 2 tenants unmapped. Next: `kisi map billing CLIENT on`."
    text = last_line(plan(named("A", status=Status.OFF)))
    assert text == f"{off}. Next: `kisi map billing CLIENT on`."
    broken = (Failure("source-incomplete", "hq is down", "", ExitCode.SOURCE),)
    assert last_line(plan(failures=broken)) == "Nothing could be read: hq is down"
