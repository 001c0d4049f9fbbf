"""Serves the Security Center of `fake_ksc` and opens the source that reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kisi.sandbox.http import Server
from kisi.sources.ksc import KscSettings
from kisi.sources.ksc.source import KscSource
from kisi.transport import Limits
from tests.unit.fakes import FakeClock
from tests.unit.sources.ksc.fake_ksc import NOW, FakeKsc


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def serve(clock: FakeClock) -> Iterator[Callable[..., KscSource]]:
    """Serves a `FakeKsc` and opens the source that reads it."""
    with contextlib.ExitStack() as stack:

        def start(ksc: FakeKsc, **settings: Any) -> KscSource:
            server = stack.enter_context(Server("ksc", ksc.handle))
            section = KscSettings(url=server.url, user="kisi", **settings)
            source = KscSource(
                "hq",
                section,
                {"password": "pa55 ü"},
                base=Path(),
                clock=clock,
                limits=Limits(attempts=2),
            )
            stack.callback(source.close)
            return source

        yield start
