"""From the bytes of a CSV file to records, or to the reason why it cannot be trusted.

A table first (`parse_table`): encoding, delimiter, and whether all of it is there. Then its records
(`parse_report`): which columns mean what, and what is refused as ambiguous.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from kisi.model import Category
from kisi.sources.business_hub.files import Location, fold, refusal, shown
from kisi.sources.business_hub.settings import Columns, HubSettings, Words

_DELIMITERS = (",", ";", "\t")
_AGAIN = "Export the report again; do not edit it in a program that writes another format."
_MARKED = (
    (codecs.BOM_UTF8, ("utf-8",)),
    (codecs.BOM_UTF16_LE, ("utf-16-le",)),
    (codecs.BOM_UTF16_BE, ("utf-16-be",)),
    (b"", ("utf-8", "cp1252")),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a table."""

    line: int
    """The line of the file on which it starts, counted from 1."""
    cells: tuple[str, ...]
    """As many as there are headings, without outer spaces."""


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV file, whole."""

    file: Path
    headings: tuple[str, ...]
    rows: tuple[Row, ...]


def parse_table(
    file: Path, content: bytes, wanted: Collection[str], *, final_line_end: bool = True
) -> Table:
    """Reads a whole CSV file: quoted cells may hold delimiters, quotes and line ends.

    Args:
        file: For messages.
        content: The file's bytes: UTF-8, UTF-16 with a byte order mark, or Windows-1252.
        wanted: Headings that are looked for; the delimiter (comma, semicolon, tab) is the one under
            which the heading line shows most of them.
        final_line_end: Whether the last line must have an end. Without one nobody can tell
            10 from the beginning of 100.

    Raises:
        SourceError: It cannot be decoded, is cut off, has a row with more or fewer cells than
            headings, or holds nothing but headings.
    """
    text = _decode(file, content)
    if "\0" in text:
        raise refusal(
            Location(file, _line(text[: text.index("\0")])),
            "it holds a NUL character, so it is no text, or UTF-16 without its mark",
            remedy=_AGAIN,
        )
    if final_line_end and not text.endswith(("\n", "\r")):
        raise refusal(
            Location(file, _line(text)),
            "the last line has no end, so it may be cut off",
            remedy="Export the report again. If the portal never ends the last line, "
            "set `final_line_end = false` for this source in kisi.toml.",
        )
    records = _records(file, text, _delimiter(text, wanted))
    first = next(records, None)
    if first is None:
        raise refusal(Location(file), "it holds no heading line", remedy=_AGAIN)
    rows = tuple(_complete(file, row, len(first.cells)) for row in records)
    if not rows:
        raise refusal(Location(file), "it holds headings and not one row", remedy=_AGAIN)
    return Table(file, first.cells, rows)


def _decode(file: Path, content: bytes) -> str:
    mark, encodings = next(marked for marked in _MARKED if content.startswith(marked[0]))
    starts = []
    for encoding in encodings:
        try:
            return content[len(mark) :].decode(encoding)
        except UnicodeDecodeError as error:
            starts.append(len(mark) + error.start)
    raise refusal(
        Location(file, content[: max(starts)].count(b"\n") + 1),
        f"its bytes are no text in {' or '.join(encodings)}",
        remedy=_AGAIN,
    )


def _line(before: str) -> int:
    """The number of the line that `before` ends in."""
    return before.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


def _delimiter(text: str, wanted: Collection[str]) -> str:
    names = {fold(name) for name in wanted if name}

    def fit(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
        )
        try:
            cells = next((row for row in reader if row), [])
        except csv.Error:
            return (-1, 0)
        return (len(names & {fold(cell) for cell in cells}), len(cells))

    return max(_DELIMITERS, key=fit)


def _records(file: Path, text: str, delimiter: str) -> Iterator[Row]:
    """All rows that are not blank lines, the heading line first."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True
    )
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise refusal(
                Location(file, line),
                f"the row that starts here is no valid CSV, or it is cut off ({error})",
                remedy=_AGAIN,
            ) from error
        if cells:
            yield Row(line, tuple(cell.strip() for cell in cells))


def _complete(file: Path, row: Row, width: int) -> Row:
    if len(row.cells) == width:
        return row
    raise refusal(
        Location(file, row.line),
        f"the row has {len(row.cells)} cells and the heading line {width}; "
        f"its first cell is {shown(row.cells[0])}",
        remedy=_AGAIN,
    )


_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_CATEGORIES = {
    "": Category.ALL,
    "mailboxes": Category.ALL,
    **{category.value: category for category in Category},
}
_AT_ITS_ORIGIN = "Correct it where the report comes from, and export it again."

Cell = Callable[[str], str]
"""The cell of a row by the column's name in `Columns`; empty where there is no such column."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a report: a quantity, or (where `device` is set) one device."""

    location: Location
    company: str
    application: str
    licence: str
    """The licence's status and type in the report's words; empty where it names none."""
    not_counted_reason: str
    """Why it does not count; empty if it does."""
    category: Category
    quantity: int
    device: str = ""
    os_name: str = ""


