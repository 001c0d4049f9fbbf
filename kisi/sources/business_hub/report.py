"""From the rows of a report to records: which columns mean what, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from kisi.model import Category
from kisi.sources.business_hub.files import Place, refusal
from kisi.sources.business_hub.settings import Columns, HubSettings, Words
from kisi.sources.business_hub.table import Row, Table, fold, shown

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

    place: Place
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
    to_record = _device_record if "device" in found else _quantity_record
    return tuple(to_record(table, row, found, settings) for row in table.rows)


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
                Place(table.file),
                f"two of its columns have the heading {shown(heading)}",
                remedy="Export it with one of them, or rename the other.",
            )
        found[column] = headings.index(wanted)
    if {"device", "quantity"} <= found.keys():
        raise refusal(
            Place(table.file),
            "it has a quantity column and a device column, so a row may be one device or many",
            remedy='Set the one that must not be used to "" in the source\'s `columns`.',
        )
    missing = _required(columns, devices="device" in found) - found.keys()
    if missing:
        names = " and ".join(
            f"{name} ({shown(getattr(columns, name))})" for name in sorted(missing)
        )
        raise refusal(
            Place(table.file),
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


def _quantity_record(
    table: Table, row: Row, found: Mapping[str, int], settings: HubSettings
) -> Record:
    place, cell = Place(table.file, row.line), _cells(row, found)
    return Record(
        place=place,
        company=_filled(place, "company", cell),
        application=_filled(place, "application", cell),
        licence=_licence(cell),
        not_counted_reason=_closed(place, cell, found, settings),
        category=_category(place, cell("category")),
        quantity=_quantity(place, cell("quantity")),
    )


def _device_record(
    table: Table, row: Row, found: Mapping[str, int], settings: HubSettings
) -> Record:
    place, cell = Place(table.file, row.line), _cells(row, found)
    return Record(
        place=place,
        company=_filled(place, "company", cell),
        application=_filled(place, "application", cell),
        licence=_licence(cell),
        not_counted_reason=_closed(place, cell, found, settings),
        category=Category.ALL,
        quantity=1,
        device=_filled(place, "device", cell),
        os_name=cell("operating_system"),
    )


def _cells(row: Row, found: Mapping[str, int]) -> Cell:
    return lambda column: row.cells[found[column]] if column in found else ""


def _filled(place: Place, column: str, cell: Cell) -> str:
    if text := cell(column):
        return text
    raise refusal(place, f"the {column} is empty", remedy=_AT_ITS_ORIGIN)


def _licence(cell: Cell) -> str:
    return ", ".join(word for word in (cell("status"), cell("license_type")) if word)


def _closed(place: Place, cell: Cell, found: Mapping[str, int], settings: HubSettings) -> str:
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
                place,
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


def _category(place: Place, text: str) -> Category:
    category = _CATEGORIES.get(re.sub(r"[\s_-]+", "_", fold(text)))
    if category is None:
        raise refusal(
            place,
            f"the category {shown(text)} is none of windows_workstations, windows_servers, "
            "non_windows, all and mailboxes",
            remedy=_AT_ITS_ORIGIN,
        )
    return category


def _quantity(place: Place, text: str) -> int:
    """A whole number in plain digits: 1.000 is a thousand to some and one to others."""
    if not _WHOLE_NUMBER.fullmatch(text):
        raise refusal(
            place,
            f"the quantity {shown(text)} is not a whole number in up to nine plain digits",
            remedy="Export numbers without signs, decimals and thousands separators.",
        )
    return int(text)
