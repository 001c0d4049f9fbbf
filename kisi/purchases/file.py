"""A distributor's file, as it is sent: every row is read, or left out for a reason that is proven.

Such files have titles above their headings, group headings, sums, blank lines, decimal commas, and
the code page of somebody's Windows. A row is left out only if it bills nothing: it has no number,
or its numbers are the sum of the rows above it. What is not understood is a row with a `problem`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from itertools import product
from operator import sub
from pathlib import Path
from typing import NamedTuple

from kisi.config import Invoice
from kisi.config.sentences import did_you_mean, listed, shorten
from kisi.csv_table import (
    CODE_PAGES,
    BadRowError,
    CsvRow,
    best_row,
    decode_text,
    fold,
    read_rows,
    without_sep,
)
from kisi.errors import ConfigError
from kisi.files import open_regular
from kisi.transport import Limits

_DELIMITERS = (";", ",", "\t", "|")
_LINES_ABOVE = 100
"""The headings stand among the first so many rows."""
_TEXTS = ("customer", "article", "name")
_NUMBERS = ("quantity", "price", "amount")
_Places = Mapping[str, int]
"""The column of each of these; one that the file has not is `_NOWHERE`."""
_NOWHERE = 10**9
_SUBTOTALS = 50
"""A sum may begin after one of the last so many sums."""
_CENT = Decimal("0.01")
_SUM = re.compile(
    r"(?i)(grand |sub-?|zwischen|gesamt|end)?(total|totaal|totale|totaux|totales|summe|betrag|"
    r"sum|suma|somme|somma|soma|razem|celkem|osszesen|összesen|toplam|итого|всего|итог)\b"
)
"""How the label of a sum begins, in the languages of Kaspersky's distributors."""
_TAX = re.compile(r"(?i).*\b(vat|mwst|ust|mehrwertsteuer|umsatzsteuer|tva|iva|btw|dph|kdv|ндс)\b")
_CURRENCY = r"[\u20a0-\u20cf$£¥]"
_NUMBER = re.compile(
    rf"(?P<open>\()?(?:{_CURRENCY}\s*|[^\W\d_]{{1,4}}\.? )?(?P<minus>[-+])? ?"
    r"(?P<digits>[0-9](?:[0-9., ']*[0-9])?)(?P<after>-)?"
    rf"(?:\s*{_CURRENCY}| [^\W\d_]{{1,8}}\.?)?(?P<close>\))?"
)
"""`1.234,50`, `(12)`, `12-`, `EUR 4,50`, `10 Stk.`: a number with its currency or unit."""
_SIGNS = str.maketrans(
    dict.fromkeys("\u2212\u2013", "-") | dict.fromkeys("\xa0\u202f\u2009", " ") | {"\u2019": "'"}
)
_MOST_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Purchase:
    """A row of the file. Numbers are null where there is none, or it is not understood."""

    line: int
    customer: str
    article: str
    name: str
    quantity: Decimal | None = None
    amount: Decimal | None = None
    """The file's own, else quantity times price."""
    problem: str = ""
    """Why it cannot be matched; a sentence without its full stop."""
    suggestions: tuple[str, ...] = ()
    """Where its names may belong."""


class LeftOut(NamedTuple):
    """A row that bills nothing, or nothing again."""

    line: int
    kind: str
    """`above` (before the headings), `headings`, `text`, `sum` or `tax`."""
    text: str


@dataclass(frozen=True, slots=True)
class PurchaseFile:
    """A whole file, and how it was read."""

    name: str
    encoding: str
    delimiter: str
    decimal: str
    """Empty where no number has a decimal sign."""
    purchases: tuple[Purchase, ...]
    left_out: tuple[LeftOut, ...]
    blank: int
    """Rows without a single text."""


def read_file(path: Path, invoice: Invoice, names: Collection[str]) -> PurchaseFile:
    """Reads a file from the disk as `read_purchases`; what cannot be read is a `ConfigError`."""
    cap = Limits().list_bytes
    try:
        with open_regular(path) as stream:
            content = stream.read(cap + 1)
    except OSError as error:
        raise _refusal(path.name, f"It cannot be read: {error.strerror or error}.") from error
    if len(content) > cap:
        raise _refusal(path.name, f"It is larger than {cap // 2**20} MiB.")
    return read_purchases(path.name, content, invoice, names)


