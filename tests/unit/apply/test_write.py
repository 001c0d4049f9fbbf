"""One change against one PSA: how often it is sent, how it is read back, what it ends as."""

import pytest

from kisi.apply.write import LONGEST_WAIT
from kisi.errors import PsaError
from kisi.model import Outcome
from tests.unit.fakes import (
    CHANGED,
    DENIED,
    DONE,
    LOST,
    REFUSED,
    UNREACHED,
    VANISHED,
    Reaction,
    busy,
    planned,
)

UNREADABLE = PsaError("The charges could not be read.")


@pytest.fixture
def psa(bench):
    return bench.psa


def script(bench, *reactions):
    bench.psa.reactions.extend(reactions)


def test_a_create_is_sent_once_and_the_journal_owns_the_new_line(bench, psa):
    (line,) = bench.write(planned(None, 90))
    assert psa.quantities() == {"1200": 90}
    assert (line.outcome, line.line_id) == (Outcome.APPLIED, psa.held()[0].id)
    assert bench.outcomes() == [("1200", Outcome.APPLIED, True)]
    assert bench.owned() == {"1200": (line.line_id, 90)}
    assert bench.operations()[0].request_id == "request-1"
    assert psa.looks == []


def test_an_update_sets_the_absolute_quantity_of_its_line(bench, psa):
    there = psa.put("1200", 10)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert psa.quantities() == {"1200": 12}
    assert line.outcome is Outcome.APPLIED
    assert bench.owned() == {"1200": (there.id, 12)}


@pytest.mark.parametrize(
    ("times", "outcome", "waits"),
    [(1, Outcome.APPLIED, [1]), (2, Outcome.APPLIED, [1, 2]), (9, Outcome.FAILED, [1, 2])],
)
def test_a_request_that_did_not_arrive_is_sent_three_times_at_most(
    bench, psa, times, outcome, waits
):
    script(bench, *[UNREACHED] * times)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is outcome
    assert len(psa.sent) == min(times + 1, 3)
    assert bench.clock.slept == waits
    assert len(psa.held()) == (outcome is Outcome.APPLIED)
    assert bench.outcomes() == [("1200", outcome, True)]


def test_a_throttled_request_waits_as_long_as_the_psa_asks(bench, psa):
    script(bench, busy(17), busy(90))
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert bench.clock.slept == [17, 90]
    assert psa.quantities() == {"1200": 90}


def test_an_unreasonable_wait_is_not_waited_for(bench, psa):
    script(bench, busy(LONGEST_WAIT + 1))
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, line.detail) == (Outcome.FAILED, "429: slow down.")
    assert bench.clock.slept == []
    assert len(psa.sent) == 1


def test_a_refusal_is_final(bench, psa):
    script(bench, REFUSED)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, line.detail) == (Outcome.FAILED, "The item is not active.")
    assert len(psa.sent) == 1
    assert psa.held() == []
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]
    assert bench.owned() == {}


def test_a_lost_answer_of_a_create_is_read_back_and_never_sent_again(bench, psa):
    script(bench, LOST)
    (line,) = bench.write(planned(None, 90))
    assert psa.quantities() == {"1200": 90}
    assert len(psa.sent) == 1
    assert (line.outcome, line.line_id) == (Outcome.APPLIED, psa.held()[0].id)
    assert bench.owned() == {"1200": (line.line_id, 90)}


def test_a_lost_answer_of_an_update_is_read_back(bench, psa):
    there = psa.put("1200", 10)
    script(bench, LOST)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, len(psa.sent)) == (Outcome.APPLIED, 1)
    assert bench.owned() == {"1200": (there.id, 12)}
    assert bench.operations()[0].request_id == "request-1"


def test_what_was_not_written_is_sent_once_more(bench, psa):
    script(bench, VANISHED)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert len(psa.sent) == 2
    assert psa.quantities() == {"1200": 90}
    assert bench.clock.slept == [1, 2, 4]


def test_it_is_never_sent_a_third_time(bench, psa):
    there = psa.put("1200", 10)
    script(bench, VANISHED, VANISHED)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, line.detail) == (
        Outcome.FAILED,
        "The connection broke. Read back, it was not written; the next run tries it again.",
    )
    assert len(psa.sent) == 2
    assert psa.quantities() == {"1200": 10}
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]


@pytest.mark.parametrize("reaction", [LOST, Reaction(LOST.verdict, lands=True)])
def test_a_psa_that_shows_writes_late_never_gets_a_second_create(bench, psa, reaction):
    psa.late = 3
    script(bench, reaction)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert len(psa.sent) == 1
    assert len(psa.held()) == 1
    assert bench.clock.slept == [1, 2]


