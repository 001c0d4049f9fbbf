"""Tables as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from io import StringIO


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table as CSV (RFC 4180): a header, then one row a line, each ended by `\r\n`.

    Cells were made safe before. Write it with `newline=""`.
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
