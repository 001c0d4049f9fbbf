"""Edits of mapping.toml's text that leave every other line as it is, byte for byte.

Pure: a text in, a text out. People keep comments, order and layout in this file, so it is never
written anew from its meaning. Every edit is proven before it is handed back: the new text is
parsed, and it must mean what the old one meant plus exactly the change asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kisi.errors import ConfigError
from kisi.mapping.toml_proof import meaning, proven, same
from kisi.mapping.toml_text import Entry, Section, has_comment, scan
from kisi.mapping.toml_write import Row, cut, insert, insert_key, line_end, render, render_value


class RowKind(StrEnum):
    """The arrays of tables in mapping.toml."""

    APPLICATION = "application"
    PRODUCT = "product"
    COMPANY = "company"


EXCEPTION = "product"
"""The key of a company's own array of tables, `[[company.product]]`."""


def read_rows(text: str, kind: RowKind) -> list[dict[str, Any]]:
    """The rows of one kind as `tomllib` reads them, in the text's order.

    Raises:
        ConfigError: The text is not TOML.
    """
    rows = meaning(text).get(kind, [])
    return rows if isinstance(rows, list) else [rows]


def append_row(text: str, kind: RowKind, row: Row) -> str:
    """Adds a row behind the last one of its kind, or at the end of the file.

    Raises:
        ConfigError: The file holds forms that cannot be edited safely.
    """
    return append_rows(text, kind, [row])


def append_rows(text: str, kind: RowKind, rows: Sequence[Row]) -> str:
    """Adds rows behind the last one of their kind, a blank line between them.

    Raises:
        ConfigError: As `append_row`.
    """
    if not rows:
        return text
    places = _places(text, kind)
    at = max((place.end for place in places), default=len(text))
    wanted = meaning(text)
    wanted.setdefault(kind, []).extend(copy.deepcopy(dict(row)) for row in rows)
    end = line_end(text)
    return proven(insert(text, at, end.join(render(kind, row, end) for row in rows)), wanted)


def append_exception(text: str, company: int, row: Row) -> str:
    """Adds a `[[company.product]]` to the company row at this position (counted from 0).

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    place = _place(text, RowKind.COMPANY, company)
    wanted = meaning(text)
    wanted[RowKind.COMPANY][company].setdefault(EXCEPTION, []).append(copy.deepcopy(dict(row)))
    block = render(f"{RowKind.COMPANY}.{EXCEPTION}", row, line_end(text))
    return proven(insert(text, place.end, block), wanted)


def remove_row(text: str, kind: RowKind, index: int) -> str:
    """Takes a row away with its sub-tables and the comments between its keys.

    Comments above it stay: nobody can tell whether they speak of this row alone.

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    place = _place(text, kind, index)
    wanted = meaning(text)
    del wanted[kind][index]
    if not wanted[kind]:
        del wanted[kind]
    return proven(cut(text, place.sections), wanted)


def remove_exceptions(text: str, company: int) -> str:
    """Takes all `[[company.product]]` of a company row away.

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    place = _place(text, RowKind.COMPANY, company)
    wanted = meaning(text)
    wanted[RowKind.COMPANY][company].pop(EXCEPTION, None)
    return proven(cut(text, place.sections[1:]), wanted)


def remove_exception(text: str, company: int, index: int) -> str:
    """Takes one `[[company.product]]` of a company row away; the others keep their text.

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    sections = _place(text, RowKind.COMPANY, company).sections[1:]
    wanted = meaning(text)
    exceptions = wanted[RowKind.COMPANY][company].get(EXCEPTION, [])
    if len(sections) != len(exceptions) or not 0 <= index < len(sections):
        raise _other_form(RowKind.COMPANY)
    del exceptions[index]
    if not exceptions:
        del wanted[RowKind.COMPANY][company][EXCEPTION]
    return proven(cut(text, sections[index : index + 1]), wanted)


def set_value(text: str, kind: RowKind, index: int, key: str, value: object) -> str:
    """Sets one key of a row in place; the line keeps its comment. None takes the key away.

    Args:
        text: The file's text.
        kind: Which rows.
        index: The row's position among them, counted from 0.
        key: A key of the row itself; a new one goes behind the row's last.
        value: Text, a whole number, true or false, a list of text, or None.

    Raises:
        ConfigError: There is no such row, the value is a list with comments inside, or the file
            holds forms that cannot be edited safely.
    """
    return set_values(text, kind, {index: {key: value}})


