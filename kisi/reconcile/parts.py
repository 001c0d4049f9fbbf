"""A fleet that is split: what this part must know of what the others bill.

Each part has a kisi.toml and a journal of its own, and all read one mapping. A client that changes
its part, or a tenant that does, is still billed by a line that only the other journal knows. Such
lines are waited for as for any other of which this run plans nothing (`kisi.reconcile.waiting`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import date, tzinfo
from typing import NamedTuple

from kisi.config import Config
from kisi.errors import StateError
from kisi.files import JOURNAL
from kisi.journal import Journal
from kisi.model import CompanyPlan, Hold, OwnedLine, PlannedLine, Rules, TenantRef
from kisi.planning import OwnedLines
from kisi.reconcile.settle import unseen
from kisi.reconcile.waiting import IN_ANOTHER_PART


class OtherParts(NamedTuple):
    """What this part knows of the others."""

    lines: tuple[OwnedLine, ...] = ()
    """Those by which they bill its tenants."""
    unread: str = ""
    """Of which part nobody knows what it bills, and why; empty: of none."""


def lines_of(parts: Iterable[Config], rules: Rules) -> OtherParts:
    """The lines by which other parts bill tenants of this one, by their journals."""
    mapping, known = rules.mapping, rules.mapping.global_sources
    own = {x.identity(known): x for one in mapping.companies if one.billing for x in one.tenants}
    lines, unread = list[OwnedLine](), list[str]()
    for part in parts:
        folder, where = part.state_dir, f"the journal of another part ({part.path})"
        if not os.path.lexists(folder / JOURNAL):
            unread.append(f"{where} is not in {folder}")
            continue
        try:
            with Journal.open(folder, readonly=True) as journal:
                if journal.problem is not None:
                    raise journal.problem
                facts = journal.facts(rules.now, rules.guards.baseline_days)
                for fact in (*facts, *unseen(journal.pending(), ())):
                    named = (ref.identity(known) for proof in fact.proofs for ref in proof.tenants)
                    if ours := tuple(dict.fromkeys(own[ref] for ref in named if ref in own)):
                        lines.append(_seen_last(fact, ours, journal, part.timezone))
        except StateError as error:
            unread.append(f"{where} cannot be read: {error.message.removesuffix('.')}")
    return OtherParts(tuple(lines), "; ".join(unread))


def _seen_last(
    fact: OwnedLine, ours: tuple[TenantRef, ...], journal: Journal, zone: tzinfo
) -> OwnedLine:
    """A line with what it held when its part last saw it, also where a person changed it.

    What was counted for it is in that journal: here it may stand for any device of `ours`, those of
    its tenants that are this part's, as its mapping names them.
    """
    holds, which = fact.confirmed, (fact.psa, fact.agreement, fact.line_id)
    for line in journal.line_history(fact.name):
        if (line.psa, line.agreement, line.line_id) == which:
            confirmed = line.quantities[-1].last_at.astimezone(zone).date()
            day = max(line.found, default=date.min)
            holds = line.found[day] if day >= confirmed else holds
    return replace(fact, confirmed=holds, tenants=ours, proven=IN_ANOTHER_PART, earlier=())


def not_taken_over(
    facts: Iterable[OwnedLine], plans: Iterable[CompanyPlan]
) -> tuple[OwnedLine, ...]:
    """The lines of other parts, but for those that this one has taken over with their client."""
    planned = {(x.psa, x.agreement, x.line_id) for plan in plans for x in plan.lines}
    return tuple(x for x in facts if (x.psa, x.agreement, x.line_id) not in planned)


def unsure(
    plans: Iterable[CompanyPlan], unread: str, facts: Iterable[OwnedLine]
) -> list[CompanyPlan]:
    """Holds what begins to bill a tenant while of another part nobody knows whether it bills it.

    `unread` says of which part, and why; `facts` are the lines that are kisi's here.
    """
    owned = OwnedLines(facts)
    reason = f"{unread}, so nobody knows whether it bills these devices"
    remedy = "Run that part, or correct `parts` in kisi.toml. If it bills none of them: {accept}"
    hold = Hold("elsewhere", reason, remedy)

    def held(line: PlannedLine, counted: Collection[TenantRef]) -> PlannedLine:
        fact = owned.of_line(line)
        known = fact is not None and {*counted} <= {*fact.tenants}
        return line if line.hold or line.delta <= 0 or known else replace(line, hold=hold)

    if not unread:
        return list(plans)
    return [
        replace(plan, lines=tuple(held(x, plan.company.counted) for x in plan.lines))
        for plan in plans
    ]
