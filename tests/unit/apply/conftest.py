"""A context with a fake PSA on one side and the real journal on the other."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kisi.apply import ApplyContext, ApplyResult, apply
from kisi.errors import PsaError
from kisi.journal import Journal, Operation
from kisi.model import Arrangement, Company, CompanyPlan, Outcome, Plan, PlannedLine, Status
from tests.unit.build import COMPANY, TODAY
from tests.unit.fakes import FakeClock, FakePsa

UNREADABLE = PsaError("The charges could not be read.")

Waits = Iterable[tuple[PlannedLine, Iterable[PlannedLine]]]
"""Rising lines, each with the falling ones it waits for."""


@dataclass
class Bench:
    """What `apply` needs, and what became of it."""

    journal: Journal
    clock: FakeClock = field(default_factory=FakeClock)
    psas: dict[str, FakePsa] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    emergency: list[str] = field(default_factory=list)
    pause: Callable[[float], None] | None = None
    ends: float = math.inf
    read_at: float = 0.0
    run: int = 0

    @property
    def psa(self) -> FakePsa:
        return self.psas["cw"]

    def add_psa(self, name: str, *, workers: int = 1) -> FakePsa:
        self.psas[name] = FakePsa(name, clock=self.clock, workers=workers)
        return self.psas[name]

    def begin(self) -> int:
        self.run = self.journal.begin_run(
            self.clock.now(), version="1", command="sync", config_hash=""
        )
        return self.run

    def apply(self, *plans: CompanyPlan, waits: Waits | None = None) -> ApplyResult:
        """Writes these clients' plans in a new run.

        Args:
            plans: The clients.
            waits: Which falling lines each rising line waits for; default: none.
        """
        run = self.begin()
        refs = {ref for psa in self.psas.values() for ref in psa.refs()}
        context = ApplyContext(
            psas=self.psas,
            agreements={ref: self.psas[ref.psa].agreements([ref], TODAY)[ref] for ref in refs},
            read_at=self.read_at,
            journal=self.journal,
            run=run,
            today=TODAY,
            clock=self.clock,
            stop=self.stop,
            emergency=self.emergency.append,
            pause=self.pause,
            ends=self.ends,
        )
        waiting = {rise.slot: {fall.slot for fall in falls} for rise, falls in waits or ()}
        return apply(Plan(plans, arrangement=Arrangement(waits=waiting)), context)

    def write(self, *lines: PlannedLine, waits: Waits | None = None) -> list[PlannedLine]:
        """Writes the lines of one client and returns them with their outcomes."""
        return list(self.apply(client(*lines), waits=waits).plan.companies[0].lines)

    def breaks(self, agreement: str = "1042", error: PsaError = UNREADABLE) -> Callable[[], None]:
        """For a `Reaction`: from this write on the agreement's lines cannot be read."""
        return lambda: self.psa.unreadable.update({agreement: (error, None)})

    def operations(self) -> list[Operation]:
        """What the journal has of this run's writes."""
        return list(self.journal.operations(self.run))

    def outcomes(self) -> list[tuple[str, Outcome | None, bool]]:
        """Product, outcome and whether it is settled, of this run's writes in their order."""
        return [(op.line.product, op.outcome, op.settled) for op in self.operations()]

    def proven_in(self) -> list[int | None]:
        """The run that stored each outcome of this run's writes, in their order."""
        rows = self.journal._connection.execute(
            "SELECT outcome_run FROM operation WHERE run = ? ORDER BY id", (self.run,)
        )
        return [row[0] for row in rows]

    def owned(self) -> dict[str, tuple[str, float]]:
        """What the journal says that kisi owns: product to line id and quantity."""
        facts = self.journal.facts(self.clock.now(), 30)
        return {fact.product: (fact.line_id, float(fact.confirmed)) for fact in facts}

    def fail_journal(self) -> None:
        """From now on nothing can be stored."""
        self.journal._connection.execute("PRAGMA query_only = ON")


def client(*lines: PlannedLine, company: Company = COMPANY, **more: object) -> CompanyPlan:
    return CompanyPlan(company, Status.READY, lines, **more)


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[[], Bench]]:
    with ExitStack() as stack:
        made = 0

        def make() -> Bench:
            nonlocal made
            made += 1
            journal = stack.enter_context(Journal.open(tmp_path / f"state{made}"))
            bench = Bench(journal)
            bench.add_psa("cw").agreement()
            return bench

        yield make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()
