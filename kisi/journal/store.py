"""The journal as the rest of kisi uses it: everything that a run writes, and what it needs back."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from kisi.errors import StateError
from kisi.journal import opening
from kisi.journal.holds import Holds
from kisi.journal.operations import Operations
from kisi.journal.usage import Usages


class Journal(Operations, Holds, Usages):
    """What kisi remembers between runs, in `journal.db` of the state folder.

    Its methods stand beside their SQL: those of runs in `kisi.journal.runs`, and so on.

    Every method that writes is one transaction: it is on disk when the method returns, and nothing
    of it is when it raises `StateError`. Methods may be called from several threads. Instants are
    aware and kept to the second; the journal never looks at a clock. Every method that only reads
    raises `StateError` if the journal cannot be read.
    """

    @classmethod
    def open(cls, state_dir: Path, *, readonly: bool = False) -> Self:
        """Opens the journal of a state folder.

        For writing, the folder (0700) and the journal are created if missing, the journal is
        checked, brought to the current version (a copy is kept) and proven writable. Only the
        holder of `kisi.lock.run_lock` opens for writing.

        Read-only, nothing is created or changed (but SQLite's own -wal and -shm files), and a
        missing or damaged journal reads as an empty one; see `problem`.

        Raises:
            StateError: It cannot be used, is damaged (set aside on opening for writing, see
                `repair`), is no journal, or was written by a newer kisi.
        """
        opener = opening.open_for_reading if readonly else opening.open_for_writing
        return cls(opener(state_dir))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file. Safe to call twice."""
        self._db.close()

    @property
    def problem(self) -> StateError | None:
        """Read-only: why the journal is shown empty although there was one; else None."""
        return self._db.problem

    def prune(self, before: datetime) -> int:
        """Forgets readings and closed holds last seen before an instant; returns how many readings.

        Lines, operations, runs and accepted ids are the books and are kept.
        """
        with self._db.transaction():
            self._prune_plans(before)
            self._prune_days((before - timedelta(days=1)).date())  # whatever the time zone
            return self._prune_usage(before)
