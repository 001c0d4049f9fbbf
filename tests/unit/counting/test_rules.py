from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.counting import classify, expires, judge_key, judge_row
from kisi.model import CountingRules, Device, DeviceClass
from tests.unit.build import EARLIER, LATER, NOW, key, row, subscription

LITERAL = CountingRules()
GRACE = {"end_date_type": 2, "end_date": NOW - timedelta(days=5), "grace_days": 14}

KEYS = [
    ("commercial", key(), True),
    ("commercial, expired", key(limit_date=EARLIER), False),
    ("expires this very second", key(limit_date=NOW), False),
    ("without a limit date", key(limit_date=None), False),
    ("beta", key(key_type=2), False),
    ("trial", key(key_type=3), False),
    ("test", key(key_type=4), False),
    ("OEM", key(key_type=5), False),
    ("of no known type", key(key_type=None), False),
    ("of a new type", key(key_type=9), False),
    ("subscription, unlimited", subscription(), True),
    ("subscription by its flag only", subscription(key_type=1), True),
    ("subscription by its type only", subscription(subscription=False), True),
    ("OEM key that is a subscription", subscription(key_type=5), True),
    ("trial inside a subscription", subscription(key_type=3), False),
    ("subscription, paused", subscription(state=1), False),
    ("subscription, soft cancelled", subscription(state=2), False),
    ("subscription, hard cancelled", subscription(state=3), False),
    ("subscription without a state", subscription(state=None), False),
    ("subscription in a new state", subscription(state=7), False),
    ("subscription with a paused end", subscription(end_date_type=3, limit_date=LATER), False),
    ("unlimited with a date in the past", subscription(limit_date=EARLIER), False),
    ("limited without a limit date", subscription(end_date_type=2), False),
    (
        "limited, not ended",
        subscription(end_date_type=2, end_date=LATER, limit_date=LATER),
        True,
    ),
    ("limited, without an end date", subscription(end_date_type=2, limit_date=LATER), True),
    ("limited, in its grace term", subscription(limit_date=LATER, **GRACE), False),
    (
        "limited, to the end of all time",
        subscription(limit_date=LATER, **{**GRACE, "end_date": datetime.max.replace(tzinfo=UTC)}),
        True,
    ),
    (
        "limited, after its grace term",
        subscription(limit_date=LATER, **{**GRACE, "grace_days": 2}),
        False,
    ),
    ("not in the server's storage", key(stored=False), False),
    ("closed by its report", key(not_counted_reason="status Expired"), False),
]


@pytest.mark.parametrize(("what", "subject", "counts"), KEYS, ids=[case[0] for case in KEYS])
def test_only_unexpired_active_commercial_keys_and_subscriptions_count(what, subject, counts):
    judgement = judge_key(subject, LITERAL, NOW)
    assert judgement.counts is counts
    assert judgement.reason


@pytest.mark.parametrize(
    ("option", "subject"),
    [
        ("grace", subscription(limit_date=LATER, **GRACE)),
        ("soft_cancelled", subscription(state=2)),
        ("oem", key(key_type=5)),
        ("reported_keys", key(stored=False)),
    ],
)
def test_each_option_counts_exactly_what_it_names(option, subject):
    assert not judge_key(subject, LITERAL, NOW).counts
    assert judge_key(subject, CountingRules(**{option: True}), NOW).counts


@pytest.mark.parametrize(
    "subject",
    [
        subscription(state=1),
        subscription(state=3),
        key(key_type=3),
        key(limit_date=EARLIER),
        subscription(limit_date=LATER, **{**GRACE, "grace_days": 2}),
    ],
)
def test_no_option_revives_a_trial_paused_cancelled_or_expired_key(subject):
    generous = CountingRules(
        grace=True, soft_cancelled=True, oem=True, pending=True, reported_keys=True
    )
    assert not judge_key(subject, generous, NOW).counts


@pytest.mark.parametrize(
    "subject", [subscription(state=None), key(limit_date=None), subscription(limit_date=EARLIER)]
)
def test_contradictory_data_is_pointed_out(subject):
    assert judge_key(subject, LITERAL, NOW).warning


REASONS = [
    (key(), "commercial", ""),
    (subscription(), "subscription", ""),
    (key(key_type=2), "beta key", ""),
    (key(key_type=3), "trial key", ""),
    (key(key_type=4), "test key", ""),
    (key(key_type=5), "OEM key", ""),
    (key(key_type=9), "key of an unknown type", "key without a known type"),
    (subscription(state=1), "paused subscription", ""),
    (subscription(state=2), "soft-cancelled subscription", ""),
    (subscription(state=3), "hard-cancelled subscription", ""),
    (
        subscription(state=7),
        "subscription in the unknown state 7",
        "subscription in the unknown state 7",
    ),
    (
        subscription(state=None),
        "subscription without a state",
        "subscription that reports no state",
    ),
    (subscription(end_date_type=3), "paused subscription", ""),
    (key(limit_date=None), "no limit date", "key that reports no limit date"),
    (key(limit_date=EARLIER), "expired", ""),
    (subscription(end_date_type=0, limit_date=EARLIER), "expired", ""),
    (
        subscription(limit_date=EARLIER),
        "expired",
        "subscription that is called unlimited and has a limit date in the past",
    ),
    (subscription(limit_date=LATER, **GRACE), "subscription in its grace term", ""),
    (subscription(limit_date=LATER, **{**GRACE, "grace_days": 2}), "expired", ""),
    (key(stored=False), "not in the server's own storage", ""),
    (key(not_counted_reason="status Expired"), "status Expired", ""),
]


