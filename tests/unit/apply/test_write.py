"""One change against one PSA: how often it is sent, how it is read back, what it ends as."""

from dataclasses import replace
from decimal import Decimal

import pytest

from kisi.apply.write import LONGEST_WAIT, OtherLines
from kisi.errors import AccessRefused
from kisi.model import Outcome
from tests.unit.apply.conftest import UNREADABLE
from tests.unit.build import COMPANY, REF, TODAY
from tests.unit.fakes import (
    CHANGED,
    DENIED,
    DONE,
    LOST,
    REFUSED,
    SAID_DONE,
    UNREACHED,
    VANISHED,
    Reaction,
    busy,
    planned,
)


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
    assert psa.asked == [{"1200"}, {"1200"}]


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


def test_what_was_not_written_is_sent_once_more(bench, psa, caplog):
    there = psa.put("1200", 10)
    script(bench, VANISHED)
    with caplog.at_level("WARNING", logger="kisi.apply"):
        (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert caplog.messages == ["Contoso, agreement 1042, product 1200: not written, sending again"]
    assert line.outcome is Outcome.APPLIED
    assert len(psa.sent) == 2
    assert psa.quantities() == {"1200": 12}
    assert bench.clock.slept == [1, 2, 4]


def test_it_is_never_sent_a_third_time(bench, psa):
    there = psa.put("1200", 10)
    script(bench, VANISHED, VANISHED)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, line.detail) == (
        Outcome.FAILED,
        "The connection broke. Reading it back showed that it was not written; the next run tries again.",
    )
    assert len(psa.sent) == 2
    assert psa.quantities() == {"1200": 10}
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]


@pytest.mark.parametrize("reaction", [LOST, VANISHED, SAID_DONE])
@pytest.mark.parametrize("late", [14, 60])
def test_a_create_with_an_unclear_answer_that_is_not_shown_is_never_sent_again(
    bench, psa, reaction, late
):
    psa.late = late
    script(bench, reaction)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, line.line_id) == (Outcome.UNKNOWN, None)
    assert line.detail.startswith(f"{reaction.message} The PSA does not show the new line. It is")
    assert (len(psa.sent), len(psa.held())) == (1, int(reaction.lands))
    assert bench.clock.slept == [1, 2, 4]
    (operation,) = bench.journal.pending()
    assert operation.outcome is Outcome.UNKNOWN
    assert operation.request_id == "request-1"


@pytest.mark.parametrize("reaction", [REFUSED, CHANGED, UNREACHED, busy(500)])
def test_a_create_that_certainly_made_nothing_has_failed(bench, psa, reaction):
    script(bench, *[reaction] * 3)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, psa.held()) == (Outcome.FAILED, [])
    assert bench.journal.pending() == ()


def test_an_update_that_is_said_to_be_done_and_not_shown_is_sent_once_more(bench, psa):
    there = psa.put("1200", 10)
    script(bench, SAID_DONE)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, len(psa.sent)) == (Outcome.APPLIED, 2)
    assert psa.quantities() == {"1200": 12}


@pytest.mark.parametrize("reaction", [LOST, Reaction(LOST.status, lands=True)])
def test_a_psa_that_shows_writes_late_never_gets_a_second_create(bench, psa, reaction):
    psa.late = 3
    script(bench, reaction)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert len(psa.sent) == 1
    assert len(psa.held()) == 1
    assert bench.clock.slept == [1, 2]


def test_a_second_send_that_is_lost_too_is_read_back_too(bench, psa):
    there = psa.put("1200", 10)
    psa.late = 3
    script(bench, VANISHED, LOST)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.APPLIED
    assert psa.quantities() == {"1200": 12}


