"""`kisi sync --revert RUN`: what the PSA holds, night after night, until a person accepts."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kisi.errors import ExitCode
from kisi.model import Category, GuardRules, Outcome, ProductRow, TenantRef
from tests.unit.build import ALL_ROW, COMPANY, KES, SPLIT_ROW, mapping
from tests.unit.fakes import LOST, REFUSED, VANISHED
from tests.unit.reconcile.conftest import Scene, company

DAY = timedelta(days=1).total_seconds()


def night(scene: Scene, used: int, *accepted: str, **more):
    """The next night's run, in which so many devices are counted."""
    scene.clock.sleep(DAY)
    scene.uses(used)
    return scene.sync(*accepted, **more)


def guards(day, name: str = "Contoso") -> list[str]:
    return [line.hold.guard for line in day.client(name).lines if line.hold]


def numbers(day, name: str = "Contoso"):
    return [(line.before, line.after) for line in day.client(name).lines]


def test_an_update_is_undone_by_its_id_and_stays_undone_until_it_is_accepted_away(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 93, revert=wrong.run)
    assert (guards(asked), numbers(asked)) == (["reverted"], [(92, 90)])
    assert asked.code is ExitCode.WITHHELD
    assert scene.cw.quantities() == {"1200": 92}
    again = night(scene, 94)  # the count does not change the id
    assert (guards(again), again.client().plan_id) == (["reverted"], asked.client().plan_id)
    done = night(scene, 95, asked.client().plan_id)
    assert (done.code, scene.cw.quantities()) == (ExitCode.OK, {"1200": 90})
    for used in (95, 20, 96):
        held = night(scene, used)
        assert (held.code, scene.cw.quantities()) == (ExitCode.WITHHELD, {"1200": 90})
        assert (guards(held), numbers(held)) == (["reverted"], [(90, used)])
    assert "brought back to 90, which it held before run 2" in held.client().hold.reason
    back = night(scene, 96, held.client().plan_id)
    assert (back.code, scene.cw.quantities()) == (ExitCode.OK, {"1200": 96})
    assert night(scene, 97).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 97}
    assert scene.journal.facts(scene.clock.now(), 30)[0].reversal is None


def test_a_first_sync_is_undone_to_0_and_the_line_stays(scene):
    scene.guards = GuardRules()
    first = night(scene, 90)
    asked = night(scene, 90, revert=first.run)
    assert (guards(asked), numbers(asked)) == (["reverted"], [(90, 0)])
    night(scene, 90, asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 0}
    held = night(scene, 90)
    assert (guards(held), numbers(held)) == (["reverted"], [(0, 90)])
    assert scene.cw.quantities() == {"1200": 0}
    assert night(scene, 90, held.client().plan_id).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 90}
    assert len(scene.cw.held()) == 1


def test_it_ends_by_itself_once_the_count_is_that_number(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    night(scene, 92, asked.client().plan_id)
    assert night(scene, 90).code is ExitCode.OK
    assert night(scene, 91).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 91}


