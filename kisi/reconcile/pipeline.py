"""The one pipeline that `preview` and `sync` share: collect, count, read lines, plan, guard.

It cannot write: it knows sources and PSAs only through their reading methods, and hands the result
to the caller. Everything is read before anything is decided. Trouble with one client, of whatever
kind, fails that client alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import partial

from kisi.counting import (
    CountingContext,
    Days,
    KeyUses,
    Matcher,
    combine,
    ended_keys,
    outlook,
    uncounted,
)
from kisi.errors import ExitCode
from kisi.journal import Operation, PackedUsage, StoredForeignChange
from kisi.model import (
    Agreement,
    AgreementRef,
    Arrangement,
    BillingMapping,
    Company,
    CompanyPlan,
    Failure,
    LeftLine,
    LineSlot,
    OwnedLine,
    Plan,
    PlannedLine,
    Rules,
    Status,
    Tenant,
    TenantRef,
    TenantUsage,
    Terms,
    tenants_left_behind,
    unmapped_tenants,
)
from kisi.planning import (
    AcceptedDoubles,
    CurrentState,
    DesiredState,
    Doubles,
    GuardContext,
    OwnedLines,
    Owners,
    attribute,
    billed_applications,
    counted_twice,
    desired_state,
    empty_sources,
    failed,
    first_day,
    guard,
    guard_run,
    managed_by_hand,
    needs_days,
    period_notes,
    period_of,
    plan_company,
    ref_of,
    release,
    told_and_asked,
    with_ids,
    with_notes,
    with_policies,
)
from kisi.psa import Psa
from kisi.reconcile.clocks import Clocks
from kisi.reconcile.collect import Collected, Progress, attempt, collect, renamed
from kisi.reconcile.new_lines import Catalogues, Siblings, creates
from kisi.reconcile.parts import OtherParts, not_taken_over, unsure
from kisi.reconcile.psas import OthersSeen, PsaReader, PsaState, known_lines
from kisi.reconcile.reverts import Revert, Reverted
from kisi.reconcile.settle import SettledOperation, settle, settled_facts, unseen, unshown
from kisi.reconcile.waiting import Readings, Unplanned, who_waits
from kisi.sources import UsageSource
from kisi.transport import Clock

_UNSEEN = "Whether somebody uses this source whom nobody is billed for is not known: "
_Arranged = tuple[Arrangement, Mapping[LineSlot, str]]


@dataclass(frozen=True, slots=True)
class JournalState:
    """What the journal knows that a plan needs."""

    facts: tuple[OwnedLine, ...] = ()
    accepts: Mapping[LineSlot, int] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    """The keys of lines that were accepted and could not be written yet."""
    doubles: AcceptedDoubles = field(default_factory=dict)
    pending: tuple[Operation, ...] = ()
    unproven: tuple[Operation, ...] = ()
    """Writes after which nobody has seen yet whether something else changed."""
    foreign_changes: tuple[StoredForeignChange, ...] = ()
    """Writes with which something else changed, and at which no person has looked yet."""
    tenants: Mapping[str, str] = field(default_factory=dict)
    """What tenants (`source:tenant`) were called when they were last read."""
    keys: KeyUses = field(default_factory=dict)
    """The keys of tenants as they were last read."""
    past: Readings = lambda _run, _tenants: {}
    """Gives what was read in earlier runs; nothing, where there is no journal."""
    confirmed: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The last run that confirmed each client, by PSA and agreement."""
    days: Callable[[date, date, Collection[TenantRef]], Days] = lambda *_span: {}
    """Gives what was counted on the days of a span in some tenants, as far as no guard holds it."""
    revert: Revert | None = None
    """The run that is to be undone."""
    others: OtherParts = field(default_factory=OtherParts)
    """What is known of the other parts of a fleet that is split."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A plan, and what it rests on."""

    plan: Plan
    usages: Mapping[TenantRef, TenantUsage]
    """The numbers, without their evidence."""
    evidence: Mapping[TenantRef, PackedUsage]
    agreements: Mapping[AgreementRef, Agreement]
    read_at: float
    """The instant of the clock's `monotonic` before which no agreement and no line was read."""
    settlements: tuple[SettledOperation, ...]
    facts: tuple[OwnedLine, ...]
    """The journal's facts with the settlements taken in."""
    left: tuple[LeftLine, ...]
    """Lines that kisi owns and that belong to no billed client."""
    left_behind: tuple[Tenant, ...] = ()
    """Tenants of clients that have left, which nobody else has."""
    keys: KeyUses = field(default_factory=dict)
    """The keys of all mapped tenants, as they were last read."""
    held: tuple[tuple[OwnedLine, Decimal, Terms | None], ...] = ()
    """What the owned lines that were read held then, and their prices."""
    accepted: frozenset[str] = frozenset()
    """The keys of lines that were accepted in an earlier run and could not be written yet."""
    doubles: Doubles = field(default_factory=dict)
    others: OthersSeen = field(default_factory=OthersSeen)
    turns: tuple[AgreementRef, ...] = ()
    """Where clients are billed, those first that were confirmed longest ago."""
    reverted: Reverted = field(default_factory=lambda: Reverted(()))
    """What `--revert` changed, and what it did not take."""


