"""Who waits for whom: no device is on two lines, and nobody waits for ever."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from kisi.sandbox.world import APPLICATION, Client
from tests.e2e.conftest import Operator, Result

EDR = "Kaspersky EDR Optimum"
OPEN = """
[guards]
decrease_percent = 1000
increase_percent = 100000
run_percent = 1000
"""
"""Limits that nothing exceeds; what goes to 0, drifts and so on is held all the same."""


class Office:
    """Contoso has the tenants t1 and t2, Lab has t9; both are billed for two applications.

    Every tenant has 50, 60 and 120 workstations: 230 uses in all.
    """

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.products = {APPLICATION: operator.bill_as_one(), EDR: operator.bill_as_one(EDR)}
        self.t1 = operator.client("Contoso", workstations=50)
        self.t2 = operator.client("Second", workstations=60)
        self.t9 = operator.client("Lab", workstations=120)
        self.edr = {one.name: one.key(EDR) for one in (self.t1, self.t2, self.t9)}
        self.agreements = {"Contoso": self.t1.agreement_id, "Lab": self.t9.agreement_id}
        self.rows = {"Contoso": [self.t1, self.t2], "Lab": [self.t9]}
        self.off: set[str] = set()
        self.more = ""
        operator.by_hand()

    def guards(self, text: str) -> None:
        with self.operator.config.open("a", encoding="utf-8") as file:
            file.write(text)

    def write(self) -> None:
        parts = [
            f'[[application]]\nname = "{name}"\n[[product]]\napplication = "{name}"\nall = {product}\n'
            for name, product in self.products.items()
        ]
        for name, tenants in self.rows.items():
            refs = json.dumps([f"hq:{one.tenant}" for one in tenants])
            company = {"Contoso": self.t1, "Lab": self.t9}.get(name, self.t2).company_id
            parts.append(
                f'[[company]]\nname = "{name}"\ntenants = {refs}\ncompany = {company}\n'
                f"agreement = {self.agreements[name]}\n"
                f"billing = {str(name not in self.off).lower()}\n"
            )
            parts.append(self.more if name == "Contoso" else "")
        text = "\n".join(parts)
        (self.operator.folder / "mapping.toml").write_text(text, encoding="utf-8")

    def sync(self, *arguments: str, code: int | None = None) -> Result:
        self.write()
        result = self.operator.sync(*arguments)
        assert code in {None, result.code}, result.err
        assert self.billed() <= self.uses(), result.err
        return result

    def preview(self) -> dict[str, Any]:
        self.write()
        return self.operator.preview().document

    def ids(self) -> list[str]:
        """The ids of the clients that a guard holds, in the order of the mapping."""
        return [
            one["plan_id"]
            for one in self.preview()["companies"]
            if any((line["hold"] or {}).get("guard", "with") != "with" for line in one["lines"])
        ]

    def lines(self) -> dict[tuple[str, int], float]:
        """Client and product to what is billed."""
        return {
            (name, line.product_id): line.quantity or 0
            for name, agreement in self.agreements.items()
            for line in self.operator.world.additions(agreement)
            if line.cancelled_date is None
        }

    def billed(self) -> float:
        return sum(self.lines().values())

    def uses(self) -> int:
        clients = (self.t1, self.t2, self.t9)
        return sum(len(key.uses) for one in clients for key in one.server.keys)

    def relicense(self, client: Client, number: int) -> None:
        """Devices take the licence of the other application in place of what they had."""
        devices = {device.host_id: device for device in client.server.devices}
        for use in client.first_key.uses[:number]:
            client.first_key.uses.remove(use)
            self.edr[client.name].use(devices[use.host_id])

    def carry(self, old: Client, new: Client, number: int) -> None:
        """Devices go to another virtual server, and keep their ids."""
        for device in old.devices()[:number]:
            old.server.remove_device(device)
            new.server.devices.append(device)
            new.first_key.use(device)

    def right(self) -> dict[tuple[str, int], float]:
        """What each line must bill in the end; lines of 0 may be missing."""
        return {
            (name, product): number
            for name, tenants in self.rows.items()
            for application, product in self.products.items()
            if (
                number := sum(
                    len(key.uses)
                    for one in tenants
                    for key in one.server.keys
                    if key.name == application
                )
            )
        }

    def is_right(self) -> bool:
        return {key: number for key, number in self.lines().items() if number} == self.right()


@pytest.fixture
def office(operator: Operator) -> Iterator[Office]:
    office = Office(operator)
    office.sync(code=0)
    assert office.billed() == office.uses() == 230
    return office


def move_and_relicense(office: Office) -> None:
    """t2 moves to Lab, and 40 of its devices take another licence between the same two runs."""
    office.rows = {"Contoso": [office.t1], "Lab": [office.t9, office.t2]}
    office.relicense(office.t2, 40)


def carry(office: Office) -> None:
    """40 devices move from a virtual server of Contoso to Lab's."""
    office.carry(office.t2, office.t9, 40)


