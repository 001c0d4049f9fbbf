from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from kisi.journal import ConfirmedLine, Journal
from kisi.model import Category, LineSlot, Outcome, OwnedLine, Proof, TenantRef
from tests.unit.journal.builders import (
    begin,
    company,
    confirmed,
    create,
    day,
    end,
    held,
    line,
    outcome,
)


def the_fact(journal: Journal, number: int = 1) -> OwnedLine:
    (fact,) = journal.facts(day(number), 30)
    return fact


def test_a_confirmed_line_is_owned_with_all_that_is_known_of_it(journal: Journal) -> None:
    journal.confirm(begin(journal), day(1), [confirmed("90.00")])

    assert the_fact(journal) == OwnedLine(
        psa="cw",
        company="201",
        agreement="1001",
        line_id="7",
        product="1201",
        application="KES Advanced",
        categories=(Category.WINDOWS_WORKSTATIONS,),
        name="Client 1",
        tenants=company().tenants,
        confirmed=Decimal(90),
        highest=Decimal(90),
        lowest=Decimal(90),
        proven=1,
    )


def test_a_line_is_proven_by_the_last_run_that_saw_it_hold_its_quantity(journal: Journal) -> None:
    for number, quantity in ((1, 90), (2, 90), (3, 95), (4, 90)):
        journal.confirm(begin(journal, number), day(number), [confirmed(quantity)])
        assert the_fact(journal, number).proven == number
    begin(journal, 5)
    assert the_fact(journal, 5).proven == 4


def test_a_line_that_is_not_settled_may_stand_for_what_it_billed_before(journal: Journal) -> None:
    """Its number is proven, also in the baseline; whose devices they are is not."""
    journal.confirm(begin(journal, 1), day(1), [confirmed(90)])
    before = the_fact(journal, 1).proofs
    moved, last = company(tenants=(TenantRef("hq", "another"),)), company(tenants=())
    for number, client in ((2, moved), (3, moved), (4, last), (5, moved)):
        unsettled = replace(confirmed(80, client, application="EDR"), settled=False)
        journal.confirm(begin(journal, number), day(number), [unsettled])
        fact = the_fact(journal, number)
        now = Proof(number, "EDR", fact.categories, client.tenants)
        assert (fact.confirmed, fact.highest, fact.proofs[-1]) == (80, 90, now)
    other = Proof(4, "EDR", fact.categories, ())
    assert fact.proofs == (*before, other, now)
    assert (fact.tenants, fact.application, fact.proven) == (moved.tenants, "EDR", 5)

    journal.confirm(begin(journal, 6), day(6), [confirmed(80, last, application="EDR")])
    assert the_fact(journal, 6).proofs == (Proof(6, "EDR", fact.categories, ()),)


def test_a_line_whose_rise_was_not_written_can_stand_for_other_devices(journal: Journal) -> None:
    journal.confirm(begin(journal, 1), day(1), [confirmed(90)])
    moved = company(tenants=(TenantRef("hq", "another"),))
    told = confirmed(120, moved, application="EDR")
    journal.restate(
        begin(journal, 2), [told, replace(told, line=replace(told.line, line_id="nobody's"))]
    )
    (fact,) = journal.facts(day(2), 30)
    assert (fact.tenants, fact.application, fact.proven) == (moved.tenants, "EDR", 2)
    assert (fact.confirmed, fact.highest) == (90, 90)
    journal.disown([fact])
    journal.restate(begin(journal, 3), [confirmed(1)])
    assert journal.facts(day(3), 30) == ()


def test_a_new_line_bills_what_it_is_told_settled_or_not(journal: Journal) -> None:
    for number in (1, 2):
        journal.confirm(begin(journal, number), day(number), [replace(confirmed(5), settled=False)])
        assert (the_fact(journal, number).tenants, the_fact(journal, number).proven) == (
            company().tenants,
            number,
        )
        journal.disown([the_fact(journal, number)])


def test_a_planned_line_that_was_read_and_equal_confirms_what_it_should_be() -> None:
    assert ConfirmedLine.of(line(after=12), company()).quantity == 12
    with pytest.raises(ValueError, match="without an id"):
        ConfirmedLine.of(create(), company())


def test_the_baseline_is_over_what_was_confirmed_in_its_days(journal: Journal) -> None:
    for number, quantity in ((1, 200), (2, 100), (10, 51), (40, 60)):
        journal.confirm(begin(journal, number), day(number), [confirmed(quantity)])

    fact = the_fact(journal, 40)
    assert (fact.lowest, fact.confirmed, fact.highest) == (51, 60, 60)
    fact = the_fact(journal, 32)
    assert (fact.lowest, fact.confirmed, fact.highest) == (51, 60, 100)


