r"""Mapping data as CSV that spreadsheets open unharmed and that is read back without a loss.

A cell is the text itself, but for what a spreadsheet, a terminal or a CSV reader could stumble
over: control characters, a backslash and spaces at either end are written as `\x1b`, `\\` and
`\x20`. A text that would be a formula has an apostrophe in front, and what would be one behind a
delimiter is written as `\x3d` (`kisi.redaction`). Several values in one cell are divided by `; `.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from kisi.config.sentences import did_you_mean, shorten
from kisi.csv_table import csv_table
from kisi.errors import ConfigError
from kisi.redaction import STARTS, guarded_inside

_GUARDED = (*STARTS, "'")
_ESCAPE = re.compile(r"\\(?:(\\)|x([0-9a-f]{2})|u([0-9a-f]{4})|U(00(?:0[0-9a-f]|10)[0-9a-f]{4}))")
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row of a table that was read, by the columns that the file has."""

    place: str
    """Where it stands, for messages: `mapping.csv, line 3`."""
    cells: Mapping[str, str]
    """Each cell as one text."""
    lists: Mapping[str, tuple[str, ...]]
    """The texts of each cell that may hold several."""


def csv_cell(text: str) -> str:
    """One text as a cell."""
    return _guarded(_escaped(text))


def csv_list(texts: Iterable[str]) -> str:
    """Several texts as one cell."""
    return _guarded("; ".join(_escaped(text).replace(";", "\\x3b") for text in texts))


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    """A table as CSV, of cells that `csv_cell` and `csv_list` made."""
    return csv_table(columns, ([row.get(column, "") for column in columns] for row in rows))


def read_csv(text: str, columns: Sequence[str], *, name: str) -> list[ReadRow]:
    """A table as `write_csv` makes it or a spreadsheet saves it (`;`, tabs, a byte order mark).

    Args:
        text: The file.
        columns: The columns there are; a file may lack some and have them in any order.
        name: What messages call the file.

    Raises:
        ConfigError: It is no such table.
    """
    body = text.removeprefix("\ufeff")
    first = body.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(StringIO(body, newline=""), delimiter=delimiter, strict=True)
    rows: list[ReadRow] = []
    header: list[str] = []
    try:
        for cells in reader:
            if not header:
                header = [cell.strip().casefold() for cell in cells]
                _refuse_columns(header, columns, name)
            elif any(cell.strip() for cell in cells):
                rows.append(_row(header, cells, f"{name}, line {reader.line_num}"))
    except csv.Error as error:
        raise ConfigError(
            f"{name}, line {reader.line_num}: This is not CSV ({error}). Nothing was changed.",
            remedy="Save it as CSV (UTF-8) and do it again.",
        ) from error
    return rows


def _refuse_columns(header: Sequence[str], columns: Sequence[str], name: str) -> None:
    problems = [
        f'{name}: Unknown column "{shorten(each)}"; {did_you_mean(each, columns)}'
        for each in header
        if each not in columns
    ]
    problems += [
        f'{name}: Column "{each}" stands there twice.'
        for each in dict.fromkeys(header)
        if header.count(each) > 1
    ]
    if problems:
        raise ConfigError(
            [*problems, "Nothing was changed."],
            remedy="Keep the first line as kisi wrote it; the columns may have any order.",
        )


def _row(header: Sequence[str], cells: Sequence[str], place: str) -> ReadRow:
    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
        raise ConfigError(
            f"{place}: There are more cells than columns. Nothing was changed.",
            remedy="Put a text that holds the divider in quotes, as a spreadsheet does by itself.",
        )
    pairs = zip(header, cells, strict=False)
    raw = {column: _unguarded(cell.strip()) for column, cell in pairs}
    lists = {
        column: tuple(_decoded(part.strip()) for part in cell.split(";") if part.strip())
        for column, cell in raw.items()
    }
    return ReadRow(place, {column: _decoded(cell) for column, cell in raw.items()}, lists)


def _guarded(cell: str) -> str:
    inside = guarded_inside(cell, _spelled)
    return "'" + inside if inside.startswith(_GUARDED) else inside


def _unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_GUARDED) else cell


def _escaped(text: str) -> str:
    escaped = "".join(_escaped_letter(letter) for letter in text)
    body = escaped.strip(" ")
    if body == escaped:
        return escaped
    start = len(escaped) - len(escaped.lstrip(" "))
    return "\\x20" * start + body + "\\x20" * (len(escaped) - start - len(body))


def _escaped_letter(letter: str) -> str:
    if letter == "\\":
        return "\\\\"
    return letter if letter.isprintable() else _spelled(letter)


def _spelled(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _decoded(cell: str) -> str:
    return _ESCAPE.sub(
        lambda match: match[1] or chr(int(match[2] or match[3] or match[4], 16)), cell
    )