CHANGES = pytest.mark.parametrize("change", [move_and_relicense, carry])


@CHANGES
def test_devices_that_move_between_clients_are_never_billed_twice(office: Office, change):
    change(office)
    held = office.sync(code=6).company("Lab")
    for line in held["lines"]:
        if line["hold"]:
            assert "Contoso" in line["hold"]["reason"] or line["hold"]["guard"] != "with"
    assert office.billed() == 230
    office.sync("--accept", office.preview()["plan_id"], code=0)
    assert office.billed() == 230
    assert office.is_right()


@CHANGES
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_ids_in_any_order_in_one_command_or_two_reach_the_truth(
    office: Office, change, turned: bool, at_once: bool
):
    change(office)
    office.sync(code=6)
    ids = office.ids()
    ids = ids[::-1] if turned else ids
    if at_once:
        office.sync(*itertools.chain(*(("--accept", one) for one in ids)))
    else:
        for one in ids:
            office.operator.next_night()
            office.sync("--accept", one)
    assert office.is_right()
    office.sync(code=0)


@CHANGES
@pytest.mark.parametrize("only", ["Lab", "Contoso"])
def test_a_run_over_one_client_bills_nothing_twice(office: Office, change, only: str):
    change(office)
    office.guards(OPEN)
    office.sync("--only", only)
    assert office.billed() <= 230
    office.sync(code=0)
    assert office.is_right()


@CHANGES
def test_a_new_line_keeps_its_number_where_the_old_one_cannot_be_written(office: Office, change):
    change(office)
    office.guards(OPEN)
    patch = f"PATCH */agreements/{office.agreements['Contoso']}/additions/*"
    office.operator.sandbox.faults.add("status", match=patch, code=400, times=9)
    result = office.sync(code=7)
    assert office.lines()["Lab", office.products[APPLICATION]] == 120
    detail = json.dumps(result.company("Lab"), ensure_ascii=False)
    assert "Contoso" in result.err + detail
    office.operator.sandbox.faults.clear()
    office.sync(code=0)
    assert office.is_right()


@CHANGES
def test_where_no_guard_minds_everything_is_written_in_one_run(office: Office, change):
    change(office)
    office.guards(OPEN)
    office.sync(code=0)
    assert office.is_right()


def test_a_source_that_is_down_holds_what_its_devices_may_have_gone_to(office: Office):
    office.carry(office.t2, office.t9, 40)
    office.guards(OPEN)
    office.t1.server.enabled = False  # Contoso cannot be counted
    result = office.sync(code=4)
    (line,) = [one for one in result.company("Lab")["lines"] if one["action"] == "update"]
    assert line["hold"]["guard"] == "elsewhere"
    assert "Contoso" in line["hold"]["reason"]
    assert "could not be worked out in this run" in line["hold"]["reason"]
    assert office.billed() == 230
    office.t1.server.enabled = True
    office.sync(code=0)
    assert office.is_right()


def test_who_knows_better_releases_what_waits_for_a_client_that_is_not_read(office: Office):
    office.carry(office.t2, office.t9, 40)
    office.guards(OPEN)
    office.t1.server.enabled = False
    office.sync(code=4)
    (plan_id,) = office.ids()
    office.operator.world.additions(office.agreements["Contoso"])[0].quantity = 70.0
    office.sync("--accept", plan_id)
    assert office.lines()["Lab", office.products[APPLICATION]] == 160


