"""Who is billed for what: the simulated world's clients, and what `mapping.toml` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kisi.sandbox.agreements import Addition, Agreement, CatalogItem, PsaCompany
from kisi.sandbox.licences import SYSTEMS, Device, Key, OperatingSystem, VirtualServer

if TYPE_CHECKING:
    from kisi.sandbox.world import World


@dataclass(slots=True)
class BilledApplication:
    """An application and the products that bill it."""

    name: str
    products: dict[str, int | str]
    """`all`, or the three categories, to product ids; empty: it is never billed."""
    keys: Sequence[str] = ()
    unit: str = "device"
    psa: str = "cw"


@dataclass(slots=True)
class Billing:
    """The general rows of `mapping.toml`."""

    applications: list[BilledApplication] = field(default_factory=list)

    def bill(
        self,
        application: str,
        *,
        keys: Sequence[str] = (),
        unit: str = "device",
        psa: str = "cw",
        **products: CatalogItem | int | str,
    ) -> BilledApplication:
        """Bill an application by `all=`, or by category; without products it is never billed."""
        ids = {
            category: item.id if isinstance(item, CatalogItem) else item
            for category, item in products.items()
        }
        row = BilledApplication(application, ids, keys, unit, psa)
        self.applications.append(row)
        return row


@dataclass(slots=True)
class Client:
    """A client on both sides: the handle that tests hold."""

    world: World
    server: VirtualServer
    company: PsaCompany
    agreement: Agreement
    mapped: bool = True
    exceptions: list[dict[str, str | int | bool]] = field(default_factory=list)
    """`[[company.product]]` rows."""
    billing: bool = True
    """The toggle in `mapping.toml`."""
    more_tenants: list[str] = field(default_factory=list)
    """Further tenants of the same company, as `source:tenant`."""
    alongside: list[int] = field(default_factory=list)
    """Other agreements of the company that bill the same products on purpose."""

    @property
    def name(self) -> str:
        """The company's name in the PSA."""
        return self.company.name

    @property
    def tenant(self) -> str:
        """The tenant id: the virtual server's `KLVSRV_UID`."""
        return self.server.uid

    @property
    def company_id(self) -> int:
        """The company's id in the PSA."""
        return self.company.id

    @property
    def agreement_id(self) -> int:
        """The agreement's id in the PSA."""
        return self.agreement.id

    @property
    def additions(self) -> list[Addition]:
        """The agreement's lines."""
        return self.world.additions(self.agreement.id)

    @property
    def quantities(self) -> dict[int, float | None]:
        """Product id to quantity of the lines that are not cancelled.

        Raises:
            AssertionError: A product has two such lines.
        """
        live = [line for line in self.additions if line.cancelled_date is None]
        quantities = {line.product_id: line.quantity for line in live}
        if len(quantities) != len(live):
            raise AssertionError(f"{self.name} has two lines of one product: {live}")
        return quantities

    @property
    def first_key(self) -> Key:
        """The key that `add_devices` uses."""
        return self.server.keys[0]

    def key(
        self,
        name: str = "",
        *,
        kind: str = "subscription",
        devices: Sequence[Device] | None = None,
        **attributes: object,
    ) -> Key:
        """Add a key to the client's virtual server.

        Args:
            name: The key name; default: the first key's.
            kind: As in `World.make_key`.
            devices: The devices that use it.
            attributes: Fields of `Key` to set.
        """
        key = self.world.make_key(name or self.first_key.name, kind=kind)
        for attribute, value in attributes.items():
            setattr(key, attribute, value)
        for device in devices or ():
            key.use(device)
        self.server.keys.append(key)
        return key

    def add_devices(
        self,
        os: OperatingSystem | str = "workstation",
        n: int = 1,
        *,
        key: Key | None = None,
        product: str = "KES",
    ) -> list[Device]:
        """Add devices that use a key, by default the first, and return them."""
        devices = [self.server.add_device(os) for _ in range(n)]
        for device in devices:
            (key or self.first_key).use(device, product=product)
        return devices

    def remove_devices(self, n: int = 1, *, os: str | None = None) -> list[Device]:
        """Remove the newest devices (of a kind), with their uses of keys, and return them.

        Raises:
            ValueError: There are not so many.
        """
        mine = self.devices(os)
        if n > len(mine):
            raise ValueError(f"{self.name} has only {len(mine)} such devices.")
        gone = mine[len(mine) - n :]
        for device in gone:
            self.server.remove_device(device)
        return gone

    def devices(self, os: str | None = None) -> list[Device]:
        """The virtual server's devices (of a kind)."""
        wanted = SYSTEMS[os] if os else None
        return [device for device in self.server.devices if wanted in {None, device.system}]
