"""Business Hub: reports become lines beside those of Security Center, or nothing at all."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from kisi.sandbox.business_hub import BusinessHub
from kisi.sandbox.configuration import company_row
from kisi.sandbox.world import Client, World
from kisi.transport import Clock
from tests.e2e.conftest import NOW, Operator, Result
from tests.e2e.tigerpaw_side import TigerpawSide, submits

OFFICE = "Kaspersky Security for Microsoft Office 365"
CLOUD = "Kaspersky Endpoint Security Cloud"
CLOUD_PLUS = "Kaspersky Endpoint Security Cloud Plus"


@pytest.fixture
def hub(operator: Operator) -> BusinessHub:
    """A Business Hub whose reports are in the configuration once `serve` was called."""
    return BusinessHub(operator.world.now)


def serve(operator: Operator, hub: BusinessHub, *rows: str) -> None:
    operator.sandbox.add(hub.part("\n".join(rows)))


def mailboxes(world: World) -> int:
    """Bills mailboxes, and returns the product."""
    product = world.product("O365", 1.1)
    world.billing.bill(OFFICE, unit="mailbox", all=product)
    return product.id


def hub_client(world: World, name: str) -> tuple[str, Callable[[], dict[int, float | None]]]:
    """A client without a virtual server: its row of mapping.toml, and what it is billed."""
    company = world.company(name)
    agreement = world.agreement(company)
    row = company_row(name, [f"hub:{name}"], psa="cw", company=company.id, agreement=agreement.id)

    def quantities() -> dict[int, float | None]:
        lines = world.additions(agreement.id)
        found = {line.product_id: line.quantity for line in lines}
        assert len(found) == len(lines), lines
        return found

    return row, quantities


def contoso_on_both_sides(operator: Operator, hub: BusinessHub) -> Client:
    """40 devices in Security Center, 25 mailboxes in Business Hub."""
    contoso = operator.client("Contoso", workstations=36, servers=4)
    contoso.more_tenants.append("hub:Contoso Ltd")
    hub.licence("Contoso Ltd", OFFICE, 25, category="mailboxes")
    return contoso


# --- mailboxes, users, devices --------------------------------------------------------------------


def test_devices_and_mailboxes_of_one_client_are_on_one_agreement(operator, hub):
    devices, boxes = operator.bill_as_one(), mailboxes(operator.world)
    contoso = contoso_on_both_sides(operator, hub)
    serve(operator, hub)

    result = operator.sync()

    assert contoso.quantities == {devices: 40, boxes: 25}
    assert (result.code, len(result.writes)) == (0, 2)
    operator.next_night()
    again = operator.sync()
    assert (again.code, again.writes) == (0, [])


def test_devices_and_mailboxes_of_one_client_are_on_one_agreement_of_tigerpaw(operator, hub):
    side = TigerpawSide(operator)
    devices, boxes = side.bill_as_one(), side.bill_as_one(OFFICE, unit="mailbox")
    contoso = side.client("Contoso", more_tenants=["hub:Contoso"], workstations=40)
    hub.licence("Contoso", OFFICE, 25)
    serve(operator, hub)

    assert operator.sync().code == 0

    assert contoso.quantities == {devices: 40, boxes: 25}
    operator.next_night()
    assert submits(operator.sync()) == []


def test_what_a_newer_report_says_is_written_and_nothing_else(operator, hub):
    devices, boxes = operator.bill_as_one(), mailboxes(operator.world)
    contoso = contoso_on_both_sides(operator, hub)
    serve(operator, hub)
    operator.sync()

    operator.next_night()
    hub.licences[0].quantity = 28
    result = operator.sync()

    assert contoso.quantities == {devices: 40, boxes: 28}
    assert len(result.writes) == 1
    assert len(list((operator.folder / "exports").iterdir())) == 2


def test_ten_desktops_and_thirty_three_mobiles_are_seventeen_users(operator, hub):
    product = operator.world.product("CLOUD-PLUS")
    operator.world.billing.bill(CLOUD_PLUS, unit="user", all=product)
    row, quantities = hub_client(operator.world, "Bellows College")
    hub.add_devices("Bellows College", CLOUD_PLUS, workstations=8, servers=1, macs=1)
    hub.add_devices("Bellows College", CLOUD_PLUS, android=20, ios=13)
    serve(operator, hub, row)

    assert operator.sync().code == 0

    assert quantities() == {product.id: 17}


def test_users_are_not_guessed_from_a_number_of_non_windows_devices(operator, hub):
    product = operator.world.product("CLOUD-PLUS")
    operator.world.billing.bill(CLOUD_PLUS, unit="user", all=product)
    guess, nothing = hub_client(operator.world, "Bellows College")
    users, quantities = hub_client(operator.world, "Lamna")
    hub.licence("Bellows College", CLOUD_PLUS, 10, category="windows_workstations")
    hub.licence("Bellows College", CLOUD_PLUS, 32, category="non_windows")
    hub.licence("Lamna", CLOUD_PLUS, 16)
    serve(operator, hub, guess, users)

    result = operator.sync()

    assert (result.code, nothing(), quantities()) == (6, {}, {product.id: 16})
    assert "Bellows College (category: " in result.last_line
    assert "32 non-Windows devices" in result.company("Bellows College")["reason"]


def test_ten_desktops_and_thirty_three_mobiles_in_security_center_are_seventeen_users(operator):
    product = operator.world.product("CLOUD-PLUS")
    operator.world.billing.bill(CLOUD_PLUS, unit="user", all=product)
    college = operator.client(
        "Bellows College", application=CLOUD_PLUS, workstations=9, servers=1, android=20, ios=13
    )

    assert operator.sync().code == 0

    assert college.quantities == {product.id: 17}


def test_a_device_list_is_billed_by_category_like_security_center(operator, hub):
    workstations, servers, others = operator.bill_by_category(CLOUD)
    row, quantities = hub_client(operator.world, "Bellows College")
    hub.add_devices("Bellows College", CLOUD, workstations=8, servers=2, macs=1, ios=3)
    serve(operator, hub, row)

    assert operator.sync().code == 0

    assert quantities() == {workstations: 8, servers: 2, others: 4}


def test_quantities_by_category_are_billed_by_category(operator, hub):
    workstations, servers, _ = operator.bill_by_category(CLOUD)
    row, quantities = hub_client(operator.world, "Bellows College")
    for category, quantity in (("windows_workstations", 38), ("windows_servers", 2)):
        hub.licence("Bellows College", CLOUD, quantity, category=category)
    serve(operator, hub, row)

    assert operator.sync().code == 0

    assert quantities() == {workstations: 38, servers: 2}


def test_a_total_of_what_is_billed_by_category_is_refused_and_others_are_billed(operator, hub):
    operator.bill_by_category(CLOUD)
    boxes = mailboxes(operator.world)
    total, nothing = hub_client(operator.world, "Bellows College")
    other, quantities = hub_client(operator.world, "Lamna")
    hub.licence("Bellows College", CLOUD, 40)
    hub.licence("Lamna", OFFICE, 9)
    serve(operator, hub, total, other)

    result = operator.sync()

    assert (result.code, nothing(), quantities()) == (6, {}, {boxes: 9})
    assert f"only a total for {CLOUD}" in result.company("Bellows College")["reason"]


def test_licences_that_are_not_in_force_do_not_count(operator, hub):
    boxes = mailboxes(operator.world)
    row, quantities = hub_client(operator.world, "Lamna")
    hub.licence("Lamna", OFFICE, 9)
    hub.licence("Lamna", OFFICE, 40, status="Expired")
    serve(operator, hub, row)

    assert operator.sync().code == 0

    assert quantities() == {boxes: 9}


@pytest.mark.parametrize("expired_first", [True, False])
def test_a_device_whose_licence_was_replaced_is_billed_once_in_any_order(
    operator, hub, expired_first
):
    devices = operator.bill_as_one(CLOUD)
    row, quantities = hub_client(operator.world, "Lamna")
    hub.add_devices("Lamna", CLOUD, workstations=3)
    replaced = dataclasses.replace(hub.devices[1], status="Expired")
    hub.devices.insert(0 if expired_first else 3, replaced)
    serve(operator, hub, row)

    assert operator.sync().code == 0

    assert quantities() == {devices: 3}


def test_an_active_row_that_is_there_twice_fails_the_source(operator, hub):
    operator.bill_as_one(CLOUD)
    row, quantities = hub_client(operator.world, "Lamna")
    hub.add_devices("Lamna", CLOUD, workstations=3)
    hub.devices.append(hub.devices[1])
    serve(operator, hub, row)

    result = operator.sync()

    assert (result.code, quantities()) == (4, {})
    assert "line 5: it repeats line 3" in result.company("Lamna")["reason"]


def test_usage_that_no_row_bills_is_shown_with_its_quantity(operator, hub):
    devices = operator.bill_as_one()
    contoso = contoso_on_both_sides(operator, hub)
    serve(operator, hub)

    result = operator.sync()

    assert (result.code, contoso.quantities) == (6, {devices: 40})
    (use,) = result.document["unmapped"]["applications"]
    assert (use["company"], use["application"], use["quantity"]) == ("Contoso", OFFICE, 25)


# --- reports that are no numbers ------------------------------------------------------------------


def test_a_report_that_is_too_old_fails_its_clients_and_they_keep_their_lines(operator, hub):
    devices, boxes = operator.bill_as_one(), mailboxes(operator.world)
    contoso = contoso_on_both_sides(operator, hub)
    fabrikam = operator.client("Fabrikam", workstations=5)
    hub.exported = NOW - timedelta(hours=1)
    serve(operator, hub)
    assert operator.sync().code == 0

    operator.next_night(4)
    contoso.add_devices()
    fabrikam.add_devices()
    hub.licences[0].quantity = 3
    result = operator.sync()

    assert result.code == 4
    assert contoso.quantities == {devices: 40, boxes: 25}
    assert fabrikam.quantities == {devices: 6}
    reason = result.company("Contoso")["reason"]
    assert "licences-2026-10-14.csv" in reason
    assert "97 hours ago" in reason
    assert "`max_age_hours` is 72" in reason
    assert result.last_line.startswith("1 of 2 clients up to date; need attention: Contoso (")


def test_a_company_that_left_the_report_is_missing_and_not_zero(operator, hub):
    boxes = mailboxes(operator.world)
    lamna, of_lamna = hub_client(operator.world, "Lamna")
    bellows, of_bellows = hub_client(operator.world, "Bellows College")
    hub.licence("Lamna", OFFICE, 9)
    gone = hub.licence("Bellows College", OFFICE, 7)
    serve(operator, hub, lamna, bellows)
    operator.sync()

    hub.licences.remove(gone)
    hub.licences[0].quantity = 10
    result = operator.sync()

    assert result.code == 4
    assert (of_lamna(), of_bellows()) == ({boxes: 10}, {boxes: 7})
    assert "hub:Bellows College does not exist" in result.company("Bellows College")["reason"]


Damage = Callable[[bytes], bytes]

REPORT_HEAD = b"Company,Application,Category,Quantity,Status"
BROKEN: list[tuple[str, Damage, str]] = [
    (
        "a missing column",
        lambda text: text.replace(b"Quantity", b"Menge"),
        'it has no column quantity ("quantity")',
    ),
    (
        "an unreadable number",
        lambda text: text.replace(b",25,", b',"1.000",'),
        ', line 2: the quantity "1.000" is not a whole number',
    ),
    ("a truncated last line", lambda text: text[:-2], ", line 3: the last line has no end"),
    (
        "a last line with too few cells",
        lambda text: text[: text.rindex(b",")] + b"\r\n",
        ", line 3: the row has 4 cells and the heading line 5",
    ),
    (
        "the same record twice",
        lambda text: text + text.splitlines(keepends=True)[1],
        ", line 4: it repeats line 2",
    ),
    (
        "a company in two spellings",
        lambda text: text.replace(b"Lamna", b"CONTOSO LTD"),
        ', line 3: the company "CONTOSO LTD" is spelled "Contoso Ltd" in line 2',
    ),
    (
        "a status that nobody knows",
        lambda text: text.replace(b"9,Active", b"9,Pending"),
        ', line 3: the licence status "Pending" is not known',
    ),
    ("headings alone", lambda _: REPORT_HEAD + b"\r\n", "headings and not one row"),
    ("nothing", lambda _: b"", "it is empty"),
    ("no text", lambda text: b"\x00" + text, "NUL character"),
]


@pytest.mark.parametrize(
    ("damage", "says"), [pytest.param(*rest, id=name) for name, *rest in BROKEN]
)
def test_a_report_with_anything_wrong_is_not_used_at_all(operator, hub, damage, says):
    devices, boxes = operator.bill_as_one(), mailboxes(operator.world)
    contoso = contoso_on_both_sides(operator, hub)
    fabrikam = operator.client("Fabrikam", workstations=5)
    row, of_lamna = hub_client(operator.world, "Lamna")
    hub.licence("Lamna", OFFICE, 9)
    serve(operator, hub, row)
    operator.sync()

    operator.by_hand()
    contoso.add_devices()
    fabrikam.add_devices()
    (report,) = (operator.folder / "exports").iterdir()
    replace(report, damage(report.read_bytes().replace(b"\xef\xbb\xbf", b"")))
    result = operator.sync()

    assert result.code == 4
    assert contoso.quantities == {devices: 40, boxes: 25}
    assert of_lamna() == {boxes: 9}
    assert fabrikam.quantities == {devices: 6}
    for name in ("Contoso", "Lamna"):
        reason = result.company(name)["reason"]
        assert str(report) in reason
        assert says in reason


def replace(report: Path, content: bytes) -> None:
    """Exports a report again, at the same time as before."""
    modified = report.stat().st_mtime_ns
    report.write_bytes(content)
    os.utime(report, ns=(modified, modified))


def still_written(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Result:
    """A run that finds a report of this moment, which grows while kisi waits for it to settle."""
    (report,) = (operator.folder / "exports").iterdir()
    now = operator.world.now().timestamp()
    os.utime(report, (now, now))
    wait = Clock.sleep

    def write_on(clock: Clock, seconds: float) -> None:
        with report.open("ab") as file:
            file.write(f"Late Ltd,{OFFICE},all,4,Active\r\n".encode())
        os.utime(report, (now + 1, now + 1))
        wait(clock, seconds)

    monkeypatch.setattr(Clock, "sleep", write_on)
    return operator.sync()


def test_a_report_that_is_still_being_written_is_not_used_at_all(operator, hub, monkeypatch):
    devices, boxes = operator.bill_as_one(), mailboxes(operator.world)
    contoso = contoso_on_both_sides(operator, hub)
    serve(operator, hub)
    operator.sync()

    operator.by_hand()
    contoso.add_devices()
    result = still_written(operator, monkeypatch)

    assert result.code == 4
    assert contoso.quantities == {devices: 40, boxes: 25}
    reason = result.company("Contoso")["reason"]
    assert "licences-2026-10-14.csv" in reason
    assert "it is still being written" in reason


def test_without_any_report_its_clients_keep_their_lines(operator, hub):
    boxes = mailboxes(operator.world)
    row, quantities = hub_client(operator.world, "Lamna")
    hub.licence("Lamna", OFFICE, 9)
    serve(operator, hub, row)
    operator.sync()

    operator.by_hand()
    for report in (operator.folder / "exports").iterdir():
        report.unlink()
    result = operator.sync()

    assert (result.code, quantities()) == (4, {boxes: 9})
    assert "No report file fits the pattern" in result.company("Lamna")["reason"]


def test_the_figures_are_as_old_as_their_report(operator, hub):
    mailboxes(operator.world)
    row, _ = hub_client(operator.world, "Lamna")
    hub.licence("Lamna", OFFICE, 9)
    hub.exported = NOW - timedelta(hours=30)
    serve(operator, hub, row)
    operator.sync()

    told = operator.run("explain", "Lamna", "--json").out

    assert f"{hub.exported:%Y-%m-%dT%H:%M}" in told


# --- a source that no client has ------------------------------------------------------------------


def test_usage_in_a_source_that_no_client_has_is_not_ready(operator, hub):
    boxes = mailboxes(operator.world)
    row, quantities = hub_client(operator.world, "Contoso")
    hub.licence("Contoso", OFFICE, 25, category="mailboxes")
    serve(operator, hub, row)
    operator.world.tenant("Newcomer", workstations=12)

    result = operator.sync()

    assert quantities() == {boxes: 25}
    assert "1 tenant unmapped" in result.last_line
    ready = operator.run("status", "--ready")
    assert ready.code == 6
    assert "Newcomer" in ready.out + ready.err


def test_a_source_that_no_client_has_and_that_is_down_is_named_and_bills_everybody(operator, hub):
    boxes = mailboxes(operator.world)
    row, quantities = hub_client(operator.world, "Contoso")
    hub.licence("Contoso", OFFICE, 25, category="mailboxes")
    serve(operator, hub, row)
    operator.sandbox.faults.add("status", match="Session.*", times=None, code=401)

    result = operator.sync()

    assert quantities() == {boxes: 25}
    assert result.code == 0
    (note,) = result.document["notes"]
    assert note.startswith("Whether somebody uses this source whom nobody is billed for is not")