def exchange(operator: Operator) -> tuple[Client, Client]:
    """Two clients, by category, whose tenants are of very different kinds."""
    operator.bill_by_category()
    one = operator.client("Alpha", workstations=60, servers=5)
    two = operator.client("Beta", workstations=5, servers=60)
    operator.by_hand()
    operator.sync()
    mapping = operator.folder / "mapping.toml"
    text = mapping.read_text(encoding="utf-8")
    first, second = one.tenant, two.tenant
    text = text.replace(first, "X").replace(second, first).replace("X", second)
    mapping.write_text(text, encoding="utf-8")
    return one, two


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_two_clients_that_exchange_tenants_by_category_end_with_their_ids_in_any_order(
    operator: Operator, turned: bool, at_once: bool
):
    one, two = exchange(operator)
    held = operator.sync()
    assert held.code == 6
    billed = sorted([*one.quantities.values(), *two.quantities.values()])
    assert billed == [5, 5, 60, 60]
    companies = held.document["companies"]
    ids = [client["plan_id"] for client in companies]
    for client in companies:  # each hold prints the one command with all ids
        for line in client["lines"]:
            if line["hold"] is not None:
                assert all(plan_id in line["hold"]["remedy"] for plan_id in ids)
    ids = ids[::-1] if turned else ids
    if at_once:
        operator.sync("--accept", ids[0], "--accept", ids[1])
    else:
        waiting = operator.sync("--accept", ids[0])
        assert waiting.code == 6
        assert sorted([*one.quantities.values(), *two.quantities.values()]) == billed
        operator.next_night()
        again = operator.sync("--accept", ids[0])  # pasted again every night
        assert again.code == 6
        operator.next_night()
        operator.sync("--accept", ids[1])
    workstations, servers = sorted(one.quantities)
    assert one.quantities == {workstations: 5, servers: 60}
    assert two.quantities == {workstations: 60, servers: 5}
    assert operator.sync().code == 0


def test_a_tenant_that_moves_with_both_changes_on_hold_ends_with_both_ids(office: Office):
    """An operator pastes both ids."""
    office.rows = {"Contoso": [office.t1], "Lab": [office.t9, office.t2]}
    office.guards("\n[guards]\nincrease_percent = 10\ndecrease_percent = 10\n")
    held = office.sync(code=6).document
    old, new = (client["plan_id"] for client in held["companies"])
    office.sync("--accept", old, "--accept", new, code=0)
    assert office.is_right()
    used = office.sync("--accept", old)
    assert used.code == 6
    assert "was accepted before" in used.err


def test_what_is_managed_by_hand_stops_nobody(office: Office):
    office.more = f'[[company.product]]\napplication = "{EDR}"\nbill = false\n'
    office.relicense(office.t2, 3)
    office.guards(OPEN)
    office.sync(code=0)
    office.t1.add_devices(n=2)
    office.sync(code=0)
    assert office.lines()["Contoso", office.products[APPLICATION]] == 109


def test_a_row_is_removed_and_its_tenants_are_given_to_a_new_one(office: Office):
    office.guards(OPEN)
    office.agreements["New"] = office.t2.agreement_id
    office.rows = {"New": [office.t1, office.t2], "Lab": [office.t9]}
    held = office.sync(code=6)
    assert held.holds("New")  # the orphan, and what waits for it
    office.sync("--accept", held.company("New")["plan_id"], code=0)
    assert office.lines()["New", office.products[APPLICATION]] == 110
    assert office.lines()["Contoso", office.products[APPLICATION]] == 0
    assert office.is_right()


@pytest.mark.parametrize("how", ["ended", "zeroed", "deleted", "cancelled"])
def test_a_line_that_a_person_has_ended_is_no_longer_waited_for(office: Office, how: str):
    """Contoso is switched off, and its tenant is billed at Lab."""
    office.guards(OPEN)
    office.off = {"Contoso"}
    office.rows["Lab"] = [office.t9, office.t2]
    office.rows["Contoso"] = [office.t1]
    for _ in range(2):
        result = office.sync(code=6)
        assert result.holds("Lab") == {str(office.products[APPLICATION]): "elsewhere"}
    world = office.operator.world
    (line,) = world.additions(office.agreements["Contoso"])
    if how == "ended":
        world.agreements[office.agreements["Contoso"]].cancelled = True
    elif how == "zeroed":
        line.quantity = 0.0
    elif how == "deleted":
        del world.lines[line.id]
    else:
        line.cancelled_date = world.now()
    office.write()
    assert office.operator.sync().code == 0
    assert office.lines()["Lab", office.products[APPLICATION]] == 180
