"""For all tests: which are slow, where coverage is measured, and what hypothesis judges by."""

from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import settings

settings.register_profile("kisi", deadline=None)  # a machine may be busy: time says nothing
settings.load_profile("kisi")

_SLOW = [Path(__file__).parent / name for name in ("e2e", "faults")]
"""Folders whose tests run the whole command, or wait on sockets: `make test-fast` leaves them out.

Coverage is not measured there either: tracing doubles their time, and the floor is one that the
unit and contract tests keep by themselves.
"""
_paused: list[Coverage] = []
"""The measurement, while such a test runs."""


def _is_slow(item: pytest.Item) -> bool:
    return any(item.path.is_relative_to(folder) for folder in _SLOW)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow folders as slow; a slow test elsewhere has the mark itself."""
    for item in filter(_is_slow, items):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Pauses the measurement of coverage in slow folders, and takes it up again after them."""
    if not _is_slow(item):
        if _paused:
            _paused.pop().start()
    elif (measured := Coverage.current()) is not None:
        measured.stop()
        _paused.append(measured)
