"""Containers become kisi's values; absent attributes are fine, wrong ones are not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kisi.errors import Incomplete
from kisi.model import Device, Key, KeyRow
from kisi.sources.ksc import records
from kisi.sources.ksc.openapi import ServerLabel
from kisi.sources.ksc.records import VirtualServer

WHEN = datetime(2027, 1, 1, tzinfo=UTC)
HQ = ServerLabel("hq", "Contoso")


def test_a_key_with_all_attributes() -> None:
    row = {
        "KLLIC_SERIAL": " 0A00-000000-00000002 ",
        "KLLIC_PROD_NAME": "Kaspersky Next",
        "KLLIC_KEY_TYPE": 6,
        "KLLIC_LIMIT_DATE": WHEN,
        "KLLIC_LIC_COUNT": 50,
        "KLLIC_NHOSTS_ASCURRENT": 3,
        "KLLICSRV_KEY_INSTALLED": True,
        "KLLIC_LICTYPE_IS_SUBSCRIPTION": True,
        "KLLIC_SUBSCRINFO_ENDDATE": WHEN,
        "KLLIC_SUBSCRINFO_ENDDATETYPE": 2,
        "KLLIC_SUBSCRINFO_GRACETERM": 14,
        "KLLIC_SUBSCRINFO_STATE": 0,
    }
    assert set(row) == set(records.KEY_FIELDS)
    notes: list[str] = []
    assert records.parse_key(HQ, row, notes) == Key(
        serial="0A00-000000-00000002",
        name="Kaspersky Next",
        key_type=6,
        subscription=True,
        state=0,
        end_date_type=2,
        limit_date=WHEN,
        end_date=WHEN,
        grace_days=14,
        stored=True,
        used=3,
        licenses=50,
    )
    assert notes == []


def test_what_is_absent_is_never_taken_as_a_reason_to_count() -> None:
    notes: list[str] = []
    assert records.parse_key(HQ, {"KLLIC_SERIAL": "K"}, notes) == Key(
        "K", "key K, unnamed", stored=False
    )
    row = {"KLLICSRV_HOSTNAME": "D"}
    assert records.parse_key(HQ, {"KLLIC_SERIAL": "K", "KLLIC_PROD_NAME": " "}, []).name == (
        "key K, unnamed"
    )
    assert records.parse_key_row(HQ, "K", row) == KeyRow("K", "D", current=None)
    assert notes == ["Key K does not say whether it is in the server's storage: taken as not."]


def test_a_row_and_a_device_with_all_attributes() -> None:
    row = {
        "KLLICSRV_HOSTNAME": "id",
        "KLLICSRV_HOSTDN": "PC-07",
        "KLLICSRV_HOST_CURRENT": True,
        "KLLICSRV_EXPIRATION_TIME": WHEN,
        "KLLICSRV_PRODUCT": "KES",
        "KLLICSRV_VERSION": "12.0",
        "KLLIC_LIC_IS_PENDING_SUBSCRIPTION": True,
    }
    assert set(row) == set(records.KEY_HOST_FIELDS)
    notes: list[str] = []
    assert records.parse_key_row(HQ, "K", row) == KeyRow("K", "id", "PC-07", True, True, WHEN)
    assert notes == []
    host = {
        "KLHST_WKS_HOSTNAME": "id",
        "KLHST_WKS_DN": "PC-07",
        "KLHST_WKS_CTYPE": 36871,
        "KLHST_WKS_OS_NAME": "Microsoft Windows 11",
        "KLHST_WKS_LAST_VISIBLE": WHEN,
    }
    assert set(host) == set(records.HOST_FIELDS)
    assert records.parse_device(HQ, host) == Device(
        "id", "PC-07", "Microsoft Windows 11", 36871, WHEN
    )
    assert records.parse_device(HQ, {"KLHST_WKS_HOSTNAME": "id"}) == Device("id")


def test_a_virtual_server_is_enabled_unless_it_says_otherwise() -> None:
    row = {"KLVSRV_UID": "VSRV1", "KLVSRV_ID": 1, "KLVSRV_DN": "Contoso"}
    (server,) = records.parse_servers(ServerLabel("hq"), [row]).values()
    assert server == VirtualServer("VSRV1", 1, "Contoso", enabled=True)
    disabled = records.parse_servers(ServerLabel("hq"), [{**row, "KLVSRV_ENABLED": False}])["VSRV1"]
    assert not disabled.enabled
    assert "it is disabled" in str(disabled.trouble)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([], "A key is not a container."),
        ({}, "A key has no KLLIC_SERIAL, so that it cannot be identified."),
        ({"KLLIC_SERIAL": "  "}, "A key has no KLLIC_SERIAL"),
        ({"KLLIC_SERIAL": []}, "KLLIC_SERIAL of a key is '[]' and not text."),
        ({"KLLIC_SERIAL": 5}, "KLLIC_SERIAL of a key is '5' and not text."),
        ({"KLLIC_KEY_TYPE": "commercial"}, "is 'commercial' and not a whole number."),
        ({"KLLIC_KEY_TYPE": True}, "is 'True' and not a whole number."),
        ({"KLLICSRV_KEY_INSTALLED": 1}, "is '1' and not true or false."),
        ({"KLLIC_LIMIT_DATE": "2027-01-01"}, "and not a date and time."),
    ],
)
def test_a_wrong_type_is_a_sentence(row: object, sentence: str) -> None:
    whole = {"KLLIC_SERIAL": "K", "KLLICSRV_KEY_INSTALLED": True, **row} if row else row
    with pytest.raises(Incomplete, match=r'^Source hq, virtual server "Contoso": ') as caught:
        records.parse_key(HQ, whole, [])
    assert sentence in str(caught.value)


@pytest.mark.parametrize("days", [-1, 36_501, 10**9])
def test_a_grace_term_that_cannot_be_is_none_and_said(days: int) -> None:
    notes: list[str] = []
    row = {"KLLIC_SERIAL": "K", "KLLIC_SUBSCRINFO_GRACETERM": days}
    assert records.parse_key(HQ, row, notes).grace_days == 0
    assert f"Key K reports a grace term of {days} days; taken as none." in notes


def test_a_row_without_a_device_is_an_error() -> None:
    with pytest.raises(Incomplete, match="A use of key K has no KLLICSRV_HOSTNAME"):
        records.parse_key_row(HQ, "K", {})