def reconcile(
    rules: Rules,
    sources: Mapping[str, UsageSource],
    psas: Mapping[str, Psa],
    memory: JournalState,
    companies: Collection[Company],
    progress: Progress,
    clock: Clock,
    begin_by: float = math.inf,
) -> Reconciled:
    """Reads everything a run needs and works out the guarded plan, with its ids.

    `companies` are the clients that this run concerns; a mapping without any shows every tenant. No
    hold of the plan is released yet. Trouble with a client is in its plan. From the instant
    `begin_by` of the clock's `monotonic` on no other agreement is begun; clients that an earlier
    run left out for want of time are read, and written, before the others.
    """
    mapping = rules.mapping
    billed = sorted(
        (company for company in companies if company.billing),
        key=lambda one: memory.confirmed.get((one.psa, one.agreement), 0),
    )
    is_whole = len(companies) == len(mapping.companies)
    known = tuple(fact for fact in memory.facts if fact.psa in psas)
    unreachable = tuple(fact for fact in memory.facts if fact.psa not in psas)
    reader, state = PsaReader(psas, rules.today, clock, progress, begin_by), PsaState()
    places = dict.fromkeys(map(ref_of, billed))
    further = _further_places(mapping, memory, known, places, psas)
    # Both sides at once: a client that cannot be counted costs at most the read of its own lines.
    with ThreadPoolExecutor(1) as other_side:
        held = known_lines(known, memory.pending)
        reading = other_side.submit(reader.read, state, places, further, held)
        collected = collect(
            sources,
            billed,
            counting_context(rules),
            everything=not mapping.everyone,
            whole=is_whole,
            progress=progress,
        )
        reading.result()
    others = OthersSeen.of(memory.unproven, memory.foreign_changes, state, psas)
    settlements = settle(
        memory.pending, state.agreements, state.lines, rules.today, _by_hand(mapping)
    )
    reverted = Reverted(settled_facts(known, settlements))
    if memory.revert is not None:
        seen = (settlements, state.lines, mapping, companies)
        reverted = memory.revert.of(reverted.facts, *seen)
    facts = reverted.facts
    owners = attribute(mapping.companies, facts)
    planner = _Planner(rules, collected, memory, state, owners)
    clocks = Clocks(rules, sources, psas, collected.turns)
    plans, notes = _planned(companies, planner, psas, facts, clocks)
    theirs = not_taken_over(memory.others.lines, plans)
    everything = (*facts, *unreachable, *unseen(memory.pending, settlements), *theirs)
    unplanned = Unplanned(mapping, everything, owners, plans, state, reader, mapping.places())
    plans, (arrangement, elsewhere) = _arranged(
        plans, lambda some: who_waits(replace(unplanned, plans=some), collected, memory.past)
    )
    read = (x for x in collected.usages.values() if not mapping.ignores(x.tenant.ref))
    uses = (use for usage in read for use in usage.unmapped)
    doubles = counted_twice(collected.devices, mapping)
    context = _guard_context(rules, plans, collected, facts, settlements)
    twice, asked = told_and_asked(doubles, memory.doubles, plans, mapping)
    context = replace(context, elsewhere=elsewhere, lasting=arrangement.lasting, twice=asked)
    mapped = {str(ref) for company in mapping.companies for ref in company.tenants}
    keys = {ref: x for ref, x in {**memory.keys, **collected.keys}.items() if ref in mapped}
    nobodys = tuple(_without_client(collected, billed))
    plan = Plan(
        companies=tuple(
            _with_invoice(with_notes(plan, twice, asked), state.agreements) for plan in plans
        ),
        unmapped_tenants=unmapped_tenants(mapping, collected.tenants.values()),
        unmapped_uses=() if mapping.everyone else tuple(uses),
        failures=() if mapping.everyone else nobodys,
        notes=(
            *reverted.refused,
            *notes,
            *period_notes(plans),
            *(_UNSEEN + one.reason for one in nobodys if mapping.everyone),
        ),
        outlook=outlook(billed, keys, rules.outlook, rules.today, rules.zone),
        arrangement=arrangement,
    )
    return Reconciled(
        plan=with_ids(_guarded(plan, context), memory.accepts),
        usages=collected.usages,
        evidence=collected.evidence,
        agreements=state.agreements,
        read_at=state.read_at,
        settlements=settlements,
        facts=facts,
        left=unplanned.left((*clocks.lasting(owners.left), *unreachable), read=is_whole),
        left_behind=tenants_left_behind(mapping, collected.tenants.values()),
        keys=keys,
        held=tuple(unplanned.held()),
        accepted=memory.accepted,
        doubles=doubles,
        others=others,
        turns=tuple(places),
        reverted=reverted,
    )


