"""One night: what `kisi sync` does between its files and its last line, with everything injected.

This is the only module of the package that knows how kisi's parts are put together.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from kisi.apply import ApplyContext, apply
from kisi.errors import ExitCode, Withheld, worst
from kisi.journal import Journal
from kisi.model import (
    BillingMapping,
    Company,
    CompanyPlan,
    CountingRules,
    Glob,
    GuardRules,
    Outcome,
    Plan,
    PlannedLine,
    Status,
)
from kisi.psa import Psa
from kisi.reconcile.pipeline import JournalState, Reconciled, Rules, reconcile, resolve
from kisi.reconcile.reverts import Revert
from kisi.reconcile.summary import exit_code
from kisi.run.daily import load_journal_state, wait_for_last_write
from kisi.run.journal_entries import accept, record_outcome, record_reading
from kisi.sources import UsageSource
from kisi.transport import Clock
from tests.unit.worlds.world import LineId, Slot

EVIDENCE_DAYS = 400
TICK = 0.001
"""Seconds that pass whenever a run that has a deadline looks at its clock."""
_BESIDE = "in part for the same devices"
"""What a hold says of a line that the run does not plan, also where another guard names it."""
_IDS = re.compile(r"--accept ([0-9a-f]+)")


@dataclass(slots=True)
class Ticking:
    """A clock that goes on by itself, so that a run's time is up after so many looks at it."""

    clock: Clock
    looks: int = 0

    def now(self) -> datetime:
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def monotonic(self) -> float:
        self.looks += 1
        return self.clock.monotonic() + self.looks * TICK


@dataclass(slots=True)
class Office:
    """Everything a run works with. The mapping is the one of today."""

    journal: Journal
    clock: Clock
    sources: Mapping[str, UsageSource]
    psas: Mapping[str, Psa]
    mapping: BillingMapping = field(default_factory=BillingMapping)
    counting: CountingRules = field(default_factory=CountingRules)
    guards: GuardRules = field(default_factory=GuardRules)
    guarded: Plan = field(default_factory=lambda: Plan(()))
    """What the run that is under way, or was the last, has worked out before any accept."""
    accepted: frozenset[str] = frozenset()
    """The keys that were accepted in that run or before it."""
    run: int = 0
    """The number of that run."""

    def rules(self) -> Rules:
        now = self.clock.now()
        today = now.date()
        return Rules(self.mapping.on(today), self.counting, self.guards, now, today)


@dataclass(frozen=True, slots=True)
class Night:
    """What the operator sees of a run."""

    plan: Plan
    """As it stands when the run ends; without clients if the run was refused."""
    code: int
    refused: str = ""
    """Why an accepted id stopped the run; empty if none did."""


def night(
    office: Office,
    *,
    accepted: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    revert: int | None = None,
    looks: int | None = None,
) -> Night:
    """One `kisi sync`; after so many `looks` at the clock its time is up."""
    journal, clock = office.journal, office.clock
    office.run = run = journal.begin_run(
        clock.now(), version="1", command="sync", config_hash="", plan_scope=" ".join(only)
    )
    rules = office.rules()
    journal.record_mapping(rules.mapping.companies)
    memory = load_journal_state(journal, rules)
    if revert is not None:
        undo = Revert(revert, run, journal.operations_since(revert))
        memory = replace(memory, revert=undo)
    wait_for_last_write(memory, clock, lambda _text: None)
    office.guarded, office.accepted = Plan(()), frozenset()
    begin_by = math.inf if looks is None else clock.monotonic() + looks * TICK
    clock = clock if looks is None else Ticking(clock)
    found = _reconciled(replace(office, clock=clock), rules, memory, only, exclude, begin_by)
    office.guarded = found.plan
    record_reading(journal, run, clock.now(), found, rules)
    try:
        keys, _ = accept(
            journal, run, clock.now(), "ada", found.plan, accepted, resolve(found, office.psas)
        )
    except Withheld as error:
        _end(journal, run, clock, error.exit_code)
        return Night(Plan(()), error.exit_code, refused=error.message)
    office.accepted = found.accepted | keys
    plan = resolve(found, office.psas, keys)
    journal.record_plan(run, clock.now(), plan)
    told: list[str] = []
    context = ApplyContext(
        psas=office.psas,
        agreements=found.agreements,
        read_at=found.read_at,
        journal=journal,
        run=run,
        today=rules.today,
        clock=clock,
        stop=threading.Event(),
        emergency=told.append,
        begin_by=begin_by,
        turns=found.turns,
    )
    applied = apply(plan, context)
    assert applied.state_error is None, (applied.state_error, told)
    plan = applied.plan
    record_outcome(journal, run, clock.now(), found, plan, rules.today)
    journal.prune(clock.now() - timedelta(days=EVIDENCE_DAYS))
    code = worst([exit_code(plan), *(error.exit_code for error in applied.foreign_changes)])
    _end(journal, run, clock, code)
    return Night(plan, code)


