"""kisi as a process of its own: what it says while it runs, and how it ends."""

from __future__ import annotations

import os
import signal as signals
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

LONGEST = 60.0
"""Seconds after which waiting for a process is given up: far beyond what any test takes."""
GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""Windows: how a process is started that can be sent CTRL_BREAK alone. It hears no ^C."""
STOPPING = "Stopping: "
"""How kisi acknowledges a first signal."""


def _command() -> list[str]:
    """The installed command; the module where there is none, or (Windows) it starts a process."""
    installed = Path(sys.executable).with_name("kisi")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "kisi"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    """Negative: the signal that ended it."""
    out: str
    err: str


class Process:
    """A running kisi.

    Args:
        config: kisi.toml.
        arguments: The command line before `--config`.
    """

    def __init__(self, config: Path, *arguments: str) -> None:
        self._popen = subprocess.Popen(
            [*_command(), *arguments, "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1"},
            creationflags=GROUP,
        )
        self._said = {"out": "", "err": ""}
        self._news = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", self._popen.stdout), ("err", self._popen.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self.end()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def send(self, signal: int) -> None:
        """Sends a signal: on Windows CTRL_BREAK, the only one that another process hears."""
        os.kill(self._popen.pid, getattr(signals, "CTRL_BREAK_EVENT", signal))

    def kill(self) -> None:
        """Ends it without asking."""
        self._popen.kill()

    def wait_for(self, text: str) -> None:
        """Until it has said `text` on stderr, or is over."""
        with self._news:
            found = self._news.wait_for(
                lambda: text in self._said["err"] or self._popen.poll() is not None, LONGEST
            )
        assert found, f"kisi never said {text!r}: {self._said['err']}"

    def stop(self, signal: int) -> None:
        """Sends a signal and waits until kisi has heard it."""
        self.send(signal)
        self.wait_for(STOPPING)

    def end(self, within: float = LONGEST) -> Ended:
        """Waits for its end."""
        code = self._popen.wait(within)
        for reader in self._readers:
            reader.join(LONGEST)
        return Ended(code, self._said["out"], self._said["err"])

    def _read(self, name: str, stream: object) -> None:
        with stream:  # type: ignore[attr-defined]
            for line in stream:  # type: ignore[attr-defined]
                with self._news:
                    self._said[name] += line
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()
