from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kisi.journal import Journal, PackedUsage
from kisi.model import Category, TenantRef
from tests.unit.journal.builders import begin, company, day, usage

KES = "KES Advanced"
EDR = "EDR Optimum"
(CONTOSO,) = company().tenants
STATIONS = Category.WINDOWS_WORKSTATIONS


def on(number: int) -> date:
    return day(number).date()


def read(journal: Journal, number: int, devices: int, *, client: int = 1) -> None:
    """A run of a day counts this many devices."""
    run, one = begin(journal, number), company(client)
    packed = PackedUsage.of(usage(one, devices, day(number)), counted=(KES, EDR))
    journal.record_usage(run, [(one, packed)], on(number))


def shown(
    journal: Journal, first: int = 1, last: int = 31, application: str = KES, **how: bool
) -> Mapping[int, int]:
    """What the days of November show of Contoso."""
    found = journal.days(on(first), on(last), [CONTOSO], **how)
    days = found.get((CONTOSO, application), {})
    return {(at - on(1)).days + 1: one.get(STATIONS, 0) for at, one in days.items()}


def ranges(journal: Journal) -> int:
    (row,) = journal._rows("SELECT count(*) FROM usage_day WHERE application = ?", KES)
    return int(row[0])


def pairs() -> Iterable[tuple[TenantRef, str]]:
    return [(CONTOSO, KES)]


def test_unchanged_days_are_one_range(journal: Journal) -> None:
    for number in range(1, 21):
        read(journal, number, 50)
    assert shown(journal) == dict.fromkeys(range(1, 21), 50)
    assert ranges(journal) == 1


def test_a_day_without_a_reading_is_a_gap_and_no_0(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 50), (4, 50), (5, 0), (6, 7)):
        read(journal, number, devices)
    assert shown(journal) == {1: 50, 2: 50, 4: 50, 5: 0, 6: 7}


def test_what_was_looked_for_and_not_found_is_0_and_what_nobody_counted_a_gap(
    journal: Journal,
) -> None:
    read(journal, 1, 50)
    assert shown(journal, application=EDR) == {1: 0}
    assert shown(journal, application="Mail Server") == {}


def test_a_days_last_reading_wins(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 50), (2, 5), (2, 49), (3, 49)):
        read(journal, number, devices)
    assert shown(journal) == {1: 50, 2: 49, 3: 49}
    read(journal, 3, 50)
    assert shown(journal) == {1: 50, 2: 49, 3: 50}
    read(journal, 2, 50)
    assert shown(journal) == dict.fromkeys((1, 2, 3), 50)


def test_a_clock_that_jumped_back_changes_only_its_own_day(journal: Journal) -> None:
    for number in (1, 2, 3, 4, 5):
        read(journal, number, 50)
    read(journal, 3, 7)
    read(journal, 3, 7)
    assert shown(journal) == {1: 50, 2: 50, 3: 7, 4: 50, 5: 50}
    read(journal, 6, 50)
    assert shown(journal)[6] == 50


def test_a_span_cuts_what_it_shows(journal: Journal) -> None:
    for number in range(1, 10):
        read(journal, number, 50)
    assert list(shown(journal, 3, 5)) == [3, 4, 5]
    assert shown(journal, 10, 20) == {}


def test_days_are_of_all_tenants_or_of_some(journal: Journal) -> None:
    read(journal, 1, 5)
    read(journal, 1, 7, client=2)
    theirs = company(2).tenants[0]
    assert {ref for ref, _ in journal.days(on(1), on(1))} == {CONTOSO, theirs}
    assert {ref for ref, _ in journal.days(on(1), on(1), [theirs])} == {theirs}
    assert journal.days(on(1), on(1), []) == {}


# --- held


def test_a_held_reading_is_a_gap_until_it_is_accepted(journal: Journal) -> None:
    read(journal, 1, 50)
    read(journal, 2, 5)
    journal.hold_days(on(2), pairs())
    assert shown(journal) == {1: 50}
    assert shown(journal, held=True) == {1: 50, 2: 5}
    assert shown(journal, application=EDR) == {1: 0, 2: 0}
    journal.accept_days(on(2), pairs())
    assert shown(journal) == {1: 50, 2: 5}


def test_numbers_that_stay_stay_held_and_are_accepted_together(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 5), (3, 5), (4, 5), (5, 50)):
        read(journal, number, devices)
        if devices == 5:
            journal.hold_days(on(number), pairs())
    assert shown(journal) == {1: 50, 5: 50}
    assert ranges(journal) == 3
    journal.accept_days(on(4), pairs())
    assert shown(journal) == {1: 50, 2: 5, 3: 5, 4: 5, 5: 50}


def test_accepting_a_number_accepts_no_other_one(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 0), (3, 5)):
        read(journal, number, devices)
        if devices < 50:
            journal.hold_days(on(number), pairs())
    journal.accept_days(on(3), pairs())
    assert shown(journal) == {1: 50, 3: 5}
    journal.accept_days(on(9), pairs())  # a day without a reading
    assert shown(journal) == {1: 50, 3: 5}


def test_only_the_held_day_is_held(journal: Journal) -> None:
    """The count stands still, and a guard holds it for another reason from day 3 on."""
    for number in (1, 2, 3):
        read(journal, number, 50)
    journal.hold_days(on(3), pairs())
    assert shown(journal) == {1: 50, 2: 50}
    read(journal, 3, 50)
    read(journal, 4, 50)
    assert shown(journal) == {1: 50, 2: 50}


def test_a_right_reading_of_the_same_day_replaces_a_held_one(journal: Journal) -> None:
    read(journal, 1, 50)
    read(journal, 2, 5)
    journal.hold_days(on(2), pairs())
    read(journal, 2, 50)
    assert shown(journal) == {1: 50, 2: 50}
    assert ranges(journal) == 1


def test_pruning_forgets_whole_ranges_that_ended_before(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 5), (3, 5), (9, 5)):
        read(journal, number, devices)
    journal.prune(day(4))
    assert shown(journal) == {2: 5, 3: 5, 9: 5}


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    nights=st.lists(
        st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from("rrrha")), max_size=25
    )
)
def test_the_days_are_what_was_read_last_of_each(
    tmp_path: Path, nights: list[tuple[int, int, str]]
) -> None:
    """Against the same kept day by day, without ranges."""
    numbers: dict[int, int] = {}
    held: dict[int, bool] = {}
    with Journal.open(tmp_path / "none", readonly=True) as journal:  # in memory
        for number, devices, what in nights:
            if what == "r":
                read(journal, number, devices)
                if numbers.get(number) != devices:
                    held[number] = numbers.get(number - 1) == devices and held[number - 1]
                numbers[number] = devices
            elif what == "h":
                journal.hold_days(on(number), pairs())
                held[number] = number in numbers
            else:
                journal.accept_days(on(number), pairs())
                for one, same in numbers.items():
                    if same == numbers.get(number):
                        held[one] = False
            assert shown(journal, held=True) == dict(sorted(numbers.items()))
            free = {one: n for one, n in sorted(numbers.items()) if not held.get(one)}
            assert shown(journal) == free