def preview(office: Office) -> Plan:
    """What `kisi preview` shows: the guarded plan over all clients. Writes nothing."""
    rules = office.rules()
    found = _reconciled(office, rules, load_journal_state(office.journal, rules), (), ())
    return resolve(found, office.psas)


def _is_named(company: Company, globs: tuple[str, ...]) -> bool:
    return any(Glob(glob).matches(company.name) for glob in globs)


def _reconciled(
    office: Office,
    rules: Rules,
    memory: JournalState,
    only: tuple[str, ...],
    exclude: tuple[str, ...],
    begin_by: float = math.inf,
) -> Reconciled:
    companies = tuple(
        one
        for one in rules.mapping.companies
        if (not only or _is_named(one, only)) and not _is_named(one, exclude)
    )
    return reconcile(
        rules,
        office.sources,
        office.psas,
        memory,
        companies,
        lambda _what, _done, _total: None,
        office.clock,
        begin_by,
    )


def _end(journal: Journal, run: int, clock: Clock, code: int) -> None:
    journal.end_run(run, clock.now(), exit_code=ExitCode(code), summary={}, message="")


# --- what the operator reads ----------------------------------------------------------------------


def held(plan: Plan) -> list[tuple[CompanyPlan, PlannedLine]]:
    """Every line on hold, with its client."""
    return [(one, line) for one in plan.companies for line in one.lines if line.hold is not None]


def ids_in(line: PlannedLine) -> tuple[str, ...]:
    """The ids in the command that a line's hold offers; none if it offers none."""
    return tuple(dict.fromkeys(_IDS.findall(line.hold.remedy))) if line.hold else ()


def offered(plan: Plan) -> list[str]:
    """Every id that a plan's holds offer, each once."""
    return list(dict.fromkeys(one for _, line in held(plan) for one in ids_in(line)))


def client_ids(plan: Plan) -> list[str]:
    """The ids of the clients that have something on hold."""
    return list(dict.fromkeys(client.plan_id for client, _ in held(plan)))


def judged(plan: Plan) -> frozenset[str]:
    """The names of the clients that the run could read, count and plan."""
    good = (Status.READY, Status.HELD)
    return frozenset(one.company.name for one in plan.companies if one.status in good)


def unknown_creates(plan: Plan) -> frozenset[Slot]:
    """The new lines of which the run does not know whether they came to be."""
    return frozenset(
        Slot(*line.slot)
        for line in plan.lines
        if line.line_id is None and line.outcome is Outcome.UNKNOWN
    )


def accepts_beside(plan: Plan, accepted: Iterable[str]) -> bool:
    """Whether accepted keys cover a wait for a line that this run does not plan."""
    keys = set(accepted)
    return any(
        line.hold is not None and line.hold.key in keys and _BESIDE in line.hold.reason
        for _, line in held(plan)
    )


def goes_back(plan: Plan) -> dict[LineId, int]:
    """The lines that go back to what they held before a run, with that run."""
    return {
        LineId(line.psa, line.agreement, line.line_id): line.reversal.run
        for line in plan.lines
        if line.reversal and line.line_id and line.changes and line.goes_back
    }


def doubled(plan: Plan, accepted: Iterable[str]) -> frozenset[Slot]:
    """The lines that accepted keys let rise beside others that go on billing their devices."""
    keys = set(accepted)
    return frozenset(
        Slot(*line.slot)
        for _, line in held(plan)
        if line.slot in plan.arrangement.lasting and line.hold and line.hold.key in keys
    )


def told(plan: Plan) -> Iterable[str]:
    """The plan in lines, for a story."""
    for one in plan.companies:
        if one.failure is not None:
            yield f"{one.company.name}: failed, {one.failure.guard}: {one.failure.reason}"
        for line in one.lines:
            if not line.changes:
                continue
            what = f"{line.agreement}/{line.product} {line.before} -> {line.after}"
            if line.hold is not None:
                ids = " ".join(ids_in(line)) or "no id"
                what += f" HELD {line.hold.guard} [{ids}]: {line.hold.reason}"
            else:
                what += f" {line.outcome} {line.detail}"
            yield f"{one.company.name} ({one.plan_id}): {what}"
