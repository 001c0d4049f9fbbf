"""What can go wrong with files and disks, as sentences for the operator."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kisi.errors import StateError

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
