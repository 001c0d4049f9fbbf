"""One connection to the journal: what can go wrong with it, and how values are stored there.

The JSON is canonical (sorted keys, no spaces, ASCII), so that equal values give equal bytes and a
hash of the bytes tells whether anything changed. Reading is lenient towards other versions of kisi:
a field that is missing takes its default, a field that is not known any more is passed over.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
import types
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from operator import attrgetter
from pathlib import Path
from sqlite3 import Row
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from kisi.errors import StateError
from kisi.model import Category, TenantRef, categories_of

_Record = TypeVar("_Record")
_AS_THEY_ARE = (int, bytes)
LIGHTLY = 3
"""The level at which what is stored is compressed: 9 takes five times as long for some percent."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError)


def to_epoch(at: datetime) -> int:
    """An aware instant as whole seconds since 1970 in UTC; a naive one is a `ValueError`."""
    if at.tzinfo is None:
        raise ValueError(f"An instant without a time zone cannot be journaled: {at}.")
    return int(at.timestamp())


def from_epoch(seconds: int) -> datetime:
    """The aware UTC instant that `to_epoch` stored."""
    return datetime.fromtimestamp(seconds, UTC)


def quantity_text(quantity: Decimal | int) -> str:
    """A quantity as text in which equal numbers are equal: `10.00` and `1E+1` are both `10`."""
    return format(Decimal(quantity).normalize(), "f")


def storable(text: str) -> str:
    """A text as any file can hold it: half a surrogate pair, which JSON may bring, is escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def column_value(value: object) -> str | int | bytes | None:
    """A value as SQLite takes it: instants as epoch seconds, decimals as text."""
    if value is None or isinstance(value, _AS_THEY_ARE):
        return value
    if isinstance(value, datetime):
        return to_epoch(value)
    if isinstance(value, Decimal):
        return quantity_text(value)
    if isinstance(value, str):
        return storable(value)
    raise TypeError(f"The journal does not store {type(value).__name__}.")


def dumps(value: object) -> str:
    """A value (plain data, or dataclasses of it) as canonical JSON."""
    return json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"))


def pack(value: object) -> bytes:
    """A value as compressed canonical JSON."""
    return zlib.compress(dumps(value).encode("ascii"), LIGHTLY)


def loads(kind: Any, stored: Any, name: str = "a value", without: str = "") -> Any:  # noqa: ANN401
    """Reads what a column holds (it is called `name`, and is not null) as a `kind`.

    Fields called `without` take their default, wherever they are.

    A tenant is `source:tenant`, categories their `category_text`; any other type of several parts
    is JSON by `dumps`, or bytes by `pack`. What cannot be read is a `StateError`.
    """
    try:
        return _column(kind, without)(stored)
    except (*_UNREADABLE, zlib.error) as error:
        raise StateError(
            f"The journal cannot be used: {name} is {stored!r:.60}, which kisi cannot read.",
            remedy="Restore the state folder from a backup. Without one, move journal.db away:"
            " `kisi sync` then begins an empty journal, and holds every line that differs.",
        ) from error


def from_row(kind: type[_Record], row: Row, **given: object) -> _Record:
    """A row as a value of `kind`, a dataclass: each field is `given`, or from the column so named.

    Without such a column, or with a null that it cannot be, a field takes its default.
    """
    made: Any = kind
    values, columns = dict(given), set(row.keys())
    for name, hint in _fields(made).items():
        if name in columns and name not in given:
            value = row[name]
            if value is not None:
                values[name] = value if type(value) is hint else loads(hint, value, name)
            elif hint is not _not_none(hint):
                values[name] = None
    return kind(**values)


@cache
def _column(kind: Any, without: str) -> Callable[[Any], Any]:  # noqa: ANN401
    kind = _not_none(kind)
    if kind is datetime:
        return from_epoch
    if kind is TenantRef:  # a tenant's own id may have colons
        return lambda stored: TenantRef(*stored.split(":", 1))
    if kind == tuple[Category, ...]:
        return categories_of
    if kind is Any or get_origin(kind) or _fields(kind):
        read = _or_none(kind, without) or _same
        return lambda stored: read(
            json.loads(zlib.decompress(stored) if isinstance(stored, bytes) else stored)
        )
    return _reader(kind, without)


def _plain(value: object) -> object:
    kind: Any = type(value)
    if names := _fields(kind):
        return dict(zip(names, _values(kind)(value), strict=True))
    if isinstance(value, date):  # or an instant
        return value.isoformat()
    if isinstance(value, Decimal):
        return quantity_text(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    raise TypeError(f"The journal does not store {kind.__name__}.")


@cache
def _fields(kind: Any) -> dict[str, Any]:  # noqa: ANN401
    if not dataclasses.is_dataclass(kind):
        return {}
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@cache
def _values(kind: Any) -> Callable[[Any], Iterable[Any]]:  # noqa: ANN401
    """What takes the values of all fields at once, which is quicker than one after the other."""
    first, *others = _fields(kind)
    get = attrgetter(first, *others)
    return get if others else lambda value: (get(value),)


@cache
def _reader(kind: Any, without: str) -> Callable[[Any], Any]:  # noqa: ANN401
    """What makes a value of `kind` from JSON data that is not null; worked out once a type."""
    kind = _not_none(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (tuple, frozenset):
        one = _or_none(arguments[0], without)
        return lambda data: origin(data if one is None else map(one, data))
    if origin is not None and issubclass(origin, Mapping):
        name, item = (_or_none(each, without) or _same for each in arguments)
        return lambda data: {name(key): item(one) for key, one in data.items()}
    if fields := _fields(kind):
        wanted = fields.keys() - {without}
        readers = {name: _or_none(fields[name], without) for name in wanted}
        return lambda data: kind(
            **{
                name: data[name] if read is None else read(data[name])
                for name, read in readers.items()
                if name in data
            }
        )
    if kind is not Any and issubclass(kind, Enum):
        return {member.value: member for member in kind}.__getitem__
    return _SCALARS.get(kind, _same)


def _or_none(kind: Any, without: str) -> Callable[[Any], Any] | None:  # noqa: ANN401
    """The reader of `kind`, which passes null on; None where JSON data is the value already."""
    read = _reader(kind, without)
    return None if read is _same else lambda data: None if data is None else read(data)


def _same(data: Any) -> Any:  # noqa: ANN401
    return data


def _finite(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number


_SCALARS: Mapping[type, Callable[[Any], Any]] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    bool: bool,
    int: int,
    Decimal: _finite,
}


def _not_none(kind: Any) -> Any:  # noqa: ANN401
    if get_origin(kind) in (Union, types.UnionType):
        return next(one for one in get_args(kind) if one is not types.NoneType)
    return kind


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
