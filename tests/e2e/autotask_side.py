"""The Autotask beside an operator's ConnectWise: contracts, their units, rows of the mapping."""

from __future__ import annotations

from datetime import date, timedelta

from kisi.sandbox.autotask import ADJUSTMENTS, Autotask, Contract, company_row, product_row
from kisi.sandbox.ksc_records import VirtualServer
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator, Result

ADJUST = f"POST */{ADJUSTMENTS}"


class AutotaskSide:
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


def adjustments(result: Result) -> int:
    """How many writes a command sent to Autotask."""
    return sum(one.path.endswith(ADJUSTMENTS) for one in result.sent_to("autotask"))
