from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.guards import (
    Context,
    FactIndex,
    empty_sources,
    freed_lines,
    guard,
    release,
    withhold,
)
from kisi.model import (
    Action,
    Awaited,
    Category,
    CompanyPlan,
    CountingRules,
    GuardRules,
    Hold,
    Move,
    Plan,
    PlannedLine,
    Status,
)
from kisi.plan import with_ids
from tests.unit.build import COMPANY, KES, fact


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


OTHER = replace(COMPANY, name="Fabrikam", company="251", agreement="1043")


def client(*lines, company=COMPANY, **more):
    return CompanyPlan(company, Status.READY, lines, **more)


def context(*facts, counting=None, empty=(), **rules):
    return Context(
        GuardRules(**rules), counting or CountingRules(), FactIndex(facts), frozenset(empty)
    )


def guards_of(*lines, facts=(), **rules):
    (found,) = guard([client(*lines)], context(*facts, **rules))
    return [line.hold.guard if line.hold else None for line in found.lines]


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
        (found,) = guard([lines], context(owned(10), counting=rules))
        (line,) = found.lines
        assert (line.hold.guard if line.hold else None) == expected


def test_an_empty_source_holds_every_line_that_depends_on_it():
    (found,) = guard([client(planned(10, 0))], context(owned(10), empty=["hq"]))
    assert found.lines[0].hold.guard == "empty-source"
    assert "also it would go from 10 to 0" in found.lines[0].hold.reason


def test_a_source_is_empty_if_all_its_tenants_are_and_there_was_more():
    had = [client(planned(10, 0))]
    nothing = [client()]
    facts = FactIndex([])
    assert empty_sources({"hq": [0, 0]}, had, facts) == {"hq"}
    assert empty_sources({"hq": [0, 1]}, had, facts) == frozenset()
    assert empty_sources({"hq": [0]}, nothing, facts) == frozenset()
    assert empty_sources({"other": [0]}, had, facts) == frozenset()
    remembered = [client(planned(0, 0))]
    assert empty_sources({"hq": [0]}, remembered, FactIndex([owned(5)])) == {"hq"}


def test_a_hold_takes_along_every_changing_line_of_the_same_application():
    lines = (
        planned(10, 0, "1202", "1"),
        planned(90, 100, "1201", "2"),
        planned(5, 5, "1203", "3"),
        planned(5, 6, "1300", "4", application="Other"),
    )
    facts = [fact("1202", 10, "1"), fact("1201", 90, "2"), fact("1300", 5, "4")]
    assert guards_of(*lines, facts=facts) == ["to-zero", "with", None, None]


