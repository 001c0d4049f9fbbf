"""One connection to the journal, shared by threads; and what can go wrong with it, in words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from kisi.errors import StateError
from kisi.journal.codec import quantity_text, storable, to_epoch

_Storable = str | int | bytes | None

_PRIMARY = 0xFF
"""SQLite's extended codes carry the primary one in the low byte: https://sqlite.org/rescode.html."""

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_RIGHTS = "Let the user that runs kisi own the folder and the journal, then run it again."
_SENTENCES = {
    sqlite3.SQLITE_FULL: (
        "the disk or the quota is full",
        "Free space, then run kisi again: it settles what was under way by reading.",
    ),
    sqlite3.SQLITE_READONLY: ("it cannot be written", _RIGHTS),
    sqlite3.SQLITE_PERM: ("it cannot be written", _RIGHTS),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", _RIGHTS),
    sqlite3.SQLITE_IOERR: (
        "the disk reports an error",
        "Check the disk (or the network drive) and its log before the next run.",
    ),
    sqlite3.SQLITE_BUSY: (
        "another program keeps it busy",
        "Close what has the journal open (a backup, a database browser), then run kisi again.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "it is damaged",
        "Run `kisi sync` again: it sets a damaged journal aside and says what to do.",
    ),
}
_SENTENCES[sqlite3.SQLITE_LOCKED] = _SENTENCES[sqlite3.SQLITE_BUSY]
_SENTENCES[sqlite3.SQLITE_PROTOCOL] = _SENTENCES[sqlite3.SQLITE_BUSY]
_SENTENCES[sqlite3.SQLITE_NOTADB] = _SENTENCES[sqlite3.SQLITE_CORRUPT]


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code of an error; 1 (`SQLITE_ERROR`) where it has none."""
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & _PRIMARY


def folder_error(folder: Path, error: OSError) -> StateError:
    """A state folder or a file in it that the operating system does not let us use."""
    return StateError(
        f"The state folder {folder} cannot be used: {error.strerror or error}."
        " Nothing was read from any source and nothing was written.",
        remedy=f"{_RIGHTS} Or name another folder with `state_dir` in kisi.toml.",
    )


@contextmanager
def as_state_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite says about the file at `path` into a `StateError`.

    Errors that only a mistake in kisi can cause (a wrong statement, a broken constraint) pass.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        known = _SENTENCES.get(code_of(error))
        if known is None:
            raise
        what, remedy = known
        raise StateError(
            f"The journal {path} cannot be used: {what} ({error}).", remedy=remedy
        ) from error


class Database:
    """One connection, used by several threads one after another."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, *, problem: StateError | None = None
    ) -> None:
        self.path = path
        self.problem = problem
        """Why this is an empty journal although there was one; None if nothing is wrong."""
        self._connection = connection
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: committed and on disk when the block ends, undone when it raises.

        Raises:
            StateError: The change cannot be stored (disk full, rights, damage); nothing of it was.
        """
        with self._lock, as_state_errors(self.path), self._whole("BEGIN IMMEDIATE"):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one and the same state, while another process may write."""
        with self._lock, as_state_errors(self.path), self._whole("BEGIN"):
            yield

    @contextmanager
    def _whole(self, begin: str) -> Iterator[None]:
        try:
            self._connection.execute(begin)
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk makes SQLite roll back by itself
                self._connection.execute("ROLLBACK")
            raise

    def execute(self, sql: str, *values: object) -> int:
        """Runs one statement inside a transaction and tells the id of the row it inserted."""
        return self._run(sql, values).lastrowid or 0

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self._run(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, if there is one."""
        found: sqlite3.Row | None = self._run(sql, values).fetchone()
        return found

    def _run(self, sql: str, values: Sequence[object]) -> sqlite3.Cursor:
        with self._lock, as_state_errors(self.path):
            return self._connection.execute(sql, [_storable(value) for value in values])

    def close(self) -> None:
        """Closes the file. The last one to close it folds the write-ahead log into it."""
        with self._lock:
            self._connection.close()


def _storable(value: object) -> _Storable:
    """A value as SQLite takes it: instants as epoch seconds, decimals as text."""
    if value is None or isinstance(value, int | bytes):
        return value
    if isinstance(value, datetime):
        return to_epoch(value)
    if isinstance(value, Decimal):
        return quantity_text(value)
    if isinstance(value, str):
        return storable(value)
    raise TypeError(f"The journal does not store {type(value).__name__}.")


class Part:
    """What reads and writes some of the journal's tables; `kisi.journal.Journal` has all parts."""

    def __init__(self, db: Database) -> None:
        self._db = db
