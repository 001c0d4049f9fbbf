from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.model import (
    WITH,
    Action,
    Category,
    CompanyPlan,
    CountingRules,
    GuardRules,
    Hold,
    LineSlot,
    Plan,
    PlannedLine,
    Pool,
    Status,
    TenantRef,
)
from kisi.planning import (
    GuardContext,
    OwnedLines,
    accepted_keys,
    empty_sources,
    release,
    with_ids,
)
from tests.unit.build import COMPANY, KES, fact
from tests.unit.planning.arranged import arranged, guarded


def planned(
    before, after, product="1200", line_id="301", application=KES, agreement="1042", **more
):
    action = Action.CREATE if before is None else Action.UPDATE
    if before == after:
        action = Action.NONE
    return PlannedLine(
        psa="cw",
        company="250",
        agreement=agreement,
        application=application,
        categories=(Category.ALL,),
        product=product,
        line_id=None if before is None else line_id,
        action=action,
        before=None if before is None else Decimal(before),
        after=after,
        **more,
    )


OTHER = replace(
    COMPANY, name="Fabrikam", company="251", agreement="1043", tenants=(TenantRef("hq", "t2"),)
)


def client(*lines, company=COMPANY, **more):
    return CompanyPlan(company, Status.READY, lines, **more)


def context(*facts, counting=None, empty=(), elsewhere=None, **rules):
    return GuardContext(
        GuardRules(**rules),
        counting or CountingRules(),
        OwnedLines(facts),
        frozenset(empty),
        elsewhere=elsewhere or {},
    )


def judged(one, rules):
    """The plan of one client that has to do with nobody else."""
    return guarded(Plan((one,)), rules).companies[0]


def names(plan):
    """The guard of each line, in the plan's order."""
    lines = [line for company in plan.companies for line in company.lines]
    return [line.hold.guard if line.hold else None for line in lines]


def guards_of(*lines, facts=(), **rules):
    return names(guarded(Plan((client(*lines),)), context(*facts, **rules)))


def pooled(*clients, facts=(), moves=None, **rules):
    """The guards of lines that know which pools each billed and is to bill."""
    return names(guarded(arranged(*clients, facts=facts, moves=moves), context(*facts, **rules)))


def owned(before, **more):
    return fact("1200", before, **more)


def test_a_small_change_of_an_owned_line_passes():
    assert guards_of(planned(100, 98), facts=[owned(100)]) == [None]
    assert guards_of(planned(100, 110), facts=[owned(100)]) == [None]


def test_a_line_never_goes_to_zero_unseen():
    assert guards_of(planned(2, 0), facts=[owned(2)]) == ["to-zero"]


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (100, 75, None),
        (100, 74, "decrease"),
        (10, 7, None),
        (10, 6, "decrease"),
        (4, 1, None),
        (5, 1, "decrease"),
    ],
)
def test_a_decrease_is_held_beyond_both_the_percentage_and_the_units(before, after, held):
    assert guards_of(planned(before, after), facts=[owned(before)]) == [held]


def test_slow_decreases_are_measured_from_the_highest_of_the_baseline():
    slow = owned(80, highest=Decimal(100))
    assert guards_of(planned(80, 74), facts=[slow]) == ["decrease"]
    assert guards_of(planned(80, 76), facts=[slow]) == [None]


@pytest.mark.parametrize(
    ("before", "after", "held"),
    [
        (10, 20, None),
        (10, 21, "increase"),
        (100, 150, None),
        (100, 151, "increase"),
        (0, 10, None),
        (0, 11, "increase"),
    ],
)
def test_an_increase_is_held_beyond_both_the_percentage_and_the_units(before, after, held):
    assert guards_of(planned(before, after), facts=[owned(before)]) == [held]


def test_slow_increases_are_measured_from_the_lowest_of_the_baseline():
    slow = owned(140, lowest=Decimal(100))
    assert guards_of(planned(140, 151), facts=[slow]) == ["increase"]


