"""Contoso, Fabrikam and Adatum, billed by random runs; and what must hold after each of them.

`Scene` is the simulated world and the operator in it; every method is one thing that may happen.
What kisi should bill is worked out here a second time, from what the scene put on the devices, so
that the product's own counting and planning are judged and not repeated.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import time_machine

from kisi.errors import ExitCode
from kisi.journal import Journal
from kisi.model import Outcome
from kisi.sandbox import Sandbox
from kisi.sandbox.agreements import Addition
from kisi.sandbox.configuration import company_row
from kisi.sandbox.licences import Key, VirtualServer
from kisi.sandbox.tigerpaw import Charge, Tigerpaw
from kisi.sandbox.tigerpaw import product_row as tigerpaw_product
from kisi.sandbox.world import APPLICATION, World
from kisi.transport import SystemClock
from tests.e2e.conftest import NOW, Operator, Result

DETECTION = "Kaspersky EDR Optimum"
"""A second application, always billed as one product."""
CATEGORIES = {
    "workstation": "windows_workstations",
    "server": "windows_servers",
    "linux": "non_windows",
}

Place = tuple[str, str]
"""PSA and agreement."""
LineId = tuple[str, str]
"""PSA and the line's own id."""


class Crash(BaseException):
    """The process ends here and now. No code of kisi may catch it."""


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
    billing: bool = True
    exceptions: list[dict[str, str | int | bool]] = field(default_factory=list)
    uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Devices by application and kind."""
    most: Counter[str] = field(default_factory=Counter)
    """The highest total of each application that a run could ever have measured."""

    def __post_init__(self) -> None:
        self.agreement = self.agreements[0]

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

    def total(self, application: str) -> int:
        """How many devices use an application."""
        return sum(number for (name, _), number in self.uses.items() if name == application)


class Scene:
    """The world, kisi's files, and everything that may happen between two runs, or in one."""

    def __init__(self, guards: str) -> None:
        with ExitStack() as stack:
            self.clock = stack.enter_context(time_machine.travel(NOW, tick=True))
            self.world = World()
            self.sandbox = Sandbox(self.world)
            self.tigerpaw = Tigerpaw(self.world.now)
            server = self.tigerpaw.serve(faults=self.sandbox.faults, log=self.sandbox.log)
            self.part = self.tigerpaw.part(server)
            self.sandbox.add(self.part)
            folder = Path(tempfile.mkdtemp(prefix="kisi-"))
            stack.callback(shutil.rmtree, folder)
            self.operator = Operator(self.sandbox, folder, self.clock)
            self.operator.more = guards
            stack.enter_context(mock.patch.object(SystemClock, "sleep", _jumping(self.clock)))
            stack.enter_context(self.sandbox)
            self._open = stack.pop_all()
        self.products: dict[tuple[str, str, str], list[str]] = {}
        """PSA, application and category to the products that may bill it; the first one does."""
        self.by_category = {"cw": True, "tp": True}
        self.clients = [self._client("Contoso", "cw"), self._client("Fabrikam", "cw")]
        self.clients.append(self._client("Adatum", "tp"))
        self._price_lists()
        self.made: set[LineId] = set()
        """Lines that kisi created."""
        self.set_by_kisi: set[LineId] = set()
        """Lines whose quantity kisi was the last to set."""
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
        account = self.tigerpaw.account(name)
        made = [str(self.tigerpaw.agreement(account).number) for _ in range(2)]
        return Billed(name, psa, account.number, tuple(made), server, keys)

    def _price_lists(self) -> None:
        for psa in ("cw", "tp"):
            for category in ("all", *CATEGORIES.values()):
                self.products[psa, APPLICATION, category] = self._make_products(psa, category)
            self.products[psa, DETECTION, "all"] = self._make_products(psa, "edr")

    def _make_products(self, psa: str, name: str) -> list[str]:
        names = [f"{psa}-{name}-{number}" for number in (1, 2)]
        if psa == "cw":
            return [str(self.world.product(one).id) for one in names]
        return [self.tigerpaw.item(one).id for one in names]

    def lines(self) -> Mapping[LineId, Held]:
        """Every line that bills, of both PSAs."""
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
        return additions | charges

    def record(self, line: LineId) -> Addition | Charge:
        """A line as its PSA keeps it, for a person to change."""
        psa, number = line
        return (self.world if psa == "cw" else self.tigerpaw).lines[int(number)]

    # --- what people do -------------------------------------------------------------------------

    def edit(self, line: LineId, quantity: int) -> None:
        """A person sets a quantity."""
        self.record(line).quantity = quantity
        self.set_by_kisi.discard(line)

    def remove(self, line: LineId, *, cancel: bool) -> None:
        """A person deletes a line, or (ConnectWise) cancels it."""
        record = self.record(line)
        if cancel and isinstance(record, Addition):
            record.cancelled_date = self.world.now()
        else:
            del (self.world if line[0] == "cw" else self.tigerpaw).lines[record.id]

    def add(self, client: Billed, product: str, quantity: int) -> None:
        """A person adds a line to the agreement that is mapped."""
        if client.psa == "cw":
            self.world.add_line(int(client.agreement), int(product), quantity)
        else:
            self.tigerpaw.charge(int(client.agreement), product, quantity)

    # --- the mapping ----------------------------------------------------------------------------

    def rows(self, client: Billed) -> Iterator[tuple[str, str, str]]:
        """Application, category and product of every row in force for a client."""
        excepted = {str(one["application"]): one for one in client.exceptions}
        for application in (APPLICATION, DETECTION):
            exception = excepted.get(application)
            if exception is None:
                split = application == APPLICATION and self.by_category[client.psa]
                for category in CATEGORIES.values() if split else ("all",):
                    yield (
                        application,
                        category,
                        self.products[client.psa, application, category][0],
                    )
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
        of_tigerpaw = []
        for application in (APPLICATION, DETECTION):
            for psa in ("cw", "tp"):
                split = application == APPLICATION and self.by_category[psa]
                categories = CATEGORIES.values() if split else ("all",)
                row = {one: self.products[psa, application, one][0] for one in categories}
                if psa == "cw":
                    billing.bill(application, **{one: int(row[one]) for one in row})
                else:
                    items = {one: self.tigerpaw.items[row[one]] for one in row}
                    of_tigerpaw.append(tigerpaw_product(application, **items))
        of_clients = [self._company_row(client) for client in self.clients]
        self.part.mapping = "\n".join([*of_tigerpaw, *of_clients])

    def _company_row(self, client: Billed) -> str:
        return company_row(
            client.name,
            [f"hq:{client.server.uid}"],
            psa=client.psa,
            company=client.company,
            agreement=int(client.agreement),
            billing=client.billing,
            exceptions=client.exceptions,
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

    def crash(self, method: str, *, committed: bool) -> None:
        """One `kisi sync` that ends like a killed process at its first intent or outcome."""
        original: Callable[..., Any] = getattr(Journal, method)

        def dies(journal: Journal, *arguments: Any, **more: Any) -> Any:
            if committed:
                original(journal, *arguments, **more)
            raise Crash

        with self._watched(), mock.patch.object(Journal, method, dies):
            try:
                self.operator.sync()
            except Crash:
                pass

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
        self._never_too_much(after)
        self._journal_is_true(before, after)

    def catch_up(self) -> None:
        """ConnectWise shows to every reader what was written."""
        cw = self.sandbox.cw
        cw.lag()
        for client in self.clients:
            for agreement in client.agreements if client.psa == "cw" else ():
                for _ in range(100):
                    cw.resources.reader.read(int(agreement))

    def calm(self) -> None:
        """Nothing goes wrong any more; sessions that a fault kept open are forgotten."""
        self.sandbox.faults.clear()
        self.sandbox.ksc.sessions.open.clear()

    # --- what must hold -------------------------------------------------------------------------

    def _changed_rightly(
        self, before: Mapping[LineId, Held], after: Mapping[LineId, Held]
    ) -> None:
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
        owner = next(one for one in self.clients if held.place[1] in one.agreements)
        products = {product for _, _, product in self.rows(owner)}
        mapped = held.place[1] == owner.agreement and held.product in products
        return owner.billing and not mapped and line in self._owned()

    def _owned(self) -> set[LineId]:
        with Journal.open(self.operator.state, readonly=True) as journal:
            histories = [journal.history.line_history(one.name) for one in self.clients]
        return {(one.key.psa, one.key.line_id) for lines in histories for one in lines}

    def _one_line_a_product(self, after: Mapping[LineId, Held]) -> None:
        ours = Counter((after[line].place, after[line].product) for line in self.made & after.keys())
        twice = [where for where, number in ours.items() if number > 1]
        assert not twice, f"kisi made two lines of {twice}"

    def _never_too_much(self, after: Mapping[LineId, Held]) -> None:
        """What kisi bills a client is never more than the client was ever seen to use."""
        for client in self.clients:
            for application in (APPLICATION, DETECTION):
                products = {
                    product
                    for (psa, name, _), every in self.products.items()
                    for product in every
                    if (psa, name) == (client.psa, application)
                }
                billed = sum(
                    held.quantity
                    for line, held in after.items()
                    if line in self.set_by_kisi
                    and held.place[1] in client.agreements
                    and held.product in products
                )
                assert billed <= client.most[application], f"{client.name} is billed {billed}"

    def _journal_is_true(
        self, before: Mapping[LineId, Held], after: Mapping[LineId, Held]
    ) -> None:
        """What this run confirmed, the PSA held in this run; what it wrote last, it holds now."""
        if not self.operator.state.exists():
            return
        with Journal.open(self.operator.state, readonly=True) as journal:
            run = journal.history.last_runs(1)[0].id
            histories = [journal.history.line_history(one.name) for one in self.clients]
            operations = journal.history.operations(run)
        for line in (one for lines in histories for one in lines):
            key = (line.key.psa, line.key.line_id)
            newest = line.quantities[-1]
            if newest.last_run == run:
                held = [state[key].quantity for state in (before, after) if key in state]
                assert newest.quantity in held, f"{key}: confirmed {newest}, but it held {held}"
        for operation in operations:
            if operation.outcome is Outcome.APPLIED:
                line = operation.line
                place = (line.psa, line.agreement)
                held = [x.quantity for x in after.values() if (x.place, x.product) == (place, line.product)]
                assert line.after in held, f"{line} was not written: {held}"

    def _says_the_truth(self, document: dict[str, Any]) -> None:
        """A client that is called current has the lines it should have."""
        lines = self.lines()
        for row in document["companies"]:
            client = next(one for one in self.clients if one.name == row["name"])
            if not row["current"] or not client.billing:
                continue
            place = (client.psa, client.agreement)
            for product, number in self.desired(client).items():
                held = [one.quantity for one in lines.values() if (one.place, one.product) == (place, product)]
                assert held == [number] or (not held and number == 0), (client.name, product, held)
        if document["exit_code"] == ExitCode.OK:
            assert all(row["current"] or row["status"] == "off" for row in document["companies"])

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


def _jumping(clock: time_machine.Traveller) -> Callable[[SystemClock, float], None]:
    """A wait that moves the clocks on instead."""
    return lambda _clock, seconds: clock.shift(timedelta(seconds=seconds))


def _psa_writes(result: Result) -> list[Any]:
    soap = [one for one in result.sent_to("tigerpaw") if one.path.endswith("tsiWS.asmx")]
    return [*result.writes, *soap]

