"""`[sources.NAME]` of `kind = "business-hub"`, and what the reports say in its words.

`parse_table` makes a table of a report's bytes, `parse_report` records of the table. Nothing is
guessed, since every cell ends on an invoice: whatever is wrong or ambiguous raises `SourceError`.
"""

from __future__ import annotations

import codecs
import csv
import glob
import io
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from kisi.config.settings import Hours, Section, Table, Text
from kisi.csv_table import without_sep
from kisi.errors import SourceError
from kisi.model import Category
from kisi.transport import Limits

_SHOWN = 60
MOST_ROWS = Limits().rows
_DELIMITERS = (",", ";", "\t")
_AGAIN = "Export the report again; do not edit it in a program that writes another format."
TOO_LARGE = "See whether this is the right file; split it if it is."
_AT_ITS_ORIGIN = "Correct it where the report comes from, and export it again."
_MARKED = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_CATEGORIES = {
    "": Category.ALL,
    "mailboxes": Category.ALL,
    **{category.value: category for category in Category},
}
Words = tuple[str, ...]


def _words(text: str) -> Words:
    return tuple(map(str.strip, text.split(",")))


ACTIVE_STATUS = _words("""
    active, valid, ok, in use, aktiv, gültig, actif, active, valide, activo, activa, vigente,
    attivo, attiva, valida, ativo, ativa, actief, geldig, aktywna, aktywny, aktivní, aktív, etkin,
    activ, активна, активная, активен, действует, действующая, действительна
""")
"""Words that mean: this licence is in force. English, German, French, Spanish, Italian, Portuguese,
Dutch, Polish, Czech, Hungarian, Turkish, Romanian and Russian."""

INACTIVE_STATUS = _words("""
    inactive, not active, expired, cancelled, canceled, terminated, revoked, paused, suspended,
    blocked, disabled, reserve, grace, grace period, trial, inaktiv, abgelaufen, gekündigt,
    storniert, pausiert, gesperrt, testversion, inactif, inactive, expiré, expirée, annulé, annulée,
    suspendu, suspendue, inactivo, inactiva, caducado, caducada, vencido, vencida, cancelado,
    cancelada, suspendido, suspendida, expirado, expirada, inativo, inativa, inattivo, inattiva,
    scaduto, scaduta, annullato, annullata, sospeso, sospesa, inactief, verlopen, geannuleerd,
    nieaktywna, wygasła, neaktivní, vypršela, lejárt, süresi doldu, expirat, expirată, неактивна,
    истек, истекла, истекший, просрочена, отменена, аннулирована, приостановлена, заблокирована
""")
"""Words that mean: this licence is not in force, or only in its grace term. It does not count."""

COUNTED_TYPES = _words("""
    commercial, subscription, paid, commercial subscription, kommerziell, abonnement, abo,
    commerciale, comercial, suscripción, abbonamento, assinatura, commercieel, komercyjna,
    subskrypcja, komerční, коммерческая, подписка
""")
"""Licence types of which Kaspersky's rule says that they are counted."""

UNCOUNTED_TYPES = _words("""
    trial, test, beta, evaluation, demo, free, oem, nfr, not for resale, testversion, testlizenz,
    essai, évaluation, prueba, evaluación, prova, versione di prova, avaliação, proef, próbna,
    testowa, zkušební, пробная, тестовая, бета
""")
"""Licence types that are never counted."""


def fold(text: str) -> str:
    """`text` for comparisons: without regard to case, white space and how accents are composed."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def matching(pattern: str, base: Path) -> tuple[Path, ...]:
    """What fits a glob, relative to `base` or absolute."""
    names = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207 - Path.glob refuses absolute patterns
    return tuple(base / name for name in names)


class Columns(Table):
    """The report's own headings, found without regard to case and outer spaces.

    An empty string says that the report has no such column, or that kisi must not use it.
    """

    company: Text = "company"
    application: Text = "application"
    category: str = "category"
    quantity: str = "quantity"
    status: str = "status"
    device: str = "device"
    operating_system: str = "operating_system"
    license_type: str = "license_type"


class HubSettings(Section):
    """Settings of a source of exported reports. It logs in nowhere and has no secrets."""

    kind: Literal["business-hub"] = "business-hub"
    files: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Globs relative to kisi.toml; the newest file of each is read."""
    max_age_hours: Hours = 72
    columns: Columns = Columns()
    active_status: Words = ACTIVE_STATUS
    inactive_status: Words = INACTIVE_STATUS
    counted_types: Words = COUNTED_TYPES
    uncounted_types: Words = UNCOUNTED_TYPES
    code_page: Annotated[int, Field(ge=1250, le=1258)] = 1252
    """The Windows code page of a report that is neither UTF-8 nor UTF-16: nothing in it says so."""
    final_line_end: bool = True
    """Whether a report whose last line has no end is taken to be cut off."""

    def files_read(self, base: Path) -> Iterator[Path]:
        """Every report that fits a glob: each may be the newest one day."""
        for pattern in self.files:
            yield from matching(pattern, base)

    @model_validator(mode="after")
    def _no_word_means_both(self) -> Self:
        for yes, no in (("active_status", "inactive_status"), ("counted_types", "uncounted_types")):
            both = {*map(fold, getattr(self, yes))} & {*map(fold, getattr(self, no))}
            if both:
                words = ", ".join(sorted(both))
                raise ValueError(f"{yes} and {no} must not share a word, and both hold: {words}")
        return self


