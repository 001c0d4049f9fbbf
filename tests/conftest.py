"""For all tests: which are slow, where coverage is measured, why some run on one system only."""

import ctypes
import os
import signal
import sys
from pathlib import Path

import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

from kisi import windows
from kisi.redaction import REDACTOR

# A machine may be busy: time says nothing.
settings.register_profile("kisi", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kisi")


os.environ.pop("COLUMNS", None)  # the workers of pytest set one, and a screen would differ in them


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


WINDOWS = os.name == "nt"
KILLED = signal.SIGTERM if WINDOWS else -signal.SIGKILL
"""The exit code of a process that `os.kill` ended without asking."""


def _posix(reason: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(WINDOWS, reason=reason)


def make_private(path: Path) -> None:
    """Leaves a file or folder to this account, where its own folder lets others in (Windows)."""
    if sys.platform == "win32":
        windows.make_private(path)


posix_modes = _posix("Windows judges access by lists, not by POSIX modes")
posix_links = _posix("on Windows an account needs a right of its own to make a symbolic link")
posix_signals = _posix("Windows sends no signals to other processes: it ends them")
posix_terminal = _posix("Windows has no pseudo-terminal that pexpect can drive")
posix_shell = _posix("redirections of a POSIX shell, named pipes, /dev/full: Windows has none")
posix_accounts = _posix("Windows has no account database that Python can ask")
posix_time_zone = _posix("Windows takes its time zone from its settings, and has no time.tzset")
posix_vfs = _posix("names a file system layer that SQLite has on POSIX only")
posix_programs = _posix("runs scripts and programs that only Linux has")
console_signals = pytest.mark.skipif(
    WINDOWS and not ctypes.windll.kernel32.GetConsoleCP(),
    reason="Windows sends CTRL_BREAK through a console, and this process has none",
)
windows_sharing = pytest.mark.skipif(not WINDOWS, reason="only Windows says who writes a file")


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