@pytest.mark.parametrize(("subject", "reason", "warning"), REASONS, ids=lambda case: str(case)[:40])
def test_every_judgement_has_its_words(subject, reason, warning):
    judgement = judge_key(subject, LITERAL, NOW)
    assert (judgement.reason, judgement.warning) == (reason, warning)


def test_an_end_date_is_of_subscriptions_alone_and_only_where_they_are_limited():
    assert judge_key(key(end_date_type=2, end_date=EARLIER), LITERAL, NOW).counts
    assert judge_key(subscription(end_date=EARLIER), LITERAL, NOW).counts


def test_an_instant_is_over_when_it_has_come():
    ended = {"end_date_type": 2, "end_date": NOW, "limit_date": LATER}
    assert judge_key(subscription(**ended), LITERAL, NOW).reason == "expired"
    in_grace = subscription(**ended, grace_days=1)
    assert judge_key(in_grace, LITERAL, NOW).reason == "subscription in its grace term"
    assert judge_key(in_grace, LITERAL, NOW + timedelta(days=1)).reason == "expired"
    assert judge_row(row("a", expires=NOW), LITERAL, NOW).reason == "expired on the device"


def test_a_use_counts_if_it_is_the_active_activated_unexpired_key():
    assert judge_row(row("a"), LITERAL, NOW).counts
    assert judge_row(row("a", expires=LATER), LITERAL, NOW).counts
    assert judge_row(row("a", current=False), LITERAL, NOW).reason == "reserve key"
    assert judge_row(row("a", pending=True), LITERAL, NOW).reason == "activation pending"
    assert judge_row(row("a", pending=True), LITERAL, NOW).settings == ("pending",)
    assert judge_row(row("a", current=False), LITERAL, NOW).settings == ()
    assert judge_row(row("a", expires=EARLIER), LITERAL, NOW).reason == "expired on the device"
    assert judge_row(row("a", pending=True), CountingRules(pending=True), NOW).counts


def test_a_reserve_key_is_never_counted():
    generous = CountingRules(grace=True, pending=True, reported_keys=True)
    assert not judge_row(row("a", current=False, pending=True), generous, NOW).counts


CLASSES = [
    ("Microsoft Windows 11", 4099, DeviceClass.WINDOWS_WORKSTATION),
    ("Microsoft Windows 10", 0, DeviceClass.WINDOWS_WORKSTATION),
    ("Windows 7", 0, DeviceClass.WINDOWS_WORKSTATION),
    ("<Microsoft Windows>", 0, DeviceClass.WINDOWS_WORKSTATION),
    ("Microsoft Windows 10", 0x8000, DeviceClass.WINDOWS_SERVER),
    ("Microsoft Windows 11", 0x8, DeviceClass.WINDOWS_SERVER),
    ("Microsoft Windows Server 2016", 36871, DeviceClass.WINDOWS_SERVER),
    ("  microsoft windows SERVER 2025  ", 0, DeviceClass.WINDOWS_SERVER),
    ("Microsoft Hyper-V Server 2019", 0, DeviceClass.WINDOWS_SERVER),
    ("Linux", 2099200, DeviceClass.OTHER),
    ("<Unix>", 0, DeviceClass.OTHER),
    ("Mac OS X", 0x1000, DeviceClass.OTHER),
    ("Novell Netware", 0, DeviceClass.OTHER),
    ("XWindows", 0, DeviceClass.OTHER),
    ("Android", 0x1000, DeviceClass.MOBILE),
    ("iOS", 0, DeviceClass.MOBILE),
    ("iPadOS 17", 0, DeviceClass.MOBILE),
    ("Windows Mobile", 0x1000, DeviceClass.MOBILE),
    ("Microsoft Windows Phone 8", 0, DeviceClass.MOBILE),
    ("Symbian", 0x1000, DeviceClass.MOBILE),
    ("BlackBerry OS", 0, DeviceClass.MOBILE),
    ("", 0x800 | 0x200000, DeviceClass.OTHER),
    ("", 0x9007, DeviceClass.WINDOWS_SERVER),
    ("", 0x1000 | 0x10, DeviceClass.WINDOWS_SERVER),
    ("", 0x18, DeviceClass.UNKNOWN),
    ("", 0x1003, DeviceClass.WINDOWS_WORKSTATION),
    ("", 0x400000, DeviceClass.WINDOWS_WORKSTATION),
    ("", 0x3, DeviceClass.UNKNOWN),
    ("", 0, DeviceClass.UNKNOWN),
]


@pytest.mark.parametrize(("os_name", "ctype", "expected"), CLASSES)
def test_a_device_is_classed_by_its_system_name_then_by_its_type_bits(os_name, ctype, expected):
    assert classify(Device("d", "d", os_name, ctype)) is expected


@given(st.text(max_size=40), st.integers(0, 2**25))
def test_any_device_has_a_class_and_the_service_bits_never_decide_it(os_name, ctype):
    assert classify(Device("d", "d", os_name, ctype)) is classify(
        Device("d", "d", os_name, ctype | 0x3)
    )


def test_a_key_expires_at_the_earlier_of_its_dates():
    assert expires(key()) == LATER
    assert expires(subscription()) is None
    limited = subscription(end_date_type=2, end_date=NOW, limit_date=LATER)
    assert expires(limited) == NOW
    assert expires(subscription(end_date_type=2, end_date=NOW)) == NOW
    assert expires(key(end_date_type=2, end_date=NOW)) == LATER
    assert expires(subscription(end_date=NOW, limit_date=LATER)) == LATER
    assert expires(subscription(end_date_type=2)) is None
