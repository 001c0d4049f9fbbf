"""What is to be expected of keys, as arithmetic."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from kisi.counting import count_tenant, ended_keys, key_uses, outlook, turning_points
from kisi.model import (
    Action,
    Category,
    CountingRules,
    KeyUse,
    OutlookRules,
    PlannedLine,
    TenantRef,
)
from tests.unit.build import (
    COMPANY,
    EARLIER,
    KES,
    NOW,
    SERVER_2022,
    TODAY,
    counting,
    device,
    key,
    reading,
    row,
    subscription,
)

USE = KeyUse("K1", KES, KES, True, "commercial", 5, 5, 100, NOW + timedelta(days=30))
TENANT = str(COMPANY.tenants[0])
LINE = PlannedLine(
    psa="cw",
    company="250",
    agreement="1042",
    application=KES,
    categories=(Category.ALL,),
    product="1200",
    line_id="301",
    action=Action.UPDATE,
    before=None,
    after=0,
)


def kinds(*uses, companies=(COMPANY,), zone=UTC):
    found = outlook(companies, {TENANT: uses}, OutlookRules(), TODAY, zone)
    return [one.kind.value for one in found]


@pytest.mark.parametrize(
    ("days", "said"), [(-1, ["ends"]), (0, ["ends"]), (30, ["ends"]), (31, [])]
)
def test_a_key_is_announced_from_so_many_days_on(days, said):
    assert kinds(replace(USE, expires=NOW + timedelta(days=days))) == said


def test_the_last_day_is_that_of_the_billing_zone():
    late = replace(USE, expires=datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    (one,) = outlook((COMPANY,), {TENANT: [late]}, OutlookRules(), TODAY, ZoneInfo("Europe/Berlin"))
    assert one.ends == date(2026, 11, 23)


def test_never_is_no_day():
    never = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    assert kinds(replace(USE, expires=never), zone=ZoneInfo("Asia/Tokyo")) == []


@pytest.mark.parametrize(
    ("used", "licenses", "said"),
    [
        *((90, 100, []), (91, 100, ["near"]), (100, 100, ["near"]), (101, 100, ["over"])),
        *((None, 4, ["over"]), (101, None, []), (101, 0, [])),
    ],
)
def test_more_in_use_than_the_share_or_than_were_bought(used, licenses, said):
    assert kinds(replace(USE, used=used, licenses=licenses, expires=None)) == said


@pytest.mark.parametrize(("used", "said"), [(3, ["paused"]), (None, ["paused"]), (0, [])])
def test_a_paused_subscription_is_named_unless_nobody_uses_it(used, said):
    paused = replace(USE, counted=False, reason="paused subscription", devices=0, used=used)
    assert kinds(paused) == said


def test_keys_that_count_for_nobody_are_not_announced():
    assert kinds(replace(USE, counted=False, reason="trial key")) == []
    assert kinds(USE, companies=(replace(COMPANY, billing=False),)) == []
    assert kinds(USE, companies=(replace(COMPANY, left=True),)) == []


def test_tenants_of_a_client_are_one_entry_and_their_devices_add_up():
    second = TenantRef("hq", "VSRV-2")
    both = replace(COMPANY, tenants=(*COMPANY.tenants, second))
    keys = {TENANT: [USE], str(second): [replace(USE, devices=7, used=7)]}
    (one,) = outlook((both,), keys, OutlookRules(), TODAY, UTC)
    assert (one.tenant, one.devices, one.used) == (COMPANY.tenants[0], 12, 12)


def test_the_keys_of_a_reading_have_the_devices_that_are_counted_with_each():
    devices = [device(name) for name in "abc"]
    uses = [row("a"), row("b", "K2"), row("c", "K2"), row("a", "K2")]
    read = reading(devices, uses, [key(), key("K2", licenses=9), subscription("K3", state=1)])
    found = {one.serial: one for one in key_uses(count_tenant(read, counting()))}
    assert {serial: one.devices for serial, one in found.items()} == {"K1": 1, "K2": 2, "K3": 0}
    assert (found["K2"].licenses, found["K3"].reason) == (9, "paused subscription")


def usage(*keys, devices="abc"):
    listed = [
        device(name, SERVER_2022 if name == "s" else "Microsoft Windows 11") for name in devices
    ]
    uses = [row(name, keys[-1].serial) for name in devices]
    return count_tenant(reading(listed, uses, list(keys)), counting())


def why(before, now, line=LINE):
    return [*ended_keys([before], [now], line, CountingRules(), UTC)]


def test_a_key_that_ended_is_why_fewer_are_counted():
    ended = key("K2", limit_date=EARLIER)
    said = f"key K2 ({KES}) ended on {EARLIER.date()}: 3 devices were counted with it"
    assert why(usage(key("K2")), usage(ended)) == [said]
    gone = f"key K2 ({KES}) is not on its server any more: 3 devices were counted with it"
    assert why(usage(key("K2")), usage(key(), devices="")) == [gone]
    for now, reason in (
        (subscription("K2", state=1), "paused subscription"),
        (subscription("K2", stored=False), "not in the server's own storage"),
    ):
        (said,) = why(usage(subscription("K2")), usage(now))
        assert said.startswith(f"key K2 ({KES}) does not count any more ({reason}): 3 devices")


def test_devices_that_are_counted_with_another_key_now_are_not_why():
    assert why(usage(key("K2")), usage(key("K2", limit_date=EARLIER), key("K3"))) == []
    assert why(usage(key("K2")), usage(key("K2"), devices="a")) == []


def test_only_the_devices_of_a_line_are_why_it_falls():
    ended = usage(key("K2", limit_date=EARLIER))
    servers = replace(LINE, categories=(Category.WINDOWS_SERVERS,))
    (said,) = why(usage(key("K2"), devices="abs"), ended, servers)
    assert said.endswith("1 device was counted with it")
    assert why(usage(key("K2")), ended, replace(LINE, application="KES Cloud")) == []


DAY = timedelta(days=1)
FAR = datetime.max.replace(tzinfo=UTC)
LIMITED = {"end_date_type": 2, "limit_date": NOW + 90 * DAY}


@pytest.mark.parametrize(
    ("one", "turns"),
    [
        (key(limit_date=NOW + 3 * DAY), [3]),
        (key(limit_date=NOW - 3 * DAY), [-3]),
        (key(limit_date=NOW), [0]),
        (key(limit_date=NOW + 3 * DAY, key_type=3), []),  # a trial key counts neither way
        (key(limit_date=NOW + 3 * DAY, stored=False), []),
        (subscription(end_date=NOW - 3 * DAY, **LIMITED), [-3]),
        (subscription(end_date=NOW + 3 * DAY, grace_days=7, **LIMITED), [3, 90]),
        (subscription(end_date=NOW + 3 * DAY, state=3, **LIMITED), []),
        (key(limit_date=datetime.min.replace(tzinfo=UTC)), []),
    ],
)
def test_an_end_counts_where_the_key_counts_before_it(one, turns):
    assert turns_of(one) == turns[:1]


def turns_of(one, rows=None, **rules):
    told = reading([device("a")], rows if rows is not None else [row("a", one.serial)], [one])
    context = counting(rules=CountingRules(**rules))
    found = turning_points(told, count_tenant(told, context), context)
    return [(at - NOW) / DAY for at in found[KES]]


def test_a_grace_term_moves_the_end_where_it_counts_and_never_beyond_the_calendar():
    one = subscription(end_date=NOW - 3 * DAY, grace_days=7, **LIMITED)
    assert (turns_of(one), turns_of(one, grace=True)) == ([-3], [4])
    endless = subscription(end_date=FAR - DAY, grace_days=7, end_date_type=2, limit_date=FAR)
    assert turns_of(endless, grace=True) == [(FAR - NOW) / DAY]


def test_the_nearest_ends_on_both_sides_are_told_also_those_of_single_uses():
    ends = [NOW + days * DAY for days in (-9, -2, 4, 8)]
    rows = [row("a", expires=at) for at in ends]
    assert turns_of(key(limit_date=NOW + 5 * DAY), rows) == [-2, 4]
    reserve = [replace(one, current=False) for one in rows]
    assert turns_of(key(limit_date=NOW + 5 * DAY), reserve) == [5]


def test_a_key_that_nobody_uses_changes_nothing():
    assert turns_of(key(limit_date=NOW + 3 * DAY, used=0), []) == []
    assert turns_of(key(limit_date=NOW + 3 * DAY, used=None), []) == [3]
