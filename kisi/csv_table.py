"""Tables as CSV, and the text of CSV files that other programs wrote."""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import Any, NamedTuple

_SEP = re.compile(r'"?sep=([^\w\s"]|\t)"?[,;\t]*([\r\n])', re.IGNORECASE)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
CODE_PAGES = {  # the letters beyond ASCII of the languages that are written in each
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


def decode_text(
    content: bytes, encoding: str | None = None, names: Collection[str] = ()
) -> Decoded:
    """Text in UTF-16 with its mark, in UTF-8, or else in `encoding`.

    Where that is None, it is the code page from 1250 to 1252 in which it has the most words of the
    `names`, then the most letters in words of a language: nothing in a file says which it is.
    `UnicodeDecodeError` if it is none.
    """
    mark, name = next((one for one in _MARKS if content.startswith(one[0])), (b"", "utf-8"))
    try:
        text = content[len(mark) :].decode(name)
    except UnicodeDecodeError:
        if mark or encoding == name:
            raise
    else:
        if mark or not encoding or "\0" not in text:  # with it, UTF-16 may well be UTF-8, too
            return Decoded(text, name)
    if encoding:
        return Decoded(content.decode(encoding), encoding)
    known = set().union(*map(_telling, names))
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    for page, languages in CODE_PAGES.items():
        try:
            text = content.decode(page)
        except UnicodeDecodeError as error:
            wrong = error
        else:
            words = _telling(text)
            found[page] = ((len(words & known), *_likeness(words, languages.split())), text)
    if not found:
        raise wrong
    best = max(found, key=lambda page: found[page][0])  # of equals the first
    likeness, text = found[best]
    others = (page for page, one in found.items() if one[0] == likeness and one[1] != text)
    return Decoded(text, best, tuple(others) if any(likeness) else ())


def _telling(text: str) -> set[str]:
    """The words that have letters beyond ASCII."""
    return {found[0].lower() for found in _WORD.finditer(text) if not found[0].isascii()}


def _likeness(words: Iterable[str], languages: Sequence[str]) -> tuple[int, int]:
    """How many letters beyond ASCII are in words of any of the languages, and of the likeliest."""
    cyrillic, total, each = languages[0] > "\u0400", 0, [0] * len(languages)
    for word in words:
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


def fold(text: str) -> str:
    """`text` for comparisons: without regard to case, white space and how accents are composed."""
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


class BadRowError(ValueError):
    """A row is no valid CSV, or it is cut off; `line` is where it starts."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


class CsvRow(NamedTuple):
    """The line where a row starts, and its cells without outer spaces."""

    line: int
    cells: tuple[str, ...]


def read_rows(text: str, delimiter: str, *, strict: bool = True) -> Iterator[CsvRow]:
    """Each row, an empty one too; `BadRowError` for one that is none."""
    stream = StringIO(text, newline="")
    reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=strict)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise BadRowError(line, str(error)) from error
        yield CsvRow(line, tuple(map(str.strip, cells)))


def best_row(
    text: str, delimiters: Sequence[str], fit: Callable[[Sequence[str]], Any], most: int = 1
) -> tuple[str, int, tuple[str, ...]]:
    """Of the first rows under each delimiter the one that fits best: its delimiter, place, cells.

    Of equals the first. `most` rows are looked at, not counting empty ones.
    """

    def rows(delimiter: str) -> Iterator[tuple[str, int, tuple[str, ...]]]:
        with suppress(BadRowError):
            for place, (_, cells) in enumerate(read_rows(text, delimiter, strict=False)):
                if cells:
                    yield delimiter, place, cells

    found = (row for delimiter in delimiters for row in islice(rows(delimiter), most))
    return max(found, key=lambda row: fit(row[2]), default=(delimiters[0], 0, ()))


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