def parse_report(table: Table, settings: HubSettings) -> tuple[Record, ...]:
    """All records of one report file.

    Raises:
        SourceError: A column is missing or ambiguous, or a cell cannot be understood. Nothing is
            guessed, since every cell ends on an invoice.
    """
    found = _find_columns(table, settings.columns)
    return tuple(_record(table, row, found, settings) for row in table.rows)


def _find_columns(table: Table, columns: Columns) -> Mapping[str, int]:
    """The position of each column that the report has."""
    headings = [fold(heading) for heading in table.headings]
    found: dict[str, int] = {}
    for column, heading in columns:
        wanted = fold(heading)
        if not wanted or wanted not in headings:
            continue
        if headings.count(wanted) > 1:
            raise refusal(
                Location(table.file),
                f"two of its columns have the heading {shown(heading)}",
                remedy="Export it with one of them, or rename the other.",
            )
        found[column] = headings.index(wanted)
    if {"device", "quantity"} <= found.keys():
        raise refusal(
            Location(table.file),
            "it has a quantity column and a device column, so a row may be one device or many",
            remedy='Set the one that must not be used to "" in the source\'s `columns`.',
        )
    missing = _required(columns, devices="device" in found) - found.keys()
    if missing:
        names = " and ".join(
            f"{name} ({shown(getattr(columns, name))})" for name in sorted(missing)
        )
        raise refusal(
            Location(table.file),
            f"it has no column {names}; its headings are "
            + ", ".join(shown(heading) for heading in table.headings[:20]),
            remedy="Name the report's own headings in the source's `columns` in kisi.toml.",
        )
    return found


def _required(columns: Columns, *, devices: bool) -> set[str]:
    """Columns without which a report is the wrong one: its form's own, and those set by hand."""
    own = {"device", "operating_system"} if devices else {"quantity"}
    by_hand = {"status", "license_type"} if devices else {"status", "license_type", "category"}
    return {
        "company",
        "application",
        *(name for name in own if getattr(columns, name)),
        *(name for name in by_hand if columns.named(name)),
    }


def _record(table: Table, row: Row, found: Mapping[str, int], settings: HubSettings) -> Record:
    location, cell = Location(table.file, row.line), _cells(row, found)
    devices = "device" in found
    return Record(
        location=location,
        company=_filled(location, "company", cell),
        application=_filled(location, "application", cell),
        licence=_licence(cell),
        not_counted_reason=_not_counted_reason(location, cell, found, settings),
        category=Category.ALL if devices else _category(location, cell("category")),
        quantity=1 if devices else _quantity(location, cell("quantity")),
        device=_filled(location, "device", cell) if devices else "",
        os_name=cell("operating_system") if devices else "",
    )


def _cells(row: Row, found: Mapping[str, int]) -> Cell:
    return lambda column: row.cells[found[column]] if column in found else ""


def _filled(location: Location, column: str, cell: Cell) -> str:
    if text := cell(column):
        return text
    raise refusal(location, f"the {column} is empty", remedy=_AT_ITS_ORIGIN)


def _licence(cell: Cell) -> str:
    return ", ".join(word for word in (cell("status"), cell("license_type")) if word)


def _not_counted_reason(
    location: Location, cell: Cell, found: Mapping[str, int], settings: HubSettings
) -> str:
    """Why the row's licence does not count, or an empty string."""
    kinds = (
        ("license_type", "licence type", "counted_types", "uncounted_types"),
        ("status", "licence status", "active_status", "inactive_status"),
    )
    for column, label, counted, uncounted in kinds:
        if column not in found:
            continue
        word = cell(column)
        counts = _meaning(word, getattr(settings, counted), getattr(settings, uncounted))
        if counts is False:
            return f'{label} "{word}"'
        if counts is None:
            raise refusal(
                location,
                f"the {label} {shown(word)} is not known, so it may count or not",
                remedy=f"Add the word to `{counted}` or to `{uncounted}` of the source, with the "
                "other words of the report (the list replaces kisi's own). If this is not the "
                f'licence\'s column, set {column} = "" in `columns`.',
            )
    return ""


@lru_cache(maxsize=256)
def _meaning(word: str, counted: Words, uncounted: Words) -> bool | None:
    """Whether a word is of those that count; None if it is of neither kind."""
    if fold(word) in map(fold, uncounted):
        return False
    return True if fold(word) in map(fold, counted) else None


def _category(location: Location, text: str) -> Category:
    category = _CATEGORIES.get(re.sub(r"[\s_-]+", "_", fold(text)))
    if category is None:
        raise refusal(
            location,
            f"the category {shown(text)} is none of windows_workstations, windows_servers, "
            "non_windows, all and mailboxes",
            remedy=_AT_ITS_ORIGIN,
        )
    return category


def _quantity(location: Location, text: str) -> int:
    """A whole number in plain digits: 1.000 is a thousand to some and one to others."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise refusal(
            location,
            f"the quantity {shown(text)} is not a whole number in up to nine plain digits",
            remedy="Export numbers without signs, decimals and thousands separators.",
        )
    return int(text)
