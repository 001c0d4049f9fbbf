"""The Tigerpaw beside an operator's ConnectWise: accounts, agreements, charges, rows of mapping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kisi.sandbox.http import Logged
from kisi.sandbox.ksc_records import VirtualServer
from kisi.sandbox.tigerpaw import SOAP_PATH, Tigerpaw, company_row, product_row
from kisi.sandbox.tigerpaw_records import Agreement, Charge, Item
from kisi.sandbox.world import APPLICATION
from tests.e2e.conftest import Operator, Result

Exceptions = Iterable[Mapping[str, str | int | bool]]


@dataclass(slots=True)
class TigerpawClient:
    """A client with a virtual server that is billed in Tigerpaw."""

    tigerpaw: Tigerpaw
    server: VirtualServer
    agreement: Agreement

    @property
    def charges(self) -> list[Charge]:
        """The agreement's charges."""
        return self.tigerpaw.charges(self.agreement)

    @property
    def quantities(self) -> dict[str, int]:
        """Item to quantity of the recurring charges, of which no item has two."""
        recurring = [charge for charge in self.charges if not charge.one_time]
        quantities = {charge.item: charge.quantity for charge in recurring}
        assert len(quantities) == len(recurring), recurring
        return quantities

    def charge(self, item: str | Item) -> Charge:
        """Its only charge of an item."""
        identity = item if isinstance(item, str) else item.id
        (found,) = [charge for charge in self.charges if charge.item == identity]
        return found

    def add_devices(self, kind: str, count: int = 1) -> None:
        """More devices that use its key."""
        for _ in range(count):
            self.server.keys[0].use(self.server.add_device(kind))

    def remove_devices(self, count: int = 1) -> None:
        """The newest devices go."""
        for device in self.server.devices[-count:]:
            self.server.remove_device(device)


class TigerpawSide:
    """A Tigerpaw that an operator's sandbox serves as `[psa.tp]`.

    Attributes:
        tigerpaw: The simulated Tigerpaw.
        part: What the sandbox serves and writes into the configuration.
    """

    def __init__(self, operator: Operator, *, write: str = "soap") -> None:
        sandbox = operator.sandbox
        self.world = operator.world
        self.tigerpaw = Tigerpaw(self.world.now)
        server = self.tigerpaw.serve(faults=sandbox.faults, log=sandbox.log)
        self.part = self.tigerpaw.part(server, write=write)
        sandbox.add(self.part)

    def configure(self, **settings: str) -> None:
        """Changes values in the section, given as TOML."""
        for key, value in settings.items():
            lines = self.part.config.splitlines()
            kept = [line for line in lines if not line.startswith(f"{key} =")]
            self.part.config = "\n".join([*kept, f"{key} = {value}", ""])

    def row(self, text: str) -> None:
        """Adds a row to mapping.toml."""
        self.part.mapping = f"{self.part.mapping}\n{text}"

    def bill_by_category(self) -> tuple[str, str, str]:
        """The application as three items; those for workstations, servers, the rest."""
        workstations, servers, others = (
            self.tigerpaw.item("KES-WS", 4.5),
            self.tigerpaw.item("KES-SRV", 9.0),
            self.tigerpaw.item("KES-X", 3.5),
        )
        self.bill(
            APPLICATION,
            windows_workstations=workstations,
            windows_servers=servers,
            non_windows=others,
        )
        return workstations.id, servers.id, others.id

    def bill_as_one(self, application: str = APPLICATION, *, unit: str = "device") -> str:
        """An application as one item."""
        item = self.tigerpaw.item(f"ALL-{len(self.tigerpaw.items)}")
        self.bill(application, unit=unit, all=item)
        return item.id

    def bill(self, application: str, *, unit: str = "device", **products: Item) -> None:
        """Bills an application that may be billed in ConnectWise already."""
        known = {row.name for row in self.world.billing.applications}
        if application in known:
            self.row(product_row(application, **products))
        else:
            ids = {category: item.id for category, item in products.items()}
            self.world.billing.bill(application, unit=unit, psa="tp", **ids)

    def client(
        self,
        name: str,
        *,
        cross_referenced: bool = True,
        more_tenants: Iterable[str] = (),
        exceptions: Exceptions = (),
        **devices: Any,
    ) -> TigerpawClient:
        """A client with a virtual server, an account and an agreement."""
        server = self.world.tenant(name, **devices)
        account = self.tigerpaw.account(name, cross_referenced=cross_referenced)
        agreement = self.tigerpaw.agreement(account)
        tenants = [f"hq:{server.uid}", *more_tenants]
        self.row(company_row(name, tenants, agreement, exceptions))
        return TigerpawClient(self.tigerpaw, server, agreement)


def submits(result: Result) -> list[Logged]:
    """The writes that a command sent to Tigerpaw."""
    return [one for one in result.sent_to("tigerpaw") if one.path == SOAP_PATH]
