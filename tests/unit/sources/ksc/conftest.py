"""Serves the small Security Center of `fake_ksc` and opens the source that reads it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kisi.sources.ksc import KscSettings, KscSource, open_source
from kisi.transport import Limits
from tests.unit.sources.ksc.fake_ksc import FakeClock, FakeKsc, Handler


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def serve(clock: FakeClock) -> Iterator[Callable[..., KscSource]]:
    """Serves a `FakeKsc` and opens the source that reads it."""
    with contextlib.ExitStack() as stack:

        def start(ksc: FakeKsc, **settings: Any) -> KscSource:
            handler = type("Handler", (Handler,), {"ksc": ksc})
            server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            url = f"http://127.0.0.1:{server.server_address[1]}"
            section = KscSettings(url=url, user="kisi", **settings)
            source = open_source(
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
