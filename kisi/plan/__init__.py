"""What would change? Usage, mapping, the PSA's lines and the journal's facts in, a plan out. Pure.

`wants` distributes usage over products, `plan_company` compares with the agreement's lines,
`with_ids` names the result. Guards (`kisi.guards`) stand between the last two.
"""

from kisi.plan.ids import LineKey, line_key, whole_id, with_ids
from kisi.plan.lines import (
    Held,
    attribute,
    candidate,
    failed,
    is_live,
    net_change,
    plan_company,
    ref_of,
)
from kisi.plan.products import Wanted, Wants, billed_applications, rows_of, wants

__all__ = [
    "Held",
    "LineKey",
    "Wanted",
    "Wants",
    "attribute",
    "billed_applications",
    "candidate",
    "failed",
    "is_live",
    "line_key",
    "net_change",
    "plan_company",
    "ref_of",
    "rows_of",
    "wants",
    "whole_id",
    "with_ids",
]
