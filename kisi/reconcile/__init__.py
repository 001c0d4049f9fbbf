"""The one pipeline that `preview` and `sync` share: collect, count, read lines, plan, guard.

It cannot write: it knows sources and PSAs only through their reading methods, and hands the result
to the caller. Everything is read before anything is decided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from kisi.counting import CountingContext, Matcher, combine
from kisi.journal import Operation, PackedUsage
from kisi.model import (
    Agreement,
    AgreementRef,
    BillingMapping,
    Company,
    CompanyPlan,
    CountingRules,
    Failure,
    Glob,
    GuardRules,
    LineSlot,
    OwnedLine,
    Plan,
    Status,
    TenantRef,
    TenantUsage,
    unmapped_tenants,
)
from kisi.planning import (
    CurrentState,
    GuardContext,
    OwnedLines,
    Owners,
    attribute,
    billed_applications,
    desired_state,
    empty_sources,
    failed,
    guard,
    left_to_people,
    plan_company,
    ref_of,
    release,
    with_ids,
)
from kisi.psa import Psa
from kisi.reconcile.collect import (
    Collected,
    Progress,
    collect,
    renamed,
)
from kisi.reconcile.lines import PsaState, known_lines, read_psas
from kisi.reconcile.products import with_products
from kisi.reconcile.settle import Settlement, place_of, settle, settled_facts, unshown
from kisi.reconcile.siblings import with_siblings
from kisi.reconcile.waiting import NoPast, Past, Reader, Unplanned, place, who_waits
from kisi.sources import UsageSource

__all__ = [
    "Memory",
    "Progress",
    "Reconciled",
    "Rules",
    "Settlement",
    "reconcile",
    "resolve",
    "select",
]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run bills, by which rules, and when."""

    mapping: BillingMapping
    counting: CountingRules
    guards: GuardRules
    now: datetime
    """Keys must be unexpired now (aware, UTC)."""
    today: date
    """The day in the billing time zone."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the journal remembers."""

    facts: tuple[OwnedLine, ...] = ()
    accepts: Mapping[LineSlot, int] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    """The keys of lines that were accepted and could not be written yet."""
    pending: tuple[Operation, ...] = ()
    tenants: Mapping[str, str] = field(default_factory=dict)
    """What tenants (`source:tenant`) were called when they were last read."""
    past: Past = field(default_factory=NoPast)
    """What was read in earlier runs."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A plan, and what it rests on."""

    plan: Plan
    usages: Mapping[TenantRef, TenantUsage]
    """The numbers, without their evidence."""
    evidence: Mapping[TenantRef, PackedUsage]
    agreements: Mapping[AgreementRef, Agreement]
    settlements: tuple[Settlement, ...]
    facts: tuple[OwnedLine, ...]
    """The journal's facts with the settlements taken in."""
    left: tuple[OwnedLine, ...]
    """Lines that kisi owns and that belong to no billed client."""
    accepted: frozenset[str] = frozenset()
    """The keys of lines that were accepted in an earlier run and could not be written yet."""


def select(
    companies: Iterable[Company], only: Collection[str] = (), exclude: Collection[str] = ()
) -> tuple[Company, ...]:
    """The clients a run concerns, by globs on their names; case does not matter."""

    def named(company: Company, globs: Collection[str]) -> bool:
        return any(Glob(glob).matches(company.name) for glob in globs)

    return tuple(
        company
        for company in companies
        if (not only or named(company, only)) and not named(company, exclude)
    )


