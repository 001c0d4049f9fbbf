"""Security Center refuses, is busy, hangs, or answers something else than what was asked for."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from kisi.sandbox.ksc_records import pxg_error
from kisi.transport import Clock
from tests.faults.conftest import Trial, calls, limits, trouble, warnings

LIST = "VServers.GetVServers"
"""Asked once a run, of the main server; may be repeated."""
KEYS = "LicenseKeys.EnumKeys"
"""Opens a list of one virtual server; repeated only if it surely was not processed."""
PAGE = "GroupSyncIterator.GetNextItems"
"""Moves a list on; never repeated, so that the list is opened again."""
LOGIN = "Session.StartSession"
RETRY_AFTER = {"Retry-After": "5"}


def untouched(trial: Trial) -> bool:
    """Whether the lines are as the first run left them."""
    quantities = (trial.contoso.quantities, trial.fabrikam.quantities)
    return quantities == ({trial.product: 6}, {trial.product: 3})


# --- the login ------------------------------------------------------------------------------------


@pytest.mark.fault(
    6,
    injection="a wrong password",
    outcome="exit 4 after a single login; the account is not blocked",
)
def test_a_wrong_password_is_tried_once(billed: Trial):
    billed.operator.by_hand()
    secret = billed.operator.folder / "secrets" / "ksc-password"
    secret.write_text("yesterdays-password", encoding="utf-8")

    result = billed.sync()

    assert (result.code, result.writes, calls(result, LOGIN)) == (4, [], 1)
    assert billed.sandbox.ksc.account.wrong_passwords == 1
    assert "the login was refused" in billed.sentence
    assert "did not try again" in billed.sentence
    assert "Check `user`, the password" in trouble(result, "Contoso").remedy
    assert untouched(billed)
    billed.heals()


REFUSED = {
    "401": ({"code": 401}, "the login was refused"),
    "403": ({"code": 403}, "the login was refused"),
    "wrong password": ({"code": 200, "body": pxg_error(1453)}, "the login was refused"),
    "blocked": ({"code": 200, "body": pxg_error(2013)}, "the account is blocked"),
}


@pytest.mark.parametrize(("answer", "words"), REFUSED.values(), ids=REFUSED)
@pytest.mark.fault(
    6, injection="the login is answered with 401, 403 or an error", outcome="exit 4, one login"
)
def test_a_refused_login_is_final_for_the_run(billed: Trial, answer: dict[str, Any], words: str):
    billed.fault("status", LOGIN, times=None, **answer)

    result = billed.sync()

    assert (result.code, result.writes, calls(result, LOGIN)) == (4, [], 1)
    assert words in billed.sentence
    assert untouched(billed)
    billed.heals()


@pytest.mark.fault(
    6,
    injection="the login is refused on every virtual server",
    outcome="exit 4; no more than two logins are tried there",
)
def test_refused_logins_on_virtual_servers_do_not_add_up(billed: Trial):
    for number in range(6):
        billed.operator.client(f"Further {number}", workstations=1)
    billed.fault("status", f"{LOGIN}@[!m]*", times=None, code=401)

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert calls(result, LOGIN) <= 1 + 2
    assert "to keep the account usable" in billed.sentence
    assert untouched(billed)
    billed.heals()


LOST = {
    "502": ("status", {"code": 502}),
    "504": ("status", {"code": 504}),
    "connection broken": ("lost", {}),
    "never seen": ("reset_before", {}),
}


@pytest.mark.parametrize(("kind", "options"), LOST.values(), ids=LOST)
@pytest.mark.fault(
    10,
    injection="the answer to the main server's login never comes, once",
    outcome="the login is tried once more: billed, with one warning",
)
def test_a_login_whose_answer_never_came_is_tried_once_more(
    billed: Trial, kind: str, options: dict[str, Any]
):
    fault = billed.fault(kind, f"{LOGIN}@main", **options)
    billed.operator.ends_sessions = False  # the name of a lost one was never learned

    result = billed.sync()

    assert (result.code, fault.fired, calls(result, f"{LOGIN}")) == (0, 1, 1 + 1 + 2)
    (warning,) = warnings(result)
    assert "The login is tried once more" in warning
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


# --- sessions and versions ------------------------------------------------------------------------


@pytest.mark.fault(
    7,
    injection="a session dies in the middle of a list",
    outcome="read again from the start, billed",
)
def test_a_session_that_dies_once_costs_one_more_login(billed: Trial):
    fault = billed.fault("twist", f"{LOGIN}@Contoso", dies_after=4)

    result = billed.sync()

    assert (result.code, fault.fired) == (0, 1)
    assert calls(result, LOGIN) == 4
    assert billed.contoso.quantities == {billed.product: 8}
    assert "is read again from its start" in " ".join(warnings(result))
    billed.heals()


@pytest.mark.fault(
    7, injection="every session of a virtual server dies", outcome="that client fails, exit 4"
)
def test_sessions_that_always_die_fail_their_client_alone(billed: Trial):
    billed.fabrikam.add_devices()
    billed.fault("twist", f"{LOGIN}@Contoso", times=None, dies_after=4)

    result = billed.sync()

    assert result.code == 4
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    assert '"Contoso": the session ended before' in billed.sentence
    assert "Fabrikam" not in billed.sentence
    billed.heals()


@pytest.mark.parametrize(
    ("answer", "words", "remedy"),
    [
        ({"code": 404}, f"there is no {KEYS}", "Check `url`"),
        (
            {"code": 200, "body": pxg_error(1194)},
            "this version of Security Center is too old",
            "kisi needs version 13 or later",
        ),
    ],
    ids=["404", "unknown call"],
)
@pytest.mark.fault(
    8,
    injection="Security Center does not know a call",
    outcome="exit 4; names the call, and the version that is needed",
)
def test_a_server_that_is_too_old_is_told_from_a_broken_one(
    billed: Trial, answer: dict[str, Any], words: str, remedy: str
):
    billed.fault("status", f"{KEYS}@Contoso", times=None, **answer)

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert calls(result, KEYS) == 2  # once a client: the same answer would come again
    assert words in billed.sentence
    assert remedy in trouble(result, "Contoso").remedy
    assert untouched(billed)
    billed.heals()


# --- busy and broken ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("call", [LIST, KEYS, LOGIN])
@pytest.mark.fault(
    9, injection="429 or 503 with `Retry-After: 2`", outcome="waits so long, then billed"
)
def test_a_busy_server_is_asked_again_when_it_says(billed: Trial, call: str, code: int):
    fault = billed.fault("status", call, code=code, headers={"Retry-After": "2"})

    result = billed.sync()

    assert (result.code, fault.fired) == (0, 1)
    waits = billed.operator.slept  # another worker may wait for the rest of that time, too
    assert (2.0 in waits, max(waits)) == (True, 2.0)
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.fault(
    9,
    injection="a page of a list is answered with `Retry-After: 5`, twice",
    outcome="the list is opened again after that time: billed",
)
def test_a_throttled_list_is_opened_again_when_the_server_says(billed: Trial, code: int):
    fault = billed.fault("status", f"{PAGE}@Contoso", times=2, code=code, headers=RETRY_AFTER)

    result = billed.sync()

    assert (result.code, fault.fired) == (0, 2)
    waits = billed.operator.slept
    assert (waits.count(5.0), max(waits)) == (2, 5.0)
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.fault(
    9,
    injection="every page of a list is answered with `Retry-After: 5`",
    outcome="waited out within the call's two minutes; then that client fails, exit 4",
)
def test_a_list_that_is_throttled_for_ever_fails_its_client_alone(billed: Trial):
    billed.fabrikam.add_devices()
    billed.fault("status", f"{PAGE}@Contoso", times=None, code=429, headers=RETRY_AFTER)

    result = billed.sync()

    assert result.code == 4
    assert 60 < sum(billed.operator.slept) <= 120
    assert f"it is too busy for {PAGE} (HTTP 429" in billed.sentence
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    billed.heals()


@pytest.mark.fault(
    9, injection="`Retry-After: 99999` for ever", outcome="exit 4, and no longer wait than the cap"
)
def test_a_server_cannot_make_kisi_wait_for_a_day(billed: Trial):
    billed.fault("status", LIST, times=None, code=503, headers={"Retry-After": "99999"})

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert sum(billed.operator.slept) <= 120
    assert f"it is too busy for {LIST} (HTTP 503" in billed.sentence
    assert "Run kisi again" in trouble(result, "Contoso").remedy
    billed.heals()


@pytest.mark.fault(
    9, injection="`Retry-After: soon`", outcome="treated as absent: a short wait, then billed"
)
def test_nonsense_in_retry_after_is_no_wait(billed: Trial):
    billed.fault("status", LIST, code=429, headers={"Retry-After": "soon"})

    assert billed.sync().code == 0

    (slept,) = billed.operator.slept
    assert 0 < slept < 1
    billed.heals()


@pytest.mark.fault(
    9,
    injection="429 without `Retry-After`, six times",
    outcome="waited out within the call's two minutes, then billed",
)
def test_a_rate_limit_is_waited_out(billed: Trial):
    fault = billed.fault("status", LIST, times=6, code=429)

    assert billed.sync().code == 0

    assert fault.fired == 6
    assert 20 < sum(billed.operator.slept) < 120
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


@pytest.mark.fault(
    10, injection="500, 502, 504, then a good answer", outcome="billed, with one warning"
)
def test_a_server_fault_that_passes_is_one_warning(billed: Trial):
    for code in (500, 502, 504):
        billed.fault("status", LIST, code=code)

    result = billed.sync()

    assert (result.code, calls(result, LIST)) == (0, 4)
    (warning,) = warnings(result)
    assert "took 4 tries. It answered 504" in warning
    billed.heals()


@pytest.mark.fault(
    10,
    injection="500 on opening a list, which is never repeated blindly",
    outcome="the list is opened again, once, and billed",
)
def test_a_list_that_fails_to_open_is_opened_again(billed: Trial):
    billed.fault("status", f"{KEYS}@Contoso", code=500)

    result = billed.sync()

    assert (result.code, calls(result, KEYS)) == (0, 3)
    assert "A list is read again from its start" in warnings(result)[0]
    billed.heals()


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [LIST, LOGIN, PAGE])
@pytest.mark.fault(
    11,
    injection="Security Center says nothing at all",
    outcome="exit 4 within the call's deadline, after a few tries",
)
def test_a_silent_server_costs_no_more_than_the_deadline(billed: Trial, call: str):
    match = f"{call}@main" if call is LOGIN else call
    billed.fault("hang", match, times=None, seconds=600)
    began = Clock().monotonic()

    with limits(read=0.5, call=2.0):
        result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert calls(result, call) <= 4
    assert Clock().monotonic() - began < 20
    assert "it did not answer in time" in billed.sentence
    assert untouched(billed)
    billed.heals()


@pytest.mark.parametrize("head", [False, True], ids=["body", "headers"])
@pytest.mark.fault(
    12,
    injection="an answer of one byte now and then, without an end",
    outcome="ended by the call's total deadline, exit 4",
)
def test_a_dripping_answer_ends_with_the_deadline(billed: Trial, head: bool):
    billed.fault("drip", LIST, times=None, delay=0.05, head=head)
    began = Clock().monotonic()

    with limits(call=1.5):
        result = billed.sync()

    assert (result.code, result.writes, calls(result, LIST)) == (4, [], 1)
    assert Clock().monotonic() - began < 20
    assert "it did not answer in time" in billed.sentence
    assert untouched(billed)
    billed.heals()


# --- bodies ---------------------------------------------------------------------------------------

CUT = ("truncate", "chunk_cut", "close_cut")


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.fault(
    13,
    injection="a body that ends early: by Content-Length, in a chunk, at the connection's end",
    outcome="noticed; tried again, then exit 4",
)
def test_an_answer_that_ends_early_is_no_answer(billed: Trial, kind: str):
    billed.fault(kind, LIST, times=None)

    result = billed.sync()

    assert (result.code, result.writes, calls(result, LIST)) == (4, [], 4)
    assert "Nothing of this source is billed" in billed.sentence
    assert untouched(billed)
    billed.heals()


@pytest.mark.parametrize("kind", CUT)
@pytest.mark.parametrize("call", [LIST, f"{PAGE}@Contoso", "ChunkAccessor.GetItemsChunk@Contoso"])
@pytest.mark.fault(
    13, injection="the same, once", outcome="billed; a list that moves is opened again instead"
)
def test_an_answer_that_ends_early_once_changes_nothing(billed: Trial, kind: str, call: str):
    fault = billed.fault(kind, call)

    result = billed.sync()

    assert (result.code, fault.fired) == (0, 1)
    assert len(warnings(result)) == 1
    assert billed.contoso.quantities == {billed.product: 8}
    billed.heals()


WRONG = {
    "web page": ("html", {}, "Service maintenance"),
    "empty": ("empty", {}, "Expected JSON"),
    "picture": (
        "status",
        {"code": 200, "body": b"\x89PNG\r\n", "headers": {"Content-Type": "image/png"}},
        "Expected JSON, got status 200 with image/png",
    ),
    "null": ("status", {"code": 200, "body": b"null"}, "is no JSON object: 'null'"),
    "array": ("status", {"code": 200, "body": b"[1]"}, "is no JSON object: '[1]'"),
    "byte order mark": ("status", {"code": 200, "body": b"\xef\xbb\xbf{}"}, "gave no list"),
    "deep": ("status", {"code": 200, "body": b"[" * 100_000}, "Expected JSON"),
    "endless number": ("status", {"code": 200, "body": b"NaN"}, "Expected JSON"),
    "escape codes": ("garbage", {"body": b"\x1b[2J\x1b]0;x\x07"}, r"\x1b[2J"),
    "broken gzip": ("garbage", {"compressed": True}, "cannot be decompressed"),
}


@pytest.mark.parametrize(("kind", "options", "words"), WRONG.values(), ids=WRONG)
@pytest.mark.fault(
    14,
    injection="status 200 with a web page, nothing, a picture, `null`, an array, broken gzip ...",
    outcome="exit 4 with the first 80 characters, made safe",
)
def test_a_success_that_is_none_is_shown_and_not_believed(
    billed: Trial, kind: str, options: dict[str, Any], words: str
):
    billed.fault(kind, LIST, times=None, **options)

    result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert words in result.err
    assert "\x1b" not in result.err + result.out
    assert len(trouble(result, "Contoso").reason) < 400
    assert untouched(billed)
    billed.heals()


@pytest.mark.fault(
    14, injection="a body of a gigabyte, once", outcome="not read beyond the cap; then billed"
)
def test_a_huge_answer_takes_bounded_memory(billed: Trial):
    billed.fault("huge", LIST, length=2**30)
    tracemalloc.start()
    try:
        result = billed.sync()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert result.code == 0
    assert peak < 128 * 2**20
    assert "larger than 8388608 bytes and was not read further" in warnings(result)[0]
    billed.heals()


@pytest.mark.fault(
    14, injection="a compressed bomb, for ever", outcome="not unpacked beyond the cap, exit 4"
)
def test_a_compressed_bomb_is_not_unpacked(billed: Trial):
    billed.fault("huge", LIST, times=None, length=2**24, compressed=True)

    with limits(body=2**20):
        result = billed.sync()

    assert (result.code, result.writes) == (4, [])
    assert "larger than 1048576 bytes and was not read further" in billed.sentence
    assert untouched(billed)
    billed.heals()


ERRORS = {
    1184: 'the account lacks the right "Read"',
    1192: f"it did not understand {KEYS}",
    1195: f"it is not available for {KEYS}",
    1186: f"what {KEYS} asked for is gone",
    31999: f"{KEYS} failed (31999",
}


@pytest.mark.parametrize(("code", "words"), ERRORS.items(), ids=map(str, ERRORS))
@pytest.mark.fault(
    15,
    injection="an error object inside status 200",
    outcome="that client fails with the error's meaning, exit 4; others are billed",
)
def test_an_error_inside_a_success_is_an_error(billed: Trial, code: int, words: str):
    billed.fabrikam.add_devices()
    billed.fault("status", f"{KEYS}@Contoso", times=None, code=200, body=pxg_error(code))

    result = billed.sync()

    assert result.code == 4
    assert f'virtual server "Contoso": {words}' in billed.sentence
    assert "Its client's lines stay as they are" in billed.sentence
    assert trouble(result, "Contoso").remedy
    assert billed.contoso.quantities == {billed.product: 6}
    assert billed.fabrikam.quantities == {billed.product: 4}
    billed.heals()
