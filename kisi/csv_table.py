"""Tables as CSV, and texts that a spreadsheet would run as formulas (OWASP ASVS 1.2.10).

A file of commas is split at semicolons where the decimal sign is a comma, and at tabs or bars by
whoever imports it so: what follows one of these inside a cell may be a cell of its own.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Sequence
from io import StringIO

STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a cell a formula if it comes first; the wide forms do where Japanese is written."""
_INSIDE = re.compile(rf"((?:[,;|\t\r\n]|^[\s\"'])[\s\"']*)([{re.escape(''.join(STARTS))}])")


def guarded_inside(text: str, guard: Callable[[str], str]) -> str:
    """`text` with `guard` put over every start of a formula that is not the first letter.

    It stands behind a delimiter, or behind spaces and quotes, which a split may lose.
    """
    return _INSIDE.sub(lambda match: match[1] + guard(match[2]), text)


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table as CSV (RFC 4180): a header, then one row a line, each ended by `\r\n`.

    Cells were made safe before. Write it with `newline=""`.
    """
    buffer = StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
