"""What `sync --accept ID` accepts, or why it accepts nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from kisi.cli.journal_entries import difference
from kisi.errors import Withheld
from kisi.journal import Journal
from kisi.model import Plan
from kisi.planning import accepted_keys


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
