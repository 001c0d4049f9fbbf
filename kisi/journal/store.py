"""The journal, opened for writing with care, for reading without trace.

A commit that returned survives a power loss: SQLite's write-ahead log with `synchronous=FULL`
(https://sqlite.org/wal.html) or, where a drive cannot have such a log, its rollback journal with
`synchronous=EXTRA`.

A damaged journal is set aside, never deleted, and no run writes until a person has acknowledged it:
the intent of a write whose outcome nobody knows may be in it. An empty journal after that is safe:
lines that hold the right quantity become kisi's again, every other one is held for a person.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self
from urllib.parse import quote

from kisi.errors import StateError
from kisi.files import JOURNAL, private_folder, sync_folder
from kisi.journal import schema
from kisi.journal.database import DAMAGE, as_state_errors, code_of
from kisi.journal.holds import Holds
from kisi.journal.operations import Operations
from kisi.journal.usage import Usages

_COMPANIONS = ("-wal", "-journal", "-shm")
"""Files that belong to a database: https://sqlite.org/tempfiles.html."""
_ASIDE = "journal.corrupt-"
_ACKNOWLEDGED = "journal.acknowledged-"
_BUSY_SECONDS = 5.0
"""How long a commit waits for another program that reads or backs up the journal."""


class Journal(Operations, Holds, Usages, AbstractContextManager["Journal"]):
    """What kisi remembers between runs, in `journal.db` of the state folder.

    Its methods stand beside their SQL: those of runs in `kisi.journal.runs`, and so on. Each that
    writes is one transaction: on disk when it returns, and nothing of it is when it raises
    `StateError`, as each does that cannot read. Several threads may call them. Instants are aware
    and kept to the second; the journal never looks at a clock.
    """

    @classmethod
    def open(cls, state_dir: Path, *, readonly: bool = False) -> Self:
        """Opens the journal of a state folder; a `StateError` if it cannot be used.

        For writing, by the lock's holder, it is created (folder 0700) if missing, checked, brought
        to the current version (a copy is kept) and proven writable; a damaged one is set aside, see
        `repair`. Read-only, nothing is created or changed (but SQLite's own -wal and -shm files),
        and a missing or damaged journal reads as an empty one; see `problem`.
        """
        path = state_dir / JOURNAL
        with as_state_errors(path):
            if readonly:
                return cls(*_open_for_reading(path), path)
            return cls(_open_for_writing(path), None, path)

    def __exit__(self, *_error: object) -> None:
        self.close()

    def prune(self, before: datetime) -> None:
        """Forgets readings and closed holds last seen before an instant; the books are kept."""
        day_before = (before - timedelta(days=1)).date()  # whatever the time zone
        with self._transaction():
            self._execute("DELETE FROM plan WHERE last_at < ? AND NOT open", before)
            self._execute("DELETE FROM usage_day WHERE last_day < ?", str(day_before))
            self._execute("DELETE FROM line_found WHERE day < ?", str(day_before))
            self._execute("DELETE FROM usage WHERE last_at < ?", before)
            self._execute("DELETE FROM last_seen WHERE tenant NOT IN (SELECT tenant FROM usage)")
            self._execute("DELETE FROM content WHERE id NOT IN (SELECT content FROM usage)")


class _Damaged(Exception):
    """The file is a journal no more; the text says why."""


def _open_for_writing(path: Path) -> sqlite3.Connection:
    """A damaged journal and its companions become `journal.corrupt-<last change, UTC>.db`."""
    private_folder(path.parent)
    if _aside(path.parent):
        raise _refusal(path.parent)
    try:
        return _prepared(path)
    except _Damaged as finding:
        # The companions first: left behind, a write-ahead log would be replayed into the next one.
        files = [path.with_name(f"{JOURNAL}{suffix}") for suffix in (*_COMPANIONS, "")]
        files = [file for file in files if file.exists()]
        changed = max(int(file.stat().st_mtime) for file in files)
        stamp, number = f"{datetime.fromtimestamp(changed, UTC):%Y%m%dT%H%M%SZ}", 0
        name = stamp
        while any(path.parent.glob(f"journal.*-{name}.db*")):
            number += 1  # also past acknowledged ones: nothing that was set aside is overwritten
            name = f"{stamp}-{number}"
        for file in files:
            file.rename(path.with_name(f"{_ASIDE}{name}.db{file.name.removeprefix(JOURNAL)}"))
        raise _refusal(path.parent, str(finding)) from finding


def _open_for_reading(path: Path) -> tuple[sqlite3.Connection, StateError | None]:
    """The journal, or an empty one where there is none, or (the problem tells) it is damaged."""
    problem = _refusal(path.parent) if _aside(path.parent) else None
    try:
        if not problem and path.exists():
            try:
                return _readable(path), None
            except sqlite3.OperationalError:
                if path.with_name(f"{JOURNAL}-wal").exists():
                    raise
                # A folder where not even SQLite's own files can be made.
                return _readable(path, "mode=ro&immutable=1"), None
    except _Damaged as finding:
        problem = StateError(
            f"The journal {path} is damaged ({finding}); it is shown as if it were empty.",
            remedy="Run `kisi sync`: it sets the damaged journal aside and says what to do.",
        )
    empty = _connect(None)
    schema.migrate(empty)
    return empty, problem


