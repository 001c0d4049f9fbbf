"""Progress bars, on a terminal only."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kisi.cli.output import Voice
from kisi.cli.signals import Stop

Report = Callable[[str, int, int], None]


@contextmanager
def shown(voice: Voice, stop: Stop) -> Iterator[Report]:
    """Shows how far each source and PSA is; raises `Interrupted` once `stop` is asked for."""

    def check(_what: str, _done: int, _total: int) -> None:
        stop.check()

    if voice.quiet or not sys.stderr.isatty() or not voice.colored(sys.stderr):
        yield check
    else:
        with _bars(stop) as report:
            yield report
    stop.check()


@contextmanager
def _bars(stop: Stop) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    tasks: dict[str, TaskID] = {}
    lock = threading.Lock()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def report(what: str, done: int, total: int) -> None:
            stop.check()
            with lock:
                if what not in tasks:
                    tasks[what] = bars.add_task(f"reading {what}", total=total)
                bars.update(tasks[what], completed=done, total=total)

        yield report
