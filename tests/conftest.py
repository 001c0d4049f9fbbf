"""For all tests: hypothesis judges what a test does, and not how long it takes on a busy machine."""

from pathlib import Path

import pytest
from hypothesis import settings

from kisi.redaction import REDACTOR

settings.register_profile("kisi", deadline=None)
settings.load_profile("kisi")


@pytest.fixture(autouse=True)
def _servers_are_quoted() -> None:
    """One test's weak password must not silence the servers of the next."""
    REDACTOR.quotes = True


_SLOW = [Path(__file__).parent / name for name in ("e2e", "faults")]
"""Folders whose tests run the whole command, or wait on sockets: `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow folders as slow; a slow test elsewhere has the mark itself."""
    for item in items:
        if any(item.path.is_relative_to(folder) for folder in _SLOW):
            item.add_marker(pytest.mark.slow)
