"""A small MSP in memory: virtual servers, clients, agreements, a mapping, and what becomes of them.

What every line should bill is worked out here from the devices and the mapping alone. Nothing of
kisi's counting, planning or guarding is asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from kisi.errors import PsaError, SourceError
from kisi.model import (
    Agreement,
    AgreementRef,
    Application,
    BillingMapping,
    Category,
    Company,
    Device,
    IgnoredTenant,
    Key,
    KeyRow,
    Line,
    NotBillable,
    PlannedLine,
    ProductRow,
    Reading,
    ReportedQuantity,
    Tenant,
    TenantRef,
    WriteResult,
)
from tests.unit.fakes import FakePsa, FakeSource

START = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)
FOREVER = START + timedelta(days=10_000)
SYSTEMS = {
    "workstation": ("Microsoft Windows 11", Category.WINDOWS_WORKSTATIONS),
    "server": ("Microsoft Windows Server 2022", Category.WINDOWS_SERVERS),
    "linux": ("Ubuntu 22.04", Category.NON_WINDOWS),
}
KINDS = tuple(SYSTEMS)
CATEGORIES = tuple(category for _, category in SYSTEMS.values())
ENDED = NotBillable("agreement", "the agreement has ended", "Map another one.")

Content = dict[str, int]
"""Devices to how many units of each: 1, or a number for a tenant that reports only totals."""


class Slot(NamedTuple):
    """Where a line is or would be."""

    psa: str
    agreement: str
    product: str


class LineId(NamedTuple):
    """A line of a PSA."""

    psa: str
    agreement: str
    line: str


@dataclass(slots=True)
class Machine:
    """A device. It stays the same whatever a virtual server calls it."""

    number: int
    id: str
    name: str
    kind: str
    tenant: str | None
    """None: nowhere to be seen at present."""
    applications: set[str]
    unique: bool = True
    """Nothing else ever has its name, so that it is known by it."""

    @property
    def body(self) -> str:
        return f"d{self.number}"


@dataclass(slots=True)
class Client:
    """A row of the mapping."""

    name: str
    tenants: list[str]
    psa: str
    company: str
    agreement: str
    billing: bool = True
    by_hand: set[str] = field(default_factory=set)
    """Applications with `bill = false` for this client."""
    own: dict[str, str] = field(default_factory=dict)
    """Applications with a product of this client's own."""
    until: date | None = None
    """Its last day, if it leaves."""


@dataclass(slots=True)
class Product:
    """How an application is billed on a PSA."""

    split: bool
    variant: int = 0
    present: bool = True


@dataclass(frozen=True, slots=True)
class Desired:
    """What a line should bill today."""

    client: Client
    application: str
    product: str
    content: Content

    @property
    def quantity(self) -> int:
        return sum(self.content.values())


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds


class Crash(BaseException):
    """The process ends here and now."""


class WorldPsa(FakePsa):
    """A PSA in whose middle of a write the process may die."""

    crash: int | None = None
    """The process dies after so many writes, and no other thread writes then; None: it lives."""

    def write(self, line: PlannedLine, agreement: Agreement, today: object) -> WriteResult:
        if self.crash == 0:
            raise Crash
        receipt = super().write(line, agreement, today)
        if self.crash is not None:
            self.crash -= 1
            if not self.crash:
                raise Crash
        return receipt

    def unseen(self, agreement: str) -> list[Line]:
        """The lines that it holds and does not show yet."""
        shown = {line.id for line in self._lines(agreement, self._clock.monotonic())}
        return [line for line in self.held(agreement) if line.id not in shown]

    def _id_of(self, new: PlannedLine) -> str:
        """Whoever lets a line be made again that is not shown has seen that it is not there."""
        same = (line.id for line in self.unseen(new.agreement) if line.product == new.product)
        return next(same, None) or super()._id_of(new)

    def heal(self) -> None:
        self.crash = None
        self.broken = None
        self.unreadable.clear()
        self.reactions.clear()


