"""`kisi reconcile`: a distributor's file against the journal, judged by what the file says."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator, Result
from tests.formats import differences

INVOICE = """
[invoices.nord]
[invoices.nord.columns]
customer = "Kunde"
article = "Nr"
name = "Artikel"
quantity = "Menge"
price = "Preis"
"""
HEADINGS = "Kunde;Nr;Artikel;Menge;Preis\r\n"


@pytest.fixture
def billed(operator: Operator) -> Operator:
    """Contoso and Fabrikam are billed for 90 and 20, at 4.50."""
    operator.more = INVOICE
    operator.bill_as_one()
    for name, number in (("Contoso", 90), ("Büro & Söhne", 20)):
        operator.client(name, workstations=number)
    operator.sync()
    for line in operator.world.lines.values():
        line.unit_price = 4.5
    operator.next_night()
    operator.sync()
    return operator


def reconcile(operator: Operator, rows: str, *more: str, encoding: str = "cp1252") -> Result:
    file = operator.folder / "bought.csv"
    file.write_bytes((HEADINGS + rows).encode(encoding))
    result = operator.run("reconcile", str(file), "--invoice", "nord", *more)
    assert result.requests == ()
    return result


def told(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.out)
    assert differences("reconcile", found) == []
    assert found["exit_code"] == result.code
    rows = found["rows"]
    assert rows["read"] == rows["matched"] + rows["unmatched"]
    return found


def test_what_is_bought_as_it_is_billed_is_fine(billed: Operator):
    rows = f"Contoso GmbH;;{APPLICATION};50;3,20\r\nContoso;;{APPLICATION};40;3,20\r\n"
    rows += f"Buero und Soehne;;{APPLICATION};20;3,20\r\n;;;;\r\nSumme;;;110;\r\n"
    result = reconcile(billed, rows, "--json")
    found = told(result)
    assert result.code == 0, result.out
    assert found["rows"] == {"read": 3, "matched": 3, "unmatched": 0, "ignored": 2}
    assert found["totals"]["matched"] == {"quantity": 110, "amount": 352}
    by_name = {one["company"]: one for one in found["companies"]}
    contoso = by_name["Contoso"]
    numbers = [contoso[x] for x in ("bought", "used", "billed", "cost", "revenue", "difference")]
    assert numbers == [90, 90, 90, 288, 405, 0]
    assert contoso["application"] == APPLICATION
    assert (found["encoding"], found["delimiter"], found["decimal"]) == ("utf-8", ";", ",")
    assert "3 rows of bought.csv: 3 matched, 0 unmatched; 0 of 2 differ." in result.err


def test_the_most_expensive_difference_is_first_and_nothing_is_lost(billed: Operator):
    rows = f"Contoso;;{APPLICATION};95;3,20\r\nBüro & Söhne;;{APPLICATION};8;3,20\r\n"
    rows += f"Büro u. Söne;;{APPLICATION};7;3,20\r\nContoso;X1;Firewall;1;99,00\r\n"
    result = reconcile(billed, rows, "--json")
    found = told(result)
    assert result.code == 6
    assert [(x["company"], x["difference"]) for x in found["companies"]] == [
        ("Büro & Söhne", -12),
        ("Contoso", 5),
    ]
    assert [x["worth"] for x in found["companies"]] == [-38.4, 16]
    (typo, firewall) = found["unmatched"]
    assert (typo["reason"], typo["quantity"]) == ("its customer is not known", 7)
    assert typo["suggestions"] == ["purchased_as of Büro & Söhne"]
    assert (firewall["reason"], firewall["line"]) == ("its article is not known", 5)
    assert found["totals"]["read"] == {"quantity": 111, "amount": 451}
    assert found["encoding"] == "cp1252"
    screen = reconcile(billed, rows).out
    assert screen.index("Büro & Söhne") < screen.index("Contoso")
    assert "Firewall" in screen
    table = csv.DictReader(io.StringIO(reconcile(billed, rows, "--format", "csv").out))
    assert [row["kind"] for row in table] == ["application"] * 2 + ["unmatched"] * 2
    assert "<!DOCTYPE html" in reconcile(billed, rows, "--format", "html").out


def test_a_sum_that_does_not_agree_is_a_row_that_somebody_must_look_at(billed: Operator):
    rows = f"Contoso;;{APPLICATION};90;3,20\r\nSumme;;;91;\r\n"
    found = told(reconcile(billed, rows, "--json"))
    assert [one["customer"] for one in found["unmatched"]] == ["Summe"]


@pytest.mark.parametrize(
    ("rows", "more", "said"),
    [
        ("Contoso;;KES;1.000;\r\n", (), "not clear which sign is the decimal one"),
        ('Contoso;;"KES;1;\r\n', (), "no valid CSV"),
        ("", ("--month", "2027-01"), "has not begun"),
    ],
)
def test_what_cannot_be_read_for_sure_is_refused(billed: Operator, rows: str, more: Any, said: str):
    result = reconcile(billed, rows, *more)
    assert result.code in (2, 3)
    assert said in result.err


def test_hostile_names_stay_text(billed: Operator):
    rows = "=1+1\x1b[2J<script>;=cmd|'/c calc'!A0;@SUM(1);5;1,00\r\n"
    for form in ("table", "csv", "html", "json"):
        out = reconcile(billed, rows, "--format", form).out
        assert "\x1b" not in out
        assert "<script>;" not in out
        if form == "csv":
            assert ",=1" not in out
            assert ",=cmd" not in out


def test_an_invoice_that_is_not_there_and_a_heading_that_is_not(billed: Operator):
    result = billed.run("reconcile", "x.csv", "--invoice", "nor")
    assert (result.code, 'did you mean "nord"' in result.err) == (3, True)
    file = billed.folder / "other.csv"
    file.write_text("Kunde;Nr;Artikel;Anzahl;Preis\nA;1;KES;1;1\n", encoding="utf-8")
    result = billed.run("reconcile", str(file), "--invoice", "nord")
    assert result.code == 3
    assert 'no column "Menge" (quantity)' in result.err
