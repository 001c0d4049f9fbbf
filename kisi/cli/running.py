"""Runs work on a terminal: what ^C does, progress bars, and what comes out of a run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from kisi.cli.options import Format
from kisi.cli.output import Console, explain_error, show
from kisi.errors import ExitCode
from kisi.redaction import safe_text
from kisi.render.plan_report import plan_report
from kisi.run.document import plan_document
from kisi.run.result import Message, RunResult, Stop

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from kisi.csv_table import CsvStyle

if sys.platform == "win32":
    from kisi import windows

_T = TypeVar("_T")
_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
_WRITES_ARE_FINISHED = "Stopping: a write under way is finished first."


def follow(
    work: Callable[..., RunResult], console: Console, *, on_signal: str = _WRITES_ARE_FINISHED
) -> ExitCode:
    """Does a run and shows its result; what cannot be shown was billed all the same.

    `work` is `kisi.run.sync` or `preview`; `on_signal` is said at a first signal.
    """
    with handle_signals(on_signal) as stop, ProgressBars(console) as bars:

        def say(message: Message) -> None:
            if message.error is not None:
                console.warn(explain_error(message.error))
            else:
                (console.warn if message.is_warning else console.info)(message.text)

        def show_result(result: RunResult) -> None:
            bars.hide()
            wanted = console.format is not Format.TABLE or console.file is not None
            if wanted or not console.quiet:
                page = console.format is Format.HTML
                show(
                    console,
                    report=lambda: plan_report(result, verbose=console.verbose > 0, page=page),
                    document=lambda: plan_document(result),
                    csv=partial(_csv, result),
                )
            # always said where something is wrong; on a good day, unless quiet
            (console.warn if result.exit_code else console.info)(safe_text(result.last_line))

        following = partial(
            work, on_progress=bars.report, on_message=say, on_result=show_result, stop=stop
        )
        return run_interruptibly(following).exit_code


def _csv(result: RunResult, style: CsvStyle) -> str:
    from kisi.render.export import plan_csv  # loads what is shown of the journal

    return plan_csv(result, style)


# --- signals: the write under way is finished and journaled, nothing new is begun -----------------


@contextmanager
def handle_signals(said: str = _WRITES_ARE_FINISHED) -> Iterator[Stop]:
    """What a first signal sets, saying what becomes of the work; a second ends the process at once.

    The next run settles what was sent by then and not answered.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    heard: SimpleQueue[int | None] = SimpleQueue()
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        """Runs in the main thread, which may hold any lock, also that of the event to be set.

        `SimpleQueue.put` may be called there; a thread does the rest
        (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put).
        """
        nonlocal asked
        if asked:
            os._exit(ExitCode.INTERRUPTED)
        asked = True
        heard.put(number)

    def listen() -> None:
        if heard.get() is not None:
            stop.request()
            with suppress(OSError, ValueError):  # nobody may be listening
                # not a `print`: the signal may have come in the middle of one
                message = f"\n{said} Once more ends kisi at once.\n"
                os.write(sys.stderr.fileno(), message.encode())

    listener = threading.Thread(target=listen, daemon=True)
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    listener.start()
    before = {number: signal.signal(number, handle) for number in numbers}
    events = ExitStack()
    if sys.platform == "win32":  # the console's end is no signal
        events.enter_context(windows.console_events(handle))
    try:
        yield stop
    finally:
        events.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        heard.put(None)
        listener.join()


def run_interruptibly(work: Callable[[], _T]) -> _T:
    """Runs `work` in a thread of its own, while the main thread waits in short steps.

    Python hears signals in the main thread alone, and on Windows not while that waits for a lock
    or a socket (https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers).
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="run") as pool:
        job = pool.submit(work)
        while wait([job], timeout=0.2).not_done:
            continue
        return job.result()


class ProgressBars(AbstractContextManager["ProgressBars"]):
    """How far each source and PSA is, how fast, and the time left; on a terminal only.

    Hidden once all of them are read, and again once all is written.
    """

    def __init__(self, console: Console) -> None:
        self._wanted = not console.quiet and console.colored(sys.stderr)
        self._lock = threading.RLock()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __exit__(self, *_: object) -> None:
        self.hide()

    def report(self, what: str, done: int, total: int) -> None:
        """So much of `what` is read or written; called from several threads."""
        if not self._wanted:
            return
        with self._lock:
            bars = self._bars = self._bars or _bars()
            bars.start()
            if what not in self._tasks:
                self._tasks[what] = bars.add_task(what, total=total, rate="")
            task = bars.tasks[self._tasks[what]]
            bars.update(task.id, completed=done, total=total)
            if speed := task.finished_speed or task.speed:  # once two steps tell it
                bars.update(task.id, rate=f"{speed * 60:.0f}/min")
            if bars.finished:
                self.hide()

    def hide(self) -> None:
        """Takes the bars off the screen, before something else is shown there."""
        with self._lock:
            if self._bars is not None:
                self._bars.stop()
            self._bars = None
            self._tasks.clear()


def _bars() -> Progress:
    import rich.console  # loaded where there is a terminal
    import rich.progress as columns

    return columns.Progress(
        columns.TextColumn("{task.description}", markup=False),
        columns.BarColumn(),
        columns.MofNCompleteColumn(),
        columns.TextColumn("{task.fields[rate]}", style="none"),
        columns.TimeRemainingColumn(compact=True),
        columns.TextColumn("left"),
        console=rich.console.Console(stderr=True),
        transient=True,
    )
