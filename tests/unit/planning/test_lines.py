from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ExitCode
from kisi.model import (
    Action,
    Agreement,
    AgreementRef,
    Category,
    CompanyPlan,
    Failure,
    NotBillable,
    PlannedLine,
    Status,
    UnmappedUse,
)
from kisi.planning import CurrentState, DesiredLine, DesiredState, failed, may_bill, plan_company
from tests.unit.build import AGREEMENT, COMPANY, KES, TODAY, fact, line

TOMORROW = TODAY + timedelta(days=1)
YESTERDAY = TODAY - timedelta(days=1)


PRODUCTS = (("1201", 0), ("1202", 10), ("1203", 3))


def want(quantity, product="1200"):
    return DesiredState((DesiredLine(product, KES, (Category.ALL,), quantity),))


def plan(quantity, lines=(), facts=(), agreement=AGREEMENT, elsewhere=None):
    held = CurrentState(agreement, tuple(lines), elsewhere or {})
    return plan_company(COMPANY, want(quantity), held, facts, TODAY)


def only(company_plan):
    (planned,) = company_plan.lines
    return planned


def test_a_missing_line_is_created_and_nothing_is_created_for_nothing():
    planned = only(plan(90))
    assert (planned.action, planned.before, planned.after) == (Action.CREATE, None, 90)
    assert plan(0).lines == ()


W, N = Category.WINDOWS_WORKSTATIONS, Category.NON_WINDOWS


def test_a_planned_line_is_whole():
    """Where it is written, and what of: a new line, a line to change, and one that is right."""
    wanted = DesiredState((DesiredLine("1200", KES, (W, N), 9),))
    for lines, line_id, before, action in [
        ((), None, None, Action.CREATE),
        ((line("1200", 8),), "301", Decimal(8), Action.UPDATE),
        ((line("1200", 9),), "301", Decimal(9), Action.NONE),
    ]:
        found = plan_company(
            COMPANY, wanted, CurrentState(AGREEMENT, lines), [fact("1200", 8)], TODAY
        )
        assert (found.company, found.status) == (COMPANY, Status.READY)
        assert only(found) == PlannedLine(
            psa="cw",
            company="250",
            agreement="1042",
            application=KES,
            categories=(W, N),
            product="1200",
            line_id=line_id,
            action=action,
            before=before,
            after=9,
        )


def test_an_orphan_is_whole_and_written_where_it_is():
    owned = fact(
        "1200", 7, "1", psa="tp", company="77", agreement="900", application="Old", categories=(W,)
    )
    there = AgreementRef("tp", "77", "900")
    elsewhere = {there: (Agreement(there), (replace(line("1200", 8, "1"), agreement="900"),))}
    assert only(plan(0, facts=[owned], elsewhere=elsewhere)) == PlannedLine(
        psa="tp",
        company="77",
        agreement="900",
        application="Old",
        categories=(W,),
        product="1200",
        line_id="1",
        action=Action.UPDATE,
        before=Decimal(8),
        after=0,
        orphaned=True,
    )


def test_a_plan_knows_of_which_applications_devices_are_unknown():
    wanted = (
        DesiredLine("1200", KES, (Category.ALL,), 9, ("pc-9",)),
        DesiredLine("1300", "Mail", (Category.ALL,), 5),
    )
    current = CurrentState(AGREEMENT, ())
    assert plan_company(COMPANY, DesiredState(wanted), current, (), TODAY).unknown == {KES}


@pytest.mark.parametrize("prorated", [True, False, None])
def test_a_line_knows_whether_its_change_is_prorated(prorated):
    assert only(plan(5, agreement=replace(AGREEMENT, prorated=prorated))).prorated is prorated


def test_nothing_of_one_product_keeps_no_other_from_being_billed():
    wanted = DesiredState(tuple(want(quantity, product).lines[0] for product, quantity in PRODUCTS))
    found = plan_company(COMPANY, wanted, CurrentState(AGREEMENT, ()), (), TODAY)
    assert [(line.product, line.after) for line in found.lines] == [("1202", 10), ("1203", 3)]


