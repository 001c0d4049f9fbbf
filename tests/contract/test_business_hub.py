"""Business Hub's reports keep the contract of a source."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest

from kisi.model import TenantRef
from kisi.run.setup import SOURCES
from kisi.sources import UsageSource
from kisi.transport import Limits
from tests.contract.sources import APPLICATION, UsageSourceContract
from tests.unit.fakes import FakeClock

HEADING = ["company", "application", "device", "operating_system", "status"]


class HubStand:
    """A folder with one report, a row a device, and kisi's source in front of it."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.clock = FakeClock()
        self._settings = {"kind": "business-hub", "files": ["exports/*.csv"], **settings}
        self._folder = folder
        self._companies: dict[str, tuple[str, int]] = {}
        self._spoil: Callable[[str], str] = str
        self._age = timedelta(hours=1)
        self._write()
        self.source = self.reopen()

    def reopen(self) -> UsageSource:
        kind = SOURCES["business-hub"]
        self.source = kind.open(
            "hub",
            kind.settings.model_validate(self._settings),
            {},
            base=self._folder,
            clock=self.clock,
            limits=Limits(),
        )
        return self.source

    def tenant(self, name: str, devices: int, *, application: str = APPLICATION) -> TenantRef:
        self._companies[name] = (application, devices)
        self._write()
        return TenantRef("hub", name)

    def add_devices(self, ref: TenantRef, number: int) -> None:
        application, devices = self._companies[ref.tenant]
        self.tenant(ref.tenant, devices + number, application=application)

    def rename(self, ref: TenantRef, name: str) -> TenantRef:
        application, devices = self._companies.pop(ref.tenant)
        return self.tenant(name, devices, application=application)

    def remove(self, ref: TenantRef) -> None:
        del self._companies[ref.tenant]
        self._write()

    def close_source(self) -> None:
        self.file.unlink()

    def repair(self) -> None:
        self._spoil, self._age = str, timedelta(hours=1)
        self._write()

    def spoil(self, change: Callable[[str], str]) -> None:
        """The text of the report is written wrongly."""
        self._spoil = change
        self._write()

    def grow_old(self, age: timedelta) -> None:
        self._age = age
        self._write()

    @property
    def file(self) -> Path:
        return self._folder / "exports" / "report.csv"

    def _write(self) -> None:
        text = io.StringIO(newline="")
        table = csv.writer(text)
        if "headings" not in self._settings:
            table.writerow(HEADING)
        for name, (application, devices) in self._companies.items():
            for number in range(devices):
                table.writerow([name, application, f"PC-{number}", "Windows 11", "Active"])
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(self._spoil(text.getvalue()), encoding="utf-8", newline="")
        at = (self.clock.now() - self._age).timestamp()
        os.utime(self.file, (at, at))


def _spoiled(change: Callable[[str, str], str]):
    """`change` gets the report and the company's name."""
    return lambda stand, ref: stand.spoil(lambda text: change(text, ref.tenant))


def _last_row_of(name: str) -> str:
    return f"{name},{APPLICATION},PC-119,Windows 11,Active\r\n"


TROUBLES = {
    "the report is cut in its last line": lambda stand, ref: stand.spoil(lambda text: text[:-9]),
    "the last line has no end": lambda stand, ref: stand.spoil(str.rstrip),
    "a row is cut": _spoiled(
        lambda text, name: text.replace(_last_row_of(name), f"{name},{APPLICATION}\r\n")
    ),
    "a row is there twice": _spoiled(
        lambda text, name: text.replace(_last_row_of(name), _last_row_of(name) * 2)
    ),
    "a row names no device": _spoiled(
        lambda text, name: text.replace(
            _last_row_of(name), f"{name},{APPLICATION},,Windows 11,Active\r\n"
        )
    ),
    "a status is unknown": _spoiled(
        lambda text, name: text.replace(
            _last_row_of(name), _last_row_of(name).replace("Active", "Perhaps")
        )
    ),
    "the company is spelled in two ways": _spoiled(
        lambda text, name: text.replace(_last_row_of(name), _last_row_of(name.upper()))
    ),
    "a column is missing": lambda stand, ref: stand.spoil(
        lambda text: text.replace("application", "product", 1)
    ),
    "the report is empty": lambda stand, ref: stand.spoil(lambda text: ""),
    "the report is not text": lambda stand, ref: stand.spoil(lambda text: "PK\x03\x04\0\0" + text),
    "the report is too old": lambda stand, ref: stand.grow_old(timedelta(hours=73)),
    "the report is from the future": lambda stand, ref: stand.grow_old(-timedelta(hours=2)),
}


@pytest.fixture
def stand(tmp_path: Path) -> HubStand:
    return HubStand(tmp_path)


class TestBusinessHub(UsageSourceContract):
    """Every rule, on exported reports; one wrong row fails the whole report."""

    fail_alone = False
    troubles = TROUBLES

    def test_the_companys_name_is_its_id(self, stand):
        ref = stand.tenant("Contoso", 2)
        renamed = stand.rename(ref, "Contoso Ltd")
        stand.reopen()
        assert [tenant.ref for tenant in stand.source.tenants()] == [renamed]
        assert renamed != ref


class TestReportsWithoutHeadings(TestBusinessHub):
    """Every rule, on reports whose columns are named in kisi.toml."""

    troubles: ClassVar = {
        name: trouble for name, trouble in TROUBLES.items() if name != "a column is missing"
    } | {
        "a line of headings is there after all": lambda stand, ref: stand.spoil(
            lambda text: ",".join(HEADING) + "\r\n" + text
        ),
        "a column more than is named": lambda stand, ref: stand.spoil(
            lambda text: text.replace("\r\n", ",\r\n").replace(",\r\n", ",x\r\n")
        ),
    }

    @pytest.fixture
    def stand(self, tmp_path: Path) -> HubStand:
        return HubStand(tmp_path, headings=HEADING)
