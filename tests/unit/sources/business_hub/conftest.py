"""A folder of report files and a clock that stands still."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kisi.errors import SourceError
from kisi.model import TenantRef
from kisi.sources.business_hub.report import HubSettings
from kisi.sources.business_hub.source import BusinessHub
from kisi.transport import Limits

NOW = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class StandingClock:
    """Time passes only while somebody sleeps."""

    at: datetime = NOW
    slept: list[float] = field(default_factory=list)
    while_asleep: Callable[[], object] = bool

    def now(self):
        return self.at

    def monotonic(self):
        return self.at.timestamp()

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.at += timedelta(seconds=seconds)
        self.while_asleep()


@dataclass
class Reports:
    """The folder that kisi.toml lies in."""

    base: Path
    clock: StandingClock

    def write(self, content, name="hub.csv", *, age=HOUR, encoding="utf-8"):
        path = self.base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        stamp = (NOW - age).timestamp()
        os.utime(path, (stamp, stamp))
        return path

    def source(self, limits=None, **settings) -> BusinessHub:
        settings = HubSettings.model_validate({"files": ("*.csv",), **settings})
        return BusinessHub(
            "hub", settings, {}, base=self.base, clock=self.clock, limits=limits or Limits()
        )

    def read(self, select=lambda _key: True, **settings):
        """All readings by company name."""
        source = self.source(**settings)
        return {ref.tenant: reading for ref, reading in source.read(source.tenants(), select)}

    def refusal(self, **settings) -> SourceError:
        """The error that fails the source."""
        with pytest.raises(SourceError) as caught:
            self.source(**settings).tenants()
        assert "No number of this source was used" in caught.value.message
        assert caught.value.remedy
        return caught.value


def ref(company):
    return TenantRef("hub", company)


@pytest.fixture
def reports(tmp_path):
    return Reports(tmp_path, StandingClock())
