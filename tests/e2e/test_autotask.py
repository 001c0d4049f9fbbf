"""Autotask: units reach what clients use, by adjustments that are never sent twice."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from kisi.sandbox.autotask import Autotask, Contract, company_row, product_row
from kisi.sandbox.ksc_records import VirtualServer
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator, Result

ADJUST = "POST */ContractServiceAdjustments"


class Side:
    """An Autotask that the operator's sandbox serves as `[psa.at]`, and what is in it."""

    def __init__(self, operator: Operator, effective: str) -> None:
        self.world, sandbox = operator.world, operator.sandbox
        self.autotask = Autotask(self.world.now)
        server = self.autotask.serve(faults=sandbox.faults, log=sandbox.log)
        self.part = self.autotask.part(server, effective=effective)
        sandbox.add(self.part)
        self.servers: dict[str, VirtualServer] = {}
        self.contracts: dict[str, Contract] = {}

    def bill(self, **names: str) -> dict[str, int]:
        """The application by these services; returns their ids."""
        ids = {category: self.autotask.service(name) for category, name in names.items()}
        self.world.billing.bill(APPLICATION, psa="at", **ids)
        return ids

    def bill_in_both(self, **names: str) -> dict[str, int]:
        """The same where ConnectWise bills it too."""
        ids = {category: self.autotask.service(name) for category, name in names.items()}
        self.part.mapping += product_row(APPLICATION, **ids)
        return ids

    def client(self, name: str, tenant: VirtualServer | None = None, **devices: int) -> Contract:
        """A client with a contract on which all services are ready."""
        server = tenant or self.world.tenant(name, **devices)
        contract = self.autotask.contract(self.autotask.company(name))
        for service in self.autotask.services:
            self.autotask.add_service(contract, service)
        self.servers[name], self.contracts[name] = server, contract
        self.part.mapping += company_row(name, [f"hq:{server.uid}"], contract)
        return contract

    def units(self, name: str, day: date | None = None) -> dict[int, int]:
        """The units of each service of a client's contract that has any on a day."""
        lines = self.autotask.lines.values()
        mine = [one for one in lines if one.contract == self.contracts[name].id]
        found = {one.service: one.units(day or self.autotask.today) for one in mine}
        return {service: units for service, units in found.items() if units}

    def next_month(self, name: str) -> dict[int, int]:
        """The same in the next period."""
        first = (self.autotask.today.replace(day=1) + timedelta(days=32)).replace(day=1)
        return self.units(name, first)

    def use(self, name: str, change: int) -> None:
        """More workstations, or fewer, use the key of a client."""
        server = self.servers[name]
        for _ in range(change):
            server.keys[0].use(server.add_device("workstation"))
        for device in server.devices[: max(0, -change)]:
            server.remove_device(device)


def sent(result: Result) -> int:
    return sum(one.path.endswith("Adjustments") for one in result.sent_to("autotask"))


@pytest.fixture
def effective() -> str:
    return "period_start"


@pytest.fixture
def side(operator: Operator, effective: str) -> Side:
    return Side(operator, effective)


def test_ninety_workstations_and_ten_servers_become_units_of_two_services(operator, side):
    ids = side.bill(windows_workstations="KES-WS", windows_servers="KES-SRV", non_windows="KES-X")
    side.client("Contoso", workstations=90, servers=10)

    first = operator.sync()
    wanted = {ids["windows_workstations"]: 90, ids["windows_servers"]: 10}
    assert (first.code, sent(first)) == (0, 2)
    assert side.units("Contoso") == side.next_month("Contoso") == wanted
    assert first.last_line == "1 of 1 clients up to date."

    operator.next_night()
    again = operator.sync()
    assert (again.code, sent(again)) == (0, 0)
    assert again.document["summary"]["unchanged"] == 2
    assert side.units("Contoso") == wanted


def test_ten_daily_runs_with_one_future_decrease_send_one_adjustment(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=34)
    assert operator.sync().code == 0
    side.use("Contoso", -4)
    nights = []
    for _ in range(10):
        operator.next_night()
        nights.append(operator.sync())
    assert [result.code for result in nights] == [0] * 10
    assert [sent(result) for result in nights] == [1] + [0] * 9
    assert side.units("Contoso", date(2026, 10, 31)) == {ids["all"]: 34}
    assert side.units("Contoso", date(2026, 11, 1)) == {ids["all"]: 30}


def test_a_lost_answer_is_read_and_never_repeated(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=20)
    operator.sync()
    side.use("Contoso", 5)
    operator.next_night()
    operator.sandbox.faults.add("lost", match=ADJUST, after=1)
    result = operator.sync()
    # The start of the period has an adjustment already, and is refused; today's answer is lost.
    assert (result.code, sent(result)) == (0, 2)
    assert side.units("Contoso") == {ids["all"]: 25}


def test_an_adjustment_that_shows_after_the_run_is_not_sent_again_by_the_next(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=20)
    operator.sync()
    side.use("Contoso", 5)
    operator.next_night()
    side.autotask.late = timedelta(minutes=5)
    operator.sandbox.faults.add("lost", match=ADJUST, after=1)
    first = operator.sync()
    assert (first.code, sent(first)) == (7, 2)
    operator.next_night()
    again = operator.sync()
    assert sent(again) == 0
    assert side.units("Contoso") == {ids["all"]: 25}


def test_a_service_that_the_contract_lacks_is_named_and_not_made(operator, side):
    ids = side.bill(all="KES")
    contract = side.client("Contoso", workstations=20)
    side.client("Fabrikam", workstations=7)
    for one in [x for x in side.autotask.lines.values() if x.contract == contract.id]:
        del side.autotask.lines[one.id]
    result = operator.sync()
    assert result.code == 7
    assert "add it to the contract in Autotask, with 0 units" in result.err.replace("\n", " ")
    assert side.units("Contoso") == {}
    assert side.units("Fabrikam") == {ids["all"]: 7}


def test_a_contract_that_rolled_over_fails_its_client_alone(operator, side):
    ids = side.bill(all="KES")
    side.client("Contoso", workstations=20).ends = side.autotask.today - timedelta(days=1)
    side.client("Fabrikam", workstations=7)
    result = operator.sync()
    assert result.code == 6
    assert result.company("Contoso")["status"] == "failed"
    assert side.units("Contoso") == {}
    assert side.units("Fabrikam") == {ids["all"]: 7}


def test_a_tenant_that_moves_from_connectwise_is_billed_here_once_it_is_down_there(operator, side):
    product = operator.bill_as_one()
    ids = side.bill_in_both(all="KES")
    old, rest = operator.client("Contoso", workstations=40), operator.world.tenant("Rest")
    assert operator.sync().code == 0
    moved = old.server
    old.server = rest
    rest.keys[0].use(rest.add_device("workstation"))
    operator.next_night()
    side.client("Lab", tenant=moved)

    held = operator.sync()
    assert held.code == 6
    assert (old.quantities, side.units("Lab")) == ({product: 40}, {})
    accepted = operator.sync("--accept", held.company("Contoso")["plan_id"])
    assert accepted.code == 0
    assert (old.quantities, side.units("Lab")) == ({product: 1}, {ids["all"]: 40})
