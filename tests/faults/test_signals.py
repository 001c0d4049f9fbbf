"""^C, SIGTERM and their like: what is in flight is finished and journaled, nothing new is begun."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from kisi.journal import Run, RunState
from kisi.lock import run_lock
from tests.conftest import WINDOWS, console_signals
from tests.faults.conftest import CREATE, UPDATE, Trial
from tests.faults.processes import STOPPING, Ended, Process

pytestmark = console_signals

NAMES = ["SIGBREAK"] if WINDOWS else ["SIGINT", "SIGTERM", "SIGHUP"]
INTERRUPTED = 130
WORKERS = 8
"""How many servers or agreements are read at once, by default."""
SILENCE = 30
"""Seconds of a server's silence after which a read is given up."""


class Signals:
    """Sends signals to the process of a trial, from within a server that it is talking to."""

    def __init__(self) -> None:
        self.process: Future[Process] = Future()

    def stopping(self, name: str = "SIGTERM") -> Callable[[], None]:
        """Sends a signal at the first call; each call goes on once kisi has heard it."""
        first = threading.Lock()

        def stop() -> None:
            process = self.process.result()
            if first.acquire(blocking=False):
                process.send(getattr(signal, name))
            process.wait_for(STOPPING)

        return stop


@pytest.fixture
def signals() -> Signals:
    """For the only process of a test."""
    return Signals()


def run(trial: Trial, signals: Signals, *arguments: str) -> Ended:
    """A command in a process of its own that gets a signal on its way, and soon ends."""
    with trial.process(*arguments) as process:
        signals.process.set_result(process)
        process.wait_for(STOPPING)
        process.end(within=SILENCE - 5)
    return trial.ended[-1]


def ended(trial: Trial) -> Run:
    """The interrupted run as the journal has it: closed, with the sentence that was read."""
    last = trial.last_run
    assert (last.state, last.exit_code) == (RunState.INTERRUPTED, INTERRUPTED)
    assert last.message in trial.ended[-1].err
    assert trial.states()[0] == "interrupted"
    return last


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault(
    41,
    injection="^C, SIGTERM, SIGHUP or CTRL_BREAK while a write is under way",
    outcome="that write is finished and journaled, no other is begun; exit 130, run `interrupted`",
)
def test_a_first_signal_finishes_the_write_in_flight(live: Trial, signals: Signals, name: str):
    live.sandbox.parts[1].config += "workers = 1\n"
    live.fault("call", CREATE, function=signals.stopping(name))

    end = run(live, signals, "sync")

    assert end.code == INTERRUPTED
    assert live.contoso.quantities == {live.product: 6}
    assert live.fabrikam.additions == []
    assert ended(live).message.startswith(
        "Stopped by a signal; the next `kisi sync` does the rest. 1 of 2 clients up to date; "
        "need attention: Fabrikam (1 change to write)"
    )
    (operation,) = live.operations()
    assert (operation.outcome, operation.quantity, operation.settled) == ("applied", 6, True)
    live.heals()


@pytest.mark.fault(
    41,
    injection="SIGTERM while a write is under way whose answer is then lost",
    outcome="the write is read back and journaled; exit 130, nothing is pending",
)
def test_finishing_a_write_includes_reading_it_back(live: Trial, signals: Signals):
    live.fabrikam.mapped = False
    live.fault("call", CREATE, function=signals.stopping())
    live.fault("lost", CREATE)

    end = run(live, signals, "sync")

    assert end.code == INTERRUPTED
    (operation,) = live.operations()
    assert (operation.outcome, operation.settled) == ("applied", True)
    assert ended(live).summary["applied"] == 1
    live.heals(live.contoso)


@pytest.mark.fault(
    41,
    injection="SIGTERM while a throttled write waits two minutes for its turn",
    outcome="the wait ends at once, the write is not sent again; exit 130, nothing is pending",
)
def test_a_write_that_waits_is_not_waited_for(live: Trial, signals: Signals):
    live.fabrikam.mapped = False
    headers = {"Retry-After": "120"}
    live.fault("status", CREATE, times=None, code=429, headers=headers)
    live.fault("call", CREATE, function=signals.stopping())

    end = run(live, signals, "sync")

    assert end.code == INTERRUPTED
    assert len(live.sandbox.writes) == 1
    (operation,) = live.operations()
    assert (operation.outcome, operation.settled) == ("failed", True)
    ended(live)
    live.heals(live.contoso)


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.fault(
    41,
    injection="a second signal while a write hangs",
    outcome="ends at once, exit 130; the intent stays, and the next run settles it: one line",
)
def test_a_second_signal_ends_at_once_and_leaves_the_intent(
    live: Trial, signals: Signals, name: str, applied: bool
):
    live.bill()
    hanging = threading.Event()

    def first() -> None:
        signals.stopping()()
        hanging.set()

    live.fault("call", UPDATE, function=first)
    live.fault("hang", UPDATE, seconds=600, applied=applied)
    with live.process("sync") as process:
        signals.process.set_result(process)
        assert hanging.wait(60)
        process.send(getattr(signal, name))
    live.sandbox.ksc.sessions.open.clear()

    assert live.ended[-1].code == INTERRUPTED
    (pending,) = live.pending()
    assert pending.outcome is None
    assert live.states()[0] == "crashed"
    live.heals()
    assert len(live.sandbox.writes) == (1 if applied else 2)