def test_another_value_in_the_psa_is_an_unknown_outcome(bench, psa):
    there = psa.put("1200", 10)
    rounds = Reaction(LOST.status, before=lambda: psa.put("1200", 11, line_id=there.id))
    script(bench, rounds)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, line.detail) == (
        Outcome.UNKNOWN,
        "the PSA shows 11 instead of 12; the next run holds it",
    )
    assert len(psa.sent) == 1
    assert bench.outcomes() == [("1200", Outcome.UNKNOWN, False)]
    assert [op.quantity for op in bench.journal.pending()] == [11]
    assert bench.owned() == {"1200": (there.id, 11)}


def test_a_write_that_cannot_be_read_back_stays_pending(bench, psa):
    script(bench, replace(LOST, before=bench.breaks()))
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.UNKNOWN
    assert "The answer was lost." in line.detail
    assert "The charges could not be read." in line.detail
    assert len(psa.sent) == 1
    assert [op.line.product for op in bench.journal.pending()] == ["1200"]


def test_two_lines_after_a_create_are_an_unknown_outcome(bench, psa):
    script(bench, Reaction(LOST.status, lands=True, before=lambda: psa.put("1200", 5)))
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.UNKNOWN
    assert "several lines of this product: 301, 302" in line.detail
    assert len(psa.sent) == 1


def test_a_stale_write_that_turns_out_equal_is_applied(bench, psa):
    there = psa.put("1200", 10)
    somebody = Reaction(CHANGED.status, before=lambda: psa.put("1200", 12, line_id=there.id))
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
    assert "the next run tries again" in line.detail
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

    script(bench, Reaction(CHANGED.status, message=CHANGED.message, before=meanwhile))
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.FAILED
    assert ("shows 7" if shown else "is gone") in line.detail
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]
    assert bench.journal.pending() == ()


def test_a_stale_write_that_cannot_be_read_back_is_still_refused(bench, psa):
    script(bench, replace(CHANGED, before=bench.breaks()))
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.FAILED
    assert bench.journal.pending() == ()


def test_a_stale_answer_to_the_second_send_leaves_the_first_unknown(bench, psa):
    there = psa.put("1200", 10)
    somebody = Reaction(CHANGED.status, before=lambda: psa.put("1200", 11, line_id=there.id))
    script(bench, VANISHED, somebody)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert len(bench.journal.pending()) == 1


@pytest.mark.parametrize("after", [0, 12])
def test_a_line_whose_quantity_cannot_be_read_back_proves_nothing(bench, psa, after):
    there = psa.put("1200", 10)
    spoils = Reaction(
        LOST.status,
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
    script(bench, Reaction(VANISHED.status, before=lambda: psa.remove(there)))
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.FAILED
    assert "is gone" in line.detail
    assert psa.held() == []


@pytest.mark.parametrize("answer", [VANISHED, DONE])
def test_a_line_that_is_gone_bills_0_and_is_proven_so(bench, psa, answer):
    there = psa.put("1200", 10)
    psa.reactions.append(replace(answer, lands=False, before=lambda: psa.remove(there)))
    (line,) = bench.write(planned(10, 0, line_id=there.id))
    assert (line.outcome, line.line_id) == (Outcome.APPLIED, there.id)
    (operation,) = bench.operations()
    assert (operation.outcome, operation.quantity) == (Outcome.APPLIED, 0)
    assert len(psa.looks) == 1


def test_a_cancelled_line_of_the_product_is_not_taken_for_the_new_one(bench, psa):
    from datetime import date

    psa.put("1200", 90, cancelled=date(2026, 11, 1))
    script(bench, VANISHED)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, len(psa.sent)) == (Outcome.UNKNOWN, 1)


def test_refused_credentials_are_told(bench, psa):
    script(bench, DENIED, DONE)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, line.detail) == (Outcome.FAILED, "401: refused keys.")


# --- a create is looked for before it is sent again -----------------------------------------------


def while_waiting(bench, what, wait=1):
    """Somebody does something in one of the waits before a request is sent again."""
    waits = []

    def pause(seconds):
        waits.append(seconds)
        if len(waits) == wait:
            what()

    bench.pause = pause
    return waits


