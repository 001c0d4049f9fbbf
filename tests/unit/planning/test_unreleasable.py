"""A line that is held before the guards look: none of them is asked, and no id releases it."""

from dataclasses import replace

from kisi.model import CompanyPlan, CountingRules, GuardRules, Hold, Plan, Status
from kisi.planning import GuardContext, OwnedLines, accepted_keys, release, with_ids
from tests.unit.build import COMPANY
from tests.unit.fakes import planned
from tests.unit.planning.arranged import guarded

ELSEWHERE = Hold("ambiguous", "it is billed elsewhere", "Cancel one.", releasable=False)
HELD = planned(None, 600, hold=ELSEWHERE)
OTHER = planned(100, 0, "1300", line_id="302", application="Mail")


def with_holds(*lines):
    plan = Plan((CompanyPlan(COMPANY, Status.READY, lines),))
    return with_ids(guarded(plan, GuardContext(GuardRules(), CountingRules(), OwnedLines(()))), {})


def test_no_guard_is_asked_and_no_id_releases_it():
    plan = with_holds(HELD, OTHER)
    (held,) = plan.companies
    assert [line.hold.guard for line in held.lines] == ["ambiguous", "to-zero"]
    for plan_id in (held.plan_id, plan.plan_id):
        (keys,) = accepted_keys(plan, [plan_id]).values()
        (after,) = release(plan, keys, {}).companies
        assert [line.hold for line in after.lines] == [ELSEWHERE, None]
        assert after.status is Status.HELD


def test_an_id_does_not_depend_on_it():
    assert with_holds(OTHER).plan_id == with_holds(HELD, OTHER).plan_id
    assert with_holds(OTHER).plan_id == with_holds(replace(HELD, after=7), OTHER).plan_id
