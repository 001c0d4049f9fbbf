from __future__ import annotations

from datetime import timedelta

import pytest

from kisi.errors import SourceError
from kisi.transport import Limits
from tests.conftest import posix_links, windows_sharing
from tests.unit.sources.business_hub.conftest import HOUR, NOW

ROWS = "company,application,quantity\n{},KES,{}\n"


def test_the_newest_file_of_each_pattern_is_read(reports):
    reports.write(ROWS.format("Old", 1), "devices/1.csv", age=5 * HOUR)
    reports.write(ROWS.format("New", 2), "devices/2.csv", age=2 * HOUR)
    reports.write(ROWS.format("Mail", 3), "mail/x.csv", age=9 * HOUR)
    (reports.base / "devices" / "3.csv").mkdir()
    read = reports.read(files=["devices/*.csv", "mail/*.csv"])
    assert {name: reading.reported[0].quantity for name, reading in read.items()} == {
        "New": 2,
        "Mail": 3,
    }
    assert read["New"].at == NOW - 2 * HOUR
    assert read["Mail"].at == NOW - 9 * HOUR


def test_a_file_of_two_patterns_is_read_once(reports):
    reports.write(ROWS.format("Contoso", 1))
    assert list(reports.read(files=["*.csv", "hub*", str(reports.base / "hub.csv")])) == ["Contoso"]


def test_a_company_in_two_files_is_as_old_as_the_older_one(reports):
    reports.write(ROWS.format("Contoso", 1), "a.csv", age=3 * HOUR)
    reports.write("company,application,quantity\nContoso,Mail,2\n", "b.csv", age=HOUR)
    assert reports.read(files=["a.csv", "b.csv"])["Contoso"].at == NOW - 3 * HOUR


def test_a_pattern_without_a_file_fails_the_source(reports):
    assert 'fits the pattern "*.csv"' in reports.refusal().message


def test_a_file_older_than_allowed_is_a_failed_source_not_old_numbers(reports):
    reports.write(ROWS.format("Contoso", 1), age=72 * HOUR)
    assert reports.read()
    reports.write(ROWS.format("Contoso", 1), age=73 * HOUR)
    assert "last modified 73 hours ago, and `max_age_hours` is 72" in reports.refusal().message
    assert reports.read(max_age_hours=100)


def test_a_file_from_the_future_is_refused(reports):
    reports.write(ROWS.format("Contoso", 1), age=-HOUR)
    assert "lies in the future" in reports.refusal().message


def test_a_file_modified_this_moment_is_waited_for_once(reports):
    reports.write(ROWS.format("Contoso", 1), age=timedelta(seconds=0.5))
    assert reports.read()
    assert reports.clock.slept == [1.5]


@pytest.mark.parametrize("age", [timedelta(seconds=1), -timedelta(seconds=30)])
def test_a_file_that_changes_while_it_is_waited_for_is_still_being_written(reports, age):
    path = reports.write(ROWS.format("Contoso", 1), age=age)
    reports.clock.while_asleep = lambda: path.write_text(ROWS.format("Contoso", 100))
    assert "still being written" in reports.refusal().message
    assert reports.clock.slept[0] <= 2


def test_a_file_that_is_replaced_after_it_was_chosen_is_refused(reports):
    path = reports.write(ROWS.format("Contoso", 1), age=timedelta(seconds=1))

    def replace():
        other = reports.write(ROWS.format("Contoso", 2), "other")
        other.replace(path)

    reports.clock.while_asleep = replace
    assert "still being written" in reports.refusal().message


def test_a_file_that_vanishes_is_refused(reports):
    path = reports.write(ROWS.format("Contoso", 1), age=timedelta(seconds=1))
    reports.clock.while_asleep = path.unlink
    assert "could not be read (" in reports.refusal().message


@windows_sharing
def test_a_file_that_another_program_has_open_to_write_is_refused(reports):
    path = reports.write(ROWS.format("Contoso", 1))
    with path.open("ab"):
        assert "could not be read" in reports.refusal().message
    with path.open("rb"):
        assert reports.read()


def test_an_empty_file_is_refused(reports):
    reports.write("")
    assert "it is empty" in reports.refusal().message


def test_a_file_beyond_the_limit_is_not_read(reports):
    reports.write(ROWS.format("Contoso", 1))
    assert (
        "more than the 10 that kisi reads" in reports.refusal(limits=Limits(list_bytes=10)).message
    )


@posix_links
def test_a_link_to_nothing_fails_the_source(reports):
    (reports.base / "gone.csv").symlink_to(reports.base / "nothing")
    with pytest.raises(SourceError, match="could not be read"):
        reports.source().files()


def test_check_is_told_the_newest_file_and_its_age_whatever_it_is(reports):
    path = reports.write("not a report", age=200 * HOUR)
    [file] = reports.source().files()
    assert (file.path, NOW - file.modified) == (path, 200 * HOUR)