def test_a_different_quantity_is_updated_an_equal_one_left():
    planned = only(plan(90, [line("1200", "90.00")]))
    assert (planned.action, planned.adopt) == (Action.NONE, False)
    planned = only(plan(90, [line("1200", "90.5")], [fact("1200", 80)]))
    assert (planned.action, planned.line_id, planned.before) == (
        Action.UPDATE,
        "301",
        Decimal("90.5"),
    )


def test_a_different_line_that_kisi_never_wrote_is_an_adoption():
    assert only(plan(90, [line("1200", 80)])).adopt
    assert not only(plan(90, [line("1200", 80)], [fact("1200", 80)])).adopt


@pytest.mark.parametrize(
    ("changes", "candidate"),
    [
        ({}, True),
        ({"cancelled": TOMORROW}, True),
        ({"cancelled": TODAY}, False),
        ({"cancelled": YESTERDAY}, False),
        ({"dead": True}, False),
        ({"dead": True, "cancelled": TOMORROW}, True),
        ({"one_time": True}, False),
        ({"starts": TOMORROW}, True),
    ],
)
def test_only_a_line_that_is_not_cancelled_today_is_a_candidate(changes, candidate):
    planned = only(plan(5, [line("1200", 5, **changes)], [fact("1200", 5)]))
    assert (planned.line_id == "301") is candidate


@pytest.mark.parametrize(
    ("changes", "why", "do"),
    [
        (
            {"starts": TOMORROW},
            f"begins on {TOMORROW} only",
            "Set it to begin today or earlier",
        ),
        (
            {"dead": True},
            "is called ended without a date of cancellation, and may bill",
            "Give it its date of cancellation",
        ),
    ],
)
def test_a_line_that_may_bill_and_is_not_kisis_is_neither_taken_over_nor_doubled(changes, why, do):
    other = line("9", 5, "9", cancelled=TOMORROW)
    found = plan(5, [other, line("1200", 1, **changes)])
    assert (found.failure.guard, found.failure.exit_code, found.lines) == ("ambiguous", 6, ())
    assert found.failure.reason == f"line 301 of product 1200, which kisi did not write, {why}"
    assert found.failure.remedy == (
        f"{do} in the PSA, or delete it. kisi adds no second line beside it."
    )
    assert only(plan(0, [line("1200", 5, starts=TOMORROW)])).after == 0


def test_a_doubtful_line_is_found_also_behind_one_of_kisis_own():
    kept = line("1200", 5, "300", cancelled=TODAY)
    found = plan(5, [kept, line("1200", 5, dead=True)], [fact("1200", 5, "300")])
    assert found.failure.reason.startswith("line 301 of product 1200, which kisi did not write, is")


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"cancelled": TOMORROW}, True),
        ({"cancelled": TODAY}, False),
        ({"dead": True}, True),
        ({"dead": True, "cancelled": TODAY}, False),
        ({"one_time": True}, False),
        ({"dead": True, "one_time": True}, False),
    ],
)
def test_a_line_that_is_only_called_ended_may_bill(changes, may):
    assert may_bill(line("1200", 5, **changes), TODAY) is may


def test_a_line_of_kisis_that_bills_another_product_now_is_not_doubled():
    gone = line("1299", 5, cancelled=TODAY)
    assert only(plan(5, [gone], [fact("1200", 5)])).line_id is None
    found = plan(5, [line("1299", 1)], [fact("1200", 5)])
    assert (found.failure.guard, found.lines) == ("ambiguous", ())
    assert found.failure.reason == (
        "line 301 of product 1200, which kisi wrote, bills product 1299 now"
    )
    assert found.failure.remedy.startswith("Map the client to product 1299, or give the line its")
    assert only(plan(5, [line("1299", 0)], [fact("1200", 5)])).line_id is None