def reconcile(
    rules: Rules,
    sources: Mapping[str, UsageSource],
    psas: Mapping[str, Psa],
    memory: Memory,
    companies: Collection[Company],
    progress: Progress,
) -> Reconciled:
    """Reads everything a run needs and works out the guarded plan, with its ids.

    Args:
        rules: The mapping and the rules in force.
        sources: The configured sources, by name.
        psas: The configured PSAs, by name.
        memory: What the journal remembers.
        companies: The clients this run concerns; a mapping without clients shows every tenant.
        progress: Told what is being read.

    Returns:
        The plan with its holds, none of them released. Trouble with a client is in its plan.
    """
    billed = [company for company in companies if company.billing]
    mapping = rules.mapping
    counting = CountingContext(
        Matcher(mapping.applications), billed_applications(mapping), rules.counting, rules.now
    )
    everything = not mapping.companies
    collected = collect(sources, billed, counting, everything=everything, progress=progress)
    known = tuple(fact for fact in memory.facts if fact.psa in psas)
    unreachable = tuple(fact for fact in memory.facts if fact.psa not in psas)
    state = _read(mapping, collected, billed, memory, known, psas, rules.today, progress)
    companies_left = ((one, left_to_people(mapping, one)) for one in mapping.companies)
    left = {(ref_of(one), name) for one, names in companies_left for name in names}
    settlements = settle(memory.pending, state.agreements, state.lines, rules.today, left)
    facts = settled_facts(known, settlements)
    owners = attribute(mapping.companies, facts)
    names = memory.tenants
    drafts = [_draft(company, rules, collected, names, state, owners) for company in companies]
    plans, notes = with_products(drafts, psas)
    plans = with_siblings(plans, psas, mapping, facts, rules.today)
    unplanned = Unplanned(mapping, (*facts, *unreachable), owners, plans, psas, rules.today)
    reader = Reader(psas, rules.today, progress)
    arrangement, elsewhere = who_waits(unplanned, collected, memory.past, state, reader)
    plan = Plan(
        companies=plans,
        unmapped_tenants=unmapped_tenants(mapping, collected.tenants.values()),
        unmapped_uses=tuple(
            use
            for usage in collected.usages.values()
            if not mapping.companies
            for use in usage.unmapped
        ),
        failures=tuple(_broken(collected, billed)),
        notes=notes,
        arrangement=arrangement,
    )
    index = OwnedLines(facts)
    context = GuardContext(
        rules=rules.guards,
        counting=rules.counting,
        facts=index,
        empty_sources=empty_sources(collected.totals(), plans, index),
        unshown=unshown(settlements),
        elsewhere=elsewhere,
    )
    plan = with_ids(guard(plan, context), memory.accepts)
    return Reconciled(
        plan=plan,
        usages=collected.usages,
        evidence=collected.evidence,
        agreements=state.agreements,
        settlements=settlements,
        facts=facts,
        left=(*owners.left, *unreachable),
        accepted=memory.accepted,
    )


def resolve(found: Reconciled, psas: Mapping[str, Psa], accepted: Collection[str] = ()) -> Plan:
    """Releases what was accepted, and holds what a report-only PSA would not be sent anyway.

    Args:
        found: The guarded plan, and what was accepted before.
        psas: The configured PSAs, by name.
        accepted: The keys of the lines that are accepted now.
    """
    withheld = {name: hold for name, psa in psas.items() if (hold := psa.withheld()) is not None}
    return release(found.plan, {*found.accepted, *accepted}, withheld)


def _read(
    mapping: BillingMapping,
    collected: Collected,
    billed: Collection[Company],
    memory: Memory,
    facts: Collection[OwnedLine],
    psas: Mapping[str, Psa],
    today: date,
    progress: Progress,
) -> PsaState:
    """Reads the agreements of the clients that were counted, and where else they have lines."""
    counted = [company for company in billed if collected.failure_of(company) is None]
    refs = {ref_of(company) for company in counted}
    owners = attribute(mapping.companies, facts)
    places = {place(fact) for ref in refs for fact in owners.own.get(ref, ()) if fact.confirmed}
    places |= {place_of(op) for op in memory.pending if op.line.psa in psas}
    known = known_lines(facts, memory.pending)
    return read_psas(psas, refs, places - refs, today, progress, known)


def _draft(
    company: Company,
    rules: Rules,
    collected: Collected,
    names: Mapping[str, str],
    state: PsaState,
    owners: Owners,
) -> CompanyPlan:
    if not company.billing:
        return CompanyPlan(company=company, status=Status.OFF)
    ref = ref_of(company)
    facts = owners.own.get(ref, ())
    places = [ref, *dict.fromkeys(map(place, facts))]
    left = left_to_people(rules.mapping, company)
    failure = collected.failure_of(company)
    tenants = [collected.usages[ref] for ref in company.tenants if ref in collected.usages]
    uses = tuple(
        replace(use, company=company.name)
        for tenant in tenants
        for use in tenant.unmapped
        if use.application not in left
    )
    notes = (
        *(f"{t.tenant.name}: {note}" for t in tenants for note in t.notes),
        *renamed((t.tenant for t in tenants), names),
    )
    if failure is None:
        failure = next((state.failures[at] for at in places if at in state.failures), None)
    if failure is not None:
        return failed(company, failure, unmapped=uses, notes=notes)
    wanted = desired_state(rules.mapping, company, combine(tenants, rules.counting))
    held = CurrentState(
        agreement=state.agreements[ref],
        lines=state.lines.get(ref, ()),
        elsewhere=state.elsewhere(places[1:]),
    )
    plan = plan_company(company, wanted, held, facts, rules.today)
    return replace(plan, unmapped=(*uses, *plan.unmapped), notes=(*notes, *plan.notes))


def _broken(collected: Collected, billed: Collection[Company]) -> Iterable[Failure]:
    """What failed without a billed client to tell it: in a first look, without a mapping."""
    used = {ref for company in billed for ref in company.tenants}
    used_sources = {ref.source for ref in used}
    for name, failure in collected.broken.items():
        if name not in used_sources:
            yield failure
    for ref, failure in collected.failures.items():
        if ref not in used:
            yield failure