def resolve(found: Reconciled, psas: Mapping[str, Psa], accepted: Collection[str] = ()) -> Plan:
    """Releases what was accepted, and holds what a report-only PSA would not be sent anyway.

    `accepted` are the keys of the lines that are accepted now.
    """
    withheld = {name: hold for name, psa in psas.items() if (hold := psa.withheld()) is not None}
    return release(found.plan, {*found.accepted, *accepted}, {**withheld, **found.others.holds})


def counting_context(rules: Rules) -> CountingContext:
    """What usage is counted by."""
    mapping = rules.mapping
    matcher, billed = Matcher(mapping.applications), billed_applications(mapping)
    split = billed_applications(mapping, by_category=True)
    return CountingContext(matcher, billed, rules.counting, rules.now, split)


def _further_places(
    mapping: BillingMapping,
    memory: JournalState,
    known: Collection[OwnedLine],
    billed: Collection[AgreementRef],
    psas: Collection[str],
) -> set[AgreementRef]:
    """The other agreements that `billed` clients have, or may have, lines on."""
    owners = attribute(mapping.companies, known)
    own = (fact for ref in billed for fact in owners.own.get(ref, ()))
    places = {fact.ref for fact in own if fact.confirmed or fact.reversal}
    unknown = (*memory.pending, *memory.unproven)
    unknown += memory.revert.operations if memory.revert else ()
    places |= {operation.line.ref for operation in unknown if operation.line.psa in psas}
    return places - set(billed)


def _by_hand(mapping: BillingMapping) -> set[tuple[AgreementRef, str]]:
    """The lines that people manage, by agreement and application."""
    return {
        (ref_of(company), application)
        for company in mapping.companies
        for application in managed_by_hand(mapping, company)
    }


def _planned(
    companies: Iterable[Company],
    planner: _Planner,
    psas: Mapping[str, Psa],
    facts: Collection[OwnedLine],
    clocks: Clocks,
) -> tuple[list[CompanyPlan], tuple[str, ...]]:
    """Each client's plan alone, its new lines judged by their PSA; notes for the whole run."""
    rules, others = planner.rules, planner.memory.others.lines
    plans = _each([CompanyPlan(company, Status.OFF) for company in companies], planner.plan)
    catalogues = Catalogues.read(plans, psas)
    plans = _each(plans, catalogues.judge)
    new = [(plan.company, {line.product for line in creates(plan)}) for plan in plans]
    siblings = Siblings.read(new, psas, rules.mapping, (*facts, *others), rules.today)
    plans = _each(plans, siblings.judge)
    plans = unsure(_each(plans, clocks.judge), planner.memory.others.unread, facts)
    return plans, tuple(catalogues.notes)


def _guard_context(
    rules: Rules,
    plans: Collection[CompanyPlan],
    collected: Collected,
    facts: Iterable[OwnedLine],
    settlements: Iterable[SettledOperation],
) -> GuardContext:
    index = OwnedLines(facts)
    return GuardContext(
        rules=rules.guards,
        counting=rules.counting,
        facts=index,
        empty_sources=empty_sources(collected.totals(), plans, index),
        unshown=frozenset(one.line.slot for one in unshown(settlements)),
    )


def _with_invoice(plan: CompanyPlan, agreements: Mapping[AgreementRef, Agreement]) -> CompanyPlan:
    """A plan with the next invoice, also of a client that failed."""
    agreement = agreements.get(ref_of(plan.company))
    return replace(plan, next_invoice=agreement.next_invoice if agreement else None)


def _guarded(plan: Plan, context: GuardContext) -> Plan:
    """The plan after the guards: of each client first, then of the whole run."""
    companies = tuple(_each(plan.companies, lambda company: guard(company, context)))
    return guard_run(replace(plan, companies=companies), context)


def _each(
    plans: Iterable[CompanyPlan], step: Callable[[CompanyPlan], CompanyPlan]
) -> list[CompanyPlan]:
    """The plans after one more step; whatever goes wrong in it fails that client alone."""
    found = []
    for plan in plans:
        after = attempt(partial(step, plan), "bug", ExitCode.WITHHELD)
        if isinstance(after, Failure):
            after = failed(plan.company, after, unmapped=plan.unmapped, notes=plan.notes)
        found.append(after)
    return found


