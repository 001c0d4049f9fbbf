"""From report files to records, or to the reason why they cannot be trusted.

`newest_files` and `read_settled` find and read the files, `parse_table` makes a table of bytes, and
`parse_report` records of the table. Nothing is guessed, since every cell ends on an invoice:
whatever is wrong or ambiguous raises `SourceError`.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from kisi.errors import SourceError
from kisi.model import Category
from kisi.sources.business_hub.settings import Columns, HubSettings, Words, fold, matching
from kisi.transport import Clock

SETTLED = timedelta(seconds=2)  # one modified more recently may still be written
AHEAD = timedelta(minutes=5)  # how far a file server's clock may run ahead of ours
_SHOWN = 60
_DELIMITERS = (",", ";", "\t")
_AGAIN = "Export the report again; do not edit it in a program that writes another format."
_AT_ITS_ORIGIN = "Correct it where the report comes from, and export it again."
_MARKED = (
    (codecs.BOM_UTF8, ("utf-8",)),
    (codecs.BOM_UTF16_LE, ("utf-16-le",)),
    (codecs.BOM_UTF16_BE, ("utf-16-be",)),
    (b"", ("utf-8", "cp1252")),
)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_CATEGORIES = {
    "": Category.ALL,
    "mailboxes": Category.ALL,
    **{category.value: category for category in Category},
}


class Location(NamedTuple):
    """Where in a report something is."""

    file: Path
    line: int | None = None
    """Counted from 1, the heading's line included; None concerns the whole file."""

    def __str__(self) -> str:
        return f"{self.file}" if self.line is None else f"{self.file}, line {self.line}"


def refusal(location: Location, what: str, *, remedy: str = _AGAIN) -> SourceError:
    """The error for a report that cannot be trusted. `what` is a sentence without its full stop."""
    return SourceError(
        f"Report {location}: {what}. No number of this source was used; "
        "the lines of its clients stay as they are.",
        remedy=remedy,
    )


def shown(text: str) -> str:
    """Text of a report for a message: in quotes, and cut where it is long."""
    return f'"{text}"' if len(text) <= _SHOWN else f'"{text[:_SHOWN]}..."'


class ReportFile(NamedTuple):
    """A report as it lies on the disk."""

    path: Path
    modified: datetime
    """When its content last changed (aware, UTC): the numbers are taken to be of this instant."""
    size: int
    stamp: int
    """The modification time in nanoseconds, to notice any change."""

    def age(self, now: datetime) -> timedelta:
        """How old the numbers are at `now`."""
        return now - self.modified


def newest_files(patterns: Sequence[str], base: Path) -> tuple[ReportFile, ...]:
    """The newest file of each pattern, each file once, in the patterns' order."""
    picked: dict[Path, ReportFile] = {}
    for pattern in patterns:
        found = [file for path in matching(pattern, base) if (file := _look(path))]
        if not found:
            raise SourceError(
                f'No report file fits the pattern "{pattern}" in {base}. No number of this source '
                "was used; the lines of its clients stay as they are.",
                remedy="Export the report again, or correct `files` in kisi.toml.",
            )
        newest = max(found, key=lambda file: (file.stamp, str(file.path)))
        picked.setdefault(newest.path.resolve(), newest)
    return tuple(picked.values())


