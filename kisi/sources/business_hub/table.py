"""From the bytes of a CSV file to its rows: encoding, delimiter, and whether all of it is there."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from kisi.sources.business_hub.files import Place, refusal

_DELIMITERS = (",", ";", "\t")
_AGAIN = "Export the report again; do not edit it in a program that writes another format."
_MARKED = (
    (codecs.BOM_UTF8, ("utf-8",)),
    (codecs.BOM_UTF16_LE, ("utf-16-le",)),
    (codecs.BOM_UTF16_BE, ("utf-16-be",)),
    (b"", ("utf-8", "cp1252")),
)
_SHOWN = 60


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


def fold(text: str) -> str:
    """`text` for comparisons: without regard to case, white space and how accents are composed."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def shown(text: str) -> str:
    """Text of a report for a message: in quotes, and cut where it is long."""
    return f'"{text}"' if len(text) <= _SHOWN else f'"{text[:_SHOWN]}..."'


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
            Place(file, _line(text[: text.index("\0")])),
            "it holds a NUL character, so it is no text, or UTF-16 without its mark",
            remedy=_AGAIN,
        )
    if final_line_end and not text.endswith(("\n", "\r")):
        raise refusal(
            Place(file, _line(text)),
            "the last line has no end, so it may be cut off",
            remedy="Export the report again. If the portal never ends the last line, "
            "set `final_line_end = false` for this source in kisi.toml.",
        )
    records = _records(file, text, _delimiter(text, wanted))
    first = next(records, None)
    if first is None:
        raise refusal(Place(file), "it holds no heading line", remedy=_AGAIN)
    rows = tuple(_complete(file, row, len(first.cells)) for row in records)
    if not rows:
        raise refusal(Place(file), "it holds headings and not one row", remedy=_AGAIN)
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
        Place(file, content[: max(starts)].count(b"\n") + 1),
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
                Place(file, line),
                f"the row that starts here is no valid CSV, or it is cut off ({error})",
                remedy=_AGAIN,
            ) from error
        if cells:
            yield Row(line, tuple(cell.strip() for cell in cells))


def _complete(file: Path, row: Row, width: int) -> Row:
    if len(row.cells) == width:
        return row
    raise refusal(
        Place(file, row.line),
        f"the row has {len(row.cells)} cells and the heading line {width}; "
        f"its first cell is {shown(row.cells[0])}",
        remedy=_AGAIN,
    )
