"""What would change? Usage, mapping, the PSA's lines and the journal's facts in, a plan out. Pure.

`wants` distributes usage over products, `attribute` finds whose the lines are, `plan_company`
compares the two, `with_ids` names the result. Guards (`kisi.guards`) stand between the last two.
"""

from kisi.plan.departures import with_departures
from kisi.plan.ids import ProductKey, product_key, whole_id, with_ids
from kisi.plan.lines import candidate, failed, net_change, plan_company
from kisi.plan.orphans import Held, is_live, takes_over
from kisi.plan.owners import Inherited, Owners, attribute, ref_of
from kisi.plan.products import (
    Wanted,
    Wants,
    billed_applications,
    left_to_people,
    rows_of,
    wants,
)

__all__ = [
    "Held",
    "Inherited",
    "Owners",
    "ProductKey",
    "Wanted",
    "Wants",
    "attribute",
    "billed_applications",
    "candidate",
    "failed",
    "is_live",
    "left_to_people",
    "net_change",
    "plan_company",
    "product_key",
    "ref_of",
    "rows_of",
    "takes_over",
    "wants",
    "whole_id",
    "with_departures",
    "with_ids",
]