def _arranged(
    plans: list[CompanyPlan], arranged: Callable[[Collection[CompanyPlan]], _Arranged]
) -> tuple[list[CompanyPlan], _Arranged]:
    """What `arranged` says of all plans together; a plan that it cannot take even alone fails.

    Where none of them fails alone, nobody can say whose fault it is, and all of them fail.
    """
    found = attempt(partial(arranged, plans), "bug", ExitCode.WITHHELD)
    if not isinstance(found, Failure):
        return plans, found

    def alone(plan: CompanyPlan) -> CompanyPlan:
        arranged([plan])
        return plan

    apart = _each(plans, alone)
    if apart == plans:
        apart = [failed(x.company, found) if x.status is Status.READY else x for x in plans]
    return apart, arranged(apart)


@dataclass(frozen=True, slots=True)
class _Planner:
    """Plans one client after the other, before guards."""

    rules: Rules
    collected: Collected
    memory: JournalState
    state: PsaState
    owners: Owners

    def plan(self, off: CompanyPlan) -> CompanyPlan:
        company = off.company
        if not company.billing:
            return off
        mapping, state = self.rules.mapping, self.state
        usages = self.collected.usages
        tenants = [usages[ref] for ref in company.counted if ref in usages]
        by_hand = managed_by_hand(mapping, company)
        uses = tuple(
            replace(use, company=company.name)
            for tenant in tenants
            for use in tenant.unmapped
            if use.application not in by_hand
        )
        notes = (
            *(f"{t.tenant.name}: {note}" for t in tenants for note in t.notes),
            *renamed((t.tenant for t in tenants), self.memory.tenants),
        )
        ref = ref_of(company)
        facts = self.owners.own.get(ref, ())
        places = [ref, *dict.fromkeys(fact.ref for fact in facts)]
        trouble = self.collected.failure_of(company) or next(
            (state.failures[at] for at in places if at in state.failures), None
        )
        if trouble is not None:
            return failed(company, trouble, unmapped=uses, notes=notes)
        current = CurrentState(
            agreement=state.agreements[ref],
            lines=state.lines.get(ref, ()),
            elsewhere={
                at: (state.agreements[at], state.lines[at])
                for at in places[1:]
                if at in state.lines
            },
        )
        desired = desired_state(mapping, company, combine(tenants, self.rules.counting))
        desired = self._by_policy(desired, company, current.agreement, facts)
        plan = plan_company(company, desired, current, facts, self.rules.today)
        proven = {(fact.slot, fact.line_id): fact.proven for fact in facts}
        lines = tuple(
            replace(line, because=self._because(line, company, proven)) for line in plan.lines
        )
        return replace(
            plan,
            lines=lines,
            unmapped=(*uses, *plan.unmapped),
            notes=(*notes, *plan.notes),
            uncounted=uncounted(tenants),
        )

    def _because(
        self, line: PlannedLine, company: Company, proven: Mapping[tuple[LineSlot, str], int]
    ) -> str:
        """Which keys have ended since a line that falls was `proven`, by run; may be empty."""
        run = proven.get((line.slot, line.line_id or ""))
        if line.drop <= 0 or line.counted is None or not run:
            return ""
        before = self.memory.past(run, company.counted).values()
        packed = self.collected.evidence
        now = [packed[ref].whole() for ref in company.counted if ref in packed]
        rules, zone = self.rules.counting, self.rules.zone
        return "; ".join(ended_keys([x.whole() for x in before], now, line, rules, zone))

    def _by_policy(
        self,
        desired: DesiredState,
        company: Company,
        agreement: Agreement,
        facts: Collection[OwnedLine],
    ) -> DesiredState:
        """What should be billed by the count policies, with the days that they look back on."""
        if not needs_days(desired, facts):
            return desired
        rules = self.rules
        period = period_of(agreement, facts, rules.today)
        tenants = {*company.tenants, *(tenant for fact in facts for tenant in fact.tenants)}
        days = self.memory.days(first_day(period.begins, rules), rules.today, tenants)
        return with_policies(desired, company, period, facts, days, rules)


def _without_client(collected: Collected, billed: Iterable[Company]) -> Iterable[Failure]:
    """What failed without a billed client to tell it."""
    used = {ref for company in billed for ref in company.counted}
    used_sources = {ref.source for ref in used}
    yield from (one for name, one in collected.broken.items() if name not in used_sources)
    yield from (one for ref, one in collected.failures.items() if ref not in used)
