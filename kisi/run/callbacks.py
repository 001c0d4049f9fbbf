"""How a caller follows a run, and ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from kisi.errors import Interrupted, KisiError
from kisi.reconcile import Progress
from kisi.redaction import REDACTOR, safe_text


@dataclass(frozen=True, slots=True)
class Message:
    """What a run says while it goes on. `str(message)` is its text, so `print` can be a callback.

    Args:
        text: Whole sentences, without a secret, safe to print.
        is_warning: It matters also to somebody who wants to hear nothing of a good run.
        error: Of a part that failed while the run went on; `text` is its message and its remedy.
    """

    text: str
    is_warning: bool = False
    error: KisiError | None = None

    def __str__(self) -> str:
        return self.text

    @classmethod
    def of(cls, error: KisiError) -> Message:
        """The message of an error that does not end the run."""
        lines = REDACTOR.redact(f"{error.message} {error.remedy}").splitlines()
        text = "\n".join(map(safe_text, lines)).rstrip()
        return cls(text, is_warning=True, error=error)


OnMessage = Callable[[Message], None]


@dataclass(slots=True)
class Stop:
    """Ends a run from outside, as a signal does: what is being written is finished first.

    Args:
        requested: Set by `request`: nothing new is begun.
        reading: Set along with it as long as nothing is written: what is under way is dropped too.
        writing: Writes have begun; what is under way then is finished, with all the reads it takes.
    """

    requested: threading.Event = field(default_factory=threading.Event)
    reading: threading.Event = field(default_factory=threading.Event)
    writing: bool = False

    def request(self) -> None:
        """The run is to end. May be called from any thread."""
        self.requested.set()
        if not self.writing:
            self.reading.set()

    def check(self) -> None:
        """To be called where nothing was written yet.

        Raises:
            Interrupted: The run is to end.
        """
        if self.requested.is_set():
            raise Interrupted("Stopped by a signal before anything was written.")

    def checked(self, progress: Progress | None) -> Progress:
        """A callback that tells `progress`, and raises `Interrupted` once the run is to end."""

        def report(what: str, done: int, total: int) -> None:
            self.check()
            if progress is not None:
                progress(what, done, total)

        return report
