"""`sync --accept`: what an id accepts, and why another one accepts nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from kisi.errors import ExitCode, Withheld
from kisi.journal import Journal
from kisi.model import WITH, Arrangement, CompanyPlan, Hold, Outcome, Plan, Pool, Status
from kisi.planning import release, with_ids, with_lines
from kisi.run.journal_entries import (
    accept,
    accepted_and_written,
    proven_lines,
    restated_lines,
    still_guarded,
)
from tests.unit.build import COMPANY, NOW
from tests.unit.fakes import planned
from tests.unit.reconcile.conftest import company

HELD = Hold("decrease", "fewer by half", "If that is right: {accept}")
WAITS = Hold(WITH, "waits for line 301", "If that is right: {accept}")
FALL = planned(100, 40, line_id="301", hold=HELD)
RISE = planned(5, 65, "1201", line_id="302", hold=WAITS)
OTHER = company(2)


def client(*lines, of=COMPANY):
    mine = [replace(line, agreement=of.agreement, company=of.company) for line in lines]
    return CompanyPlan(of, Status.HELD, tuple(mine))


def named(*companies, accepts=None):
    return with_ids(Plan(companies), accepts or {})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "state") as opened:
        opened.begin_run(NOW, version="1", command="sync", config_hash="")
        yield opened


def accepting(journal, plan, *ids, shown=None):
    return accept(journal, 1, NOW, "ada", plan, ids, shown or plan)[0]


def keys(plan):
    return {x.hold.key for one in plan.companies for x in one.lines if x.hold and x.hold.key}


def test_an_id_accepts_what_guards_hold_of_its_client_and_keeps_it(journal):
    plan = named(client(FALL, RISE), client(FALL, of=OTHER))
    (mine, theirs) = (keys(replace(plan, companies=(one,))) for one in plan.companies)
    assert accepting(journal, plan, plan.companies[0].plan_id) == mine
    assert journal.accepted() == mine
    assert accepting(journal, plan, plan.companies[1].plan_id) == theirs
    assert journal.accepted() == mine | theirs


def test_the_whole_plans_id_accepts_everything(journal):
    plan = named(client(FALL), client(FALL, of=OTHER))
    assert accepting(journal, plan, plan.plan_id) == keys(plan) == journal.accepted()
    assert len(keys(plan)) == 2


def test_without_an_id_nothing_is_accepted(journal):
    assert accepting(journal, named(client(FALL))) == frozenset()
    assert journal.accepted() == frozenset()


def test_an_id_of_a_client_that_only_waits_accepts_nothing_and_is_not_refused(journal):
    plan = named(client(RISE))
    assert accepting(journal, plan, plan.companies[0].plan_id) == frozenset()


def test_an_id_that_fits_nothing_is_refused_with_what_became_of_its_lines(journal):
    before = named(client(FALL))
    journal.record_plan(1, NOW, before)
    gone, changed = named(client()), named(client(replace(FALL, after=41)))
    beside = named(client(FALL, planned(9, 0, "7", line_id="7", hold=HELD)))
    elsewhere = named(client(FALL, of=OTHER))
    absent = "(`--client`, `--exclude`, or no row of the mapping)."
    for plan, said in [
        (
            elsewhere,
            f"KES, all (agreement 1042): it was 100 → 40; its client is not in this run {absent}",
        ),
        (gone, "KES, all (agreement 1042): it was 100 → 40; there is no such line now."),
        (changed, "KES, all (agreement 1042): it was 100 → 40; now it is 100 → 41."),
        (beside, "KES, all (agreement 1042): 100 → 40 is still held, beside other changes."),
    ]:
        with pytest.raises(Withheld) as refused:
            accepting(journal, plan, before.companies[0].plan_id)
        first, second = refused.value.message.splitlines()
        assert first == (
            f"The id {before.companies[0].plan_id} does not match the current plan. "
            "Nothing was written."
        )
        assert second == said
        assert refused.value.exit_code is ExitCode.WITHHELD
        assert "kisi preview" in refused.value.remedy


def test_what_became_of_a_line_is_told_in_plain_numbers_and_new_is_new(journal):
    new = planned(None, 600, hold=HELD)
    before = named(client(new))
    journal.record_plan(1, NOW, before)
    for now, said in [
        (replace(new, after=601), "it was new → 600; now it is new → 601."),
        (replace(new, before=Decimal("10.0")), "it was new → 600; now it is 10 → 600."),
    ]:
        with pytest.raises(Withheld) as refused:
            accepting(journal, named(client(now)), before.companies[0].plan_id)
        assert refused.value.message.endswith(said)


def test_an_id_that_no_run_showed_is_refused_too(journal):
    with pytest.raises(Withheld, match=r"The id 0badc0de does not match .* Nothing was written.$"):
        accepting(journal, named(client(FALL)), "0badc0de")


def test_one_wrong_id_among_several_accepts_nothing(journal):
    plan = named(client(FALL))
    for ids in [(plan.plan_id, "0badc0de"), ("0badc0de", plan.plan_id)]:
        with pytest.raises(Withheld):
            accepting(journal, plan, *ids)
        assert journal.accepted() == frozenset()


def test_an_id_may_be_given_again_while_its_line_waits_and_is_refused_once_it_was_written(journal):
    plan = named(client(FALL))
    plan_id = plan.companies[0].plan_id
    for _ in range(2):
        assert accepting(journal, plan, plan_id) == keys(plan)
    written = with_lines(plan, lambda line: replace(line, hold=None, outcome=Outcome.APPLIED))
    journal.use_accepted(accepted_and_written(plan, written), still_guarded(plan, written))
    for ids in [(plan_id,), (plan.plan_id, plan_id)]:
        with pytest.raises(Withheld, match=f"{plan_id} was accepted before, by ada"):
            accepting(journal, plan, *ids)
    assert journal.accepted() == frozenset()


def test_the_same_change_has_another_id_after_it_was_written(journal):
    plan = named(client(FALL))
    accepting(journal, plan, plan.plan_id)
    written = with_lines(plan, lambda line: replace(line, hold=None, outcome=Outcome.APPLIED))
    journal.use_accepted(accepted_and_written(plan, written), still_guarded(plan, written))
    again = named(client(FALL), accepts=journal.accept_counts())
    assert again.plan_id != plan.plan_id
    assert keys(again).isdisjoint(keys(plan))
    assert accepting(journal, again, again.plan_id) == keys(again)


def test_ids_of_what_is_left_are_taken_as_those_of_everything_that_is_held(journal):
    """The first line was accepted and not written; a preview names what is held beside it."""
    second = planned(9, 0, "7", line_id="7", application="Mail", hold=HELD)
    plan = named(client(FALL, second))
    first_key, second_key = (line.hold.key for line in plan.companies[0].lines)
    shown = release(plan, {first_key}, {})
    assert shown.companies[0].plan_id != plan.companies[0].plan_id
    assert accepting(journal, plan, shown.companies[0].plan_id, shown=shown) == {second_key}
    assert accepting(journal, plan, plan.companies[0].plan_id, shown=shown) == keys(plan)
    with pytest.raises(Withheld):
        accepting(journal, plan, shown.plan_id)


# --- what a run enters afterwards -----------------------------------------------------------------


def test_only_what_a_guard_held_and_was_written_counts_as_accepted():
    free = planned(1, 2, "8", line_id="8", application="Mail")
    failing = planned(9, 0, "7", line_id="7", hold=HELD)
    before = named(client(FALL, RISE, free, failing))
    (one,) = before.companies
    outcomes = (Outcome.APPLIED, Outcome.APPLIED, Outcome.APPLIED, Outcome.FAILED)
    lines = tuple(
        replace(line, hold=None, outcome=outcome)
        for line, outcome in zip(one.lines, outcomes, strict=True)
    )
    after = replace(before, companies=(replace(one, lines=lines),))
    (written,) = accepted_and_written(before, after)
    assert (written.product, written.outcome) == ("1200", Outcome.APPLIED)
    assert written.hold == one.lines[0].hold
    ((of, waiting),) = still_guarded(before, after)
    assert (of, set(waiting) - {""}) == (COMPANY, {one.lines[3].hold.key})


def test_a_created_line_counts_under_the_id_that_it_got():
    before = named(client(planned(None, 600, hold=replace(HELD, guard="create"))))
    after = with_lines(
        before, lambda line: replace(line, hold=None, line_id="900", outcome=Outcome.APPLIED)
    )
    (written,) = accepted_and_written(before, after)
    assert (written.line_id, written.before, written.hold.guard) == ("900", None, "create")
    assert Decimal(written.after) == 600


def test_a_client_that_failed_was_not_judged_and_keeps_what_was_accepted():
    failed = CompanyPlan(OTHER, Status.FAILED)
    off = CompanyPlan(company(3), Status.OFF)
    plan = named(client(FALL), failed, off)
    found = dict(still_guarded(plan, plan))
    assert found == {COMPANY: keys(plan), company(3): set()}


def test_what_holds_what_it_should_is_proven_and_settled_once_nothing_in_its_pools_is_open():
    pool = frozenset({Pool(COMPANY.tenants[0], "KES")})
    same = planned(5, 5, "1201", line_id="302")
    written = replace(planned(1, 2, "1202", line_id="303"), outcome=Outcome.APPLIED)
    failing = replace(planned(100, 40, line_id="301"), outcome=Outcome.FAILED)
    new = replace(planned(None, 9, "1203"), outcome=Outcome.UNKNOWN)
    plan = Plan((client(same, written, failing, new),))
    assert {one.line.line_id: one.settled for one in proven_lines(plan)} == {
        "302": True,
        "303": True,
    }
    both = {same.slot: pool, failing.slot: pool}
    shared = replace(plan, arrangement=Arrangement(both))
    assert {one.line.line_id: one.settled for one in proven_lines(shared)} == {
        "302": False,
        "303": True,
    }
    rose = {same.slot: pool, written.slot: pool}
    unknown = replace(plan, arrangement=Arrangement(rose, unknown=pool))
    assert {one.line.line_id: one.settled for one in proven_lines(unknown)} == {
        "302": False,
        "303": True,  # it rose: a person has accepted it beside what is unknown
    }


def test_a_line_whose_rise_was_not_written_is_restated_once_nothing_in_its_pools_is_open():
    pool = frozenset({Pool(COMPANY.tenants[0], "KES")})
    waits = replace(planned(5, 9, "1201", line_id="302"), outcome=Outcome.HELD)
    new = replace(planned(None, 9, "1203"), outcome=Outcome.HELD)
    failing = replace(planned(100, 40, line_id="301"), outcome=Outcome.FAILED)
    companies, alone = (client(waits, new, failing),), {waits.slot: pool}
    plan = Plan(companies, arrangement=Arrangement(alone))
    assert [one.line.line_id for one in restated_lines(plan)] == ["302"]
    shared = Arrangement({waits.slot: pool, failing.slot: pool})
    assert list(restated_lines(replace(plan, arrangement=shared))) == []
    unknown = Arrangement(alone, unknown=pool)
    assert list(restated_lines(replace(plan, arrangement=unknown))) == []
