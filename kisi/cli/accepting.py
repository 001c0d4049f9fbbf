"""What `sync --accept ID` releases, or why it releases nothing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from kisi.cli.journal_entries import difference
from kisi.errors import Withheld
from kisi.guards import freed_lines
from kisi.journal import Journal
from kisi.model import Plan
from kisi.plan import product_key


def accept(
    journal: Journal, run: int, at: datetime, who: str, plan: Plan, accepted: Collection[str]
) -> None:
    """Uses up the ids that an operator accepts, each once; all of them are looked at first.

    Raises:
        Withheld: One of them does not fit the plan, was used before, or releases nothing. Nothing
            is to be written then.
    """
    by_id = {company.plan_id: [company] for company in plan.companies}
    by_id[plan.plan_id] = list(plan.companies)
    for plan_id in accepted:
        journal.refuse_used(plan_id)
        if plan_id not in by_id:
            raise Withheld(
                _stale(journal, plan_id, plan),
                remedy="Look at `kisi preview` again; it shows the current ids.",
            )
    for plan_id in accepted:
        freed = freed_lines(plan, plan_id)
        if not freed and any(company.hold for company in by_id[plan_id]):
            raise Withheld(
                f"The id {plan_id} releases nothing: what is held there waits for a line that "
                "another client's plan shows. Nothing was written.",
                remedy="Accept that client's id first; `kisi preview` shows it.",
            )
        journal.use_id(plan_id, run, at, who, freed)


def _stale(journal: Journal, plan_id: str, plan: Plan) -> str:
    text = f"The id {plan_id} does not match the current plan. Nothing was written."
    then = journal.history.held_plan(plan_id)
    if then is None:
        return text
    now = {product_key(line): line for company in plan.companies for line in company.lines}
    for line in then.lines:
        text += "\n" + difference(line, now.get(product_key(line)))
    return text
