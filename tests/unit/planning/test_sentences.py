"""What operators read of each hold, whole: the reason in words, and what releases it."""

from dataclasses import replace
from decimal import Decimal

import pytest

from kisi.model import WITH, CountingRules, GuardRules, LineSlot, Plan, TenantRef
from kisi.planning import OwnedLines, empty_sources
from tests.unit.build import COMPANY, KES, fact
from tests.unit.planning.arranged import arranged, guarded
from tests.unit.planning.test_guards import (
    client,
    companies,
    context,
    guards_of,
    judged,
    names,
    owned,
    owned_by,
    planned,
)


def hold_of(line, *facts, counting=None, empty=(), elsewhere=None, **company):
    rules = context(*facts, counting=counting, empty=empty, elsewhere=elsewhere)
    return judged(client(line, **company), rules).lines[0].hold


@pytest.mark.parametrize(
    ("line", "known", "guard_name", "reason", "remedy"),
    [
        (
            planned(2, 0),
            owned(2),
            "to-zero",
            "it would go from 2 to 0",
            "If that is right: {accept}",
        ),
        (
            planned("99.5", 50),
            owned("99.5", highest=Decimal(120)),
            "decrease",
            "it would fall by 70 (58 %) from 120, its highest of the last 30 days, to 50",
            "If that is right: {accept}",
        ),
        (
            planned(100, 200),
            owned(100, lowest=Decimal(80)),
            "increase",
            "it would rise by 120 (150 %) from 80, its lowest of the last 30 days, to 200",
            "If that is right: {accept}",
        ),
        (
            planned(0, 11),
            owned(0),
            "increase",
            "it would rise by 11 from 0, its lowest of the last 30 days, to 11",
            "If that is right: {accept}",
        ),
        (
            planned(1, 12),
            owned(1),
            "increase",
            "it would rise by 11 (1100 %) from 1, its lowest of the last 30 days, to 12",
            "If that is right: {accept}",
        ),
        (
            planned(None, 501),
            fact("9", 1),
            "create",
            "a new line of 501 is above the limit of 500",
            "If that is right: {accept}",
        ),
        (
            planned(10, 11, adopt=True),
            fact("9", 1, "999"),
            "adopt",
            "kisi has never written this line; it holds 10, not 11",
            "To let kisi keep it from now on: {accept}",
        ),
        (
            planned(12, 10),
            owned(10),
            "drift",
            "the PSA holds 12, kisi last confirmed 10: a person changed it",
            (
                "To write kisi's number: {accept}; to keep the person's: `bill = false` for this "
                "application in a [[company.product]] of the client"
            ),
        ),
        (
            planned(12, 10),
            owned(10, unsettled=True),
            "drift",
            "the PSA holds 12, kisi last confirmed 10: an earlier write has an unknown outcome",
            (
                "To write kisi's number: {accept}; to keep the person's: `bill = false` for this "
                "application in a [[company.product]] of the client"
            ),
        ),
        (
            planned(None, 10),
            owned(10),
            "deleted",
            "the line 301 that kisi kept here is gone or cancelled: a person removed it",
            (
                "To create it again: {accept}; to leave it out: `bill = false` for this application "
                "in a [[company.product]] of the client"
            ),
        ),
        (
            planned(12, 0, orphaned=True),
            owned(10),
            "orphaned",
            (
                "kisi wrote this line of product 1200 on agreement 1042, and the mapping no longer "
                "bills it there; it would go to 0 so that nothing is billed twice"
            ),
            "To set it to 0 and bill as mapped now: {accept}",
        ),
    ],
)
def test_a_hold_says_what_would_happen_and_what_releases_it(
    line, known, guard_name, reason, remedy
):
    hold = hold_of(line, known)
    assert (hold.guard, hold.reason, hold.remedy) == (guard_name, reason, remedy)


def test_an_unknown_operating_system_is_a_reason():
    hold = hold_of(
        planned(10, 11),
        owned(10),
        counting=CountingRules(unknown_device="hold"),
        unknown=frozenset({KES}),
    )
    assert hold.guard == "unknown-device"
    assert hold.reason == "devices with an unknown operating system are among those counted"
    assert hold.remedy.startswith("See `kisi explain` for the devices. If that is right: ")


def test_a_line_that_this_run_does_not_plan_is_a_reason():
    slot = LineSlot("cw", "1042", "1200")
    reason = "line 301 of Contoso (agreement 1042) still bills 55 x KES, and billing is off for it"
    hold = hold_of(planned(10, 11), owned(10), elsewhere={slot: reason})
    assert (hold.guard, hold.reason) == ("elsewhere", reason)
    assert hold.remedy == (
        "Where that line keeps an earlier number by its `count`, wait: this one is written once it "
        "comes down. Otherwise set that line to 0 in its PSA, or run its client too. If both are to "
        "bill: {accept}"
    )


