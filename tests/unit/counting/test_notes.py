"""What a default leaves out of a count is said, with the setting that would count it, if any."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from kisi.counting import count_tenant
from kisi.counting.notes import some
from kisi.errors import Incomplete
from kisi.model import Application, CountingRules, Device, KeyRow
from tests.unit.build import (
    EARLIER,
    KES,
    LATER,
    NOW,
    counting,
    device,
    key,
    reading,
    row,
    subscription,
)

EDR = "Kaspersky EDR Optimum"


def notes(subject, *applications, **rules):
    return count_tenant(subject, counting(*applications, rules=CountingRules(**rules))).notes


def in_grace(serial, **more):
    dates = {"limit_date": LATER, "end_date": NOW - timedelta(days=3), "grace_days": 14}
    return subscription(serial, end_date_type=2, **dates, **more)


STORED, SOFT, GRACE = (
    "not in the server's own storage",
    "soft-cancelled subscription",
    "subscription in its grace term",
)


@pytest.mark.parametrize(
    ("subject", "reason", "used", "settings"),
    [
        (key(key_type=5, used=9), "OEM key", "9 in use", "`oem = true`"),
        (key(key_type=5), "OEM key", "in use", "`oem = true`"),
        (key(stored=False, used=9), STORED, "9 in use", "`reported_keys = true`"),
        (subscription(state=2, used=4), SOFT, "4 in use", "`soft_cancelled = true`"),
        (in_grace("K1", used=4), GRACE, "4 in use", "`grace = true`"),
        (
            in_grace("K1", state=2, stored=False, used=4),
            SOFT,
            "4 in use",
            "`soft_cancelled = true`, `grace = true` and `reported_keys = true`",
        ),
    ],
)
def test_a_key_that_a_setting_would_count_is_said_with_it(subject, reason, used, settings):
    (note,) = notes(reading(keys=[subject], rows=[]))
    assert note == (
        f"1 key in use is not counted ({reason}): K1 ({KES}, {used}); {settings} under [counting] "
        "would count it."
    )


@pytest.mark.parametrize(
    ("subject", "used"),
    [
        (key(limit_date=EARLIER, used=2), "2 in use"),
        (key(limit_date=EARLIER), "in use"),
        (subscription("K1", limit_date=EARLIER, end_date_type=2, used=2), "2 in use"),
        (
            subscription("K1", limit_date=LATER, end_date_type=2, end_date=EARLIER, used=2),
            "2 in use",
        ),
    ],
    ids=["limit", "no figure", "limit of a subscription", "end of a subscription"],
)
def test_an_expired_key_in_use_is_said(subject, used):
    """It was billed until it expired, and nothing else would say why the number fell."""
    assert notes(reading(keys=[subject], rows=[])) == (
        f"1 key in use is not counted (expired): K1 ({KES}, {used}); no setting would count it.",
    )


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        (subscription(state=3, used=5), "hard-cancelled subscription"),
        (subscription(state=None, used=5), "subscription that reports no state"),
        (subscription(state=7, used=5), "subscription in the unknown state 7"),
        (key(limit_date=None, used=5), "key that reports no limit date"),
        (key(key_type=9, used=5), "key without a known type"),
        (
            subscription(limit_date=EARLIER, used=5),
            "subscription that is called unlimited and has a limit date in the past",
        ),
    ],
)
def test_a_key_in_use_that_was_cancelled_or_says_too_little_is_named_with_its_figure(subject, why):
    assert notes(reading(keys=[subject], rows=[])) == (
        f"1 key in use is not counted ({why}): K1 ({KES}, 5 in use); no setting would count it.",
    )
    assert notes(reading(keys=[replace(subject, used=0)], rows=[])) == ()


def test_keys_of_one_kind_are_one_note():
    """Laptops come with an OEM key each."""
    keys = [key(f"K{number}", "KES", key_type=5, used=1) for number in range(7)]
    (note,) = notes(reading(keys=keys, rows=[]))
    assert note == (
        "7 keys in use are not counted (OEM key): K0 (KES, 1 in use), K1 (KES, 1 in use), "
        "K2 (KES, 1 in use), K3 (KES, 1 in use), K4 (KES, 1 in use) and 2 more; "
        "`oem = true` under [counting] would count them."
    )


@pytest.mark.parametrize(
    "subject",
    [
        key(),
        key(key_type=3, used=5),
        key(limit_date=EARLIER, used=0),
        key(name="Mail", limit_date=EARLIER, used=5),
        key(key_type=5, used=0),
        key(key_type=5, limit_date=EARLIER, used=5),
        subscription(state=2, limit_date=EARLIER, end_date_type=2, used=5),
        key(key_type=5, used=5, not_counted_reason='licence status "Expired"'),
        key(name="Mail", stored=False, used=5),
    ],
    ids=[
        "counts",
        "trial",
        "expired and unused",
        "expired, never billed",
        "unused",
        "expired OEM",
        "ended",
        "closed",
        "never billed",
    ],
)
def test_a_key_that_no_setting_would_count_is_ordinary(subject):
    mail = Application("Mail", bill=False)
    assert notes(reading(keys=[subject], rows=[]), Application(KES), mail) == ()


def test_a_key_with_fewer_uses_in_its_list_than_by_its_own_figure_is_said():
    """The list may lack what the account cannot see; nothing else would tell."""
    rows = [row("w0"), row("w1"), row("w1", current=False), row("w0", "K2")]
    keys = [key("K1", used=40), key("K2", EDR, used=3), key("K3", used=1)]
    subject = reading([device("w0"), device("w1")], rows, keys)
    (note,) = notes(subject, Application(KES), Application(EDR))
    assert note.startswith(
        "3 keys have fewer uses in the list than by the server's own figure: "
        f"K1 ({KES}: 40 in use by the server's own figure, 2 in its list), "
        f"K2 ({EDR}: 3 in use by the server's own figure, 1 in its list), "
        f"K3 ({KES}: 1 in use by the server's own figure, 0 in its list); the account may not see "
    )
    assert note.endswith(".")
    (long,) = notes(reading(keys=[key(name="N" * 5000, used=2)], rows=[]), Application("N" * 5000))
    assert "NN...: 2 in use by the server's own figure, 0 in its list)" in long
    (one,) = notes(reading([device("w0")], [row("w0")], [key(used=2)]))
    assert one.startswith("1 key has fewer uses")


@pytest.mark.parametrize(
    "subject",
    [
        key(used=1),
        key(used=None),
        key(used=9, key_type=3),
        key(name="Nobody's", used=9),
        key(name="Mail", used=9),
    ],
    ids=["as many", "no figure", "does not count", "not read", "never billed"],
)
def test_a_figure_is_compared_only_with_a_list_that_was_read(subject):
    rows = [row("w0")] if subject.used in (1, None) else []
    mail = Application("Mail", bill=False)
    assert notes(reading([device("w0")], rows, [subject]), Application(KES), mail) == ()


def test_devices_whose_activation_is_pending_are_named_with_the_setting():
    reserve, pending = {"current": False}, {"pending": True}
    rows = [row("w0"), row("w1", pending=True)]
    rows += [row("w2", **how) for how in (reserve, pending)]
    rows += [row("w3", **how) for how in (pending, reserve)]
    subject = reading([device(f"w{number}") for number in range(4)], rows)
    (note,) = notes(subject)
    assert note == (
        "3 devices are not counted (activation pending): w1, w2, w3; `pending = true` under "
        "[counting] would count them."
    )
    assert notes(subject, pending=True) == ()


@pytest.mark.parametrize(
    "rows",
    [
        [row("w0", pending=True), row("w0", "K2")],
        [row("w0", current=False, pending=True)],
    ],
    ids=["counted by another key", "reserve"],
)
def test_a_use_that_is_not_only_pending_is_ordinary(rows):
    assert notes(reading([device("w0")], rows, [key(), key("K2")])) == ()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"expires": EARLIER}, "expired on the device"),
        ({"expires": EARLIER, "pending": True}, "expired on the device"),
        ({"current": None}, "not said to be the active key"),
    ],
)
def test_a_use_of_a_good_key_that_does_not_count_is_said(more, reason):
    (note,) = notes(reading([device("w0")], [row("w0", **more)]))
    assert note == f"1 device is not counted ({reason}): w0; no setting would count it."


def test_devices_of_other_servers_are_always_named():
    rows = [
        row("w0"),
        row("x1", current=False),
        KeyRow("K1", "x1", "ELSEWHERE"),
        row("x2", pending=True),
        row("x3", current=False),
    ]
    (note,) = notes(reading([device("w0")], rows))
    assert note == (
        "2 devices that use its keys are not among its own devices, not counted, and may be "
        "another client's: ELSEWHERE, x2."
    )


def test_devices_of_other_servers_are_named_when_nothing_bills_them():
    other = key(name="Nobody's", used=None)
    (note,) = notes(reading([device("w0")], [row("x1")], [other]))
    assert note == (
        "1 device that uses its keys is not among its own devices, not counted, and may be "
        "another client's: x1."
    )


def test_uses_without_any_device_are_no_count_however_few_they_are():
    with pytest.raises(Incomplete, match="1 of 1 devices that use its keys are not among its own"):
        count_tenant(reading([], [row("x1")]), counting())


def test_a_device_with_two_names_counts_once_and_is_said():
    rows = [KeyRow("K1", "w0", "PC-1"), KeyRow("K1", "w0", "PC-2"), KeyRow("K1", "w0", "")]
    (note,) = notes(reading([device("w0")], rows))
    assert note.startswith(
        "1 device has several names under one id, and counts once: PC-1 and PC-2."
    )
    assert "If these are two machines" in note


def test_too_many_devices_of_other_servers_are_named_too():
    rows = [row(f"x{number}") for number in range(7)]
    with pytest.raises(Incomplete, match=r"They are x0, x1, x2, x3, x4 and 2 more\."):
        count_tenant(reading([], rows), counting())


def test_a_device_of_two_applications_is_named_once():
    rows = [row("w0", pending=True), row("w0", "K2", pending=True), row("x1"), row("x1", "K2")]
    subject = reading([device("w0")], rows, [key(), key("K2", EDR)])
    pending, foreign = notes(subject, Application(KES), Application(EDR))
    assert pending.startswith("1 device is not counted (activation pending): w0;")
    assert foreign.endswith(": x1.")


def seen(name, days):
    return Device(name, name, "Linux", last_seen=days and NOW - timedelta(days=days))


def test_counted_devices_that_were_not_seen_for_long_are_named_oldest_first():
    devices = [seen("a", 31), seen("b", 400), seen("c", 30), seen("never", None), seen("e", 99)]
    rows = [row("a"), row("b"), row("c"), row("never"), row("e", current=False)]
    subject = reading(devices, rows)
    assert notes(subject) == ()
    assert notes(subject, unseen_days=30) == (
        "2 counted devices were not seen for more than 30 days: b, a.",
    )
    assert notes(subject, unseen_days=100) == (
        "1 counted device was not seen for more than 100 days: b.",
    )


def test_a_name_of_a_server_is_cut_to_a_sane_length():
    rows = [KeyRow("K1", "x1", "N" * 5000)]
    (note,) = notes(reading([device("w0")], rows))
    assert len(note) < 300


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (4, "x0, x1, x2, x3"),
        (5, "x0, x1, x2, x3, x4"),
        (6, "x0, x1, x2, x3, x4 and 1 more"),
        (7, "x0, x1, x2, x3, x4 and 2 more"),
    ],
)
def test_five_names_are_shown_and_how_many_more_there_are(number, named):
    assert some([f"x{each}" for each in range(number)]) == named


def test_only_a_name_of_more_than_150_characters_is_cut():
    assert some(["N" * 150]) == "N" * 150
    assert some(["N" * 151]) == "N" * 150 + "..."