def _connect(path: Path | None, options: str = "") -> sqlite3.Connection:
    address = ":memory:"
    if path is not None:
        address = f"file:{quote(str(path.absolute()), safe='')}?{options}"
    connection = sqlite3.connect(
        address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def _closing_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and code_of(error) in DAMAGE:
            raise _Damaged(str(error)) from error
        raise


@contextmanager
def _new_file(target: Path, part: str) -> Iterator[sqlite3.Connection]:
    """A new database that only its owner may read; it gets its name once it is whole."""
    for unfinished in target.parent.glob(f"{part}*"):
        unfinished.unlink()
    new = target.with_name(part)
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_connect(new, "mode=rw")) as connection:
        yield connection
    new.replace(target)
    sync_folder(target.parent)


def _prepared(path: Path) -> sqlite3.Connection:
    """A connection that was proven to write to a sound and current journal, new if need be."""
    if not path.exists():
        if _has_log(path.parent):
            raise _Damaged(f"{JOURNAL} is missing beside its own log")
        with _new_file(path, "journal.new.db") as new:
            new.execute("PRAGMA synchronous = EXTRA")
            schema.migrate(new)
    connection = _connect(path, "mode=rw")
    with _closing_on_error(connection):
        _reach(connection)
        version = _recognised(connection, path)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'wal' else 'EXTRA'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")  # a read-only file opens, and fails only here
        connection.execute("ROLLBACK")
        if version < len(schema.MIGRATIONS):
            backup = path.with_name(f"journal.before-v{len(schema.MIGRATIONS)}.db")
            with _new_file(backup, f"{backup.name}.part") as copy:
                connection.backup(copy)
            schema.migrate(connection)
    return connection


def _readable(path: Path, options: str = "mode=ro") -> sqlite3.Connection:
    """A connection that only reads, or a current copy in memory of an older journal."""
    connection = _connect(path, options)
    with _closing_on_error(connection):
        if _recognised(connection, path, thorough=False) == len(schema.MIGRATIONS):
            return connection
    with closing(connection):
        copy = _connect(None)
        connection.backup(copy)
    schema.migrate(copy)
    return copy


def _reach(connection: sqlite3.Connection) -> None:
    """Makes a journal readable that was moved with its log mode to a drive that cannot have one."""
    try:
        schema.version_of(connection)
    except sqlite3.OperationalError as unreachable:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA locking_mode = NORMAL")
        except sqlite3.OperationalError:
            raise unreachable from None  # it was not the drive: the first error says what it was


def _recognised(connection: sqlite3.Connection, path: Path, *, thorough: bool = True) -> int:
    version, known = schema.version_of(connection), len(schema.MIGRATIONS)
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if application != schema.APPLICATION_ID and tables:
        raise StateError(
            f"{path} is a database of another program; kisi left it alone.",
            remedy="Give kisi a folder of its own with `state_dir` in kisi.toml.",
        )
    if version > known:
        raise StateError(
            f"The journal {path} was written by a newer kisi (version {version}; this kisi knows"
            f" versions up to {known}). Nothing was read or written.",
            remedy="Install the newer kisi again. The backup from before the upgrade is beside the"
            f" journal (journal.before-v{version}.db), without what was written since.",
        )
    if not tables.issuperset(schema.TABLES):
        raise _Damaged("tables are missing" if tables else "it is empty")
    if thorough:
        result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise _Damaged(str(result))
    return version


def _aside(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_ASIDE}*"))


def _has_log(folder: Path) -> bool:
    """Whether changes lie beside the journal that may not have reached it."""
    return any((folder / f"{JOURNAL}{suffix}").exists() for suffix in _COMPANIONS[:2])


def _refusal(folder: Path, why: str = "") -> StateError:
    """The sentence that ends every run until the damage is acknowledged."""
    names = ", ".join(file.name for file in _aside(folder))
    happened = f"The journal was damaged ({why})" if why else "The journal was damaged"
    return StateError(
        f"{happened} and is set aside in {folder} as {names}."
        " Nothing is written to any PSA, because a write whose outcome nobody knows may be in it.",
        remedy="Look at the clients' lines in the PSA, then run `kisi check --repair`: kisi starts"
        " with an empty journal, keeps the damaged one, and holds every line that differs.",
    )


def repair(folder: Path) -> tuple[Path, ...]:
    """Acknowledges damage, so that the next run starts with an empty journal. The lock is held.

    Returns the files that are kept, under a name that no longer stops a run; none if nothing was
    damaged. A journal that is not damaged and cannot be used is a `StateError`.
    """
    with as_state_errors(folder / JOURNAL):
        if (folder / JOURNAL).exists() or _has_log(folder):
            try:
                _open_for_writing(folder / JOURNAL).close()
            except StateError:
                if not _aside(folder):
                    raise
        return tuple(
            file.rename(folder / file.name.replace(_ASIDE, _ACKNOWLEDGED, 1))
            for file in _aside(folder)
        )