@pytest.mark.parametrize("in_unfiltered_list", [True, False])
@pytest.mark.parametrize("wait", [1, 2])
@pytest.mark.parametrize("reaction", [UNREACHED, busy(5)], ids=["unreached", "busy"])
def test_a_line_that_somebody_makes_while_it_is_waited_stays_the_only_one(
    bench, psa, reaction, wait, in_unfiltered_list
):
    def makes():
        there = psa.put("1200", 4)
        if not in_unfiltered_list:
            psa.hidden.add(there.id)

    while_waiting(bench, makes, wait)
    script(bench, *[reaction] * wait)
    (line,) = bench.write(planned(None, 90))
    assert (psa.quantities(), len(psa.sent)) == ({"1200": 4}, wait)
    assert (line.outcome, line.detail) == (
        Outcome.FAILED,
        "the PSA shows 4 instead of 90; the next run holds it",
    )
    assert bench.journal.pending() == ()


@pytest.mark.parametrize("reaction", [UNREACHED, busy(5)], ids=["unreached", "busy"])
def test_a_refused_create_that_arrived_all_the_same_is_taken_over(bench, psa, reaction):
    script(bench, replace(reaction, lands=True))
    (line,) = bench.write(planned(None, 90))
    assert (psa.quantities(), len(psa.sent)) == ({"1200": 90}, 1)
    assert (line.outcome, line.line_id) == (Outcome.APPLIED, psa.held()[0].id)
    assert bench.owned() == {"1200": (line.line_id, 90)}


def test_a_cancelled_line_is_in_no_way_of_a_create_that_is_sent_again(bench, psa):
    psa.put("1200", 4, cancelled=TODAY)
    script(bench, UNREACHED)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, len(psa.sent)) == (Outcome.APPLIED, 2)
    assert [one.quantity for one in psa.held()] == [4, 90]


def test_an_update_is_sent_again_without_another_look(bench, psa):
    there = psa.put("1200", 10)
    script(bench, UNREACHED, UNREACHED)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, len(psa.sent), len(psa.looks)) == (Outcome.APPLIED, 3, 1)


def test_a_look_that_fails_before_a_create_is_sent_again_sends_nothing(bench, psa):
    waits = while_waiting(bench, bench.breaks())
    script(bench, UNREACHED)
    (line,) = bench.write(planned(None, 90))
    assert (len(psa.sent), waits, psa.held()) == (1, [1, 2], [])
    assert (line.outcome, line.detail) == (
        Outcome.FAILED,
        "The charges could not be read. Nothing was sent.",
    )
    assert bench.outcomes() == [("1200", Outcome.FAILED, True)]


def test_a_look_that_fails_once_before_a_create_is_sent_again_is_taken_again(bench, psa):
    while_waiting(bench, lambda: psa.unreadable.update({"1042": (UNREADABLE, 1)}))
    script(bench, UNREACHED)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, len(psa.sent)) == (Outcome.APPLIED, 2)
    assert psa.quantities() == {"1200": 90}


def test_why_a_create_is_not_sent_again_is_said_where_reading_back_fails_too(bench, psa):
    lines = psa.lines

    def look(ref, products=None):
        shown = lines(ref, products)
        if shown:
            bench.breaks()()
        return shown

    psa.lines = look
    while_waiting(bench, lambda: psa.put("1200", 4))
    script(bench, UNREACHED)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, len(psa.sent)) == (Outcome.FAILED, 1)
    assert line.detail == (
        "Nothing was sent: a line of this product appeared meanwhile (301); the next run plans "
        "with it. If it does not, the PSA's list of the agreement lacks that line: cancel it there, "
        "and kisi makes its own. Reading back failed too: The charges could not be read."
    )


