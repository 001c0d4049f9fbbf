"""Rows of mapping.toml: where each one stands, and its values by type, with sentences if wrong."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import Any

from kisi.config.document import Document
from kisi.config.sentences import did_you_mean, shorten, type_name

_HEADER = re.compile(r"^[ \t]*\[\[([^\[\]\n]+)\]\]", re.MULTILINE)
_LARGEST_ID = 2**63 - 1
"""TOML promises no larger numbers."""


class MappingTable:
    """The rows of a document, and the problems that are found in them."""

    def __init__(self, document: Document) -> None:
        self.problems: list[str] = []
        self._document = document

    def problem(self, text: str) -> None:
        """Notes a problem of the file."""
        self.problems.append(f"{self._document.path.name}: {text}")

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Notes every table and key outside all rows that is not in `known`."""
        for key in self._document.data:
            if key not in known:
                self.problem(f"[[{shorten(key)}]]: Unknown table; {did_you_mean(key, known)}")

    def rows(self, table: str, *, title: str) -> Iterator[TableRow]:
        """The rows of `[[table]]`; `title` is the key whose value names a row for people."""
        entries = self._document.data.get(table, [])
        yield from self._rows(table, entries, title, parent=None)

    def rows_of(self, parent: TableRow, table: str, *, title: str) -> Iterator[TableRow]:
        """The rows of `[[parent.table]]` that belong to `parent`."""
        entries = parent.data.get(table, [])
        yield from self._rows(f"{parent.table}.{table}", entries, title, parent=parent)

    def _rows(
        self, table: str, entries: object, title: str, parent: TableRow | None
    ) -> Iterator[TableRow]:
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            self.problem(f"[[{table}]]: Write its rows under [[{table}]], in double brackets.")
            return
        for index, entry in enumerate(entries):
            yield TableRow(self, table, index, entry, title, parent)

    def line(self, row: TableRow) -> int | None:
        """The line of a row's header, or None for rows that are written without headers."""
        lines = self._lines[row.table, row.parent.index if row.parent else 0]
        siblings = row.parent.data if row.parent else self._document.data
        written = siblings[row.table.rpartition(".")[2]]
        return lines[row.index] if len(lines) == len(written) else None

    @cached_property
    def _lines(self) -> Mapping[tuple[str, int], list[int]]:
        """The lines of the headers of each table, apart for each row that they belong to."""
        text = self._document.text
        lines: dict[tuple[str, int], list[int]] = defaultdict(list)
        line, seen = 1, 0
        for header in _HEADER.finditer(text):
            line += text.count("\n", seen, header.start())
            seen = header.start()
            table = re.sub(r"[\s\"']", "", header[1])
            parent, dot, _ = table.rpartition(".")
            lines[table, len(lines[parent, 0]) - 1 if dot else 0].append(line)
        return lines


class TableRow:
    """One row: its values, read once by their types. What is wrong is noted and reads as empty."""

    __slots__ = ("_title", "_whole", "data", "index", "parent", "table")

    def __init__(
        self,
        whole: MappingTable,
        table: str,
        index: int,
        data: Mapping[str, Any],
        title: str,
        parent: TableRow | None,
    ) -> None:
        self._whole = whole
        self._title = title
        self.table = table
        self.index = index
        self.data = data
        self.parent = parent

    def __str__(self) -> str:
        """The row as messages name it: `[[company]] "Contoso" (row 3, line 41)`."""
        name = self.data.get(self._title)
        named = f' "{shorten(name)}"' if isinstance(name, str) and name else ""
        line = self._whole.line(self)
        where = f"row {self.index + 1}" + (f", line {line}" if line else "")
        owner = f"{self.parent}, " if self.parent else ""
        return f"{owner}[[{self.table}]]{named} ({where})"

    def problem(self, text: str, key: str = "") -> None:
        """Notes a problem of this row, or of one of its keys."""
        self._whole.problem(f"{self}{' ' + shorten(key) if key else ''}: {text}")

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Notes every key that is not in `known`."""
        for key in self.data:
            if key not in known:
                self.problem(f"Unknown key; {did_you_mean(key, known)}", key)

    def text(self, key: str, *, required: bool = True) -> str:
        """Text that is not empty."""
        value = self.data.get(key)
        if isinstance(value, str) and value.strip():
            return value
        if value is not None:
            wrong = "empty text" if isinstance(value, str) else type_name(value)
            self.problem(f"This must be text in quotes, not {wrong}.", key)
        elif required:
            self.problem("This key is missing.", key)
        return ""

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, none of them empty; the list itself is not empty where it is given."""
        values = self.data.get(key)
        if values is None:
            return ()
        if not isinstance(values, list):
            self.problem(f"This must be a list in [brackets], not {type_name(values)}.", key)
            return ()
        if not values:
            self.problem("This list is empty.", key)
        wrong = [value for value in values if not isinstance(value, str) or not value.strip()]
        if wrong:
            kind = "empty text" if isinstance(wrong[0], str) else type_name(wrong[0])
            self.problem(f"Each entry must be text in quotes, not {kind}.", key)
            return ()
        return tuple(values)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.data.get(key, default)
        if isinstance(value, bool):
            return value
        self.problem(f"This must be true or false, without quotes, not {type_name(value)}.", key)
        return default

    def idents(self, key: str) -> tuple[str, ...]:
        """A list of ids as texts; it is not empty where it is given."""
        values = self.data.get(key)
        if values is None:
            return ()
        if not isinstance(values, list):
            self.problem(f"This must be a list in [brackets], not {type_name(values)}.", key)
            return ()
        if not values:
            self.problem("This list is empty.", key)
        return tuple(filter(None, (self._ident(key, value) for value in values)))

    def ident(self, key: str) -> str:
        """An id as text; in the file it is a whole number or text."""
        return self._ident(key, self.data.get(key))

    def _ident(self, key: str, value: object) -> str:
        if type(value) is int and 0 < value <= _LARGEST_ID:
            return str(value)
        if isinstance(value, str) and value and value.isprintable() and value == value.strip():
            return value
        if value is None:
            self.problem("This key is missing.", key)
        elif isinstance(value, str):
            self.problem("An id must not be empty or have spaces around it.", key)
        elif type(value) is int:
            self.problem("An id is a number from 1 to 9223372036854775807, or text.", key)
        else:
            self.problem(f"An id is a whole number or text, not {type_name(value)}.", key)
        return ""
