"""A distributor's file: every row is read, whatever it holds, and no number is guessed."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.config import Invoice
from kisi.config.load import InvoiceColumns
from kisi.errors import ConfigError
from kisi.model import Application, BillingMapping, Company, TenantRef
from kisi.purchases.compare import compare
from kisi.purchases.file import PurchaseFile, number, read_file, read_purchases

COLUMNS = InvoiceColumns(
    customer="Kunde", article="Nr", name="Artikel", quantity="Menge", price="Preis", amount="Summe"
)
INVOICE = Invoice(columns=COLUMNS)
HEADINGS = ("Kunde", "Nr", "Artikel", "Menge", "Preis", "Summe")
MAPPING = BillingMapping(
    (Application("KES", articles=("KL1*",)), Application("Mail")),
    (),
    tuple(
        Company(name, (TenantRef("hq", name),), "cw", str(n), str(n))
        for n, name in enumerate(("Contoso", "Fabrikam", "Müller & Söhne"))
    ),
)


def read(
    *rows: str, headings: str = ";".join(HEADINGS), invoice: Invoice = INVOICE
) -> PurchaseFile:
    text = "\r\n".join([headings, *rows, ""])
    return read_purchases("a.csv", text.encode(), invoice, ["Müller"])


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [
        ("1.234,50", ",", "1234.5"),
        ("1,234.50", ".", "1234.5"),
        ("1 234,5", ",", "1234.5"),
        ("1\u202f234,5", ",", "1234.5"),
        ("1\xa0234,5 €", ",", "1234.5"),
        ("1'234.50", ".", "1234.5"),
        ("CHF 1\u2019234.50", ".", "1234.5"),
        ("€4,50", ",", "4.5"),
        ("10 Stk.", ",", "10"),
        ("-2", ",", "-2"),
        ("2-", ",", "-2"),
        ("\u22122,5", ",", "-2.5"),
        ("(12)", "", "-12"),
        ("1.234.567", ",", "1234567"),
        ("0", "", "0"),
        ("1,5", ".", None),
        ("12.34", ",", None),
        ("1.23.456", ",", None),
        ("10k", ",", None),
        ("1E5", ",", None),
        ("12 x 3", ",", None),
        ("(12", ",", None),
        ("=1+1", ",", None),
        ("9" * 30, ",", None),
        ("٣", ",", None),
        ("", ",", None),
        ("-", ",", None),
    ],
)
def test_a_number_is_one_or_none(text, decimal, expected):
    thousands = "".join(x for x in "., '" if x != decimal)
    assert number(text, (decimal, thousands)) == (None if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [
        (("1.000", "4,50"), ","),
        (("1,000", "4.50"), "."),
        (("1.000.000", "1"), ","),
        (("1.000", "0,125"), ","),
        (("10", "4"), ""),
        (("1.234,50", "5"), ","),
    ],
)
def test_the_decimal_sign_is_the_one_that_all_numbers_agree_on(cells, decimal):
    row = f'A|KL1|x|"{cells[0]}"|"{cells[1]}"|'
    assert read(row, headings="|".join(HEADINGS)).decimal == decimal


@pytest.mark.parametrize("cells", [("1.000", "5"), ("1,5", "1.5"), ("1,000", "")])
def test_a_decimal_sign_that_is_not_clear_is_asked_for(cells):
    row = f"A;KL1;x;{cells[0]};{cells[1]};"
    with pytest.raises(ConfigError, match="not clear which sign"):
        read(row)
    told = read(row, invoice=Invoice(columns=COLUMNS, decimal=","))
    assert len(told.purchases) == 1


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "cp1250"])
def test_delimiter_and_encoding_are_detected(delimiter, encoding):
    rows = [("Rechnung", "4711"), HEADINGS, ("Müller & Söhne", "KL1", "x", "5", "", "")]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    found = read_purchases("a.csv", text.encode(encoding), INVOICE, ["Müller & Söhne"])
    assert [(x.customer, x.quantity) for x in found.purchases] == [("Müller & Söhne", 5)]
    assert found.delimiter == delimiter
    assert [x.kind for x in found.left_out] == ["above"]


@pytest.mark.parametrize(
    ("customer", "encoding"),
    [("Łódź Usługi", "cp1250"), ("Ромашка", "cp1251"), ("Crédit Agricole", "cp1252")],
)
def test_the_names_of_clients_tell_the_code_page(customer, encoding):
    text = ";".join(HEADINGS) + f"\n{customer};KL1;x;5;;\n"
    found = read_purchases("a.csv", text.encode(encoding), INVOICE, [customer])
    assert (found.encoding, found.purchases[0].customer) == (encoding, customer)


def test_headings_are_found_in_any_case_and_order_below_titles_and_again():
    rows = ["5;A;KL1", " MENGE ;kunde;NR", "", "7;B;KL1"]
    columns = InvoiceColumns(customer="Kunde", article="nr", quantity="menge")
    found = read(*rows, headings=" MENGE ;kunde;NR", invoice=Invoice(columns=columns))
    assert [(x.customer, x.quantity) for x in found.purchases] == [("A", 5), ("B", 7)]
    assert ([x.kind for x in found.left_out], found.blank) == (["headings"], 1)


@pytest.mark.parametrize("headings", ["Kunde;Nr;Artikel;Anzahl", "Kunde;Kunde;Nr;Artikel;Menge"])
def test_a_heading_that_is_missing_or_there_twice_is_named(headings):
    with pytest.raises(ConfigError, match=r"heading|no column"):
        read("A;1;x;5", headings=headings)


def test_sums_are_left_out_only_where_they_are_those_of_the_rows():
    found = read(
        "A;KL1;x;5;2,00;10,00",
        "A;KL1;x;7;2,00;14,00",
        "Zwischensumme A;;;12;;24,00",
        "B;KL1;x;3;2,00;6,00",
        "Subtotal B;;;3;;6,00",
        ";;;15;;30,00",
        "MwSt. 19 %;;;;;5,70",
        "Gesamtbetrag;;;;;35,70",
        "Zahlbar sofort;;;;;",
    )
    assert [x.quantity for x in found.purchases] == [5, 7, 3]
    kinds = [x.kind for x in found.left_out]
    assert kinds == ["sum", "sum", "sum", "tax", "sum", "text"]


@pytest.mark.parametrize(
    "row", ["Summe;;;6;;", "Summe;;;5;;11,00", ";;;6;;", "Total AG;KL1;x;5;;", ";KL1;x;5;;"]
)
def test_what_only_looks_like_a_sum_is_a_row(row):
    found = read("A;KL1;x;5;2,00;10,00", row)
    assert [x.line for x in found.purchases] == [2, 3]


def test_a_row_that_is_not_understood_says_why():
    found = read("A;KL1;x;five;2,00;", "A;KL1;x;;2,00;", "A;KL1;Server; 2;5;1,00;9")
    number_, nothing, wide = (x.problem for x in found.purchases)
    assert number_ == 'its quantity "five" is not a number'
    assert nothing == "it has no quantity"
    assert wide.startswith("it has 7 cells and the headings 6")
    assert found.purchases[2].quantity is None


def test_the_example_is_read_as_the_page_says(monkeypatch):
    path = Path(__file__).parents[3] / "examples/everything/invoices/nord-2026-11.csv"
    columns = InvoiceColumns(
        customer="Subscriber",
        article="Artikelnr.",
        name="Artikel",
        quantity="Menge",
        price="Einzelpreis",
        amount="Gesamtpreis",
    )
    found = read_file(path, Invoice(columns=columns), ["Fabrikam Süd"])
    assert (found.encoding, found.delimiter, found.decimal) == ("cp1252", ";", ",")
    assert [x.quantity for x in found.purchases] == [1000, 12, 60, -2, 25]
    assert sum(x.amount for x in found.purchases) == Decimal("3460.20")
    assert [x.kind for x in found.left_out] == [
        *("above", "above", "sum", "sum", "tax", "sum", "text")
    ]


_CELL = st.one_of(
    st.sampled_from(["", "Contoso", "Fabrikam AG", "KL1X", "Total", "Summe", "5", "7,50", "=1+1"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.integers(-5, 99).map(str),
)


@given(st.lists(st.lists(_CELL, min_size=1, max_size=8), max_size=12))
def test_nothing_of_a_file_is_lost_whatever_it_holds(rows):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=";", quoting=csv.QUOTE_ALL)
    writer.writerows([HEADINGS, *rows])
    invoice = Invoice(columns=COLUMNS, decimal=",", encoding="utf-8", delimiter=";")
    try:
        found = read_purchases("a.csv", buffer.getvalue().encode(), invoice, [])
    except ConfigError:
        return  # refused whole, in words
    assert len(found.purchases) + len(found.left_out) + found.blank == len(rows)
    lines = [x.line for x in (*found.purchases, *found.left_out)]
    assert len(lines) == len(set(lines))
    compared = compare(found, "nord", "2026-11", MAPPING, {})
    assert len(compared.matched) + len(compared.unmatched) == len(found.purchases)
    apart = [*compared.matched, *compared.unmatched]
    assert sorted(x.line for x in apart) == sorted(x.line for x in found.purchases)
    bought = sum(x.bought for x in compared.companies)
    assert bought == sum(x.quantity for x in compared.matched)
