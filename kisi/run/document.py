"""A run as plain JSON data, format version 1: what is printed, stored, and sent to a webhook.

Part of the contract with scripts: fields may be added, never renamed. What is not known is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from kisi.formats import Made, described, document
from kisi.journal import LineHistory
from kisi.json_text import Json, attribute
from kisi.model import (
    TODAY,
    Category,
    LeftLine,
    PeriodCount,
    Tenant,
    TenantRef,
    Terms,
    UnmappedUse,
    categories_of,
)
from kisi.reconcile.summary import is_current, summarise
from kisi.run.result import Mode, RunResult, amount, invoiced_alike, totals


def plan_document(result: RunResult) -> Json:
    """A run as plain JSON data; `status --format json` has it again under `last_run`."""
    plan, every = result.plan, totals(result.plan, invoiced_alike)
    kinds = ("psa", "currency", "billing_cycle")
    uses = [*plan.unmapped_uses, *(use for one in plan.companies for use in one.unmapped)]
    return document(
        "preview",
        result,
        made(result.mode),
        unmapped={"tenants": plan.unmapped_tenants, "applications": uses, "accounts": ()},
        summary=summarise(plan),
        totals=totals(plan, lambda line: line.psa),
        totals_by_cycle=[
            {**dict(zip(kinds, alike, strict=True)), **parts} for alike, parts in every.items()
        ],
    )


_PERIOD: Made = {
    "period.period_begins": lambda period: (
        period.begins if period and period.policy != TODAY else None
    ),
    "period.days": lambda period: period.days if period else (),
}


def made(mode: Mode = Mode.SYNC) -> Made:
    """What makes fields of plans and lines that are no attribute of theirs.

    The `amount` of a line is for what the PSA holds when a run of this mode ends.
    """
    return {
        "company.current": is_current,
        "company.reason": lambda plan: attribute(plan.failure or plan.hold, "reason"),
        "line.amount": lambda line: amount(line, mode),
        "left_line.billing": lambda line: "off" if line.is_off else "unmapped",
        **_PERIOD,
    }


def period_fields(period: PeriodCount | None) -> Json:
    """What the quantity of a line that the journal knows was worked out from."""
    counted = {"policy": period.policy if period else TODAY, "counted": period and period.counted}
    return {**counted, **described("period", period, _PERIOD)}


def read_tenant(data: Mapping[str, Any]) -> Tenant:
    """A tenant of a stored document, also of one by an earlier kisi."""
    return Tenant(
        TenantRef(data["source"], data["tenant"]),
        data["name"],
        enabled=data.get("enabled", True),
        listed_as=data.get("listed_as") or "",
        in_use=data.get("in_use"),
        client=data.get("client") or "",
        until=date.fromisoformat(data["until"]) if data.get("until") else None,
    )


def read_use(data: Mapping[str, Any]) -> UnmappedUse:
    """An unmapped use of a stored document, also of one by an earlier kisi."""
    source, category = data.get("source"), data.get("category")
    return UnmappedUse(
        company=data["company"],
        application=data["application"],
        quantity=data["quantity"],
        estimated=data.get("estimated", True),
        tenant=TenantRef(source, data["tenant"]) if source else None,
        category=Category(category) if category else None,
    )


def read_left(report: Mapping[str, Any] | None) -> tuple[LeftLine, ...]:
    """The lines of nobody who is billed of a stored document; an earlier kisi's are not known."""
    return tuple(
        LeftLine(
            **{name: line[name] for name in ("name", "psa", "company", "agreement")},
            **{name: line[name] for name in ("application", "product", "line_id")},
            categories=categories_of(line["category"]),
            quantity=Decimal(str(line["quantity"])),
            terms=Terms(
                _number(line.get("unit_price")),
                _number(line.get("included")),
                line.get("billable", True),
                line.get("billing_cycle") or "",
                line.get("currency") or "",
            ),
            is_off=line["billing"] == "off",
        )
        for line in (report["left"] if report else ())
        if "billing" in line
    )


def _number(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


@dataclass(frozen=True, slots=True)
class FoundLine:
    """A line as the last complete run found it, which did not confirm it."""

    quantity: Decimal
    """What the PSA held."""
    counted: Decimal
    by_hand: bool
    why: str
    """What became of a write, if one was tried."""


def read_found(
    report: Mapping[str, Any] | None, lines: Iterable[LineHistory]
) -> Mapping[tuple[str, str], Mapping[str, FoundLine]]:
    """Of these lines, by id, those that the run of a stored document saw after they were confirmed.

    What the PSA holds there is not what kisi confirmed last. By PSA and agreement.
    """
    confirmed = {(x.psa, x.agreement, x.line_id): x.quantities[-1] for x in lines if x.quantities}
    found: dict[tuple[str, str], dict[str, FoundLine]] = {}
    if report is None:
        return found
    for kind in ("lines", "left"):
        for line in (line for company in report["companies"] for line in company.get(kind, ())):
            last = confirmed.get((line["psa"], line["agreement"], line["line_id"]))
            if last is not None and last.last_run < (report["run"] or 0):
                before, after = (Decimal(str(line[which])) for which in ("before", "after"))
                why = ": ".join(filter(None, (line["outcome"], line["detail"])))
                on_agreement = found.setdefault((line["psa"], line["agreement"]), {})
                on_agreement[line["line_id"]] = FoundLine(before, after, kind == "left", why)
    return found
