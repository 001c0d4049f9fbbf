"""Many changes: their order, what stops them, and what the journal says at every step."""

import json
import threading
from dataclasses import replace

import pytest

from kisi.errors import ExitCode, ForeignChange, PsaError, StateError
from kisi.model import Failure, Hold, Move, Outcome, Status
from kisi.redaction import REDACTOR
from tests.unit.apply.conftest import client
from tests.unit.build import COMPANY
from tests.unit.fakes import (
    DENIED,
    DONE,
    FOREIGN,
    LOST,
    REFUSED,
    VANISHED,
    Reaction,
    busy,
    planned,
)

OTHER = replace(COMPANY, name="Fabrikam", company="251", agreement="1043")
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
    lines = bench.write(planned(None, 90, "1201"), planned(None, 10, "1202"))
    assert psa.quantities() == {"1201": 90, "1202": 10}
    assert [line.outcome for line in lines] == [Outcome.APPLIED] * 2
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


# --- the order inside a client ------------------------------------------------------------------


def test_orphans_come_first_then_decreases_then_the_rest(bench, psa):
    lines = [
        planned(None, 5, "1201"),
        planned(10, 12, "1202", line_id=psa.put("1202", 10).id),
        planned(10, 8, "1203", line_id=psa.put("1203", 10).id),
        planned(4, 0, "1204", line_id=psa.put("1204", 4).id, orphaned=True),
    ]
    written = bench.write(*lines)
    assert sent(psa) == [("1204", 0), ("1203", 8), ("1201", 5), ("1202", 12)]
    assert [line.product for line in written] == ["1201", "1202", "1203", "1204"]


def test_nothing_is_raised_while_a_decrease_of_its_application_failed(bench, psa):
    fewer = planned(10, 8, "1201", line_id=psa.put("1201", 10).id)
    more = planned(3, 5, "1202", line_id=psa.put("1202", 3).id)
    new = planned(None, 4, "1203")
    psa.reactions.append(REFUSED)
    lines = bench.write(more, new, fewer)
    assert [line.outcome for line in lines] == [Outcome.FAILED] * 3
    assert lines[0].detail == "not sent: all of the same application could not be written"
    assert sent(psa) == [("1201", 8)]
    assert psa.quantities() == {"1201": 10, "1202": 3}
    assert len(bench.operations()) == 1


def test_other_applications_do_not_wait_for_a_failed_decrease(bench, psa):
    fewer = planned(10, 8, "1201", line_id=psa.put("1201", 10).id)
    psa.reactions.append(REFUSED)
    lines = bench.write(fewer, planned(None, 4, "1300", application="EDR"))
    assert [line.outcome for line in lines] == [Outcome.FAILED, Outcome.APPLIED]
    assert psa.quantities() == {"1201": 10, "1300": 4}


def test_moved_devices_are_not_billed_anew_while_their_old_line_could_not_fall(bench, psa):
    fewer = planned(10, 7, "1201", line_id=psa.put("1201", 10).id)
    new = planned(None, 3, "1300", application="EDR")
    other = planned(None, 1, "1400", application="Mail")
    psa.reactions.append(REFUSED)
    moved = replace(client(fewer, new, other), moves=(Move(fewer.application, "EDR", 3),))
    (written,) = bench.apply(moved).plan.companies
    assert [line.outcome for line in written.lines] == [
        *(Outcome.FAILED, Outcome.FAILED),
        Outcome.APPLIED,
    ]
    assert "whose devices it is to bill, could not be written" in written.lines[1].detail
    assert psa.quantities() == {"1201": 10, "1400": 1}


def test_a_decrease_waits_for_nothing(bench, psa):
    lines = [planned(10, 8, name, line_id=psa.put(name, 10).id) for name in ("1201", "1202")]
    psa.reactions.append(REFUSED)
    assert [line.outcome for line in bench.write(*lines)] == [Outcome.FAILED, Outcome.APPLIED]
    assert psa.quantities() == {"1201": 10, "1202": 8}


def test_an_increase_does_not_wait_for_another_increase(bench, psa):
    psa.reactions.append(REFUSED)
    lines = bench.write(planned(None, 90, "1201"), planned(None, 10, "1202"))
    assert [line.outcome for line in lines] == [Outcome.FAILED, Outcome.APPLIED]
    assert psa.quantities() == {"1202": 10}


def test_what_begins_to_bill_waits_for_an_orphan_that_could_not_be_set_to_0(bench, psa):
    orphan = planned(9, 0, "1200", line_id=psa.put("1200", 9).id, orphaned=True)
    more = planned(3, 5, "1202", line_id=psa.put("1202", 3).id, application="EDR")
    psa.reactions.append(REFUSED)
    again = planned(0, 9, "1204", line_id=psa.put("1204", 0).id, application="Renamed")
    lines = bench.write(orphan, planned(None, 9, "1300", application="Mail"), more, again)
    outcomes = [line.outcome for line in lines]
    assert outcomes == [Outcome.FAILED] * 4
    assert "of the earlier mapping could not be set to 0 first" in lines[1].detail
    assert psa.quantities() == {"1200": 9, "1202": 3, "1204": 0}


def test_what_only_grows_goes_on_where_the_orphans_application_has_another_line(bench, psa):
    orphan = planned(9, 0, "1200", line_id=psa.put("1200", 9).id, orphaned=True)
    other = planned(7, 6, "1201", line_id=psa.put("1201", 7).id)
    more = planned(3, 5, "1202", line_id=psa.put("1202", 3).id, application="EDR")
    psa.reactions.append(REFUSED)
    assert [line.outcome for line in bench.write(orphan, other, more)] == [
        Outcome.FAILED,
        Outcome.APPLIED,
        Outcome.APPLIED,
    ]


