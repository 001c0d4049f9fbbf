"""Signals: the first asks, the main thread is free to hear it, and afterwards all is as before."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from kisi.cli.running import handle_signals, run_interruptibly
from kisi.errors import Interrupted
from tests.conftest import posix_signals


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_asks_and_says_so_and_the_old_handlers_come_back(name: str, capfd):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with handle_signals() as stop:
        signal.raise_signal(number)
        assert stop.requested.wait(30)
    assert signal.getsignal(number) is before
    assert "Stopping: a write under way is finished first" in capfd.readouterr().err


def test_work_without_writes_does_not_speak_of_one(capfd):
    with handle_signals("Stopping the simulated systems.") as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested.wait(30)
    assert capfd.readouterr().err == (
        "\nStopping the simulated systems. Once more ends kisi at once.\n"
    )


@posix_signals
def test_ctrl_break_of_windows_asks_too(monkeypatch):
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    with handle_signals() as stop:
        signal.raise_signal(signal.SIGUSR1)
        assert stop.requested.wait(30)


@pytest.mark.slow
def test_a_signal_never_waits_for_a_lock_that_the_main_thread_holds():
    """As it does for a moment whenever it begins or ends to wait for the event."""
    script = (
        "import signal\n"
        "from kisi.cli.running import handle_signals\n"
        "with handle_signals() as stop:\n"
        "    with stop.requested._cond:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    assert stop.requested.wait(30)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], check=False, timeout=60, capture_output=True
    )
    assert (ended.returncode, b"Stopping: " in ended.stderr) == (0, True)


def test_outside_the_main_thread_no_handler_is_changed():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with handle_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_work_is_done_beside_the_main_thread_which_hears_a_signal_meanwhile():
    heard = threading.Event()

    def work() -> str:
        assert threading.current_thread() is not threading.main_thread()
        signal.raise_signal(signal.SIGTERM)
        assert heard.wait(30)
        return "done"

    with handle_signals() as stop:
        heard = stop.requested
        assert run_interruptibly(work) == "done"


def test_what_the_work_raises_is_raised():
    def work() -> None:
        raise Interrupted("Enough.")

    with pytest.raises(Interrupted, match="Enough"):
        run_interruptibly(work)
