"""Tables as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO

_SEP = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*([\r\n])', re.IGNORECASE)


def without_sep(text: str) -> tuple[str, str]:
    """The delimiter that Excel's own first line `sep=;` names, or none; the text, it left blank."""
    match = _SEP.match(text)
    return (match[1], match[2] + text[match.end() :]) if match else ("", text)


@dataclass(frozen=True, slots=True)
class CsvStyle:
    """What a spreadsheet of some country expects: `;` and a decimal comma, say."""

    delimiter: str = ","
    decimal: str = "."


def csv_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], style: CsvStyle | None = None
) -> str:
    r"""A table as CSV (RFC 4180): a header, then one row a line, each ended by `\r\n`.

    Cells were made safe before. Write it with `newline=""`.
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n", delimiter=(style or CsvStyle()).delimiter)
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
