"""A whole small business in memory: sources, PSAs, a mapping, the real journal, and its days."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from kisi.apply import ApplyContext, ApplyResult, apply
from kisi.errors import ExitCode, worst
from kisi.journal import Journal
from kisi.model import (
    BillingMapping,
    Company,
    CompanyPlan,
    CountingRules,
    GuardRules,
    Plan,
    TenantRef,
)
from kisi.reconcile.pipeline import JournalState, Reconciled, Rules, reconcile, resolve
from kisi.reconcile.reverts import Revert
from kisi.reconcile.summary import exit_code
from kisi.run.daily import chosen_clients, load_journal_state
from kisi.run.journal_entries import accept, record_outcome, record_reading
from tests.unit.build import (
    ALL_ROW,
    COMPANY,
    SERVER_2022,
    WINDOWS_11,
    device,
    mapping,
    reading,
    tenant,
)
from tests.unit.fakes import FakeClock, FakePsa, FakeSource

OPEN = GuardRules(
    decrease_percent=1000, increase_percent=10**9, create_units=10**9, run_percent=1000
)
"""Limits that nothing exceeds; `to-zero`, `adopt`, `drift` and so on still hold."""


def devices(workstations: int = 0, servers: int = 0, prefix: str = "pc"):
    """So many devices of a tenant."""
    return [
        *(device(f"{prefix}-w{number}", WINDOWS_11) for number in range(workstations)),
        *(device(f"{prefix}-s{number}", SERVER_2022) for number in range(servers)),
    ]


def company(number: int, **more: object) -> Company:
    """A second, third ... client; its tenant is `VSRV-<number>` of `hq`."""
    values = {
        "name": f"Client {number}",
        "tenants": (TenantRef("hq", f"VSRV-{number}"),),
        "psa": "cw",
        "company": str(250 + number - 1),
        "agreement": str(1042 + number - 1),
    }
    return Company(**{**values, **more})


@dataclass
class Day:
    """What became of one run."""

    run: int
    found: Reconciled
    applied: ApplyResult

    @property
    def plan(self) -> Plan:
        return self.applied.plan

    @property
    def code(self) -> ExitCode:
        foreign = [error.exit_code for error in self.applied.foreign_changes]
        return worst([exit_code(self.plan), *foreign])

    def client(self, name: str = "Contoso") -> CompanyPlan:
        return next(plan for plan in self.plan.companies if plan.company.name == name)


@dataclass
class Scene:
    """Everything a run works with."""

    journal: Journal
    clock: FakeClock = field(default_factory=FakeClock)
    sources: dict[str, FakeSource] = field(default_factory=dict)
    psas: dict[str, FakePsa] = field(default_factory=dict)
    mapping: BillingMapping = field(default_factory=lambda: mapping(ALL_ROW))
    counting: CountingRules = field(default_factory=CountingRules)
    guards: GuardRules = OPEN
    stop: threading.Event = field(default_factory=threading.Event)
    told: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def hq(self) -> FakeSource:
        return self.sources["hq"]

    @property
    def cw(self) -> FakePsa:
        return self.psas["cw"]

    def add_source(self, name: str) -> FakeSource:
        self.sources[name] = FakeSource(name)
        return self.sources[name]

    def add_psa(self, name: str, *, workers: int = 1) -> FakePsa:
        self.psas[name] = FakePsa(name, clock=self.clock, workers=workers)
        return self.psas[name]

    def uses(self, workstations: int = 0, servers: int = 0, uid: str = "VSRV-1", **more) -> None:
        """From now on a tenant of `hq` uses the application on so many devices."""
        name = {"VSRV-1": "Contoso"}.get(uid, f"Tenant {uid}")
        self.hq.add(
            reading(devices(workstations, servers, uid), of=tenant(name, uid, "hq"), **more)
        )

    def bill(self, *companies: Company) -> None:
        """From now on exactly these clients are mapped."""
        self.mapping = replace(self.mapping, companies=companies)

    def rules(self) -> Rules:
        now = self.clock.now()
        return Rules(self.mapping, self.counting, self.guards, now, now.date())

    def journal_state(self) -> JournalState:
        return load_journal_state(self.journal, self.rules())

    def look(self, *, only=(), exclude=(), memory: JournalState | None = None) -> Reconciled:
        """The guarded plan; writes nothing."""
        return reconcile(
            self.rules(),
            self.sources,
            self.psas,
            memory or self.journal_state(),
            chosen_clients(self.mapping, only, exclude),
            lambda *told: self.told.append(told),
            self.clock,
        )

    def sync(self, *accepted: str, revert: int | None = None, only=(), exclude=()) -> Day:
        """A run as `kisi sync` makes it."""
        at = self.clock.now()
        run = self.journal.begin_run(at, version="1", command="sync", config_hash="")
        self.journal.record_mapping(self.mapping.companies)
        memory = self.journal_state()
        if revert is not None:
            undo = Revert(revert, run, self.journal.operations_since(revert))
            memory = replace(memory, revert=undo)
        found = self.look(only=only, exclude=exclude, memory=memory)
        record_reading(self.journal, run, at, found, self.rules())
        shown = resolve(found, self.psas)
        keys, _ = accept(self.journal, run, at, "ada", found.plan, accepted, shown)
        plan = resolve(found, self.psas, keys)
        self.journal.record_plan(run, at, plan)
        context = ApplyContext(
            psas=self.psas,
            agreements=found.agreements,
            read_at=found.read_at,
            journal=self.journal,
            run=run,
            today=at.date(),
            clock=self.clock,
            stop=self.stop,
            emergency=pytest.fail,
        )
        applied = apply(plan, context)
        record_outcome(self.journal, run, at, found, applied.plan, at.date())
        self.journal.end_run(run, at, exit_code=0, summary={}, message="")
        return Day(run, found, applied)

    def facts(self) -> dict[tuple[str, str, str], float]:
        """What the journal says that kisi owns and last confirmed."""
        found = self.journal.facts(self.clock.now(), 30)
        return {(one.agreement, one.product, one.line_id): float(one.confirmed) for one in found}

    def sent(self, psa: str = "cw") -> int:
        return len(self.psas[psa].sent)


@pytest.fixture
def make_scene(tmp_path: Path) -> Iterator[Callable[[], Scene]]:
    """Contoso: a tenant of `hq`, an agreement in `cw`, an empty journal."""
    with ExitStack() as stack:
        made = 0

        def make() -> Scene:
            nonlocal made
            made += 1
            scene = Scene(stack.enter_context(Journal.open(tmp_path / f"state{made}")))
            scene.add_source("hq")
            scene.add_psa("cw").agreement(COMPANY.company, COMPANY.agreement)
            return scene

        yield make


@pytest.fixture
def scene(make_scene: Callable[[], Scene]) -> Scene:
    return make_scene()
