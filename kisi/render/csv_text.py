"""CSV that a spreadsheet can open without harm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from kisi.csv_table import csv_table
from kisi.json_text import instant
from kisi.redaction import STARTS, guarded_inside, safe_text
from kisi.render.formatting import quantity

Value = str | int | Decimal | bool | datetime | None
_STARTS = (*STARTS, "\t", "\r", "\n", "\0")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    r"""A table as CSV (RFC 4180): a header, then one row a line, each ended by `\r\n`.

    Numbers are plain, instants are UTC. Texts are escaped like everywhere, and a text that a
    spreadsheet would run as a formula gets an apostrophe in front, also behind a delimiter inside
    it (`kisi.redaction`). Write it with `newline=""`.
    """
    return csv_table(columns, ([_text(value) for value in one] for one in rows))


def csv_of_fields(columns: str, rows: Iterable[Mapping[str, Any]]) -> str:
    """As `csv_text`, of rows by column; the columns' names stand between spaces.

    What a row lacks is empty, and what is no column is left out.
    """
    names = columns.split()
    return csv_text(names, ([row.get(name) for name in names] for row in rows))


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return quantity(value)
    if isinstance(value, datetime):
        return instant(value) or ""
    guard = "'" if value.startswith(_STARTS) else ""
    return guard + guarded_inside(safe_text(value), lambda start: f"'{start}")
