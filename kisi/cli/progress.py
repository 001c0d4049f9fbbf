"""Progress bars, on a terminal only."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Self

import rich.console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from kisi.cli.output import Console


class ProgressBars:
    """How far each source and PSA is, on a terminal only. Hidden once all of them are read."""

    def __init__(self, console: Console) -> None:
        self._wanted = not console.quiet and sys.stderr.isatty() and console.colored(sys.stderr)
        self._lock = threading.Lock()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hide()

    def report(self, what: str, done: int, total: int) -> None:
        """So much of `what` is read; called from several threads."""
        if not self._wanted:
            return
        with self._lock:
            bars = self._bars = self._bars or _started()
            if what not in self._tasks:
                self._tasks[what] = bars.add_task(f"reading {what}", total=total)
            bars.update(self._tasks[what], completed=done, total=total)
            if bars.finished:
                self._remove()

    def hide(self) -> None:
        """Takes the bars off the screen, before something else is shown there."""
        with self._lock:
            self._remove()

    def _remove(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
        self._tasks.clear()


def _started() -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, console=rich.console.Console(stderr=True), transient=True)
    bars.start()
    return bars
