"""Which lines does `--revert` bring back? What a run wrote, and what stands on it, decide. Pure.

A line goes back to what it held before the run if nobody has changed it since. It is a change like
any other from then on: planned, held by the guard `reverted`, written once it is accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kisi.journal import Operation
from kisi.model import (
    AgreementRef,
    BillingMapping,
    Company,
    Line,
    LineSlot,
    Outcome,
    OwnedLine,
    Reversal,
)
from kisi.planning import attribute, managed_by_hand, ref_of
from kisi.reconcile.settle import SettledOperation


@dataclass(frozen=True, slots=True)
class Reverted:
    """The owned lines as they are with the reversals, and what was not taken."""

    facts: tuple[OwnedLine, ...]
    changed: tuple[OwnedLine, ...] = ()
    """Those whose reversal was set, or withdrawn."""
    refused: tuple[str, ...] = ()
    """Which lines are not brought back, each with the reason, in sentences."""


@dataclass(frozen=True, slots=True)
class Revert:
    """What `kisi sync --revert` asks for."""

    run: int
    by: int
    """The run that was told to."""
    operations: tuple[Operation, ...]
    """The writes of `run`, and those of the same lines in later runs, oldest first."""

    def of(
        self,
        facts: Sequence[OwnedLine],
        settlements: Iterable[SettledOperation],
        lines: Mapping[AgreementRef, tuple[Line, ...]],
        mapping: BillingMapping,
        companies: Collection[Company],
    ) -> Reverted:
        """Sets the reversals, and withdraws those that `run` set and that are not written yet.

        Of another client than `companies` nothing is changed, nor said.
        """
        own = attribute(mapping.companies, facts).own
        clients = {x: one for one in companies if one.billing for x in own.get(ref_of(one), ())}
        others = [one for one in mapping.companies if one not in companies]
        not_here = {x for one in others for x in own.get(ref_of(one), ())}
        places = {(one.psa, one.agreement) for one in others}
        known = {(fact.slot, fact.line_id): fact for fact in facts}
        of_slot = {fact.slot: fact for fact in facts}
        outcomes = {one.operation.id: one.outcome for one in settlements}
        writes = [
            (one, outcome)
            for one in self.operations
            for outcome in [outcomes.get(one.id, one.outcome) or Outcome.UNKNOWN]
            if outcome in (Outcome.APPLIED, Outcome.UNKNOWN)
        ]
        later: dict[LineSlot, Operation] = {
            one.line.slot: one for one, _ in writes if one.run_id != self.run
        }
        changed = {
            fact: replace(fact, reversal=Reversal(int(fact.confirmed), x, self.by) if x else None)
            for fact in clients
            if fact.reversal and fact.reversal.by == self.run
            if fact.reversal.quantity != fact.confirmed
            for x in [fact.reversal.over]
        }
        refused = []
        for write, outcome in writes:
            line = write.line
            fact = known.get((line.slot, line.line_id or "")) or of_slot.get(line.slot)
            is_here = fact not in not_here and (line.psa, line.agreement) not in places
            if write.run_id != self.run or not is_here:
                continue
            why = _unclear(write, outcome, later.get(line.slot), fact)
            why = why or _unplanned(fact, clients, lines, mapping)
            if why or fact is None:
                where = f"{write.name}, {line.application} ({line.category}, product {line.product}"
                refused.append(f"{where} on agreement {line.agreement}) stays as it is: {why}.")
                continue
            reversal = Reversal(int(line.before or 0), self.run, self.by, _undone(fact))
            older = (one for one in write.proofs if one not in fact.proofs)
            earlier = (*older, *fact.earlier)
            changed[fact] = replace(fact, reversal=reversal, earlier=earlier, by_days=True)
        return Reverted(
            tuple(changed.get(fact, fact) for fact in facts),
            tuple(changed.values()),
            tuple(refused),
        )


def _undone(fact: OwnedLine) -> int | None:
    """The run before which the line held what it holds, by an earlier reversal; None: no such."""
    told = fact.reversal
    if told is None or told.quantity != fact.confirmed:
        return told.over if told else None
    return told.run


def _unclear(
    write: Operation, outcome: Outcome, later: Operation | None, fact: OwnedLine | None
) -> str:
    """What the journal says against it; empty: nothing."""
    line = write.line
    if outcome is Outcome.UNKNOWN:
        return f"nobody knows whether run {write.run_id} wrote it"
    if later is not None:
        before = "new" if later.line.before is None else f"{later.line.before.normalize():f}"
        return (
            f"run {later.run_id} has changed it since ({before} → {later.line.after}). First "
            f"revert that: kisi sync --revert {later.run_id}"
        )
    if fact is None:
        return "the line is not kisi's any more"
    if fact.confirmed != line.after:
        now = f"{fact.confirmed.normalize():f}"
        return f"run {write.run_id} wrote {line.after}, and it was confirmed with {now} since"
    if line.before is not None and line.before != max(line.before.to_integral_value(), 0):
        return f"it held {line.before:f}, and kisi writes whole units"
    return ""


def _unplanned(
    fact: OwnedLine | None,
    clients: Mapping[OwnedLine, Company],
    lines: Mapping[AgreementRef, tuple[Line, ...]],
    mapping: BillingMapping,
) -> str:
    """What the mapping and the PSA say against it; empty: nothing."""
    if fact is None or fact not in clients:
        return "no billed client of the mapping has it"
    if fact.application in managed_by_hand(mapping, clients[fact]):
        return "it is managed by hand now"
    if fact.ref not in lines:
        return "its agreement could not be read in this run"
    shown = next((line for line in lines[fact.ref] if line.id == fact.line_id), None)
    if shown is None or shown.problem:
        return f"the PSA does not show line {fact.line_id}, or it cannot be read"
    if shown.quantity != fact.confirmed:
        return f"the PSA holds {shown.quantity:f}: a person changed it since"
    return ""
