"""The simulated world of Kaspersky Security Center and ConnectWise, and ways to fill it.

One `World` stands behind the simulated servers. Tests build clients with `World.client`, change
what they like while or between runs, and judge by `World.additions` what the PSA holds in the end.
Ids, names and serial numbers depend on the order of the calls alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from kisi.sandbox.connectwise_records import Addition, Agreement, CatalogItem, PsaCompany
from kisi.sandbox.ksc_records import (
    SYSTEMS,
    Device,
    EndDateType,
    Key,
    KeyType,
    OperatingSystem,
    SubscriptionState,
    VirtualServer,
    stable_guid,
)


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


APPLICATION = "Kaspersky Endpoint Security for Business - Advanced"
"""The application that clients use unless they are told otherwise."""

_KINDS = {
    "commercial": KeyType.COMMERCIAL,
    "beta": KeyType.BETA,
    "trial": KeyType.TRIAL,
    "test": KeyType.TEST,
    "oem": KeyType.OEM,
    "subscription": KeyType.SUBSCRIPTION,
}


class World:
    """Everything the simulated vendors know.

    Args:
        now: The clock of all servers; an aware datetime. Default: the real one.
        site: Another one has virtual servers with other ids. Two worlds of one site hold the same
            ones, as after a restore on a second machine.

    Attributes:
        main: The main Administration Server.
        servers: Its virtual servers.
        companies: PSA companies by id.
        agreements: PSA agreements by id.
        catalog: PSA catalog items by id.
        lines: Every addition by id, in the order of creation.
        billing: What `mapping.toml` says about it.
        clients: The clients made with `client`, in order.
        lock: Held by the servers while they act on one request.
    """

    def __init__(self, now: Callable[[], datetime] | None = None, *, site: str = "") -> None:
        self.now = now or (lambda: datetime.now(UTC))
        self.site = site
        self.lock = threading.RLock()
        self.main = VirtualServer(0, stable_guid("main"), "", created=self.now())
        self.servers: list[VirtualServer] = []
        self.companies: dict[int, PsaCompany] = {}
        self.agreements: dict[int, Agreement] = {}
        self.catalog: dict[int, CatalogItem] = {}
        self.lines: dict[int, Addition] = {}
        self.billing = Billing()
        self.clients: list[Client] = []
        self._keys_made = 0
        self._lines_made = 0

    @property
    def today(self) -> date:
        """The day it is, UTC."""
        return self.now().astimezone(UTC).date()

    # --- the Kaspersky side ---------------------------------------------------------------------

    def server(self, name: str, *, enabled: bool = True) -> VirtualServer:
        """Add a virtual server."""
        number, site = len(self.servers) + 1, (self.site,) if self.site else ()
        server = VirtualServer(
            number, f"VSRV{stable_guid('server', number, *site)}", name, enabled=enabled
        )
        server.created = self.now() - timedelta(days=400)
        self.servers.append(server)
        return server

    def tenant(
        self,
        name: str,
        *,
        application: str = APPLICATION,
        kind: str = "subscription",
        **devices: int,
    ) -> VirtualServer:
        """Add a virtual server with a key and devices that use it; arguments as of `client`.

        Raises:
            KeyError: There is no such kind of device or key.
        """
        server, key = self.server(name), self.make_key(application, kind=kind)
        server.keys.append(key)
        for plural, count in devices.items():
            for _ in range(count):
                key.use(server.add_device(_PLURALS[plural]))
        return server

    def make_key(
        self,
        name: str = APPLICATION,
        *,
        kind: str = "subscription",
        ends: datetime | None = None,
        serial: str = "",
    ) -> Key:
        """A key that belongs to no server yet.

        Args:
            name: The key name; the application's name matches it if it begins with it.
            kind: commercial, subscription (active and unlimited), trial, beta, test or oem.
            ends: Its limit date; default: in a year, for a subscription none.
            serial: Its serial number; default: the next.
        """
        self._keys_made += 1
        subscription = kind == "subscription"
        limit = self.now() + timedelta(days=365)
        key = Key(
            serial=serial or f"1C2A-{self._keys_made:06}-{self._keys_made * 7919 % 10**8:08X}",
            name=name,
            key_type=_KINDS[kind],
            limit_date=ends or ("" if subscription else limit),
            subscription=subscription,
            created=self.now() - timedelta(days=30),
        )
        if subscription:
            key.state = SubscriptionState.ACTIVE
            key.end_date_type = EndDateType.UNLIMITED
            key.grace_days = 14
        return key

    # --- the PSA side ---------------------------------------------------------------------------

    def product(
        self, identifier: str, price: float = 3.0, *, product_class: str = "Service"
    ) -> CatalogItem:
        """Add a catalog item."""
        item = CatalogItem(
            id=1201 + len(self.catalog),
            identifier=identifier,
            description=identifier,
            price=price,
            cost=round(price * 0.6, 2),
            product_class=product_class,
        )
        self.catalog[item.id] = item
        return item

    def company(self, name: str) -> PsaCompany:
        """Add a PSA company."""
        number = 250 + len(self.companies)
        letters = "".join(letter for letter in name if letter.isalnum() and letter.isascii())
        company = PsaCompany(number, f"{letters[:20] or 'Company'}{number}", name)
        self.companies[number] = company
        return company

    def agreement(
        self,
        company: PsaCompany,
        name: str = "Managed Security",
        *,
        parent: Agreement | None = None,
    ) -> Agreement:
        """Add an agreement that began a year ago and has no end; with a `parent`, its child."""
        start = self.today - timedelta(days=365)
        agreement = Agreement(
            id=1042 + len(self.agreements),
            name=name,
            company_id=company.id,
            parent_id=parent.id if parent else None,
            start_date=start,
            bill_start_date=start,
            next_invoice_date=(self.today.replace(day=1) + timedelta(days=32)).replace(day=1),
        )
        self.agreements[agreement.id] = agreement
        return agreement

    def add_line(self, agreement_id: int, product: CatalogItem | int, quantity: float) -> Addition:
        """Add an addition, as a person does in the PSA."""
        item = self.catalog[product if isinstance(product, int) else product.id]
        line = Addition(
            id=self.next_line_id(),
            agreement_id=agreement_id,
            product_id=item.id,
            quantity=quantity,
            unit_price=item.price,
            unit_cost=item.cost,
            description=item.description,
            effective_date=datetime.combine(self.today, datetime.min.time(), UTC),
            updated_at=self.now(),
        )
        self.lines[line.id] = line
        return line

    def next_line_id(self) -> int:
        """An id that no addition has had."""
        self._lines_made += 1
        return 90000 + self._lines_made

    def additions(self, agreement_id: int) -> list[Addition]:
        """The additions of an agreement, cancelled ones too, by id."""
        return [line for line in self.lines.values() if line.agreement_id == agreement_id]

    # --- both -----------------------------------------------------------------------------------

    def client(
        self,
        name: str,
        *,
        application: str = APPLICATION,
        kind: str = "subscription",
        mapped: bool = True,
        **devices: int,
    ) -> Client:
        """Add a client of ConnectWise: virtual server, key, devices, company, agreement.

        Args:
            name: The name on both sides.
            application: The name of its key.
            kind: As in `make_key`.
            mapped: Whether `mapping.toml` has a row for it.
            devices: How many of each: workstations, servers, linux, macs, android, ios, unknown.

        Raises:
            KeyError: There is no such kind of device or key.
        """
        company = self.company(name)
        server = self.tenant(name, application=application, kind=kind, **devices)
        client = Client(self, server, company, self.agreement(company), mapped=mapped)
        self.clients.append(client)
        return client


_PLURALS = {
    "workstations": "workstation",
    "servers": "server",
    "linux": "linux",
    "macs": "mac",
    "android": "android",
    "ios": "ios",
    "unknown": "unknown",
}
