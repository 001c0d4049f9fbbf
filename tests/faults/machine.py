"""Contoso, Fabrikam, Adatum and Litware, billed by random runs; and what must hold after each of them.

`Scene` is the simulated world and the operator in it; every method is one thing that may happen.
What kisi should bill is worked out here a second time, from what the scene put on the devices, so
that the product's own counting and planning are judged and not repeated.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import time_machine

from kisi.errors import ExitCode
from kisi.journal import Journal
from kisi.model import Outcome
from kisi.sandbox import Sandbox
from kisi.sandbox.autotask import Autotask, ContractService
from kisi.sandbox.autotask import product_row as autotask_product
from kisi.sandbox.configuration import company_row
from kisi.sandbox.connectwise_records import Addition
from kisi.sandbox.ksc_records import Key, VirtualServer
from kisi.sandbox.tigerpaw import Tigerpaw
from kisi.sandbox.tigerpaw import product_row as tigerpaw_product
from kisi.sandbox.tigerpaw_records import Charge
from kisi.sandbox.world import APPLICATION, World
from kisi.transport import Clock
from tests.e2e.conftest import NOW, Operator, Result

DETECTION = "Kaspersky EDR Optimum"
"""A second application, always billed as one product."""
CATEGORIES = {
    "workstation": "windows_workstations",
    "server": "windows_servers",
    "linux": "non_windows",
}

_FEW_AUTHORITIES = {"SSL_CERT_FILE": os.devnull, "REQUESTS_CA_BUNDLE": ""}

PSAS = ("cw", "tp", "at")

Place = tuple[str, str]
"""PSA and agreement."""
LineId = tuple[str, str]
"""PSA and the line's own id."""
Event = tuple[str, dict[str, Any]]
"""A method of `Scene` and its arguments."""


class Crash(BaseException):
    """The process ends here and now. No code of kisi may catch it."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A run in which requests are struck by faults."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    """What `Faults.add` takes; `options` are those of the kind."""
    lag: int = 0
    """So many reads after a write ConnectWise still shows what was before."""


@dataclass(frozen=True, slots=True)
class Killed:
    """A run whose process dies when it comes to its first intent or outcome."""

    method: str
    """`intent` or `settle`."""
    committed: bool
    """Whether that is still stored."""


Trouble = Struck | Killed
"""What a run has to go through."""


@dataclass(frozen=True, slots=True)
class Held:
    """A live line of a PSA, as it is this moment."""

    place: Place
    product: str
    quantity: float


@dataclass(slots=True)
class Billed:
    """A client: where its devices are, where it is billed, and what it really uses."""

    name: str
    psa: str
    company: int
    agreements: tuple[str, ...]
    """One of them is mapped; the mapping may move to the other."""
    server: VirtualServer
    keys: dict[str, Key]
    agreement: str = ""
    old_row: str = ""
    """The agreement of a second row of the same tenant, with billing off; empty for none."""
    billing: bool = True
    exceptions: list[dict[str, str | int | bool]] = field(default_factory=list)
    uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Devices by application and kind."""
    most: Counter[str] = field(default_factory=Counter)
    """The highest total of each application that a run could ever have measured."""

    def __post_init__(self) -> None:
        self.agreement = self.agreements[0]

    @property
    def places(self) -> list[Place]:
        """Its agreements, with their PSA: two PSAs may have the same numbers."""
        return [(self.psa, agreement) for agreement in self.agreements]

    def use(self, application: str, kind: str, change: int) -> None:
        """More devices, or fewer, use an application; never fewer than none."""
        change = max(change, -self.uses[application, kind])
        for _ in range(change):
            self.keys[application].use(self.server.add_device(kind))
        mine = {use.host_id for use in self.keys[application].uses}
        ours = [one for one in self.server.devices if one.host_id in mine]
        kinds = [one for one in ours if one.name.startswith(kind.upper())]
        for device in kinds[: max(-change, 0)]:
            self.server.remove_device(device)
        self.uses[application, kind] += change

    def upgrade(self, kind: str, number: int) -> None:
        """Devices take the licence of the other application in place of what they had."""
        old, new = self.keys[APPLICATION], self.keys[DETECTION]
        devices = {device.host_id: device for device in self.server.devices}
        ours = [one for one in old.uses if devices[one.host_id].name.startswith(kind.upper())]
        for use in ours[:number]:
            old.uses.remove(use)
            new.use(devices[use.host_id])
            self.uses[APPLICATION, kind] -= 1
            self.uses[DETECTION, kind] += 1

    def total(self, application: str) -> int:
        """How many devices use an application."""
        return sum(number for (name, _), number in self.uses.items() if name == application)


