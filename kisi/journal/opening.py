"""Opening the journal: for writing with care, for reading without leaving a trace.

Writing uses SQLite's write-ahead log with `synchronous=FULL`: a commit that returned survives a
power loss (https://sqlite.org/wal.html). Where a drive cannot have such a log, the rollback journal
with `synchronous=EXTRA` gives the same promise.

A damaged journal is set aside, never deleted, and no run writes until a person has acknowledged it:
the intent of a write whose outcome nobody knows may be in it. After that kisi starts with an empty
journal, which is safe: lines that hold the right quantity become its own again without a word,
every other one is held for a person.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from kisi.errors import StateError
from kisi.files import sync_folder
from kisi.journal import schema
from kisi.journal.database import DAMAGE, Database, as_state_errors, code_of, folder_error

JOURNAL = "journal.db"
_COMPANIONS = ("-wal", "-journal", "-shm")
"""Files that belong to a database: https://sqlite.org/tempfiles.html."""
_ASIDE = "journal.corrupt-"
_ACKNOWLEDGED = "journal.acknowledged-"
_BUSY_SECONDS = 5.0
"""How long a commit waits for another program that reads or backs up the journal."""


class Damaged(Exception):
    """The file is a journal no more; the text says why. Ends as a `StateError`."""


def open_for_writing(folder: Path, migrations: Sequence[str] = schema.MIGRATIONS) -> Database:
    """Opens the journal in `folder`, checked, migrated and proven writable; creates both.

    Raises:
        StateError: The folder or journal cannot be written, was damaged and not acknowledged, is
            no journal, or was written by a newer kisi.
    """
    path = folder / JOURNAL
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _aside(folder):
            raise _refusal(folder)
        if _orphans(folder):
            _set_aside(folder)
            raise _refusal(folder, f"{JOURNAL} is missing beside its own log")
        if not path.exists():
            _create(path, migrations)
    except OSError as error:
        raise folder_error(folder, error) from error
    try:
        with as_state_errors(path):
            return Database(_prepared(path, migrations), path)
    except Damaged as finding:
        _set_aside(folder)
        raise _refusal(folder, str(finding)) from finding


def open_for_reading(folder: Path, migrations: Sequence[str] = schema.MIGRATIONS) -> Database:
    """Opens the journal in `folder` without writing anything; an empty one where there is none.

    A damaged journal, also one that was set aside, reads as an empty one whose `problem` tells so.
    An older journal is read as if it were migrated, in memory.

    Raises:
        StateError: The journal cannot be read, is no journal, or was written by a newer kisi.
    """
    path = folder / JOURNAL
    try:
        problem = _refusal(folder) if _aside(folder) else None
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
    connection = _in_memory()
    schema.migrate(connection, migrations)
    return connection


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def _closing_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.DatabaseError) and code_of(error) in DAMAGE:
            raise Damaged(str(error)) from error
        raise


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
    with _closing_on_error(connection):
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
    return connection


def _readable(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    """A connection that only reads, or a current copy in memory of an older journal."""
    try:
        connection, version = _read_only(path, "mode=ro", migrations)
    except sqlite3.OperationalError:
        if path.with_name(f"{JOURNAL}-wal").exists():
            raise
        # A folder where not even SQLite's own files can be made.
        connection, version = _read_only(path, "mode=ro&immutable=1", migrations)
    if version == len(migrations):
        return connection
    with closing(connection):
        copy = _in_memory()
        connection.backup(copy)
    schema.migrate(copy, migrations)
    return copy


def _read_only(
    path: Path, options: str, migrations: Sequence[str]
) -> tuple[sqlite3.Connection, int]:
    connection = _connect(path, options)
    with _closing_on_error(connection):
        return connection, _recognised(connection, path, migrations, thorough=False)


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


def _aside(folder: Path) -> tuple[Path, ...]:
    """Damaged journals in `folder` that nobody has acknowledged."""
    return tuple(sorted(folder.glob(f"{_ASIDE}*")))


def _orphans(folder: Path) -> bool:
    """Whether the journal itself is gone while unwritten changes of it still lie there."""
    return not (folder / JOURNAL).exists() and any(
        (folder / f"{JOURNAL}{suffix}").exists() for suffix in _COMPANIONS[:2]
    )


def _set_aside(folder: Path) -> None:
    """Renames the journal and its companions to `journal.corrupt-<last change, UTC>.db`.

    The companions go first: left behind, a write-ahead log would be replayed into the next journal.

    Raises:
        StateError: A file could not be renamed, for example because another program has it open.
    """
    files = [folder / f"{JOURNAL}{suffix}" for suffix in (*_COMPANIONS, "")]
    files = [file for file in files if file.exists()]
    try:
        changed = max(int(file.stat().st_mtime) for file in files)
        stamp = datetime.fromtimestamp(changed, UTC).strftime("%Y%m%dT%H%M%SZ")
        number = 0
        while any(folder.glob(f"journal.*-{(name := _numbered(stamp, number))}.db*")):
            number += 1  # also past acknowledged ones: nothing that was set aside is overwritten
        for file in files:
            suffix = file.name.removeprefix(JOURNAL)
            file.rename(folder / f"{_ASIDE}{name}.db{suffix}")
    except OSError as error:
        raise folder_error(folder, error) from error


def _numbered(stamp: str, number: int) -> str:
    return f"{stamp}-{number}" if number else stamp


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

    A damaged journal that no run has met yet is set aside first. Returns the files that are kept,
    under a name that no longer stops a run; none if nothing was damaged.

    Raises:
        StateError: The folder or a file cannot be used, or the journal is not damaged but unusable.
    """
    if (folder / JOURNAL).exists() or _orphans(folder):
        try:
            open_for_writing(folder).close()
        except StateError:
            if not _aside(folder):
                raise
    try:
        return tuple(
            file.rename(folder / file.name.replace(_ASIDE, _ACKNOWLEDGED, 1))
            for file in _aside(folder)
        )
    except OSError as error:
        raise folder_error(folder, error) from error
