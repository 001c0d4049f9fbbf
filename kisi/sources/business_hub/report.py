"""`[sources.NAME]` of `kind = "business-hub"`, and what the reports say in its words.

`parse_table` makes a table of a report's bytes, `parse_report` records of the table. Nothing is
guessed, since every cell ends on an invoice: whatever is wrong or ambiguous raises `SourceError`.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from kisi.config.settings import Hours, Section, Table, Text
from kisi.csv_table import BadRowError, Decoded, best_row, decode_text, fold, read_rows, without_sep
from kisi.errors import SourceError
from kisi.model import Category
from kisi.transport import Limits

_SHOWN = 60
MOST_ROWS = Limits().rows
_DELIMITERS = (",", ";", "\t")
_AGAIN = "Export the report again; do not edit it in a program that writes another format."
TOO_LARGE = "See whether this is the right file; split it if it is."
_AT_ITS_ORIGIN = "Correct it where the report comes from, and export it again."
_SAID = ("company", "application")
_OF_ONE = (
    " If all of this report is of one company or application, say which in kisi.toml: "
    '`files = [{ pattern = "...", company = "...", application = "..." }]`.'
)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")
_CATEGORIES = {
    "": Category.ALL,
    "mailboxes": Category.ALL,
    **{category.value: category for category in Category},
}
Words = tuple[str, ...]
_Detected = Literal["utf-8", "cp1250", "cp1251", "cp1252"]
Encoding = Literal[_Detected, "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258"]


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
    device_id: str = "device_id"
    """What tells two devices of one name apart."""
    since: str = "since"
    """Rows of one device that begin at different times are periods of it, and it counts once."""


class FilePattern(Table):
    """One entry of `files`; a text is short for a pattern alone."""

    pattern: Text
    company: str = ""
    """Whose the rows are that name no company, as in a report of one company."""
    application: str = ""
    """Likewise the application."""

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, value: Any) -> Any:  # noqa: ANN401 - whatever TOML may hold
        if isinstance(value, bool | int | float | list):
            raise ValueError("This must be a pattern in quotes, or a table that has one.")  # noqa: TRY004
        return {"pattern": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> Any:  # noqa: ANN401
        """The schema of both forms."""
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(core)]}


class HubSettings(Section):
    """Settings of a source of exported reports. It logs in nowhere and has no secrets."""

    kind: Literal["business-hub"] = "business-hub"
    files: Annotated[tuple[FilePattern, ...], Field(min_length=1)]
    """Globs relative to kisi.toml; the newest file of each is read."""
    max_age_hours: Hours = 72
    columns: Columns = Columns()
    active_status: Words = ACTIVE_STATUS
    inactive_status: Words = INACTIVE_STATUS
    counted_types: Words = COUNTED_TYPES
    uncounted_types: Words = UNCOUNTED_TYPES
    headings: tuple[str, ...] = ()
    """The headings of files that have no line of them; an empty one is of no column."""
    encoding: Encoding | None = None
    """Of files that are neither UTF-8 nor UTF-16; None: the likeliest of cp1250 to cp1252."""
    final_line_end: bool = True
    """Whether a report whose last line has no end is taken to be cut off."""

    def files_read(self, base: Path) -> Iterator[Path]:
        """Every report that fits a glob: each may be the newest one day."""
        for each in self.files:
            yield from matching(each.pattern, base)

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


def decoded(file: Path, content: bytes, encoding: str | None = None) -> Decoded:
    """The text of a report; see `decode_text`. A refusal if its bytes are none."""
    try:
        return decode_text(content, encoding)
    except UnicodeDecodeError as error:
        names = {"charmap": f"utf-8 or {encoding or 'a Windows code page'}"}
        raise refusal(
            Location(file, error.object[: error.start].count(b"\n") + 1),
            f"its bytes are no text in {names.get(error.encoding, error.encoding)}",
        ) from error


def parse_table(
    file: Path,
    text: str,
    wanted: Collection[str],
    *,
    headings: Words = (),
    final_line_end: bool = True,
) -> tuple[Row, ...]:
    """A whole CSV file, its heading line first: its own, or `headings` where it has none.

    The delimiter (comma, semicolon, tab) is the one under which the first line shows most of the
    `wanted` headings (or has as many cells as `headings`), or the one that a line `sep=;` before it
    names. Without `final_line_end` the last line needs no end, and nobody can tell 10 from the
    beginning of 100.
    """
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
    delimiter = named or _delimiter(text, wanted, len(headings))
    own = (Row(Location(file), headings),) if headings else ()
    rows = (*own, *islice(_rows(file, text, delimiter, len(headings)), MOST_ROWS + 2 - len(own)))
    if len(rows) > MOST_ROWS + 1:
        raise refusal(rows[-1].location, f"it has more than {MOST_ROWS:,} rows", remedy=TOO_LARGE)
    if not rows:
        raise refusal(Location(file), "it holds no heading line")
    if len(rows) == 1:
        raise refusal(Location(file), "it holds headings and not one row")
    pairs = zip(headings, rows[1].cells, strict=False)
    if any(cell and fold(cell) == fold(heading) for heading, cell in pairs):
        raise refusal(
            rows[1].location,
            "it is a line of headings, and the source's `headings` are for reports without one",
            remedy="Take `headings` out of this source in kisi.toml, or export without that line.",
        )
    return rows


def _line(before: str) -> int:
    """The number of the line that `before` ends in."""
    return before.replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1


def _delimiter(text: str, wanted: Collection[str], width: int) -> str:
    names = {fold(name) for name in wanted if name}

    def fit(cells: Sequence[str]) -> tuple[int, int]:
        return len(cells) == width if width else len(names & {*map(fold, cells)}), len(cells)

    return best_row(text, _DELIMITERS, fit)[0]


def _rows(file: Path, text: str, delimiter: str, width: int) -> Iterator[Row]:
    headings = "`headings` name" if width else "the heading line"
    try:
        for line, cells in read_rows(text, delimiter):
            if not cells:
                continue
            width = width or max((n for n, x in enumerate(cells, 1) if x), default=len(cells))
            own = cells if any(cells[width:]) else cells[:width]  # a spreadsheet pads rows
            if len(own) != width:
                raise refusal(
                    Location(file, line),
                    f"the row has {len(own)} cells and {headings} {width}; "
                    f"its first cell is {shown(own[0])}",
                )
            yield Row(Location(file, line), own)
    except BadRowError as error:
        what = f"the row that starts here is no valid CSV, or it is cut off ({error})"
        raise refusal(Location(file, error.line), what) from error


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
    number: str = ""
    """The device's own id, if the report tells one."""
    since: str = ""

    @property
    def device_id(self) -> str:
        """Unique in the source: two companies may well have a PC-01 each."""
        return f"{self.company}/{fold(self.number or self.device)}"


