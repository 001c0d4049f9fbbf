"""A distributor's file, as it is sent: every row is read, or left out for a reason that is proven.

Such files have titles above their headings, group headings, sums, blank lines, decimal commas, and
the code page of somebody's Windows. A row is left out only if it bills nothing: it has no number,
or its numbers are the sum of the rows above it. What is not understood is a row with a `problem`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from kisi.config import Invoice
from kisi.config.sentences import did_you_mean, listed, shorten
from kisi.csv_table import without_sep
from kisi.errors import ConfigError
from kisi.files import open_regular
from kisi.sources.business_hub.report import fold
from kisi.transport import Limits

_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_CODE_PAGES = ("cp1252", "cp1250", "cp1251")
"""Of Windows, which writes CSV in that of its country; the likeliest first."""
_DELIMITERS = (";", ",", "\t", "|")
_LINES_ABOVE = 100
"""The headings stand among the first so many rows."""
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
    price: Decimal | None = None
    amount: Decimal | None = None
    """The file's own, else quantity times price."""
    problem: str = ""
    """Why it cannot be matched; a sentence without its full stop."""


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


class _Row(NamedTuple):
    line: int
    cells: tuple[str, ...]


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
    headings = {key: fold(text) for key, text in invoice.columns if text}
    encoding, text = _decoded(name, content, invoice.encoding, {*headings.values(), *names})
    rows, delimiter, at = _table(name, text, invoice, headings)
    own = [fold(cell) for cell in rows[at].cells]
    places = {key: own.index(heading) for key, heading in headings.items()}
    body = rows[at + 1 :]
    signs = _signs(name, body, places, invoice)
    reader = _Reader(places, rows[at].cells, signs)
    for row in body:
        reader.read(row)
    above = [LeftOut(row.line, "above", _joined(row)) for row in rows[:at] if any(row.cells)]
    return PurchaseFile(
        name,
        encoding,
        delimiter,
        signs[0],
        tuple(reader.purchases),
        (*above, *reader.left_out),
        reader.blank + at - len(above),
    )


def _refusal(name: str, what: str, remedy: str = "") -> ConfigError:
    return ConfigError(f"{name}: {what} Nothing was compared.", remedy=remedy)


def _joined(row: _Row) -> str:
    return " | ".join(filter(None, row.cells))


# --- from bytes to rows ---------------------------------------------------------------------------


def _decoded(
    name: str, content: bytes, encoding: str | None, known: Collection[str]
) -> tuple[str, str]:
    """The encoding and the text. Without a mark, and if not UTF-8, the likeliest code page."""
    mark, marked = next((x for x in _MARKS if content.startswith(x[0])), (b"", ""))
    tried = [encoding] if encoding else [marked] if marked else ["utf-8", *_CODE_PAGES]
    found: dict[str, str] = {}
    for one in tried:
        try:
            found[one] = content.removeprefix(mark).decode(one)
        except UnicodeError:
            continue
        if one == "utf-8":
            break
    telling = {word for text in known for word in _words(text) if not word.isascii()}
    best = max(found, key=lambda one: _likelihood(found[one], telling), default="")
    if not best or "\0" in found[best]:
        remedy = "Set its `encoding` in kisi.toml, or see whether it is the right file."
        raise _refusal(name, f"Its bytes are no text in {' or '.join(tried)}.", remedy)
    return best, found[best].removeprefix("\ufeff")


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


def _likelihood(text: str, telling: Collection[str]) -> tuple[int, int]:
    """How many known words a text has; how many it has that no language has, as a minus."""
    words = {word for word in _words(text) if not word.isascii()}
    odd = sum(bool(_ODD.search(word)) for word in words)
    return len(words & set(telling)), -odd - len(re.findall(r"\w[¤¦§©¬®±²³µ¶·¹¿¡]\w", text))


_ODD = re.compile(r"[a-zà-ÿ][а-я]|[а-я][a-zà-ÿ]|[à-ÿ]{3}", re.IGNORECASE)  # noqa: RUF001
"""Latin and Cyrillic letters in one word, or three letters with accents in a row."""