# --- what is kept of a write ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reactions", "outcome"),
    [
        ([REFUSED], Outcome.FAILED),
        ([LOST], Outcome.APPLIED),
        ([VANISHED, VANISHED], Outcome.FAILED),
        ([CHANGED], Outcome.FAILED),
    ],
)
def test_the_psas_own_id_of_the_last_request_is_kept(bench, psa, reactions, outcome):
    script(bench, *reactions)
    there = psa.put("1200", 10)
    bench.write(planned(10, 90, line_id=there.id))
    (operation,) = bench.operations()
    assert operation.outcome is outcome
    assert operation.request_id == f"request-{len(reactions)}"


def test_what_the_psa_said_is_kept(bench, psa):
    script(bench, REFUSED, Reaction(DONE.status, lands=True, message="From 1 December on."))
    refused, done = bench.write(planned(None, 90), planned(None, 5, "1300", application="EDR"))
    assert [line.detail for line in (refused, done)] == [
        "The item is not active.",
        "From 1 December on.",
    ]
    kept = {operation.line.product: operation.detail for operation in bench.operations()}
    assert kept == {"1200": refused.detail, "1300": done.detail}


@pytest.mark.parametrize("before", [[], [UNREACHED], [UNREACHED, UNREACHED]])
def test_every_try_is_of_today(bench, psa, before):
    script(bench, *before)
    bench.write(planned(None, 90))
    assert [line.starts for line in psa.held()] == [TODAY]


def test_it_is_read_back_where_it_was_written(bench, psa):
    asked = []
    lines = psa.lines
    psa.lines = lambda ref, products=None: asked.append((ref, products)) or lines(ref, products)
    script(bench, LOST)
    bench.write(planned(None, 90))
    assert asked == [(REF, {"1200"}), (REF, {"1200"})]


def test_a_line_that_cannot_be_read_back_is_named(bench, psa):
    there = psa.put("1200", 10)
    spoil = Reaction(
        LOST.status,
        before=lambda: psa.put("1200", 0, line_id=there.id, problem="quantity is missing"),
    )
    script(bench, spoil)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, line.line_id) == (Outcome.UNKNOWN, there.id)
    assert line.detail == "the PSA shows a line that cannot be read: quantity is missing"


def test_a_new_line_that_cannot_be_read_back_is_named(bench, psa):
    spoil = Reaction(LOST.status, before=lambda: psa.put("1200", 0, problem="quantity is missing"))
    script(bench, spoil)
    (line,) = bench.write(planned(None, 12))
    assert (line.outcome, line.line_id) == (Outcome.UNKNOWN, psa.held()[0].id)


def test_the_id_is_kept_where_reading_back_fails_too(bench, psa):
    script(bench, replace(LOST, before=bench.breaks()))
    (line,) = bench.write(planned(None, 90))
    (operation,) = bench.operations()
    assert (operation.outcome, operation.request_id) == (Outcome.UNKNOWN, "request-1")
    assert line.detail == (
        "The answer was lost. Reading back failed too: The charges could not be read."
    )


def test_what_was_proven_is_kept_with_its_quantity_and_line_and_run(bench, psa):
    bench.write(planned(None, 90))
    (created,) = bench.operations()
    assert (created.quantity, created.detail) == (90, "")
    assert bench.proven_in() == [bench.run]
    script(bench, LOST)
    bench.write(planned(90, 91, line_id=psa.held()[0].id))
    assert bench.operations()[-1].quantity == 91


def test_a_line_that_shows_something_else_is_named(bench, psa):
    there = psa.put("1200", 10)
    script(bench, Reaction(LOST.status, before=lambda: psa.put("1200", 11, line_id=there.id)))
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    (operation,) = bench.operations()
    assert (operation.outcome, operation.quantity) == (Outcome.UNKNOWN, 11)
    assert line.line_id == there.id


def test_a_created_line_that_shows_something_else_is_named(bench, psa):
    script(bench, Reaction(LOST.status, before=lambda: psa.put("1200", 7)))
    (line,) = bench.write(planned(None, 12))
    assert (line.outcome, line.line_id) == (Outcome.UNKNOWN, psa.held()[0].id)


