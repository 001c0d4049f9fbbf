"""Writes whose outcome nobody stored: the next run asks the PSA before it does anything else."""

from dataclasses import replace
from decimal import Decimal

import pytest

from kisi.errors import ExitCode, PsaError
from kisi.model import AgreementRef, Category, GuardRules, Outcome, WriteStatus
from kisi.reconcile.settle import settle, settled_facts
from tests.unit.build import (
    AGREEMENT,
    ALL_ROW,
    COMPANY,
    TODAY,
    fact,
    line,
    mapping,
    reading,
    tenant,
)
from tests.unit.fakes import DONE, LOST, SAID_DONE, VANISHED, Reaction, planned
from tests.unit.reconcile.conftest import company, devices

REF = AgreementRef("cw", "250", "1042")


@pytest.fixture
def pending(scene):
    """An operation without an outcome, as a run leaves it that was killed."""

    def intend(planned_line, client=COMPANY):
        at = scene.clock.now()
        run = scene.journal.begin_run(at, version="1", command="sync", config_hash="")
        return scene.journal.intent(run, at, planned_line, client)

    return intend


def settled(operation, *lines):
    (found,) = settle([operation], {}, {REF: lines}, TODAY)
    return found


def test_an_update_that_the_psa_shows_was_applied(pending):
    found = settled(pending(planned(10, 12, line_id="301")), line("1200", 12))
    assert (found.outcome, found.line_id, found.quantity) == (Outcome.APPLIED, "301", 12)


def test_an_update_that_the_psa_does_not_show_was_not(pending):
    found = settled(pending(planned(10, 12, line_id="301")), line("1200", 10))
    assert (found.outcome, found.quantity) == (Outcome.FAILED, 10)


def test_an_update_of_which_the_psa_shows_something_else_is_unknown(pending):
    found = settled(pending(planned(10, 12, line_id="301")), line("1200", 11))
    assert (found.outcome, found.detail) == (Outcome.UNKNOWN, "the PSA shows 11")


def test_an_update_whose_line_is_gone_bills_nothing_whether_it_arrived_or_not(pending):
    found = settled(pending(planned(10, 12, line_id="301")), line("1200", 12, "302"))
    assert (found.outcome, found.quantity) == (Outcome.FAILED, None)
    assert found.detail == "its line is gone, so it bills nothing"


@pytest.mark.parametrize("change", [planned(10, 0, line_id="301"), planned(0, 5, line_id="301")])
def test_a_line_that_cannot_be_read_settles_nothing(pending, change):
    found = settled(pending(change), line("1200", 0, problem="quantity is missing"))
    assert found.outcome is Outcome.UNKNOWN
    assert found.detail == "the PSA shows a line that cannot be read: quantity is missing"


def test_a_create_is_found_by_its_product(pending):
    operation = pending(planned(None, 12))
    found = settled(operation, line("9", 12, "300"), line("1200", 12, "305"))
    assert (found.outcome, found.line_id) == (Outcome.APPLIED, "305")
    assert settled(operation).outcome is Outcome.UNKNOWN
    assert settled(operation, line("1200", 7)).outcome is Outcome.UNKNOWN


def test_of_two_lines_the_one_with_the_quantity_is_the_created_one(pending):
    found = settled(pending(planned(None, 12)), line("1200", 5, "301"), line("1200", 12, "302"))
    assert (found.outcome, found.line_id) == (Outcome.APPLIED, "302")


def test_a_line_that_cannot_be_read_may_be_the_created_one(pending):
    found = settled(pending(planned(None, 12)), line("1200", 0, problem="quantity is missing"))
    assert found.outcome is Outcome.UNKNOWN


def test_a_cancelled_line_is_not_the_created_one(pending):
    gone = line("1200", 12, cancelled=TODAY)
    found = settled(pending(planned(None, 12)), gone)
    assert (found.outcome, found.line_id) == (Outcome.UNKNOWN, None)