def test_an_ended_line_of_0_is_no_obstacle():
    assert only(plan(5, [line("1200", 0, dead=True)])).line_id is None


def test_a_line_in_effect_wins_over_one_that_starts_later():
    lines = [line("1200", 5, "1", starts=TOMORROW), line("1200", 5, "2", starts=TODAY)]
    assert only(plan(6, lines)).line_id == "2"


@pytest.mark.parametrize("starts", [None, TOMORROW])
def test_two_candidates_fail_the_client_and_nothing_is_chosen(starts):
    found = plan(6, [line("1200", 5, "1", starts=starts), line("1200", 5, "2", starts=starts)])
    assert found.status is Status.FAILED
    assert found.failure.guard == "ambiguous"
    assert found.failure.exit_code == 6
    assert found.lines == ()


def test_an_agreement_that_is_not_fit_fails_the_client():
    not_billable = replace(AGREEMENT, not_billable=NotBillable("agreement", "it ended", "renew it"))
    assert plan(6, agreement=not_billable).failure.reason == "it ended"


def test_other_live_lines_are_shown_with_a_clients_first_create():
    others = [line("9", 1, "7"), line("8", 1, "8", cancelled=YESTERDAY)]
    assert [item.id for item in plan(5, others).others] == ["7"]
    assert plan(5, others, [fact("77", 3, "40")]).others == ()


def test_an_owned_line_whose_product_is_not_mapped_any_more_is_orphaned():
    found = plan(9, [line("1100", 100, "300")], [fact("1100", 100, "300")])
    orphan, create = found.lines
    assert (orphan.orphaned, orphan.action, orphan.after) == (True, Action.UPDATE, 0)
    assert create.action is Action.CREATE


@pytest.mark.parametrize("quantity", [0, 5])
def test_an_owned_line_at_zero_or_cancelled_is_no_orphan(quantity):
    cancelled = YESTERDAY if quantity else None
    lines = [line("1100", quantity, "300", cancelled=cancelled)]
    assert only(plan(9, lines, [fact("1100", 100, "300")])).action is Action.CREATE


OLD = AgreementRef("cw", "250", "900")


@pytest.mark.parametrize(("gone", "orphans"), [(False, 1), (True, 0)])
def test_a_line_on_the_agreement_of_an_earlier_mapping_is_orphaned_while_it_bills(gone, orphans):
    old = replace(line("1200", 100, "1"), agreement="900")
    elsewhere = {OLD: (Agreement(OLD, gone=gone), (old,))}
    found = plan(100, facts=[fact("1200", 100, "1", agreement="900")], elsewhere=elsewhere)
    assert sum(item.orphaned for item in found.lines) == orphans
    assert sum(item.action is Action.CREATE for item in found.lines) == 1


def test_lines_managed_by_hand_are_listed_and_not_orphaned():
    wants = DesiredState((), managed_by_hand=frozenset({KES}))
    held = CurrentState(AGREEMENT, (line("1200", 7),))
    found = plan_company(COMPANY, wants, held, [fact("1200", 7)], TODAY)
    assert found.lines == ()
    assert [item.line_id for item in found.left] == ["301"]


def test_lines_managed_by_hand_are_so_also_under_a_new_name_of_their_application():
    wants = DesiredState(
        (), managed_by_hand=frozenset({"Renamed"}), products_by_hand=frozenset({"1200"})
    )
    held = CurrentState(AGREEMENT, (line("1200", 7),))
    found = plan_company(COMPANY, wants, held, [fact("1200", 7)], TODAY)
    assert (found.lines, len(found.left)) == ((), 1)


def test_a_line_to_which_a_person_gave_another_product_is_not_kisis_any_more():
    other = line("9", 6)
    assert plan(0, [other], [fact("1200", 6)]).lines == ()
    assert only(plan(5, [replace(other, product="1200")], [fact("1100", 6)])).adopt


