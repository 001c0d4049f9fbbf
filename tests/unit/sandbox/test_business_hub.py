from __future__ import annotations

import csv
import io
import tomllib
from datetime import UTC, datetime, timedelta

import pytest

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.configuration import Report, write
from tests.unit.sandbox.conftest import NOW

OFFICE = "Kaspersky Security for Microsoft Office 365"
CLOUD = "Kaspersky Endpoint Security Cloud Plus"


@pytest.fixture
def hub() -> BusinessHub:
    hub = BusinessHub(lambda: NOW)
    hub.licence('Büro, "Nord"', OFFICE, 25, category="mailboxes")
    hub.add_devices("Contoso", CLOUD, workstations=1, ios=2)
    return hub


def rows(report: Report, delimiter: str = ",") -> list[list[str]]:
    text = report.content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_the_report_of_licences_has_a_number_a_row(hub):
    assert rows(hub.report("licences")) == [
        ["Company", "Application", "Category", "Quantity", "Status"],
        ['Büro, "Nord"', OFFICE, "mailboxes", "25", "Active"],
    ]


def test_the_report_of_devices_has_a_device_a_row(hub):
    assert rows(hub.report("devices"), ";") == [
        ["Company", "Application", "Device", "Operating system", "Status"],
        ["Contoso", CLOUD, "DEVICE-0001", "Windows 11 Pro", "Active"],
        ["Contoso", CLOUD, "DEVICE-0002", "iOS 18", "Active"],
        ["Contoso", CLOUD, "DEVICE-0003", "iOS 18", "Active"],
    ]


def test_a_report_is_an_hour_old_unless_it_was_made_at_another_time(hub):
    assert hub.report("devices").modified == NOW - timedelta(hours=1)
    hub.exported = NOW - timedelta(days=4)
    report = hub.report("devices")
    assert (report.path, report.modified) == ("exports/devices-2026-11-17.csv", hub.exported)


def test_every_configuration_brings_the_reports_of_that_moment(hub, tmp_path):
    part = hub.part()
    config = tomllib.loads(write(tmp_path, [part], None).read_text(encoding="utf-8"))
    hub.licences[0].quantity = 26
    write(tmp_path, [part], None)

    assert config["sources"]["hub"]["files"] == ["exports/licences-*.csv", "exports/devices-*.csv"]
    file = tmp_path / hub.report("licences").path
    assert file.read_bytes() == hub.report("licences").content
    assert b",26,Active\r\n" in file.read_bytes()
    assert datetime.fromtimestamp(file.stat().st_mtime, UTC) == NOW - timedelta(hours=1)


def test_a_report_without_rows_is_not_made(tmp_path):
    hub = BusinessHub()
    hub.licence("Contoso", OFFICE, 1)

    write(tmp_path, [hub.part()], None)

    assert [file.name[:9] for file in (tmp_path / "exports").iterdir()] == ["licences-"]


def test_a_system_that_nobody_knows_is_refused(hub):
    with pytest.raises(KeyError):
        hub.add_devices("Contoso", CLOUD, toasters=1)
