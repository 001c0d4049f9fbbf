"""One run at a time for each state folder.

The lock is the operating system's own lock on `kisi.lock` (`filelock`: flock on POSIX, msvcrt on
Windows), so it ends with the process that holds it, however that process ends. Beside it
`kisi.lock.json` says who holds it, for the message that a second run ends with; nothing depends on
that file. Two machines that bill through one PSA have two locks: there the drift guard speaks.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from kisi.errors import Interrupted, Locked, StateError
from kisi.files import private_folder

_LOCK = "kisi.lock"
_HOLDER = "kisi.lock.json"
_LOOKS_EVERY = 0.1
"""Seconds between two tries while another run holds the lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that took the lock last, by its own words; `started` is ISO 8601 in UTC, or empty."""

    pid: int
    host: str
    started: str

    def __str__(self) -> str:
        since = f", started {self.started}" if self.started else ""
        return f"process {self.pid} on {self.host}{since}"


@contextmanager
def run_lock(
    state_dir: Path,
    timeout: float = 0.0,
    *,
    started: datetime | None = None,
    stop: threading.Event | None = None,
) -> Iterator[None]:
    """Holds the lock of a state folder while the block runs; creates the folder (0700) if missing.

    It waits `timeout` seconds for another run to end (then `Locked`), or until `stop` is set
    (`Interrupted`). When this run `started` is told to whoever finds the lock taken. `StateError`
    if the folder or the lock file cannot be used.
    """
    stop = stop or threading.Event()
    try:
        private_folder(state_dir)
        lock = FileLock(state_dir / _LOCK, mode=0o600)
        lock.acquire(timeout, _LOOKS_EVERY, cancel_check=stop.is_set)
    except Timeout as error:
        if stop.is_set():
            raise Interrupted("Stopped by a signal while another run held the lock.") from None
        known = holder(state_dir)
        raise Locked(
            f"Another run of kisi holds the lock of {state_dir}"
            f"{f' ({known})' if known else ''}. This run did nothing.",
            remedy="Wait until it has ended, or give this run time to wait with `--lock-timeout`.",
        ) from error
    except (OSError, NotImplementedError) as error:
        raise StateError(
            f"The lock in the state folder {state_dir} cannot be used: {error}."
            " Nothing was read from any source and nothing was written.",
            remedy="Let the user that runs kisi own the folder, or name another one with"
            " `state_dir` in kisi.toml (a local disk, where files can be locked).",
        ) from error
    file = state_dir / _HOLDER
    part = file.with_name(f"{_HOLDER}.part")
    since = "" if started is None else started.isoformat(timespec="seconds")
    try:
        with suppress(OSError):  # it is only information, and the lock is held
            said = Holder(os.getpid(), socket.gethostname(), since)
            part.write_text(json.dumps(asdict(said)), encoding="utf-8")
            part.replace(file)
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)
        lock.release()


def holder(state_dir: Path) -> Holder | None:
    """Who took the lock last and did not release it, if that is known; it may have been killed."""
    try:
        said = json.loads((state_dir / _HOLDER).read_text(encoding="utf-8"))
        return Holder(int(said["pid"]), str(said["host"])[:80], str(said["started"])[:40])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_running(state_dir: Path) -> bool:
    """Whether a run is going on, as far as can be told without the lock.

    A run that was killed leaves its word behind. Windows removes a lock file only if nobody has it
    open, so there the lock itself is asked; what a killed run left of it goes.
    """
    known = holder(state_dir)
    if known is None or known.host != socket.gethostname():
        return known is not None
    if os.name == "nt":
        try:
            (state_dir / _LOCK).unlink(missing_ok=True)
        except OSError:
            return True
        return False
    try:
        os.kill(known.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's process
        return True
    return True