def test_a_line_that_the_mapping_gives_to_another_application_stays_the_same_line():
    given = replace(fact("1200", 6), application="Before")
    planned = only(plan(7, [line("1200", 6)], [given]))
    assert (planned.line_id, planned.application, planned.adopt) == ("301", KES, False)


def test_an_orphan_of_another_agreement_that_cannot_be_read_fails_the_client():
    old = replace(line("1200", 0, "1", problem="quantity is missing"), agreement="900")
    elsewhere = {OLD: (Agreement(OLD), (old,))}
    found = plan(5, facts=[fact("1200", 9, "1", agreement="900")], elsewhere=elsewhere)
    assert (found.failure.guard, found.lines) == ("psa", ())


def test_a_line_of_an_agreement_that_was_not_read_is_not_looked_for_here():
    """Line ids of two PSAs may be equal."""
    elsewhere = replace(fact("1200", 9), psa="tp", agreement="900")
    found = plan(9, [line("1200", 9)], [fact("1200", 9), elsewhere])
    assert [(item.line_id, item.orphaned) for item in found.lines] == [("301", False)]


def test_a_line_that_is_not_billable_is_kept_up_to_date_and_pointed_out():
    found = plan(9, [line("1200", 8, billable=False)], [fact("1200", 8)])
    assert only(found).action is Action.UPDATE
    assert "not billable" in " ".join(found.notes)


def test_a_line_of_unknown_quantity_fails_the_client_only_if_it_is_the_one_to_write():
    broken = [line("1200", 0, problem="quantity is missing")]
    found = plan(5, broken)
    assert (found.failure.guard, found.failure.exit_code) == ("psa", 5)
    assert only(plan(5, [line("9", 0, "7", problem="quantity is missing")])).after == 5


UNMAPPED = (UnmappedUse("Contoso", "Mail", 4, estimated=False),)


@pytest.mark.parametrize(
    ("agreement", "lines", "failure"),
    [
        (
            replace(AGREEMENT, not_billable=NotBillable("agreement", "it ended", "renew it")),
            [],
            NotBillable("agreement", "it ended", "renew it", ExitCode.WITHHELD),
        ),
        (
            AGREEMENT,
            [line("1200", 5, "1"), line("1200", "6.50", "2"), line("9", 1, "3")],
            Failure(
                "ambiguous",
                "the agreement has 2 live lines of product 1200: 1 (5), 2 (6.50)",
                "Cancel all but one of them in the PSA; kisi never picks one.",
                ExitCode.WITHHELD,
            ),
        ),
    ],
)
def test_a_failure_says_why_and_forgets_no_unmapped_use(agreement, lines, failure):
    wanted = replace(want(6), unmapped=UNMAPPED)
    found = plan_company(COMPANY, wanted, CurrentState(agreement, tuple(lines)), (), TODAY)
    assert found == CompanyPlan(COMPANY, Status.FAILED, failure=failure, unmapped=UNMAPPED)


def test_a_plan_without_trouble_forgets_none_either():
    wanted = replace(want(6), unmapped=UNMAPPED)
    assert (
        plan_company(COMPANY, wanted, CurrentState(AGREEMENT, ()), (), TODAY).unmapped == UNMAPPED
    )


def test_a_line_that_cannot_be_read_forgets_no_unmapped_use():
    wanted = replace(want(6), unmapped=UNMAPPED)
    broken = (line("1200", 0, problem="quantity is missing"),)
    found = plan_company(COMPANY, wanted, CurrentState(AGREEMENT, broken), (), TODAY)
    assert found.unmapped == UNMAPPED
    assert found.failure == Failure(
        "psa",
        "line 301 of product 1200 cannot be read: quantity is missing",
        "Correct the line in the PSA.",
        ExitCode.PSA,
    )


