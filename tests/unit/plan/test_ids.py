"""Ids of plans: what an operator wrote down yesterday means the same today, in every version."""

from dataclasses import replace
from decimal import Decimal

from kisi.model import Action, Category, CompanyPlan, Hold, Plan, PlannedLine, Status
from kisi.plan import with_ids
from tests.unit.build import COMPANY, KES


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
    assert ids(planned("10.50", 0, guard="to-zero")) == ("c4ba6b88", "5f1339881580")
    assert ids(planned(None, 90), planned(5, 6, "1300", "302")) == ("52888608", "7e7964e40a88")
    accepted = {("cw", "1042", "1200"): 2}
    assert ids(planned(10, 0, guard="to-zero"), accepts=accepted) == ("987addd8", "de1fedd1682a")


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


def test_no_name_of_a_product_can_make_two_changes_look_alike():
    """The parts are joined by a character that a product may have."""
    one = planned(10, 5, product="a|b", line_id="c")
    two = planned(10, 5, product="a", line_id="b|c")
    three = planned(10, 5, product="a||b", line_id="c")
    assert len({ids(one), ids(two), ids(three)}) == 3


def test_a_plan_without_changes_has_an_id_too():
    unchanged = replace(planned(5, 5), action=Action.NONE)
    assert ids(unchanged)[1] == ids()[1]
    assert ids(unchanged)[0] == ids()[0]
