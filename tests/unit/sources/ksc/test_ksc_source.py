"""Reading a whole Security Center: the sequence of calls, and what every fault leads to."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from kisi.errors import ConfigError, Incomplete, KisiError, LoginRefused, SourceError
from kisi.model import Key, Level, Reading, Tenant, TenantRef
from kisi.sources.ksc import KscSettings
from kisi.sources.ksc.openapi import HELD_AT_MOST, Denied
from kisi.sources.ksc.source import KscSource
from kisi.transport import Limits, skew_words
from tests.unit.sources.ksc.fake_ksc import (
    LOST,
    NOW,
    FakeKsc,
    FakeServer,
    host,
    instant,
    key,
    params,
    pxg,
    use,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.fakes import FakeClock

    OpenSource = Callable[..., KscSource]

EVERYTHING = lambda _: True  # noqa: E731


def read(source: KscSource, select=EVERYTHING) -> dict[str, Reading | KisiError]:
    names = {tenant.ref: tenant.name for tenant in source.tenants()}
    return {names[ref]: result for ref, result in source.read(source.tenants(), select)}


def read_one(source: KscSource, select=EVERYTHING) -> Reading:
    (result,) = read(source, select).values()
    assert isinstance(result, Reading), result
    return result


def fail_one(source: KscSource) -> KisiError:
    (result,) = read(source).values()
    assert isinstance(result, KisiError)
    assert 'Source hq, virtual server "Contoso"' in result.message
    assert "Its client's lines stay as they are." in result.message
    return result


def contoso(devices: int = 3, **attributes: Any) -> FakeKsc:
    return FakeKsc(FakeServer(1, "Contoso", devices, **attributes))


# --- the ordinary day ---------------------------------------------------------------------------


def test_tenants_are_the_virtual_servers_by_uid(serve: OpenSource) -> None:
    ksc = FakeKsc(FakeServer(1, "Contoso"), FakeServer(2, "Fäbrikam", enabled=False))
    assert serve(ksc).tenants() == (
        Tenant(TenantRef("hq", "VSRV-1"), "Contoso", enabled=True),
        Tenant(TenantRef("hq", "VSRV-2"), "Fäbrikam", enabled=False),
    )
    login = ksc.calls[0]
    assert login.method == "Session.StartSession"
    assert login.headers["X-KSC-VServer"] == ""
    assert login.headers["Authorization"] == (
        'KSCBasic user="a2lzaQ==", pass="cGE1NSDDvA==", domain="", internal="1"'
    )
    assert ksc.calls[1].arguments == {"lParentGroup": -1}
    assert ksc.calls[1].headers["X-KSC-Session"] == ksc.begun[0].token


def test_the_sequence_of_calls_of_one_virtual_server(serve: OpenSource) -> None:
    ksc = contoso(keys=[key("K1"), key("K2", KLLIC_NHOSTS_ASCURRENT=0), key("K3")])
    ksc.servers[0].uses["K3"] = [use("Contoso-0", KLLICSRV_HOST_CURRENT=False)]
    source = serve(ksc)
    reading = read_one(source, lambda one: one.serial != "K4")
    assert ksc.methods("Contoso") == [
        "StartSession",
        "GetStaticInfo",
        *("EnumKeys", "GetNextItems"),
        *("AcquireKeyHosts", "GetNextItems"),
        *("AcquireKeyHosts", "GetNextItems"),  # of a key whose figure is 0, and which nobody uses
        *("AcquireKeyHosts", "GetNextItems"),
        *("FindHosts", "GetItemsChunk"),
        "EndSession",  # which frees the four lists
    ]
    assert reading.tenant.ref == TenantRef("hq", "VSRV-1")
    assert reading.at == NOW
    assert [one.serial for one in reading.keys] == ["K1", "K2", "K3"]
    assert [(row.serial, row.device, row.current) for row in reading.rows] == [
        ("K1", "Contoso-0", True),
        ("K1", "Contoso-1", True),
        ("K1", "Contoso-2", True),
        ("K3", "Contoso-0", False),
    ]
    assert sorted(reading.devices) == ["Contoso-0", "Contoso-1", "Contoso-2"]
    assert reading.notes == ()
    source.close()
    assert ksc.ended == ["Contoso", ""]
    assert ksc.everything_was_given_back


def test_only_documented_arguments_are_sent(serve: OpenSource) -> None:
    ksc = contoso(1)
    read_one(serve(ksc))
    sent = {call.method: call.arguments for call in ksc.calls}
    assert sent["LicenseKeys.AcquireKeyHosts"]["pInData"] == {"KLLIC_SERIAL": "K1"}
    assert sent["LicenseKeys.EnumKeys"]["pFieldsToOrder"] == []
    find = sent["HostGroup.FindHosts"]
    assert find["vecFieldsToOrder"] == [params(Name="KLHST_WKS_HOSTNAME", Asc=True)]
    assert find["pParams"] == {"KLGRP_FIND_FROM_CUR_VS_ONLY": True}
    assert find["lMaxLifeTime"] <= 7200
    assert not any("KEYDATA" in str(arguments) for arguments in sent.values())


def test_devices_are_read_only_where_a_key_has_rows(serve: OpenSource) -> None:
    ksc = contoso(2)
    reading = read_one(serve(ksc), lambda _: False)
    assert (len(reading.keys), reading.rows, reading.devices) == (1, (), {})
    assert "AcquireKeyHosts" not in ksc.methods()
    assert "FindHosts" not in ksc.methods()


def test_a_list_longer_than_a_chunk_is_read_to_its_end(serve: OpenSource) -> None:
    ksc = contoso(7)
    ksc.max_items = 3
    reading = read_one(serve(ksc))
    assert len(reading.rows) == len(reading.devices) == 7
    assert ksc.methods().count("GetNextItems") == 1 + 3
    assert [
        c.arguments["nStart"] for c in ksc.calls if "Chunk" in c.method and "nStart" in c.arguments
    ] == [0, 3, 6]


def test_an_empty_list_may_come_without_an_iterator(serve: OpenSource) -> None:
    ksc = contoso(1)
    ksc.instead("LicenseKeys.EnumKeys", {"lKeyCount": 0})
    assert read_one(serve(ksc)).keys == ()
    ksc = contoso(1)
    ksc.servers[0].hosts = []
    ksc.instead("HostGroup.FindHosts", {"PxgRetVal": 0})
    assert read_one(serve(ksc)).devices == {}


def test_several_virtual_servers_are_read_at_once_each_in_its_own_session(
    serve: OpenSource,
) -> None:
    together = threading.Barrier(3, timeout=20)
    ksc = FakeKsc(*[FakeServer(n, f"Client {n}", n) for n in range(1, 4)])
    source = serve(ksc, workers=3)
    tenants = source.tenants()

    def select(_: Key) -> bool:
        together.wait()
        return True

    results = dict(source.read(tenants, select))
    assert {ref.tenant: len(result.rows) for ref, result in results.items()} == {
        "VSRV-1": 1,
        "VSRV-2": 2,
        "VSRV-3": 3,
    }
    source.close()
    assert sorted(ksc.ended) == ["", "Client 1", "Client 2", "Client 3"]


def test_a_key_that_is_listed_twice_is_read_once(serve: OpenSource) -> None:
    ksc = contoso(2, keys=[key("K1", KLLICSRV_KEY_INSTALLED=False), key("K1"), key("K1")])
    reading = read_one(serve(ksc))
    assert [one.stored for one in reading.keys] == [True]
    assert len(reading.rows) == 2
    assert reading.notes == (
        'Source hq, virtual server "Contoso": Key K1 is listed twice with different attributes.',
    )


@pytest.mark.parametrize(
    ("figures", "used", "rows"),
    [((0, 2), 2, 2), ((2, 0), 2, 2), ((0, None), None, 2), ((0, 0), 0, 2), ((1, 5, 3), 5, 2)],
)
def test_the_uses_of_a_key_are_read_whatever_its_figures_say(
    serve: OpenSource, figures: tuple[int | None, ...], used: int | None, rows: int
) -> None:
    told = [{} if each is None else {"KLLIC_NHOSTS_ASCURRENT": each} for each in figures]
    reading = read_one(serve(contoso(2, keys=[key("K1", **each) for each in told])))
    assert [one.used for one in reading.keys] == [used]
    assert len(reading.rows) == rows


# --- broken lists -------------------------------------------------------------------------------

BROKEN_CHUNKS = [
    LOST,
    (500, "oops"),
    (503, "busy"),
    pxg(1125, "KLPRSS", "The iterator does not exist."),
    pxg(9999),
    [],
    {"PxgRetVal": 3, "pData": {}},
    {"PxgRetVal": 0, "pData": {}},
    {"PxgRetVal": "three", "pData": {}},
    {"PxgRetVal": 1, "pData": {"KLCSP_ITERATOR_ARRAY": "row"}},
    {"PxgRetVal": 1, "pData": {"KLCSP_ITERATOR_ARRAY": ["row"]}},
    {"PxgRetVal": {"type": "long", "value": "many"}, "pData": {}},
    (200, "<html>Service maintenance</html>"),
    (200, "null"),
    (200, ""),
]


@pytest.mark.parametrize("answer", BROKEN_CHUNKS)
def test_a_step_of_an_iterator_is_never_repeated_the_list_is_opened_again_once(
    serve: OpenSource, answer: Any
) -> None:
    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", None, answer)
    source = serve(ksc)
    assert len(read_one(source).rows) == 3
    assert ksc.methods("Contoso").count("AcquireKeyHosts") == 2
    assert ksc.methods("Contoso").count("GetNextItems") == 3
    source.close()
    assert ksc.everything_was_given_back

    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", None, answer, answer)
    source = serve(ksc)
    assert isinstance(fail_one(source), SourceError)
    assert ksc.methods("Contoso").count("AcquireKeyHosts") == 2
    assert ksc.methods("Contoso").count("StartSession") == 1
    source.close()
    assert ksc.everything_was_given_back


@pytest.mark.parametrize("code", [429, 503])
def test_a_throttled_iterator_is_opened_again_when_the_server_says(
    serve: OpenSource, clock: FakeClock, code: int
) -> None:
    def throttled(_: object) -> tuple[int, str, dict[str, str]]:
        return code, "busy", {"Retry-After": "30"}

    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", None, throttled, throttled, server="Contoso")
    assert len(read_one(serve(ksc)).rows) == 3
    assert clock.slept == [30.0, 30.0]
    assert ksc.methods("Contoso").count("AcquireKeyHosts") == 3

    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", *[throttled] * 9, server="Contoso")
    clock.slept.clear()
    error = fail_one(serve(ksc))
    assert f"it is too busy for GroupSyncIterator.GetNextItems (HTTP {code}" in error.message
    assert clock.slept == [30.0] * 3  # within the two minutes that a call may take
    assert ksc.methods("Contoso").count("GetNextItems") == 4


def test_a_throttled_iterator_does_not_wait_beyond_the_calls_deadline(
    serve: OpenSource, clock: FakeClock
) -> None:
    ksc = contoso(3)
    later = lambda _: (503, "busy", {"Retry-After": "99999"})  # noqa: E731
    ksc.instead("GroupSyncIterator.GetNextItems", later)
    assert "it is too busy" in fail_one(serve(ksc)).message
    assert clock.slept == []


def test_a_throttled_iterator_that_asks_for_no_wait_is_not_asked_a_thousand_times(
    serve: OpenSource, clock: FakeClock
) -> None:
    ksc = contoso(3)
    at_once = lambda _: (429, "busy", {"Retry-After": "0"})  # noqa: E731
    ksc.instead("GroupSyncIterator.GetNextItems", *[at_once] * 500)
    assert "it is too busy" in fail_one(serve(ksc)).message
    assert set(clock.slept) == {2.0}
    assert ksc.methods().count("GetNextItems") <= 60


def test_an_iterator_that_is_gone_twice_says_what_to_do(serve: OpenSource) -> None:
    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", pxg(1125), pxg(1125), server="Contoso")
    error = fail_one(serve(ksc))
    assert isinstance(error, Incomplete)
    assert "GetNextItems asked for is gone" in error.message
    assert "Run kisi again" in error.remedy


@pytest.mark.parametrize("rows", [2, 4])
def test_a_count_that_does_not_match_is_read_again_and_then_incomplete(
    serve: OpenSource, rows: int
) -> None:
    wrong = lambda ordinary: {**ordinary, "lKeyCount": rows}  # noqa: E731
    ksc = contoso(3)
    ksc.instead("LicenseKeys.AcquireKeyHosts", wrong)
    assert len(read_one(serve(ksc)).rows) == 3
    ksc = contoso(3)
    ksc.instead("LicenseKeys.AcquireKeyHosts", wrong, wrong)
    error = fail_one(serve(ksc))
    assert isinstance(error, Incomplete)
    assert f"a list of {rows} rows" in error.message


def test_a_chunk_that_comes_twice_is_counted_once(serve: OpenSource) -> None:
    ksc = contoso(6)
    ksc.max_items = 3
    first = ksc.chunk(ksc.servers[0].uses["K1"][:3])
    ksc.instead("GroupSyncIterator.GetNextItems", None, None, lambda _: first)
    reading = read_one(serve(ksc))
    assert len({row.device for row in reading.rows}) == 6

    again = contoso(6)
    again.max_items = 3
    again.instead("GroupSyncIterator.GetNextItems", None, *[lambda _: first] * 6)
    assert "a list of 6 rows ended after 3." in fail_one(serve(again)).message


def test_rows_that_are_equal_within_a_chunk_all_count(serve: OpenSource) -> None:
    ksc = contoso(2)
    ksc.servers[0].uses["K1"] *= 2
    assert len(read_one(serve(ksc)).rows) == 4


def test_equal_rows_of_two_chunks_are_two_rows_if_nothing_is_missing(serve: OpenSource) -> None:
    """One device with two products that do not say their names."""
    ksc = contoso(4)
    ksc.max_items = 3
    ksc.servers[0].uses["K1"] += ksc.servers[0].uses["K1"][:1]
    assert len(read_one(serve(ksc)).rows) == 5

    alone = contoso(3)
    alone.max_items = 3
    alone.servers[0].uses["K1"] += alone.servers[0].uses["K1"][:1]
    assert len(read_one(serve(alone)).rows) == 4

    short = contoso(4)
    short.max_items = 3
    short.servers[0].uses["K1"] += short.servers[0].uses["K1"][:1]
    more = lambda ordinary: {**ordinary, "lKeyCount": 6}  # noqa: E731
    short.instead("LicenseKeys.AcquireKeyHosts", more, more)
    assert "a list of 6 rows ended after 4." in fail_one(serve(short)).message


def test_rows_that_came_already_do_not_stand_for_missing_ones(serve: OpenSource) -> None:
    ksc = contoso(6)
    ksc.max_items = 3
    uses = ksc.servers[0].uses["K1"]
    overlap = ksc.chunk(uses[1:4])
    rest = [overlap, ksc.chunk(uses[4:6])]
    ksc.instead("GroupSyncIterator.GetNextItems", None, None, *[lambda _, a=a: a for a in rest])
    assert len({row.device for row in read_one(serve(ksc)).rows}) == 6


def test_an_iterator_that_gives_the_same_for_ever_ends(serve: OpenSource) -> None:
    ksc = contoso(6)
    uses = ksc.servers[0].uses["K1"]
    first, turned = ksc.chunk(uses[:3]), ksc.chunk([uses[1], uses[2], uses[0]])
    ksc.instead(
        "GroupSyncIterator.GetNextItems", None, *[lambda _: first, *[lambda _: turned] * 30] * 2
    )
    assert "a list of 6 rows ended after 3." in fail_one(serve(ksc)).message
    assert ksc.methods().count("GetNextItems") < 12


SURPLUS = [
    ("LicenseKeys.EnumKeys", "lKeyCount", 50, "GetNextItems", 2 + 1),
    ("LicenseKeys.AcquireKeyHosts", "lKeyCount", 500, "GetNextItems", 1 + 2),
    ("HostGroup.FindHosts", "PxgRetVal", 500, "GetItemsChunk", 1),
]


@pytest.mark.parametrize(("opener", "count", "page", "step", "steps"), SURPLUS)
def test_a_list_that_is_longer_than_announced_by_whole_pages_is_noticed(
    serve: OpenSource, opener: str, count: str, page: int, step: str, steps: int
) -> None:
    def tenant(size: int) -> FakeKsc:
        if "EnumKeys" not in opener:
            ksc = contoso(size)
        else:
            ksc = contoso(1, keys=[key(f"K{number}") for number in range(size)])
        ksc.max_items = 1000
        return ksc

    only_one = lambda one: one.serial == "K1"  # noqa: E731
    whole = tenant(page)
    read_one(serve(whole), only_one)
    assert whole.methods().count(step) == steps

    wrong = lambda ordinary: {**ordinary, count: page}  # noqa: E731
    once = tenant(page + 1)
    once.instead(opener, wrong)
    reading = read_one(serve(once), only_one)
    assert page + 1 in {len(reading.keys), len(reading.rows)}
    twice = tenant(page + 1)
    twice.instead(opener, wrong, wrong)
    error = fail_one(serve(twice))
    assert isinstance(error, Incomplete)
    assert str(page + 1) in error.message


@pytest.mark.parametrize("devices", [50, 64, 100, 128, 250, 500])
def test_a_list_that_may_be_a_page_is_believed_where_the_keys_figure_says_the_same(
    serve: OpenSource, devices: int
) -> None:
    def asked(figure: int | None) -> int:
        ksc = contoso(devices, keys=[key("K1", KLLIC_NHOSTS_ASCURRENT=figure)])
        assert len(read_one(serve(ksc)).rows) == devices
        return len(ksc.methods("Contoso"))

    assert (asked(devices), asked(None), asked(devices + 1)) == (9, 10, 10)


@pytest.mark.parametrize("code", [1125, 1186, 1192])
def test_a_server_that_refuses_what_is_beyond_a_list_has_no_more(
    serve: OpenSource, code: int
) -> None:
    ksc = contoso(2, keys=[key("K1", KLLIC_NHOSTS_ASCURRENT=3)])
    ksc.servers[0].uses["K1"].append(use("elsewhere"))
    ksc.servers[0].uses["K1"][0]["value"]["KLLICSRV_HOST_CURRENT"] = False
    ksc.instead("GroupSyncIterator.GetNextItems", None, None, pxg(code))
    ksc.instead("ChunkAccessor.GetItemsChunk", None, pxg(code))
    reading = read_one(serve(ksc))
    assert (len(reading.rows), len(reading.devices), reading.notes) == (3, 2, ())
    assert ksc.methods().count("GetNextItems") == 3
    assert ksc.methods().count("GetItemsChunk") == 2


def test_what_is_tried_again_is_logged_without_what_would_follow_from_it(
    serve: OpenSource, caplog: pytest.LogCaptureFixture
) -> None:
    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", None, pxg(9999), server="Contoso")
    ksc.instead("LicenseKeys.AcquireKeyHosts", pxg(1186), server="Contoso")
    ksc.instead("HostGroup.FindHosts", lambda ordinary: {**ordinary, "PxgRetVal": 4})
    assert len(read_one(serve(ksc)).rows) == 3
    said = [r.getMessage() for r in caplog.records if "again from its start" in r.getMessage()]
    where = 'Source hq, virtual server "Contoso": '
    gone, failed, short = said
    assert gone == (
        f"hq:VSRV-1 is read again from its start. {where}what LicenseKeys.AcquireKeyHosts asked "
        'for is gone (1186 KLSTD: "No.").'
    )
    assert failed == (
        f"A list is read again from its start. {where}GroupSyncIterator.GetNextItems failed "
        '(9999 KLSTD: "No.").'
    )
    assert short == f"A list is read again from its start. {where}of 4 devices, 3 arrived."


@pytest.mark.parametrize(
    "answer",
    [{"wstrIterator": "x"}, {"lKeyCount": 3}, {"lKeyCount": -1}, {"lKeyCount": True}, LOST],
)
def test_an_opening_without_count_or_iterator_is_tried_once_more(
    serve: OpenSource, answer: Any
) -> None:
    ksc = contoso(1)
    ksc.instead("LicenseKeys.EnumKeys", answer)
    assert len(read_one(serve(ksc)).rows) == 1
    ksc = contoso(1)
    ksc.instead("LicenseKeys.EnumKeys", answer, answer)
    assert isinstance(fail_one(serve(ksc)), Incomplete)
    assert ksc.methods().count("EnumKeys") == 2


@pytest.mark.parametrize(
    "answer",
    [{"strAccessor": "x"}, {"PxgRetVal": 3}, lambda ordinary: {**ordinary, "PxgRetVal": 4}],
)
def test_a_device_list_that_does_not_add_up_is_read_once_more(
    serve: OpenSource, answer: Any
) -> None:
    ksc = contoso(3)
    ksc.instead("HostGroup.FindHosts", answer)
    assert len(read_one(serve(ksc)).devices) == 3
    ksc = contoso(3)
    ksc.instead("HostGroup.FindHosts", answer, answer)
    source = serve(ksc)
    assert isinstance(fail_one(source), Incomplete)
    assert ksc.ended == ["Contoso"]


def test_a_device_that_comes_twice_does_not_hide_one_that_is_missing(serve: OpenSource) -> None:
    ksc = contoso(3)
    ksc.servers[0].hosts[2] = ksc.servers[0].hosts[1]
    assert "of 3 devices, 2 arrived." in fail_one(serve(ksc)).message


def test_a_chunk_of_devices_may_be_asked_for_again(serve: OpenSource) -> None:
    ksc = contoso(3)
    ksc.instead("ChunkAccessor.GetItemsChunk", LOST, None, server="Contoso")
    assert len(read_one(serve(ksc)).devices) == 3
    assert ksc.methods().count("FindHosts") == 1
    assert ksc.methods().count("GetItemsChunk") == 2


@pytest.mark.parametrize(
    ("part", "row", "sentence"),
    [
        ("keys", key("K1", KLLIC_KEY_TYPE="x"), "KLLIC_KEY_TYPE of a key is 'x'"),
        ("uses", params(KLLICSRV_HOST_CURRENT=True), "has no KLLICSRV_HOSTNAME"),
        ("hosts", host("a", KLHST_WKS_CTYPE="x"), "KLHST_WKS_CTYPE of a device is 'x'"),
        ("hosts", params(), "A device has no KLHST_WKS_HOSTNAME"),
        (
            "keys",
            key("K1", KLLIC_LIMIT_DATE=instant("31.12.2027")),
            "KLLIC_LIMIT_DATE of a key is '31.12.2027' and not a date and time.",
        ),
        (
            "uses",
            use("Contoso-0", KLLICSRV_EXPIRATION_TIME=instant("soon")),
            "KLLICSRV_EXPIRATION_TIME of a use of key K1 is 'soon' and not a date and time.",
        ),
    ],
)
def test_a_record_of_a_wrong_type_makes_the_tenant_incomplete(
    serve: OpenSource, part: str, row: Any, sentence: str
) -> None:
    ksc = contoso(1)
    setattr(ksc.servers[0], part, {"K1": [row]} if part == "uses" else [row])
    error = fail_one(serve(ksc))
    assert isinstance(error, Incomplete)
    assert sentence in error.message


def test_when_a_device_was_seen_is_information_only(serve: OpenSource) -> None:
    ksc = contoso(3)
    for row, seen in zip(ksc.servers[0].hosts, [instant("never"), 5, "2027-01-01"], strict=True):
        row["value"]["KLHST_WKS_LAST_VISIBLE"] = seen
    assert {each.last_seen for each in read_one(serve(ksc)).devices.values()} == {None}


# --- the wrong server, dead sessions, vanished keys ---------------------------------------------


NOT_SAID = "HostGroup.GetStaticInfo did not say "
UNKNOWN = ", so that nobody knows who answered."


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"KLADMSRV_IS_VIRTUAL": False}, "one that is not virtual instead of number 1."),
        ({"KLADMSRV_IS_VIRTUAL": False, "KLADMSRV_VSID": 1}, "one that is not virtual instead of"),
        ({"KLADMSRV_IS_VIRTUAL": True, "KLADMSRV_VSID": 2}, "number 2 instead of number 1."),
        ({"KLADMSRV_IS_VIRTUAL": True}, f"{NOT_SAID}KLADMSRV_VSID{UNKNOWN}"),
        ({"KLADMSRV_VSID": 1}, f"{NOT_SAID}KLADMSRV_IS_VIRTUAL{UNKNOWN}"),
        ({}, f"{NOT_SAID}KLADMSRV_IS_VIRTUAL and KLADMSRV_VSID{UNKNOWN}"),
        ({"KLADMSRV_IS_VIRTUAL": 1, "KLADMSRV_VSID": 1}, "the wrong virtual server answered"),
        (None, "HostGroup.GetStaticInfo did not say who answers."),
    ],
)
def test_the_wrong_virtual_server_is_never_read(serve: OpenSource, info: Any, words: str) -> None:
    ksc = contoso(3)
    ksc.instead("HostGroup.GetStaticInfo", {"PxgRetVal": info})
    source = serve(ksc)
    error = fail_one(source)
    assert isinstance(error, Incomplete)
    assert words in error.message
    assert ("the wrong virtual server" in error.message) == ("same name" in error.remedy)
    assert "EnumKeys" not in ksc.methods()
    source.close()
    assert ksc.everything_was_given_back


GONE = [(401, "Authentication failure"), (403, "Forbidden"), pxg(1125, "KLPRSS"), pxg(1186)]


@pytest.mark.parametrize("gone", GONE)
def test_what_vanishes_under_a_reading_makes_it_start_again_once(
    serve: OpenSource, gone: Any
) -> None:
    ksc = contoso(3)
    ksc.instead("LicenseKeys.AcquireKeyHosts", gone)
    assert len(read_one(serve(ksc)).rows) == 3
    assert ksc.methods("Contoso").count("StartSession") == 2

    ksc = contoso(3)
    ksc.instead("LicenseKeys.AcquireKeyHosts", gone, gone)
    assert isinstance(fail_one(serve(ksc)), Incomplete)
    assert ksc.methods("Contoso").count("StartSession") == 2


def test_a_session_that_died_is_only_ended(serve: OpenSource) -> None:
    ksc = contoso(3)
    ksc.instead("GroupSyncIterator.GetNextItems", (403, "Forbidden"), server="Contoso")
    assert len(read_one(serve(ksc)).rows) == 3
    died = ksc.methods("Contoso").index("GetNextItems")
    assert ksc.methods("Contoso")[died + 1 : died + 3] == ["EndSession", "StartSession"]


@pytest.mark.parametrize("place", ["LicenseKeys.EnumKeys", "GroupSyncIterator.GetNextItems"])
def test_a_refused_login_to_read_again_is_final(serve: OpenSource, place: str) -> None:
    ksc = contoso(3)
    source = serve(ksc)
    refusal = (401, "Authentication failure")
    ksc.instead(place, refusal, server="Contoso")
    ksc.instead("Session.StartSession", None, refusal, refusal, server="Contoso")
    assert isinstance(fail_one(source), LoginRefused)
    assert ksc.methods("Contoso").count("StartSession") == 2


@pytest.mark.parametrize("died", [(401, "Authentication failure"), (403, "Forbidden")])
def test_a_main_session_that_died_is_begun_again_once(serve: OpenSource, died: Any) -> None:
    ksc = contoso(1)
    source = serve(ksc)
    source.tenants()
    ksc.instead("VServers.GetVServers", died)
    assert len(source.tenants()) == 1
    ksc.instead("VServers.GetVServers", died, died)
    before = ksc.methods().count("StartSession")
    with pytest.raises(SourceError, match="the session ended before") as caught:
        source.tenants()
    assert not isinstance(caught.value, LoginRefused)
    assert ksc.methods().count("StartSession") == before + 1
    ksc.instead("VServers.GetVServers", pxg(1186))
    with pytest.raises(SourceError, match="is gone"):
        source.tenants()


def test_a_main_session_that_cannot_be_begun_again_is_ended_once(serve: OpenSource) -> None:
    ksc = contoso(1)
    source = serve(ksc)
    source.tenants()
    ksc.instead("VServers.GetVServers", (403, "Forbidden"))
    ksc.instead("Session.StartSession", (401, "Authentication failure"))
    with pytest.raises(LoginRefused):
        source.tenants()
    source.close()
    assert ksc.methods().count("EndSession") == 1


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal",
    [(401, "Authentication failure"), (403, "Forbidden"), pxg(1453), pxg(1454), pxg(2013, "SPL")],
)
def test_a_login_that_the_main_server_refuses_is_final(serve: OpenSource, refusal: Any) -> None:
    ksc = contoso(1)
    source = serve(ksc)
    ksc.instead("Session.StartSession", refusal)
    tenant = Tenant(TenantRef("hq", "VSRV-1"), "Contoso")
    with pytest.raises(LoginRefused, match="kisi did not try again") as caught:
        source.tenants()
    assert "Nothing of this source is billed" in caught.value.message
    assert "internal_user" in caught.value.remedy
    with pytest.raises(LoginRefused):
        source.tenants()
    ((_, result),) = source.read([tenant], EVERYTHING)
    assert isinstance(result, LoginRefused)
    assert ksc.methods() == ["StartSession"]


@pytest.mark.parametrize("code", [1453, 2013])
def test_a_refused_password_on_one_virtual_server_stops_all_logins(
    serve: OpenSource, code: int
) -> None:
    ksc = FakeKsc(*[FakeServer(n, f"Client {n}", 1) for n in range(1, 5)])
    ksc.instead("Session.StartSession", pxg(code, "KLWAT"), server="Client 1")
    results = read(serve(ksc, workers=1))
    assert isinstance(results.pop("Client 1"), LoginRefused)
    for result in results.values():
        assert isinstance(result, SourceError)
        assert "did not log in, to keep the account usable: the password was refused" in str(result)
    assert ksc.methods().count("StartSession") == 2


def test_a_virtual_server_without_rights_fails_alone_and_a_second_one_ends_the_logins(
    serve: OpenSource,
) -> None:
    ksc = FakeKsc(*[FakeServer(n, f"Client {n}", 1) for n in range(1, 7)])
    for name in ("Client 1", "Client 3", "Client 4", "Client 5"):
        ksc.instead("Session.StartSession", (401, "Authentication failure"), server=name)
    results = read(serve(ksc, workers=1))
    assert isinstance(results["Client 1"], LoginRefused)
    assert "though the main server accepts it" in results["Client 1"].message
    assert "right to log in" in results["Client 1"].remedy
    assert isinstance(results["Client 2"], Reading)
    assert isinstance(results["Client 3"], LoginRefused)
    for name in ("Client 4", "Client 5", "Client 6"):
        assert "2 virtual servers of this source have refused" in results[name].message
    assert ksc.methods().count("StartSession") == 4


def test_workers_together_never_have_more_than_two_logins_refused(serve: OpenSource) -> None:
    ksc = FakeKsc(*[FakeServer(n, f"Client {n}", 1) for n in range(1, 13)])
    source = serve(ksc, workers=8)
    source.tenants()
    ksc.instead("Session.StartSession", *[(401, "Authentication failure")] * 12)
    results = read(source)
    assert sum(isinstance(result, LoginRefused) for result in results.values()) == 2
    assert ksc.methods().count("StartSession") == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (pxg(1184), 'the account lacks the right "Read"'),
        (pxg(1193), 'the account lacks the right "Read"'),
        (pxg(1194, "KLCONN"), "this version of Security Center is too old"),
        (pxg(1192), "did not understand LicenseKeys.EnumKeys"),
        ((404, "Not Found"), "there is no LicenseKeys.EnumKeys"),
    ],
)
def test_a_refusal_is_not_asked_again(serve: OpenSource, answer: Any, words: str) -> None:
    ksc = contoso(1)
    ksc.instead("LicenseKeys.EnumKeys", answer)
    error = fail_one(serve(ksc))
    assert words in error.message
    assert ksc.methods().count("EnumKeys") == 1
    assert ksc.ended == ["Contoso"]


def test_a_refusal_in_the_middle_of_a_list_is_not_asked_again(serve: OpenSource) -> None:
    ksc = contoso(1)
    ksc.instead("GroupSyncIterator.GetNextItems", pxg(1184))
    assert isinstance(fail_one(serve(ksc)), Denied)
    assert ksc.methods().count("EnumKeys") == 1


def test_a_server_that_is_not_ready_is_waited_for(serve: OpenSource, clock: FakeClock) -> None:
    ksc = contoso(1)
    source = serve(ksc)
    ksc.instead("LicenseKeys.EnumKeys", pxg(1195), pxg(1195))
    assert len(read_one(source).rows) == 1
    assert clock.slept == [2.0, 4.0]
    ksc.instead("LicenseKeys.EnumKeys", *[pxg(1195)] * 4)
    assert "is not available for LicenseKeys.EnumKeys" in fail_one(source).message


def test_a_busy_server_fails_its_tenant_with_what_it_said(serve: OpenSource) -> None:
    ksc = contoso(1)
    ksc.instead("LicenseKeys.EnumKeys", (503, "Too many requests"), (503, "Too many requests"))
    assert "too busy for LicenseKeys.EnumKeys (HTTP 503: 'Too many" in fail_one(serve(ksc)).message


@pytest.mark.parametrize("answer", [LOST, (502, "Bad gateway"), (504, "Gateway timeout")])
@pytest.mark.parametrize("server", ["", "Contoso"])
def test_a_login_whose_answer_never_came_is_tried_once_more(
    serve: OpenSource, clock: FakeClock, server: str, answer: Any
) -> None:
    ksc = contoso(1)
    ksc.instead("Session.StartSession", answer, server=server)
    assert len(read_one(serve(ksc)).rows) == 1
    assert (ksc.methods(server).count("StartSession"), clock.slept) == (2, [2.0])

    ksc = contoso(1)
    ksc.instead("Session.StartSession", answer, answer, server=server)
    with pytest.raises(Incomplete):
        raise next(iter(read(serve(ksc)).values()))
    assert ksc.methods(server) == ["StartSession"] * 2


@pytest.mark.parametrize("answer", [(500, "oops"), {"PxgRetVal": 5}, (200, "<html>")])
def test_a_login_that_was_answered_with_nonsense_is_not_repeated(
    serve: OpenSource, answer: Any
) -> None:
    ksc = contoso(1)
    ksc.instead("Session.StartSession", answer, server="Contoso")
    assert isinstance(fail_one(serve(ksc)), Incomplete)
    assert ksc.methods("Contoso") == ["StartSession"]


def test_a_login_that_is_refused_after_a_lost_answer_is_final(serve: OpenSource) -> None:
    ksc = contoso(1)
    ksc.instead("Session.StartSession", LOST, (401, "Authentication failure"))
    with pytest.raises(LoginRefused):
        serve(ksc).tenants()
    assert ksc.methods() == ["StartSession"] * 2


@pytest.mark.parametrize("token", [None, 5, "", "a\nb", "ü"])
def test_a_login_must_give_a_session(serve: OpenSource, token: object) -> None:
    ksc = contoso(1)
    ksc.instead("Session.StartSession", {"PxgRetVal": token})
    with pytest.raises(Incomplete, match="gave no session"):
        serve(ksc).tenants()


def many_keys() -> FakeKsc:
    """A virtual server with ten keys in use: its lists are more than a session is left with."""
    ksc = contoso(keys=[key(f"K{number}") for number in range(10)])
    for number in range(10):
        ksc.servers[0].uses[f"K{number}"] = [use("Contoso-0")]
    return ksc


def test_a_session_that_goes_on_gives_back_what_it_opened_first(serve: OpenSource) -> None:
    ksc = many_keys()
    assert len(read_one(serve(ksc)).rows) == 10
    given_back = ksc.methods("Contoso").count("ReleaseIterator")
    assert given_back == 12 - HELD_AT_MOST
    assert ksc.methods("Contoso").count("Release") == 0


def test_a_release_that_fails_changes_nothing(serve: OpenSource) -> None:
    ksc = many_keys()
    ksc.instead("GroupSyncIterator.ReleaseIterator", pxg(1125), pxg(1125))
    ksc.instead("Session.EndSession", (500, "oops"), (500, "oops"))
    assert len(read_one(serve(ksc)).rows) == 10


# --- the list of virtual servers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (None, "VServers.GetVServers gave no list"),
        ({}, "VServers.GetVServers gave no list"),
        ({"type": "long", "value": "x"}, "VServers.GetVServers gave no list"),
    ],
)
def test_a_list_of_virtual_servers_that_is_none_ends_the_source(
    serve: OpenSource, rows: object, words: str
) -> None:
    ksc = contoso(1)
    ksc.instead("VServers.GetVServers", {"PxgRetVal": rows})
    with pytest.raises(Incomplete, match=words):
        serve(ksc).tenants()


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (5, "A virtual server is not a container."),
        (None, "A virtual server is not a container."),
        (params(KLVSRV_DN="x"), "A virtual server has no KLVSRV_UID"),
        (params(KLVSRV_UID=5), "KLVSRV_UID of a virtual server is '5' and not text."),
        ({"type": "long", "value": "x"}, "A virtual server is not a container."),
    ],
)
def test_a_record_that_is_no_virtual_server_is_left_out(
    serve: OpenSource, caplog: pytest.LogCaptureFixture, odd: object, words: str
) -> None:
    ksc = contoso(1)
    ksc.instead(
        "VServers.GetVServers", lambda usual: {"PxgRetVal": [odd, *usual["PxgRetVal"], odd]}
    )
    source = serve(ksc)
    (tenant,) = source.tenants()
    ((_, result),) = source.read([tenant], EVERYTHING)
    assert isinstance(result, Reading)
    said = [each.getMessage() for each in caplog.records if "left out" in each.getMessage()]
    assert said == [
        f"A record in the list of virtual servers is left out. Source hq, main server: {each}"
        for each in [next(line for line in said if words in line).partition("server: ")[2]] * 2
    ]


def test_a_virtual_server_that_is_listed_twice_alike_is_one(serve: OpenSource) -> None:
    ksc = contoso(1)
    ksc.instead("VServers.GetVServers", *[lambda usual: {"PxgRetVal": usual["PxgRetVal"] * 3}] * 2)
    assert len(read_one(serve(ksc)).rows) == 1


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"KLVSRV_DN": "Other"}, 'server "Contoso": the server lists it twice, with different'),
        ({"KLVSRV_ID": 7}, 'server "Contoso": the server lists it twice, with different'),
        ({"KLVSRV_ENABLED": False}, 'server "Contoso": the server lists it twice, with different'),
        ({"KLVSRV_ID": "x"}, 'server "Contoso": the server lists it twice, with different'),
    ],
)
def test_a_virtual_server_that_is_listed_twice_with_a_difference_fails_alone(
    serve: OpenSource, attributes: dict[str, Any], words: str
) -> None:
    ksc = FakeKsc(FakeServer(1, "Contoso", 1), FakeServer(2, "Fabrikam", 1))

    def twice(usual: dict[str, Any]) -> dict[str, Any]:
        first = usual["PxgRetVal"][0]
        other = params(**{**first["value"], **attributes})
        return {"PxgRetVal": [*usual["PxgRetVal"], other, first]}

    ksc.instead("VServers.GetVServers", twice, twice)
    results = read(serve(ksc))
    assert words in str(results["Contoso"])
    assert isinstance(results["Fabrikam"], Reading)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"KLVSRV_ID": "x"}, "KLVSRV_ID of a virtual server is 'x' and not a whole number."),
        ({"KLVSRV_DN": 5}, "KLVSRV_DN of a virtual server is '5' and not text."),
        ({"KLVSRV_ENABLED": "yes"}, "is 'yes' and not true or false."),
        ({"KLVSRV_DN": "Kunde \ud83d"}, "its name holds half of a character"),
    ],
)
def test_a_virtual_server_that_is_not_described_rightly_fails_alone(
    serve: OpenSource, attributes: dict[str, Any], words: str
) -> None:
    ksc = FakeKsc(FakeServer(1, "Contoso", 1), FakeServer(2, "Fabrikam", 1))

    def odd(usual: dict[str, Any]) -> dict[str, Any]:
        first, second = usual["PxgRetVal"]
        return {"PxgRetVal": [params(**{**first["value"], **attributes}), second]}

    ksc.instead("VServers.GetVServers", odd)
    source = serve(ksc)
    tenants = source.tenants()
    assert [tenant.ref.tenant for tenant in tenants] == ["VSRV-1", "VSRV-2"]
    results = dict(source.read(tenants, EVERYTHING))
    wrong, right = (results[tenant.ref] for tenant in tenants)
    assert isinstance(wrong, SourceError)
    assert words in wrong.message
    assert 'Source hq, virtual server "' in wrong.message
    assert "Its client's lines stay as they are." in wrong.message
    assert isinstance(right, Reading)
    assert ksc.methods().count("StartSession") == 2


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (FakeServer(1, "Contoso", enabled=False), "it is disabled"),
        (FakeServer(1, ""), "does not say its name"),
    ],
)
def test_a_virtual_server_that_cannot_be_logged_in_to_is_not_tried(
    serve: OpenSource, server: FakeServer, words: str
) -> None:
    ksc = FakeKsc(server)
    ((_, result),) = read(serve(ksc)).items()
    assert isinstance(result, SourceError)
    assert words in result.message
    assert ksc.methods().count("StartSession") == 1


def test_a_tenant_that_the_server_does_not_list_is_an_error(serve: OpenSource) -> None:
    ksc = contoso(1)
    stranger = Tenant(TenantRef("hq", "VSRV-9"), "Contoso")
    ((ref, result),) = serve(ksc).read([stranger], EVERYTHING)
    assert ref == stranger.ref
    assert isinstance(result, SourceError)
    assert "does not list it any more" in result.message


def test_one_tenants_trouble_does_not_stop_the_others(serve: OpenSource) -> None:
    ksc = FakeKsc(*[FakeServer(n, f"Client {n}", 1) for n in range(1, 4)])
    ksc.instead("LicenseKeys.EnumKeys", pxg(1184), server="Client 2")
    results = read(serve(ksc))
    assert isinstance(results["Client 1"], Reading)
    assert isinstance(results["Client 2"], SourceError)
    assert isinstance(results["Client 3"], Reading)


# --- stopping, closing, checking ----------------------------------------------------------------


def test_a_reading_that_is_given_up_ends_its_sessions(serve: OpenSource) -> None:
    ksc = FakeKsc(*[FakeServer(n, f"Client {n}", 1) for n in range(1, 9)])
    source = serve(ksc, workers=2)
    results = source.read(source.tenants(), EVERYTHING)
    next(results)
    results.close()
    source.close()
    assert len(ksc.begun) == len(ksc.ended) < 9
    source.close()
    assert len(ksc.begun) == len(ksc.ended)


def test_a_closed_source_stops_what_is_being_read(serve: OpenSource) -> None:
    ksc = FakeKsc(FakeServer(1, "Contoso", 1), FakeServer(2, "Fabrikam", 1))
    source = serve(ksc, workers=1)

    def select(_: Key) -> bool:
        source.close()
        return True

    first, second = dict(source.read(source.tenants(), select)).values()
    assert "the run was stopped while it was read" in str(first)
    assert "the run was stopped before it was read" in str(second)
    assert len(ksc.begun) == len(ksc.ended)


def checked(source: KscSource) -> list[str]:
    return [finding.message for finding in source.check_online()]


def test_check_learns_version_and_clock(serve: OpenSource) -> None:
    ksc = contoso(1)
    source = serve(ksc)
    assert "sources.hq runs Security Center 14.0.0.10902." in checked(source)
    found = source.check_online()
    assert source.address() is None  # plain HTTP: there is no certificate to look after
    assert not any("certificate" in each.message for each in found)
    (clock,) = [each for each in found if "clock" in each.message]
    assert clock.level is Level.PROBLEM
    assert f"This {skew_words(NOW - datetime.now(UTC), 'sources.hq')}, so" in clock.message
    assert ksc.methods() == ["StartSession", *("GetVServers", "GetStaticInfo") * 2]
    ksc.instead(
        "HostGroup.GetStaticInfo", {"PxgRetVal": {"KLADMSRV_SERVER_VERSION_ID": 917504}}, {}
    )
    assert "sources.hq runs Security Center 917504." in checked(source)
    assert "sources.hq runs Security Center unknown." in checked(source)


def test_a_server_without_a_date_has_no_clock(
    serve: OpenSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kisi.sandbox.http.Handler.date_time_string", lambda *_: "today")
    assert "sources.hq does not say what time it is." in checked(serve(contoso(1)))


def test_an_unreachable_server_is_named_with_what_to_do(clock: FakeClock, tmp_path: Path) -> None:
    settings = KscSettings(url="http://127.0.0.1:1", user="kisi")
    limits = Limits(attempts=1)
    source = KscSource("hq", settings, {"password": "x"}, base=tmp_path, clock=clock, limits=limits)
    with pytest.raises(SourceError, match=r"127.0.0.1:1 could not be reached") as caught:
        source.tenants()
    assert caught.value.message.startswith("Source hq, main server: ")
    assert "network" in caught.value.remedy
    source.close()


def test_pins_are_files_beside_the_configuration(clock: FakeClock, tmp_path: Path) -> None:
    settings = KscSettings.model_validate(
        {"url": "https://ksc.example.com:13299", "user": "kisi", "ca_files": ["klserver.cer"]},
        context={"base": tmp_path},
    )
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "klserver.cer"))):
        KscSource("hq", settings, {"password": "x"}, base=tmp_path, clock=clock, limits=Limits())


def test_settings_have_defaults_and_limits() -> None:
    least = KscSettings(url="https://ksc.example.com:13299", user="kisi")
    assert (least.workers, least.internal_user, least.kind) == (8, True, "ksc")
    assert least.secrets("hq") == {"password": "env:KISI_HQ_PASSWORD"}
    for wrong in (
        {"workers": 0},
        {"workers": 17},
        {"user": ""},
        {"url": "http://ksc.example.com:13299"},
        {"fingerprints": ["md5:00"]},
        {"domain": "ACME"},
        {"domain": 'A"', "internal_user": False},
        {"domain": "Ä", "internal_user": False},
        {"verify": False},
    ):
        with pytest.raises(ValidationError):
            KscSettings.model_validate({**least.model_dump(), **wrong})
    domain_user = KscSettings.model_validate(
        {**least.model_dump(), "domain": "ACME", "internal_user": False}
    )
    assert domain_user.domain == "ACME"


def test_dates_arrive_in_utc_or_not_at_all(serve: OpenSource) -> None:
    ksc = contoso(
        1,
        keys=[
            key("K1", KLLIC_LIMIT_DATE=instant("")),
            key("K2", KLLIC_LIMIT_DATE=instant("2027-01-01T00:00:00")),
        ],
    )
    first, second = read_one(serve(ksc)).keys
    assert first.limit_date is None
    assert second.limit_date == datetime(2027, 1, 1, tzinfo=UTC)
