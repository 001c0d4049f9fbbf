"""What the daily run enters in the journal: what it read, what is accepted, what became of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime

from kisi.counting import each_once
from kisi.errors import Withheld
from kisi.journal import ClientState, ConfirmedLine, Journal, PackedUsage, Subject
from kisi.model import (
    Action,
    Company,
    CompanyPlan,
    CountingRules,
    Hold,
    Outcome,
    Plan,
    PlannedLine,
    Pool,
    Rules,
    Status,
)
from kisi.planning import accepted_keys, settled, still_accepted
from kisi.reconcile.pipeline import Reconciled
from kisi.reconcile.summary import is_current, is_shown, together, trouble

_DOUBTS = {"empty-source", "to-zero", "decrease", "increase", "create", "run", "unknown-device"}
"""Guards that ask whether the count is right; others ask about lines and mappings."""


def record_reading(
    journal: Journal, run: int, at: datetime, found: Reconciled, rules: Rules
) -> None:
    """Stores what was read, before anything rests on it: earlier writes settled, and the usage."""
    for settlement in found.settlements:
        journal.settle(settlement.operation, run, at, settlement)
    for operation in found.others.proven:
        journal.keep_lines(operation, None)
    for operation, error in found.others.changed:
        line, before = operation.line, operation.lines_before or ()
        journal.record_foreign_change(line.psa, line.agreement, at, error.message, before)
    journal.revert(found.reverted.changed)
    journal.record_usage(run, _read(found, rules.counting), rules.today, doubted(found.plan))


def _read(found: Reconciled, rules: CountingRules) -> Iterable[tuple[Company, PackedUsage]]:
    """Each reading with its client; a device that several tenants of it have is in the first.

    Where the clock is known to be wrong, it is the reading of no day.
    """
    for client in found.plan.companies:
        company = client.company
        usages = [found.usages[ref] for ref in company.counted if ref in found.evidence]
        for usage in each_once(usages, rules) if len(usages) > 1 else usages:
            packed = found.evidence[usage.tenant.ref]
            counted = {one.application: one.quantities for one in usage.applications}
            dated = {} if client.unconfirmed else {**packed.quantities, **counted}
            yield company, replace(packed, quantities=dated)


def record_outcome(
    journal: Journal, run: int, at: datetime, found: Reconciled, plan: Plan, today: date
) -> None:
    """Stores how a run ends: proven lines, what is on hold, each client's state, used ids.

    `plan` has the outcomes of what was written; `found` everything that guards hold.
    """
    journal.confirm(run, at, proven_lines(plan))
    journal.restate(run, restated_lines(plan))
    known = {  # it holds what it should, or it is not known what
        (line.slot, line.line_id): None
        for line in plan.lines
        if is_shown(line) or line.outcome is Outcome.UNKNOWN
    }
    now = ((x, known.get((x.slot, x.line_id), held), terms) for x, held, terms in found.held)
    journal.record_found(at, today, now)
    billed = {pool for at, line in _lines(plan) if is_shown(line) for pool in _counted(at, line)}
    journal.accept_days(today, (billed | doubted(found.plan)) - doubted(plan))
    journal.record_plan(run, at, plan)
    created = {  # another line that was known in its place is gone for good
        line.slot: line.line_id
        for line in plan.lines
        if line.action is Action.CREATE and line.outcome is Outcome.APPLIED
    }
    journal.disown(x for x in found.facts if created.get(x.slot, x.line_id) != x.line_id)
    journal.record_clients(run, at, map(_client_state, plan.companies))
    accepted = [*accepted_and_written(found.plan, plan)]
    rose = {line.slot for line in accepted if line.delta > 0}
    pools = {pool for at, line in _lines(plan) if line.slot in rose for pool in _counted(at, line)}
    doubles = journal.latest(Subject.DOUBLES) or {}
    doubles = still_accepted(doubles, found.doubles, pools, found.usages)
    journal.replace_latest(run, at, Subject.DOUBLES, doubles)
    journal.use_accepted(accepted, still_guarded(found.plan, plan))


def doubted(plan: Plan) -> set[Pool]:
    """What was counted where a guard asks whether that is right."""
    held = ((x, line) for x, line in _lines(plan) if line.hold and line.hold.guard in _DOUBTS)
    return {pool for company, line in held for pool in _counted(company, line)}


def _counted(company: Company, line: PlannedLine) -> Iterable[Pool]:
    return (Pool(tenant, line.application) for tenant in company.tenants)


def accept(
    journal: Journal,
    run: int,
    at: datetime,
    who: str,
    plan: Plan,
    accepted: Collection[str],
    shown: Plan,
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Journals what an operator accepts, for as long as it waits; the keys of those lines.

    The ids are those of `plan`, with all that guards hold, or of `shown`, without what was accepted
    before. One that does not fit, or was used, is `Withheld`: none is stored, nothing is written.
    Nobody knows whether one still fits that an earlier run showed of a client that failed now: it
    is kept, and a sentence says so.
    """
    keys = {**accepted_keys(shown, accepted), **accepted_keys(plan, accepted)}
    said = []
    for plan_id in accepted:
        journal.refuse_used(plan_id)
        if plan_id not in keys:
            keys[plan_id], failed = _unread(journal, plan_id, plan)
            said.append(
                f"The id {plan_id} is kept: this run could not judge {together(failed)}. The next "
                "one that can releases what the id was shown for, if its numbers are the same."
            )
    for plan_id, lines in keys.items():
        companies = {key: company.company for key, company in lines.items()}
        journal.accept(plan_id, run, at, who, companies)
    return frozenset(key for lines in keys.values() for key in lines), tuple(said)


