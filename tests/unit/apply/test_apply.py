"""Many changes: their order, what stops them, and what the journal says at every step."""

import json
import threading
from dataclasses import replace

import pytest

from kisi.errors import AccessRefused, ExitCode, ForeignChange, PsaError, StateError
from kisi.model import Failure, Hold, Outcome, Status
from kisi.reconcile.summary import exit_code, trouble
from kisi.redaction import REDACTOR
from tests.unit.apply.conftest import client
from tests.unit.build import COMPANY, TODAY
from tests.unit.fakes import (
    CHANGED,
    DENIED,
    DONE,
    FOREIGN,
    LOST,
    REFUSED,
    SAID_DONE,
    UNREACHED,
    VANISHED,
    Reaction,
    busy,
    planned,
)

OTHER = replace(COMPANY, name="Fabrikam", company="251", agreement="1043")
BUGS = [KeyError("quantity"), ValueError("no number"), UnicodeEncodeError("utf-8", "x", 0, 1, "y")]
HELD = Hold("decrease", "fewer by half", "accept it")


@pytest.fixture
def psa(bench):
    bench.psa.agreement("251", "1043")
    return bench.psa


def of_other(*args, **more):
    return planned(*args, company="251", agreement="1043", **more)


def outcomes(company):
    return [(line.product, line.outcome) for line in company.lines]


def sent(psa):
    return [(line.product, line.after) for line in psa.sent]


def test_the_worked_example_is_written_as_90_and_10(bench, psa):
    applied = bench.apply(client(planned(None, 90, "1201"), planned(None, 10, "1202")))
    (company,) = applied.plan.companies
    assert psa.quantities() == {"1201": 90, "1202": 10}
    assert [line.outcome for line in company.lines] == [Outcome.APPLIED] * 2
    assert (company.status, exit_code(applied.plan)) == (Status.READY, ExitCode.OK)
    assert {product: held for product, (_, held) in bench.owned().items()} == psa.quantities()


def test_lines_that_need_no_write_are_not_sent_and_have_an_outcome(bench, psa):
    there = psa.put("1200", 10)
    lines = bench.write(
        planned(10, 10, line_id=there.id), planned(None, 5, "1201", hold=HELD, application="EDR")
    )
    assert [line.outcome for line in lines] == [Outcome.UNCHANGED, Outcome.HELD]
    assert psa.sent == []
    assert bench.operations() == []


def test_failed_and_switched_off_clients_are_left_alone(bench, psa):
    failure = Failure("psa", "it could not be read", "", ExitCode.PSA)
    failed = replace(client(), status=Status.FAILED, failure=failure)
    off = replace(client(company=OTHER), status=Status.OFF)
    applied = bench.apply(failed, off)
    assert applied.plan.companies == (failed, off)
    assert psa.sent == []


# --- two phases ---------------------------------------------------------------------------------


def test_every_fall_of_every_client_comes_before_any_rise(bench, psa):
    mine = [planned(None, 5, "1201"), planned(10, 8, "1203", line_id=psa.put("1203", 10).id)]
    theirs = [
        of_other(10, 12, "1202", line_id=psa.put("1202", 10, "1043").id),
        of_other(4, 0, "1204", line_id=psa.put("1204", 4, "1043").id, orphaned=True),
    ]
    applied = bench.apply(client(*mine), client(*theirs, company=OTHER))
    assert sent(psa) == [("1203", 8), ("1204", 0), ("1201", 5), ("1202", 12)]
    assert [outcomes(company) for company in applied.plan.companies] == [
        [("1201", Outcome.APPLIED), ("1203", Outcome.APPLIED)],
        [("1202", Outcome.APPLIED), ("1204", Outcome.APPLIED)],
    ]


def test_a_rise_of_less_than_one_comes_after_every_fall_too(bench, psa):
    rise = planned(9.5, 10, "1201", line_id=psa.put("1201", 9.5).id)
    fall = planned(10, 8, "1202", line_id=psa.put("1202", 10).id)
    lines = bench.write(rise, fall)
    assert [line.outcome for line in lines] == [Outcome.APPLIED] * 2
    assert sent(psa) == [("1202", 8), ("1201", 10)]


def test_an_agreement_is_read_once_after_its_falls_and_once_around_its_rises(bench, psa):
    lines = [
        *(planned(9, 8, one, line_id=psa.put(one, 9).id) for one in ("1201", "1202")),
        *(planned(8, 9, one, line_id=psa.put(one, 8).id) for one in ("1203", "1204")),
        *(planned(None, 5, one) for one in ("1205", "1206")),
    ]
    bench.write(*lines)
    falls, rises = {"1201", "1202"}, {"1203", "1204", "1205", "1206"}
    assert psa.asked == [falls, {"1205", "1206"}, rises]
    assert len(psa.sent) == 6