@dataclass(slots=True)
class Units:
    """A service of an Autotask contract, as a person changes it: in all periods to come."""

    autotask: Autotask
    id: int

    @property
    def line(self) -> ContractService:
        return self.autotask.lines[self.id]

    @property
    def quantity(self) -> int:
        return self.line.units(self._next)

    @quantity.setter
    def quantity(self, units: int) -> None:
        for period in self.line.periods:
            period.units = units if period.end >= self._next else period.units

    @property
    def _next(self) -> date:
        first = self.autotask.today.replace(day=1)
        return (first + timedelta(days=32)).replace(day=1)

    @property
    def held(self) -> Held:
        """What it bills from the next period on."""
        line = self.line
        return Held(("at", str(line.contract)), str(line.service), float(self.quantity))

    def renew(self) -> ContractService:
        """A person removes it, and makes it anew without units."""
        line = self.autotask.lines.pop(self.id)
        return self.autotask.add_service(self.autotask.contracts[line.contract], line.service)


class Scene:
    """The world, kisi's files, and everything that may happen between two runs, or in one."""

    def __init__(self, guards: str) -> None:
        with ExitStack() as stack:
            # No public authority is trusted here, and reading them all takes longer than a run.
            stack.enter_context(mock.patch.dict(os.environ, _FEW_AUTHORITIES))
            self.clock = stack.enter_context(time_machine.travel(NOW, tick=True))
            self.world = World()
            self.sandbox = Sandbox(self.world)
            self.tigerpaw = Tigerpaw(self.world.now)
            server = self.tigerpaw.serve(faults=self.sandbox.faults, log=self.sandbox.log)
            self.part = self.tigerpaw.part(server)
            self.sandbox.add(self.part)
            self.autotask = Autotask(self.world.now)
            self.autotask.one_a_day = False  # else what comes second waits for the next day
            server = self.autotask.serve(faults=self.sandbox.faults, log=self.sandbox.log)
            self.sandbox.add(self.autotask.part(server, effective="next_period"))
            folder = Path(tempfile.mkdtemp(prefix="kisi-"))
            stack.callback(shutil.rmtree, folder)
            self.operator = Operator(self.sandbox, folder, self.clock)
            self.operator.more = guards
            stack.enter_context(mock.patch.object(Clock, "sleep", _jumping(self.clock)))
            stack.enter_context(self.sandbox)
            self._open = stack.pop_all()
        self.products: dict[tuple[str, str, str], list[str]] = {}
        """PSA, application and category to the products that may bill it; the first one does."""
        self.by_category = dict.fromkeys(PSAS, True)
        self.names = {APPLICATION: APPLICATION, DETECTION: DETECTION}
        """What mapping.toml calls the applications; the key names stay as they are."""
        self.clients = [self._client("Contoso", "cw"), self._client("Fabrikam", "cw")]
        self.clients += [self._client("Adatum", "tp"), self._client("Litware", "at")]
        self._price_lists()
        self._ready: set[int] = set()
        """Services of Autotask's contracts that never had units: like no lines."""
        for contract in self.autotask.contracts.values():
            for service in self.autotask.services:
                self._ready.add(self.autotask.add_service(contract, service).id)
        self.made: set[LineId] = set()
        """Lines that kisi created."""
        self.set_by_kisi: set[LineId] = set()
        """Lines whose quantity kisi was the last to set."""
        self.removed: set[tuple[Place, str]] = set()
        """Where people removed lines, and of which products."""
        self.documents: list[dict[str, Any]] = []

    def close(self) -> None:
        """Ends the servers and removes the files."""
        self._open.close()

    # --- the world ------------------------------------------------------------------------------

    def _client(self, name: str, psa: str) -> Billed:
        server = self.world.server(name)
        keys = {app: self.world.make_key(app) for app in (APPLICATION, DETECTION)}
        server.keys += keys.values()
        if psa == "cw":
            company = self.world.company(name)
            made = [str(self.world.agreement(company).id) for _ in range(2)]
            return Billed(name, psa, company.id, tuple(made), server, keys)
        if psa == "at":
            number = self.autotask.company(name)
            made = [str(self.autotask.contract(number).id) for _ in range(2)]
            return Billed(name, psa, number, tuple(made), server, keys)
        account = self.tigerpaw.account(name)
        made = [str(self.tigerpaw.agreement(account).number) for _ in range(2)]
        return Billed(name, psa, account.number, tuple(made), server, keys)

    def _price_lists(self) -> None:
        for psa in PSAS:
            for category in ("all", *CATEGORIES.values()):
                self.products[psa, APPLICATION, category] = self._make_products(psa, category)
            self.products[psa, DETECTION, "all"] = self._make_products(psa, "edr")

    def _make_products(self, psa: str, name: str) -> list[str]:
        names = [f"{psa}-{name}-{number}" for number in (1, 2)]
        if psa == "cw":
            return [str(self.world.product(one).id) for one in names]
        if psa == "at":
            return [str(self.autotask.service(one)) for one in names]
        return [self.tigerpaw.item(one).id for one in names]

    def lines(self) -> Mapping[LineId, Held]:
        """Every line that bills, of all PSAs."""
        additions = {
            ("cw", str(line.id)): Held(
                ("cw", str(line.agreement_id)), str(line.product_id), float(line.quantity or 0)
            )
            for line in self.world.lines.values()
            if line.cancelled_date is None
        }
        charges = {
            ("tp", str(line.id)): Held(("tp", str(line.agreement)), line.item, float(line.quantity))
            for line in self.tigerpaw.lines.values()
            if not line.one_time
        }
        units = {number: Units(self.autotask, number) for number in self.autotask.lines}
        self._ready -= {number for number, one in units.items() if one.quantity}
        services = {
            ("at", str(number)): one.held
            for number, one in units.items()
            if number not in self._ready
        }
        return additions | charges | services

    def record(self, line: LineId) -> Addition | Charge | Units:
        """A line as its PSA keeps it, for a person to change."""
        psa, number = line
        if psa == "at":
            return Units(self.autotask, int(number))
        return (self.world if psa == "cw" else self.tigerpaw).lines[int(number)]

    # --- what happens between runs --------------------------------------------------------------

    def happen(self, events: list[Event]) -> None:
        """Each event is the name of a method of this class, and its arguments."""
        for name, how in events:
            getattr(self, name)(**how)

    def use(self, client: int, application: str, kind: str, change: int) -> None:
        """A client uses an application on more devices, or on fewer."""
        self.clients[client].use(application, kind, change)

    def reinstall(self, client: int, number: int) -> None:
        """Workstations become servers: the total stays."""
        one = self.clients[client]
        number = min(number, one.uses[APPLICATION, "workstation"])
        one.use(APPLICATION, "workstation", -number)
        one.use(APPLICATION, "server", number)

    def upgrade(self, client: int, kind: str, number: int) -> None:
        """Licences of one application are replaced by those of the other."""
        self.clients[client].upgrade(kind, number)

    def edit(self, line: int, quantity: int) -> None:
        """A person sets a quantity."""
        for found in self._some_line(line):
            self.record(found).quantity = quantity
            self.set_by_kisi.discard(found)

    def remove(self, line: int, *, cancel: bool) -> None:
        """A person deletes a line, or (ConnectWise) cancels it."""
        for found in self._some_line(line):
            held = self.lines()[found]
            self.removed.add((held.place, held.product))
            record = self.record(found)
            if cancel and isinstance(record, Addition):
                record.cancelled_date = self.world.now()
            elif isinstance(record, Units):
                self._ready.add(record.renew().id)
            else:
                del (self.world if found[0] == "cw" else self.tigerpaw).lines[record.id]

    def add(self, client: int, row: int, quantity: int) -> None:
        """A person adds a line to the mapped agreement, of a product that kisi bills there."""
        one = self.clients[client]
        products = [product for _, _, product in self.rows(one)]
        product = products[row % len(products)]
        if one.psa == "cw":
            self.world.add_line(int(one.agreement), int(product), quantity)
        elif one.psa == "at":
            contract = self.autotask.contracts[int(one.agreement)]
            if quantity:
                self.autotask.add_service(contract, int(product), quantity)
        else:
            self.tigerpaw.charge(int(one.agreement), product, quantity)

    def sleep(self, nights: int) -> None:
        """Nothing is run for some nights."""
        self.operator.next_night(nights)

    def _some_line(self, number: int) -> list[LineId]:
        lines = sorted(self.lines())
        return [lines[number % len(lines)]] if lines else []

    # --- the mapping ----------------------------------------------------------------------------

    def bill_in_another_way(self, psa: str) -> None:
        """By category becomes as one product, and the other way round."""
        self.by_category[psa] = not self.by_category[psa]

    def rename(self, application: str) -> None:
        """An application gets another name in mapping.toml, or its first one again."""
        now = self.names[application]
        self.names[application] = f"Our {application}" if now == application else application

    def move_to_the_other_agreement(self, client: int) -> None:
        """A client is billed on its other agreement from now on."""
        one = self.clients[client]
        one.agreement = next(other for other in one.agreements if other != one.agreement)
        one.old_row = ""

    def leave_the_old_row_off(self, client: int) -> None:
        """The same by a new row: the one of the old agreement stays, with billing off."""
        self.move_to_the_other_agreement(client)
        one = self.clients[client]
        one.old_row = next(other for other in one.agreements if other != one.agreement)

    def toggle_billing(self, client: int) -> None:
        """`billing` of a client."""
        self.clients[client].billing = not self.clients[client].billing

    def take_the_other_product(self, row: int) -> None:
        """A general row names another product."""
        rows = sorted(self.products)
        self.products[rows[row % len(rows)]].reverse()

    def make_an_exception(self, client: int, what: str) -> None:
        """`[[company.product]]`: none, its lines managed by hand, or another product."""
        one = self.clients[client]
        flat = self.products[one.psa, APPLICATION, "all"][1]
        rows: dict[str, list[dict[str, str | int | bool]]] = {
            "none": [],
            "people": [{"application": APPLICATION, "bill": False}],
            "flat": [{"application": APPLICATION, "all": flat if one.psa == "tp" else int(flat)}],
        }
        one.exceptions = rows[what]

    def rows(self, client: Billed) -> Iterator[tuple[str, str, str]]:
        """Application, category and product of every row in force for a client."""
        excepted = {str(one["application"]): one for one in client.exceptions}
        for application in (APPLICATION, DETECTION):
            exception = excepted.get(application)
            if exception is None:
                split = application == APPLICATION and self.by_category[client.psa]
                for category in CATEGORIES.values() if split else ("all",):
                    first, _ = self.products[client.psa, application, category]
                    yield application, category, first
            elif exception.get("bill") is not False:
                yield application, "all", str(exception["all"])

    def desired(self, client: Billed) -> Mapping[str, int]:
        """What each product of a client should bill now."""
        wanted: dict[str, int] = {}
        for application, category, product in self.rows(client):
            kinds = [kind for kind, of in CATEGORIES.items() if category in {"all", of}]
            number = sum(client.uses[application, kind] for kind in kinds)
            wanted[product] = wanted.get(product, 0) + number
        return wanted

    def _write_mapping(self) -> None:
        billing = self.world.billing
        billing.applications.clear()
        rows = []
        for application in (APPLICATION, DETECTION):
            for psa in PSAS:
                split = application == APPLICATION and self.by_category[psa]
                categories = CATEGORIES.values() if split else ("all",)
                row = {one: self.products[psa, application, one][0] for one in categories}
                name = self.names[application]
                if psa == "tp":
                    items = {one: self.tigerpaw.items[row[one]] for one in row}
                    rows.append(tigerpaw_product(name, **items))
                    continue
                ids = {one: int(row[one]) for one in row}
                if psa == "cw":
                    billing.bill(name, keys=[f"{application}*"], **ids)
                else:
                    rows.append(autotask_product(name, **ids))
        of_clients = [self._company_row(client) for client in self.clients]
        of_clients += [self._old_row(client) for client in self.clients if client.old_row]
        self.part.mapping = "\n".join([*rows, *of_clients])

    def _company_row(self, client: Billed) -> str:
        return company_row(
            client.name,
            [f"hq:{client.server.uid}"],
            psa=client.psa,
            company=client.company,
            agreement=int(client.agreement),
            billing=client.billing,
            exceptions=[
                one | {"application": self.names[str(one["application"])]}
                for one in client.exceptions
            ],
        )

    def _old_row(self, client: Billed) -> str:
        return company_row(
            _old(client),
            [f"hq:{client.server.uid}"],
            psa=client.psa,
            company=client.company,
            agreement=int(client.old_row),
            billing=False,
        )

    # --- runs -----------------------------------------------------------------------------------

    def sync(self, *arguments: str) -> Result:
        """One `kisi sync`; holds afterwards what must always hold."""
        with self._watched():
            result = self.operator.sync(*arguments)
        if arguments and not result.out:  # an id of another day, or one that was used
            assert result.code == ExitCode.WITHHELD, result.err
            assert not _psa_writes(result)
            return result
        document = result.document
        self.documents.append(document)
        self._says_the_truth(document)
        return result

    def _killed(self, how: Killed, *arguments: str) -> None:
        original: Callable[..., Any] = getattr(Journal, how.method)

        def dies(journal: Journal, *values: Any, **more: Any) -> Any:
            if how.committed:
                original(journal, *values, **more)
            raise Crash

        with (
            self._watched(),
            mock.patch.object(Journal, how.method, dies),
            suppress(Crash),
        ):
            self.operator.sync(*arguments)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._write_mapping()
        for client in self.clients:
            for application in (APPLICATION, DETECTION):
                total = client.total(application)
                client.most[application] = max(client.most[application], total)
        before = self.lines()
        yield
        after = self.lines()
        self.made |= after.keys() - before.keys()
        changed = {line for line, held in after.items() if before.get(line) != held}
        self.set_by_kisi |= changed
        self._changed_rightly(before, after)
        self._one_line_a_product(after)
        self._never_too_much(before, after)
        self._journal_is_true(before, after)

    def run(self, trouble: Trouble, *arguments: str) -> None:
        """One `kisi sync` in which things go wrong; afterwards they do not any more."""
        if isinstance(trouble, Killed):
            self._killed(trouble, *arguments)
            return
        for fault in trouble.faults:
            switch = {name: fault[name] for name in ("match", "times", "after")}
            self.sandbox.faults.add(fault["kind"], **switch, **fault["options"])
        self.sandbox.cw.lag(reads=trouble.lag)
        self.operator.ends_sessions = not trouble.faults
        self.sync(*arguments)
        self.operator.ends_sessions = True
        self.sandbox.ksc.sessions.open.clear()
        self.sandbox.faults.clear()
        self._catch_up()

    def id_of(self, accepts: str) -> str:
        """An id that some run has shown: the whole `plan`, a `client`'s, or one of `yesterday`.

        Where something waits for a line of a row that is off, the operator first sets that to 0.
        """
        last = self.documents[-1]
        if any((line["hold"] or {}).get("guard") == "elsewhere" for line in _lines(last)):
            old = {(one.psa, one.old_row) for one in self.clients if one.old_row}
            for found, held in self.lines().items():
                if held.place in old:
                    self.record(found).quantity = 0
                    self.set_by_kisi.discard(found)
        if accepts == "client":
            return next(iter(one for one in last["companies"]))["plan_id"]
        return (self.documents[-2:][0] if accepts == "yesterday" else last)["plan_id"]

    def _catch_up(self) -> None:
        """ConnectWise shows to every reader what was written."""
        self.sandbox.cw.lag()
        reader = self.sandbox.cw.reader
        for number in self.world.agreements:
            for _ in range(5):
                reader.read(number)

    # --- what must hold -------------------------------------------------------------------------

    def _changed_rightly(self, before: Mapping[LineId, Held], after: Mapping[LineId, Held]) -> None:
        """Every line holds what it held, or what it should; no line is gone, none is odd."""
        assert before.keys() <= after.keys()
        wanted = {
            ((client.psa, client.agreement), product): number
            for client in self.clients
            if client.billing
            for product, number in self.desired(client).items()
        }
        for line, held in after.items():
            old = before.get(line)
            if old == held:
                continue
            should = wanted.get((held.place, held.product))
            if old is None:
                assert held.quantity == should, f"{line} was made as {held}, not {should}"
            else:
                assert held.quantity in {should, 0}, f"{old} became {held}, not {should}"
                assert held.quantity == should or self._is_orphan(line, held)

    def _is_orphan(self, line: LineId, held: Held) -> bool:
        """A line that kisi had, and that no row bills any more."""
        owner = next(one for one in self.clients if held.place in one.places)
        products = {product for _, _, product in self.rows(owner)}
        mapped = held.place[1] == owner.agreement and held.product in products
        return owner.billing and not mapped and line in self._owned()

    def _owned(self) -> set[LineId]:
        with Journal.open(self.operator.state, readonly=True) as journal:
            names = [name for one in self.clients for name in (one.name, _old(one))]
            histories = [journal.line_history(name) for name in names]
        return {(one.psa, one.line_id) for lines in histories for one in lines}

    def _one_line_a_product(self, after: Mapping[LineId, Held]) -> None:
        ours = Counter(
            (after[line].place, after[line].product) for line in self.made & after.keys()
        )
        twice = [where for where, number in ours.items() if number > 1]
        assert not twice, f"kisi made two lines of {twice}"

    def _never_too_much(self, before: Mapping[LineId, Held], after: Mapping[LineId, Held]) -> None:
        """No run brings what kisi bills a client above what the client was ever seen to use."""
        for client in self.clients:
            for application in (APPLICATION, DETECTION):
                products = {
                    product
                    for (psa, name, _), every in self.products.items()
                    for product in every
                    if (psa, name) == (client.psa, application)
                }
                ours = [
                    line
                    for line in self.set_by_kisi & after.keys()
                    if after[line].place in client.places and after[line].product in products
                ]
                were, are = (
                    sum(state[line].quantity for line in ours if line in state)
                    for state in (before, after)
                )
                most = max(were, client.most[application])
                assert are <= most, f"{client.name} is billed {are}, and used {most} at most"

    def _journal_is_true(self, before: Mapping[LineId, Held], after: Mapping[LineId, Held]) -> None:
        """What this run confirmed, the PSA held in this run; what it wrote last, it holds now."""
        if not self.operator.state.exists():
            return
        with Journal.open(self.operator.state, readonly=True) as journal:
            run = journal.last_runs(1)[0].id
            histories = [journal.line_history(one.name) for one in self.clients]
            operations = journal.operations(run)
        for line in (one for lines in histories for one in lines):
            key = (line.psa, line.line_id)
            newest = line.quantities[-1]
            if newest.last_run == run:
                held = [state[key].quantity for state in (before, after) if key in state]
                assert newest.quantity in held, f"{key}: confirmed {newest}, but it held {held}"
        for operation in operations:
            if operation.outcome is Outcome.APPLIED:
                line = operation.line
                place = (line.psa, line.agreement)
                held = [
                    x.quantity
                    for x in after.values()
                    if (x.place, x.product) == (place, line.product)
                ]
                assert line.after in held, f"{line} was not written: {held}"

    def _says_the_truth(self, document: dict[str, Any]) -> None:
        """A client that is called current has the lines it should have."""
        lines = self.lines()
        for row in document["companies"]:
            client = next((one for one in self.clients if one.name == row["name"]), None)
            if client is None:
                assert (row["status"], row["lines"]) == ("off", [])
                continue
            for line in row["lines"]:
                self._holds_for_a_reason(line)
            if not row["current"] or not client.billing:
                continue
            place = (client.psa, client.agreement)
            for product, number in self.desired(client).items():
                held = [
                    one.quantity
                    for one in lines.values()
                    if (one.place, one.product) == (place, product)
                ]
                assert held == [number] or (not held and number == 0), (client.name, product, held)
        if document["exit_code"] == ExitCode.OK:
            assert all(row["current"] or row["status"] == "off" for row in document["companies"])

    def _holds_for_a_reason(self, line: dict[str, Any]) -> None:
        """Nobody is said to have changed a line but a person who did."""
        guard, reason = (line["hold"] or {}).get("guard"), (line["hold"] or {}).get("reason", "")
        found = (line["psa"], line["line_id"])
        if guard == "drift" and "unknown outcome" not in reason:
            assert found not in self.set_by_kisi, reason
        if guard == "adopt":
            assert found not in self.made, reason
        if guard == "deleted" and "an earlier run sent this new line" not in reason:
            assert ((line["psa"], line["agreement"]), line["product"]) in self.removed, reason

    def settles_down(self) -> None:
        """Without faults, a run comes to a fixed point: the next one writes nothing."""
        first = self.sync()
        held = self.lines()
        second = self.sync()
        assert not _psa_writes(second), "a second run wrote"
        assert self.lines() == held
        assert second.code == first.code
        assert second.document["summary"]["applied"] == 0
        with Journal.open(self.operator.state, readonly=True) as journal:
            unsettled = [one for one in journal.pending() if one.outcome is None]
        assert not unsettled, "an intent was left without an outcome"


def _lines(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for company in document["companies"]:
        yield from company["lines"]


def _old(client: Billed) -> str:
    return f"{client.name}, old row"


def _jumping(clock: time_machine.Traveller) -> Callable[[Clock, float], None]:
    """A wait that moves the clocks on instead."""
    return lambda _clock, seconds: clock.shift(timedelta(seconds=seconds))


def _psa_writes(result: Result) -> list[Any]:
    soap = [one for one in result.sent_to("tigerpaw") if one.path.endswith("tsiWS.asmx")]
    return [*result.writes, *soap]
