"""Invoices that are made late, or whose dates are uneven: what the PSA holds night by night."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from kisi.errors import ExitCode
from tests.unit.build import ALL_ROW, COMPANY, mapping
from tests.unit.reconcile.conftest import Scene

LATE = "Contoso: the invoice of 2026-12-01 has not been made in the PSA; readings since then count"
LATE += " for the next one."


def night(
    scene: Scene, policy: str, day: str, devices: int, invoice: str, cycle: str = "Monthly"
) -> tuple[float, tuple[str, ...]]:
    """What the PSA holds after a run, and what the run noted; no guard may hold."""
    at = datetime.combine(date.fromisoformat(day), time(6), ZoneInfo("UTC"))
    scene.clock.sleep((at - scene.clock.now()).total_seconds())
    scene.mapping = mapping(replace(ALL_ROW, count=policy))
    scene.cw.agreement(next_invoice=date.fromisoformat(invoice), cycle=cycle)
    scene.uses(devices)
    result = scene.sync()
    assert result.code is ExitCode.OK, result.plan
    (held,) = scene.cw.quantities().values()
    return held, result.plan.notes


DECEMBER, JANUARY = "2026-12-01", "2027-01-01"


@pytest.mark.parametrize(
    ("policy", "billed"),
    [
        ("today", (90, 95, 99, 120, 100, 101, 98)),
        ("peak", (90, 95, 95, 95, 95, 120, 120)),
        ("average", (90, 93, 93, 93, 93, 105, 104)),  # 420 / 4, then 518 / 5 = 103.6
        ("day:1", (90, 90, 90, 90, 90, 99, 99)),
        ("day:30", (90, 95, 95, 95, 95, 95, 95)),
    ],
)
def test_an_invoice_made_three_days_late_bills_no_day_twice(scene, policy, billed):
    nights = (
        ("2026-11-29", 90, DECEMBER),
        ("2026-11-30", 95, DECEMBER),
        ("2026-12-01", 99, DECEMBER),
        ("2026-12-02", 120, DECEMBER),
        ("2026-12-03", 100, DECEMBER),
        ("2026-12-04", 101, JANUARY),
        ("2026-12-05", 98, JANUARY),
    )
    found = [night(scene, policy, *each) for each in nights]
    assert tuple(held for held, _ in found) == billed
    noted = () if policy == "today" else (LATE,)
    assert [notes for _, notes in found] == [(), (), noted, noted, noted, (), ()]


def test_a_client_whose_first_days_are_after_its_next_invoice_date_is_billed(scene):
    assert night(scene, "peak", "2026-12-02", 40, DECEMBER)[0] == 40
    assert night(scene, "peak", "2026-12-03", 44, DECEMBER)[0] == 40  # the next invoice's
    assert night(scene, "peak", "2026-12-04", 43, JANUARY)[0] == 44


def test_an_agreement_that_nobody_invoices_is_told_and_each_invoice_has_its_own_number(scene):
    assert night(scene, "peak", "2026-11-30", 90, DECEMBER) == (90, ())
    assert night(scene, "peak", "2026-12-31", 85, DECEMBER) == (90, (LATE,))
    for day, devices in (("2027-01-01", 70), ("2027-02-10", 72)):
        held, (note,) = night(scene, "peak", day, devices, DECEMBER)
        assert held == 90
        assert "A whole billing cycle has passed: make it" in note
        assert "with `kisi sync` after each invoice" in note
    # Now they are made, one after the other.
    assert night(scene, "peak", "2027-02-11", 71, JANUARY)[0] == 85
    assert night(scene, "peak", "2027-02-12", 71, "2027-02-01")[0] == 70
    assert night(scene, "peak", "2027-02-13", 71, "2027-03-01") == (72, ())


def test_a_month_end_is_in_one_period_though_the_months_differ(scene):
    assert night(scene, "peak", "2027-01-29", 50, "2027-01-31")[0] == 50
    assert night(scene, "peak", "2027-01-30", 90, "2027-01-31")[0] == 90
    assert night(scene, "peak", "2027-01-31", 60, "2027-01-31")[0] == 90  # made late
    assert (
        night(scene, "peak", "2027-02-01", 61, "2027-02-28")[0] == 61
    )  # a month before is the 28th
    assert night(scene, "peak", "2027-02-27", 65, "2027-02-28")[0] == 65
    assert night(scene, "peak", "2027-02-28", 40, "2027-02-28")[0] == 65
    assert night(scene, "peak", "2027-03-01", 41, "2027-03-31")[0] == 41


def test_an_unknown_cycle_is_said_and_taken_for_a_month_until_it_turns(scene):
    cycle = "Every full moon"
    said = (
        f'Contoso: kisi does not know the billing cycle "{cycle}" and takes it for a month, until '
    )
    said += "the PSA has shown a second next invoice date."
    assert night(scene, "peak", "2026-12-01", 80, "2026-12-05", cycle) == (80, (said,))
    held, notes = night(scene, "peak", "2026-12-05", 50, "2026-12-05", cycle)
    assert (held, notes[0], len(notes)) == (80, said, 2)
    assert night(scene, "peak", "2026-12-06", 52, "2026-12-19", cycle) == (52, ())
    assert night(scene, "peak", "2026-12-18", 51, "2026-12-19", cycle) == (52, ())
    assert night(scene, "peak", "2026-12-20", 49, "2027-01-02", cycle) == (49, ())


def test_what_is_to_know_of_periods_is_said_once_for_all_clients(scene):
    other = replace(COMPANY, name="Fabrikam", company="251", agreement="1043", tenants=())
    scene.mapping = mapping(replace(ALL_ROW, count="peak"))
    both = (COMPANY, replace(other, tenants=(replace(COMPANY.tenants[0], tenant="VSRV-2"),)))
    scene.bill(*both)
    for company, uid in zip(both, ("VSRV-1", "VSRV-2"), strict=True):
        day = date(2026, 11, 1)
        scene.cw.agreement(company.company, company.agreement, next_invoice=day, cycle="Quarterly")
        scene.uses(5, uid=uid)
    (note,) = scene.sync().plan.notes
    assert note.startswith("Contoso, Fabrikam: the invoice of 2026-11-01 has not been made")