def test_an_unchanged_quantity_stays_in_the_baseline_as_long_as_it_is_confirmed(
    journal: Journal,
) -> None:
    for number in range(1, 45):
        journal.confirm(begin(journal, number), day(number), [confirmed(100)])
    journal.confirm(begin(journal, 45), day(45), [confirmed(51)])

    assert the_fact(journal, 70).highest == 100
    (history,) = journal.line_history("Client 1")
    assert [(one.quantity, one.first_run, one.last_run) for one in history.quantities] == [
        (100, 1, 44),
        (51, 45, 45),
    ]


def test_a_clock_that_jumps_back_loses_no_baseline(journal: Journal) -> None:
    journal.confirm(begin(journal, 3), day(3), [confirmed(100)])
    journal.confirm(begin(journal, 1), day(1), [confirmed(51)])

    fact = the_fact(journal, 1)
    assert (fact.confirmed, fact.highest) == (51, 100)


def accepted(journal: Journal, number: int, after: int) -> None:
    """A run writes what a guard held and a person accepted."""
    run = begin(journal, number)
    change = held(before=Decimal(100), after=after)
    journal.accept("77b0e1c2", run, day(number), "anna", {"a key": company()})
    journal.confirm(run, day(number), [confirmed(after)])
    journal.use_accepted([change], [(company(), ())])


def test_a_written_accept_starts_the_baseline_anew_and_counts(journal: Journal) -> None:
    journal.confirm(begin(journal, 1), day(1), [confirmed(100)])
    accepted(journal, 2, after=51)

    fact = the_fact(journal, 2)
    assert (fact.lowest, fact.highest) == (51, 51)
    assert journal.accept_counts() == {LineSlot("cw", "1001", "1201"): 1}
    journal.confirm(begin(journal, 3), day(3), [confirmed(40)])
    assert (the_fact(journal, 3).lowest, the_fact(journal, 3).highest) == (40, 51)


def test_what_is_accepted_and_still_waits_keeps_its_baseline(journal: Journal) -> None:
    run = begin(journal, 1)
    journal.confirm(run, day(1), [confirmed(120)])
    journal.confirm(run, day(1), [confirmed(100)])
    journal.accept("77b0e1c2", run, day(1), "anna", {"a key": company()})
    journal.use_accepted([], [(company(), ["a key"])])

    assert the_fact(journal, 1).highest == 120
    assert journal.accept_counts() == {}


def test_a_second_accept_starts_the_baseline_anew_once_more(journal: Journal) -> None:
    journal.confirm(begin(journal, 1), day(1), [confirmed(100)])
    accepted(journal, 2, after=51)
    journal.use_accepted([], [])
    journal.confirm(begin(journal, 3), day(3), [confirmed(51)])
    change = held(before=Decimal(51), after=20)
    journal.confirm(begin(journal, 4), day(4), [confirmed(20)])
    journal.use_accepted([change], [])

    assert (the_fact(journal, 4).lowest, the_fact(journal, 4).highest) == (20, 20)


def test_a_disowned_line_is_no_fact_and_starts_anew_when_it_is_owned_again(
    journal: Journal,
) -> None:
    first = begin(journal, 1)
    journal.confirm(first, day(1), [confirmed(100), confirmed(10, line_id="8", product="1202")])
    seventh, _ = journal.facts(day(1), 30)
    journal.disown([seventh, replace(seventh, line_id="no such line")])

    assert [fact.line_id for fact in journal.facts(day(1), 30)] == ["8"]
    assert [one.owned for one in journal.line_history("Client 1")] == [False, True]
    journal.confirm(begin(journal, 2), day(2), [confirmed(50)])
    assert journal.facts(day(2), 30)[0].highest == 50


def test_a_client_that_is_renamed_keeps_its_lines(journal: Journal) -> None:
    journal.confirm(begin(journal, 1), day(1), [confirmed(100)])
    renamed = company(name="Contoso GmbH")
    journal.confirm(begin(journal, 2), day(2), [confirmed(100, renamed)])

    assert the_fact(journal, 2).name == "Contoso GmbH"
    assert journal.line_history("Client 1") == ()
    (history,) = journal.line_history("Contoso GmbH")
    assert (history.psa, history.agreement, history.line_id) == ("cw", "1001", "7")
    assert history.quantities[0].first_run == 1


def test_a_line_with_an_unknown_write_is_unsettled_until_it_is_proven(journal: Journal) -> None:
    run = begin(journal)
    journal.confirm(run, day(1), [confirmed(90)])
    operation = journal.intent(run, day(1), line(), company())
    outcome(journal, operation, day(1), Outcome.UNKNOWN)
    end(journal, run)

    assert the_fact(journal).unsettled
    journal.confirm(begin(journal, 2), day(2), [confirmed(90)])
    assert not the_fact(journal, 2).unsettled
    assert journal.pending() == ()