def test_todays_quantity_is_always_part_of_the_baseline():
    assert guards_of(planned(200, 90), facts=[owned(90, highest=Decimal(90))]) == ["decrease"]


def test_a_huge_new_line_is_held():
    assert guards_of(planned(None, 500)) == [None]
    assert guards_of(planned(None, 501)) == ["create"]


def test_a_line_that_kisi_never_wrote_is_held_before_it_is_overwritten():
    assert guards_of(planned(10, 11, adopt=True)) == ["adopt"]
    assert guards_of(planned(10, 11, adopt=True), adopt="allow") == [None]


def test_a_persons_edit_is_held():
    assert guards_of(planned(12, 10), facts=[owned(10)]) == ["drift"]
    assert guards_of(planned(12, 10), facts=[owned(10)], drift="overwrite") == [None]


def test_an_edit_that_equals_the_count_needs_no_hold():
    assert guards_of(planned(12, 12), facts=[owned(10)]) == [None]


def test_a_line_that_a_person_removed_is_not_created_again_silently():
    assert guards_of(planned(None, 10), facts=[owned(10)]) == ["deleted"]


def test_unknown_devices_hold_only_if_asked():
    lines = client(planned(10, 11), unknown=frozenset({KES}))
    for option, expected in (("hold", "unknown-device"), ("non_windows", None)):
        rules = CountingRules(unknown_device=option)
        found = judged(lines, context(owned(10), counting=rules))
        (line,) = found.lines
        assert (line.hold.guard if line.hold else None) == expected


def test_an_empty_source_holds_every_line_that_depends_on_it():
    found = judged(client(planned(10, 0)), context(owned(10), empty=["hq"]))
    assert found.lines[0].hold.guard == "empty-source"
    assert "also it would go from 10 to 0" in found.lines[0].hold.reason


@pytest.mark.parametrize(
    ("empty", "which"),
    [(["hq"], "source hq"), (["hq", "hub"], "sources hq, hub"), (["hub", "far"], "source hub")],
)
def test_a_line_held_for_an_empty_source_says_which_of_its_clients_sources_it_is(empty, which):
    company = replace(COMPANY, tenants=(TenantRef("hq", "t1"), TenantRef("hub", "t2")))
    line = client(planned(10, 9), company=company)
    found = judged(line, context(owned(10), empty=empty)).lines[0].hold
    assert found.reason == (f"every tenant of {which} counts 0, although there was usage before")


def test_a_line_whose_last_write_has_an_unknown_outcome_is_held_whatever_it_shows():
    unsure = owned(10, unsettled=True)
    for before, reason in [
        (10, "the PSA holds 10, and an earlier write has an unknown outcome"),
        (9, "the PSA holds 9, kisi last confirmed 10: an earlier write has an unknown outcome"),
    ]:
        found = judged(client(planned(before, 11)), context(unsure)).lines[0].hold
        assert (found.guard, found.reason) == ("drift", reason)
    assert guards_of(planned(10, 11), facts=[owned(10)]) == [None]


def test_a_run_that_would_bill_far_fewer_says_how_many():
    lines = [planned(100, 80, str(n), str(n), application=f"A{n}") for n in range(10)]
    facts = [fact(str(n), 100, str(n)) for n in range(10)]
    found = judged(client(*lines), context(*facts, run_percent=5, run_units=10)).lines[0].hold
    assert (found.guard, found.reason) == (
        "run",
        "the whole run would bill 200 units (20 %) fewer than 1000 now",
    )


def test_a_source_is_empty_if_all_its_tenants_are_and_there_was_more():
    had = [client(planned(10, 0))]
    nothing = [client()]
    facts = OwnedLines([])
    assert empty_sources({"hq": [0, 0]}, had, facts) == {"hq"}
    assert empty_sources({"hq": [0, 1]}, had, facts) == frozenset()
    assert empty_sources({"hq": [0]}, nothing, facts) == frozenset()
    assert empty_sources({"other": [0]}, had, facts) == frozenset()
    remembered = [client(planned(0, 0))]
    assert empty_sources({"hq": [0]}, remembered, OwnedLines([owned(5)])) == {"hq"}