def _table(
    name: str, text: str, invoice: Invoice, headings: Mapping[str, str]
) -> tuple[list[_Row], str, int]:
    """The rows, the delimiter under which they have most headings, and where these stand."""
    named, text = without_sep(text)
    wanted = set(headings.values())
    choices = (invoice.delimiter or named,) if invoice.delimiter or named else _DELIMITERS
    best: tuple[int, str, int, list[str]] = (-1, choices[0], 0, [])
    for delimiter in choices:
        for place, row in enumerate(islice(_lenient_rows(text, delimiter), _LINES_ABOVE)):
            hits = len(wanted & {fold(cell) for cell in row})
            if hits > best[0]:
                best = (hits, delimiter, place, row)
    _, delimiter, at, row = best
    own = [fold(cell) for cell in row]
    problems = [
        f'There is no column "{shorten(getattr(invoice.columns, key))}" ({key}); '
        + did_you_mean(heading, list(filter(None, row)))
        if heading not in own
        else f'Two of its columns have the heading "{shorten(getattr(invoice.columns, key))}".'
        for key, heading in headings.items()
        if own.count(heading) != 1
    ]
    if problems:
        raise _refusal(
            name,
            f"{' '.join(problems)} The headings are taken to be {listed(list(filter(None, row)))}.",
            "Name the file's own headings in the `columns` of this invoice in kisi.toml.",
        )
    rows: list[_Row] = []
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    most = Limits().rows
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return rows, delimiter, at
        except csv.Error as error:
            what = f"Line {line} is no valid CSV, or the file is cut off ({error})."
            raise _refusal(
                name, what, "See the quotes of that row, or get the file anew."
            ) from error
        rows.append(_Row(line, tuple(map(_cell, cells))))
        if len(rows) > most:
            raise _refusal(name, f"It has more than {most:,} rows.")


