"""The pure part: when a request may be repeated, and after which wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import AnswerLost, BadAnswer, NotSent, Untrusted
from kisi.transport import (
    Answer,
    Clock,
    Limits,
    Retry,
    clock_finding,
    retry_after,
)
from kisi.transport.answer import clock_skew
from kisi.transport.policy import may_retry, wait_before_retry

LIMITS = Limits()


@pytest.mark.parametrize(
    ("rows", "pages", "size", "words"),
    [
        (100_000, 1000, 2**26, ""),
        (100_001, 1, 1, "it has more than 100,000 rows"),
        (5, 1001, 1, "it has more than 1,000 pages"),
        (5, 1, 2**26 + 1, "it has more than 64 MiB"),
    ],
)
def test_a_list_has_an_end(rows: int, pages: int, size: int, words: str) -> None:
    assert LIMITS.beyond(rows, pages, size) == words


@pytest.mark.parametrize("value", [b"[]", b"{}", b'{"a":1}', b"0"])
def test_tiny_values_are_counted_before_they_are_parsed(value: bytes) -> None:
    body = b"[" + value + (b"," + value) * 500_000 + b"]"
    with pytest.raises(BadAnswer, match="has more than 500,000 values and was not read"):
        Answer(200, {}, body).json()


JSON = {"Content-Type": "application/json; charset=utf-8"}


def answer(status: int, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, JSON if headers is None else headers, body)


@pytest.mark.parametrize(
    "outcome",
    [NotSent("x"), AnswerLost("x"), BadAnswer("x"), *map(answer, (200, 429, 500, 503, 504))],
)
def test_never_is_never(outcome: Answer | NotSent) -> None:
    assert not may_retry(Retry.NEVER, outcome, 1, LIMITS)


@pytest.mark.parametrize(
    ("outcome", "unprocessed", "read"),
    [
        (NotSent("x"), True, True),
        (Untrusted("x"), False, False),
        (AnswerLost("x"), False, True),
        (BadAnswer("x"), False, True),
        (answer(429), True, True),
        (answer(503), True, True),
        (answer(500), False, True),
        (answer(502), False, True),
        (answer(504), False, True),
        (answer(401), False, False),
        (answer(403), False, False),
        (answer(404, b"<html>", {"Content-Type": "text/html"}), False, False),
        (answer(200), False, False),
        (answer(204, b""), False, False),
        (answer(200, b'{"cut'), False, True),
        (answer(200, b""), False, True),
        (answer(200, b"<html>", {"Content-Type": "text/html"}), False, True),
        (answer(200, b"{", {}), False, True),
        (answer(200, b"pong", {"Content-Type": "text/plain"}), False, False),
    ],
)
def test_what_may_be_repeated(outcome: Answer | NotSent, unprocessed: bool, read: bool) -> None:
    assert may_retry(Retry.UNPROCESSED, outcome, 1, LIMITS) is unprocessed
    assert may_retry(Retry.READ, outcome, 1, LIMITS) is read


def test_attempts_are_counted_and_an_unreachable_server_gets_three() -> None:
    assert may_retry(Retry.READ, answer(503), 3, LIMITS)
    assert not may_retry(Retry.READ, answer(503), 4, LIMITS)
    assert may_retry(Retry.READ, NotSent("x"), 2, LIMITS)
    assert not may_retry(Retry.READ, NotSent("x"), 3, LIMITS)
    assert may_retry(Retry.READ, answer(429), 40, LIMITS)
    assert not may_retry(Retry.READ, answer(429), 1, Limits(attempts=1))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"Retry-After": "99999"}, 99999.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Tue, 99 Nov 2026 12:00:07 GMT"}, None),
        ({"Retry-After": "Tue, 03 Nov 99999999999999 12:00:07 GMT"}, None),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -1200"}, None),
        (
            {
                "Retry-After": "Tue, 03 Nov 2026 12:00:07 GMT",
                "Date": "Fri, 31 Dec 9999 23:59:59 -1200",
            },
            7.0,
        ),
        ({}, None),
        ({"Retry-After": "Tue, 03 Nov 2026 12:00:07 GMT"}, 7.0),
        ({"Retry-After": "Tue, 03 Nov 2026 12:00:07 -0000"}, 7.0),
        ({"Retry-After": "Tue, 03 Nov 2026 11:00:00 GMT"}, 0.0),
        (
            {
                "Retry-After": "Tue, 03 Nov 2026 12:00:07 GMT",
                "Date": "Tue, 03 Nov 2026 12:00:04 GMT",
            },
            3.0,
        ),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_absent(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, now=datetime(2026, 11, 3, 12, tzinfo=UTC)) == seconds


def test_without_any_clock_a_past_date_means_now() -> None:
    assert retry_after({"Retry-After": "Tue, 03 Nov 2020 12:00:07 GMT"}) == 0.0


_WORDS = ("Tue,", "31", "Dec", "9999", "9" * 20, "0001", "23:59:59", "GMT", "-2359", "+" + "9" * 20)


@given(st.text(max_size=40) | st.lists(st.sampled_from(_WORDS), max_size=7).map(" ".join))
def test_no_date_of_a_header_breaks_anything(text: str) -> None:
    seconds = retry_after({"Retry-After": text})
    assert seconds is None or seconds >= 0
    skew = clock_skew(Answer(200, {"Date": text}, b""), datetime.now(UTC))
    assert skew is None or "clock" in clock_finding(skew, "psa.cw", "dates are wrong").message


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        (6, "6 minutes ahead of"),
        (-119, "119 minutes behind"),
        (120, "2 hours ahead of"),
        (-47 * 60, "47 hours behind"),
        (2 * 24 * 60 - 0.1, "2 days ahead of"),
        (43200, "30 days ahead of"),
    ],
)
def test_how_far_a_clock_is_off_is_told_in_the_unit_that_fits(minutes: float, words: str) -> None:
    said = clock_finding(timedelta(minutes=minutes), "sources.hq", "dates are wrong").message
    assert said == f"This machine's clock is {words} that of sources.hq, so dates are wrong."


@pytest.mark.parametrize(
    ("before", "after", "skew"),
    [
        (0, 2, 0),  # dated between question and answer
        (-1, 365 * 86400, 0),  # somebody set the clock meanwhile
        (1, -86400, 0),
        (60, 62, 60),
        (-62, -60, -60),
    ],
)
def test_a_date_between_question_and_answer_agrees(before: int, after: int, skew: int) -> None:
    theirs = datetime(2026, 11, 3, 12, tzinfo=UTC)
    dated = Answer(200, {"Date": "Tue, 03 Nov 2026 12:00:00 GMT"}, b"")
    asked = [theirs + timedelta(seconds=seconds) for seconds in (before, after)]
    assert clock_skew(dated, *asked) == timedelta(seconds=skew)


def test_what_the_server_asks_for_is_capped_and_wins_over_the_backoff() -> None:
    asked = Answer(429, {"Retry-After": "99999"}, b"")
    assert wait_before_retry(asked, 1, LIMITS, 0.0) == LIMITS.retry_after_cap
    assert [wait_before_retry(NotSent("x"), n, LIMITS, 0.0) for n in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert wait_before_retry(answer(500), 1, LIMITS, 1.0) == 0.75


def test_a_call_ends_with_the_run() -> None:
    assert Limits(call=120).ends(1000) == 1120
    assert Limits(call=120, run_ends=1007).ends(1000) == 1007


def test_json_says_what_came_instead() -> None:
    page = Answer(200, {"Content-Type": "text/html"}, b"<h1>Service\n maintenance</h1>" + b"x" * 99)
    with pytest.raises(BadAnswer, match=r"text/html: '<h1>Service maintenance</h1>x+…'"):
        page.json()
    with pytest.raises(BadAnswer, match="no content type: ''"):
        Answer(200, {}, b"").json()
    with pytest.raises(BadAnswer):
        Answer(200, {}, b'{"a": NaN}').json()
    with pytest.raises(BadAnswer):
        Answer(200, {}, b"[" * 200_000).json()


def test_json_with_a_byte_order_mark_is_json() -> None:
    assert Answer(200, {}, b"\xef\xbb\xbf" + b'{"a": 1}').json() == {"a": 1}
    assert Answer(200, {"Content-Type": "application/problem+json"}, b"null").json() is None


def test_the_systems_clock_is_aware_and_goes_forward() -> None:
    clock = Clock()
    before = clock.monotonic()
    clock.sleep(-1)
    assert clock.monotonic() >= before
    assert clock.now().tzinfo is UTC
