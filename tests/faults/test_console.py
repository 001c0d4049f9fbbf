"""The end of a Windows console: the write under way is finished and journaled, as after a signal."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from tests.faults import processes
from tests.faults.conftest import CREATE, Trial
from tests.faults.processes import STOPPING, Process

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="Windows' console events")
WINE = sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")
EVENTS = {"^C": 0, "CTRL_BREAK": 1, "closed": 2, "logged off": 5, "shut down": 6}
INTERRUPTED = 130


def send(pid: int, event: int) -> None:
    """Has a process hear a console event, by the routine that Windows itself starts in it for one.

    So it reaches a process without a console, and one event the process alone.
    """
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    for function in (kernel.OpenProcess, kernel.GetModuleHandleW, kernel.GetProcAddress):
        function.restype = ctypes.c_void_p
    kernel.GetProcAddress.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    routine = kernel.GetProcAddress(kernel.GetModuleHandleW("kernelbase.dll"), b"CtrlRoutine")
    process = ctypes.c_void_p(kernel.OpenProcess(0x1FFFFF, 0, pid))
    values = (None, ctypes.c_size_t(0), ctypes.c_void_p(routine), ctypes.c_void_p(event), 0, None)
    assert kernel.CreateRemoteThread(process, *values), ctypes.get_last_error()
    kernel.CloseHandle(process)


def while_writing(trial: Trial, tell: Callable[[Process], None]) -> None:
    """A run that is told to end while its first write is under way."""
    first = threading.Lock()

    def stop() -> None:
        if first.acquire(blocking=False):
            tell(process)
        process.wait_for(STOPPING)

    trial.sandbox.parts[1].config += "workers = 1\n"
    trial.fault("call", CREATE, function=stop)
    with trial.process("sync") as process:
        process.end(within=300)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
@pytest.mark.fault(
    41,
    injection="^C, CTRL_BREAK, the console closed, log-off or shutdown while a write is under way",
    outcome="Windows: that write is finished and journaled, no other is begun; exit 130",
)
def test_the_end_of_a_console_finishes_the_write_under_way(
    live: Trial, monkeypatch: pytest.MonkeyPatch, event: int
):
    monkeypatch.setattr(processes, "GROUP", 0)
    # to Python itself, where a launcher was started
    holder = live.operator.state / "kisi.lock.json"
    while_writing(live, lambda _: send(json.loads(holder.read_text())["pid"], event))

    assert live.ended[-1].code == INTERRUPTED
    assert live.contoso.quantities == {live.product: 6}
    assert live.fabrikam.additions == []
    (operation,) = live.operations()
    assert (operation.outcome, operation.quantity, operation.settled) == ("applied", 6, True)
    assert live.states()[0] == "interrupted"
    live.heals()


@pytest.mark.skipif(WINE, reason="Wine sends no console event to another process")
def test_ctrl_break_comes_from_a_parent_too(live: Trial):
    """As a service or a scheduler sends it: to a process group of its own."""
    while_writing(live, lambda process: os.kill(process.pid, signal.CTRL_BREAK_EVENT))

    assert live.ended[-1].code == INTERRUPTED
    assert live.states()[0] == "interrupted"