def test_a_failed_client_keeps_what_was_noted_of_it():
    failure = Failure("psa", "it is away", "wait", ExitCode.PSA)
    assert failed(COMPANY, failure, unmapped=UNMAPPED, notes=("One.",)) == CompanyPlan(
        COMPANY, Status.FAILED, failure=failure, unmapped=UNMAPPED, notes=("One.",)
    )


SHOWN = {"unit_price": Decimal("4.5"), "description": "Endpoint", "billable": False}


def test_a_planned_line_carries_what_the_psa_says_of_it():
    found = plan(9, [line("1200", 8, **SHOWN)], [fact("1200", 8)])
    planned = only(found)
    assert {name: getattr(planned, name) for name in SHOWN} == SHOWN
    assert found.agreement_name == "Managed Security"
    assert found.unmapped == ()


def test_so_does_an_orphan():
    facts = [fact("1100", 8, "300")]
    orphan, _ = plan(9, [line("1100", 8, "300", **SHOWN)], facts).lines
    assert {name: getattr(orphan, name) for name in SHOWN} == SHOWN
    assert (orphan.before, orphan.line_id, orphan.product) == (8, "300", "1100")


def test_each_owned_line_is_judged_for_itself():
    """What comes before an orphan is mapped, gone, cancelled, or at zero already."""
    lines = [
        line("1200", 9, "1"),
        line("1102", 5, "3", cancelled=YESTERDAY),
        line("1103", 0, "4"),
        line("1104", 1, "5"),
    ]
    facts = [fact(f"{1099 + n}", 5, str(n)) for n in (2, 3, 4, 5)]
    found = plan(9, lines, [fact("1200", 9, "1"), *facts])
    assert [(item.line_id, item.after) for item in found.lines] == [("5", 0), ("1", 9)]


def test_a_line_elsewhere_that_was_not_read_is_not_mistaken_for_one_here():
    elsewhere = [fact("1100", 5, "7", agreement="900")]
    assert only(plan(9, [line("8", 5, "7")], elsewhere)).action is Action.CREATE


def test_lines_managed_by_hand_keep_their_quantity():
    wants = DesiredState((), managed_by_hand=frozenset({KES}))
    held = CurrentState(AGREEMENT, (line("1200", "7.50"),))
    (left,) = plan_company(COMPANY, wants, held, [fact("1200", 7)], TODAY).left
    assert (left.action, left.after, left.orphaned) == (Action.NONE, 7, False)


@pytest.mark.parametrize(
    ("number", "listed"), [(5, "d0, d1, d2, d3, d4"), (6, "d0, d1, d2, d3, d4 ...")]
)
def test_notes_are_whole_sentences(number, listed):
    devices = tuple(f"d{n}" for n in range(number))
    wanted = DesiredState((DesiredLine("1200", KES, (Category.ALL,), 9, unknown_devices=devices),))
    held = CurrentState(AGREEMENT, (line("1200", 8, billable=False),))
    assert plan_company(COMPANY, wanted, held, [fact("1200", 8)], TODAY).notes == (
        (
            f"The line of product 1200 ({KES}) is not billable in the PSA; its quantity is kept up to "
            "date, and nothing is invoiced for it."
        ),
        f"{KES}: {number} devices with an unknown operating system: {listed}.",
    )


NUMBERS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9))


def _plan_many(wanted, lines):
    wants = DesiredState(tuple(DesiredLine(p, KES, (Category.ALL,), q) for p, q in wanted.items()))
    held = CurrentState(AGREEMENT, tuple(line(p, q, f"id-{p}") for p, q in lines.items()))
    return plan_company(COMPANY, wants, held, (), TODAY)


@given(NUMBERS, NUMBERS)
def test_applying_a_plan_leaves_nothing_to_plan(wanted, lines):
    applied = {**lines, **{item.product: item.after for item in _plan_many(wanted, lines).lines}}
    assert all(not item.changes for item in _plan_many(wanted, applied).lines)
