"""Edits of mapping.toml's text that leave every other line as it is, byte for byte.

People keep comments, order and layout in this file, so it is never written anew from its meaning.
Every edit is proven before it is handed back: the new text is parsed, and it must mean what the old
one meant plus exactly the edits asked for.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import tomli_w

from kisi.config.document import BYTE_ORDER_MARK, encode
from kisi.errors import ConfigError

TomlRow = Mapping[str, Any]
"""A row as `tomllib` reads it: keys and values, and its own arrays of tables."""


class RowKind(StrEnum):
    """The arrays of tables in mapping.toml."""

    APPLICATION = "application"
    PRODUCT = "product"
    COMPANY = "company"


EXCEPTION = RowKind.PRODUCT
"""The key of a company's own array of tables, `[[company.product]]`."""


class TomlEdit:
    """Edits of one text, made in place one after the other.

    Rows are named by kind and place, counted from 0. With `company`, the rows are the
    `[[company.product]]` of the company at that place.

    Raises:
        ConfigError: The text is not TOML.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._wanted = _meaning(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigError(
                f"mapping.toml is not TOML: {error}. It was left as it is.",
                remedy="Correct it in an editor; `kisi check` says where it is wrong.",
            ) from error

    def append(self, kind: RowKind, rows: Sequence[TomlRow], *, company: int | None = None) -> None:
        """Adds rows behind the last one of their kind, a blank line between them.

        Exceptions stand with their company; the first row of a kind stands at the file's end.

        Raises:
            ConfigError: There is no such company, or rows are written in a form that cannot be
                edited safely.
        """
        if not rows:
            return
        if company is None:
            places, header = self._places(kind), str(kind)
        else:
            places = list(self._named(RowKind.COMPANY, [company]).values())
            header = f"{RowKind.COMPANY}.{kind}"
        owner = self._owner(company)
        at = max((section.end for place in places for section in place), default=len(self._text))
        owner.setdefault(kind, []).extend(copy.deepcopy(dict(row)) for row in rows)
        end = line_end(self._text)
        block = end.join(_render(header, row, end) for row in rows)
        self._text = insert(self._text, at, block)

    def remove(self, kind: RowKind, rows: Collection[int], *, company: int | None = None) -> None:
        """Takes rows away with their sub-tables and the comments between their keys.

        Comments above a row stay: nobody can tell whether they speak of this row alone.

        Raises:
            ConfigError: There is no such row, or rows are written in a form that cannot be edited
                safely.
        """
        if not rows:
            return
        places = self._named(kind, rows, company)
        owner = self._owner(company)
        owner[kind] = [row for place, row in enumerate(owner[kind]) if place not in rows]
        if not owner[kind]:
            del owner[kind]
        self._text = cut(self._text, [section for place in places.values() for section in place])

    def set_values(
        self, kind: RowKind, rows: Mapping[int, TomlRow], *, company: int | None = None
    ) -> None:
        """Sets keys of rows in place; their lines keep their comments.

        Args:
            kind: Which rows.
            rows: A row's place to its keys and their values: text, a whole number, true or false,
                or a list of text; None takes the key away. A new key goes behind the row's last.
            company: Whose exceptions they are.

        Raises:
            ConfigError: There is no such row, a comment would be lost (inside a list, or behind a
                key that is taken away), or rows are written in a form that cannot be edited safely.
        """
        if not rows:
            return
        places = self._named(kind, rows, company)
        owner = self._owner(company)
        for row in sorted(rows, reverse=True):  # from below, so that the places above stay true
            for key, value in rows[row].items():
                if value is None:
                    owner[kind][row].pop(key, None)
                else:
                    owner[kind][row][key] = value
            self._text = _with_values(self._text, places[row][0], rows[row])

    def proven(self) -> str:
        """The new text, if it means exactly what was asked for.

        Raises:
            ConfigError: It does not, or cannot be written as UTF-8.
        """
        encode(self._text)
        try:
            means = _meaning(self._text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise _unsafe() from error
        if _canonical(means) != _canonical(self._wanted):
            raise _unsafe()
        return self._text

    def _owner(self, company: int | None) -> dict[str, Any]:
        """What holds the rows: the file, or a company."""
        return self._wanted if company is None else self._wanted[RowKind.COMPANY][company]

    def _places(self, kind: RowKind, company: int | None = None) -> list[list[Section]]:
        """Each row of a kind: its own section, then those of its sub-tables, wherever they are."""
        if company is None:
            rows = self._wanted.get(kind, [])
            found: list[list[Section]] = []
            for section in scan(self._text):
                if section.path == (kind,) and section.array:
                    found.append([section])
                elif section.path[:1] == (kind,) and found:
                    found[-1].append(section)
        else:
            _, *own = self._named(RowKind.COMPANY, [company])[company]
            rows = self._wanted[RowKind.COMPANY][company].get(kind, [])
            found = [[section] for section in own]
        if not isinstance(rows, list) or len(found) != len(rows):
            raise ConfigError(
                f"mapping.toml: the {kind} rows are not written as [[{kind}]] tables, so kisi "
                "cannot change one of them without touching others. The file was left as it is.",
                remedy=f"Write each row under its own [[{kind}]] heading.",
            )
        return found

    def _named(
        self, kind: RowKind, rows: Collection[int], company: int | None = None
    ) -> dict[int, list[Section]]:
        """The sections of the rows at these places."""
        places = self._places(kind, company)
        for row in sorted(rows):
            if not 0 <= row < len(places):
                raise ConfigError(
                    f"mapping.toml: there is no {kind} row number {row + 1}; it has {len(places)}. "
                    "The file was left as it is.",
                    remedy="Run `kisi map export` to see the rows.",
                )
        return {row: places[row] for row in rows}


def _with_values(text: str, own: Section, values: TomlRow) -> str:
    """`text` with keys of one section changed: the new ones first, as they stand behind all."""
    entries = {key: own.entry(key) for key in values}
    for key, value in reversed(list(values.items())):
        if entries[key] is None and value is not None:
            text = insert_key(text, own, f"{key} = {_render_value(value)}")
    known = [(entry, key) for key, entry in entries.items() if entry is not None]
    for entry, key in sorted(known, key=lambda pair: pair[0].start, reverse=True):
        value = values[key]
        _refuse_lost_comments(text, entry, key, goes=value is None)
        if value is None:
            text = text[: entry.start] + text[entry.end :]
        else:
            text = text[: entry.value_start] + _render_value(value) + text[entry.value_end :]
    return text


def _refuse_lost_comments(text: str, entry: Entry, key: str, *, goes: bool) -> None:
    """Refuses to change a value with comments inside; and one behind it, if the key `goes`."""
    if has_comment(text[entry.value_start : entry.value_end]):
        what = f"the value of {key} has comments inside, which would be lost"
    elif goes and has_comment(text[entry.value_end : entry.end]):
        what = f"{key} must go, and the comment behind it would be lost"
    else:
        return
    line = text.count("\n", 0, entry.value_start) + 1
    raise ConfigError(
        f"mapping.toml, line {line}: {what}. The file was left as it is.",
        remedy="Move the comments above the key, or make the change in an editor.",
    )


def _render(header: str, row: TomlRow, end: str) -> str:
    """A row as text: its keys, then its own arrays of tables."""
    lines = [f"[[{header}]]"]
    tables = []
    for key, value in row.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            tables += [_render(f"{header}.{key}", table, end) for table in value]
        else:
            lines.append(f"{key} = {_render_value(value)}")
    return end.join([*lines, ""]) + "".join(tables)


def _render_value(value: object) -> str:
    """A value as TOML; a list on one line."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_render_value, value)) + "]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip("\n")