def test_a_hold_takes_along_every_changing_line_of_the_same_application():
    lines = (
        planned(10, 0, "1202", "1"),
        planned(90, 100, "1201", "2"),
        planned(5, 5, "1203", "3"),
        planned(5, 6, "1300", "4", application="Other"),
    )
    facts = [fact("1202", 10, "1"), fact("1201", 90, "2"), fact("1300", 5, "4")]
    assert guards_of(*lines, facts=facts) == ["to-zero", "with", None, None]


def test_what_may_bill_its_devices_waits_for_an_orphaned_line():
    """Its application has another line, so that its devices are there, or went where one can see."""
    lines = (
        planned(100, 0, "1100", "1", orphaned=True),
        planned(None, 90, "1201"),
        planned(None, 10, "1300", application="Other"),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [fact("1100", 100, "1"), fact("1400", 5, "4", application="Third")]
    assert pooled(client(*lines), facts=facts) == ["orphaned", WITH, None, None]
    moves = {(pool(KES), pool("Other")): 10}
    assert pooled(client(*lines), facts=facts, moves=moves) == ["orphaned", WITH, WITH, None]


def pool(application, company=COMPANY):
    return Pool(company.tenants[0], application)


def test_where_nothing_bills_its_application_any_more_every_line_of_the_tenant_waits_for_it():
    """The application may have another name by now, and its usage go to any of them."""
    lines = (
        planned(9, 0, "1100", "1", orphaned=True, application="Its old name"),
        planned(0, 9, "1201", "2", application="Renamed"),
        planned(2, 9, "1300", "3", application="Another", adopt=True),
        planned(4, 2, "1500", "5", application="Fourth", adopt=True),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [
        fact("1100", 9, "1", application="Its old name"),
        fact("1201", 0, "2", application="Renamed"),
        fact("1400", 5, "4", application="Third"),
    ]
    found = pooled(client(*lines), facts=facts, adopt="allow")
    assert found == ["orphaned", WITH, WITH, WITH, WITH]


def test_where_an_orphans_application_has_another_line_only_that_waits():
    lines = (
        planned(9, 0, "1100", "1", orphaned=True),
        planned(7, 8, "1201", "2"),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [fact("1100", 9, "1"), fact("1201", 7, "2"), fact("1400", 5, "4", application="Third")]
    assert pooled(client(*lines), facts=facts) == ["orphaned", WITH, None]


def test_two_applications_that_change_places_change_together_or_not_at_all():
    lines = (
        planned(10, 3, "1200", "1", application="Select"),
        planned(3, 10, "1300", "2", application="Advanced"),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [
        fact("1200", 10, "1", application="Advanced"),
        fact("1300", 3, "2", application="Select"),
        fact("1400", 5, "4", application="Third"),
    ]
    assert pooled(client(*lines), facts=facts) == ["decrease", WITH, None]


def test_what_is_held_spreads_over_every_application_that_a_line_binds_together():
    lines = (
        planned(4, 5, "1500", "3", application="C"),
        planned(5, 6, "1400", "2", application="B"),
        planned(9, 0, "1300", "1", application="A"),
    )
    facts = [
        fact("1300", 9, "1", application="A"),
        fact("1400", 5, "2", application="A"),
        fact("1500", 4, "3", application="B"),
    ]
    assert pooled(client(*lines), facts=facts) == [WITH, WITH, "to-zero"]


def test_a_client_waits_for_an_orphan_that_another_client_shows():
    """A row became two clients; the first of them shows its line."""
    orphan = planned(15, 0, "1200", "1", orphaned=True, agreement="900")
    north = replace(COMPANY, name="Contoso North")
    lines = (
        planned(None, 9, agreement="1043"),
        planned(5, 3, "1300", "2", application="Mail", agreement="1043"),
        planned(5, 6, "1400", "3", application="EDR", agreement="1043"),
    )
    both = (*COMPANY.tenants, *OTHER.tenants)
    facts = (
        fact("1200", 15, "1", agreement="900", tenants=both),
        fact("1300", 5, "2", agreement="1043", application="Mail", tenants=OTHER.tenants),
        fact("1400", 5, "3", agreement="1043", application="EDR", tenants=OTHER.tenants),
    )
    plans = client(orphan, company=north), client(*lines, company=OTHER)
    plan = with_ids(guarded(arranged(*plans, facts=facts), context(*facts)), {})
    assert names(plan) == ["orphaned", WITH, None, None]
    create = release(plan, (), {}).companies[1].lines[0]
    assert create.hold.reason == (
        f"waits for line 1 of Contoso North (agreement 900), {KES} 15 → 0, which must come down "
        "first, and is on hold (orphaned)"
    )
    first, second = (company.plan_id for company in plan.companies)
    assert create.hold.remedy == (
        f"To set it to 0 and bill as mapped now: kisi sync --accept {first}"
    )
    assert names(accepting(plan, second)) == ["orphaned", WITH, None, None]
    assert accepting(plan, second).companies[1].status is Status.HELD
    for plan_id in (plan.plan_id, first):
        free = accepting(plan, plan_id)
        assert names(free) == [None] * 4
        assert free.companies[1].status is Status.READY


def accepting(plan, *ids, withheld=None):
    """The plan once these ids were accepted."""
    keys = {key for found in accepted_keys(plan, ids).values() for key in found}
    return release(plan, keys, withheld or {})


def companies(*changes):
    return tuple(
        client(
            planned(before, after, line_id=str(n), agreement=str(n)),
            company=replace(COMPANY, name=f"C{n}", agreement=str(n)),
        )
        for n, (before, after) in enumerate(changes)
    )


def owned_by(changes):
    """What the journal knows of the lines of `companies`."""
    return [fact("1200", before, str(n), agreement=str(n)) for n, (before, _) in enumerate(changes)]


def test_a_run_that_takes_too_much_away_is_held_as_a_whole():
    changes = [*[(100, 80)] * 4, (100, 110)]
    some, facts = companies(*changes), owned_by(changes)
    found = guarded(Plan(some), context(*facts, run_units=69))
    assert names(found) == [*["run"] * 4, None]
    assert names(guarded(Plan(some), context(*facts, run_units=70))) == [None] * 5


def test_the_run_guard_does_not_count_what_is_held_otherwise():
    changes = (100, 80), (100, 0)
    some, facts = companies(*changes), owned_by(changes)
    assert names(guarded(Plan(some), context(*facts, run_units=50))) == [None, "to-zero"]


def test_the_run_guard_does_not_count_what_waits_for_something_held_either():
    """Only 60 of the 110 units would be written now: the rest waits with the line to 0."""
    lines = planned(50, 0, "1202", "2"), planned(100, 50, "1201", "3")
    some = (client(*lines), *companies((600, 590), (600, 590)))
    facts = [fact("1202", 50, "2"), fact("1201", 100, "3"), *(fact("1200", 600, n) for n in "01")]
    held = guarded(Plan(some), context(*facts, run_units=50, decrease_units=100))
    assert names(held) == ["to-zero", WITH, None, None]


def test_what_the_run_guard_holds_takes_along_what_waits_for_it():
    fall, rise = planned(600, 500, "1", "1"), planned(None, 10, "2", agreement="1043")
    both = (*COMPANY.tenants, *OTHER.tenants)
    facts = [fact("1", 600, "1", tenants=both)]
    plans = client(fall), client(rise, company=OTHER)
    assert pooled(*plans, facts=facts, decrease_units=1000) == ["run", WITH]


def test_the_status_of_a_client_with_a_hold_is_held():
    assert judged(client(planned(2, 0)), context(owned(2))).status is Status.HELD
    assert judged(client(planned(2, 1)), context(owned(2))).status is Status.READY
    for status in (Status.FAILED, Status.OFF):
        assert judged(replace(client(), status=status), context()).status is status


def named(*clients, accepts=None, **rules):
    return with_ids(guarded(Plan(clients), context(**rules)), accepts or {})


def another(name, before, after):
    """Another client with one line."""
    company = replace(COMPANY, name=name, agreement=name)
    return client(planned(before, after, agreement=name), company=company)


def test_an_id_releases_exactly_one_client():
    plan = named(client(planned(2, 0)), another("B", 3, 0))
    first, second = plan.companies
    released = accepting(plan, first.plan_id)
    assert [company.status for company in released.companies] == [Status.READY, Status.HELD]
    assert [c.status for c in accepting(plan, plan.plan_id).companies] == [Status.READY] * 2
    assert accepting(plan, "unknown") == accepting(plan) == release(plan, ["a key"], {})
    assert names(accepting(plan)) == names(plan)
    assert second.plan_id != first.plan_id


def test_after_a_release_the_plan_has_the_id_that_the_next_run_gives_it():
    two, three = another("B", 3, 0), another("C", 4, 0)
    plan = named(client(planned(2, 0)), two, three)
    released = accepting(plan, plan.companies[0].plan_id)
    assert released.plan_id == named(two, three).plan_id != plan.plan_id
    assert accepting(plan).plan_id == plan.plan_id


def test_what_is_free_is_in_no_id_as_long_as_something_is_held():
    one, free = client(planned(2, 0)), another("D", 9, 10)
    assert named(one, free).plan_id == named(one).plan_id
    released = accepting(named(one, free), named(one).plan_id)
    assert names(released) == [None, None]
    assert released.plan_id != named(one).plan_id


def test_the_remedy_is_the_very_command():
    (company,) = accepting(named(client(planned(2, 0)))).companies
    assert company.lines[0].hold.remedy == (
        f"If that is right: kisi sync --accept {company.plan_id}"
    )


def test_ids_do_not_depend_on_order_and_change_with_what_is_held():
    one = planned(2, 0, "a", "1")
    two = planned(3, 0, "b", "2")
    assert named(client(one, two)).plan_id == named(client(two, one)).plan_id
    assert named(client(one, two)).plan_id != named(client(one)).plan_id
    assert named(client(one)).plan_id != named(client(planned(3, 0, "a", "1"))).plan_id


def test_an_id_stays_when_everything_else_of_the_client_was_written():
    held = planned(2, 0, "a", "1")
    free = planned(5, 6, "b", "2", application="Other")
    facts = [fact("a", 2, "1"), fact("b", 5, "2")]

    def of(*lines):
        return with_ids(guarded(Plan((client(*lines),)), context(*facts)), {}).companies[0].plan_id

    assert of(held, free) == of(held, planned(6, 6, "b", "2", application="Other"))


def test_an_accept_before_makes_a_new_id():
    one = client(planned(2, 0))
    again = {LineSlot("cw", "1042", "1200"): 1}
    assert named(one).plan_id != named(one, accepts=again).plan_id


REPORT = Hold("report", "nothing is sent", "write it by hand")


def test_a_report_only_psa_holds_what_is_left_and_no_id_releases_it():
    plan = with_ids(guarded(Plan((client(planned(5, 6)),)), context(owned(5))), {})
    (found,) = release(plan, (), {"cw": REPORT}).companies
    assert found.lines[0].hold == replace(REPORT, releasable=False)
    assert found.status is Status.HELD
    assert names(accepting(plan, plan.plan_id, withheld={"cw": REPORT})) == ["report"]
    assert names(release(plan, (), {"tp": REPORT})) == [None]


def test_what_a_guard_holds_in_a_report_only_psa_is_accepted_and_reported_then():
    plan = named(client(planned(2, 0), planned(3, 4, "1300", "2", "Other")))
    assert names(release(plan, (), {"cw": REPORT})) == ["to-zero", "report"]
    accepted = accepting(plan, plan.plan_id, withheld={"cw": REPORT})
    assert names(accepted) == ["report", "report"]
    key = plan.companies[0].lines[0].hold.key
    assert [line.hold.key for line in accepted.companies[0].lines] == [key, ""]
    assert accepted.companies[0].plan_id == plan.companies[0].plan_id


def test_a_rise_in_another_psa_waits_for_a_fall_that_is_only_reported():
    fall = planned(55, 50)
    rise = replace(planned(None, 5, agreement="7001"), psa="tp")
    there = replace(OTHER, psa="tp", agreement="7001")
    facts = [fact("1200", 55, tenants=(*COMPANY.tenants, *OTHER.tenants))]
    plan = guarded(
        arranged(client(fall), client(rise, company=there), facts=facts), context(*facts)
    )
    assert names(plan) == [None, None]
    held = release(plan, (), {"cw": REPORT})
    assert names(held) == ["report", WITH]
    assert held.companies[1].lines[0].hold.remedy == "write it by hand"
    assert names(release(plan, (), {"tp": REPORT})) == [None, "report"]


def test_an_accepted_line_that_still_waits_keeps_its_key_and_its_client_the_id():
    """Two clients wait for each other: the ids may be given one after the other, in any order."""
    both = (*COMPANY.tenants, *OTHER.tenants)
    plans, facts = exchange(both)
    plan = with_ids(guarded(arranged(*plans, facts=facts), context(*facts)), {})
    assert names(plan) == ["decrease", WITH, "decrease", WITH]
    for mine, other in [(0, 1), (1, 0)]:
        first, second = plan.companies[mine], plan.companies[other]
        once = accepting(plan, first.plan_id)
        line = once.companies[mine].lines[0]
        assert (line.hold.guard, line.hold.key) == (WITH, first.lines[0].hold.key)
        assert [c.plan_id for c in once.companies] == [c.plan_id for c in plan.companies]
        assert once.plan_id == plan.plan_id
        assert line.hold.remedy == (f"If that is right: kisi sync --accept {second.plan_id}")
        assert names(accepting(plan, first.plan_id, second.plan_id)) == [None] * 4


def exchange(tenants):
    """Two clients have exchanged tenants: of one category each falls, of the other it rises."""
    lines = [
        (
            planned(100, 50, f"{agreement}-w", f"{agreement}1", agreement=agreement),
            planned(50, 60, f"{agreement}-s", f"{agreement}2", agreement=agreement),
        )
        for agreement in ("1042", "1043")
    ]
    facts = [
        fact(one.product, one.before, one.line_id, agreement=one.agreement, tenants=tenants)
        for pair in lines
        for one in pair
    ]
    return (client(*lines[0]), client(*lines[1], company=OTHER)), facts


CHANGES = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200)), min_size=1, max_size=6)


@given(CHANGES, st.integers(0, 50))
def test_a_larger_decrease_of_a_line_is_never_safer(changes, extra):
    def held(some):
        found = guarded(Plan(companies(*some)), context(*owned_by(some), run_units=10**6))
        return {
            n
            for n, company in enumerate(found.companies)
            if company.lines and company.lines[0].hold and company.lines[0].delta < 0
        }

    lower = [(before, max(0, after - extra)) for before, after in changes]
    assert held(changes) <= held(lower)


def test_a_new_line_that_was_sent_and_is_not_shown_waits_whatever_the_limits():
    unseen = frozenset({LineSlot("cw", "1042", "1200")})
    rules = replace(context(drift="overwrite", adopt="allow"), unshown=unseen)
    found = judged(client(planned(None, 5), planned(None, 5, "1201", None, "Other")), rules)
    first, other = found.lines
    assert (first.hold.guard, other.hold) == ("deleted", None)
    assert "an earlier run sent this new line" in first.hold.reason


# --- what another client's line still bills -------------------------------------------------------


def awaiting(*lines, bills=KES):
    """Which lines of Fabrikam wait for a line of Contoso that billed its tenant, and is held."""
    there = planned(15, 9, "1200", "1", bills, "900")
    mine = [replace(line, agreement="1043") for line in lines]
    facts = [
        fact("1200", 15, "1", agreement="900", application=bills, tenants=OTHER.tenants),
        *(
            fact(
                *(one.product, one.before, one.line_id),
                application=one.application,
                agreement="1043",
                tenants=OTHER.tenants,
            )
            for one in mine
            if one.before is not None
        ),
    ]
    gone = replace(COMPANY, agreement="900")
    rules = {"increase_percent": 10**9, "decrease_units": 5}
    return pooled(client(there, company=gone), client(*mine, company=OTHER), facts=facts, **rules)[
        1:
    ]


def test_a_line_that_rises_waits_for_the_line_of_another_client():
    assert awaiting(planned(None, 9)) == [WITH]
    assert awaiting(planned(20, 21, "1200", "2")) == [WITH]


def test_a_line_that_falls_or_stays_waits_for_nobody():
    assert awaiting(planned(20, 18, "1200", "2")) == [None]
    assert awaiting(planned(20, 20, "1200", "2")) == [None]


def test_a_category_that_gives_to_another_waits_too():
    """Nobody can tell whether what it bills more came with the tenant; it costs a day at most."""
    for before in (14, 15, 16):
        lines = planned(10, 15, "1201", "2"), planned(before, 11, "1202", "3")
        assert awaiting(*lines) == [WITH, WITH]
    assert awaiting(planned(None, 5, "1201", None), planned(15, 11, "1202", "3")) == [WITH, WITH]


def test_another_applications_line_does_not_wait_for_a_tenant():
    other = planned(5, 6, "1400", "4", "Third")
    assert awaiting(planned(None, 9), other) == [WITH, None]


def test_an_id_frees_what_it_releases_and_not_what_waits_for_another_client():
    facts = [fact("1200", 15, "1", agreement="900", tenants=OTHER.tenants)]
    there = client(
        planned(15, 0, "1200", "1", agreement="900"), company=replace(COMPANY, agreement="900")
    )
    waits = client(planned(None, 600, agreement="1043"), company=OTHER)
    plan = with_ids(guarded(arranged(there, waits, facts=facts), context(*facts)), {})
    assert names(plan) == ["to-zero", "create"]
    first, second = plan.companies
    assert names(accepting(plan, plan.plan_id)) == [None, None]
    assert names(accepting(plan, first.plan_id)) == [None, "create"]
    assert names(accepting(plan, second.plan_id)) == ["to-zero", WITH]
    assert names(accepting(plan, "nothing")) == ["to-zero", "create"]


# --- lines that this run does not plan ------------------------------------------------------------

ELSEWHERE = {LineSlot("cw", "1042", "1200"): "line 7 of Lab still bills 50"}


def test_what_rises_in_the_pools_of_a_line_that_is_not_planned_is_held_for_a_person():
    rules = context(owned(50), elsewhere=ELSEWHERE)
    held = judged(client(planned(50, 51)), rules).lines[0].hold
    assert (held.guard, held.reason) == ("elsewhere", "line 7 of Lab still bills 50")
    for falls in (planned(50, 49), planned(50, 50)):
        assert judged(client(falls), rules).lines[0].hold is None


def test_its_own_id_releases_it_and_what_waits_with_it():
    lines = planned(50, 51), planned(5, 4, "1201", "2")
    facts = owned(50), fact("1201", 5, "2")
    plan = with_ids(guarded(Plan((client(*lines),)), context(*facts, elsewhere=ELSEWHERE)), {})
    assert names(plan) == ["elsewhere", WITH]
    assert names(accepting(plan, plan.companies[0].plan_id)) == [None, None]


# --- devices that changed their application -----------------------------------------------------

EDR = "Kaspersky Next EDR Optimum"
MOVED = {(pool(KES), pool(EDR)): 20}


def migration(before, after, *more, **rules):
    """What holds the line of the old application, and that of the new one."""
    old = planned(before, after)
    new = planned(None, 20, "1300", None, EDR)
    facts = [
        owned(before),
        *(fact(one.product, one.before, one.line_id, application=one.application) for one in more),
    ]
    plan = arranged(client(old, new, *more), facts=facts, moves=MOVED)
    return guarded(plan, context(*facts, **rules)).companies[0]


def test_what_bills_moved_devices_waits_for_the_line_that_still_bills_them():
    held = migration(20, 0)
    assert [line.hold.guard for line in held.lines] == ["to-zero", WITH]
    assert held.lines[1].hold.reason == (
        f"held together with line 301 ({KES}: to-zero), so that nothing is billed twice or not at all: "
        f"20 devices went from {KES} to {EDR}"
    )
    assert held.lines[1].hold.remedy == held.lines[0].hold.remedy


def test_devices_are_not_taken_off_one_line_while_the_line_they_went_to_waits():
    held = migration(100, 80, create_units=10)
    assert [line.hold.guard for line in held.lines] == [WITH, "create"]


def test_a_move_that_no_guard_minds_is_written_at_once():
    free = migration(100, 80)
    assert [line.hold for line in free.lines] == [None, None]


def test_only_the_applications_between_which_devices_moved_wait():
    held = migration(20, 0, planned(5, 6, "1400", "302", "Other"))
    assert [line.hold.guard if line.hold else None for line in held.lines] == [
        *("to-zero", WITH),
        None,
    ]


def test_devices_that_left_one_category_wait_although_another_category_is_what_is_held():
    """The old application's servers rise too fast; its workstations, which fall, wait with them."""
    lines = (
        planned(100, 80),
        planned(10, 100, "1201", "302"),
        planned(None, 20, "1300", None, EDR),
    )
    facts = owned(100), fact("1201", 10, "302")
    assert pooled(client(*lines), facts=facts, moves=MOVED) == [WITH, "increase", WITH]


def test_a_chain_of_moves_waits_together_and_is_released_together():
    third = "Kaspersky Next XDR Optimum"
    lines = (
        planned(20, 0),
        planned(100, 105, "1300", "302", EDR),
        planned(100, 95, "1301", "304", EDR),
        planned(1, 4, "14", "303", third),
    )
    chain = {**MOVED, (pool(EDR), pool(third)): 3}
    facts = (
        fact("1200", 20),
        fact("1300", 100, "302", application=EDR),
        fact("1301", 100, "304", application=EDR),
        fact("14", 1, "303", application=third),
    )
    plan = arranged(client(*lines), facts=facts, moves=chain)
    plan = with_ids(guarded(plan, context(*facts)), {})
    assert names(plan) == ["to-zero", WITH, WITH, WITH]
    assert names(accepting(plan, plan.plan_id)) == [None] * 4


def test_who_has_left_is_held_as_that_and_not_as_a_decrease_or_by_the_run():
    left = replace(COMPANY, left=True, until=date(2026, 11, 20))
    plan = CompanyPlan(left, Status.READY, (planned(90, 0), planned(5, 5, "1201", "302")))
    rules = GuardRules(run_percent=0, run_units=0)
    context = GuardContext(rules, CountingRules(), OwnedLines(()))
    (company,) = guarded(arranged(plan), context).companies
    gone, kept = company.lines
    assert kept.hold is None
    assert gone.hold is not None
    assert (gone.hold.guard, gone.hold.has_id) == ("left", True)
    assert gone.hold.reason == "the client left on 2026-11-20; it would go from 90 to 0"
