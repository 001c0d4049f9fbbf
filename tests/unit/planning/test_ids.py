"""Ids of plans: what an operator wrote down yesterday means the same today, in every version."""

from dataclasses import replace
from decimal import Decimal

from kisi.model import (
    WITH,
    Action,
    Arrangement,
    Category,
    CompanyPlan,
    Hold,
    LineSlot,
    Plan,
    PlannedLine,
    Status,
)
from kisi.planning import accepted_keys, named, with_ids, with_lines
from tests.unit.build import COMPANY, KES, fact


def planned(before, after, product="1200", line_id="301", guard="", **more):
    return PlannedLine(
        psa="cw",
        company="250",
        agreement="1042",
        application=KES,
        categories=(Category.ALL,),
        product=product,
        line_id=None if before is None else line_id,
        action=Action.CREATE if before is None else Action.UPDATE,
        before=None if before is None else Decimal(before),
        after=after,
        hold=Hold(guard, "because", "{accept}") if guard else None,
        **more,
    )


def ids(*lines, accepts=None):
    plan = with_ids(Plan((CompanyPlan(COMPANY, Status.READY, lines),)), accepts or {})
    return plan.companies[0].plan_id, plan.plan_id


def test_an_id_is_the_same_in_every_version_of_kisi():
    """Whoever changes these makes every id that an operator was shown void: not without need."""
    assert ids(planned("10.50", 0, guard="to-zero")) == ("ad21eafb", "d83767939ab5")
    assert ids(planned(None, 90), planned(5, 6, "1300", "302")) == ("768a25f1", "855dfa9722c5")
    assert ids(planned(10, 0, "a|b", guard="to-zero")) == ("0315651c", "bbad9e3f5ca5")
    accepted = {LineSlot("cw", "1042", "1200"): 2}
    assert ids(planned(10, 0, guard="to-zero"), accepts=accepted) == ("0109fce0", "87f8107504b8")


def test_everything_that_a_person_accepts_is_part_of_the_id():
    base = planned(10, 5, guard="decrease")
    others = [
        replace(base, psa="tp"),
        replace(base, agreement="1043"),
        replace(base, product="1201"),
        replace(base, line_id="302"),
        replace(base, before=Decimal(11)),
        replace(base, after=6),
        planned(10, 5, guard="run"),
    ]
    found = {ids(line)[0] for line in (base, *others)}
    assert len(found) == 1 + len(others)
    assert ids(replace(base, before=Decimal("10.000"))) == ids(base)


def test_what_a_line_is_to_be_billed_beside_is_part_of_the_id():
    rise = planned(5, 10, guard="elsewhere")
    one, two = fact("1200", 5, "901", agreement="9"), fact("1200", 5, "902", agreement="9")

    def beside(*lines):
        arrangement = Arrangement(elsewhere={rise.slot: lines})
        plan = Plan((CompanyPlan(COMPANY, Status.READY, (rise,)),), arrangement=arrangement)
        return with_ids(plan, {}).plan_id

    others = replace(one, psa="tp"), replace(one, agreement="8")
    found = {beside(), beside(one), beside(two), beside(one, two), *map(beside, others)}
    assert len(found) == 6
    assert beside(one, two) == beside(two, one)
    assert beside(replace(one, confirmed=Decimal(7))) == beside(one)


def test_no_name_of_a_product_can_make_two_changes_look_alike():
    """The parts are joined by a character that a product may have."""
    one = planned(10, 5, product="a|b", line_id="c")
    two = planned(10, 5, product="a", line_id="b|c")
    three = planned(10, 5, product="a||b", line_id="c")
    ends, begins = planned(10, 5, "a|", line_id="b"), planned(10, 5, "a", line_id="|b")
    assert ids(ends) != ids(begins)
    assert ids(planned(10, 5, "a\\", line_id="|b")) != ids(planned(10, 5, "a\\|", line_id="b"))
    assert len({ids(one), ids(two), ids(three)}) == 3