def move(bench, psa, **of_fall):
    """Devices go from Contoso's line to a new one of Fabrikam, which waits for it."""
    fall = planned(10, of_fall.pop("after", 7), line_id=psa.put("1200", 10).id, **of_fall)
    rise = of_other(None, 3)
    waits = [(rise, [fall])]

    def go():
        applied = bench.apply(client(fall), client(rise, company=OTHER), waits=waits)
        return [company.lines[0] for company in applied.plan.companies]

    return go


def test_a_rise_is_written_once_the_psa_shows_its_fall(bench, psa):
    assert [line.outcome for line in move(bench, psa)()] == [Outcome.APPLIED] * 2
    assert (psa.quantities("1042"), psa.quantities("1043")) == ({"1200": 7}, {"1200": 3})


def test_a_rise_whose_fall_failed_is_not_sent_and_says_which(bench, psa):
    psa.reactions.append(REFUSED)
    fall, rise = move(bench, psa)()
    assert (fall.outcome, rise.outcome) == (Outcome.FAILED, Outcome.FAILED)
    assert rise.detail == (
        "not sent: KES of Contoso on agreement 1042 could not be brought down first"
    )
    assert (psa.quantities("1042"), psa.held("1043")) == ({"1200": 10}, [])
    assert [op.line.agreement for op in bench.operations()] == ["1042"]


def test_a_fall_that_is_answered_and_not_shown_lets_no_rise_pass(bench, psa):
    psa.late = 60
    fall, rise = move(bench, psa)()
    assert (fall.outcome, rise.outcome) == (Outcome.UNKNOWN, Outcome.FAILED)
    assert "not yet shown" in fall.detail
    assert bench.clock.slept == [1, 2, 4]
    assert psa.held("1043") == []
    (pending,) = bench.journal.pending()
    assert (pending.line.agreement, pending.outcome) == ("1042", Outcome.UNKNOWN)


def test_a_fall_that_shows_late_lets_the_rise_pass(bench, psa):
    psa.late = 3
    assert [line.outcome for line in move(bench, psa)()] == [Outcome.APPLIED] * 2
    assert sent(psa) == [("1200", 7), ("1200", 3)]


def test_a_fall_of_unknown_outcome_lets_no_rise_pass(bench, psa):
    go = move(bench, psa)
    there = psa.held()[0]
    rounds = Reaction(LOST.status, before=lambda: psa.put("1200", 9, line_id=there.id))
    psa.reactions.append(rounds)
    assert [line.outcome for line in go()] == [Outcome.UNKNOWN, Outcome.FAILED]
    assert psa.held("1043") == []


def test_a_fall_that_is_held_lets_no_rise_pass(bench, psa):
    fall, rise = move(bench, psa, hold=HELD)()
    assert (fall.outcome, rise.outcome) == (Outcome.HELD, Outcome.FAILED)
    assert "KES of Contoso on agreement 1042 could not be brought down first" in rise.detail
    assert psa.sent == []


def test_a_fall_that_is_not_in_the_plan_lets_no_rise_pass(bench, psa):
    away = planned(9, 0, "1299", agreement="2000")
    rise = planned(None, 5)
    (line,) = bench.write(rise, waits=[(rise, [away])])
    assert line.outcome is Outcome.FAILED
    assert "product 1299 on agreement 2000, not in this run, could not be" in line.detail
    assert psa.sent == []


def test_a_line_that_shows_its_number_already_is_waited_for_by_nobody(bench, psa):
    assert [line.outcome for line in move(bench, psa, after=10)()] == [
        Outcome.UNCHANGED,
        Outcome.APPLIED,
    ]


@pytest.mark.parametrize("answers", [[DONE, REFUSED], [REFUSED, DONE]])
def test_of_two_lines_in_one_place_both_must_be_down(bench, psa, answers):
    falls = [planned(9, 0, line_id=psa.put("1200", 9).id) for _ in range(2)]
    rise = of_other(None, 9)
    psa.reactions.extend(answers)
    applied = bench.apply(client(*falls), client(rise, company=OTHER), waits=[(rise, [falls[0]])])
    assert applied.plan.companies[1].lines[0].outcome is Outcome.FAILED
    assert psa.held("1043") == []


@pytest.mark.parametrize("ended", ["gone", "cancelled"])
def test_a_line_that_somebody_ended_is_down_if_it_was_to_bill_0(bench, psa, ended):
    go = move(bench, psa, after=0)
    (there,) = psa.held()

    def end():
        if ended == "gone":
            psa.remove(there)
        else:
            psa.put("1200", 10, line_id=there.id, cancelled=TODAY)

    psa.reactions.append(Reaction(CHANGED.status, message=CHANGED.message, before=end))
    fall, rise = go()
    assert (fall.outcome, rise.outcome) == (Outcome.APPLIED, Outcome.APPLIED)
    assert bench.owned()["1200"][1] in {0, 3}
    assert psa.quantities("1043") == {"1200": 3}


