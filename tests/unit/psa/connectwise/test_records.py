from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.psa.connectwise.records import flag, quantity_of
from kisi.psa.records import as_id, day, exact_number, part, text, whole


@pytest.mark.parametrize(
    "spelled",
    ["", "0", "-1", "01", "1.0", "1e3", " 1", "1 ", "x", "1,2", "\u0661", "2147483648", "9" * 40],
)
def test_what_is_no_int32_id_is_never_sent(spelled):
    assert as_id(spelled) is None


@given(st.integers(min_value=1, max_value=2**31 - 1))
def test_every_id_of_connectwise_is_read_as_it_is_written(number):
    assert as_id(str(number)) == number


@pytest.mark.parametrize("found", [None, True, "7", 7.5])
def test_a_record_without_a_whole_number_as_id_is_refused(found):
    with pytest.raises(ValueError, match="id is missing" if found is None else "no whole number"):
        whole({"id": found}, "id")


def test_a_whole_number_may_come_with_a_decimal_point():
    assert whole({"id": 7.0}, "id") == 7


@pytest.mark.parametrize(
    ("stored", "means"),
    [
        ("2026-11-21T00:00:00Z", date(2026, 11, 21)),
        ("2026-11-21T23:59:59Z", date(2026, 11, 21)),
        ("2026-11-21", date(2026, 11, 21)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_the_day_of_its_utc_timestamp(stored, means):
    assert day({"endDate": stored}, "endDate") == means


@pytest.mark.parametrize("stored", ["soon", "2026-13-01T00:00:00Z", 20261121, "11/21/2026", True])
def test_a_date_that_cannot_be_read_is_an_error_that_names_its_field(stored):
    with pytest.raises(ValueError, match="endDate is "):
        day({"endDate": stored}, "endDate")


@pytest.mark.parametrize(
    ("stored", "means"),
    [(9, "9"), (9.0, "9"), (0.1, "0.1"), ("2.50", "2.5"), (-3, "-3"), (None, None)],
)
def test_a_number_is_read_as_it_is_written(stored, means):
    assert exact_number(stored) == (None if means is None else Decimal(means))


@pytest.mark.parametrize(
    "stored",
    [
        True,
        "NaN",
        "Infinity",
        "many",
        [],
        "9" * 100 + "x",
        1e308,
        10**400,
        "1e999999999",
        "-1e-999999",
    ],
)
def test_what_is_no_number_is_an_error_that_is_cut_to_length(stored):
    with pytest.raises(ValueError, match="quantity is ") as caught:
        quantity_of({"quantity": stored})
    assert len(str(caught.value)) < 80
    assert exact_number(stored) is None


def test_absent_fields_are_empty():
    assert part({}, "company") == {}
    assert part({"company": 3}, "company") == {}
    assert text({"name": 3}, "name") == ""
    assert not flag({"cancelledFlag": "false"}, "cancelledFlag")