def test_a_plan_without_changes_has_an_id_too():
    unchanged = replace(planned(5, 5), action=Action.NONE)
    assert ids(unchanged)[1] == ids()[1]
    assert ids(unchanged)[0] == ids()[0]


def whole(*companies, accepts=None):
    return with_ids(Plan(companies), accepts or {})


def test_a_line_that_waits_is_in_no_id_and_has_no_key():
    held = planned(10, 0, guard="to-zero")
    waiting = planned(None, 9, "1300", guard=WITH)
    assert ids(held, waiting) == ids(held)
    plan = whole(CompanyPlan(COMPANY, Status.HELD, (held, waiting)))
    keys = [line.hold.key for line in plan.companies[0].lines]
    assert (bool(keys[0]), keys[1]) == (True, "")


def test_a_client_that_only_waits_has_the_id_of_what_it_would_change():
    """It accepts nothing, and is no part of the whole plan's id."""
    waiting, free = planned(None, 9, guard=WITH), planned(None, 9)
    assert ids(waiting) == ids(free)
    guarded = CompanyPlan(COMPANY, Status.HELD, (planned(10, 0, guard="to-zero"),))
    other = CompanyPlan(replace(COMPANY, agreement="1043"), Status.HELD, (waiting,))
    plan = whole(guarded, other)
    assert plan.plan_id == whole(guarded).plan_id
    found = accepted_keys(plan, [plan.companies[1].plan_id, "unknown"])
    assert found == {plan.companies[1].plan_id: {}}


def test_what_no_id_releases_has_no_key():
    report = Hold("report", "nothing is sent", "by hand", releasable=False)
    held = planned(10, 0, guard="to-zero")
    assert ids(held, replace(planned(5, 6, "1300", "302"), hold=report)) == ids(held)


def test_an_id_accepts_the_guarded_lines_of_its_client_and_the_whole_plans_all_of_them():
    one = CompanyPlan(COMPANY, Status.HELD, (planned(10, 0, guard="to-zero"), planned(5, 6, "2")))
    two = CompanyPlan(
        replace(COMPANY, agreement="1043"),
        Status.HELD,
        (replace(planned(9, 0, guard="to-zero"), agreement="1043"),),
    )
    plan = whole(one, two)
    first, second = plan.companies
    keys = [company.lines[0].hold.key for company in plan.companies]
    assert accepted_keys(plan, [second.plan_id]) == {second.plan_id: {keys[1]: second}}
    assert accepted_keys(plan, [plan.plan_id]) == {plan.plan_id: {keys[0]: first, keys[1]: second}}


def test_the_key_of_a_line_changes_with_its_numbers_its_guard_and_what_was_accepted_before():
    def key(line, accepts=None):
        plan = whole(CompanyPlan(COMPANY, Status.HELD, (line,)), accepts=accepts)
        return plan.companies[0].lines[0].hold.key

    line = planned(10, 5, guard="decrease")
    others = [replace(line, after=6), planned(10, 5, guard="run"), replace(line, before=Decimal(9))]
    accepts = {LineSlot("cw", "1042", "1200"): 1}
    assert len({key(line), *map(key, others), key(line, accepts)}) == 5
    assert key(line) == key(replace(line, description="Endpoint", before=Decimal("10.0")))
    assert key(line, {LineSlot("cw", "1042", "1300"): 1}) == key(line)


def test_ids_follow_from_the_keys_that_are_left():
    lines = planned(10, 0, guard="to-zero"), planned(9, 0, "2", "302", guard="to-zero")
    plan = whole(CompanyPlan(COMPANY, Status.HELD, lines))
    assert named(plan) == plan
    alone = with_lines(plan, lambda line: line if line.product == "2" else replace(line, hold=None))
    expected = whole(CompanyPlan(COMPANY, Status.HELD, lines[1:]))
    assert named(alone).plan_id == expected.plan_id
