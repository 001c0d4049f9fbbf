"""Tables as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO

_SEP = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*([\r\n])', re.IGNORECASE)


def without_sep(text: str) -> tuple[str, str]:
    """The delimiter that Excel's own first line `sep=;` names, or none; the text, it left blank."""
    match = _SEP.match(text)
    return (match[1], match[2] + text[match.end() :]) if match else ("", text)


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table as CSV (RFC 4180): a header, then one row a line, each ended by `\r\n`.

    Cells were made safe before. Write it with `newline=""`.
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
