from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from kisi.psa.tigerpaw.wire import signature, signed_headers

PUBLIC = "11111111-2222-3333-4444-555555555555"
PRIVATE = "66666666-7777-8888-9999-000000000000"
PATH = "/api/agreements/1042/additionalcharges"
NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


def test_a_request_is_signed_as_the_vendor_describes_it():
    date = "Sat, 21 Nov 2026 20:00:00 GMT"
    assert signature(PRIVATE, "GET", PATH, date) == "gqYhfUUmO53Gtdgif1MNkRqL63+/B1oLGzTg9+7TfdY="
    assert signed_headers(PUBLIC, PRIVATE, "GET", PATH, NOW) == {
        "X-TSI-Date": date,
        "Authorization": "TSI MTExMTExMTEtMjIyMi0zMzMzLTQ0NDQtNTU1NTU1NTU1NTU1OmdxWWhmVVVtTzUzR3Rk"
        "Z2lmMU1Oa1JxTDYzKy9CMW9MR3pUZzkrN1RmZFk9",
    }


def test_the_date_is_utc_whatever_zone_the_clock_is_in():
    local = NOW.astimezone(timezone(timedelta(hours=-8)))
    assert signed_headers(PUBLIC, PRIVATE, "GET", PATH, local) == signed_headers(
        PUBLIC, PRIVATE, "GET", PATH, NOW
    )


@given(st.sampled_from(["GET", "POST"]), st.text("/abcAB019", max_size=20))
def test_case_does_not_change_a_signature(method, path):
    date = "Sat, 21 Nov 2026 20:00:00 GMT"
    given_one = signature(PRIVATE, method, path, date)
    assert given_one == signature(PRIVATE, method.lower(), path.upper(), date.upper())
    assert len(b64decode(given_one)) == 32