def read_purchases(
    name: str, content: bytes, invoice: Invoice, names: Collection[str]
) -> PurchaseFile:
    """Every row of a file, in order. `names` are those of clients: they tell its code page.

    A `ConfigError` where the file is no table, lacks a heading, or leaves open what 1.000 means.
    """
    headings = [text for _, text in invoice.columns if text]
    encoding, text = _decoded(name, content, invoice.encoding, {*headings, *names})
    named, text = without_sep(text)
    choices = [*filter(None, (invoice.delimiter or named,))] or _DELIMITERS
    wanted = {*map(fold, headings)}
    delimiter, at, cells = best_row(
        text, choices, lambda row: len(wanted & {*map(fold, row)}), _LINES_ABOVE
    )
    places = _places(name, cells, invoice)
    rows = _rows(name, text, delimiter)
    signs = _signs(name, rows[at + 1 :], places, invoice)
    reader = _Reader(places, rows[at].cells, signs)
    for row in rows[:at]:
        reader.leave_out(row, "above")
    for row in rows[at + 1 :]:
        reader.read(row)
    found = tuple(reader.purchases), tuple(reader.left_out), reader.blank
    return PurchaseFile(name, encoding, delimiter, signs[0], *found)


def _refusal(name: str, what: str, remedy: str = "") -> ConfigError:
    return ConfigError(f"{name}: {what} Nothing was compared.", remedy=remedy)


# --- from bytes to rows ---------------------------------------------------------------------------


def _decoded(
    name: str, content: bytes, encoding: str | None, known: Collection[str]
) -> tuple[str, str]:
    try:
        text, found, _ = decode_text(content, encoding, known)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        tried = encoding or " or ".join(("utf-8", *CODE_PAGES))
        remedy = "Set its `encoding` in kisi.toml, or see whether it is the right file."
        raise _refusal(name, f"Its bytes are no text in {tried}.", remedy)
    return found, text.removeprefix("\ufeff")


def _places(name: str, cells: Sequence[str], invoice: Invoice) -> _Places:
    """Where each column stands; a refusal unless each heading is there once."""
    folded, own = [*map(fold, cells)], [*filter(None, cells)]
    problems = [
        f'There is no column "{shorten(text)}" ({key}); {did_you_mean(fold(text), own)}'
        if fold(text) not in folded
        else f'Two of its columns have the heading "{shorten(text)}".'
        for key, text in invoice.columns
        if text and folded.count(fold(text)) != 1
    ]
    if problems:
        raise _refusal(
            name,
            f"{' '.join(problems)} The headings are taken to be {listed(own)}.",
            "Name the file's own headings in the `columns` of this invoice in kisi.toml.",
        )
    return {key: folded.index(fold(text)) if text else _NOWHERE for key, text in invoice.columns}


def _texts(row: CsvRow, places: _Places) -> dict[str, str]:
    """What a row has in each column; empty where it ends before."""
    return {key: "".join(row.cells[at : at + 1]) for key, at in places.items()}


def _rows(name: str, text: str, delimiter: str) -> list[CsvRow]:
    rows: list[CsvRow] = []
    try:
        for line, cells in read_rows(text, delimiter):
            rows.append(CsvRow(line, tuple(map(_cell, cells))))
            if len(rows) > Limits().rows:
                raise _refusal(name, f"It has more than {Limits().rows:,} rows.")
    except BadRowError as error:
        what = f"Line {error.line} is no valid CSV, or the file is cut off ({error})."
        remedy = "See the quotes of that row, or get the file anew."
        raise _refusal(name, what, remedy) from error
    return rows


def _cell(text: str) -> str:
    """A cell's text; `="0123"` is how some programs keep a spreadsheet from making a number."""
    return text[2:-1] if text.startswith('="') and text.endswith('"') and len(text) > 2 else text


# --- numbers --------------------------------------------------------------------------------------

_Signs = tuple[str, str]
"""The decimal sign, or none, and what may stand between thousands."""


@lru_cache(maxsize=2**16)
def number(text: str, signs: _Signs) -> Decimal | None:
    """The number of a cell; None if it is not surely one.

    >>> number("1.234,50 EUR", (",", ".")), number("(12)", (",", ".")), number("1,5", (".", ","))
    (Decimal('1234.50'), Decimal('-12'), None)
    """
    match = _NUMBER.fullmatch(text.translate(_SIGNS).strip())
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    decimal, thousands = signs
    whole, sign, rest = match["digits"].partition(decimal) if decimal else (match["digits"], "", "")
    grouped = re.fullmatch(r"[1-9][0-9]{0,2}(?:([., '])[0-9]{3}(?:\1[0-9]{3})*)?|[0-9]+", whole)
    fits = grouped is not None and (not grouped[1] or grouped[1] in thousands)
    digits = re.sub(r"\D", "", whole)
    if not fits or (sign and not rest.isdigit()) or len(digits + rest) > _MOST_DIGITS:
        return None
    value = Decimal(f"{digits}.{rest}" if rest else digits)
    negative = [match["open"], match["minus"] == "-", match["after"]]
    return -value if any(negative) else value