def test_a_line_that_only_the_list_lacks_is_not_down(bench, psa):
    """A list that ends early; asked for by its id, the line is still there."""
    go = move(bench, psa, after=0)
    (there,) = psa.held()
    lines = psa.lines
    psa.lines = lambda ref, products=None: [x for x in lines(ref, products) if x.id != there.id]
    psa.reactions.append(CHANGED)
    assert [line.outcome for line in go()] == [Outcome.FAILED] * 2
    assert (psa.asked_lines, psa.quantities("1042")) == ([there.id], {"1200": 10})


def test_a_line_that_is_gone_is_not_down_to_anything_but_0(bench, psa):
    go = move(bench, psa, after=7)
    (there,) = psa.held()
    psa.reactions.append(
        Reaction(CHANGED.status, message=CHANGED.message, before=lambda: psa.remove(there))
    )
    assert [line.outcome for line in go()] == [Outcome.FAILED] * 2


def test_a_rise_waits_for_a_fall_of_another_psa(bench, psa):
    tp = bench.add_psa("tp")
    tp.agreement("500", "7001")
    fall = planned(9, 4, psa="tp", company="500", agreement="7001", line_id="1")
    tp.put("1200", 9, "7001", line_id="1")
    tp.reactions.append(REFUSED)
    theirs = replace(COMPANY, name="Tailspin", psa="tp", company="500", agreement="7001")
    rise, free = planned(None, 5), planned(None, 6, "1201")
    applied = bench.apply(client(rise, free), client(fall, company=theirs), waits=[(rise, [fall])])
    assert outcomes(applied.plan.companies[0]) == [
        ("1200", Outcome.FAILED),
        ("1201", Outcome.APPLIED),
    ]
    assert psa.quantities() == {"1201": 6}


def test_who_waits_for_nobody_is_written_whatever_fails(bench, psa):
    fewer = [planned(10, 8, name, line_id=psa.put(name, 10).id) for name in ("1201", "1202")]
    psa.reactions.append(REFUSED)
    lines = bench.write(*fewer, planned(None, 4, "1203"), planned(None, 5, "1204"))
    assert [line.outcome for line in lines] == [Outcome.FAILED, *[Outcome.APPLIED] * 3]
    assert psa.quantities() == {"1201": 10, "1202": 8, "1203": 4, "1204": 5}


# --- what became of the lines since they were read ------------------------------------------------


@pytest.mark.parametrize(("age", "looks"), [(300, 1), (301, 2)])
def test_lines_that_were_read_long_ago_are_read_again_before_they_are_written(
    bench, psa, age, looks
):
    there = psa.put("1200", 10)
    bench.clock.sleep(age)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, len(psa.looks)) == (Outcome.APPLIED, looks)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({"quantity": 11}, "the PSA shows 11"),
        ({"quantity": 10, "problem": "quantity is missing"}, "quantity is missing"),
        ({"quantity": 10, "cancelled": TODAY}, "the line is gone or cancelled"),
        (None, "the line is gone or cancelled"),
    ],
)
def test_a_line_that_changed_since_it_was_read_is_not_written(bench, psa, now, why):
    there = psa.put("1200", 10)
    other = psa.put("1201", 10)
    if now is None:
        psa.remove(there)
    else:
        psa.put("1200", line_id=there.id, **now)
    bench.clock.sleep(301)
    changed, same = bench.write(
        planned(10, 12, line_id=there.id), planned(10, 12, "1201", line_id=other.id)
    )
    assert (changed.outcome, same.outcome) == (Outcome.FAILED, Outcome.APPLIED)
    assert changed.detail == (
        f"not sent: changed since it was read: {why}; the next run decides anew"
    )
    assert (sent(psa), len(psa.looks)) == ([("1201", 12)], 2)
    assert bench.outcomes() == [("1201", Outcome.APPLIED, True)]


def test_an_agreement_is_read_again_where_a_write_took_long(bench, psa):
    first, second = psa.put("1200", 10), psa.put("1201", 10)
    edited = replace(busy(120), before=lambda: psa.put("1201", 11, line_id=second.id))
    psa.reactions.extend([edited, busy(120)])
    bench.clock.sleep(100)
    lines = bench.write(
        planned(10, 12, line_id=first.id), planned(10, 12, "1201", line_id=second.id)
    )
    assert [line.outcome for line in lines] == [Outcome.APPLIED, Outcome.FAILED]
    assert psa.quantities() == {"1200": 12, "1201": 11}


