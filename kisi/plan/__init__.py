"""What would change? Usage, mapping, the PSA's lines and the journal's facts in, a plan out. Pure.

`wants` distributes usage over products, `attribute` finds whose the lines are, `plan_company`
compares the two, `arrange` finds who waits for whom, `with_ids` names the result. Guards
(`kisi.guards`) stand between the last two.
"""

from kisi.plan.ids import accepted_keys, named, with_ids
from kisi.plan.lines import candidate, failed, net_change, plan_company, with_lines
from kisi.plan.order import (
    Arrangement,
    Known,
    Moves,
    arrange,
    pools_of,
    settled,
    spread,
    with_commands,
)
from kisi.plan.orphans import Held, is_live
from kisi.plan.owners import Owners, attribute, ref_of
from kisi.plan.products import (
    Wanted,
    Wants,
    billed_applications,
    left_products,
    left_to_people,
    rows_of,
    wants,
)

__all__ = [
    "Arrangement",
    "Held",
    "Known",
    "Moves",
    "Owners",
    "Wanted",
    "Wants",
    "accepted_keys",
    "arrange",
    "attribute",
    "billed_applications",
    "candidate",
    "failed",
    "is_live",
    "left_products",
    "left_to_people",
    "named",
    "net_change",
    "plan_company",
    "pools_of",
    "ref_of",
    "rows_of",
    "settled",
    "spread",
    "wants",
    "with_commands",
    "with_ids",
    "with_lines",
]
