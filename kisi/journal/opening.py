"""Opening the journal: for writing with care, for reading without leaving a trace.

Writing uses SQLite's write-ahead log with `synchronous=FULL`: a commit that returned survives a
power loss (https://sqlite.org/wal.html). Where a drive cannot have such a log, the rollback journal
with `synchronous=EXTRA` gives the same promise.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from kisi.errors import StateError
from kisi.files import sync_folder
from kisi.journal import damage, schema
from kisi.journal.damage import JOURNAL, Damaged
from kisi.journal.database import Database
from kisi.journal.faults import DAMAGE, as_state_errors, code_of, folder_error

_BUSY_SECONDS = 5.0
"""How long a commit waits for another program that reads or backs up the journal."""


def open_for_writing(folder: Path, migrations: Sequence[str] = schema.MIGRATIONS) -> Database:
    """Opens the journal in `folder`, checked, migrated and proven writable; creates both.

    Raises:
        StateError: The folder or journal cannot be written, was damaged and not acknowledged, is
            no journal, or was written by a newer kisi.
    """
    path = folder / JOURNAL
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if damage.aside(folder):
            raise damage.refusal(folder)
        if damage.orphans(folder):
            damage.set_aside(folder)
            raise damage.refusal(folder, f"{JOURNAL} is missing beside its own log")
        if not path.exists():
            _create(path, migrations)
    except OSError as error:
        raise folder_error(folder, error) from error
    try:
        with as_state_errors(path):
            return Database(_prepared(path, migrations), path)
    except Damaged as finding:
        damage.set_aside(folder)
        raise damage.refusal(folder, str(finding)) from finding


def open_for_reading(folder: Path, migrations: Sequence[str] = schema.MIGRATIONS) -> Database:
    """Opens the journal in `folder` without writing anything; an empty one where there is none.

    A damaged journal, also one that was set aside, reads as an empty one whose `problem` tells so.
    An older journal is read as if it were migrated, in memory.

    Raises:
        StateError: The journal cannot be read, is no journal, or was written by a newer kisi.
    """
    path = folder / JOURNAL
    try:
        problem = damage.refusal(folder) if damage.aside(folder) else None
        if problem or not path.exists():
            return Database(_empty(migrations), path, problem=problem)
    except OSError as error:
        raise folder_error(folder, error) from error
    try:
        with as_state_errors(path):
            return Database(_readable(path, migrations), path)
    except Damaged as finding:
        problem = StateError(
            f"The journal {path} is damaged ({finding}); it is shown as if it were empty.",
            remedy="Run `kisi sync`: it sets the damaged journal aside and says what to do.",
        )
        return Database(_empty(migrations), path, problem=problem)


def _connect(path: Path, options: str) -> sqlite3.Connection:
    posix = path.absolute().as_posix()
    address = "file://" + quote(posix if posix.startswith("/") else f"/{posix}")
    connection = sqlite3.connect(
        f"{address}?{options}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    return connection


def _empty(migrations: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    schema.migrate(connection, migrations)
    return connection


def _create(path: Path, migrations: Sequence[str]) -> None:
    """Makes a new journal in one step: an empty or half-made file is never taken for a journal."""
    new = path.with_name("journal.new.db")
    for unfinished in path.parent.glob(f"{new.name}*"):
        unfinished.unlink()
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with as_state_errors(path), closing(_connect(new, "mode=rw")) as connection:
        connection.execute("PRAGMA synchronous = EXTRA")
        schema.migrate(connection, migrations)
    new.replace(path)
    sync_folder(path.parent)


def _prepared(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """A connection that was proven to write to a sound and current journal."""
    connection = _connect(path, "mode=rw")
    try:
        _reach(connection)
        version = _recognised(connection, path, migrations)
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute(f"PRAGMA synchronous = {'FULL' if mode == 'wal' else 'EXTRA'}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("BEGIN IMMEDIATE")  # a read-only file opens, and fails only here
        connection.execute("ROLLBACK")
        if version < len(migrations):
            _backup(connection, path.with_name(f"journal.before-v{len(migrations)}.db"))
            schema.migrate(connection, migrations)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and code_of(error) in DAMAGE:
            raise Damaged(str(error)) from error
        raise
    return connection


def _readable(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """A connection that only reads, or a current copy in memory of an older journal."""
    connection = _connect(path, "mode=ro")
    try:
        try:
            version = _recognised(connection, path, migrations, thorough=False)
        except sqlite3.OperationalError:
            if path.with_name(f"{JOURNAL}-wal").exists():
                raise
            connection.close()  # a folder where not even SQLite's own files can be made
            connection = _connect(path, "mode=ro&immutable=1")
            version = _recognised(connection, path, migrations, thorough=False)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and code_of(error) in DAMAGE:
            raise Damaged(str(error)) from error
        raise
    if version == len(migrations):
        return connection
    with closing(connection):
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        copy.row_factory = sqlite3.Row
        connection.backup(copy)
    schema.migrate(copy, migrations)
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


def _recognised(
    connection: sqlite3.Connection, path: Path, migrations: Sequence[str], *, thorough: bool = True
) -> int:
    """The journal's version, after making sure that it is one."""
    version = schema.version_of(connection)
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if application != schema.APPLICATION_ID and tables:
        raise StateError(
            f"{path} is a database of another program; kisi left it alone.",
            remedy="Give kisi a folder of its own with `state_dir` in kisi.toml.",
        )
    if version > len(migrations):
        raise StateError(
            f"The journal {path} was written by a newer kisi (version {version}; this kisi knows"
            f" versions up to {len(migrations)}). Nothing was read or written.",
            remedy="Install the newer kisi again. The backup from before the upgrade is beside the"
            f" journal (journal.before-v{version}.db), without what was written since.",
        )
    if not tables.issuperset(schema.TABLES):
        raise Damaged("tables are missing" if tables else "it is empty")
    if thorough:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise Damaged(str(verdict))
    return version


def _backup(connection: sqlite3.Connection, target: Path) -> None:
    """A copy of the journal as it is, whole before the migration begins."""
    unfinished = target.with_name(f"{target.name}.part")
    try:
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(unfinished)) as copy:
            connection.backup(copy)
        unfinished.replace(target)
    except OSError as error:
        raise folder_error(target.parent, error) from error
