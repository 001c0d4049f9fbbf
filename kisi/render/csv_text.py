"""CSV that a spreadsheet can open without harm."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from decimal import Decimal
from io import StringIO

from kisi.render.figures import quantity
from kisi.render.text import safe_text

Value = str | int | Decimal | bool | None
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0")


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    r"""A table as CSV (RFC 4180): a header, then one row a line, each ended by `\r\n`.

    Numbers are plain. Texts are escaped like everywhere, and a text that a spreadsheet would run as
    a formula gets an apostrophe in front (OWASP ASVS 1.2.10). Write it with `newline=""`.
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([_text(value) for value in one] for one in rows)
    return buffer.getvalue()


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return quantity(value)
    guard = "'" if value.startswith(_FORMULA_STARTS) else ""
    return guard + safe_text(value)