def test_lines_that_cannot_be_read_again_are_not_written(bench, psa):
    there = psa.put("1200", 10)
    REDACTOR.add("private-key-in-an-error")
    bench.breaks(error=PsaError("Broken: private-key-in-an-error."))()
    bench.clock.sleep(301)
    lines = bench.write(planned(10, 12, line_id=there.id), planned(None, 3, "1201"))
    assert [line.outcome for line in lines] == [Outcome.FAILED] * 2
    assert lines[0].detail.startswith("not sent: the agreement could not be read again: Broken: ")
    assert "private-key" not in lines[0].detail
    assert psa.sent == []


def test_a_foreign_change_that_is_seen_before_a_write_stops_that_psa(bench, psa):
    psa.if_others_change = "Restore it."
    backup = psa.put("BACKUP", 3)
    run = bench.begin()
    operation = bench.journal.intent(run, bench.clock.now(), planned(None, 5), COMPANY)
    bench.journal.keep_lines(operation, psa.held())
    psa.remove(backup)
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [company.lines[0].outcome for company in applied.plan.companies] == [
        Outcome.UNKNOWN,
        Outcome.FAILED,
    ]
    (error,) = applied.foreign_changes
    assert (f"line {backup.id} (BACKUP) with quantity 3 is gone" in error.message, psa.sent) == (
        True,
        [],
    )
    assert error.remedy == "Restore it."


# --- new lines -------------------------------------------------------------------------------------


def test_a_line_that_appeared_meanwhile_is_not_made_a_second_time(bench, psa):
    there = psa.put("1200", 4)
    mine, other = bench.write(planned(None, 5), planned(None, 6, "1201"))
    assert (mine.outcome, other.outcome) == (Outcome.FAILED, Outcome.APPLIED)
    assert mine.detail == (
        f"not sent: a line of this product appeared meanwhile ({there.id}); the next run plans "
        "with it. If it does not, the PSA's list of the agreement lacks that line: cancel it there, "
        "and kisi makes its own"
    )
    assert psa.quantities() == {"1200": 4, "1201": 6}
    assert bench.outcomes() == [("1201", Outcome.APPLIED, True)]


def test_all_lines_that_appeared_meanwhile_are_named(bench, psa):
    first, second = psa.put("1200", 4), psa.put("1200", 5)
    (line,) = bench.write(planned(None, 5))
    assert f"appeared meanwhile ({first.id}, {second.id});" in line.detail
    assert psa.sent == []


def test_a_cancelled_line_is_in_no_new_ones_way(bench, psa):
    psa.put("1200", 4, cancelled=TODAY)
    (line,) = bench.write(planned(None, 5))
    assert (line.outcome, line.hold) == (Outcome.APPLIED, None)


def test_a_double_that_somebody_made_meanwhile_is_said_and_held(bench, psa):
    psa.reactions.append(replace(DONE, before=lambda: psa.put("1200", 4)))
    applied = bench.apply(client(planned(None, 5), planned(None, 6, "1201")))
    (company,) = applied.plan.companies
    double, single = company.lines
    assert (double.outcome, double.line_id) == (Outcome.APPLIED, "302")
    assert "there are now several lines of this product: 301, 302" in double.detail
    assert (double.hold.guard, double.hold.reason) == ("ambiguous", double.detail)
    assert double.hold.releasable is False
    assert "Cancel all but one of them" in double.hold.remedy
    assert (single.hold, company.status) == (None, Status.HELD)
    assert exit_code(applied.plan) is ExitCode.WITHHELD
    assert trouble(company) == "held: ambiguous"
    assert bench.owned()["1200"] == ("302", 5)


def test_of_a_double_after_a_lost_answer_nobody_knows_which_is_ours(bench, psa):
    psa.reactions.append(replace(LOST, before=lambda: psa.put("1200", 5)))
    applied = bench.apply(client(planned(None, 5)))
    (line,) = applied.plan.companies[0].lines
    assert (line.outcome, line.hold.guard) == (Outcome.UNKNOWN, "ambiguous")
    assert exit_code(applied.plan) is ExitCode.WRITE
    assert len(psa.sent) == 1


# --- clients beside each other ------------------------------------------------------------------


def test_one_clients_trouble_does_not_stop_another(bench, psa):
    psa.reactions.append(REFUSED)
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [outcomes(company) for company in applied.plan.companies] == [
        [("1200", Outcome.FAILED)],
        [("1200", Outcome.APPLIED)],
    ]
    assert (psa.quantities("1042"), psa.quantities("1043")) == ({}, {"1200": 7})
    assert not applied.interrupted


