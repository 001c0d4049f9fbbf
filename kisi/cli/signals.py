"""What ^C and SIGTERM do: the write under way is finished and journaled, nothing new is begun."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kisi.errors import ExitCode

_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that a signal sets. A second signal ends the process at once.

    What was sent by then and not answered stays in the journal as an intent without an outcome; the
    next run settles it.
    """
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)
        stop.set()

    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