def _meaning(text: str) -> dict[str, Any]:
    return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))


def _canonical(value: object) -> str:
    """The same for values that differ only in layout; not for True and 1, nor for 1 and 1.0."""
    return json.dumps(value, sort_keys=True, default=repr)


def _unsafe() -> ConfigError:
    return ConfigError(
        "mapping.toml is written in a way that kisi cannot change without touching something else. "
        "The file was left as it is.",
        remedy="Make the change in an editor; `kisi check` says whether the file is right.",
    )


# --- where headers, keys, values and comments stand -----------------------------------------------
# `tomllib` says what a file means, not where. This scanner says where, in a text that `tomllib` has
# already accepted, and leaves meaning alone (https://toml.io/en/v1.0.0).

_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^#\r\n]*[^#\s]")
_REST_OF_LINE = re.compile(r"[^\n]*\n?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A `key = value`. Positions count characters of the text; ends are exclusive."""

    key: tuple[str, ...]
    """Its parts: a dotted key has several."""
    start: int
    """The beginning of its line."""
    end: int
    """Behind its last line's end (or at the end of the text)."""
    value_start: int
    value_end: int


@dataclass(slots=True)
class Section:
    """A header and the keys up to the next one. The part before the first header has no path."""

    path: tuple[str, ...]
    array: bool
    """Whether it is an element of an array of tables: `[[path]]`."""
    start: int
    header_end: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Behind its last key; comments and blank lines after it are nobody's."""
        return self.entries[-1].end if self.entries else self.header_end

    def entry(self, key: str) -> Entry | None:
        """The entry of a plain key, however it is quoted."""
        return next((entry for entry in self.entries if entry.key == (key,)), None)


def scan(text: str) -> list[Section]:
    """All sections of a text that `tomllib` accepts, in its order; the first one has no header."""
    position = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    sections = [Section((), array=False, start=position, header_end=position)]
    while (position := _skip(_BETWEEN, text, position)) < len(text):
        start = max(text.rfind("\n", 0, position) + 1, sections[0].start)
        if text[position] == "[":
            array = text.startswith("[[", position)
            path, after = _key(text, position + 1 + array)
            end = _skip(_REST_OF_LINE, text, after)
            sections.append(Section(path, array, start, end))
        else:
            key, after = _key(text, position)
            value_start = _skip(_BLANK, text, after + 1)
            value_end = _value_end(text, value_start)
            end = _skip(_REST_OF_LINE, text, value_end)
            sections[-1].entries.append(Entry(key, start, end, value_start, value_end))
        position = end
    return sections


def has_comment(value: str) -> bool:
    """Whether the text of a value, a list for example, holds a comment."""
    return "#" in _STRING.sub('""', value)


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    """The parts of a dotted key, and where it ends: at its `=` or `]`."""
    parts = []
    while True:
        position = _skip(_BLANK, text, position)
        quoted = _STRING.match(text, position)
        end = quoted.end() if quoted else _skip(_BARE, text, position)
        raw = text[position:end]
        parts.append(tomllib.loads(f"key = {raw}")["key"] if quoted else raw)
        position = _skip(_BLANK, text, end)
        if not text.startswith(".", position):
            return tuple(parts), position
        position += 1


def _value_end(text: str, position: int) -> int:
    if text[position] in "[{":
        *_, last = _closing(text, position)
        return last
    return _skip(_STRING if text[position] in "\"'" else _SCALAR, text, position)


def _closing(text: str, position: int) -> Iterator[int]:
    """Walks over a list or inline table; the last position is behind its closing bracket."""
    depth = 0
    while True:
        position = _skip(_BETWEEN, text, position)
        letter = text[position]
        if letter in "\"'":
            position = _skip(_STRING, text, position)
        else:
            depth += (letter in "[{") - (letter in "]}")
            position += 1
        yield position
        if not depth:
            return


# --- changing lines -----------------------------------------------------------------------------


def line_end(text: str) -> str:
    """What the file ends its lines with, judged by the first one."""
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def insert(text: str, at: int, block: str) -> str:
    """`text` with a block at a line's beginning, a blank line before it."""
    before, after, end = text[:at], text[at:], line_end(text)
    if not before.removeprefix(BYTE_ORDER_MARK):
        return before + block + after
    if not before.endswith("\n"):
        return before + end + end + block.removesuffix(end) + after
    gap = "" if before.endswith((end + end, BYTE_ORDER_MARK + end)) else end
    return before + gap + block + after


def insert_key(text: str, section: Section, line: str) -> str:
    """`text` with a line behind the section's last key, indented like it."""
    end = line_end(text)
    before, after = text[: section.end], text[section.end :]
    above = text[section.entries[-1].start if section.entries else section.start :]
    indent = above[: len(above) - len(above.lstrip(" \t"))]
    if not before.endswith("\n"):
        return before + end + indent + line + after
    return before + indent + line + end + after


def cut(text: str, sections: Sequence[Section]) -> str:
    """`text` without these sections, and without the blank line that would be one too many."""
    for section in sorted(sections, key=lambda section: section.start, reverse=True):
        before, after = text[: section.start], text[section.end :]
        end = line_end(text)
        if before.endswith(end + end) and (not after or after.startswith(end)):
            before = before.removesuffix(end)
        text = before + after
    return text
