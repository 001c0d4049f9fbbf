"""For all tests: which are slow, where coverage is measured, and what hypothesis judges by."""

from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import settings

from kisi.redaction import REDACTOR

settings.register_profile("kisi", deadline=None)  # a machine may be busy: time says nothing
settings.load_profile("kisi")


@pytest.fixture(autouse=True)
def _servers_are_quoted() -> None:
    """One test's weak password must not silence the servers of the next."""
    REDACTOR.quotes = True


_TESTS = Path(__file__).parent
_SLOW = [_TESTS / name for name in ("e2e", "faults")]
"""Folders whose tests run the whole command, or wait on sockets: `make test-fast` leaves them out."""
_COMMANDS = ("bad_input", "demo", "library", "map", "monitoring", "options", "status_explain")
_MEASURED = [
    *(_TESTS / name for name in ("unit", "contract")),
    *(_TESTS / "e2e" / f"test_{name}.py" for name in _COMMANDS),
]
"""Where coverage is measured: the parts, and the commands that nothing else runs.

The others run the same commands again and ask what the PSA holds afterwards: they reach one line in
a hundred that these do not, and tracing takes more than twice their time.
"""
_paused: list[Coverage] = []
"""The measurement, while such a test runs."""


def _is_in(item: pytest.Item, places: list[Path]) -> bool:
    return any(item.path.is_relative_to(place) for place in places)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of slow folders as slow; a slow test elsewhere has the mark itself."""
    for item in items:
        if _is_in(item, _SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Pauses the measurement of coverage where it adds nothing, and takes it up again."""
    if _is_in(item, _MEASURED):
        if _paused:
            _paused.pop().start()
    elif (measured := Coverage.current()) is not None:
        measured.stop()
        _paused.append(measured)