def test_what_was_not_read_is_not_settled(pending):
    assert settle([pending(planned(None, 12))], {}, {}, TODAY) == ()


def test_a_write_to_an_agreement_that_has_ended_is_settled_without_reading_it(pending):
    ended = replace(AGREEMENT, gone=True)
    (found,) = settle([pending(planned(None, 12))], {REF: ended}, {}, TODAY)
    assert found.outcome is Outcome.FAILED
    assert "ended" in found.detail


def test_a_settled_update_is_confirmed_within_its_baseline(pending):
    found = settled(pending(planned(10, 12, line_id="301")), line("1200", 12))
    known = fact("1200", 10, unsettled=True)
    (now,) = settled_facts([known], [found])
    assert (now.confirmed, now.lowest, now.highest) == (12, 10, 12)
    assert not now.unsettled


def test_a_settled_create_is_owned_from_now_on(pending):
    found = settled(pending(planned(None, 12)), line("1200", 12, "305"))
    (now,) = settled_facts([], [found])
    assert (now.line_id, now.product, now.confirmed) == ("305", "1200", 12)
    assert (now.name, now.tenants) == (COMPANY.name, COMPANY.tenants)


def test_a_line_that_an_unknown_write_may_have_made_is_owned_and_unsettled(pending):
    update = settled(pending(planned(10, 12, line_id="301")), line("1200", 11))
    create = settled(pending(planned(None, 4, "1201")), line("1201", 5, "302"))
    found = settled_facts([fact("1200", 10)], [update, create])
    assert [(one.line_id, one.confirmed, one.unsettled) for one in found] == [
        ("301", 10, True),
        ("302", 5, True),
    ]
    assert (found[1].name, found[1].tenants) == (COMPANY.name, COMPANY.tenants)


def test_a_line_that_cannot_be_read_is_not_owned_for_an_unknown_write(pending):
    broken = settled(pending(planned(None, 4)), line("1200", 5, "302", problem="no quantity"))
    assert settled_facts([], [broken]) == ()


# --- in whole runs ------------------------------------------------------------------------------


def test_a_run_killed_after_its_create_was_applied_is_finished_by_the_next(scene, pending):
    pending(planned(None, 10))
    there = scene.cw.put("1200", 10)
    scene.uses(10)
    day = scene.sync()
    assert day.code is ExitCode.OK
    assert [one.outcome for one in day.found.settlements] == [Outcome.APPLIED]
    assert scene.journal.pending() == ()
    assert scene.facts() == {("1042", "1200", there.id): 10}
    assert scene.sent() == 0


def test_a_run_killed_before_its_create_arrived_leaves_it_to_a_person(scene, pending):
    """Nobody can tell whether the request was sent, and is shown only later."""
    pending(planned(None, 10))
    scene.uses(10)
    held = scene.sync()
    assert (held.code, held.client().lines[0].hold.guard) == (ExitCode.WITHHELD, "deleted")
    assert scene.sent() == 0
    assert scene.sync(held.client().plan_id).code is ExitCode.OK
    assert (scene.cw.quantities(), scene.sent()) == ({"1200": 10}, 1)
    assert scene.journal.pending() == ()


def test_a_run_killed_before_its_update_arrived_writes_it_once(scene, pending):
    scene.uses(8)
    scene.sync()
    operation = pending(planned(8, 10, line_id=scene.cw.held()[0].id))
    scene.uses(10)
    assert scene.sync().code is ExitCode.OK
    assert (scene.cw.quantities(), scene.sent()) == ({"1200": 10}, 2)
    (left,) = scene.journal.operations(operation.run_id)
    assert (left.outcome, left.settled) == (Outcome.FAILED, True)


