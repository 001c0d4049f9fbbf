"""Edits of mapping.toml's text that leave every other line as it is, byte for byte.

Pure: a text in, a text out. People keep comments, order and layout in this file, so it is never
written anew from its meaning. Every edit is proven before it is handed back: the new text is
parsed, and it must mean what the old one meant plus exactly the change asked for.
"""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kisi.errors import ConfigError
from kisi.mapping.toml_text import BYTE_ORDER_MARK, Entry, Section, has_comment, scan
from kisi.mapping.toml_write import Row, cut, insert, insert_key, line_end, render, render_value

_BY_HAND = "Make the change in an editor; `kisi check` says whether the file is right."


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
    rows = _parse(text).get(kind, [])
    return rows if isinstance(rows, list) else [rows]


def append_row(text: str, kind: RowKind, row: Row) -> str:
    """Adds a row behind the last one of its kind, or at the end of the file.

    Raises:
        ConfigError: The file holds forms that cannot be edited safely.
    """
    places = _places(text, kind)
    at = max((place.end for place in places), default=len(text))
    wanted = _parse(text)
    wanted.setdefault(kind, []).append(_plain(row))
    return _proven(insert(text, at, render(kind, row, line_end(text))), wanted)


def append_exception(text: str, company: int, row: Row) -> str:
    """Adds a `[[company.product]]` to the company row at this position (counted from 0).

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    place = _place(text, RowKind.COMPANY, company)
    wanted = _parse(text)
    wanted[RowKind.COMPANY][company].setdefault(EXCEPTION, []).append(_plain(row))
    block = render(f"{RowKind.COMPANY}.{EXCEPTION}", row, line_end(text))
    return _proven(insert(text, place.end, block), wanted)


def remove_row(text: str, kind: RowKind, index: int) -> str:
    """Takes a row away with its sub-tables and the comments between its keys.

    Comments above it stay: nobody can tell whether they speak of this row alone.

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    place = _place(text, kind, index)
    wanted = _parse(text)
    del wanted[kind][index]
    if not wanted[kind]:
        del wanted[kind]
    return _proven(cut(text, place.sections), wanted)


def remove_exceptions(text: str, company: int) -> str:
    """Takes all `[[company.product]]` of a company row away.

    Raises:
        ConfigError: There is no such row, or the file holds forms that cannot be edited safely.
    """
    place = _place(text, RowKind.COMPANY, company)
    wanted = _parse(text)
    wanted[RowKind.COMPANY][company].pop(EXCEPTION, None)
    return _proven(cut(text, place.sections[1:]), wanted)


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
    own = _place(text, kind, index).sections[0]
    wanted = _parse(text)
    entry = own.entry(key)
    if value is None:
        wanted[kind][index].pop(key, None)
        return _proven(text[: entry.start] + text[entry.end :] if entry else text, wanted)
    wanted[kind][index][key] = value
    if entry is None:
        return _proven(insert_key(text, own, f"{key} = {render_value(value)}"), wanted)
    _refuse_comments(text, entry, key)
    changed = text[: entry.value_start] + render_value(value) + text[entry.value_end :]
    return _proven(changed, wanted)


def replace_row(text: str, kind: RowKind, index: int, row: Row) -> str:
    """Makes a row mean what `row` says. Keys that stay as they are keep their lines and comments.

    Raises:
        ConfigError: As `set_value`.
    """
    _place(text, kind, index)
    old = read_rows(text, kind)[index]
    for key in {**old, **row}:
        if key != EXCEPTION and _canonical(old.get(key)) != _canonical(row.get(key)):
            text = set_value(text, kind, index, key, row.get(key))
    exceptions = row.get(EXCEPTION, [])
    if kind is RowKind.COMPANY and _canonical(old.get(EXCEPTION, [])) != _canonical(exceptions):
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
    rows = _parse(text).get(kind, [])
    found: list[list[Section]] = []
    for section in scan(text):
        if section.path == (kind,) and section.array:
            found.append([section])
        elif section.path[:1] == (kind,) and found:
            found[-1].append(section)
    if not isinstance(rows, list) or len(found) != len(rows):
        raise ConfigError(
            f"mapping.toml: the {kind} rows are not written as [[{kind}]] tables, so kisi cannot "
            "change one of them without touching others. The file was left as it is.",
            remedy=f"Write each row under its own [[{kind}]] heading.",
        )
    return [_Place(tuple(sections)) for sections in found]


def _place(text: str, kind: RowKind, index: int) -> _Place:
    places = _places(text, kind)
    if not 0 <= index < len(places):
        raise ConfigError(
            f"mapping.toml: there is no {kind} row number {index + 1}; it has {len(places)}. "
            "The file was left as it is.",
            remedy="Run `kisi map list` to see the rows.",
        )
    return places[index]


def _refuse_comments(text: str, entry: Entry, key: str) -> None:
    if has_comment(text[entry.value_start : entry.value_end]):
        line = text.count("\n", 0, entry.value_start) + 1
        raise ConfigError(
            f"mapping.toml, line {line}: the value of {key} has comments inside, which would be "
            "lost. The file was left as it is.",
            remedy="Move the comments above the key, or make the change in an editor.",
        )


# --- proof --------------------------------------------------------------------------------------


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"mapping.toml is not TOML: {error}. It was left as it is.",
            remedy="Correct it in an editor; `kisi check` says where it is wrong.",
        ) from error


def _plain(row: Row) -> dict[str, Any]:
    return copy.deepcopy(dict(row))


def _canonical(value: object) -> str:
    """Equal for values that TOML holds apart only in layout; True and 1 differ, 1 and 1.0 too."""
    return json.dumps(value, sort_keys=True, default=repr)


def _proven(text: str, wanted: Mapping[str, Any]) -> str:
    """`text`, if it means exactly `wanted`."""
    try:
        text.encode("utf-8")
        means = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except (UnicodeEncodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise _unsafe() from error
    if _canonical(means) != _canonical(wanted):
        raise _unsafe()
    return text


def _unsafe() -> ConfigError:
    return ConfigError(
        "mapping.toml is written in a way that kisi cannot change without touching something else. "
        "The file was left as it is.",
        remedy=_BY_HAND,
    )
