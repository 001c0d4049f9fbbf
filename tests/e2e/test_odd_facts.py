"""What is odd in a reading, an agreement or a name: billed or not, and said in words."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

import pytest

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator
from tests.faults.conftest import trouble

CLOUD = "Kaspersky Endpoint Security Cloud"


@pytest.mark.parametrize("prorated", [True, False])
def test_a_move_in_mid_month_says_what_a_prorated_agreement_loses(
    operator: Operator, prorated: bool
):
    first = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    contoso.agreement.prorate = prorated
    assert operator.sync().code == 0
    product = operator.world.product("NEW", 5.0)
    operator.world.billing.applications.clear()
    operator.world.billing.bill(APPLICATION, all=product)

    result = operator.sync()

    assert (result.code, contoso.quantities) == (6, {first: 6})
    held = {line["hold"]["guard"]: line["hold"] for line in result.company("Contoso")["lines"]}
    lost = "what has passed of a period that is not invoiced yet would be on no invoice"
    assert (lost in held["orphaned"]["reason"]) is prorated
    accepted = operator.sync("--accept", result.document["plan_id"])
    assert (accepted.code, contoso.quantities) == (0, {first: 0, product.id: 6})


def test_an_agreement_that_bills_after_its_end_is_not_fit(operator: Operator):
    product = operator.bill_as_one()
    contoso, fabrikam = (operator.client(name, workstations=6) for name in ("Contoso", "Fabrikam"))
    contoso.agreement.end_date = operator.world.today + timedelta(days=30)
    contoso.agreement.bill_start_date = operator.world.today + timedelta(days=31)

    result = operator.sync()

    assert (result.code, contoso.quantities, fabrikam.quantities) == (6, {}, {product: 6})
    failed = trouble(result, "Contoso")
    assert failed.guard == "agreement"
    assert "ends on 2026-11-13, before its billing starts on 2026-11-14" in failed.reason
    contoso.agreement.bill_start_date = operator.world.today
    assert (operator.sync().code, contoso.quantities) == (0, {product: 6})


def test_a_company_in_the_recycle_bin_is_said_by_check(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    contoso.company.deleted = True

    result = operator.run("check", "--online")

    assert f"Contoso: Company {contoso.company_id} (Contoso) is not active in psa.cw." in result.out
    # What is invoiced, the agreement's own state decides.
    assert (operator.sync().code, contoso.quantities) == (0, {product: 6})


def test_a_device_that_was_installed_again_is_counted_and_said(operator: Operator):
    product = operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    old = contoso.devices()[0]
    new = contoso.server.add_device(name=f"{old.name}~~1")
    contoso.first_key.use(new)

    result = operator.sync()

    assert (result.code, contoso.quantities) == (0, {product: 7})
    (note,) = result.company("Contoso")["notes"]
    assert f"1 device has several records, and each is counted: {old.name} and {new.name}" in note


@pytest.mark.parametrize("theirs", [unicodedata.normalize("NFD", "Müller Ltd"), "müller\u00a0LTD"])
def test_a_report_that_spells_a_name_otherwise_gives_a_hint(operator: Operator, theirs: str):
    operator.bill_as_one()
    product = operator.world.product("CLOUD", 2.0)
    operator.world.billing.bill(CLOUD, all=product)
    contoso = operator.client("Contoso", workstations=1)
    contoso.more_tenants.append("hub:Müller Ltd")
    hub = BusinessHub(operator.world.now)
    hub.licence(theirs, CLOUD, 25)
    operator.sandbox.add(hub.part())

    result = operator.sync()

    assert (result.code, contoso.quantities) == (4, {})
    failed = trouble(result, "Contoso")
    assert failed.guard == "tenant-missing"
    assert f"It has {theirs!a}, and the mapping {'Müller Ltd'!a}" in failed.reason
    assert ascii(theirs) in operator.run("map", "list", "--stale").out


def test_two_ambiguous_products_are_both_named(operator: Operator):
    workstations, servers, _ = operator.bill_by_category()
    contoso = operator.client("Contoso", workstations=6, servers=2)
    lines = [
        operator.world.add_line(contoso.agreement_id, product, 1)
        for product in (workstations, workstations, servers, servers)
    ]

    result = operator.sync()

    assert (result.code, result.writes) == (6, [])
    reason = trouble(result, "Contoso").reason
    assert all(f"{line.id} (1" in reason for line in lines)
    del operator.world.lines[lines[0].id], operator.world.lines[lines[2].id]
    assert "adopt" in operator.sync().holds("Contoso").values()


def test_a_login_that_two_step_verification_refuses_says_so(operator: Operator):
    operator.bill_as_one()
    contoso = operator.client("Contoso", workstations=6)
    operator.sandbox.ksc.account.two_step = True

    result = operator.sync()

    assert (result.code, contoso.quantities) == (4, {})
    assert (
        "two-step verification is required, exclude this account"
        in trouble(result, "Contoso").remedy
    )


def test_a_report_that_excel_saved_is_read(operator: Operator):
    product = operator.world.product("CLOUD", 2.0)
    operator.bill_as_one()
    operator.world.billing.bill(CLOUD, all=product)
    contoso = operator.client("Contoso", workstations=1)
    contoso.more_tenants.append("hub:Contoso Ltd")
    hub = BusinessHub(operator.world.now)
    hub.add_devices("Contoso Ltd", CLOUD, workstations=4)
    hub.saved_by_excel = True
    operator.sandbox.add(hub.part())

    assert (operator.sync().code, contoso.quantities[product.id]) == (0, 4)