def test_neither_before_nor_after_is_held_as_drift_until_somebody_decides(scene, pending):
    scene.guards = GuardRules(decrease_units=100)
    scene.uses(10)
    scene.sync()
    there = scene.cw.held()[0]
    pending(planned(10, 12, line_id=there.id))
    scene.cw.put("1200", 11, line_id=there.id)
    scene.uses(12)
    for _ in range(2):
        day = scene.sync()
        hold = day.client().lines[0].hold
        assert hold.guard == "drift"
        assert "an earlier write has an unknown outcome" in hold.reason
        assert len(scene.journal.pending()) == 1
        assert scene.cw.quantities() == {"1200": 11}
    assert scene.sync(day.client().plan_id).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 12}
    assert scene.journal.pending() == ()


def test_an_unknown_write_whose_line_a_person_deletes_is_open_no_more(scene, pending):
    scene.uses(10)
    scene.sync()
    (old,) = scene.cw.held()
    pending(planned(10, 12, line_id=old.id))
    scene.cw.remove(old)
    held = scene.sync()
    assert [one.hold.guard for one in held.plan.lines if one.hold] == ["deleted"]
    assert scene.journal.pending() == ()
    assert scene.sync(held.plan.plan_id).code is ExitCode.OK
    assert (scene.cw.quantities(), scene.journal.pending()) == ({"1200": 10}, ())


def test_an_unknown_write_is_settled_by_the_next_run(scene):
    scene.uses(10)

    def no_more_reading():
        scene.cw.unreadable["1042"] = (PsaError("The additions did not arrive whole."), None)

    scene.cw.reactions.append(Reaction(LOST.status, lands=True, before=no_more_reading))
    day = scene.sync()
    assert day.client().lines[0].outcome is Outcome.UNKNOWN
    assert day.code is ExitCode.WRITE
    assert len(scene.journal.pending()) == 1
    scene.cw.unreadable.clear()
    after = scene.sync()
    assert after.code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10}
    assert scene.journal.pending() == ()
    assert scene.sent() == 1


UNSEEN = pytest.mark.parametrize("reaction", [DONE, LOST, replace(SAID_DONE, lands=True)])
"""What the PSA answers to a create that it shows only much later."""


def made_and_unseen(scene, late, reaction):
    """A run whose create is made, and which the PSA does not show for so long."""
    scene.uses(10)
    scene.cw.late = late
    scene.cw.reactions.append(reaction)
    day = scene.sync()
    assert (day.code, day.client().lines[0].outcome) == (ExitCode.WRITE, Outcome.UNKNOWN)
    scene.cw.late = 0.0


@UNSEEN
def test_a_create_that_shows_14_seconds_later_is_one_line(scene, reaction):
    made_and_unseen(scene, 14, reaction)
    scene.clock.sleep(7)
    assert scene.sync().code is ExitCode.OK
    assert (scene.cw.quantities(), scene.sent()) == ({"1200": 10}, 1)
    assert scene.journal.pending() == ()


@UNSEEN
def test_an_unseen_create_waits_for_a_person_and_is_taken_over_once_it_shows(scene, reaction):
    made_and_unseen(scene, 100, reaction)
    for _ in range(2):
        day = scene.sync()
        hold = day.client().lines[0].hold
        assert (day.code, hold.guard, scene.sent()) == (ExitCode.WITHHELD, "deleted", 1)
        assert "an earlier run sent this new line, and the PSA does not show it" in hold.reason
        (left,) = scene.journal.pending()
        assert left.outcome is Outcome.UNKNOWN
    scene.clock.sleep(100)
    assert scene.sync().code is ExitCode.OK
    assert (scene.cw.quantities(), scene.sent()) == ({"1200": 10}, 1)
    assert scene.journal.pending() == ()


@pytest.mark.parametrize("reaction", [VANISHED, SAID_DONE])
def test_a_create_that_never_shows_is_sent_again_by_its_id(scene, reaction):
    scene.uses(10)
    scene.cw.reactions.append(reaction)
    scene.sync()
    held = scene.sync().client()
    assert scene.sync(held.plan_id).code is ExitCode.OK
    assert (scene.cw.quantities(), scene.sent()) == ({"1200": 10}, 2)
    assert scene.journal.pending() == ()