# --- while reading --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sync", "preview"])
@pytest.mark.fault(
    41,
    injection="^C while many virtual servers are read",
    outcome="no further one is begun, every session is ended, nothing is written; exit 130",
)
def test_reading_ends_with_what_is_under_way(live: Trial, signals: Signals, command: str):
    for number in range(60):
        live.operator.client(f"Further {number:02}", workstations=1)
    stop = signals.stopping("SIGINT")
    live.fault("call", "LicenseKeys.EnumKeys", times=None, after=6, function=stop)

    end = run(live, signals, command)

    assert end.code == INTERRUPTED
    assert "Stopped by a signal before anything was written." in end.err
    begun = [one for one in live.sandbox.log if one.path.endswith("StartSession")]
    assert len(begun) <= 1 + 6 + WORKERS  # one of the main server, six read, the rest under way
    assert not live.sandbox.writes
    assert not live.sandbox.ksc.open_sessions
    if command == "sync":
        assert ended(live).message == "Stopped by a signal before anything was written."
    live.heals()


@pytest.mark.fault(
    41,
    injection="^C while many agreements are read",
    outcome="no further one is begun, nothing is written; exit 130",
)
def test_reading_a_psa_ends_with_what_is_under_way(live: Trial, signals: Signals):
    for number in range(60):
        live.operator.client(f"Further {number:02}", workstations=1)
    stop = signals.stopping("SIGINT")
    live.fault("call", "GET */additions", times=None, after=6, function=stop)

    end = run(live, signals, "sync")

    assert end.code == INTERRUPTED
    begun = [one for one in live.sandbox.log if one.path.endswith("/additions")]
    assert len(begun) <= 6 + WORKERS
    assert not live.sandbox.writes
    ended(live)
    live.heals()


@pytest.mark.parametrize(
    "call", ["VServers.GetVServers", "GroupSyncIterator.GetNextItems", "GET */agreements"]
)
@pytest.mark.fault(
    41,
    injection="^C while a server hangs that is read",
    outcome="ends within seconds, not with the server's time-out; exit 130",
)
def test_a_hanging_server_does_not_hold_kisi_back(live: Trial, signals: Signals, call: str):
    live.fault("call", call, function=signals.stopping("SIGINT"))
    live.fault("hang", call, seconds=600)

    end = run(live, signals, "sync")

    assert end.code == INTERRUPTED
    assert not live.sandbox.writes
    ended(live)
    live.heals()


@pytest.mark.fault(
    41,
    injection="^C while kisi waits before a read is repeated (`Retry-After: 100`)",
    outcome="the wait ends at once; exit 130",
)
def test_a_wait_before_a_read_ends_at_once(live: Trial, signals: Signals):
    live.fault("call", "GET */agreements", function=signals.stopping("SIGINT"))
    live.fault("status", "GET */agreements", code=429, headers={"Retry-After": "100"})

    end = run(live, signals, "sync")

    assert end.code == INTERRUPTED
    assert len(live.sandbox.requests("connectwise")) == 1
    ended(live)
    live.heals()


@pytest.mark.fault(
    41,
    injection="^C while kisi waits for another run to end (`--lock-timeout`)",
    outcome="the wait ends at once; exit 130, the other run is not disturbed",
)
def test_a_wait_for_the_lock_ends_at_once(live: Trial):
    live.operator.state.mkdir(parents=True)
    with (
        run_lock(live.operator.state),
        live.process("sync", "-vv", "--lock-timeout", "600") as process,
    ):
        process.wait_for("filelock")
        process.stop(signal.SIGINT)

    assert live.ended[-1].code == INTERRUPTED
    assert "Stopped by a signal while another run held the lock." in live.ended[-1].err
    assert live.sandbox.log == []
    live.heals()


@pytest.mark.fault(
    41, injection="^C while `--jitter` spreads the load", outcome="the wait ends at once; exit 130"
)
def test_a_random_wait_ends_at_once(live: Trial):
    with live.process("sync", "-v", "--jitter", "86400") as process:
        process.wait_for("--jitter: begins in")
        process.stop(signal.SIGINT)

    assert live.ended[-1].code == INTERRUPTED
    assert "Stopped by a signal before anything was written." in live.ended[-1].err
    assert live.sandbox.log == []
    live.heals()