def test_refused_credentials_stop_that_psa_alone(bench, psa):
    tp = bench.add_psa("tp")
    tp.agreement("500", "7001")
    psa.reactions.append(DENIED)
    theirs = replace(COMPANY, name="Tailspin", psa="tp", company="500", agreement="7001")
    applied = bench.apply(
        client(planned(None, 5)),
        client(of_other(None, 7), company=OTHER),
        client(planned(None, 3, psa="tp", company="500", agreement="7001"), company=theirs),
    )
    first, second, third = applied.plan.companies
    assert first.lines[0].outcome is Outcome.FAILED
    assert second.lines[0].detail == "not sent: the PSA refused our credentials"
    assert third.lines[0].outcome is Outcome.APPLIED
    assert len(psa.sent) == 1
    assert (psa.held("1042"), psa.held("1043")) == ([], [])
    assert tp.quantities("7001") == {"1200": 3}
    assert bench.outcomes() == [("1200", Outcome.FAILED, True), ("1200", Outcome.APPLIED, True)]


def test_credentials_that_are_refused_while_a_line_is_looked_for_stop_that_psa_too(bench, psa):
    refused = AccessRefused("401: refused keys.")
    psa.reactions.append(replace(UNREACHED, before=bench.breaks(error=refused)))
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [company.lines[0].detail for company in applied.plan.companies] == [
        "401: refused keys. Nothing was sent.",
        "not sent: the PSA refused our credentials",
    ]
    assert (len(psa.sent), bench.clock.slept) == (1, [1])


@pytest.mark.parametrize("lands", [True, False])
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)
def test_a_bug_in_one_write_leaves_it_unknown_and_every_other_line_its_turn(
    bench, psa, bug, lands, monkeypatch, caplog
):
    write = psa.write

    def buggy(line, agreement, today):
        if line.product != "1200" or line.agreement != "1042":
            return write(line, agreement, today)
        if lands:
            write(line, agreement, today)
        raise bug

    monkeypatch.setattr(psa, "write", buggy)
    with caplog.at_level("INFO", logger="kisi"):
        applied = bench.apply(
            client(planned(None, 5), planned(None, 6, "1201")),
            client(of_other(None, 7), company=OTHER),
        )
    assert [outcomes(company) for company in applied.plan.companies] == [
        [("1200", Outcome.UNKNOWN), ("1201", Outcome.APPLIED)],
        [("1200", Outcome.APPLIED)],
    ]
    assert psa.quantities() == ({"1200": 5} if lands else {}) | {"1201": 6}
    assert psa.quantities("1043") == {"1200": 7}
    assert exit_code(applied.plan) is ExitCode.WRITE
    assert [op.line.product for op in bench.journal.pending()] == ["1200"]
    detail = applied.plan.companies[0].lines[0].detail
    assert detail.startswith(f"a bug in kisi stopped the work here ({type(bug).__name__}: ")
    assert "Please report it" in detail
    told = [(one.getMessage(), one.exc_info[1]) for one in caplog.records if one.exc_info]
    assert told == [("Unexpected error", bug)]
    assert f"Contoso, agreement 1042, product 1200: new -> 5 unknown: {detail}" in caplog.messages


def test_a_bug_in_the_list_after_a_write_leaves_that_agreement_unknown(bench, psa):
    psa.reactions.append(replace(DONE, before=bench.breaks(error=BUGS[0])))
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [outcomes(company)[0][1] for company in applied.plan.companies] == [
        Outcome.UNKNOWN,
        Outcome.APPLIED,
    ]
    assert (psa.quantities(), psa.quantities("1043")) == ({"1200": 5}, {"1200": 7})
    assert [op.line.agreement for op in bench.journal.pending()] == ["1042"]


def test_a_bug_before_a_write_sends_nothing_of_that_agreement(bench, psa):
    bench.breaks(error=BUGS[0])()
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert outcomes(applied.plan.companies[0]) == [("1200", Outcome.FAILED)]
    assert "not sent: the agreement could not be read again: a bug in kisi" in (
        applied.plan.companies[0].lines[0].detail
    )
    assert (psa.held(), psa.quantities("1043")) == ([], {"1200": 7})
    assert bench.journal.pending() == ()


def test_a_state_folder_that_fails_in_the_middle_of_a_write_ends_the_run(bench, psa, monkeypatch):
    def write(line, agreement, today):
        raise StateError("The snapshot cannot be kept.")

    monkeypatch.setattr(psa, "write", write)
    applied = bench.apply(client(planned(None, 5), planned(None, 6, "1201")))
    assert outcomes(applied.plan.companies[0]) == [("1200", Outcome.UNKNOWN), ("1201", None)]
    assert applied.state_error.message == "The snapshot cannot be kept."


def test_what_is_no_error_ends_the_run(bench, psa):
    def interrupted():
        raise KeyboardInterrupt

    psa.reactions.append(replace(DONE, before=interrupted))
    with pytest.raises(KeyboardInterrupt):
        bench.write(planned(None, 5))
    assert psa.held() == []
    assert [op.outcome for op in bench.journal.pending()] == [None]