def test_it_ends_by_itself_before_it_is_written_if_the_count_is_that_number(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    night(scene, 92, revert=wrong.run)
    assert (night(scene, 90).code, scene.cw.quantities()) == (ExitCode.OK, {"1200": 90})
    assert (night(scene, 92).code, scene.cw.quantities()) == (ExitCode.OK, {"1200": 92})


def test_what_is_not_written_yet_is_withdrawn_by_reverting_the_run_that_asked(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    assert f"`kisi sync --revert {asked.run}` withdraws this" in asked.client().hold.reason
    withdrawn = night(scene, 93, revert=asked.run)
    assert (withdrawn.code, scene.cw.quantities()) == (ExitCode.OK, {"1200": 93})
    assert night(scene, 94).code is ExitCode.OK


def test_the_undoing_run_is_undone_as_any_other(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    undone = night(scene, 92, asked.client().plan_id)
    assert night(scene, 92, revert=undone.run).code is ExitCode.OK  # it is what is counted
    assert scene.cw.quantities() == {"1200": 92}
    assert night(scene, 93).code is ExitCode.OK


def test_asking_twice_changes_nothing(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    first = night(scene, 92, revert=wrong.run)
    second = night(scene, 92, revert=wrong.run)
    assert second.client().plan_id == first.client().plan_id
    both = night(scene, 92, first.client().plan_id, revert=wrong.run)
    assert (both.code, scene.cw.quantities()) == (ExitCode.OK, {"1200": 90})


def test_a_line_that_a_later_run_changed_is_refused_and_the_others_are_undone(scene):
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    for used, other in ((10, 20), (12, 22)):
        scene.uses(other, uid="VSRV-2")
        wrong = night(scene, used)
    scene.uses(23, uid="VSRV-2")
    later = night(scene, 12)
    asked = night(scene, 12, revert=wrong.run)
    (refused,) = asked.found.reverted.refused
    assert f"Client 2, {KES} (all, product 1200 on agreement 1043) stays as it is" in refused
    assert f"run {later.run} has changed it since (22 → 23)" in refused
    assert f"kisi sync --revert {later.run}" in refused
    assert asked.plan.notes[0] == refused
    assert (guards(asked), guards(asked, "Client 2")) == (["reverted"], [])
    night(scene, 12, asked.client().plan_id)
    assert (scene.cw.quantities(), scene.cw.quantities("1043")) == ({"1200": 10}, {"1200": 23})


def test_a_line_that_a_person_changed_is_refused(scene):
    night(scene, 10)
    wrong = night(scene, 12)
    scene.cw.put("1200", 15, line_id=scene.cw.held()[0].id)
    asked = night(scene, 12, revert=wrong.run)
    assert guards(asked) == ["drift"]
    assert "the PSA holds 15: a person changed it since" in asked.found.reverted.refused[0]
    assert scene.cw.quantities() == {"1200": 15}


def test_a_line_that_a_person_changed_and_that_was_confirmed_so_is_refused(scene):
    night(scene, 10)
    wrong = night(scene, 12)
    scene.cw.put("1200", 15, line_id=scene.cw.held()[0].id)
    night(scene, 15)
    asked = night(scene, 15, revert=wrong.run)
    assert "confirmed with 15 since" in asked.found.reverted.refused[0]
    assert asked.found.reverted.changed == ()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda s: s.cw.remove(s.cw.held()[0]), "does not show line"),
        (lambda s: s.bill(replace(COMPANY, billing=False)), "no billed client"),
        (lambda s: s.bill(company(2)), "no billed client"),
        (
            lambda s: s.bill(replace(COMPANY, exceptions=(ProductRow(KES, "cw", {}, bill=False),))),
            "managed by hand",
        ),
        (lambda s: s.cw.unreadable.update({"1042": (_broken(), None)}), "could not be read"),
    ],
)
def test_a_line_that_is_not_planned_is_refused(scene, spoil, why):
    scene.cw.agreement("251", "1043")
    scene.uses(5, uid="VSRV-2")
    night(scene, 10)
    wrong = night(scene, 12)
    spoil(scene)
    asked = night(scene, 12, revert=wrong.run)
    assert why in asked.found.reverted.refused[0]
    assert asked.found.reverted.changed == ()


def _broken():
    from kisi.errors import PsaError

    return PsaError("The additions did not arrive whole.")


def test_half_units_of_a_person_are_not_written(scene):
    scene.cw.put("1200", 4.5)
    asked = night(scene, 5)
    adopted = night(scene, 5, asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 5}
    undo = night(scene, 5, revert=adopted.run)
    assert "it held 4.5, and kisi writes whole units" in undo.found.reverted.refused[0]


def test_a_line_that_was_taken_over_goes_back_to_the_persons_number(scene):
    scene.cw.put("1200", 4)
    asked = night(scene, 5)
    adopted = night(scene, 5, asked.client().plan_id)
    undo = night(scene, 5, revert=adopted.run)
    night(scene, 5, undo.client().plan_id)
    assert scene.cw.quantities() == {"1200": 4}
    assert guards(night(scene, 5)) == ["reverted"]


def test_a_person_ends_it_in_the_psa(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    night(scene, 92, asked.client().plan_id)
    there = scene.cw.held()[0].id
    scene.cw.put("1200", 91, line_id=there)
    drift = night(scene, 92)
    assert (guards(drift), numbers(drift)) == (["drift"], [(91, 92)])
    scene.cw.put("1200", 92, line_id=there)
    assert night(scene, 92).code is ExitCode.OK
    assert night(scene, 93).code is ExitCode.OK


def test_a_person_who_was_faster_is_held_as_any_change_and_the_count_stays_reverted(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    night(scene, 92, revert=wrong.run)
    scene.cw.put("1200", 90, line_id=scene.cw.held()[0].id)
    held = night(scene, 92)
    assert (guards(held), numbers(held)) == (["drift"], [(90, 92)])
    assert "brought back to 90" in held.client().hold.reason
    assert night(scene, 92, held.client().plan_id).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 92}


def test_a_line_that_is_deleted_meanwhile_is_not_made_again_by_itself(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    night(scene, 92, asked.client().plan_id)
    scene.cw.remove(scene.cw.held()[0])
    held = night(scene, 92)
    assert guards(held) == ["deleted"]
    night(scene, 92, held.client().plan_id)
    assert scene.cw.quantities() == {"1200": 92}
    assert night(scene, 93).code is ExitCode.OK


@pytest.mark.parametrize("reaction", [LOST, VANISHED])
def test_an_answer_that_is_lost_is_read_back_and_it_stays_undone(scene, reaction):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    scene.cw.reactions.append(reaction)
    night(scene, 92, asked.client().plan_id)
    night(scene, 92)
    assert scene.cw.quantities() == {"1200": 90}
    assert guards(night(scene, 92)) == ["reverted"]


def test_a_refused_write_leaves_it_accepted_for_the_next_night(scene):
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    scene.cw.reactions.append(REFUSED)
    failed = night(scene, 92, asked.client().plan_id)
    assert failed.client().lines[0].outcome is Outcome.FAILED
    assert night(scene, 92).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 90}
    assert guards(night(scene, 92)) == ["reverted"]


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("way", ["back", "away"])
def test_a_run_that_dies_between_its_write_and_its_end_is_settled(scene, landed, way):
    """Neither does the next night write the count, nor begin anew what was accepted away."""
    night(scene, 90)
    wrong = night(scene, 92)
    held = night(scene, 92, revert=wrong.run)
    if way == "away":
        night(scene, 92, held.client().plan_id)
        held = night(scene, 92)
    die_while_writing(scene, held.client().plan_id, landed=landed)
    after = night(scene, 92)
    expected = 90 if way == "back" else 92
    assert scene.cw.quantities() == {"1200": expected}
    later = night(scene, 92)
    assert guards(later) == (["reverted"] if way == "back" else [])
    assert scene.cw.quantities() == {"1200": expected}, after.plan


def die_while_writing(scene: Scene, plan_id: str, *, landed: bool) -> None:
    from kisi.reconcile.pipeline import resolve
    from kisi.run.journal_entries import accept, record_reading

    at = scene.clock.now()
    run = scene.journal.begin_run(at, version="1", command="sync", config_hash="")
    found = scene.look()
    record_reading(scene.journal, run, at, found, scene.rules())
    shown = resolve(found, scene.psas)
    keys, _ = accept(scene.journal, run, at, "ada", found.plan, [plan_id], shown)
    plan = resolve(found, scene.psas, keys)
    (line,) = plan.companies[0].lines
    assert line.hold is None
    scene.journal.intent(run, at, line, COMPANY)
    if landed:
        scene.cw.put("1200", line.after, line_id=line.line_id)


def test_a_line_on_two_categories_goes_back_alone(scene):
    scene.mapping = mapping(SPLIT_ROW)
    scene.uses(9, 2)
    scene.sync()
    scene.uses(9, 4)
    wrong = scene.sync()
    asked = scene.sync(revert=wrong.run)
    assert guards(asked) == ["reverted"]
    scene.sync(asked.client().plan_id)
    assert scene.cw.quantities() == {"1201": 9, "1202": 2}


# --- never twice ----------------------------------------------------------------------------------


def moved(scene: Scene, later: bool):
    """A tenant of Contoso's moves to client 2; with `later`, a run after that one wrote there."""
    scene.cw.agreement("251", "1043")
    both = (*COMPANY.tenants, TenantRef("hq", "VSRV-3"))
    scene.bill(replace(COMPANY, tenants=both), company(2))
    scene.uses(20, uid="VSRV-2")
    scene.uses(50, uid="VSRV-3")
    night(scene, 5)
    scene.bill(COMPANY, company(2, tenants=(TenantRef("hq", "VSRV-2"), both[1])))
    run = night(scene, 5)
    assert quantities(scene) == (5, 70)
    if later:
        scene.uses(21, uid="VSRV-2")
        night(scene, 5)
        assert quantities(scene) == (5, 71)
    return run


def quantities(scene: Scene) -> tuple[float, float]:
    return scene.cw.quantities()["1200"], scene.cw.quantities("1043")["1200"]


def test_a_move_is_undone_on_both_sides_or_not_at_all(scene):
    asked = night(scene, 5, revert=moved(scene, later=False).run)
    assert (numbers(asked), numbers(asked, "Client 2")) == ([(5, 55)], [(70, 20)])
    rise, fall = asked.client().plan_id, asked.client("Client 2").plan_id
    night(scene, 5, rise)
    assert quantities(scene) == (5, 70)
    scene.cw.reactions.append(REFUSED)
    night(scene, 5, fall)
    assert quantities(scene) == (5, 70)
    night(scene, 5)
    assert quantities(scene) == (55, 20)
    held = night(scene, 5)
    assert (guards(held), guards(held, "Client 2")) == (["reverted"], ["reverted"])
    night(scene, 5, held.client("Client 2").plan_id)
    assert quantities(scene) == (55, 20)  # the devices are still on Contoso's line
    night(scene, 5, held.client().plan_id)
    assert quantities(scene) == (5, 70)


def test_what_another_clients_line_bills_since_is_not_billed_twice_without_being_told(scene):
    asked = night(scene, 5, revert=moved(scene, later=True).run)
    assert "changed it since (70 → 71)" in asked.found.reverted.refused[0]
    assert guards(asked) == ["elsewhere"]
    assert "bills 71 x" in asked.client().hold.reason
    assert "is to be reverted first" in asked.client().hold.reason
    assert quantities(scene) == (5, 71)
    assert night(scene, 5).code is ExitCode.WITHHELD
    assert quantities(scene) == (5, 71)


def test_what_cannot_go_back_holds_up_no_line_that_rises_by_its_count(scene):
    """Else two lines would wait for each other, and on one agreement no id releases either."""
    asked = night(scene, 5, revert=moved(scene, later=True).run)
    assert guards(asked) == ["elsewhere"]
    scene.uses(22, uid="VSRV-2")
    rises = night(scene, 5)
    assert (guards(rises), guards(rises, "Client 2")) == (["elsewhere"], [])
    assert quantities(scene) == (5, 72)
    assert rises.client().plan_id == asked.client().plan_id
    assert night(scene, 5, revert=asked.run).code is ExitCode.OK
    assert quantities(scene) == (5, 72)


def test_a_changed_agreement_goes_back_with_both_lines(scene):
    night(scene, 10)
    scene.cw.agreement("250", "2000")
    scene.bill(replace(COMPANY, agreement="2000"))
    asked = night(scene, 10)
    wrong = night(scene, 10, asked.client().plan_id)
    assert (scene.cw.quantities(), scene.cw.quantities("2000")) == ({"1200": 0}, {"1200": 10})
    asked = night(scene, 10, revert=wrong.run)
    assert sorted(numbers(asked)) == [(0, 10), (10, 0)]
    night(scene, 10, asked.client().plan_id)
    assert (scene.cw.quantities(), scene.cw.quantities("2000")) == ({"1200": 10}, {"1200": 0})
    held = night(scene, 10)
    assert (guards(held), sorted(numbers(held))) == (["reverted", "reverted"], [(0, 10), (10, 0)])
    night(scene, 10, held.client().plan_id)
    assert (scene.cw.quantities(), scene.cw.quantities("2000")) == ({"1200": 0}, {"1200": 10})
    assert night(scene, 10).code is ExitCode.OK


def test_only_the_clients_of_the_run_are_undone(scene):
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(20, uid="VSRV-2")
    night(scene, 10)
    scene.uses(22, uid="VSRV-2")
    wrong = night(scene, 12)
    asked = night(scene, 12, revert=wrong.run, only=["Client 2"])
    assert (asked.found.reverted.refused, guards(asked, "Client 2")) == ((), ["reverted"])
    assert [fact.reversal is None for fact in scene.journal.facts(scene.clock.now(), 30)] == [
        True,
        False,
    ]
    assert Decimal(20) == asked.client("Client 2").lines[0].after


@pytest.mark.parametrize("policy", ["today", "peak", "average", "day:1"])
def test_under_each_policy_it_goes_back_and_stays(scene, policy):
    row = replace(ALL_ROW, products={Category.ALL: "1200"}, count=policy)
    scene.mapping = mapping(row)
    night(scene, 90)
    wrong = night(scene, 94)
    while scene.cw.quantities() == {"1200": 90}:  # `day:1` waits for its day
        wrong = night(scene, 94)
    number = scene.cw.quantities()["1200"]
    asked = night(scene, 94, revert=wrong.run)
    assert guards(asked) == ["reverted"]
    assert scene.cw.quantities() == {"1200": number}
    night(scene, 94, asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 90}
    held = night(scene, 94)
    assert (guards(held), scene.cw.quantities()) == (["reverted"], {"1200": 90})
    (line,) = held.client().lines
    night(scene, 94, held.client().plan_id)
    assert scene.cw.quantities()["1200"] >= line.after > 90
    assert night(scene, 94).code is ExitCode.OK


def test_a_client_that_left_goes_back_too_and_its_end_waits_for_a_person_again(scene):
    night(scene, 10)
    until = (scene.clock.now() - timedelta(days=1)).date()
    scene.clock.sleep(DAY)
    scene.bill(replace(COMPANY, until=until, left=True))
    asked = scene.sync()
    wrong = scene.sync(asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 0}
    asked = scene.sync(revert=wrong.run)
    assert numbers(asked) == [(0, 10)]
    scene.sync(asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 10}
    held = scene.sync()
    assert numbers(held) == [(10, 0)]
    assert "the client left on" in held.client().hold.reason
    scene.sync(held.client().plan_id)
    assert scene.cw.quantities() == {"1200": 0}
    assert scene.sync().code is ExitCode.OK


def test_a_wrong_count_of_a_line_that_is_back_does_not_enter_its_days(scene):
    """The hold is for the reversal; that the count is doubted too is seen all the same."""
    scene.guards = GuardRules()
    scene.mapping = mapping(replace(ALL_ROW, count="peak"))
    night(scene, 90)
    wrong = night(scene, 94)
    asked = night(scene, 94, revert=wrong.run)
    night(scene, 94, asked.client().plan_id)
    night(scene, 900)
    held = night(scene, 94)
    assert numbers(held) == [(90, 94)]


def one_moves(scene: Scene, *, new_id: bool = False) -> None:
    """One of Contoso's devices is client 2's now, perhaps under another id."""
    here, there = scene.hq.answers[COMPANY.tenants[0]], scene.hq.answers[TenantRef("hq", "VSRV-2")]
    gone = here.devices[here.rows[0].device]
    came = replace(gone, id="anew" if new_id else gone.id)
    rows = (*there.rows, replace(here.rows[0], device=came.id))
    scene.hq.add(replace(here, rows=here.rows[1:]))
    scene.hq.add(replace(there, devices={**there.devices, came.id: came}, rows=rows))


@pytest.mark.parametrize("new_id", [False, True])
def test_what_is_to_go_back_hides_no_device_that_has_left_it(scene, new_id):
    """The count of the old line falls, and until its reversal is settled the line does not."""
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(5, uid="VSRV-2")
    night(scene, 10)
    night(scene, 12)
    wrong = night(scene, 10)
    one_moves(scene, new_id=new_id)
    asked = scene.sync(revert=wrong.run)
    assert (guards(asked), guards(asked, "Client 2")) == (["elsewhere"], ["elsewhere"])
    assert quantities(scene) == (10, 5)
    assert "until it comes down" in asked.client("Client 2").hold.reason
    scene.sync(asked.client().plan_id)
    assert quantities(scene) == (12, 5)
    held = scene.sync()
    assert numbers(held) == [(12, 9)]
    scene.sync(held.client().plan_id)
    assert quantities(scene) == (9, 6)


def test_a_day_that_has_not_come_ends_no_reversal(scene):
    """Until its day the line keeps what it holds, which is no count."""
    scene.mapping = mapping(replace(ALL_ROW, count="day:21"))
    scene.cw.agreement("250", "1042", next_invoice=date(2026, 12, 1), cycle="Monthly")
    night(scene, 90)
    scene.mapping = mapping(replace(ALL_ROW, count="day:24"))
    night(scene, 94)
    wrong = night(scene, 94)
    assert scene.cw.quantities() == {"1200": 94}
    asked = night(scene, 94, revert=wrong.run)
    night(scene, 94, asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 90}
    scene.cw.agreement("250", "1042", next_invoice=date(2027, 1, 1), cycle="Monthly")
    scene.clock.sleep(7 * DAY)
    assert night(scene, 94).code is ExitCode.OK  # of this period nothing is to be billed yet
    scene.clock.sleep(21 * DAY)
    held = night(scene, 94)
    assert (guards(held), numbers(held)) == (["reverted"], [(90, 94)])
    assert scene.cw.quantities() == {"1200": 90}


def test_what_is_withdrawn_leaves_a_line_that_is_back_where_it_is(scene):
    """Whoever takes back that a reversal be undone has not accepted what is counted."""
    night(scene, 90)
    wrong = night(scene, 92)
    asked = night(scene, 92, revert=wrong.run)
    back = night(scene, 92, asked.client().plan_id)
    for _ in range(2):
        again = night(scene, 93, revert=back.run)
        assert numbers(again) == [(90, 92)]
    withdrawn = night(scene, 93, revert=again.run)
    assert (guards(withdrawn), numbers(withdrawn)) == (["reverted"], [(90, 93)])
    assert "brought back to 90" in withdrawn.client().hold.reason
    assert scene.cw.quantities() == {"1200": 90}
    night(scene, 93, withdrawn.client().plan_id)
    assert scene.cw.quantities() == {"1200": 93}


def test_a_line_that_nothing_maps_any_more_goes_back_beside_none_that_takes_its_place(scene):
    night(scene, 5)
    wrong = night(scene, 8)
    scene.mapping = mapping(replace(ALL_ROW, products={Category.ALL: "1300"}))
    asked = night(scene, 8, revert=wrong.run)
    assert (numbers(asked), guards(asked)) == ([(8, 5), (None, 8)], ["reverted", "lasting"])
    night(scene, 8, asked.client().plan_id)
    assert scene.cw.quantities() == {"1200": 5}
    held = night(scene, 8)
    assert numbers(held) == [(5, 0), (None, 8)]
    night(scene, 8, held.client().plan_id)
    assert scene.cw.quantities() == {"1200": 0, "1300": 8}


def test_a_line_that_falls_by_its_count_may_still_bill_what_moved_to_it(scene):
    """Another device left client 2: its number is what it was, and not its devices."""
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(5, uid="VSRV-2")
    night(scene, 10)
    one_moves(scene)
    wrong = scene.sync()
    assert quantities(scene) == (9, 6)
    there = scene.hq.answers[TenantRef("hq", "VSRV-2")]
    scene.hq.add(replace(there, rows=there.rows[1:]))
    asked = scene.sync(revert=wrong.run)
    assert (guards(asked), guards(asked, "Client 2")) == (["elsewhere"], [])
    assert numbers(asked) == [(9, 10)]
    assert quantities(scene) == (9, 5)


@pytest.mark.parametrize("later", [False, True])
def test_a_device_that_moved_and_vanished_is_on_the_line_that_billed_it_last(scene, later):
    """No reading of today tells so; those that proved the two lines do."""
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(0, uid="VSRV-2")
    night(scene, 10)
    here, empty = scene.hq.answers[COMPANY.tenants[0]], scene.hq.answers[TenantRef("hq", "VSRV-2")]
    one_moves(scene)
    there = scene.hq.answers[TenantRef("hq", "VSRV-2")]
    if later:  # it is nowhere in the run that is undone
        scene.hq.add(empty)
    wrong = scene.sync()
    scene.hq.add(there)
    scene.sync()
    assert quantities(scene) == (9, 1)
    scene.hq.add(empty)
    asked = scene.sync(revert=wrong.run)
    assert (guards(asked, "Client 2"), quantities(scene)) == (["to-zero"], (9, 1))
    scene.sync(asked.client().plan_id)
    assert quantities(scene) == (9, 1)
    scene.sync(asked.client("Client 2").plan_id)
    assert quantities(scene) == (10, 0)
    scene.hq.add(here)
    assert scene.sync().code is ExitCode.OK
    assert quantities(scene) == (10, 0)


def test_it_is_over_once_the_count_was_that_number_also_where_another_guard_holds_that(scene):
    """It was of the devices from before: nights later others may be billed for those."""
    night(scene, 90)
    wrong = night(scene, 80)
    assert guards(night(scene, 80, revert=wrong.run)) == ["reverted"]
    scene.guards = GuardRules(increase_percent=5, increase_units=0)
    held = night(scene, 90)
    assert (guards(held), numbers(held)) == (["increase"], [(80, 90)])
    assert night(scene, 80).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 80}


@pytest.mark.parametrize("policy", ["today", "peak"])
def test_what_goes_back_is_on_no_invoice_for_the_days_before_it(scene, policy):
    scene.mapping = mapping(replace(ALL_ROW, count=policy))
    scene.cw.agreement("250", "1042", next_invoice=date(2026, 12, 1), cycle="Monthly")
    night(scene, 90)
    wrong = night(scene, 94)
    (line,) = night(scene, 94, revert=wrong.run).client().lines
    assert (line.after, line.overwritten) == (90, 4)
