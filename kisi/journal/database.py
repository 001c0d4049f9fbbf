"""One connection to the journal, shared by threads; and what can go wrong with it, in words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from kisi.errors import StateError
from kisi.journal.codec import column_value

DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_RIGHTS = "Let the user that runs kisi own the folder and the journal, then run it again."
_BUSY = (
    "another program keeps it busy",
    "Close what has the journal open (a backup, a database browser), then run kisi again.",
)
_DAMAGED = (
    "it is damaged",
    "Run `kisi sync` again: it sets a damaged journal aside and says what to do.",
)
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
    **dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL), _BUSY),
    **dict.fromkeys(DAMAGE, _DAMAGED),
}


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code of an error; 1 (`SQLITE_ERROR`) where it has none.

    Extended codes carry the primary one in the low byte: https://sqlite.org/rescode.html.
    """
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


@contextmanager
def as_state_errors(path: Path) -> Iterator[None]:
    """Turns what SQLite or the system says about the journal at `path` into a `StateError`.

    Errors that only a mistake in kisi can cause (a wrong statement, a broken constraint) pass.
    """
    try:
        yield
    except OSError as error:
        raise StateError(
            f"The state folder {path.parent} cannot be used: {error.strerror or error}."
            " Nothing was read from any source and nothing was written.",
            remedy=f"{_RIGHTS} Or name another folder with `state_dir` in kisi.toml.",
        ) from error
    except sqlite3.DatabaseError as error:
        known = _SENTENCES.get(code_of(error))
        if known is None:
            raise
        what, remedy = known
        raise StateError(
            f"The journal {path} cannot be used: {what} ({error}).", remedy=remedy
        ) from error


class Database:
    """One connection to the journal, used by several threads one after another.

    The classes that keep its tables inherit from it. What changes something is called inside a
    `_transaction`.
    """

    def __init__(
        self, connection: sqlite3.Connection, problem: StateError | None, path: Path
    ) -> None:
        self.path, self._connection, self.problem = path, connection, problem
        """Read-only: why the journal is shown empty although there was one; else None."""
        self._lock = threading.RLock()

    def close(self) -> None:
        """Closes the file, as often as it is called; the last one folds its log into it."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        """All or nothing: committed and on disk when the block ends, undone when it raises.

        A change that cannot be stored (disk full, rights, damage) is a `StateError`.
        """
        with self._lock, as_state_errors(self.path):
            try:
                self._connection.execute(begin)
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk makes SQLite roll back by itself
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock, as_state_errors(self.path):
            stored = [column_value(value) for value in values]
            return self._connection.execute(sql, stored).fetchall()

    def _row(self, sql: str, *values: object) -> sqlite3.Row | None:
        return next(iter(self._rows(sql, *values)), None)

    def _execute(self, sql: str, *values: object) -> int:
        """Runs a statement and tells the id of the row it inserted."""
        with self._lock, as_state_errors(self.path):
            cursor = self._connection.execute(sql, [column_value(value) for value in values])
        return cursor.lastrowid or 0

    def _insert(self, table: str, **values: object) -> int:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - names of ours
        return self._execute(insert, *values.values())

    def _update(self, table: str, row_id: int, **values: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        update = f"UPDATE {table} SET {columns} WHERE id = ?"  # noqa: S608 - names of ours
        self._execute(update, *values.values(), row_id)

    def _record_range(
        self, table: str, same: sqlite3.Row | None, run_id: int, at: datetime, **values: object
    ) -> int:
        """A run's finding as a range of runs: the `same` one goes on, or a new one begins."""
        if same is None:
            begins = {"first_run": run_id, "first_at": at}
            return self._insert(table, **values, **begins, last_run=run_id, last_at=at)
        goes_on = f"UPDATE {table} SET last_run = max(last_run, ?), last_at = ? WHERE id = ?"  # noqa: S608
        self._execute(goes_on, run_id, at, same["id"])
        return int(same["id"])
