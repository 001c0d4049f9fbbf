"""What the daily run enters in the journal: what it read, what is accepted, what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date, datetime

from kisi.errors import Withheld
from kisi.journal import ClientState, ConfirmedLine, Journal, LineKey
from kisi.model import Action, Company, CompanyPlan, Hold, Outcome, Plan, PlannedLine, Status
from kisi.planning import accepted_keys, ref_of, settled
from kisi.reconcile import Reconciled
from kisi.reconcile.summary import is_current, trouble


def record_reading(
    journal: Journal, run: int, at: datetime, found: Reconciled, today: date
) -> None:
    """Stores what was read, before anything rests on it: earlier writes settled, and the usage."""
    for settlement in found.settlements:
        journal.settle(settlement.operation, run, at, settlement)
    for operation in found.others.proven:
        journal.keep_lines(operation, None)
    for operation, error in found.others.changed:
        line, before = operation.line, operation.lines_before or ()
        journal.record_foreign_change(line.psa, line.agreement, at, error.message, before)
    journal.record_usage(
        run,
        (
            (company.company, found.evidence[ref])
            for company in found.plan.companies
            for ref in company.company.tenants
            if ref in found.evidence
        ),
        today,
    )


def record_outcome(journal: Journal, run: int, at: datetime, found: Reconciled, plan: Plan) -> None:
    """Stores how a run ends: proven lines, what is on hold, each client's state, used ids.

    Args:
        journal: Where it is kept.
        run: The run's id.
        at: Now.
        found: What the plan rests on, with everything that guards hold.
        plan: With an outcome for each line that was written; without any where nothing was.
    """
    journal.confirm(run, at, proven_lines(plan))
    journal.restate(run, restated_lines(plan))
    journal.record_plan(run, at, what_is_left(plan))
    journal.disown(replaced_lines(plan, found))
    journal.record_clients(run, at, (client_state(company) for company in plan.companies))
    journal.use_accepted(accepted_and_written(found.plan, plan), still_guarded(found.plan, plan))


def accept(
    journal: Journal,
    run: int,
    at: datetime,
    who: str,
    plan: Plan,
    accepted: Collection[str],
    shown: Plan | None = None,
) -> frozenset[str]:
    """Journals what an operator accepts, and returns the keys of those lines.

    All ids are looked at before one is stored. What is accepted here and still waits for another
    line stays accepted in later runs, as long as its numbers are the same.

    Args:
        journal: Where it is kept.
        run: The run's id.
        at: Now.
        who: Who accepts.
        plan: The guarded plan, with everything that guards hold.
        accepted: The ids, as they were given.
        shown: The plan without what was accepted before, as a preview shows it. Its ids are taken
            too: they name what is left, where a line was accepted and could not be written.

    Raises:
        Withheld: An id does not fit the plan, or was used before. Nothing is to be written then.
    """
    keys = accepted_keys(plan, accepted)
    if shown is not None:
        keys = {**accepted_keys(shown, accepted), **keys}
    for plan_id in accepted:
        journal.refuse_used(plan_id)
        if plan_id not in keys:
            raise Withheld(
                _stale(journal, plan_id, plan),
                remedy="Look at `kisi preview` again; it shows the current ids.",
            )
    for plan_id, lines in keys.items():
        companies = {key: company.company for key, company in lines.items()}
        journal.accept(plan_id, run, at, who, companies)
    return frozenset(key for lines in keys.values() for key in lines)


def _stale(journal: Journal, plan_id: str, plan: Plan) -> str:
    text = f"The id {plan_id} does not match the current plan. Nothing was written."
    then = journal.held_plan(plan_id)
    if then is None:
        return text
    now = {line.slot: line for company in plan.companies for line in company.lines}
    for line in then.lines:
        text += "\n" + difference(line, now.get(line.slot))
    return text


def difference(then: PlannedLine, now: PlannedLine | None) -> str:
    """What became of a line since an id was shown for it."""
    where = f"{then.application}, {then.category} (agreement {then.agreement})"
    if now is None:
        return f"{where}: it was {then.before} → {then.after}; there is no such line now."
    if (now.before, now.after) == (then.before, then.after) and now.hold is not None:
        return f"{where}: {then.before} → {then.after} is still held, beside other changes."
    return f"{where}: it was {then.before} → {then.after}; now it is {now.before} → {now.after}."


def proven_lines(plan: Plan) -> Iterable[ConfirmedLine]:
    """Lines that hold what they should: read and equal, or written and shown."""
    bills = settled(plan)
    for company in plan.companies:
        for line in company.lines:
            shown = line.outcome is Outcome.APPLIED or not line.changes
            if shown and line.line_id is not None:
                yield ConfirmedLine.of(line, company.company, settled=line.slot in bills)


def restated_lines(plan: Plan) -> Iterable[ConfirmedLine]:
    """Lines whose rise was not written, and whose units stand for what was counted today."""
    bills = settled(plan)
    for company in plan.companies:
        for line in company.lines:
            waits = line.delta > 0 and line.outcome is not Outcome.APPLIED
            if waits and line.line_id is not None and line.slot in bills:
                yield ConfirmedLine.of(line, company.company)


def what_is_left(plan: Plan) -> Plan:
    """The plan with only the lines that are still held, as the next run will find them."""
    companies = tuple(
        replace(company, lines=tuple(line for line in company.lines if line.hold is not None))
        for company in plan.companies
    )
    return replace(plan, companies=companies)


def accepted_and_written(before: Plan, after: Plan) -> Iterable[PlannedLine]:
    """The lines that a guard held before accepts, and that are written now, each with that hold."""
    guarded = {line.slot: line.hold for line in _guarded(before)}
    for company in after.companies:
        for line in company.lines:
            if line.slot in guarded and line.outcome is Outcome.APPLIED:
                yield replace(line, hold=guarded[line.slot])


def still_guarded(before: Plan, after: Plan) -> Iterable[tuple[Company, Collection[str]]]:
    """Each client that was planned, with the keys of guarded lines that are not written."""
    written = {line.slot for line in accepted_and_written(before, after)}
    for company in before.companies:
        if company.status is not Status.FAILED:
            lines = [line for line in company.lines if line.slot not in written]
            yield company.company, {line.hold.key for line in lines if line.hold is not None}


def _guarded(plan: Plan) -> Iterable[PlannedLine]:
    for company in plan.companies:
        for line in company.lines:
            if line.hold is not None and line.hold.key:
                yield line


def replaced_lines(plan: Plan, found: Reconciled) -> Collection[LineKey]:
    """Lines that are gone for good, because another was created in their place."""
    created = {
        line.slot: line.line_id
        for company in plan.companies
        for line in company.lines
        if line.action is Action.CREATE and line.outcome is Outcome.APPLIED
    }
    return [
        LineKey(fact.psa, fact.agreement, fact.line_id)
        for fact in found.facts
        if (key := (fact.psa, fact.agreement, fact.product)) in created
        and created[key] != fact.line_id
    ]


def _unmapped(company: CompanyPlan) -> Hold | None:
    """Usage that nothing bills, as the reason why a client is not ready to be invoiced."""
    if not company.unmapped:
        return None
    uses = ", ".join(f"{use.application} ({use.quantity})" for use in company.unmapped)
    return Hold("unmapped", f"nothing bills {uses}", "Map it: `kisi map product`.")


def client_state(company: CompanyPlan) -> ClientState:
    """How a client stands, for `kisi status`."""
    ref = ref_of(company.company)
    cause = company.failure or company.hold or _unmapped(company)
    is_unwritten = company.status is Status.READY and not is_current(company)
    return ClientState(
        name=company.company.name,
        psa=ref.psa,
        company=ref.company,
        agreement=ref.agreement,
        status=Status.FAILED if is_unwritten else company.status,
        guard="write" if is_unwritten else cause.guard if cause else "",
        reason=trouble(company) if is_unwritten else cause.reason if cause else "",
        remedy=cause.remedy if cause else "",
        confirmed=is_current(company),
    )


def tenant_names(found: Reconciled) -> dict[str, str]:
    """What each tenant that was read is called, by `source:tenant`."""
    return {str(ref): usage.tenant.name for ref, usage in found.usages.items()}
