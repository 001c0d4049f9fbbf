"""What ^C and SIGTERM do: the write under way is finished and journaled, nothing new is begun."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import FrameType
from typing import TypeVar

from kisi.errors import ExitCode
from kisi.run import Stop

_T = TypeVar("_T")
_NAMES = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
WRITES_ARE_FINISHED = "Stopping: a write under way is finished first."
_AGAIN = "Once more ends kisi at once."
_STEP = 0.2


@contextmanager
def handle_signals(said: str = WRITES_ARE_FINISHED) -> Iterator[Stop]:
    """What a first signal sets. A second one ends the process at once.

    Args:
        said: What the first signal makes kisi say: what becomes of the work under way.

    What was sent by then and not answered stays in the journal as an intent without an outcome; the
    next run settles it.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard: SimpleQueue[int | None] = SimpleQueue()
    message = f"\n{said} {_AGAIN}\n".encode()
    listener = threading.Thread(target=_listen, args=(heard, stop, message), daemon=True)
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    handle = _handler(heard)
    listener.start()
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        heard.put(None)
        listener.join()


def _handler(heard: SimpleQueue[int | None]) -> Callable[[int, FrameType | None], None]:
    """What a signal runs, in the main thread, between any two of its steps.

    The main thread may hold any lock just then, also that of the very event to be set, and would
    wait for itself for ever. `SimpleQueue.put` is made to be called from such places
    (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put); a thread does the rest.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(ExitCode.INTERRUPTED)
        asked = True
        heard.put(number)

    return handle


def _listen(heard: SimpleQueue[int | None], stop: Stop, message: bytes) -> None:
    """Asks the run to end as soon as a signal was heard, and says so once that is certain."""
    while heard.get() is not None:
        stop.request()
        with suppress(OSError, ValueError):  # nobody may be listening
            os.write(sys.stderr.fileno(), message)  # a signal may come in the middle of a `print`


def run_interruptibly(work: Callable[[], _T]) -> _T:
    """Runs `work` in a thread of its own and returns what it returns, or raises what it raises.

    Python hears signals in the main thread alone, and on Windows not while that waits for a lock
    or a socket (https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers).
    So the main thread does nothing but wait, in short steps.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="run") as pool:
        job = pool.submit(work)
        while wait([job], timeout=_STEP).not_done:
            continue
        return job.result()