def _unread(
    journal: Journal, plan_id: str, plan: Plan
) -> tuple[dict[str, CompanyPlan], Sequence[str]]:
    """The lines that an id was shown for, by their keys, and which of their clients have failed.

    It is `Withheld` if there is none, or if another client's line is not held as it was.
    """
    then = journal.held_lines(plan_id)
    shown = {line.hold.key for line in then if line.hold and line.hold.key}
    failed = {
        (x.company.psa, x.company.agreement): x for x in plan.companies if x.status is Status.FAILED
    }
    unread = {
        line.hold.key: failed[held.psa, held.agreement]
        for held in journal.open_holds()
        for line in held.lines
        if (held.psa, held.agreement) in failed and line.hold and line.hold.key in shown
    }
    every = accepted_keys(plan, [plan.plan_id]).get(plan.plan_id, {})
    if not unread or not shown <= {*unread, *every}:
        text = f"The id {plan_id} does not match the current plan. Nothing was written."
        now = {line.slot: line for line in plan.lines}
        here = {(x.company.psa, x.company.agreement) for x in plan.companies}
        became = (
            _difference(x, now.get(x.slot), is_here=(x.psa, x.agreement) in here) for x in then
        )
        raise Withheld(
            "\n".join([text, *became]),
            remedy="Look at `kisi preview` again; it shows the current ids.",
        )
    names = sorted({client.company.name for client in unread.values()})
    return {key: every[key] for key in shown & every.keys()} | unread, names


def _difference(then: PlannedLine, now: PlannedLine | None, *, is_here: bool) -> str:
    where = f"{then.application}, {then.category} (agreement {then.agreement})"
    was = _change(then)
    if not is_here:
        return (
            f"{where}: it was {was}; its client is not in this run (`--client`, `--exclude`, or no "
            "row of the mapping)."
        )
    if now is None:
        return f"{where}: it was {was}; there is no such line now."
    if (now.before, now.after) == (then.before, then.after) and now.hold is not None:
        return f"{where}: {was} is still held, beside other changes."
    return f"{where}: it was {was}; now it is {_change(now)}."


def _change(line: PlannedLine) -> str:
    before = "new" if line.before is None else f"{line.before.normalize():f}"
    return f"{before} → {line.after}"


def _lines(plan: Plan) -> Iterable[tuple[Company, PlannedLine]]:
    return ((client.company, line) for client in plan.companies for line in client.lines)


def proven_lines(plan: Plan) -> Iterable[ConfirmedLine]:
    """Lines that hold what they should: read and equal, or written and shown."""
    bills = settled(plan)
    for company, line in _lines(plan):
        if is_shown(line) and line.line_id is not None and line.hold is None:
            yield ConfirmedLine.of(line, company, settled=line.slot in bills)


def restated_lines(plan: Plan) -> Iterable[ConfirmedLine]:
    """Lines whose rise was not written, and whose units stand for what was counted today."""
    bills = settled(plan)
    for company, line in _lines(plan):
        waits = line.delta > 0 and not is_shown(line)
        if waits and line.line_id is not None and line.slot in bills:
            yield ConfirmedLine.of(line, company)


def accepted_and_written(before: Plan, after: Plan) -> Iterable[PlannedLine]:
    """The lines that a guard held before accepts, and that hold what they should now.

    Each with that hold.
    """
    guarded = {line.slot: line.hold for line in before.lines if line.hold and line.hold.key}
    for line in after.lines:
        if line.slot in guarded and line.hold is None and is_shown(line):
            yield replace(line, hold=guarded[line.slot])


def still_guarded(before: Plan, after: Plan) -> Iterable[tuple[Company, Collection[str]]]:
    """Each client that was planned, with the keys of guarded lines that are not written."""
    written = {line.slot for line in accepted_and_written(before, after)}
    for client in before.companies:
        if client.status is not Status.FAILED:
            lines = [line for line in client.lines if line.slot not in written]
            yield client.company, {line.hold.key for line in lines if line.hold is not None}


def _brought_back(client: CompanyPlan) -> Iterable[str]:
    """What a person has just accepted to be billed instead of what is counted."""
    for line in client.lines:
        if line.reversal and line.goes_back and line.outcome is Outcome.APPLIED:
            yield (
                f"{line.application}, {line.category}: {line.after} again, as before run "
                f"{line.reversal.run}; the next run holds what is counted"
            )


def _client_state(client: CompanyPlan) -> ClientState:
    cause = client.failure or client.hold
    if cause is None and client.unmapped:  # not ready to be invoiced
        uses = ", ".join(f"{use.application} ({use.quantity})" for use in client.unmapped)
        cause = Hold("unmapped", f"nothing bills {uses}", "Map it: `kisi map product`.")
    if cause is None and client.unconfirmed:
        cause = Hold("clock", client.unconfirmed, "Set the clock, and keep it set with NTP.")
        client = replace(client, status=Status.HELD)
    confirmed = is_current(client)
    if client.status is Status.READY and not confirmed and cause is None:
        return ClientState(client.company, Status.FAILED, "write", trouble(client))
    if cause is None and (back := [*_brought_back(client)]):  # held from the next run on
        cause = Hold("reverted", "; ".join(back), "First mend what was wrong.")
    told = (cause.guard, cause.reason, cause.remedy) if cause else ("", "", "")
    return ClientState(client.company, client.status, *told, confirmed=confirmed)