def test_an_accepted_create_is_not_made_where_the_unseen_one_has_appeared(scene):
    """It is looked for once more just before it would be sent."""
    made_and_unseen(scene, 100, LOST)
    held = scene.sync().client()
    lines = scene.cw.lines
    scene.cw.lines = lambda ref, products=None: () if products is None else lines(ref, products)
    scene.clock.sleep(100)
    day = scene.sync(held.plan_id)
    assert (day.code, scene.sent()) == (ExitCode.WRITE, 1)
    assert "appeared meanwhile" in day.client().lines[0].detail
    assert scene.cw.quantities() == {"1200": 10}


def test_an_unseen_create_is_given_up_where_the_mapping_leaves_the_product(pending):
    operation = replace(pending(planned(None, 12)), outcome=Outcome.UNKNOWN)
    assert settled(operation).outcome is Outcome.UNKNOWN
    left = {(REF, operation.line.application)}
    (found,) = settle([operation], {}, {REF: ()}, TODAY, left)
    assert found.outcome is Outcome.FAILED


def test_a_write_on_an_agreement_that_is_no_longer_mapped_is_settled_there(scene, pending):
    old = replace(COMPANY, agreement="2000")
    scene.cw.agreement("250", "2000")
    there = scene.cw.put("1200", 10, "2000")
    pending(planned(None, 10, agreement="2000"), old)
    scene.uses(10)
    day = scene.sync()
    assert [one.outcome for one in day.found.settlements] == [Outcome.APPLIED]
    orphan, create = day.client().lines
    assert (orphan.line_id, orphan.hold.guard, create.hold.guard) == (there.id, "orphaned", "with")
    assert scene.cw.held("1042") == []


def test_a_write_of_a_client_that_is_not_billed_any_more_is_settled_too(scene, pending):
    stranger = replace(COMPANY, name="Fabrikam", company="900", agreement="2000", tenants=())
    scene.cw.agreement("900", "2000")
    scene.cw.put("1200", 10, "2000")
    pending(planned(None, 10, agreement="2000", company="900"), stranger)
    scene.uses(5)
    day = scene.sync()
    assert [one.outcome for one in day.found.settlements] == [Outcome.APPLIED]
    assert [one.agreement for one in day.found.left] == ["2000"]
    assert scene.cw.looks[:2] == ["1042", "2000"]
    assert scene.cw.quantities("2000") == {"1200": 10}


def test_a_write_to_a_psa_that_is_not_configured_any_more_waits(scene, pending):
    pending(planned(None, 10, psa="tp", agreement="7001", company="500"))
    scene.uses(5)
    day = scene.sync()
    assert (day.code, day.found.settlements) == (ExitCode.WITHHELD, ())
    (line,) = day.client().lines
    assert line.hold.guard == "elsewhere"
    assert line.hold.reason == (
        "the new line of product 1200 of Contoso (agreement 7001) may bill 10 x KES, "
        "in part for the same devices, and psa.tp is not in kisi.toml any more"
    )
    assert scene.sync(day.client().plan_id).code is ExitCode.OK
    assert (scene.cw.quantities("1042"), len(scene.journal.pending())) == ({"1200": 5}, 1)


def test_what_may_have_been_written_where_nobody_can_look_is_waited_for(scene, pending):
    """Contoso's new line may be there, its agreement is down, and its device went to Lab."""
    lab = company(2, name="Lab")
    scene.bill(COMPANY, lab)
    scene.cw.agreement("251", "1043")
    scene.uses(2, uid="VSRV-2")
    scene.uses(3)
    run = pending(planned(None, 3)).run_id
    read = scene.look()
    scene.journal.record_usage(run, [(COMPANY, one) for one in read.evidence.values()], TODAY)
    scene.cw.unreadable["1042"] = (PsaError("It is down."), None)
    everything = [*devices(2, prefix="VSRV-2"), *devices(3, prefix="VSRV-1")]
    scene.hq.add(reading(everything, of=tenant("Tenant VSRV-2", "VSRV-2", "hq")))
    scene.uses(0)
    day = scene.sync()
    (line,) = day.client("Lab").lines
    assert (line.hold.guard, scene.cw.quantities("1043")) == ("elsewhere", {})
    assert "that client could not be worked out in this run" in line.hold.reason


