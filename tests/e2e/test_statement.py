"""What a client can be shown of a month, from the journal alone; and money as the PSA invoices it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator, Result
from tests.formats import differences


def statement(operator: Operator, *arguments: str) -> dict[str, Any]:
    result = operator.run("statement", *arguments, "--json")
    assert (result.code, result.requests) == (0, ()), result.err
    found: dict[str, Any] = json.loads(result.out)
    assert differences("statements" if "statements" in found else "statement", found) == []
    return found


def lines(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = result.document["companies"][0]["lines"]
    return found


def test_a_month_has_each_day_its_gaps_and_what_it_costs(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()  # 2026-10-14
    contoso.additions[0].unit_price, contoso.additions[0].less_included = 4.5, 10.0
    operator.next_night()
    operator.sync()
    contoso.add_devices(n=2)
    operator.next_night(2)  # nobody reads on the 16th
    operator.sync()

    told = statement(operator, "contoso")

    assert (told["format_version"], told["month"], told["company"]) == (1, "2026-10", "Contoso")
    (line,) = told["lines"]
    known = ("product", "category", "policy", "quantity", "unit_price", "included", "amount")
    assert [line[name] for name in known] == [str(product), "all", "today", 92, 4.5, 10, 369]
    assert (line["currency"], line["billing_cycle"]) == ("EUR", "Monthly")
    days = {one["date"]: one["quantity"] for one in line["days"]}
    assert next(iter(days)) == "2026-10-01"
    assert [*days.values()][-5:] == [None, 90, 90, None, 92]
    devices = told["devices"]
    assert [one["number"] for one in devices] == list(range(1, 93))
    assert {one["operating_system"] for one in devices} == {"Microsoft Windows 11"}
    assert {one["last_seen"] for one in devices} <= {"2026-10-17", "2026-10-16", None}
    assert {(one["first"], one["last"]) for one in devices} == {
        ("2026-10-14", "2026-10-17"),
        ("2026-10-17", "2026-10-17"),
    }


def test_what_a_guard_holds_is_in_no_day(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()
    contoso.remove_devices(60)
    operator.next_night()
    assert operator.sync().code == 6

    (line,) = statement(operator, "Contoso")["lines"]

    assert [one["quantity"] for one in line["days"]][-2:] == [90, None]
    assert line["quantity"] == 90

    held = operator.preview().company("Contoso")["plan_id"]
    assert operator.sync("--accept", held).code == 0
    (line,) = statement(operator, "Contoso")["lines"]
    assert [one["quantity"] for one in line["days"]][-2:] == [90, 30]


def _days(operator: Operator, last: int) -> list[float | None]:
    (line,) = statement(operator, "Contoso")["lines"]
    return [one["quantity"] for one in line["days"]][-last:]


def test_a_line_that_people_manage_is_what_the_psa_holds(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()
    contoso.exceptions.append({"application": APPLICATION, "bill": False})
    contoso.add_devices(n=5)
    contoso.additions[0].quantity, contoso.additions[0].unit_price = 50.0, 2.0
    operator.next_night()
    assert (operator.sync().code, contoso.quantities) == (0, {product: 50})
    contoso.additions[0].quantity = 40.5
    operator.next_night()
    operator.sync()

    (line,) = statement(operator, "Contoso")["lines"]
    assert (line["quantity"], line["unit_price"], line["amount"]) == (40.5, 2, 81)
    assert _days(operator, 3) == [90, 50, 40.5]
    assert "15: 50 · 16: 40.5" in operator.run("statement", "Contoso").out

    operator.world.lines.clear()  # somebody deletes it
    operator.next_night()
    operator.sync()
    assert _days(operator, 2) == [40.5, 0]


def test_a_line_that_somebody_changed_is_what_the_psa_holds_until_it_is_kisis_again(
    operator: Operator,
):
    operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()
    contoso.additions[0].quantity = 70.0
    contoso.remove_devices(1)
    for _ in range(2):
        operator.next_night()
        result = operator.sync()
        assert set(result.holds("Contoso").values()) == {"drift"}
    assert _days(operator, 3) == [90, 70, 70]
    contoso.remove_devices(80)  # also doubted by a guard: what the PSA holds is known all the same
    operator.next_night()
    assert operator.sync().code == 6
    assert _days(operator, 4) == [90, 70, 70, 70]

    contoso.add_devices(n=81)
    held = operator.preview().company("Contoso")["plan_id"]
    assert operator.sync("--accept", held).code == 0
    assert _days(operator, 4) == [90, 70, 70, 90]


def test_a_line_that_is_made_anew_replaces_the_one_that_somebody_deleted(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()
    operator.world.lines.clear()
    operator.next_night()
    held = operator.sync()
    assert set(held.holds("Contoso").values()) == {"deleted"}
    assert _days(operator, 2) == [90, 0]
    assert operator.sync("--accept", held.company("Contoso")["plan_id"]).code == 0
    assert contoso.quantities == {product: 90}
    assert _days(operator, 2) == [90, 90]


def test_a_line_that_waits_is_what_the_psa_holds(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()
    contoso.add_devices(n=2)
    operator.sandbox.faults.add("status", match="PATCH *", times=None, code=400)
    operator.next_night()
    assert operator.sync().code == 7
    assert _days(operator, 2) == [90, 90]
    operator.sandbox.faults.clear()
    operator.next_night()
    assert operator.sync().code == 0
    assert _days(operator, 3) == [90, 90, 92]


def test_a_past_month_keeps_its_numbers_and_its_price(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=10)
    operator.sync()
    contoso.additions[0].unit_price = 2.0
    operator.next_night()
    operator.sync()
    operator.next_night(30)  # November
    contoso.additions[0].unit_price = 3.0
    contoso.add_devices(n=1)
    operator.sync()

    october = statement(operator, "Contoso", "--month", "2026-10")["lines"][0]
    november = statement(operator, "Contoso", "--month", "2026-11")["lines"][0]

    assert (october["quantity"], october["amount"], len(october["days"])) == (10, 20, 31)
    assert (november["quantity"], november["amount"]) == (11, 33)


def test_a_folder_gets_a_file_for_each_client_and_no_name_leaves_it(operator: Operator):
    operator.bill_as_one()
    for name in ("Contoso", "CONTOSO", "../../etc", "<script>alert(1)</script>"):
        operator.client(name, workstations=3)
    operator.sync()
    folder = operator.folder / "out"

    result = operator.run("statement", "--format", "html", "--output", str(folder))

    assert (result.code, result.out) == (0, "")
    assert f"Wrote 4 files to {folder}." in result.err
    assert sorted(one.name for one in folder.iterdir()) == [
        "contoso-2-2026-10.html",
        "contoso-2026-10.html",
        "etc-2026-10.html",
        "script-alert-1-script-2026-10.html",
    ]
    page = (folder / "script-alert-1-script-2026-10.html").read_text(encoding="utf-8")
    assert "<h1>&lt;script&gt;alert(1)&lt;/script&gt;, 2026-10</h1>" in page
    assert "<script" not in page
    assert "CONTOSO" not in page


def test_statements_as_csv_and_as_text_and_of_several_clients(operator: Operator):
    operator.bill_as_one()
    operator.client("Contoso", workstations=2)
    operator.client("Fabrikam", workstations=3)
    operator.sync()

    table = operator.run("statement", "--format", "csv", "--delimiter", ";")
    rows = list(csv.DictReader(io.StringIO(table.out), delimiter=";"))
    several = statement(operator)["statements"]
    text = operator.run("statement", "fabr")

    assert [row["kind"] for row in rows].count("line") == 2
    assert [row["quantity"] for row in rows if row["kind"] == "line"] == ["2", "3"]
    assert len([row for row in rows if row["kind"] == "device"]) == 5
    assert [one["company"] for one in several] == ["Contoso", "Fabrikam"]
    assert "1 to 13: not known · 14: 3" in text.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--month", "2026-13"], "is not a month such as 2026-11"),
        (["--month", "2027-01"], "2027-01 has not begun"),
        (["--format", "html"], "--output FOLDER"),
    ],
)
def test_a_wrong_question_is_a_usage_error(operator: Operator, arguments: list[str], said: str):
    operator.client(workstations=1)
    result = operator.run("statement", *arguments)
    assert (result.code, result.out) == (2, "")
    assert said in " ".join(result.err.split())


# --- money ----------------------------------------------------------------------------------------


def test_an_amount_leaves_out_included_units_and_what_is_not_billable(operator: Operator):
    operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10, linux=4)
    operator.sync()
    for addition in contoso.additions:
        addition.unit_price = 4.5
    workstations, servers, others = sorted(contoso.additions, key=lambda one: one.product_id)
    workstations.less_included, servers.less_included = 80.0, 20.0
    others.bill_customer = "NoCharge"

    by_product = {line["product"]: line for line in lines(operator.sync())}

    amounts = [by_product[str(one.product_id)]["amount"] for one in (workstations, servers, others)]
    assert amounts == [45, 0, 0]
    assert by_product[str(workstations.product_id)]["included"] == 80


def test_an_amount_is_for_what_the_psa_holds_when_the_run_ends(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=90)
    operator.sync()
    contoso.additions[0].unit_price = 2.0
    contoso.add_devices(n=1)
    assert [(x["after"], x["amount"]) for x in lines(operator.preview())] == [(91, 182)]
    contoso.remove_devices(71)
    assert [(x["after"], x["amount"]) for x in lines(operator.preview())] == [(20, 180)]
    assert [(x["after"], x["amount"]) for x in lines(operator.sync())] == [(20, 180)]


def test_money_of_several_cycles_and_currencies_is_never_added_up(operator: Operator):
    operator.bill_as_one()
    for number, (name, cycle, currency) in enumerate(
        (("A", "Monthly", "EUR"), ("B", "Annually", "EUR"), ("C", "Monthly", None)), 1
    ):
        client = operator.client(name, workstations=number)
        client.agreement.billing_cycle, client.agreement.currency = cycle, currency
    operator.sync()
    for line in operator.world.lines.values():
        line.unit_price = 2.0

    document = operator.preview().document
    text = " ".join(operator.run("preview", "-v").out.split())

    assert document["totals"]["cw"]["billed"]["money_after"] is None
    sums = {
        (x["currency"], x["billing_cycle"]): x["billed"]["money_after"]
        for x in document["totals_by_cycle"]
    }
    assert sums == {("EUR", "Monthly"): 2, ("EUR", "Annually"): 4, ("", "Monthly"): 6}
    assert [x["lines"][0]["currency"] for x in document["companies"]] == ["EUR", "EUR", None]
    assert {x["next_invoice"] for x in document["companies"]} == {"2026-11-01"}
    for said in ("2.00 EUR a month", "4.00 EUR a year", "6.00 a month"):
        assert said in text


def test_a_child_is_invoiced_when_and_how_often_its_parent_is(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=3)
    parent = contoso.agreement
    contoso.agreement = operator.world.agreement(contoso.company, parent=parent)
    contoso.agreement.billing_cycle = contoso.agreement.next_invoice_date = None
    parent.billing_cycle = "Quarterly"

    company = operator.preview().company("Contoso")

    assert company["next_invoice"] == "2026-11-01"
    assert company["lines"][0]["billing_cycle"] == "Quarterly"


def test_a_price_that_is_not_known_is_an_amount_that_is_not_known(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=3)
    operator.sync()
    contoso.additions[0].unit_price = None
    operator.next_night()

    (line,) = lines(operator.sync())
    told = statement(operator, "Contoso")["lines"][0]
    status = json.loads(operator.run("status", "--json").out)["clients"][0]["lines"][0]

    assert line["amount"] is told["amount"] is status["amount"] is None


def test_a_product_that_was_exchanged_is_billed_once(operator: Operator):
    old = operator.bill_as_one()
    contoso = operator.client(workstations=10)
    operator.sync()
    new = operator.world.product("KES-NEW", 9.0)
    operator.world.billing.applications[0].products["all"] = new.id
    operator.next_night()
    held = operator.sync().company("Contoso")["plan_id"]
    assert operator.sync("--accept", held).code == 0
    assert contoso.quantities == {old: 0, new.id: 10}

    told = statement(operator, "Contoso")

    of_product = {line["product"]: line for line in told["lines"]}
    first, second = of_product[str(old)], of_product[str(new.id)]
    assert [one["quantity"] for one in first["days"]][-2:] == [10, 0]
    assert [one["quantity"] for one in second["days"]][-2:] == [0, 10]
    assert (first["quantity"], first["amount"], second["amount"]) == (0, 0, 90)
    assert len(told["devices"]) == 10


def test_a_tenant_that_moves_is_on_one_clients_page_a_day(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=10)
    lab = operator.client("Lab", workstations=11)
    operator.sync()
    lab.more_tenants.append(f"hq:{contoso.tenant}")
    contoso.server = operator.world.server("Empty")
    operator.next_night()
    held = operator.sync().company("Contoso")["plan_id"]
    assert operator.sync("--accept", held).code == 0
    assert (list(contoso.quantities.values()), list(lab.quantities.values())) == ([0], [21])

    (before,) = statement(operator, "Contoso")["lines"]
    (after,) = statement(operator, "Lab")["lines"]

    assert [one["quantity"] for one in before["days"]][-2:] == [10, 0]
    assert [one["quantity"] for one in after["days"]][-2:] == [11, 21]
    assert (before["amount"], before["quantity"]) == (0, 0)