def parse_report(
    file: Path, text: str, settings: HubSettings, given: FilePattern
) -> Iterator[Record]:
    """All records of one report file; `given` says what its rows leave out."""
    wanted = [heading for _, heading in settings.columns]
    options = settings.model_dump(include={"headings", "final_line_end"})
    headings, *rows = parse_table(file, text, wanted, **options)
    said = {name: value for name in _SAID if (value := getattr(given, name))}
    found = _find_columns(headings, settings.columns, said)
    for row in (row for row in rows if any(row.cells)):  # a spreadsheet pads tables, too
        cells = {column: row.cells[position] for column, position in found.items()}
        missing = {name: value for name, value in said.items() if not cells.get(name)}
        yield _record(row.location, cells | missing, settings)


def _find_columns(heading_line: Row, columns: Columns, said: Collection[str]) -> Mapping[str, int]:
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
    # Without these it is the wrong report: its form's own columns, and those set by hand.
    own, by_hand = {"quantity"}, {"status", "license_type", "category"}
    if "device" in found:
        own = {"device", "operating_system"}
        by_hand = {"status", "license_type", "device_id", "since"}
    needed = (name for name in own | (by_hand & columns.model_fields_set) if getattr(columns, name))
    missing = sorted({*_SAID, *needed} - found.keys() - set(said))
    if missing:
        names = " and ".join(f"{name} ({shown(getattr(columns, name))})" for name in missing)
        headings = [shown(heading) for heading in heading_line.cells[:20]]
        raise refusal(
            file,
            f"it has no column {names}; its headings are {', '.join(headings)}",
            remedy="Name the report's own headings in the source's `columns` in kisi.toml."
            + (_OF_ONE if {*_SAID} & {*missing} else ""),
        )
    return found


def _record(location: Location, cells: Mapping[str, str], settings: HubSettings) -> Record:
    devices = "device" in cells
    for column in ("company", "application", *(["device"] if devices else [])):
        if not cells[column]:
            remedy = _AT_ITS_ORIGIN + (_OF_ONE if column in _SAID else "")
            raise refusal(location, f"the {column} is empty", remedy=remedy)
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
        number=cells.get("device_id", ""),
        since=cells.get("since", ""),
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