def test_creates_of_the_client_wait_for_its_orphaned_lines():
    lines = (
        planned(100, 0, "1100", "1", orphaned=True),
        planned(None, 90, "1201"),
        planned(None, 10, "1300", application="Other"),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [fact("1100", 100, "1"), fact("1400", 5, "4")]
    assert guards_of(*lines, facts=facts) == ["orphaned", "with", "with", None]


def test_so_does_every_other_line_that_begins_to_bill():
    """The orphan's application may have another name by now, and its usage go to such a line."""
    lines = (
        planned(9, 0, "1100", "1", orphaned=True),
        planned(0, 9, "1201", "2", application="Renamed"),
        planned(2, 9, "1300", "3", application="Another", adopt=True),
        planned(4, 2, "1500", "5", application="Fourth", adopt=True),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [fact("1100", 9, "1"), fact("1201", 0, "2"), fact("1400", 5, "4")]
    held = guards_of(*lines, facts=facts, adopt="allow")
    assert held == ["orphaned", "with", "with", None, "with"]


def test_where_an_orphans_application_has_another_line_only_that_and_what_begins_wait():
    lines = (
        planned(9, 0, "1100", "1", orphaned=True),
        planned(7, 8, "1201", "2"),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [fact("1100", 9, "1"), fact("1201", 7, "2"), fact("1400", 5, "4")]
    assert guards_of(*lines, facts=facts) == ["orphaned", "with", None]


def test_two_applications_that_change_places_change_together_or_not_at_all():
    lines = (
        planned(10, 3, "1200", "1", application="Select", formerly="Advanced"),
        planned(3, 10, "1300", "2", application="Advanced", formerly="Select"),
        planned(5, 6, "1400", "4", application="Third"),
    )
    facts = [fact("1200", 10, "1"), fact("1300", 3, "2"), fact("1400", 5, "4")]
    assert guards_of(*lines, facts=facts) == ["decrease", "with", None]


def test_what_is_held_spreads_over_every_application_that_a_line_binds_together():
    lines = (
        planned(4, 5, "1500", "3", application="C", formerly="B"),
        planned(5, 6, "1400", "2", application="B", formerly="A"),
        planned(9, 0, "1300", "1", application="A"),
    )
    facts = [fact("1300", 9, "1"), fact("1400", 5, "2"), fact("1500", 4, "3")]
    assert guards_of(*lines, facts=facts) == ["with", "with", "to-zero"]


def test_a_client_waits_for_an_orphan_that_another_client_shows():
    orphan = planned(15, 0, "1200", "1", orphaned=True, agreement="900")
    waiting = replace(
        client(
            planned(None, 9),
            planned(5, 3, "1300", "2", application="Mail"),
            planned(5, 6, "1400", "3", application="EDR"),
        ),
        awaits=(Awaited(orphan, "Contoso North"),),
    )
    (held,) = guard([waiting], context(fact("1300", 5, "2"), fact("1400", 5, "3")))
    create, fewer, more = held.lines
    assert (create.hold.guard, fewer.hold, more.hold) == ("with", None, None)
    assert create.hold.reason == (
        f"line 1 of agreement 900 still bills {KES} for one of this client's tenants, and "
        "Contoso North shows it as orphaned"
    )
    assert create.hold.remedy == (
        "Settle it there first, with the id of that client; no id releases it here."
    )
    plan = with_ids(Plan((held,)), {})
    for plan_id in (plan.plan_id, plan.companies[0].plan_id):
        (still,) = release(plan, [plan_id]).companies
        assert [line.hold is None for line in still.lines] == [False, True, True]
        assert still.status is Status.HELD


def companies(*changes):
    return [
        client(
            planned(before, after, line_id=str(n)),
            company=replace(COMPANY, name=f"C{n}", agreement=str(n)),
        )
        for n, (before, after) in enumerate(changes)
    ]


def test_a_run_that_takes_too_much_away_is_held_as_a_whole():
    some = companies(*[(100, 80)] * 4, (100, 110))
    facts = [fact("1200", 100, str(n)) for n in range(5)]
    found = guard(some, context(*facts, run_units=69))
    assert [c.lines[0].hold.guard if c.lines[0].hold else None for c in found] == [
        *["run"] * 4,
        None,
    ]
    found = guard(some, context(*facts, run_units=70))
    assert all(company.lines[0].hold is None for company in found)


def test_the_run_guard_does_not_count_what_is_held_otherwise():
    some = companies((100, 80), (100, 0))
    facts = [fact("1200", 100, str(n)) for n in range(2)]
    found = guard(some, context(*facts, run_units=50))
    assert [c.lines[0].hold.guard if c.lines[0].hold else None for c in found] == [None, "to-zero"]


def test_the_status_of_a_client_with_a_hold_is_held():
    (found,) = guard([client(planned(2, 0))], context(owned(2)))
    assert found.status is Status.HELD
    (found,) = guard([client(planned(2, 1))], context(owned(2)))
    assert found.status is Status.READY


def named(*clients, accepts=None, **rules):
    return with_ids(Plan(guard(clients, context(**rules))), accepts or {})


def test_an_id_releases_exactly_one_client():
    one = client(planned(2, 0))
    two = client(planned(3, 0), company=replace(COMPANY, name="B", agreement="2"))
    plan = named(one, two)
    first, second = plan.companies
    released = release(plan, [first.plan_id])
    assert [company.status for company in released.companies] == [Status.READY, Status.HELD]
    assert [c.status for c in release(plan, [plan.plan_id]).companies] == [Status.READY] * 2
    assert release(plan, ["unknown"]) == plan
    assert second.plan_id != first.plan_id


def test_after_a_release_the_plan_has_the_id_that_the_next_run_gives_it():
    one = client(planned(2, 0))
    two = client(planned(3, 0), company=replace(COMPANY, name="B", agreement="2"))
    three = client(planned(4, 0), company=replace(COMPANY, name="C", agreement="3"))
    plan = named(one, two, three)
    released = release(plan, [plan.companies[0].plan_id])
    assert released.plan_id == named(two, three).plan_id != plan.plan_id
    assert release(plan, [plan.plan_id]).plan_id == plan.plan_id
    free = client(planned(9, 10), company=replace(COMPANY, name="D", agreement="4"))
    among_others = named(one, free)
    assert release(among_others, [among_others.plan_id]).plan_id == among_others.plan_id


def test_the_remedy_is_the_very_command():
    (company,) = named(client(planned(2, 0))).companies
    assert f"kisi sync --accept {company.plan_id}" in company.lines[0].hold.remedy


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
        return with_ids(Plan(guard([client(*lines)], context(*facts))), {}).companies[0].plan_id

    assert of(held, free) == of(held, planned(6, 6, "b", "2", application="Other"))


def test_an_accept_before_makes_a_new_id():
    one = client(planned(12, 10))
    again = {("cw", "1042", "1200"): 1}
    assert named(one).plan_id != named(one, accepts=again).plan_id


def test_a_report_only_psa_holds_what_is_left_and_no_id_releases_it():
    (company,) = guard([client(planned(5, 6))], context(owned(5)))
    hold = Hold("report", "nothing is sent", "write it by hand")
    (found,) = withhold([company], {"cw": hold})
    assert found.lines[0].hold == hold
    assert found.status is Status.HELD
    assert withhold([company], {"tp": hold}) == (company,)


CHANGES = st.lists(st.tuples(st.integers(1, 200), st.integers(0, 200)), min_size=1, max_size=6)


@given(CHANGES, st.integers(0, 50))
def test_a_larger_decrease_of_a_line_is_never_safer(changes, extra):
    def held(some):
        facts = [fact("1200", before, str(n)) for n, (before, _) in enumerate(some)]
        return {
            n
            for n, company in enumerate(guard(companies(*some), context(*facts, run_units=10**6)))
            if company.lines and company.lines[0].hold and company.lines[0].delta < 0
        }

    lower = [(before, max(0, after - extra)) for before, after in changes]
    assert held(changes) <= held(lower)


def test_a_new_line_that_the_psa_acknowledged_and_does_not_show_waits_whatever_the_limits():
    unseen = frozenset({("cw", "1042", "1200")})
    rules = replace(context(drift="overwrite", adopt="allow"), unshown=unseen)
    (found,) = guard([client(planned(None, 5), planned(None, 5, "1201", None, "Other"))], rules)
    first, other = found.lines
    assert (first.hold.guard, other.hold) == ("deleted", None)
    assert "the PSA said that it was done" in first.hold.reason


# --- what another client's line still bills -------------------------------------------------------


def awaiting(*lines, tenant="", bills=KES):
    """Which lines wait for a line of Contoso, North's neighbour, that bills one of its tenants."""
    line = planned(15, 15 if tenant else 0, "1200", "1", bills, "900", orphaned=not tenant)
    company = client(*lines, awaits=(Awaited(line, "Contoso", tenant),))
    facts = [
        fact(one.product, one.before, one.line_id, application=one.application)
        for one in lines
        if one.before is not None
    ]
    rules = {"increase_percent": 10**9, "decrease_percent": 1000}
    (found,) = guard([company], context(*facts, **rules))
    return [line.hold.guard if line.hold else None for line in found.lines]


TENANTS = pytest.mark.parametrize("tenant", ["", "hq:t2"])


@TENANTS
def test_a_line_that_rises_waits_for_the_line_of_another_client(tenant):
    assert awaiting(planned(None, 9), tenant=tenant) == ["with"]
    assert awaiting(planned(20, 21, "1200", "2"), tenant=tenant) == ["with"]


@TENANTS
def test_what_begins_to_bill_under_another_name_waits_too(tenant):
    assert awaiting(planned(None, 9), tenant=tenant, bills="Its old name") == ["with"]


@TENANTS
def test_a_line_that_falls_or_stays_waits_for_nobody(tenant):
    assert awaiting(planned(20, 18, "1200", "2"), tenant=tenant) == [None]
    assert awaiting(planned(20, 20, "1200", "2"), tenant=tenant) == [None]


@TENANTS
def test_an_application_that_bills_no_more_in_all_does_not_wait(tenant):
    """One category gives to another: nothing of a tenant that came is in it."""
    for before in (15, 16):
        lines = planned(10, 15, "1201", "2"), planned(before, 10, "1202", "3")
        assert awaiting(*lines, tenant=tenant) == [None, None]
    one_more = planned(10, 15, "1201", "2"), planned(14, 10, "1202", "3")
    assert awaiting(*one_more, tenant=tenant) == ["with", "with"]


def test_a_new_category_of_a_tenant_that_came_waits_only_if_all_of_them_bill_more():
    lines = planned(None, 5, "1201", None), planned(15, 10, "1202", "3")
    assert awaiting(*lines, tenant="hq:t2") == [None, None]
    assert awaiting(*lines) == ["with", "with"]


def test_another_applications_line_does_not_wait_for_a_tenant():
    other = planned(5, 6, "1400", "4", "Third")
    assert awaiting(planned(None, 9), other, tenant="hq:t2") == ["with", None]


def test_who_waits_for_a_tenant_is_told_which_and_whose():
    line = planned(15, 15, "1200", "1", agreement="900")
    company = client(planned(None, 9), awaits=(Awaited(line, "Contoso", "hq:t2"),))
    (found,) = guard([company], context())
    (held,) = found.lines
    assert held.hold.reason == (
        f"line 1 of agreement 900 still bills {KES} for hq:t2, which was a tenant of Contoso "
        "until now"
    )
    assert held.hold.remedy == (
        "It is written by the first run after the one that brings the line of Contoso down; "
        "no id releases it here."
    )


def test_an_id_frees_what_it_releases_and_not_what_waits_for_another_client():
    line = planned(15, 15, "1200", "1", agreement="900")
    free = guard([client(planned(2, 0))], context(owned(2)))
    waits = guard(
        [client(planned(None, 9), company=OTHER, awaits=(Awaited(line, "Contoso", "hq:t2"),))],
        context(),
    )
    plan = with_ids(Plan((*free, *waits)), {})
    first, second = plan.companies
    assert [one.product for one in freed_lines(plan, plan.plan_id)] == ["1200"]
    assert [one.after for one in freed_lines(plan, first.plan_id)] == [0]
    assert freed_lines(plan, second.plan_id) == ()
    assert freed_lines(plan, "nothing") == ()


# --- devices that changed their application -----------------------------------------------------

EDR = "Kaspersky Next EDR Optimum"
MOVED = (Move(KES, EDR, 20),)


def migration(before, after, *more, **rules):
    """What holds the line of the old application, and that of the new one."""
    old = planned(before, after)
    new = planned(None, 20, "1300", None, EDR)
    (found,) = guard([client(old, new, *more, moves=MOVED)], context(owned(before), **rules))
    return found


def test_what_bills_moved_devices_waits_for_the_line_that_still_bills_them():
    held = migration(20, 0)
    assert [line.hold.guard for line in held.lines] == ["to-zero", "with"]
    assert held.lines[1].hold.reason == (
        f"held with {KES} (to-zero), so that nothing is billed twice or not at all: "
        f"20 devices went from {KES} to {EDR}"
    )
    assert held.lines[1].hold.remedy == held.lines[0].hold.remedy


def test_devices_are_not_taken_off_one_line_while_the_line_they_went_to_waits():
    held = migration(100, 80, create_units=10)
    assert [line.hold.guard for line in held.lines] == ["with", "create"]


def test_a_move_that_no_guard_minds_is_written_at_once():
    free = migration(100, 80)
    assert [line.hold for line in free.lines] == [None, None]


def test_only_the_applications_between_which_devices_moved_wait():
    held = migration(20, 0, planned(5, 6, "1400", "302", "Other"))
    assert [line.hold.guard if line.hold else None for line in held.lines] == [
        *("to-zero", "with"),
        None,
    ]


def test_devices_that_left_one_category_wait_although_another_category_is_what_is_held():
    """The old application's servers rise too fast; its workstations, which fall, wait with them."""
    servers = planned(10, 100, "1201", "302")
    lines = planned(100, 80), servers, planned(None, 20, "1300", None, EDR)
    (found,) = guard([client(*lines, moves=MOVED)], context(owned(100), fact("1201", 10, "302")))
    assert [line.hold.guard for line in found.lines] == ["with", "increase", "with"]


def test_a_chain_of_moves_waits_together_and_is_released_together():
    third = "Kaspersky Next XDR Optimum"
    lines = planned(20, 0), planned(100, 95, "1300", "302", EDR), planned(1, 4, "14", "303", third)
    chain = (*MOVED, Move(EDR, third, 3))
    rising = replace(lines[1], after=105, action=Action.UPDATE)
    split = replace(lines[1], product="1301", line_id="304")
    company = client(lines[0], rising, split, lines[2], moves=chain)
    facts = (
        fact("1200", 20),
        fact("1300", 100, "302", application=EDR),
        fact("1301", 100, "304", application=EDR),
        fact("14", 1, "303", application=third),
    )
    (found,) = guard([company], context(*facts))
    assert [line.hold.guard for line in found.lines] == ["to-zero", "with", "with", "with"]
    plan = with_ids(Plan((found,)), {})
    (free,) = release(plan, [plan.plan_id]).companies
    assert [line.hold for line in free.lines] == [None] * 4