def test_a_foreign_change_stops_that_psa_and_leaves_its_write_pending(bench, psa):
    tp = bench.add_psa("tp")
    tp.agreement("500", "7001")
    psa.reactions.append(FOREIGN)
    theirs = replace(COMPANY, name="Tailspin", psa="tp", company="500", agreement="7001")
    applied = bench.apply(
        client(planned(None, 5), planned(None, 6, "1201")),
        client(of_other(None, 7), company=OTHER),
        client(planned(None, 3, psa="tp", company="500", agreement="7001"), company=theirs),
    )
    first, second, third = applied.plan.companies
    assert outcomes(first) == [("1200", Outcome.UNKNOWN), ("1201", Outcome.FAILED)]
    assert outcomes(second) == [("1200", Outcome.FAILED)]
    assert outcomes(third) == [("1200", Outcome.APPLIED)]
    assert second.lines[0].detail == (
        "not sent: another line of an agreement changed during a write"
    )
    assert [type(error) for error in applied.foreign_changes] == [ForeignChange]
    assert sent(psa) == [("1200", 5)]
    assert [op.line.product for op in bench.journal.pending()] == ["1200"]


@pytest.mark.parametrize("answer", [LOST, SAID_DONE, REFUSED])
def test_a_foreign_change_found_while_reading_back_stops_that_psa_too(bench, psa, answer):
    psa.if_others_change = "Restore it."
    backup = psa.put("BACKUP", 3)
    there = psa.put("1200", 9, "1042")
    more = lambda: psa.put("BACKUP", 4, line_id=backup.id)  # noqa: E731
    psa.reactions.append(replace(answer, before=more))
    applied = bench.apply(
        client(planned(9, 5, line_id=there.id)), client(of_other(None, 7), company=OTHER)
    )
    assert [outcomes(company)[0][1] for company in applied.plan.companies] == [
        Outcome.UNKNOWN,
        Outcome.FAILED,
    ]
    (error,) = applied.foreign_changes
    assert f"line {backup.id} (BACKUP): quantity 3 to 4." in error.message
    assert psa.held("1043") == []
    assert [one.what for one in bench.journal.foreign_changes()] == [error.message]


def test_a_foreign_change_found_while_an_answer_is_confirmed_stops_that_psa_too(bench, psa):
    psa.if_others_change = "Restore it."
    backup = psa.put("BACKUP", 3)
    there = psa.put("1200", 9)
    psa.reactions.append(replace(DONE, before=lambda: psa.remove(backup)))
    applied = bench.apply(
        client(planned(9, 5, line_id=there.id)), client(of_other(None, 7), company=OTHER)
    )
    first, second = (company.lines[0] for company in applied.plan.companies)
    (error,) = applied.foreign_changes
    assert (first.outcome, first.detail) == (Outcome.UNKNOWN, error.message)
    assert second.detail == "not sent: another line of an agreement changed during a write"
    (pending,) = bench.journal.pending()
    assert (pending.outcome, pending.request_id) == (Outcome.UNKNOWN, "request-1")
    assert (pending.detail, psa.held("1043")) == (error.message, [])


def test_a_foreign_change_told_while_an_agreement_is_read_again_stops_that_psa_too(bench, psa):
    error = ForeignChange("charge 7 (BACKUP) with quantity 3 is gone.")
    bench.breaks(error=error)()
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [company.lines[0].detail for company in applied.plan.companies] == [
        f"not sent: the agreement could not be read again: {error.message}",
        "not sent: another line of an agreement changed during a write",
    ]
    assert (applied.foreign_changes, psa.sent) == ((error,), [])


@pytest.mark.parametrize(("workers", "if_others_change"), [(1, ""), (4, "Restore it.")])
def test_a_psa_never_gets_more_writes_at_once_than_it_can_take(
    make_bench, workers, if_others_change
):
    """Also where the clients are another PSA's, and only their orphans are here.

    It takes one at once where a write may change other lines, whatever its `workers`.
    """
    bench = make_bench()
    bench.psas["cw"].workers = 4
    slow = bench.add_psa("tp", workers=workers)
    slow.if_others_change = if_others_change
    at_once, most, guard = 0, 0, threading.Lock()
    both_in = threading.Event()

    def enter():
        nonlocal at_once, most
        with guard:
            at_once += 1
            most = max(most, at_once)
            if at_once > 1:
                both_in.set()
        both_in.wait(0.05)
        with guard:
            at_once -= 1

    plans = []
    for number in range(4):
        company = replace(COMPANY, name=f"Client {number}", agreement=str(2000 + number))
        slow.agreement("500", str(7000 + number))
        there = slow.put("KES", 9, str(7000 + number))
        slow.reactions.append(Reaction(DONE.status, lands=True, before=enter))
        orphan = planned(
            9,
            0,
            "KES",
            psa="tp",
            company="500",
            agreement=str(7000 + number),
            line_id=there.id,
            orphaned=True,
        )
        plans.append(client(orphan, company=company))
    bench.apply(*plans)
    assert [slow.quantities(str(7000 + number)) for number in range(4)] == [{"KES": 0}] * 4
    assert most == 1