def test_the_log_has_one_line_a_write(bench, psa, caplog):
    there = psa.put("1200", 10)
    script(bench, DONE, REFUSED)
    with caplog.at_level("INFO", logger="kisi.apply.phases"):
        bench.write(planned(10, 12, line_id=there.id), planned(None, 5, "1300", application="EDR"))
    told = {record.getMessage() for record in caplog.records if record.name == "kisi.apply.phases"}
    assert told == {
        "Contoso, agreement 1042, product 1200: 10 -> 12 applied (request request-1)",
        (
            "Contoso, agreement 1042, product 1300: new -> 5 failed (request request-2): "
            "The item is not active."
        ),
    }


# --- what the list says after a clear answer -------------------------------------------------------


def test_an_answer_counts_once_the_list_shows_it(bench, psa):
    there = psa.put("1200", 90)
    psa.late = 5
    (line,) = bench.write(planned(90, 92, line_id=there.id))
    assert (line.outcome, bench.clock.slept) == (Outcome.APPLIED, [1, 2, 4])
    assert bench.outcomes() == [("1200", Outcome.APPLIED, True)]


@pytest.mark.parametrize("first", [True, False], ids=["create", "update"])
def test_an_answer_that_the_list_does_not_show_is_not_proven(bench, psa, first):
    there = None if first else psa.put("1200", 90)
    psa.late = 8
    line = planned(None, 92) if first else planned(90, 92, line_id=there.id)
    (line,) = bench.write(line)
    assert (line.outcome, line.line_id) == (Outcome.UNKNOWN, "301")
    assert line.detail == (
        "The PSA answered with the new quantity, but its list has not yet shown it; "
        "the next run looks again."
    )
    assert (len(psa.sent), bench.clock.slept) == (1, [1, 2, 4])
    (pending,) = bench.journal.pending()
    assert (pending.outcome, pending.quantity) == (Outcome.UNKNOWN, None)
    assert pending.request_id == "request-1"
    assert bench.owned() == {}


def test_no_outcome_is_stored_before_the_list_has_shown_it(bench, psa):
    stored = []
    lines = psa.lines

    def look(ref, products=None):
        stored.append(bench.outcomes())
        return lines(ref, products)

    psa.lines = look
    bench.write(planned(None, 90), planned(None, 5, "1201"))
    before = [("1200", None, False), ("1201", None, False)]
    assert stored == [[], before]
    assert [outcome for _, outcome, _ in bench.outcomes()] == [Outcome.APPLIED] * 2


