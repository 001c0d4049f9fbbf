"""Count policies: which number of an invoice period is billed, against tables made by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.counting import ClientUsage, Period, look_back, number_of, readings
from kisi.model import (
    Agreement,
    BillingMapping,
    Category,
    CountingRules,
    Cycle,
    GuardRules,
    ProductRow,
    Rules,
    TenantRef,
    is_policy,
)
from kisi.planning import desired_state, period_of, with_policies
from tests.unit.build import COMPANY, KES, REF, fact, mapping

ONE, OTHER = TenantRef("hq", "VSRV-1"), TenantRef("hq", "VSRV-2")
PEAK, AVERAGE = "peak", "average"


def on(text: str, year: int = 2026) -> date:
    return date.fromisoformat(f"{year}-{text}")


# --- the period -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("next_invoice", "cycle", "today", "begins"),
    [
        ("2026-12-01", "Monthly", "2026-11-21", "2026-11-01"),
        ("2026-12-01", "Monthly", "2026-12-03", "2026-11-01"),  # late: it has not turned
        ("2027-01-01", "Monthly", "2026-12-03", "2026-12-01"),
        ("2026-03-31", "Monthly", "2026-03-09", "2026-02-28"),
        ("2028-03-31", "monthly", "2028-03-09", "2028-02-29"),
        ("2026-12-15", "", "2026-11-21", "2026-11-15"),
        ("2026-12-15", "Every full moon", "2026-11-21", "2026-11-15"),
        ("2026-11-27", "Weekly", "2026-11-21", "2026-11-20"),
        ("2026-11-27", "Bi-Weekly", "2026-11-21", "2026-11-13"),
        ("2027-01-01", "Quarterly", "2026-11-21", "2026-10-01"),
        ("2027-02-28", "Semi-Annually", "2026-11-21", "2026-08-28"),
        ("2027-11-01", "Annually", "2026-11-21", "2026-11-01"),
        ("2027-02-01", "Monthly", "2026-11-21", "2026-11-21"),  # invoiced in advance
        (None, "Monthly", "2026-11-21", "2026-11-01"),
        (None, "", "2026-11-01", "2026-11-01"),
    ],
)
def test_a_period_begins_one_cycle_before_the_next_invoice(next_invoice, cycle, today, begins):
    following = date.fromisoformat(next_invoice) if next_invoice else None
    found = Period.of(following, cycle, date.fromisoformat(today)).begins
    assert found == date.fromisoformat(begins)


@pytest.mark.parametrize(
    ("next_invoice", "cycle", "earlier", "begins"),
    [
        ("2026-11-30", "Monthly", ("2026-10-31",), "2026-10-31"),  # and not the 30th
        ("2026-11-30", "Monthly", ("2026-10-30",), "2026-10-30"),
        ("2026-11-30", "Monthly", ("2026-09-30", "2026-10-31", "2026-11-30"), "2026-10-31"),
        ("2027-02-28", "Quarterly", ("2026-11-30",), "2026-11-28"),  # it has not come yet
        ("2026-12-01", "Monthly", ("2026-11-15",), "2026-11-01"),  # corrected by a person
        ("2026-12-01", "Monthly", ("2026-12-15",), "2026-11-01"),
        ("2026-12-01", "Full moon", (), "2026-11-01"),
        ("2026-12-01", "Full moon", ("2026-11-03", "2026-11-17"), "2026-11-17"),
        ("2026-12-01", "Full moon", ("2026-05-01",), "2026-11-01"),  # long ago, under `peak`
        (None, "Monthly", ("2026-11-15",), "2026-11-01"),
    ],
)
def test_a_period_begins_where_the_last_one_ended(next_invoice, cycle, earlier, begins):
    following = date.fromisoformat(next_invoice) if next_invoice else None
    known = {date.fromisoformat(day) for day in earlier}
    found = Period.of(following, cycle, on("11-29"), known)
    assert found.begins == date.fromisoformat(begins)
    assert found.is_guess == (cycle == "Full moon" and found.begins not in known)


@pytest.mark.parametrize(
    ("names", "months", "days", "words"),
    [
        ("Daily", 0, 1, "a day"),
        ("weekly/Every week", 0, 7, "a week"),
        ("Bi-Weekly/Fortnightly/2 weeks/Every 2 Weeks", 0, 14, "every 2 weeks"),
        ("4-Weekly/Four-weekly/every 4 weeks", 0, 28, "every 4 weeks"),
        ("Monthly/1 Month", 1, 0, "a month"),
        ("Bi-Monthly/Every 2 months", 2, 0, "every 2 months"),
        ("Quarterly", 3, 0, "a quarter"),
        ("Semi-Annual/Semiannually/Half-yearly/6 Months", 6, 0, "every 6 months"),
        ("Annual/annually/Yearly/1 year", 12, 0, "a year"),
        ("Biennial/2 Years", 24, 0, "every 2 years"),
    ],
)
def test_the_names_of_cycles_that_kisi_knows(names, months, days, words):
    assert {Cycle.named(name) for name in names.split("/")} == {(months, days, words)}


@pytest.mark.parametrize(
    "name", ["", "None", "Semi-Monthly", "4-4-5 Fiscal", "0 weeks", "1.5 months", "Custom"]
)
def test_a_cycle_of_another_name_is_not_known(name):
    assert Cycle.named(name) is None


@pytest.mark.parametrize("next_invoice", [date.min, date.max])
@pytest.mark.parametrize("cycle", ["Annually", "Daily", "99 years", "?"])
def test_no_date_is_too_early_or_too_late(next_invoice, cycle):
    period = Period.of(next_invoice, cycle, TODAY)
    assert look_back(period.begins) <= period.begins <= TODAY
    assert any(period.remarks(TODAY)) == (next_invoice < TODAY or cycle == "?")


# --- a year of nights -----------------------------------------------------------------------------

# Of each month: what was counted on which days (a range to a number), what is missing, and what
# each policy bills in the month's last night. Worked out on paper, not by kisi.
YEAR = (
    # month, counted, peak, average, day:15, day:31
    ("2026-01", {1: 10}, 10, 10, 10, 10),
    ("2026-02", {1: 10, 15: 12, 28: 9}, 12, 11, 12, 9),  # 14x10 13x12 1x9 = 305/28 = 10.89
    ("2026-03", {1: 9, 11: None, 21: 14, 29: 15}, 15, 12, 14, 15),  # DST; 10x9 8x14 3x15 = 247/21
    ("2026-04", {1: 15, 15: None, 18: 20, 30: None}, 20, 17, 20, None),  # 14x15 12x20 = 450/26
    ("2026-05", {1: 20, 31: 40}, 40, 21, 20, 40),  # 30x20 1x40 = 640/31 = 20.65
    ("2026-06", {1: 40, 2: 41}, 41, 41, 41, 41),  # 1x40 29x41 = 1229/30 = 40.97
    ("2026-07", {1: 41, 2: None, 31: 40}, 41, 41, 40, 40),  # 81/2 = 40.5, half up
    ("2026-08", {1: None, 20: 3}, 3, 3, 3, 3),
    ("2026-09", {1: 0, 16: 1}, 1, 1, 0, 1),  # 15x0 15x1 = 0.5, half up
    ("2026-10", {1: 7, 12: 30, 13: 7}, 30, 8, 7, 7),  # DST; 30x7 1x30 = 240/31 = 7.74
    ("2026-11", {1: 100, 15: 0, 16: None}, 100, 93, 0, None),  # 14x100 1x0 = 1400/15
    ("2026-12", {1: 5, 31: 6}, 6, 5, 5, 6),
)


def nights(month: str, counted: dict[int, int | None]) -> dict[date, int]:
    first = date.fromisoformat(f"{month}-01")
    found, now = {}, None
    for number in range(31):
        day = first + timedelta(days=number)
        if day.month == first.month:
            now = counted.get(day.day, now)
            if now is not None:
                found[day] = now
    return found


def test_a_year_as_it_was_worked_out_by_hand():
    every = {
        day: number for month, counted, *_ in YEAR for day, number in nights(month, counted).items()
    }
    for month, _, *wanted in YEAR:
        last = (date.fromisoformat(f"{month}-01") + timedelta(days=32)).replace(day=1)
        last -= timedelta(days=1)
        begins = Period.of(last + timedelta(days=1), "Monthly", last).begins
        until = {day: number for day, number in every.items() if day <= last}
        found = [
            number_of(one, Period(begins), until) for one in (PEAK, AVERAGE, "day:15", "day:31")
        ]
        assert found == wanted, month


@pytest.mark.parametrize(
    ("begins", "wanted", "first"),
    [
        ("2026-02-01", 29, "2026-02-28"),
        ("2026-02-01", 28, "2026-02-28"),
        ("2026-11-01", 29, "2026-11-30"),  # 29 to 31 are the month's last
        ("2026-12-01", 30, "2026-12-31"),
        ("2028-02-01", 31, "2028-02-29"),
        ("2026-11-15", 10, "2026-12-10"),
        ("2026-11-15", 15, "2026-11-15"),
        ("2026-11-30", 31, "2026-11-30"),
        ("2026-12-20", 5, "2027-01-05"),
    ],
)
def test_a_day_of_the_month_is_looked_for_in_the_period(begins, wanted, first):
    begins = date.fromisoformat(begins)
    days = {begins + timedelta(days=number): number for number in range(60)}
    number = number_of(f"day:{wanted}", Period(begins), days)
    assert begins + timedelta(days=number) == date.fromisoformat(first)


numbers = st.dictionaries(st.integers(0, 45), st.integers(0, 10**6), max_size=46)


@given(numbers, st.integers(0, 20), st.integers(1, 28))
def test_each_policy_as_a_sentence_of_the_manual(counted, start, wanted):
    begins = on("01-05") + timedelta(days=start)
    days = {on("01-05") + timedelta(days=number): x for number, x in counted.items()}
    mine = [days[day] for day in sorted(days) if day >= begins]
    later = begins
    while later.day != wanted:
        later += timedelta(days=1)
    after = [days[day] for day in sorted(days) if day >= later]
    mean = Decimal(sum(mine)) / len(mine) if mine else Decimal(0)
    assert number_of("today", Period(begins), days) == (mine[-1] if mine else None)
    assert number_of(PEAK, Period(begins), days) == max(mine, default=None)
    half_up = int(mean.quantize(Decimal(1), ROUND_HALF_UP))
    assert number_of(AVERAGE, Period(begins), days) == (half_up if mine else None)
    assert number_of(f"day:{wanted}", Period(begins), days) == (after[0] if after else None)


# --- the sum over tenants -------------------------------------------------------------------------

STATIONS, SERVERS = Category.WINDOWS_WORKSTATIONS, Category.WINDOWS_SERVERS


def test_days_add_up_over_the_tenants_of_today_and_a_gap_of_one_is_a_gap():
    days = {
        (ONE, KES): {on("11-01"): {STATIONS: 5}, on("11-02"): {STATIONS: 6}, on("11-03"): {}},
        (OTHER, KES): {on("11-02"): {STATIONS: 1, SERVERS: 2}, on("11-04"): {SERVERS: 9}},
    }
    assert readings([ONE], KES, [STATIONS], days) == {
        on("11-01"): 5,
        on("11-02"): 6,
        on("11-03"): 0,
    }
    # nobody had read the other one on the 1st; on the 3rd it was not read, on the 4th the first not
    assert readings([ONE, OTHER], KES, [Category.ALL], days) == {on("11-02"): 9}
    assert readings([ONE, TenantRef("hq", "new")], KES, [Category.ALL], days) == {}
    assert readings([ONE, OTHER], "Mail", [Category.ALL], days) == {}


@given(
    st.lists(
        st.dictionaries(st.integers(1, 20), st.integers(0, 99), min_size=1), min_size=1, max_size=4
    )
)
def test_a_sum_is_of_every_tenant_or_there_is_none(each):
    days = {
        (TenantRef("hq", str(number)), KES): {
            on(f"11-{x:02}"): {STATIONS: n} for x, n in mine.items()
        }
        for number, mine in enumerate(each)
    }
    found = readings([tenant for tenant, _ in days], KES, [STATIONS], days)
    for number in range(1, 21):
        whole = all(number in mine for mine in each)
        expected = sum(mine[number] for mine in each) if whole else None
        assert found.get(on(f"11-{number:02}")) == expected


# --- what a client should be billed ---------------------------------------------------------------

TODAY = on("11-21")
NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)
AGREEMENT = Agreement(REF, next_invoice=on("12-01"), cycle="Monthly")


def planned(policy, today, days, facts=(), company=COMPANY, agreement=AGREEMENT, at=TODAY):
    """The one line that a client should have; `days` of its tenant in November."""
    row = ProductRow(KES, "cw", {Category.ALL: "1200"}, count=policy)
    rules = Rules(
        BillingMapping(), CountingRules(), GuardRules(), NOW, at, ZoneInfo("Europe/Berlin")
    )
    known = days
    if not any(isinstance(key, tuple) for key in days):
        known = {(ONE, KES): {on(f"11-{x:02}"): {STATIONS: n} for x, n in days.items()}}
    wanted = desired_state(
        mapping(row, companies=(company,)), company, [ClientUsage(KES, {STATIONS: today})]
    )
    found = with_policies(wanted, company, period_of(agreement, facts, at), facts, known, rules)
    return found.lines[0]


def test_today_looks_at_no_days():
    line = planned("", 88, {1: 90})
    assert (line.quantity, line.period) == (88, None)


def test_the_other_policies_show_the_days_they_looked_at():
    line = planned(PEAK, 88, {1: 90, 2: 91, 20: 87})
    assert (line.quantity, line.period.counted, line.period.policy) == (91, 88, "peak")
    shown = {one.date.day: one.quantity for one in line.period.days}
    assert [shown[number] for number in (1, 2, 3, 20, 21)] == [90, 91, None, 87, 88]
    assert (line.period.begins, line.period.since) == (on("11-01"), None)


def test_a_period_that_began_before_kisi_says_so():
    assert planned(AVERAGE, 88, {14: 90}).period.since == on("11-14")
    before = {(ONE, KES): {on("10-31"): {STATIONS: 1}, on("11-14"): {STATIONS: 90}}}
    assert planned(AVERAGE, 88, before).period.since is None
    assert planned(AVERAGE, 88, {}).period.since == TODAY


def test_the_newest_reading_of_today_stands_for_it():
    assert planned(AVERAGE, 10, {20: 20, 21: 99}).quantity == 15


def test_before_its_day_a_line_keeps_its_quantity_and_a_client_without_one_is_billed_today():
    assert planned("day:25", 88, {1: 90}, [fact("1200", 70)]).quantity == 70
    assert planned("day:25", 88, {1: 90}).quantity == 88
    assert planned("day:20", 88, {1: 90}, [fact("1200", 70)]).quantity == 88
    assert planned("day:20", 88, {20: 91}, [fact("1200", 70)]).quantity == 91


def test_before_its_day_a_line_does_not_keep_what_another_tenant_used():
    both = fact("1200", 70, tenants=(ONE, OTHER))
    assert planned("day:25", 88, {1: 88}, [both]).quantity == 88


def test_a_changed_policy_looks_back_over_the_same_period():
    days = {1: 90, 2: 99, 20: 80}
    facts = [fact("1200", 99)]
    found = [planned(x, 81, days, facts).quantity for x in (PEAK, AVERAGE, "day:20", "day:2", "")]
    assert found == [99, 88, 80, 99, 81]  # (90 + 99 + 80 + 81) / 4 = 87.5


def test_a_turn_forgets_the_days_before():
    turned = replace(AGREEMENT, next_invoice=on("12-21"))
    assert planned(PEAK, 81, {1: 90, 20: 80}).quantity == 90
    assert planned(PEAK, 81, {1: 90, 20: 80}, agreement=turned).quantity == 81


def test_who_has_left_keeps_the_number_until_the_period_is_invoiced():
    gone = replace(COMPANY, until=on("11-18"), left=True)
    line = planned(PEAK, 0, {1: 90}, [fact("1200", 90)], gone)
    assert (line.quantity, line.period.counted) == (90, None)
    turned = replace(AGREEMENT, next_invoice=on("12-21"))
    assert planned(PEAK, 0, {1: 90}, [fact("1200", 90)], gone, turned).quantity == 0
    assert planned("", 0, {1: 90}, [fact("1200", 90)], gone).quantity == 0


# --- what guards compare with ---------------------------------------------------------------------


def baseline(days, **more):
    found = planned(PEAK, 50, days, [fact("1200", 90, **more)]).period.baseline
    return found and (found.highest, found.lowest, found.last)


def test_a_baseline_is_of_readings_and_of_what_the_line_stood_for():
    assert baseline({1: 90, 2: 60, 20: 70}) == (90, 60, 70)
    assert baseline({}) is None
    two = {
        (ONE, KES): {on("11-01"): {STATIONS: 5}},
        (OTHER, KES): {on("11-01"): {STATIONS: 50}},
    }
    assert baseline(two) == (5, 5, 5)
    assert baseline(two, tenants=(ONE, OTHER)) == (55, 55, 55)


def test_a_baseline_begins_with_the_day_of_the_last_accept_in_the_billing_zone():
    late = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)  # the 3rd in Berlin
    assert baseline({1: 90, 2: 60, 3: 40, 4: 41}, accepted=late) == (41, 40, 41)


def test_a_baseline_is_no_older_than_its_days():
    old = {(ONE, KES): {on("10-20"): {STATIONS: 99}, on("10-22"): {STATIONS: 7}}}
    assert baseline(old) == (7, 7, 7)


def test_a_line_that_another_policy_billed_is_judged_by_readings_under_today_too():
    line = planned("today", 70, {1: 70, 20: 70}, [fact("1200", 120, by_days=True)])
    assert (line.quantity, line.period.policy) == (70, "today")
    assert line.period.baseline.highest == 70
    assert planned("today", 70, {1: 70}, [fact("1200", 120)]).period is None


@pytest.mark.parametrize("text", ["today", "peak", "average", "day:1", "day:9", "day:28", "day:31"])
def test_what_is_a_policy(text):
    assert is_policy(text)


@pytest.mark.parametrize("text", ["", "Peak", "day", "day:0", "day:32", "day:01", "day: 5", "mean"])
def test_what_is_none(text):
    assert not is_policy(text)


def test_the_look_back_is_longer_than_a_month():
    assert look_back(on("12-01")) < on("11-01")
