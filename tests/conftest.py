"""For all tests: hypothesis judges what a test does, and not how long it takes on a busy machine."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("kisi", deadline=None)
settings.load_profile("kisi")

_SLOW = [Path(__file__).parent / name for name in ("e2e", "faults")]
"""Folders whose tests run the whole command, or wait on sockets: `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow folders as slow; a slow test elsewhere has the mark itself."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, because many tests wait for sockets."""
    return (os.cpu_count() or 1) + 1
