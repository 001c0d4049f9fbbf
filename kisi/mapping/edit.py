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

from kisi.errors import ConfigError
from kisi.mapping.toml_proof import meaning, proven
from kisi.mapping.toml_text import Entry, Section, has_comment, scan
from kisi.mapping.toml_write import Row, cut, insert, insert_key, line_end, render, render_value


class RowKind(StrEnum):
    """The arrays of tables in mapping.toml."""

    APPLICATION = "application"
    PRODUCT = "product"
    COMPANY = "company"


EXCEPTION = "product"
"""The key of a company's own array of tables, `[[company.product]]`."""


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


def set_exceptions(text: str, company: int, exceptions: Mapping[int, Mapping[str, object]]) -> str:
    """Sets keys of several `[[company.product]]` of a company row in place, as `set_values` does.

    Raises:
        ConfigError: There is no such row, a comment would be lost, or the file holds forms that
            cannot be edited safely.
    """
    if not exceptions:
        return text
    sections = _place(text, RowKind.COMPANY, company).sections[1:]
    wanted = meaning(text)
    rows = wanted[RowKind.COMPANY][company].get(EXCEPTION, [])
    if len(sections) != len(rows) or not 0 <= min(exceptions) <= max(exceptions) < len(rows):
        raise _other_form(RowKind.COMPANY)
    for index in sorted(exceptions, reverse=True):
        _set(rows[index], exceptions[index])
        text = _with_values(text, sections[index], exceptions[index])
    return proven(text, wanted)


def set_values(text: str, kind: RowKind, rows: Mapping[int, Mapping[str, object]]) -> str:
    """Sets keys of several rows in place; their lines keep their comments.

    Args:
        text: The file's text.
        kind: Which rows.
        rows: A row's position among them, counted from 0, to its keys and their values: text, a
            whole number, true or false, or a list of text; None takes the key away. A new key goes
            behind the row's last.

    Raises:
        ConfigError: There is no such row, a comment would be lost (inside a list, or behind a key
            that is taken away), or the file holds forms that cannot be edited safely.
    """
    if not rows:
        return text
    places = _places(text, kind)
    if not 0 <= min(rows) <= max(rows) < len(places):
        raise _no_such_row(kind, min(rows) if min(rows) < 0 else max(rows), len(places))
    wanted = meaning(text)
    for index in sorted(rows, reverse=True):
        _set(wanted[kind][index], rows[index])
        text = _with_values(text, places[index].sections[0], rows[index])
    return proven(text, wanted)


def _set(row: dict[str, object], values: Mapping[str, object]) -> None:
    """What `_with_values` does to a section's text, done to its meaning."""
    for key, value in values.items():
        if value is None:
            row.pop(key, None)
        else:
            row[key] = value


def _with_values(text: str, own: Section, values: Mapping[str, object]) -> str:
    """`text` with keys of one section changed: the new ones first, as they stand behind all."""
    entries = {key: own.entry(key) for key in values}
    for key, value in reversed(list(values.items())):
        if entries[key] is None and value is not None:
            text = insert_key(text, own, f"{key} = {render_value(value)}")
    known = [(entry, key) for key, entry in entries.items() if entry is not None]
    for entry, key in sorted(known, key=lambda pair: pair[0].start, reverse=True):
        value = values[key]
        _refuse_lost_comments(text, entry, key, goes=value is None)
        if value is None:
            text = text[: entry.start] + text[entry.end :]
        else:
            text = text[: entry.value_start] + render_value(value) + text[entry.value_end :]
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


def _other_form(kind: RowKind) -> ConfigError:
    return ConfigError(
        f"mapping.toml: the {kind} rows are not written as [[{kind}]] tables, so kisi cannot "
        "change one of them without touching others. The file was left as it is.",
        remedy=f"Write each row under its own [[{kind}]] heading.",
    )
