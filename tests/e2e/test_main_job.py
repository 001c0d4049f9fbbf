"""The main job: what clients use reaches their agreements, cheaply, and again only if it changed."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import date

import pytest

from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator

ONLY_IDS = re.compile(r"((company|product)/)?id in \(\d+(,\d+)*\)")


def test_ninety_workstations_and_ten_servers_become_two_additions(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10)

    result = operator.sync()

    assert contoso.quantities == {workstations: 90, servers: 10}
    assert result.code == 0
    assert result.last_line == "1 of 1 clients up to date."
    assert {line.bill_customer for line in contoso.additions} == {"Billable"}
    assert {line.effective_date.date() for line in contoso.additions} == {operator.world.today}


def test_billed_as_one_product_they_become_one_addition_of_a_hundred(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=90, servers=10)

    assert operator.sync().code == 0

    assert contoso.quantities == {product: 100}


def test_an_exception_of_a_client_wins_over_the_general_row(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    flat = operator.world.product("FLAT")
    contoso = operator.client("Contoso", workstations=90, servers=10)
    fabrikam = operator.client("Fabrikam", workstations=9, servers=1)
    fabrikam.exceptions.append({"application": APPLICATION, "all": flat.id})

    assert operator.sync().code == 0

    assert contoso.quantities == {workstations: 90, servers: 10}
    assert fabrikam.quantities == {flat.id: 10}


def test_two_categories_may_share_a_product(operator: Operator):
    windows, rest = operator.world.product("WINDOWS"), operator.world.product("REST")
    operator.world.billing.bill(
        APPLICATION, windows_workstations=windows, windows_servers=windows, non_windows=rest
    )
    contoso = operator.client(workstations=9, servers=1, linux=2, ios=3)

    result = operator.sync()

    assert contoso.quantities == {windows.id: 10, rest.id: 5}
    categories = {line["category"] for line in result.company("Contoso")["lines"]}
    assert categories == {"windows_workstations+windows_servers", "non_windows"}


def test_a_second_sync_sends_no_write(operator: Operator):
    operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10)
    assert len(operator.sync().writes) == 2
    before = contoso.quantities

    again = operator.sync()

    assert again.code == 0
    assert again.writes == []
    assert contoso.quantities == before
    assert again.document["summary"]["unchanged"] == 3 - 1


def test_what_changes_over_night_is_written_and_nothing_else(operator: Operator):
    workstations, servers, others = operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=90, servers=10)
    fabrikam = operator.client("Fabrikam", workstations=20)
    operator.sync()

    operator.next_night()
    contoso.add_devices("workstation", 2)
    contoso.add_devices("mac")
    contoso.remove_devices(1, os="server")
    result = operator.sync()

    assert result.code == 0
    assert contoso.quantities == {workstations: 92, servers: 9, others: 1}
    assert fabrikam.quantities == {workstations: 20}
    assert Counter(write.method for write in result.writes) == {"PATCH": 2, "POST": 1}


def test_whatever_is_opened_in_security_center_is_given_back(operator: Operator):
    operator.bill_as_one()
    for name in ("Contoso", "Fabrikam", "Northwind"):
        operator.client(name, workstations=3)

    calls = Counter(one.path.rpartition("/")[2] for one in operator.sync().sent_to("ksc"))

    assert calls["Session.StartSession"] == calls["Session.EndSession"] == 4
    lists = calls["LicenseKeys.EnumKeys"] + calls["LicenseKeys.AcquireKeyHosts"]
    assert (lists, calls["HostGroup.FindHosts"]) == (6, 3)
    assert not operator.sandbox.ksc.open_iterators  # the ends of the sessions freed them
    assert sum(calls.values()) == 3 + 3 * 9


def test_several_tenants_of_one_company_add_up(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    branch = operator.client("Contoso branch", workstations=5, mapped=False)
    contoso.more_tenants.append(f"hq:{branch.tenant}")

    assert operator.sync().code == 0

    assert contoso.quantities == {product: 12}


def test_a_renamed_virtual_server_is_the_same_client(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=7)
    operator.sync()

    contoso.server.name = "Contoso Holding"
    contoso.add_devices()
    assert operator.sync().code == 0

    assert contoso.quantities == {product: 8}


def test_a_client_renamed_in_the_mapping_keeps_its_lines(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=7)
    operator.sync()

    contoso.company.name = "Contoso Holding"
    contoso.add_devices()
    result = operator.sync()

    assert contoso.quantities == {product: 8}
    assert result.code == 0
    assert result.document["left"] == []


def test_a_lost_answer_to_a_create_never_makes_two_lines(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=7)
    operator.sandbox.faults.add("lost", match="POST */additions")

    assert operator.sync().code == 0
    assert operator.sync().writes == []

    assert contoso.quantities == {product: 7}


def test_a_new_line_is_billed_from_the_day_it_is_in_the_billing_time_zone(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=7)
    operator.by_hand()
    text = operator.config.read_text(encoding="utf-8")
    operator.config.write_text(text.replace('"UTC"', '"America/New_York"'), encoding="utf-8")

    assert operator.sync().code == 0

    assert contoso.additions[0].effective_date.date() == date(2026, 10, 13)


def test_a_new_line_is_not_billed_before_the_agreement(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=7)
    contoso.agreement.bill_start_date = date(2026, 10, 20)

    assert operator.sync().code == 0

    assert contoso.additions[0].effective_date.date() == date(2026, 10, 20)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"one_time": True}, "is billed only one time"),
        ({"billing_cycle": None}, "has no billing cycle"),
        ({"next_invoice_date": None}, "has no next invoice date"),
    ],
)
def test_an_agreement_that_is_never_invoiced_gets_nothing(operator: Operator, change, says):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=5)
    fabrikam = operator.client("Fabrikam", workstations=3)
    operator.world.agreement(contoso.company, "Onboarding")  # another one changes nothing
    for field, value in change.items():
        setattr(contoso.agreement, field, value)

    result = operator.sync()

    assert (result.code, contoso.additions, fabrikam.quantities) == (6, [], {product: 3})
    assert f"{says}: ConnectWise will never invoice" in result.company("Contoso")["reason"]
    assert operator.run("status", "--ready").code != 0


def test_a_line_on_an_agreement_that_is_invoiced_no_more_stays_as_it_is(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=5)
    assert operator.sync().code == 0
    contoso.add_devices()
    contoso.agreement.next_invoice_date = None
    operator.next_night()

    assert (operator.sync().code, contoso.quantities) == (6, {product: 5})

    contoso.agreement.next_invoice_date = date(2026, 12, 1)
    operator.next_night()
    assert (operator.sync().code, contoso.quantities) == (0, {product: 6})


def test_a_child_agreement_is_billed_if_its_parent_is_invoiced(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=5)
    parent = operator.world.agreement(contoso.company, "Everything")
    contoso.agreement.parent_id = parent.id
    contoso.agreement.billing_cycle = contoso.agreement.next_invoice_date = None
    contoso.agreement.currency, parent.currency = None, "CHF"
    parent.one_time = True

    result = operator.sync()

    assert (result.code, contoso.additions) == (6, [])
    assert (
        f"its parent, agreement {parent.id}, is billed only one time"
        in (result.company("Contoso")["reason"])
    )

    parent.one_time = False
    operator.next_night()
    result = operator.sync()
    assert (result.code, contoso.quantities) == (0, {product: 5})
    (line,) = result.company("Contoso")["lines"]
    assert (line["billing_cycle"], line["currency"]) == ("Monthly", "CHF")  # its parent's


def test_a_new_line_in_an_invoiced_period_is_billed_from_the_next_invoice_on(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=7)
    contoso.agreement.prorate = False
    contoso.agreement.invoiced_through = date(2026, 10, 31)
    contoso.agreement.next_invoice_date = date(2026, 11, 1)

    result = operator.sync()

    assert contoso.additions[0].effective_date.date() == date(2026, 11, 1)
    assert result.code == 0
    assert "2026-11-01" in result.company("Contoso")["lines"][0]["detail"]


def test_other_lines_of_the_agreement_are_never_touched(operator: Operator):
    product = operator.bill_as_one()
    backup = operator.world.product("BACKUP-TB", 25.0)
    contoso = operator.client(workstations=7)
    line = operator.world.add_line(contoso.agreement_id, backup, 2.5)

    result = operator.sync()

    assert contoso.quantities == {product: 7, backup.id: 2.5}
    assert operator.world.lines[line.id] is line
    assert result.code == 0


def test_with_billing_off_nothing_of_a_client_is_read_or_written(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=7)
    fabrikam = operator.client("Fabrikam", workstations=3)
    contoso.billing = False

    result = operator.sync()

    assert contoso.additions == []
    assert fabrikam.quantities == {product: 3}
    assert result.company("Contoso")["status"] == "off"
    assert not [one for one in result.requests if str(contoso.agreement_id) in one.path]
    assert len([one for one in result.sent_to("ksc") if one.path.endswith("EnumKeys")]) == 1
    assert result.code == 0


@pytest.mark.parametrize(
    ("chosen", "billed"),
    [
        (["--only", "contoso"], {"Contoso"}),
        (["--only", "*o*", "--exclude", "FABR*"], {"Contoso", "Northwind"}),
        (["--exclude", "contoso"], {"Fabrikam", "Northwind"}),
    ],
)
def test_a_run_can_be_limited_to_some_clients(operator: Operator, chosen, billed):
    operator.bill_as_one()
    names = ("Contoso", "Fabrikam", "Northwind")
    clients = [operator.client(name, workstations=2) for name in names]

    result = operator.sync(*chosen)

    assert {client.name for client in clients if client.additions} == billed
    assert {company["name"] for company in result.document["companies"]} == billed
    assert result.code == 0


def test_names_are_never_part_of_a_condition(operator: Operator):
    operator.bill_as_one()
    operator.client('"%\' or id > 0 or name="', workstations=2)
    operator.client("Contoso", workstations=3)

    sync, preview = operator.sync(), operator.preview()

    reads = sync.sent_to("connectwise") + preview.sent_to("connectwise")
    conditions = [one.query["conditions"] for one in reads if "conditions" in one.query]
    assert conditions
    assert [text for text in conditions if not ONLY_IDS.fullmatch(text)] == []
    assert not [one for one in reads if "childConditions" in one.query]
    assert sync.code == preview.code == 0


def test_a_hundred_companies_with_five_products_cost_few_requests(operator: Operator):
    names = [f"Application {letter}" for letter in "ABCDE"]
    products = [operator.bill_as_one(name) for name in names]
    clients = []
    for number in range(100):
        client = operator.client(f"Client {number:03}", application=names[0], workstations=1)
        for name in names[1:]:
            client.key(name, devices=client.devices())
        for product in products:
            operator.world.add_line(client.agreement_id, product, 1)
        clients.append(client)

    unchanged = operator.sync()
    assert unchanged.code == 0
    assert unchanged.writes == []
    assert len(unchanged.sent_to("connectwise")) <= 103

    for client in clients[:10]:
        client.add_devices()
    changed = operator.sync()

    assert changed.code == 0
    assert len(changed.writes) == 10
    assert len(changed.sent_to("connectwise")) <= 123
    assert [client.quantities[products[0]] for client in clients] == [2] * 10 + [1] * 90


def test_preview_tells_the_plan_and_writes_nothing_anywhere(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    contoso = operator.client(workstations=90, servers=10)
    operator.write_files()
    before = operator.files()

    preview = operator.preview()

    assert operator.files() == before
    assert not operator.state.exists()
    assert contoso.additions == []
    lines = {line["product"]: line for line in preview.company("Contoso")["lines"]}
    assert lines[str(workstations)]["action"] == lines[str(servers)]["action"] == "create"
    assert (lines[str(workstations)]["after"], lines[str(servers)]["after"]) == (90, 10)
    assert lines[str(workstations)]["unit_price"] == 3
    assert preview.code == 0


def test_preview_after_a_run_leaves_the_journal_as_it_is(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client(workstations=9)
    operator.sync()
    contoso.add_devices()
    before = operator.files()
    assert "state/journal.db" in before

    operator.preview()

    sqlites_own = {"state/journal.db-wal", "state/journal.db-shm"}
    after = operator.files()
    assert {name: after[name] for name in after.keys() - sqlites_own} == before
    assert operator.run("preview", "--detailed-exitcode").code == 10


def test_the_exit_code_of_preview_tells_pending_changes_only_if_asked(operator: Operator):
    operator.bill_as_one()
    operator.client(workstations=9)

    assert operator.preview().code == 0
    assert operator.preview("--detailed-exitcode").code == 10
    operator.sync()
    assert operator.preview("--detailed-exitcode").code == 0


def test_preview_without_a_mapping_shows_tenants_and_key_names_with_figures(operator: Operator):
    contoso = operator.client("Contoso", workstations=5, servers=2)
    operator.client("Fabrikam", application="Kaspersky Something Else", workstations=3)
    operator.mapped = False
    operator.write_files()
    before = operator.files()

    preview = operator.preview()

    unmapped = preview.document["unmapped"]
    assert {one["name"] for one in unmapped["tenants"]} == {"Contoso", "Fabrikam"}
    assert contoso.tenant in {one["tenant"] for one in unmapped["tenants"]}
    figures = {one["application"]: one["quantity"] for one in unmapped["applications"]}
    assert figures == {APPLICATION: 7, "Kaspersky Something Else": 3}
    assert {one["estimated"] for one in unmapped["applications"]} == {True}
    assert preview.code == 0
    assert operator.files() == before
    table = operator.run("preview")
    assert table.code == 0
    for text in ("Contoso", "Fabrikam", contoso.tenant, "Kaspersky Something Else", "7", "3"):
        assert text in table.out


def test_sync_without_a_mapping_bills_nobody(operator: Operator):
    contoso = operator.client(workstations=5)
    operator.mapped = False

    result = operator.sync()

    assert result.writes == []
    assert contoso.additions == []
    assert "No client is billed" in result.last_line


def test_map_list_shows_the_ids_that_a_first_mapping_needs(operator: Operator):
    product = operator.world.product("KES-ADV", 4.5)
    contoso = operator.client(workstations=5)
    operator.mapped = False

    result = operator.run("map", "list")

    assert result.code == 0
    assert result.writes == []
    assert not operator.state.exists()
    for value in (contoso.tenant, contoso.company_id, contoso.agreement_id, product.id):
        assert str(value) in result.out


def test_the_table_of_a_first_run_says_what_was_billed(operator: Operator):
    operator.bill_by_category()
    operator.client(workstations=90, servers=10)

    result = operator.run("sync")

    assert result.code == 0
    for text in ("Contoso", "new → 90", "new → 10", "applied", "Kaspersky Endpoint Security"):
        assert text in result.out
    quiet = operator.run("sync", "-q")
    assert (quiet.code, quiet.err) == (0, "")


def test_csv_has_a_row_a_line_and_html_is_a_page(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client(workstations=9)
    folder = operator.folder.parent

    assert (
        operator.run("preview", "--format", "csv", "--output", str(folder / "plan.csv")).out == ""
    )
    assert (
        operator.run("preview", "--format", "html", "--output", str(folder / "plan.html")).out == ""
    )

    with (folder / "plan.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["product"] == str(product)]
    assert [(row["company"], row["action"], row["after"]) for row in rows] == [
        ("Contoso", "create", "9")
    ]
    assert rows[0]["agreement"] == str(contoso.agreement_id)
    page = (folder / "plan.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "Contoso" in page


def test_a_key_whose_own_figure_is_0_is_read_all_the_same(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=20)
    contoso.first_key.counts = (0, 0)  # a figure that the server has not brought up to date

    assert operator.sync().code == 0
    assert contoso.quantities == {product: 20}