def test_a_line_given_to_another_application_waits_for_the_one_it_came_from(bench, psa):
    fewer = planned(10, 3, "1200", line_id=psa.put("1200", 10).id, application="B", formerly="A")
    more = planned(3, 10, "1300", line_id=psa.put("1300", 3).id, application="A", formerly="B")
    psa.reactions.append(REFUSED)
    assert [line.outcome for line in bench.write(fewer, more)] == [Outcome.FAILED] * 2
    assert psa.quantities() == {"1200": 10, "1300": 3}


def test_an_unknown_decrease_holds_up_the_increases_too(bench, psa):
    there = psa.put("1201", 10)
    psa.reactions.append(Reaction(LOST.status, before=lambda: psa.put("1201", 9, line_id=there.id)))
    lines = bench.write(planned(10, 8, "1201", line_id=there.id), planned(None, 4, "1202"))
    assert [line.outcome for line in lines] == [Outcome.UNKNOWN, Outcome.FAILED]
    assert psa.quantities() == {"1201": 9}


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
    assert bench.progress == [(1, 2), (2, 2)]


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
    assert "another line of an agreement changed" in second.lines[0].detail
    assert [type(error) for error in applied.foreign_changes] == [ForeignChange]
    assert sent(psa) == [("1200", 5)]
    assert [op.line.product for op in bench.journal.pending()] == ["1200"]


def test_a_foreign_change_found_while_reading_back_stops_that_psa_too(bench, psa):
    psa.unreadable["1042"] = (ForeignChange("charge 7 is gone"), None)
    psa.reactions.append(LOST)
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [outcomes(company)[0][1] for company in applied.plan.companies] == [
        Outcome.UNKNOWN,
        Outcome.FAILED,
    ]
    assert [error.message for error in applied.foreign_changes] == ["charge 7 is gone"]
    assert psa.held("1043") == []


def test_a_psa_never_gets_more_writes_at_once_than_it_can_take(make_bench):
    """Also where the clients are another PSA's, and only their orphans are here."""
    bench = make_bench()
    bench.psas["cw"].workers = 4
    slow = bench.add_psa("tp", workers=1)
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
    psa.reactions.append(Reaction(VANISHED.status, before=bench.stop.set))
    applied = bench.apply(client(planned(None, 5)))
    assert outcomes(applied.plan.companies[0]) == [("1200", Outcome.FAILED)]
    assert (len(psa.sent), bench.clock.slept) == (1, [1, 2, 4])


def test_after_the_end_of_the_run_nothing_is_sent_any_more(bench, psa):
    bench.ends = 5
    psa.reactions.append(VANISHED)
    lines = bench.write(planned(None, 5), planned(None, 6, "1201"))
    assert [line.outcome for line in lines] == [Outcome.FAILED] * 2
    assert lines[1].detail == "not sent: this run's time was up before its turn came"
    assert sent(psa) == [("1200", 5)]
    assert len(bench.operations()) == 1


def test_a_wait_beyond_the_end_of_the_run_is_not_begun(bench, psa):
    bench.ends = 20
    psa.reactions.append(busy(30))
    (line,) = bench.write(planned(None, 5))
    assert (line.outcome, bench.clock.slept, len(psa.sent)) == (Outcome.FAILED, [], 1)


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
    (text,) = bench.emergency
    told = json.loads(text)
    assert (told["product"], told["after"], told["outcome"]) == ("1201", 6, "applied")
    assert told["line_id"] == psa.held()[1].id
    assert told["request_id"] == "request-2"
    first, second = applied.plan.companies
    assert outcomes(first) == [("1200", Outcome.APPLIED), ("1201", Outcome.APPLIED), ("1202", None)]
    assert outcomes(second) == [("1200", None)]
    assert bench.outcomes() == [("1200", Outcome.APPLIED, True), ("1201", None, False)]


def test_an_unknown_outcome_that_cannot_be_stored_is_printed_with_what_was_seen(bench, psa):
    there = psa.put("1200", 10)

    def strike():
        psa.put("1200", 11, line_id=there.id)
        bench.fail_journal()

    psa.reactions.append(Reaction(LOST.status, before=strike))
    bench.apply(client(planned(10, 12, line_id=there.id)))
    told = json.loads(bench.emergency[0])
    assert (told["outcome"], told["quantity"]) == ("unknown", "11")
    assert told["detail"] == "the PSA shows 11 instead of 12; the next run holds it"


def test_waiting_goes_over_the_clock_that_was_given(bench, psa):
    psa.reactions.extend([busy(30), VANISHED])
    (line,) = bench.write(planned(None, 5))
    assert line.outcome is Outcome.APPLIED
    assert bench.clock.slept == [30, 1, 2, 4]


def test_a_psa_that_cannot_be_read_back_does_not_stop_the_others(bench, psa):
    psa.unreadable["1042"] = (PsaError("The lines could not be read."), None)
    psa.reactions.append(LOST)
    applied = bench.apply(client(planned(None, 5)), client(of_other(None, 7), company=OTHER))
    assert [outcomes(company)[0][1] for company in applied.plan.companies] == [
        Outcome.UNKNOWN,
        Outcome.APPLIED,
    ]
    assert psa.quantities("1043") == {"1200": 7}