class World:
    """Everything outside kisi, and the mapping.

    Attributes:
        told: What happened, in sentences.
        touched: Lines that people changed since the judge last asked.
    """

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.clock = Clock()
        self.told: list[str] = []
        self.touched: set[LineId] = set()
        self.tenants: dict[str, str] = {}
        """Tenant to its source."""
        self.machines: list[Machine] = []
        self.totals: dict[str, Counter[tuple[str, str]]] = {}
        """Tenants without device ids: application and kind to a number."""
        self.names: dict[str, str] = {}
        """Application to what the mapping calls it."""
        self.unknown: set[str] = set()
        """Applications that the mapping does not name."""
        self.unbilled: set[str] = set()
        """Applications with `bill = false`."""
        self.products: dict[tuple[str, str], Product] = {}
        """PSA and application to how they are billed."""
        self.ids: dict[tuple[str, str, int, Category], str] = {}
        self.clients: list[Client] = []
        self.ignored: set[str] = set()
        """Tenants that are never billed."""
        self.psas: dict[str, WorldPsa] = {}
        self.sources: dict[str, FakeSource] = {}
        self.ended: set[tuple[str, str]] = set()
        self.renewed: set[tuple[str, str]] = set()
        """PSA and number of agreements that bill nothing any more."""
        self.agreements: dict[tuple[str, str], list[str]] = {}
        """PSA and company to its agreements."""
        self.down: set[str] = set()
        """Sources and tenants that cannot be read tonight."""
        self.unreadable: set[tuple[str, str]] = set()
        """PSA and agreement (empty: all of them) that cannot be read tonight."""

    def say(self, text: str) -> None:
        self.told.append(text)

    # --- building -------------------------------------------------------------------------------

    def add_psa(self, name: str) -> WorldPsa:
        self.psas[name] = WorldPsa(name, clock=self.clock)
        return self.psas[name]

    def add_application(self, name: str) -> None:
        self.names[name] = f"Kaspersky {name}"
        for psa in self.psas:
            self.products[psa, name] = Product(split=False)
            number = f"{list(self.names).index(name) + 1}{list(self.psas).index(psa) + 1}"
            for variant in range(3):
                for place, category in enumerate((Category.ALL, *CATEGORIES)):
                    self.ids[psa, name, variant, category] = f"{number}{variant}{place}"

    def add_tenant(self, name: str, source: str) -> None:
        if source not in self.sources:
            self.sources[source] = FakeSource(source)
        self.tenants[name] = source
        if source == "hub":
            self.totals[name] = Counter()

    def add_machine(
        self, tenant: str, applications: Iterable[str], kind: str = "workstation", name: str = ""
    ) -> Machine:
        number = len(self.machines) + 1
        machine = Machine(
            number,
            f"id{number}",
            name or f"PC-{number}",
            kind,
            tenant,
            set(applications),
            unique=not name,
        )
        self.machines.append(machine)
        return machine

    def add_company(self, psa: str, company: str, *agreements: str) -> None:
        self.agreements[psa, company] = list(agreements)
        for number in agreements:
            self.psas[psa].agreement(company, number)

    def add_client(
        self, name: str, tenants: Iterable[str], psa: str, company: str, agreement: str
    ) -> Client:
        client = Client(name, list(tenants), psa, company, agreement)
        self.clients.append(client)
        return client

    # --- the truth ------------------------------------------------------------------------------

    def products_of(self, client: Client) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Application, product and kinds of device of everything that bills a client."""
        for application in self.names:
            general = self.products[client.psa, application]
            if application in self.unknown | self.unbilled | client.by_hand:
                continue
            if application in client.own:
                yield application, client.own[application], KINDS
            elif general.present and general.split:
                for kind, (_, category) in SYSTEMS.items():
                    product = self.ids[client.psa, application, general.variant, category]
                    yield application, product, (kind,)
            elif general.present:
                product = self.ids[client.psa, application, general.variant, Category.ALL]
                yield application, product, KINDS

    def is_by_hand(self, client: Client, called: str, product: str) -> bool:
        """Whether people keep a line for a client.

        Args:
            client: Has `bill = false` for some applications.
            called: What the mapping called the line's application when it was last right.
            product: Of the line; those that bill such an application for others are left too.
        """
        kept = client.by_hand - self.unknown - self.unbilled
        return any(
            self.names[name] == called
            or (
                self.products[client.psa, name].present
                and product in self._row(client.psa, name).values()
            )
            for name in kept
        )

    def today(self) -> date:
        return self.clock.now().date()

    def has_left(self, client: Client) -> bool:
        return client.until is not None and client.until < self.today()

    def tenants_of(self, client: Client) -> list[str]:
        """The tenants that it is to be billed for today: not those that another has until it leaves."""
        if self.has_left(client):
            return []
        before = [
            one
            for one in self.clients
            if one.billing and one.until is not None and not self.has_left(one)
            if client.until is None or one.until < client.until
        ]
        return [t for t in client.tenants if not any(t in one.tenants for one in before)]

    def had(self, client: Client) -> list[str]:
        """The same; those that it had, if it has left."""
        return client.tenants if self.has_left(client) else self.tenants_of(client)

    def is_billed(self, client: Client) -> bool:
        """Whether billing is on, and it does not only wait for tenants that others have."""
        return client.billing and bool(self.had(client))

    def is_valid(self) -> bool:
        """Whether mapping.toml could say all this."""
        ends: dict[str, list[date]] = {tenant: [] for tenant in self.tenants}
        for client in self.clients:
            if len({*client.tenants}) < len(client.tenants):
                return False
            for tenant in client.tenants if client.billing else ():
                ends[tenant].append(client.until or date.max)
        return all(
            len(days) <= 2 and len({*days}) == len(days) and not (days and tenant in self.ignored)
            for tenant, days in ends.items()
        )

    def desired(self) -> dict[Slot, Desired]:
        """What every line of the clients with billing on should bill."""
        found = {}
        for client in self.clients:
            if not self.is_billed(client):
                continue
            for application, product, kinds in self.products_of(client):
                content = self._content(self.tenants_of(client), application, kinds)
                slot = Slot(client.psa, client.agreement, product)
                found[slot] = Desired(client, application, product, content)
        return found

    def kept(self) -> list[Content]:
        """What people bill for the clients themselves, by client and application."""
        return [
            self._content(self.tenants_of(client), application, KINDS)
            for client in self.clients
            if self.is_billed(client)
            for application in client.by_hand - self.unknown - self.unbilled
        ]

    def _content(self, tenants: list[str], application: str, kinds: tuple[str, ...]) -> Content:
        content = {
            machine.body: 1
            for machine in self.machines
            if machine.tenant in tenants
            and machine.kind in kinds
            and application in machine.applications
        }
        for tenant in tenants:
            if tenant in self.totals:
                units = sum(self.totals[tenant][application, kind] for kind in kinds)
                if units:
                    content[tenant] = units
        return content

    def is_alive(self, psa: str, agreement: str) -> bool:
        return (psa, agreement) not in self.ended

    def live(self) -> dict[LineId, Line]:
        """Every line that bills, or would if it were not 0."""
        today = self.today()
        return {
            LineId(name, line.agreement, line.id): line
            for name, psa in self.psas.items()
            for ref in psa.refs()
            if self.is_alive(name, ref.agreement)
            for line in psa.held(ref.agreement)
            if line.cancelled is None or line.cancelled > today
        }

    def client_of(self, psa: str, agreement: str) -> Client | None:
        """The row on an agreement."""
        found = (one for one in self.clients if (one.psa, one.agreement) == (psa, agreement))
        return next(found, None)

    def can_be_judged(self, client: Client) -> bool:
        """Whether a run tonight can read everything that it needs of a client's own."""
        if not self.is_billed(client) or not self.is_alive(client.psa, client.agreement):
            return False
        if {(client.psa, ""), (client.psa, client.agreement)} & self.unreadable:
            return False
        tenants = self.tenants_of(client)
        return not any(t in self.down or self.tenants[t] in self.down for t in tenants)

    # --- what kisi is given ---------------------------------------------------------------------

    def mapping(self) -> BillingMapping:
        known = [name for name in self.names if name not in self.unknown]
        return BillingMapping(
            applications=tuple(
                Application(self.names[name], (f"licence {name}*",), bill=name not in self.unbilled)
                for name in known
            ),
            products=tuple(
                ProductRow(self.names[name], psa, self._row(psa, name))
                for (psa, name), product in self.products.items()
                if name in known and product.present
            ),
            companies=tuple(self._company(client, known) for client in self.clients),
            ignored=tuple(
                IgnoredTenant(TenantRef(self.tenants[name], name)) for name in sorted(self.ignored)
            ),
        )

    def _row(self, psa: str, name: str) -> Mapping[Category, str]:
        product = self.products[psa, name]
        categories = CATEGORIES if product.split else (Category.ALL,)
        return {one: self.ids[psa, name, product.variant, one] for one in categories}

    def _company(self, client: Client, known: list[str]) -> Company:
        own = {name: {Category.ALL: product} for name, product in client.own.items()}
        rows = [
            ProductRow(self.names[name], client.psa, own.get(name, {}), bill=name in own)
            for name in known
            if name in client.by_hand or (name in own and name not in self.unbilled)
        ]
        return Company(
            client.name,
            tuple(TenantRef(self.tenants[name], name) for name in client.tenants),
            client.psa,
            client.company,
            client.agreement,
            billing=client.billing,
            exceptions=tuple(rows),
            until=client.until,
        )

    def report(self) -> None:
        """The sources report the devices as they are now."""
        for source in self.sources.values():
            source.broken = SourceError("It is down.") if source.name in self.down else None
        for tenant, source in self.tenants.items():
            ref = TenantRef(source, tenant)
            broken = SourceError("It cannot be read.") if tenant in self.down else None
            self.sources[source].answers[ref] = broken or self._reading(Tenant(ref, tenant))
        for name, psa in self.psas.items():
            lost = PsaError("It is down.")
            psa.broken = lost if (name, "") in self.unreadable else None
            for one, agreement in self.unreadable:
                if one == name and agreement:
                    psa.unreadable[agreement] = (lost, None)

    def _reading(self, tenant: Tenant) -> Reading:
        name, now = tenant.ref.tenant, self.clock.now()
        if name in self.totals:
            reported = tuple(
                ReportedQuantity(f"licence {application}", SYSTEMS[kind][1], number)
                for (application, kind), number in sorted(self.totals[name].items())
                if number
            )
            return Reading(tenant, now, reported=reported)
        mine = [machine for machine in self.machines if machine.tenant == name]
        keys = {
            application: Key(f"K-{application}", f"licence {application}", 1, limit_date=FOREVER)
            for application in self.names
        }
        return Reading(
            tenant,
            now,
            keys=tuple(keys.values()),
            rows=tuple(
                KeyRow(keys[application].serial, machine.id, machine.name)
                for machine in mine
                for application in sorted(machine.applications)
            ),
            devices={
                machine.id: Device(machine.id, machine.name, SYSTEMS[machine.kind][0])
                for machine in mine
            },
        )

    def heal(self) -> None:
        """From now on everything can be read and written."""
        self.down.clear()
        self.unreadable.clear()
        for psa in self.psas.values():
            psa.heal()

    # --- devices --------------------------------------------------------------------------------

    def move(self, machine: Machine, tenant: str, *, new_id: bool = False) -> None:
        """To another virtual server, with its id or (known by its name) with a new one."""
        old = machine.tenant
        machine.tenant = tenant
        if new_id:
            machine.id = f"{machine.id}'"
        self.say(
            f"{machine.body} {machine.name} moves from {old} to {tenant}"
            + (f" and is called {machine.id} there" if new_id else "")
        )

    def license(self, machine: Machine, applications: Iterable[str]) -> None:
        """It uses exactly these applications from now on."""
        old, machine.applications = machine.applications, set(applications)
        names = "+".join(sorted(machine.applications))
        self.say(f"{machine.body} uses {names} instead of {'+'.join(sorted(old))}")

    # --- people in the PSA ----------------------------------------------------------------------

    def set_line(self, where: LineId, quantity: int) -> None:
        line = self._line(where)
        self.say(f"a person sets {_named(where, line)} from {line.quantity} to {quantity}")
        self.psas[where.psa].put(line.product, quantity, where.agreement, line.id)
        self.touched.add(where)

    def cancel_line(self, where: LineId) -> None:
        line, today = self._line(where), self.clock.now().date()
        self.say(f"a person cancels {_named(where, line)} ({line.quantity})")
        psa = self.psas[where.psa]
        psa.put(line.product, line.quantity, where.agreement, line.id, cancelled=today)
        self.touched.add(where)

    def delete_line(self, where: LineId) -> None:
        line = self._line(where)
        self.say(f"a person deletes {_named(where, line)} ({line.quantity})")
        self.psas[where.psa].remove(line)
        self.touched.add(where)

    def add_line(self, slot: Slot, quantity: int) -> None:
        line = self.psas[slot.psa].put(slot.product, Decimal(quantity), slot.agreement)
        where = LineId(slot.psa, slot.agreement, line.id)
        self.say(f"a person adds {_named(where, line)} with {quantity}")
        self.touched.add(where)

    def _line(self, where: LineId) -> Line:
        lines = self.psas[where.psa].held(where.agreement)
        return next(line for line in lines if line.id == where.line)

    def end_agreement(self, psa: str, agreement: str) -> None:
        ref = self._ref(psa, agreement)
        self.psas[psa].agreement(ref.company, agreement, not_billable=ENDED, gone=True)
        self.ended.add((psa, agreement))
        self.say(f"the agreement {agreement} ends")

    def renew_agreement(self, psa: str, agreement: str) -> None:
        ref = self._ref(psa, agreement)
        self.psas[psa].agreement(ref.company, agreement)
        self.ended.remove((psa, agreement))
        self.renewed.add((psa, agreement))
        lines = self.psas[psa].held(agreement)
        self.touched |= {LineId(psa, agreement, line.id) for line in lines}
        self.say(f"the agreement {agreement} is renewed")

    def _ref(self, psa: str, agreement: str) -> AgreementRef:
        return next(ref for ref in self.psas[psa].refs() if ref.agreement == agreement)

    # --- the story ------------------------------------------------------------------------------

    def described(self) -> Iterator[str]:
        """The mapping and the devices as they are."""
        for client in self.clients:
            more = "" if client.billing else ", billing off"
            more += f", by hand: {'+'.join(sorted(client.by_hand))}" if client.by_hand else ""
            more += f", own products {client.own}" if client.own else ""
            more += f", until {client.until}" if client.until else ""
            where = f"{client.psa} {client.company}/{client.agreement}"
            yield f"{client.name}: {' '.join(client.tenants)} on {where}{more}"
        for (psa, name), product in self.products.items():
            state = "never billed" if name in self.unbilled else self._row(psa, name)
            if product.present and name not in self.unknown:
                yield f"{name} on {psa}: {state if isinstance(state, str) else dict(state)}"
        for tenant in self.tenants:
            mine = [
                f"{one.body}:{'+'.join(sorted(one.applications))}:{one.kind[0]}"
                for one in self.machines
                if one.tenant == tenant
            ]
            mine += [f"{a}:{k[0]}x{n}" for (a, k), n in self.totals.get(tenant, {}).items() if n]
            never = ", never billed" if tenant in self.ignored else ""
            yield f"{tenant} of {self.tenants[tenant]}{never}: {' '.join(mine)}"


def _named(where: LineId, line: Line) -> str:
    return f"line {where.line} ({where.agreement}/{line.product})"


Event = Callable[["World"], bool]
"""Does something to the world; false if it could not be done."""