def test_a_write_whose_agreement_cannot_be_read_waits(scene, pending):
    scene.cw.agreement("900", "2000")
    scene.cw.unreadable["2000"] = (PsaError("The additions did not arrive whole."), None)
    stranger = replace(COMPANY, name="Fabrikam", company="900", agreement="2000", tenants=())
    pending(planned(None, 10, agreement="2000", company="900"), stranger)
    scene.uses(5)
    assert scene.sync().found.settlements == ()
    assert len(scene.journal.pending()) == 1
    assert scene.cw.quantities("1042") == {"1200": 5}


def test_a_preview_settles_in_its_head_alone(scene, pending):
    pending(planned(None, 10))
    scene.cw.put("1200", 10)
    scene.uses(12)
    found = scene.look()
    (change,) = found.plan.companies[0].lines
    assert (change.hold, change.before, change.after) == (None, Decimal(10), 12)
    assert len(scene.journal.pending()) == 1
    assert scene.facts() == {}


def _changed_by_a_person(scene, pending, quantity=9):
    """A create of 10 whose outcome was never stored; a person has changed the line since."""
    pending(planned(None, 10))
    scene.uses(10)
    return scene.cw.put("1200", quantity)


@pytest.mark.parametrize("adopt", ["hold", "allow"])
def test_what_became_of_an_unknown_create_is_held_as_drift(scene, pending, adopt):
    scene.guards = replace(scene.guards, adopt=adopt)
    _changed_by_a_person(scene, pending)
    for _ in range(2):
        day = scene.sync()
        (held,) = day.client().lines
        assert (day.code, held.hold.guard, held.adopt) == (ExitCode.WITHHELD, "drift", False)
        assert "an earlier write has an unknown outcome" in held.hold.reason
        assert scene.sent() == 0
    assert scene.sync(day.client().plan_id).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10}
    assert scene.journal.pending() == ()


def test_a_line_of_an_unknown_create_is_orphaned_by_another_product(scene, pending):
    _changed_by_a_person(scene, pending)
    scene.mapping = mapping(replace(ALL_ROW, products={Category.ALL: "1201"}))
    day = scene.sync()
    assert day.code is ExitCode.WITHHELD
    assert scene.cw.quantities() == {"1200": 9}
    accepted = scene.sync(day.client().plan_id)
    assert accepted.code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 0, "1201": 10}


def test_a_line_that_the_psa_made_with_another_quantity_is_not_created_again(scene):
    scene.cw.reactions.append(Reaction(WriteStatus.UNKNOWN, lands=True, stored=8))
    scene.uses(10)
    assert scene.sync().code is ExitCode.WRITE
    scene.cw.remove(*scene.cw.held())
    day = scene.sync()
    assert [line.hold.guard for line in day.client().lines] == ["deleted"]
    assert scene.cw.quantities() == {}


def test_an_adoption_that_the_psa_stored_otherwise_is_owned(scene):
    scene.guards = replace(scene.guards, adopt="allow")
    scene.cw.put("1200", 7)
    scene.cw.reactions.append(Reaction(WriteStatus.UNKNOWN, lands=True, stored=8))
    scene.uses(10)
    assert scene.sync().code is ExitCode.WRITE
    assert scene.facts() == {("1042", "1200", "301"): 8}
    assert [line.hold.guard for line in scene.sync().client().lines] == ["drift"]