def test_every_empty_source_is_named():
    tenants = (TenantRef("hub", "Contoso"), TenantRef("hq", "VSRV-1"))
    hold = hold_of(
        planned(5, 6),
        owned(5),
        empty=["hub", "hq"],
        company=replace(COMPANY, tenants=tenants),
    )
    assert (
        hold.reason == "every tenant of sources hq, hub counts 0, although there was usage before"
    )
    assert hold.remedy == "Look at the source first. If that is right: {accept}"


def test_a_line_held_along_names_the_category_or_the_application_that_holds_it():
    lines = [
        planned(10, 0, "1202", "1"),
        planned(90, 91, "1201", "2"),
    ]
    found = judged(client(*lines), context(fact("1202", 10, "1"), fact("1201", 90, "2")))
    along = found.lines[1].hold
    assert along.reason == (
        "held together with line 1 (to-zero), so that nothing is billed twice or not at all"
    )
    assert along.remedy == "If that is right: {accept}"

    lines = [
        planned(10, 0, "1100", "1", orphaned=True),
        planned(None, 9, "1300", application="Other"),
    ]
    facts = [fact("1100", 10, "1")]
    plan = guarded(arranged(client(*lines), facts=facts), context(*facts))
    (found,) = plan.companies
    assert found.lines[1].hold.guard == WITH
    assert found.lines[1].hold.reason == (
        f"held together with line 1 ({KES}: orphaned), so that nothing is billed twice or not at all"
    )


def test_a_held_run_says_how_much_less_it_would_bill():
    changes = [(100, 80)] * 4
    held = guarded(Plan(companies(*changes)), context(*owned_by(changes)))
    hold = held.companies[0].lines[0].hold
    assert hold.guard == "run"
    assert hold.reason == "the whole run would bill 80 units (20 %) fewer than 400 now"
    assert hold.remedy == (
        "Look at the decreases of the whole run first. If that is right: {accept}"
    )


# --- the edges of the limits ----------------------------------------------------------------------


def run_guards(*changes, **rules):
    """The guards of one line a client, each owned and equal to what kisi confirmed."""
    facts = owned_by([change for change in changes if change[0] is not None])
    plan = Plan(companies(*changes))
    return names(guarded(plan, context(*facts, decrease_units=1000, create_units=1000, **rules)))


def test_the_run_is_held_beyond_both_the_percentage_and_the_units():
    assert run_guards((600, 540), (10, 11)) == [None, None]
    assert run_guards((600, 539), (10, 10)) == [None, None]
    assert run_guards((600, 538), (10, 10)) == ["run", None]
    assert run_guards((100, 49)) == ["run"]
    assert run_guards((100, 50)) == [None]


def test_new_lines_add_nothing_to_what_the_run_bills_now():
    creates = [(None, 1)] * 10
    assert run_guards((595, 525), *creates) == ["run", *[None] * 10]


def test_only_decreases_are_held_with_the_run():
    found = run_guards((100, 40), ("10.5", 11), (5, 6))
    assert found == ["run", None, None]


def test_an_increase_is_no_decrease_however_high_the_baseline():
    assert guards_of(planned("10.5", 11), facts=[owned("10.5", highest=Decimal(100))]) == [None]


def test_a_decrease_is_no_increase_however_low_the_baseline():
    assert guards_of(planned(20, 15), facts=[owned(20, lowest=Decimal(2))]) == [None]
    assert guards_of(planned(20, 21), facts=[owned(20, lowest=Decimal(2))]) == ["increase"]


def test_a_percentage_counts_from_one_unit_on():
    assert guards_of(planned(1, 12), facts=[owned(1)], increase_percent=1100) == [None]
    assert guards_of(planned(1, 13), facts=[owned(1)], increase_percent=1100) == ["increase"]


def test_a_source_is_empty_only_if_there_was_at_least_one_unit():
    lines = [client(planned(0, 0))]
    assert empty_sources({"hq": [0]}, lines, OwnedLines([owned(0)])) == frozenset()
    assert empty_sources({"hq": [0]}, lines, OwnedLines([owned(1)])) == {"hq"}


def test_a_hold_takes_no_create_of_another_application_along():
    lines = (planned(10, 0, "1202", "1"), planned(None, 9, "1300", application="Other"))
    assert guards_of(*lines, facts=[fact("1202", 10, "1")]) == ["to-zero", None]


def test_limits_are_those_of_the_rules():
    assert GuardRules().create_units == 500
    assert guards_of(planned(None, 21), create_units=20) == ["create"]
    assert guards_of(planned(100, 89), facts=[owned(100)], decrease_percent=10) == ["decrease"]
