"""Which invoice a change reaches, what is on none, and which invoices are due: as it is said."""

from __future__ import annotations

import json
from datetime import date, timedelta

from tests.e2e.conftest import Operator


def words(text: str) -> str:
    return " ".join(text.split())


def test_a_change_says_which_invoice_it_reaches_and_what_none_will_have(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.sync()
    contoso.remove_devices(2)
    operator.next_night()

    preview = operator.preview()
    said = words(operator.run("preview").out)
    result = operator.sync()

    (line,) = preview.company("Contoso")["lines"]
    assert preview.company("Contoso")["next_invoice"] == "2026-11-01"
    assert (line["invoice"], line["overwritten"]) == ("2026-11-01", 2)
    assert "next invoice 2026-11-01" in said
    assert (
        "has 88 for its whole period: the 2 more that were billed until now are not on it" in said
    )
    assert (result.code, [*contoso.quantities.values()]) == (0, [88])
    (line,) = operator.preview().company("Contoso")["lines"]
    assert (line["invoice"], line["overwritten"]) == (None, 0)

    contoso.remove_devices(1)
    said = words(operator.run("preview").out)
    assert "The invoice of 2026-11-01 has 87 for its whole period: the 1 more that was" in said
    assert "billed until now is not on it" in said
    contoso.remove_devices(60)
    said = words(operator.run("preview").out)
    assert "If it is released now, the invoice of 2026-11-01 has 27 for its whole period" in said


def test_nothing_is_lost_on_the_first_day_of_a_period_nor_by_a_rise(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=90)
    operator.sync()
    contoso.add_devices(n=2)
    (line,) = operator.preview().company("Contoso")["lines"]
    assert (line["invoice"], line["overwritten"]) == ("2026-11-01", 0)
    contoso.remove_devices(4)
    contoso.agreement.next_invoice_date = operator.world.today + timedelta(days=31)
    (line,) = operator.preview().company("Contoso")["lines"]
    assert line["overwritten"] == 0


def test_ready_names_the_invoices_that_are_due_and_who_is_not_ready(operator: Operator):
    """One is due today, one tomorrow, one was due, one next month; one of them failed."""
    operator.bill_as_one()
    today = operator.world.today
    due = {"Contoso": 0, "Fabrikam": 1, "Nordwind": -3, "Wingtip": 20}
    clients = {name: operator.client(name, workstations=9) for name in due}
    for name, days in due.items():
        clients[name].agreement.next_invoice_date = today + timedelta(days=days)
    clients["Fabrikam"].server.enabled = False
    operator.sync()

    answer = operator.run("status", "--ready")
    document = json.loads(operator.run("status", "--ready", "--json").out)

    assert answer.code == 6
    assert (
        f"Invoices due: Nordwind ({today - timedelta(3)}), Contoso ({today}), "
        f"Fabrikam ({today + timedelta(1)}, NOT ready)." in words(answer.out)
    )
    assert [(x["name"], x["ready"]) for x in document["ready"]["due"]] == [
        *(("Nordwind", True), ("Contoso", True), ("Fabrikam", False)),
    ]
    assert {x["name"]: x["next_invoice"] for x in document["clients"]}["Wingtip"] == str(
        date.fromordinal(today.toordinal() + 20)
    )
    longer = operator.run("status", "--ready", "--max-age", "30d")
    assert f"Wingtip ({today + timedelta(20)})" in words(longer.out)
    clients["Fabrikam"].server.enabled = True
    operator.sync()
    assert operator.run("status", "--ready").out.startswith("Ready to invoice: 4 of 4")
