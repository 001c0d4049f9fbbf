"""Tables as CSV, and the text of CSV files that other programs wrote."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

_SEP = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*([\r\n])', re.IGNORECASE)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODE_PAGES = {  # the letters beyond ASCII of the languages that are written in each
    "cp1252": "äöüß àâæçéèêëîïôœùûüÿ áéíñóúü àáâãçéêíóôõúü àèéìíîòóùú àçèéíïòóúü åäöæøéü áéëïöüèê "
    "äöõüšž áðéíóúýþæö",
    "cp1250": "äöüß áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž ąćęłńóśźż áéíóöőúüű ăâîşţ čćđšž",
    "cp1251": "абвгдеёжзийклмнопрстуфхцчшщъыьэюяґєіїўђѓјљњћќѕџ",
}
_WORD = re.compile(r"[^\W\d_]+")


class Decoded(NamedTuple):
    """Text of a file, the encoding it is in, and others that would be as likely."""

    text: str
    encoding: str
    others: tuple[str, ...] = ()
    """Code pages that fit its letters equally well, and would make other letters of them."""


def decode_text(content: bytes, encoding: str | None = None) -> Decoded:
    """Text in UTF-16 with its mark, in UTF-8, or else in `encoding`, a code page.

    Where that is None, it is the code page from 1250 to 1252 whose letters make the most words of a
    language: nothing in a file says which it is. `UnicodeDecodeError` if it is none.
    """
    mark, name = next((one for one in _MARKS if content.startswith(one[0])), (b"", "utf-8"))
    try:
        return Decoded(content[len(mark) :].decode(name), name)
    except UnicodeDecodeError:
        if mark or encoding == name:
            raise
    if encoding:
        return Decoded(content.decode(encoding), encoding)
    found: dict[str, tuple[tuple[int, int], str]] = {}
    for page, languages in _CODE_PAGES.items():
        try:
            text = content.decode(page)
        except UnicodeDecodeError as error:
            wrong = error
        else:
            found[page] = (_likeness(text, languages.split()), text)
    if not found:
        raise wrong
    best = max(found, key=lambda page: found[page][0])  # of equals the first
    likeness, text = found[best]
    others = (page for page, one in found.items() if one[0] == likeness and one[1] != text)
    return Decoded(text, best, tuple(others) if likeness[0] else ())


def _likeness(text: str, languages: Sequence[str]) -> tuple[int, int]:
    """How many letters beyond ASCII are in words of any of the languages, and of the likeliest."""
    cyrillic, total, each = languages[0] > "\u0400", 0, [0] * len(languages)
    for word in {found[0].lower() for found in _WORD.finditer(text) if not found[0].isascii()}:
        letters = [letter for letter in word if not letter.isascii()]
        pure = len(letters) == len(word) > 1
        if pure is not cyrillic:  # Latin words have ASCII letters, too
            continue
        fits = [set(letters) <= set(language) for language in languages]
        total += len(letters) if any(fits) else 0
        each = [sum_ + len(letters) * fit for sum_, fit in zip(each, fits, strict=True)]
    return total, max(each)


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
