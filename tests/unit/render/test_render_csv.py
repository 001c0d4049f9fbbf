"""CSV that a spreadsheet can open: RFC 4180, and no formula from a name."""

from __future__ import annotations

import csv
from decimal import Decimal
from io import StringIO

import pytest
import render_samples as samples
from hypothesis import example, given
from hypothesis import strategies as st

from kisi.csv_table import CsvStyle
from kisi.errors import ExitCode
from kisi.formats import columns
from kisi.model import Failure, Plan, UnmappedUse
from kisi.redaction import STARTS, safe_text
from kisi.render.export import csv_text, plan_csv


def read(text: str) -> list[list[str]]:
    return list(csv.reader(StringIO(text, newline=""), strict=True))


def rows(view) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(plan_csv(view), newline="")))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(start):
    (shown,) = read(csv_text(("name",), [(f"{start}1+1",)]))[1]
    assert shown == "'" + safe_text(f"{start}1+1")


@example('"=1', ";")
@given(st.text(st.sampled_from("=+-@\uff1d,;|\t\n \"'a"), max_size=12), st.sampled_from(",;|\t"))
def test_no_delimiter_makes_a_formula_of_what_is_inside_a_text(text, delimiter):
    table = csv_text(("name", "next"), [(text, text)])
    for row in csv.reader(StringIO(table, newline=""), delimiter=delimiter):
        assert not [one for one in row if one.lstrip(' "').startswith(STARTS)]


def test_a_spreadsheet_with_a_decimal_comma_gets_it_and_its_own_delimiter():
    text = csv_text(("a", "b;c"), [(Decimal("-2.50"), "x;y")], CsvStyle(";", ","))
    assert text == 'a;"b;c"\r\n-2,5;"x;y"\r\n'


def test_numbers_never_get_an_apostrophe():
    text = csv_text(("a", "b", "c", "d", "e"), [(Decimal("-2.50"), -3, 0, True, None)])
    assert text == "a,b,c,d,e\r\n-2.5,-3,0,true,\r\n"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_makes_one_row_that_reads_back(texts):
    text = csv_text(tuple("x" * len(texts)), [tuple(texts)])
    lines = read(text)
    assert len(lines) == 2
    assert text.count("\r\n") == 2
    shown = [cell.replace("'", "") for cell in lines[1]]
    assert shown == [safe_text(one).replace("'", "") for one in texts]


def test_every_line_and_every_gap_has_a_row(preview):
    found = rows(preview)
    assert [row["kind"] for row in found].count("line") == 12
    assert {row["kind"] for row in found} == {"line", "left", "failure", "unmapped", "tenant"}
    create = next(row for row in found if row["action"] == "create")
    assert (create["before"], create["after"], create["delta"], create["money_delta"]) == (
        "",
        "25",
        "25",
        "80",
    )
    held = next(row for row in found if row["guard"] == "to-zero")
    assert (held["delta"], held["money_delta"], held["company"]) == (
        "-10",
        "-45",
        "Fabrikam Maschinenbau GmbH & Co. KG",
    )
    assert held["remedy"].endswith("kisi sync --accept a3f90b11")
    assert [row["used"] for row in found if row["kind"] == "unmapped"] == ["12", "3"]


def test_what_failed_or_is_unmapped_without_a_client_has_a_row_too():
    plan = Plan(
        (),
        unmapped_uses=(UnmappedUse("Fourth Coffee", samples.KES, 9),),
        failures=(Failure("source-incomplete", "hub: no file", "Export it.", ExitCode.SOURCE),),
    )
    failure, unmapped = rows(samples.view(plan))
    assert (failure["kind"], failure["reason"], failure["remedy"]) == (
        "failure",
        "hub: no file",
        "Export it.",
    )
    assert (unmapped["company"], unmapped["used"]) == ("Fourth Coffee", "9")


def test_money_is_empty_where_the_price_is_unknown():
    company = samples.contoso()
    line = samples.line("1", 2, price=None)
    plan = Plan((type(company)(company.company, company.status, lines=(line,)),))
    (row,) = rows(samples.view(plan))
    assert (row["unit_price"], row["money_delta"]) == ("", "")
    assert list(row) == columns("preview")
