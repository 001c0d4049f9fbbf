from __future__ import annotations

import json
from collections.abc import Collection, Mapping
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


def read(
    journal: Journal, number: int, devices: int, *, client: int = 1, doubted: bool = False
) -> None:
    """A run of a day counts this many devices."""
    run, one = begin(journal, number), company(client)
    packed = PackedUsage.of(usage(one, devices, day(number)), counted=(KES, EDR))
    journal.record_usage(run, [(one, packed)], on(number), pairs() if doubted else ())


def shown(
    journal: Journal, first: int = 1, last: int = 31, application: str = KES
) -> Mapping[int, int]:
    """What the days of November show of Contoso."""
    found = journal.days(on(first), on(last), [CONTOSO])
    days = found.get((CONTOSO, application), {})
    return {(at - on(1)).days + 1: one.get(STATIONS, 0) for at, one in days.items()}


def ranges(journal: Journal) -> int:
    (row,) = journal._rows("SELECT count(*) FROM usage_day WHERE application = ?", KES)
    return int(row[0])


def doubts(journal: Journal) -> Mapping[int, int]:
    """What is kept apart of Contoso's days."""
    marked = "SELECT * FROM usage_day WHERE held AND application = ?"
    return {
        number: json.loads(row["quantities"]).get(STATIONS, 0)
        for row in journal._rows(marked, KES)
        for number in range(1, 32)
        if row["first_day"] <= str(on(number)) <= row["last_day"]
    }


def pairs() -> Collection[tuple[TenantRef, str]]:
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


def test_days_are_of_the_tenants_asked_for(journal: Journal) -> None:
    read(journal, 1, 5)
    read(journal, 1, 7, client=2)
    theirs = company(2).tenants[0]
    assert {ref for ref, _ in journal.days(on(1), on(1), [CONTOSO, theirs])} == {CONTOSO, theirs}
    assert {ref for ref, _ in journal.days(on(1), on(1), [theirs])} == {theirs}
    assert journal.days(on(1), on(1), []) == {}


# --- held


def test_a_held_reading_is_a_gap_until_it_is_accepted(journal: Journal) -> None:
    read(journal, 1, 50)
    read(journal, 2, 5, doubted=True)
    assert shown(journal) == {1: 50}
    assert doubts(journal) == {2: 5}
    assert shown(journal, application=EDR) == {1: 0, 2: 0}
    journal.accept_days(on(2), pairs())
    assert shown(journal) == {1: 50, 2: 5}


def test_numbers_that_stay_stay_held_and_are_accepted_together(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 5), (3, 5), (4, 5), (5, 50)):
        read(journal, number, devices, doubted=devices == 5)
    assert shown(journal) == {1: 50, 5: 50}
    assert ranges(journal) == 3
    journal.accept_days(on(4), pairs())
    assert shown(journal) == {1: 50, 2: 5, 3: 5, 4: 5, 5: 50}


def test_accepting_a_number_accepts_no_other_one(journal: Journal) -> None:
    for number, devices in ((1, 50), (2, 0), (3, 5)):
        read(journal, number, devices, doubted=devices < 50)
    journal.accept_days(on(3), pairs())
    assert shown(journal) == {1: 50, 3: 5}
    journal.accept_days(on(9), pairs())  # a day without a reading
    assert shown(journal) == {1: 50, 3: 5}


def test_only_the_held_day_is_held(journal: Journal) -> None:
    """The count stands still, and a guard holds it for another reason from day 3 on."""
    for number in (1, 2, 3):
        read(journal, number, 50, doubted=number == 3)
    assert shown(journal) == {1: 50, 2: 50}
    read(journal, 3, 50)
    read(journal, 4, 50)
    assert shown(journal) == {1: 50, 2: 50}


def test_a_right_reading_of_the_same_day_replaces_a_held_one(journal: Journal) -> None:
    read(journal, 1, 50)
    read(journal, 2, 5, doubted=True)
    read(journal, 2, 50)
    assert shown(journal) == {1: 50, 2: 50}
    assert ranges(journal) == 1


def test_a_held_reading_leaves_an_earlier_right_one_of_its_day_until_it_is_accepted(
    journal: Journal,
) -> None:
    for number in (1, 2, 3):
        read(journal, number, 50)
    read(journal, 3, 5, doubted=True)
    assert (shown(journal), doubts(journal)) == ({1: 50, 2: 50, 3: 50}, {3: 5})
    read(journal, 4, 5, doubted=True)
    assert (shown(journal), doubts(journal)) == ({1: 50, 2: 50, 3: 50}, {3: 5, 4: 5})
    journal.accept_days(on(4), pairs())
    assert (shown(journal), doubts(journal)) == ({1: 50, 2: 50, 3: 5, 4: 5}, {})
    assert ranges(journal) == 2


def test_a_reading_that_is_doubted_only_when_it_is_read_again_is_held(journal: Journal) -> None:
    """The first run of the day could not judge it: the PSA was down."""
    read(journal, 1, 50)
    read(journal, 2, 5)
    read(journal, 2, 5, doubted=True)
    assert (shown(journal), doubts(journal)) == ({1: 50}, {2: 5})


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
        st.tuples(st.integers(1, 6), st.integers(0, 2), st.sampled_from("rrrdda")), max_size=25
    )
)
def test_the_days_are_what_was_read_last_of_each(
    tmp_path: Path, nights: list[tuple[int, int, str]]
) -> None:
    """Against the same kept day by day, without ranges."""
    right: dict[int, int] = {}
    held: dict[int, int] = {}
    with Journal.open(tmp_path / "none", readonly=True) as journal:  # in memory
        for number, devices, what in nights:
            if what == "a":
                journal.accept_days(on(number), pairs())
                newest = held.get(number, right.get(number))
                same = [one for one, count in held.items() if count == newest]
                right |= {one: held.pop(one) for one in same}
                continue
            read(journal, number, devices, doubted=what == "d")
            stays = devices in (held.get(number - 1), held.get(number))
            if what == "r" and not stays:
                right[number] = devices
                held.pop(number, None)
            else:
                held[number] = devices
                if right.get(number) == devices:
                    del right[number]
            assert shown(journal) == dict(sorted(right.items()))
            assert doubts(journal) == dict(sorted(held.items()))