def _lenient_rows(text: str, delimiter: str) -> Iterator[list[str]]:
    """Rows as far as they are CSV: under another delimiter they may be none."""
    try:
        yield from csv.reader(StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error:
        return


def _cell(text: str) -> str:
    """A cell's text; `="0123"` is how some programs keep a spreadsheet from making a number."""
    text = text.strip()
    return text[2:-1] if text.startswith('="') and text.endswith('"') and len(text) > 2 else text


# --- numbers --------------------------------------------------------------------------------------

_Signs = tuple[str, str]
"""The decimal sign, or none, and what may stand between thousands."""


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
    grouped = re.fullmatch(r"[0-9]{1,3}(?:([., '])[0-9]{3}(?:\1[0-9]{3})*)?|[0-9]+", whole)
    fits = grouped is not None and (not grouped[1] or grouped[1] in thousands)
    digits = re.sub(r"\D", "", whole)
    if not fits or (sign and not rest.isdigit()) or len(digits + rest) > _MOST_DIGITS:
        return None
    value = Decimal(f"{digits}.{rest}" if rest else digits)
    negative = [match["open"], match["minus"] == "-", match["after"]]
    return -value if any(negative) else value


def _signs(name: str, rows: Sequence[_Row], places: Mapping[str, int], invoice: Invoice) -> _Signs:
    """The decimal sign that all numbers agree on, and the signs of thousands."""
    decimal: str = invoice.decimal
    if not decimal:
        told: dict[str, tuple[int, str]] = {}
        open_: tuple[int, str] | None = None
        for row in rows:
            for key in places.keys() & {"quantity", "price", "amount"}:
                text = row.cells[places[key]] if places[key] < len(row.cells) else ""
                found = _decimal_of(text, invoice.thousands)
                if found == "?":
                    open_ = open_ or (row.line, text)
                elif found:
                    told.setdefault(found, (row.line, text))
        if len(told) > 1 or (open_ and not told):
            places_ = [*told.values(), *([open_] if open_ and not told else [])]
            shown = " and ".join(f'"{shorten(text)}" in line {line}' for line, text in places_)
            what = f"It is not clear which sign is the decimal one: {shown}."
            raise _refusal(name, what, 'Set decimal = "," or "." for this invoice in kisi.toml.')
        decimal = next(iter(told), "")
    return decimal, invoice.thousands or "".join(x for x in "., '" if x != decimal)


def _decimal_of(text: str, thousands: str) -> str:
    """The decimal sign that a number shows; empty: none; "?": 1.000 may be a thousand or one."""
    match = _NUMBER.fullmatch(text.translate(_SIGNS).strip())
    digits: str = match["digits"] if match else ""
    signs: list[str] = re.findall(r"[.,]", digits)
    if not signs:
        return ""
    last, other = signs[-1], "," if signs[-1] == "." else "."
    if len(set(signs)) > 1:
        return last
    if last == thousands or len(signs) > 1:
        return other if last != thousands else ""
    whole, _, rest = digits.partition(last)
    plain = len(rest) == 3 and re.fullmatch(r"[1-9][0-9]{0,2}", whole)
    return "?" if plain else last


# --- rows -----------------------------------------------------------------------------------------

_Total = tuple[Decimal, Decimal, int]
"""Units, money, and how many rows have added to them."""


class _Reader:
    """Takes row after row; knows what the rows so far come to."""

    def __init__(self, places: Mapping[str, int], headings: Sequence[str], signs: _Signs) -> None:
        self.purchases: list[Purchase] = []
        self.left_out: list[LeftOut] = []
        self.blank = 0
        self._places, self._headings, self._signs = places, tuple(headings), signs
        self._total: _Total = (Decimal(0), Decimal(0), 0)
        self._starts: list[_Total] = [self._total]
        self._tax = Decimal(0)

    def read(self, row: _Row) -> None:
        if not any(row.cells):
            self.blank += 1
            return
        purchase = self._purchase(row)
        if kind := self._bills_nothing(row, purchase):
            self.left_out.append(LeftOut(row.line, kind, _joined(row)))
            return
        self.purchases.append(purchase)
        if not purchase.problem:
            units, money, rows = self._total
            units += purchase.quantity or 0
            self._total = (units, money + (purchase.amount or 0), rows + 1)

    def _text(self, row: _Row, key: str) -> str:
        place = self._places.get(key, len(row.cells))
        return row.cells[place] if place < len(row.cells) else ""

    def _purchase(self, row: _Row) -> Purchase:
        customer, article, name = (self._text(row, x) for x in ("customer", "article", "name"))
        written = {key: self._text(row, key) for key in ("quantity", "price", "amount")}
        numbers = {key: number(text, self._signs) for key, text in written.items()}
        quantity, price, amount = numbers.values()
        if amount is None and not written["amount"] and None not in (quantity, price):
            amount = quantity * price  # type: ignore[operator]  # neither is None
        wrong = [key for key, text in written.items() if text and numbers[key] is None]
        problems = [f'its {key} "{shorten(written[key])}" is not a number' for key in wrong]
        if any(row.cells[len(self._headings) :]):
            cells = f"it has {len(row.cells)} cells and the headings {len(self._headings)}"
            problems = [f"{cells}, so that its numbers may stand in other columns"]
            quantity = price = amount = None
        elif not written["quantity"]:
            problems.append("it has no quantity")
        problem = "; ".join(problems)
        return Purchase(row.line, customer, article, name, quantity, price, amount, problem)

    def _bills_nothing(self, row: _Row, purchase: Purchase) -> str:
        """Why a row is left out, in a word; empty: it is not."""
        if row.cells == self._headings:
            return "headings"
        numbers = [self._text(row, key) for key in ("quantity", "price", "amount")]
        own = [x for x in (purchase.customer, purchase.article, purchase.name) if x]
        if len(own) > 1 or any(row.cells[len(self._headings) :]):
            return ""
        if not any(numbers):
            return "text"
        texts = [cell for cell in row.cells if cell and number(cell, self._signs) is None]
        labelled, taxed = (any(map(x.match, texts)) for x in (_SUM, _TAX))
        if taxed and not labelled and not numbers[0] and purchase.amount is not None:
            self._tax += purchase.amount
            return "tax"
        if (labelled or not own) and self._is_sum(purchase):
            self._starts.append(self._total)
            return "sum"
        return ""

    def _is_sum(self, row: Purchase) -> bool:
        """Whether its numbers are what the rows above it come to, since any of the last sums."""
        if (row.quantity, row.amount) == (None, None) or not self._total[2]:
            return False
        for units, money, rows in {self._starts[0], *self._starts[-_SUBTOTALS:]}:
            slack = _CENT * (1 + self._total[2] - rows)
            paid = self._total[1] - money
            same = row.amount is None or any(
                abs(row.amount - x) <= slack for x in (paid, paid + self._tax)
            )
            if same and row.quantity in (None, self._total[0] - units) and self._total[2] > rows:
                return True
        return False