def _look(path: Path) -> ReportFile | None:
    """The file at `path`, or None if it is a folder or a device."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        return None
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return ReportFile(path, modified, status.st_size, status.st_mtime_ns)


def read_settled(file: ReportFile, max_age_hours: float, clock: Clock, *, cap: int) -> bytes:
    """The whole content of a file that is neither old nor from the future, and not being written.

    A file modified within `SETTLED` is waited for once. Size and modification time must be the same
    before and after reading; of more than `cap` bytes none is read.
    """
    location, age = Location(file.path), file.age(clock.now())
    if age > timedelta(hours=max_age_hours):
        hours = age.total_seconds() / 3600
        raise refusal(
            location,
            f"it was last modified {hours:.0f} hours ago, and `max_age_hours` is {max_age_hours:g}",
            remedy="Export the report again; if the export is a scheduled job, see why it stopped.",
        )
    if age < -AHEAD:
        raise refusal(
            location,
            f"its modification time {file.modified:%Y-%m-%d %H:%M} UTC lies in the future",
            remedy="Correct the clock of this machine or of the one that writes the report.",
        )
    if file.size > cap:
        raise refusal(
            location,
            f"it has {file.size} bytes, more than the {cap} that kisi reads",
            remedy="See whether this is the right file; split it if it is.",
        )
    if age < SETTLED:
        clock.sleep(min(SETTLED - age, SETTLED).total_seconds())
    try:
        with file.path.open("rb") as stream:
            content = stream.read(cap + 1)
            status = os.fstat(stream.fileno())
        now = _look(file.path)
    except OSError as error:
        raise _unreadable(file.path, error) from error
    seen = (len(content), status.st_size, status.st_mtime_ns)
    if seen != (file.size, file.size, file.stamp) or now != file:
        raise refusal(
            location,
            "it changed while it was being read, so it is still being written",
            remedy="Run kisi again when the export has finished.",
        )
    if not content:
        raise refusal(location, "it is empty", remedy="Export the report again.")
    return content


def _unreadable(path: Path, error: OSError) -> SourceError:
    return refusal(
        Location(path),
        f"it could not be read ({error.strerror or type(error).__name__})",
        remedy="Let the account that runs kisi read it, and close it in other programs.",
    )


class Row(NamedTuple):
    """One record of a table."""

    location: Location
    """Where it starts."""
    cells: tuple[str, ...]
    """As many as there are headings, without outer spaces."""


def parse_table(
    file: Path, content: bytes, wanted: Collection[str], *, final_line_end: bool = True
) -> tuple[Row, ...]:
    """A whole CSV file, its heading line first, in UTF-8, UTF-16 with its mark, or Windows-1252.

    The delimiter (comma, semicolon, tab) is the one under which the heading line shows most of the
    `wanted` headings. Without `final_line_end` the last line needs no end, and nobody can tell 10
    from the beginning of 100.
    """
    text = _decode(file, content)
    if "\0" in text:
        raise refusal(
            Location(file, _line(text[: text.index("\0")])),
            "it holds a NUL character, so it is no text, or UTF-16 without its mark",
        )
    if final_line_end and not text.endswith(("\n", "\r")):
        raise refusal(
            Location(file, _line(text)),
            "the last line has no end, so it may be cut off",
            remedy="Export the report again. If the portal never ends the last line, "
            "set `final_line_end = false` for this source in kisi.toml.",
        )
    rows = tuple(_rows(file, text, _delimiter(text, wanted)))
    if not rows:
        raise refusal(Location(file), "it holds no heading line")
    if len(rows) == 1:
        raise refusal(Location(file), "it holds headings and not one row")
    return rows


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
    )


def _line(before: str) -> int:
    """The number of the line that `before` ends in."""
    return before.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


class _Dialect(csv.excel):
    strict = True
    skipinitialspace = True


def _delimiter(text: str, wanted: Collection[str]) -> str:
    names = {fold(name) for name in wanted if name}

    def fit(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text, newline=""), _Dialect, delimiter=delimiter)
        try:
            cells = next((row for row in reader if row), [])
        except csv.Error:
            return (-1, 0)
        return (len(names & {fold(cell) for cell in cells}), len(cells))

    return max(_DELIMITERS, key=fit)


def _rows(file: Path, text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), _Dialect, delimiter=delimiter)
    width = 0
    while True:
        location = Location(file, reader.line_num + 1)
        try:
            cells = tuple(cell.strip() for cell in next(reader))
        except StopIteration:
            return
        except csv.Error as error:
            raise refusal(
                location, f"the row that starts here is no valid CSV, or it is cut off ({error})"
            ) from error
        if not cells:
            continue
        width = width or len(cells)
        if len(cells) != width:
            raise refusal(
                location,
                f"the row has {len(cells)} cells and the heading line {width}; "
                f"its first cell is {shown(cells[0])}",
            )
        yield Row(location, cells)


class Record(NamedTuple):
    """One row of a report: a quantity, or (where `device` is set) one device."""

    location: Location
    company: str
    application: str
    serial: str
    """Stands for a key: the application, and the licence's status and type if they are told."""
    not_counted_reason: str
    """Why it does not count; empty if it does."""
    category: Category
    quantity: int
    device: str
    os_name: str

    @property
    def device_id(self) -> str:
        """Unique in the source: two companies may well have a PC-01 each."""
        return f"{self.company}/{fold(self.device)}"


def parse_report(table: Sequence[Row], settings: HubSettings) -> Iterator[Record]:
    """All records of one report file."""
    headings, *rows = table
    found = _find_columns(headings, settings.columns)
    for row in rows:
        cells = {column: row.cells[position] for column, position in found.items()}
        yield _record(row.location, cells, settings)


def _find_columns(heading_line: Row, columns: Columns) -> Mapping[str, int]:
    file = Location(heading_line.location.file)
    headings = [fold(heading) for heading in heading_line.cells]
    found: dict[str, int] = {}
    for column, heading in columns:
        wanted = fold(heading)
        if not wanted or wanted not in headings:
            continue
        if headings.count(wanted) > 1:
            raise refusal(
                file,
                f"two of its columns have the heading {shown(heading)}",
                remedy="Export it with one of them, or rename the other.",
            )
        found[column] = headings.index(wanted)
    if {"device", "quantity"} <= found.keys():
        raise refusal(
            file,
            "it has a quantity column and a device column, so a row may be one device or many",
            remedy='Set the one that must not be used to "" in the source\'s `columns`.',
        )
    missing = _required(columns, devices="device" in found) - found.keys()
    if missing:
        names = " and ".join(
            f"{name} ({shown(getattr(columns, name))})" for name in sorted(missing)
        )
        raise refusal(
            file,
            f"it has no column {names}; its headings are "
            + ", ".join(shown(heading) for heading in heading_line.cells[:20]),
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


def _record(location: Location, cells: Mapping[str, str], settings: HubSettings) -> Record:
    devices = "device" in cells
    for column in ("company", "application", *(["device"] if devices else [])):
        if not cells[column]:
            raise refusal(location, f"the {column} is empty", remedy=_AT_ITS_ORIGIN)
    licence = ", ".join(filter(None, (cells.get("status"), cells.get("license_type"))))
    return Record(
        location=location,
        company=cells["company"],
        application=cells["application"],
        serial=cells["application"] + (f" ({licence})" if licence else ""),
        not_counted_reason=_not_counted_reason(location, cells, settings),
        category=Category.ALL if devices else _category(location, cells.get("category", "")),
        quantity=1 if devices else _quantity(location, cells.get("quantity", "")),
        device=cells.get("device", ""),
        os_name=cells.get("operating_system", ""),
    )


def _not_counted_reason(location: Location, cells: Mapping[str, str], settings: HubSettings) -> str:
    """Why the row's licence does not count, or an empty string."""
    kinds = (
        ("license_type", "licence type", "counted_types", "uncounted_types"),
        ("status", "licence status", "active_status", "inactive_status"),
    )
    for column, label, counted, uncounted in kinds:
        if column not in cells:
            continue
        word = cells[column]
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