class Location(NamedTuple):
    """Where in a report something is: a line, counted from 1, or (None) the whole file."""

    file: Path
    line: int | None = None

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


class Row(NamedTuple):
    """Where a row of a table starts, and its cells, as many as headings, without outer spaces."""

    location: Location
    cells: tuple[str, ...]


def parse_table(
    file: Path,
    content: bytes,
    wanted: Collection[str],
    *,
    code_page: int = 1252,
    final_line_end: bool = True,
) -> tuple[Row, ...]:
    """A whole CSV file, its heading line first, in UTF-8, UTF-16 with its mark, or a code page.

    The delimiter (comma, semicolon, tab) is the one under which the heading line shows most of the
    `wanted` headings, or the one that a line `sep=;` before it names. Without
    `final_line_end` the last line needs no end, and nobody can tell 10 from the beginning of 100.
    """
    text = _decode(file, content, f"cp{code_page}")
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
    named, text = without_sep(text)
    rows = tuple(islice(_rows(file, text, named or _delimiter(text, wanted)), MOST_ROWS + 2))
    if len(rows) > MOST_ROWS + 1:
        raise refusal(rows[-1].location, f"it has more than {MOST_ROWS:,} rows", remedy=TOO_LARGE)
    if not rows:
        raise refusal(Location(file), "it holds no heading line")
    if len(rows) == 1:
        raise refusal(Location(file), "it holds headings and not one row")
    return rows


def _decode(file: Path, content: bytes, code_page: str) -> str:
    marked = ((mark, (encoding,)) for mark, encoding in _MARKED if content.startswith(mark))
    mark, encodings = next(marked, (b"", ("utf-8", code_page)))
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
        width = width or max((n for n, cell in enumerate(cells, 1) if cell), default=len(cells))
        cells = cells if any(cells[width:]) else cells[:width]  # a spreadsheet pads rows
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


def parse_report(file: Path, content: bytes, settings: HubSettings) -> Iterator[Record]:
    """All records of one report file."""
    wanted = [heading for _, heading in settings.columns]
    options = settings.model_dump(include={"code_page", "final_line_end"})
    headings, *rows = parse_table(file, content, wanted, **options)
    found = _find_columns(headings, settings.columns)
    for row in (row for row in rows if any(row.cells)):  # a spreadsheet pads tables, too
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
    missing = sorted(_required(columns, devices="device" in found) - found.keys())
    if missing:
        names = " and ".join(f"{name} ({shown(getattr(columns, name))})" for name in missing)
        own = ", ".join(map(shown, heading_line.cells[:20]))
        raise refusal(
            file,
            f"it has no column {names}; its headings are {own}",
            remedy="Name the report's own headings in the source's `columns` in kisi.toml.",
        )
    return found


def _required(columns: Columns, *, devices: bool) -> set[str]:
    """Columns without which a report is the wrong one: its form's own, and those set by hand."""
    own = {"device", "operating_system"} if devices else {"quantity"}
    by_hand = {"status", "license_type"} if devices else {"status", "license_type", "category"}
    needed = own | (by_hand & columns.model_fields_set)
    return {"company", "application", *(name for name in needed if getattr(columns, name))}


def _record(location: Location, cells: Mapping[str, str], settings: HubSettings) -> Record:
    devices = "device" in cells
    for column in ("company", "application", *(["device"] if devices else [])):
        if not cells[column]:
            raise refusal(location, f"the {column} is empty", remedy=_AT_ITS_ORIGIN)
    category: Category | None = Category.ALL
    text = "1"
    if not devices:
        category = _CATEGORIES.get(re.sub(r"[\s_-]+", "_", fold(cells.get("category", ""))))
        text = cells.get("quantity", "")
    if category is None:
        raise refusal(
            location,
            f"the category {shown(cells['category'])} is none of windows_workstations, "
            "windows_servers, non_windows, all and mailboxes",
            remedy=_AT_ITS_ORIGIN,
        )
    if not _WHOLE_NUMBER.fullmatch(text):  # 1.000 is a thousand to some and one to others
        raise refusal(
            location,
            f"the quantity {shown(text)} is not a whole number in up to nine plain digits",
            remedy="Export numbers without signs, decimals and thousands separators.",
        )
    licence = ", ".join(filter(None, (cells.get("status"), cells.get("license_type"))))
    return Record(
        location=location,
        company=cells["company"],
        application=cells["application"],
        serial=cells["application"] + (f" ({licence})" if licence else ""),
        not_counted_reason=_not_counted_reason(location, cells, settings),
        category=category,
        quantity=int(text),
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
        if _is_one_of(word, getattr(settings, uncounted)):
            return f'{label} "{word}"'
        if not _is_one_of(word, getattr(settings, counted)):
            raise refusal(
                location,
                f"the {label} {shown(word)} is not known, so it may count or not",
                remedy=f"Add the word to `{counted}` or to `{uncounted}` of the source, with the "
                "other words of the report (the list replaces kisi's own). If this is not the "
                f'licence\'s column, set {column} = "" in `columns`.',
            )
    return ""


@lru_cache(maxsize=256)
def _is_one_of(word: str, words: Words) -> bool:
    return fold(word) in map(fold, words)