def set_values(text: str, kind: RowKind, rows: Mapping[int, Mapping[str, object]]) -> str:
    """Sets keys of several rows at once: row number to key to value, as for `set_value`.

    Raises:
        ConfigError: As `set_value`.
    """
    if not rows:
        return text
    places = _places(text, kind)
    if not 0 <= min(rows) <= max(rows) < len(places):
        raise _no_such_row(kind, min(rows) if min(rows) < 0 else max(rows), len(places))
    wanted = meaning(text)
    for index in sorted(rows, reverse=True):
        own = places[index].sections[0]
        for key, value in rows[index].items():
            if value is None:
                wanted[kind][index].pop(key, None)
            else:
                wanted[kind][index][key] = value
        text = _with_values(text, own, rows[index])
    return proven(text, wanted)


def _with_values(text: str, own: Section, values: Mapping[str, object]) -> str:
    """`text` with keys of one section changed: the new ones first, as they stand behind all."""
    entries = {key: own.entry(key) for key in values}
    for key, value in reversed(list(values.items())):
        if entries[key] is None and value is not None:
            text = insert_key(text, own, f"{key} = {render_value(value)}")
    known = [(entry, key) for key, entry in entries.items() if entry is not None]
    for entry, key in sorted(known, key=lambda pair: pair[0].start, reverse=True):
        value = values[key]
        if value is None:
            text = text[: entry.start] + text[entry.end :]
        else:
            _refuse_comments(text, entry, key)
            text = text[: entry.value_start] + render_value(value) + text[entry.value_end :]
    return text


def replace_row(text: str, kind: RowKind, index: int, row: Row) -> str:
    """Makes a row mean what `row` says. Keys that stay as they are keep their lines and comments.

    Raises:
        ConfigError: As `set_value`.
    """
    _place(text, kind, index)
    old = read_rows(text, kind)[index]
    for key in {**old, **row}:
        if key != EXCEPTION and not same(old.get(key), row.get(key)):
            text = set_value(text, kind, index, key, row.get(key))
    exceptions = row.get(EXCEPTION, [])
    if kind is RowKind.COMPANY and not same(old.get(EXCEPTION, []), exceptions):
        text = remove_exceptions(text, index)
        for exception in exceptions:
            text = append_exception(text, index, exception)
    return text


# --- where rows stand ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """A row in the text: its own section, then those of its sub-tables, wherever they stand."""

    sections: tuple[Section, ...]

    @property
    def end(self) -> int:
        return max(section.end for section in self.sections)


def _places(text: str, kind: RowKind) -> list[_Place]:
    rows = meaning(text).get(kind, [])
    found: list[list[Section]] = []
    for section in scan(text):
        if section.path == (kind,) and section.array:
            found.append([section])
        elif section.path[:1] == (kind,) and found:
            found[-1].append(section)
    if not isinstance(rows, list) or len(found) != len(rows):
        raise _other_form(kind)
    return [_Place(tuple(sections)) for sections in found]


def _place(text: str, kind: RowKind, index: int) -> _Place:
    places = _places(text, kind)
    if not 0 <= index < len(places):
        raise _no_such_row(kind, index, len(places))
    return places[index]


def _no_such_row(kind: RowKind, index: int, rows: int) -> ConfigError:
    return ConfigError(
        f"mapping.toml: there is no {kind} row number {index + 1}; it has {rows}. "
        "The file was left as it is.",
        remedy="Run `kisi map export` to see the rows.",
    )


def _refuse_comments(text: str, entry: Entry, key: str) -> None:
    if has_comment(text[entry.value_start : entry.value_end]):
        line = text.count("\n", 0, entry.value_start) + 1
        raise ConfigError(
            f"mapping.toml, line {line}: the value of {key} has comments inside, which would be "
            "lost. The file was left as it is.",
            remedy="Move the comments above the key, or make the change in an editor.",
        )


def _other_form(kind: RowKind) -> ConfigError:
    return ConfigError(
        f"mapping.toml: the {kind} rows are not written as [[{kind}]] tables, so kisi cannot "
        "change one of them without touching others. The file was left as it is.",
        remedy=f"Write each row under its own [[{kind}]] heading.",
    )