# --- being stopped ------------------------------------------------------------------------------


def test_a_stop_in_the_middle_finishes_the_write_and_tries_no_other(bench, psa):
    psa.reactions.append(Reaction(LOST.status, lands=True, before=bench.stop.set))
    applied = bench.apply(
        client(planned(None, 5), planned(None, 6, "1201")),
        client(of_other(None, 7), company=OTHER),
    )
    first, second = applied.plan.companies
    assert outcomes(first) == [("1200", Outcome.APPLIED), ("1201", None)]
    assert outcomes(second) == [("1200", None)]
    assert first.lines[1].detail == "not tried: the run was stopped"
    assert applied.interrupted
    assert applied.state_error is None
    assert psa.quantities() == {"1200": 5}
    assert bench.outcomes() == [("1200", Outcome.APPLIED, True)]


def test_a_stop_beforehand_writes_nothing(bench, psa):
    bench.stop.set()
    applied = bench.apply(client(planned(None, 5)))
    assert applied.interrupted
    assert psa.sent == []
    assert bench.operations() == []


def test_a_stop_while_waiting_for_the_psa_sends_nothing_again(bench, psa):
    waited = []

    def pause(seconds):
        waited.append(seconds)
        bench.stop.set()

    bench.pause = pause
    psa.reactions.append(busy(30))
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    first, second = applied.plan.companies
    assert (waited, len(psa.sent)) == ([30], 1)
    assert outcomes(first) == [("1200", Outcome.FAILED)]
    assert outcomes(second) == [("1200", None)]
    assert applied.interrupted
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]


def test_a_stop_after_an_unclear_write_is_read_back_to_the_end_and_not_sent_again(bench, psa):
    there = psa.put("1200", 4)
    psa.reactions.append(Reaction(VANISHED.status, before=bench.stop.set))
    applied = bench.apply(client(planned(4, 5, line_id=there.id)))
    assert outcomes(applied.plan.companies[0]) == [("1200", Outcome.FAILED)]
    assert (len(psa.sent), bench.clock.slept) == (1, [1, 2, 4])


def test_after_the_end_of_the_run_nothing_is_sent_any_more(bench, psa):
    bench.ends = 5
    psa.reactions.append(VANISHED)
    lines = bench.write(planned(4, 5, line_id=psa.put("1200", 4).id), planned(None, 6, "1201"))
    assert [line.outcome for line in lines] == [Outcome.FAILED] * 2
    assert lines[1].detail == "not sent: this run's time was up before its turn came"
    assert sent(psa) == [("1200", 5)]
    assert len(bench.operations()) == 1


@pytest.mark.parametrize(("ends", "outcome"), [(7, Outcome.FAILED), (7.5, Outcome.APPLIED)])
def test_at_the_instant_of_the_runs_end_nothing_is_begun(bench, psa, ends, outcome):
    bench.ends = ends
    bench.clock.sleep(7)
    (line,) = bench.write(planned(None, 6))
    assert line.outcome is outcome
    assert len(psa.sent) == (outcome is Outcome.APPLIED)


def test_a_wait_beyond_the_end_of_the_run_is_not_begun(bench, psa):
    bench.ends = 20
    psa.reactions.append(busy(30))
    (line,) = bench.write(planned(None, 5))
    assert (line.outcome, bench.clock.slept, len(psa.sent)) == (Outcome.FAILED, [], 1)


@pytest.mark.parametrize(("ends", "slept"), [(30, []), (31, [30])])
def test_a_wait_that_ends_with_the_run_is_not_begun_either(bench, psa, ends, slept):
    bench.ends = ends
    psa.reactions.append(busy(30))
    (line,) = bench.write(planned(None, 5))
    assert bench.clock.slept == slept
    assert line.outcome is (Outcome.APPLIED if slept else Outcome.FAILED)


def test_a_secret_that_the_psa_says_to_us_is_neither_shown_nor_stored(bench, psa):
    REDACTOR.add("private-key-in-an-answer")
    psa.reactions.append(Reaction(REFUSED.status, message="Wrong: private-key-in-an-answer."))
    (line,) = bench.write(planned(None, 5))
    assert "private-key" not in line.detail
    assert "private-key" not in bench.operations()[0].detail
    assert line.detail.startswith("Wrong: ")


# --- the journal fails --------------------------------------------------------------------------