def test_a_second_send_that_is_lost_too_is_read_back_too(bench, psa):
    psa.late = 3
    script(bench, VANISHED, LOST)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert len(psa.held()) == 1


def test_another_value_in_the_psa_is_an_unknown_outcome(bench, psa):
    there = psa.put("1200", 10)
    rounds = Reaction(LOST.verdict, before=lambda: psa.put("1200", 11, line_id=there.id))
    script(bench, rounds)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, line.detail) == (
        Outcome.UNKNOWN,
        "the PSA shows 11 instead of 12; the next run holds it",
    )
    assert len(psa.sent) == 1
    assert bench.outcomes() == [("1200", Outcome.UNKNOWN, False)]
    assert [op.quantity for op in bench.journal.pending()] == [11]
    assert bench.owned() == {}


def test_a_write_that_cannot_be_read_back_stays_pending(bench, psa):
    psa.unreadable["1042"] = (UNREADABLE, None)
    script(bench, LOST)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.UNKNOWN
    assert "The answer was lost." in line.detail
    assert "The charges could not be read." in line.detail
    assert len(psa.sent) == 1
    assert [op.line.product for op in bench.journal.pending()] == ["1200"]


def test_two_lines_after_a_create_are_an_unknown_outcome(bench, psa):
    script(bench, Reaction(LOST.verdict, lands=True, before=lambda: psa.put("1200", 5)))
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.UNKNOWN
    assert "several lines of it: 301, 302" in line.detail
    assert len(psa.sent) == 1


def test_a_stale_write_that_turns_out_equal_is_applied(bench, psa):
    there = psa.put("1200", 10)
    somebody = Reaction(CHANGED.verdict, before=lambda: psa.put("1200", 12, line_id=there.id))
    script(bench, somebody)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.APPLIED
    assert bench.owned() == {"1200": (there.id, 12)}


def test_a_stale_write_is_refused_and_not_sent_again(bench, psa):
    there = psa.put("1200", 10)
    script(bench, CHANGED)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.FAILED
    assert line.detail.startswith(CHANGED.message)
    assert "the next run tries it again" in line.detail
    assert (len(psa.sent), len(psa.looks)) == (1, 1)
    assert psa.quantities() == {"1200": 10}
    assert bench.clock.slept == []


@pytest.mark.parametrize("shown", [7, None])
def test_a_stale_write_did_nothing_so_its_outcome_is_known(bench, psa, shown):
    there = psa.put("1200", 10)

    def meanwhile():
        if shown is None:
            psa.remove(there)
        else:
            psa.put("1200", shown, line_id=there.id)

    script(bench, Reaction(CHANGED.verdict, message=CHANGED.message, before=meanwhile))
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.FAILED
    assert ("shows 7" if shown else "is gone") in line.detail
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]
    assert bench.journal.pending() == ()


def test_a_stale_write_that_cannot_be_read_back_is_still_refused(bench, psa):
    psa.unreadable["1042"] = (UNREADABLE, None)
    script(bench, CHANGED)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.FAILED
    assert bench.journal.pending() == ()


def test_a_stale_answer_to_the_second_send_leaves_the_first_unknown(bench, psa):
    there = psa.put("1200", 10)
    somebody = Reaction(CHANGED.verdict, before=lambda: psa.put("1200", 11, line_id=there.id))
    script(bench, VANISHED, somebody)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert len(bench.journal.pending()) == 1


@pytest.mark.parametrize("after", [0, 12])
def test_a_line_whose_quantity_cannot_be_read_back_proves_nothing(bench, psa, after):
    there = psa.put("1200", 10)
    spoils = Reaction(
        LOST.verdict,
        before=lambda: psa.put("1200", 0, line_id=there.id, problem="quantity is missing"),
    )
    script(bench, spoils)
    (line,) = bench.write(planned(10, after, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert line.detail == "the PSA shows a line that cannot be read: quantity is missing"
    assert len(psa.sent) == 1
    assert len(bench.journal.pending()) == 1


def test_a_line_that_is_gone_is_not_written(bench, psa):
    there = psa.put("1200", 10)
    script(bench, Reaction(VANISHED.verdict, before=lambda: psa.remove(there)))
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.FAILED
    assert "is gone" in line.detail
    assert psa.held() == []


def test_a_cancelled_line_of_the_product_is_not_taken_for_the_new_one(bench, psa):
    from datetime import date

    psa.put("1200", 90, cancelled=date(2026, 11, 1))
    script(bench, VANISHED)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert len(psa.sent) == 2
    assert sorted(item.cancelled is None for item in psa.held()) == [False, True]


def test_refused_credentials_are_told(bench, psa):
    script(bench, DENIED, DONE)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, line.detail) == (Outcome.FAILED, "401: wrong keys.")