def _signs(name: str, rows: Sequence[CsvRow], places: _Places, invoice: Invoice) -> _Signs:
    """The decimal sign under which all numbers are numbers, and the signs of thousands."""
    between = {x: "., '".replace(x, "") for x in (",", ".", "")}
    decimal: str = invoice.decimal or {",": ".", ".": ","}.get(invoice.thousands, "")
    told: dict[str, str] = {}  # "?": a number that is another one under each sign
    texts = ((row.line, _texts(row, places)) for row in rows)
    for (line, own), key in () if decimal else product(texts, _NUMBERS):
        text = own[key]
        found = {x: number(text, (x, between[x])) for x in ",."}
        values = {x: value for x, value in found.items() if value is not None}
        if len(values) == 1 or len({*values.values()}) > 1:
            sign = "?" if len(values) > 1 else next(iter(values))
            told.setdefault(sign, f'"{shorten(text)}" in line {line}')
    clear = [sign for sign in told if sign != "?"]
    if told and len(clear) != 1:
        shown = " and ".join(told[sign] for sign in clear or told)
        what = f"It is not clear which sign is the decimal one: {shown}."
        raise _refusal(name, what, 'Set decimal = "," or "." for this invoice in kisi.toml.')
    decimal = decimal or "".join(clear)
    return decimal, invoice.thousands or between[decimal]


# --- rows -----------------------------------------------------------------------------------------

_Billed = tuple[Decimal | None, Decimal | None]
"""Units and money of a row."""
_Total = tuple[Decimal, Decimal, int]
"""Units, money, and how many rows have added to them."""


class _Reader:
    """Takes row after row; knows what the rows so far come to."""

    def __init__(self, places: _Places, headings: Sequence[str], signs: _Signs) -> None:
        self.purchases: list[Purchase] = []
        self.left_out: list[LeftOut] = []
        self.blank = 0
        self._places, self._headings, self._signs = places, headings, signs
        self._total: _Total = (Decimal(0), Decimal(0), 0)
        self._starts: list[_Total] = [self._total]
        self._tax = Decimal(0)

    def leave_out(self, row: CsvRow, kind: str) -> None:
        if any(row.cells):
            self.left_out.append(LeftOut(row.line, kind, " | ".join(filter(None, row.cells))))
        else:
            self.blank += 1

    def read(self, row: CsvRow) -> None:
        texts = _texts(row, self._places)
        quantity, price, amount = numbers = [number(texts[x], self._signs) for x in _NUMBERS]
        if not texts["amount"] and quantity is not None and price is not None:
            amount = quantity * price
        problems = [
            f'its {key} "{shorten(texts[key])}" is not a number'
            for key, value in zip(_NUMBERS, numbers, strict=True)
            if texts[key] and value is None
        ]
        if any(row.cells[len(self._headings) :]):
            cells = f"it has {len(row.cells)} cells and the headings {len(self._headings)}"
            problems = [f"{cells}, so that its numbers may stand in other columns"]
            quantity = amount = None
        elif kind := self._bills_nothing(row, texts, (quantity, amount)):
            self.leave_out(row, kind)
            return
        elif not texts["quantity"]:
            problems.append("it has no quantity")
        customer, article, name = (texts[key] for key in _TEXTS)
        purchase = Purchase(row.line, customer, article, name, quantity, amount)
        self.purchases.append(replace(purchase, problem="; ".join(problems)))
        if not problems:
            units, money, rows = self._total
            self._total = units + (quantity or 0), money + (amount or 0), rows + 1

    def _bills_nothing(self, row: CsvRow, texts: Mapping[str, str], billed: _Billed) -> str:
        """Why a row is left out, in a word; empty: it is not."""
        if row.cells == self._headings:
            return "headings"
        own = sum(bool(texts[key]) for key in _TEXTS)
        if own > 1:
            return ""
        if not any(texts[key] for key in _NUMBERS):
            return "text"
        labels = [cell for cell in row.cells if cell and number(cell, self._signs) is None]
        labelled, taxed = (any(map(x.match, labels)) for x in (_SUM, _TAX))
        if taxed and not labelled and not texts["quantity"] and billed[1] is not None:
            self._tax += billed[1]
            return "tax"
        if (labelled or not own) and self._is_sum(*billed):
            self._starts.append(self._total)
            return "sum"
        return ""

    def _is_sum(self, quantity: Decimal | None, amount: Decimal | None) -> bool:
        """Whether these are what the rows above come to, since any of the last sums."""
        for start in {self._starts[0], *self._starts[-_SUBTOTALS:]}:
            units, money, rows = map(sub, self._total, start)
            slack = _CENT * (1 + rows)
            paid = amount is None or any(abs(amount - money - x) <= slack for x in (0, self._tax))
            if rows and paid and quantity in (None, units):
                return (quantity, amount) != (None, None)
        return False