def test_a_list_that_cannot_be_read_proves_nothing(bench, psa):
    there = psa.put("1200", 90)
    script(bench, replace(DONE, before=bench.breaks()))
    (line,) = bench.write(planned(90, 92, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert line.detail == (
        "The PSA answered with the new quantity, but its list has not yet shown it: "
        "it could not be read. The charges could not be read."
    )
    assert bench.outcomes() == [("1200", Outcome.UNKNOWN, False)]


def test_what_was_shown_before_reading_failed_is_proven(bench, psa):
    first, second = psa.put("1200", 90), psa.put("1201", 90)
    lines, looks = psa.lines, []

    def look(ref, products=None):
        looks.append(ref)
        if len(looks) > 1:
            raise UNREADABLE
        return [line for line in lines(ref) if line.id == first.id] + [second]

    psa.lines = look
    shown, other = bench.write(
        planned(90, 92, line_id=first.id), planned(90, 92, "1201", line_id=second.id)
    )
    assert (shown.outcome, other.outcome) == (Outcome.APPLIED, Outcome.UNKNOWN)


def test_a_foreign_change_that_the_list_shows_leaves_the_write_pending(bench, psa):
    psa.if_others_change = "Restore it."
    there, backup = psa.put("1200", 90), psa.put("BACKUP", 3)
    script(bench, replace(LOST, before=lambda: psa.remove(backup)))
    (line,) = bench.write(planned(90, 92, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert "(BACKUP) with quantity 3 is gone" in line.detail
    assert [op.outcome for op in bench.journal.pending()] == [Outcome.UNKNOWN]


def test_where_other_lines_are_looked_at_a_change_takes_two_looks(bench, psa):
    psa.if_others_change = "Restore it."
    there = psa.put("1200", 90)
    script(bench, LOST)
    (line,) = bench.write(planned(90, 92, line_id=there.id))
    assert (line.outcome, psa.asked) == (Outcome.APPLIED, [None, None])
    assert bench.journal.unproven() == ()


def test_where_other_lines_are_looked_at_what_the_list_shows_wins_over_a_refusal(bench, psa):
    psa.if_others_change = "Restore it."
    script(bench, replace(REFUSED, lands=True))
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, psa.asked) == (Outcome.APPLIED, [{"1200"}, {"1200"}])


def looked_at(psa):
    psa.if_others_change = "Restore it."
    return psa


def unproven(bench, psa, *lines):
    """An earlier run's write to a PSA: nobody has seen yet what else it did."""
    run = bench.begin()
    for line in lines:
        operation = bench.journal.intent(run, bench.clock.now(), line, COMPANY)
        bench.journal.keep_lines(operation, psa.held(line.agreement))
    return operation


def products_unproven(bench):
    return [operation.line.product for operation in bench.journal.unproven()]


@pytest.mark.parametrize(
    ("before", "shows"),
    [(10, "the PSA shows 11 instead of 12"), (None, "the PSA shows 11 instead")],
)
def test_where_other_lines_are_looked_at_a_changed_line_is_not_written(bench, psa, before, shows):
    looked_at(psa)
    there = psa.put("1200", 11)
    (line,) = bench.write(planned(before, 12, line_id=there.id if before else None))
    assert (line.outcome, psa.sent) == (Outcome.FAILED, [])
    assert line.detail.startswith(shows)
    assert psa.quantities() == {"1200": 11}
    assert bench.journal.unproven() == ()


def test_where_other_lines_are_looked_at_a_cancelled_line_is_in_no_way(bench, psa):
    looked_at(psa).put("1200", 4, cancelled=TODAY)
    script(bench, LOST)
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, len(psa.sent)) == (Outcome.APPLIED, 1)
    assert [one.quantity for one in psa.held()] == [4, 90]


def test_where_other_lines_are_looked_at_nothing_is_compared_for_what_never_left(bench, psa):
    backup = looked_at(psa).put("BACKUP", 3)
    there = psa.put("1200", 10)
    edit = replace(UNREACHED, before=lambda: psa.put("BACKUP", 4, line_id=backup.id))
    script(bench, edit, UNREACHED, UNREACHED)
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert (line.outcome, line.detail) == (Outcome.FAILED, "Connection refused.")
    assert len(psa.sent) == 3
    assert (bench.journal.unproven(), bench.journal.foreign_changes()) == ((), ())


@pytest.mark.parametrize("times", [0, 1, 2])
def test_where_other_lines_are_looked_at_every_try_is_compared(bench, psa, times):
    backup = looked_at(psa).put("BACKUP", 3)
    there = psa.put("1200", 10)
    script(bench, *[UNREACHED] * times, replace(LOST, before=lambda: psa.remove(backup)))
    (line,) = bench.write(planned(10, 12, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert "(BACKUP) with quantity 3 is gone" in line.detail
    assert len(bench.journal.foreign_changes()) == 1


def test_where_other_lines_are_looked_at_refused_keys_are_told_whatever_the_list_shows(bench, psa):
    looked_at(psa).agreement("250", "1043")
    script(bench, replace(DENIED, lands=True))
    first, second = bench.write(planned(None, 90), planned(None, 5, "1300", agreement="1043"))
    assert first.outcome is Outcome.APPLIED
    assert (second.outcome, second.detail) == (
        Outcome.FAILED,
        "not sent: the PSA refused our credentials",
    )
    assert psa.held("1043") == []


def test_nothing_is_sent_while_it_is_not_known_what_an_earlier_write_did(bench, psa):
    looked_at(psa).agreement("250", "1043")
    unproven(bench, psa, planned(None, 5, "1300", agreement="1043"))
    bench.breaks("1043")()
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, psa.sent) == (Outcome.FAILED, [])
    assert line.detail == (
        "The charges could not be read. So what an earlier write to agreement 1043 did is not "
        "known. If it cannot be read any more: `kisi check` shows its lines from before, "
        "`kisi check --repair` goes on. Nothing was sent."
    )
    assert products_unproven(bench) == ["1300"]


def test_an_earlier_write_that_cannot_be_compared_keeps_the_kind_of_error_and_its_remedy(
    bench, psa
):
    looked_at(psa).agreement("250", "1043")
    unproven(bench, psa, planned(None, 5, "1300", agreement="1043"))
    bench.breaks("1043", AccessRefused("401: refused keys.", remedy="Set the keys."))()
    operation = bench.journal.intent(bench.run, bench.clock.now(), planned(None, 90), COMPANY)
    others = OtherLines(psa, bench.journal, bench.clock.now)
    with pytest.raises(AccessRefused, match=r"401: refused keys\. So what an") as error:
        others.before(operation, TODAY)
    assert error.value.remedy == "Set the keys."


def test_earlier_writes_are_compared_with_the_lines_of_their_own_agreement(bench, psa):
    looked_at(psa).agreement("250", "1043")
    psa.put("BACKUP", 3)
    psa.put("BACKUP", 7, "1043")
    unproven(bench, psa, planned(None, 4, "1250"), planned(None, 5, "1300", agreement="1043"))
    script(bench, LOST)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert (bench.journal.unproven(), bench.journal.foreign_changes()) == ((), ())


def test_an_earlier_write_to_another_psa_is_left_to_that_psa(bench, psa):
    looked_at(psa)
    tp = looked_at(bench.add_psa("tp"))
    tp.agreement("500", "7001")
    theirs = planned(None, 5, "1300", psa="tp", company="500", agreement="7001")
    unproven(bench, tp, theirs)
    script(bench, LOST)
    (line,) = bench.write(planned(None, 90))
    assert line.outcome is Outcome.APPLIED
    assert (set(psa.looks), tp.looks) == ({"1042"}, [])
    assert products_unproven(bench) == ["1300"]


@pytest.mark.parametrize("shows", [91, None])
def test_a_list_that_contradicts_the_answer_decides(bench, psa, shows):
    there = psa.put("1200", 90)
    lines = psa.lines

    def look(ref, products=None):
        if shows is None:
            psa.remove(there)
            return ()
        return [replace(line, quantity=Decimal(shows)) for line in lines(ref)]

    psa.lines = look
    (line,) = bench.write(planned(90, 92, line_id=there.id))
    assert line.outcome is Outcome.UNKNOWN
    assert ("shows 91 instead of 92" if shows else "is gone") in line.detail
    assert bench.clock.slept == []
    assert len(bench.journal.pending()) == 1


def test_another_line_of_the_product_is_not_taken_for_the_new_one(bench, psa):
    psa.late = 60
    script(bench, replace(DONE, before=lambda: psa.put("1200", 90)))
    (line,) = bench.write(planned(None, 90))
    assert (line.outcome, line.line_id) == (Outcome.UNKNOWN, "302")
    assert "not yet shown" in line.detail


def test_a_read_back_line_is_proven_without_another_look(bench, psa):
    there = psa.put("1200", 90)
    script(bench, LOST)
    bench.write(planned(90, 92, line_id=there.id))
    assert len(psa.looks) == 1