def test_without_an_intent_nothing_is_sent(bench, psa):
    bench.psas["tp"] = bench.add_psa("tp")
    bench.psas["tp"].agreement("500", "7001")
    theirs = replace(COMPANY, name="Tailspin", psa="tp", company="500", agreement="7001")
    real = bench.journal.intent

    def broken(*args):
        bench.fail_journal()
        return real(*args)

    bench.journal.intent = broken
    applied = bench.apply(
        client(planned(None, 5)),
        client(of_other(None, 7), company=OTHER),
        client(planned(None, 3, psa="tp", company="500", agreement="7001"), company=theirs),
    )
    assert isinstance(applied.state_error, StateError)
    assert not applied.interrupted
    assert (psa.sent, bench.psas["tp"].sent) == ([], [])
    assert bench.emergency == []
    assert {line.outcome for company in applied.plan.companies for line in company.lines} == {None}


def test_a_journal_that_fails_once_is_not_trusted_again(bench, psa):
    real, calls = bench.journal.intent, []

    def fails_once(*args):
        calls.append(args)
        if len(calls) == 1:
            raise StateError("The disk is full.")
        return real(*args)

    bench.journal.intent = fails_once
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert applied.state_error.message == "The disk is full."
    assert psa.sent == []
    assert {line.detail for company in applied.plan.companies for line in company.lines} == {
        "not tried: the journal failed",
        "not tried: the run was stopped",
    }


def test_an_outcome_that_cannot_be_stored_is_printed_and_ends_all_writing(bench, psa):
    psa.reactions.extend([DONE, Reaction(DONE.status, lands=True, before=bench.fail_journal)])
    applied = bench.apply(
        client(planned(None, 5), planned(None, 6, "1201"), planned(None, 8, "1202")),
        client(of_other(None, 7), company=OTHER),
    )
    assert isinstance(applied.state_error, StateError)
    assert sent(psa) == [("1200", 5), ("1201", 6)]
    told = [json.loads(text) for text in bench.emergency]
    assert [(one["product"], one["after"], one["outcome"]) for one in told] == [
        ("1200", 5, "applied"),
        ("1201", 6, "applied"),
    ]
    assert [one["line_id"] for one in told] == [line.id for line in psa.held()]
    assert [one["request_id"] for one in told] == ["request-1", "request-2"]
    first, second = applied.plan.companies
    assert outcomes(first) == [("1200", Outcome.APPLIED), ("1201", Outcome.APPLIED), ("1202", None)]
    assert outcomes(second) == [("1200", None)]
    assert bench.outcomes() == [("1200", None, False), ("1201", None, False)]


def test_an_unknown_outcome_that_cannot_be_stored_is_printed_with_what_was_seen(bench, psa):
    there = psa.put("1200", 10)

    def strike():
        psa.put("1200", 11, line_id=there.id)
        bench.fail_journal()

    psa.reactions.append(Reaction(LOST.status, before=strike))
    applied = bench.apply(client(planned(10, 12, line_id=there.id)))
    told = json.loads(bench.emergency[0])
    assert (told["outcome"], told["quantity"]) == ("unknown", "11")
    assert isinstance(applied.state_error, StateError)
    assert told["detail"] == "the PSA shows 11 instead of 12; the next run holds it"


def test_waiting_goes_over_the_clock_that_was_given(bench, psa):
    psa.reactions.extend([busy(30), VANISHED])
    (line,) = bench.write(planned(4, 5, line_id=psa.put("1200", 4).id))
    assert line.outcome is Outcome.APPLIED
    assert bench.clock.slept == [30, 1, 2, 4]


def test_a_psa_that_cannot_be_read_back_does_not_stop_the_others(bench, psa):
    psa.reactions.append(replace(LOST, before=bench.breaks()))
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [outcomes(company)[0][1] for company in applied.plan.companies] == [
        Outcome.UNKNOWN,
        Outcome.APPLIED,
    ]
    assert psa.quantities("1043") == {"1200": 7}


def test_a_psa_that_asks_everybody_to_wait_is_waited_for_before_the_intent(bench, psa):
    psa.busy, intents = 20.0, []

    def pause(seconds):
        intents.append(len(bench.operations()))
        psa.busy = 0.0
        bench.clock.sleep(seconds)

    bench.pause = pause
    (line,) = bench.write(planned(None, 5))
    assert (intents, bench.clock.slept[0], line.outcome) == ([0], 20, Outcome.APPLIED)


def test_a_stop_while_everybody_waits_for_the_psa_leaves_no_intent(bench, psa):
    psa.busy, bench.pause = 20.0, lambda _: bench.stop.set()
    applied = bench.apply(client(planned(None, 5)))
    assert applied.interrupted
    assert (psa.sent, bench.operations()) == ([], [])
