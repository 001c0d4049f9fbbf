"""One connection to the journal: shared by threads, every change whole and on disk."""

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
from kisi.journal.faults import as_state_errors

_Storable = str | int | bytes | None


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
