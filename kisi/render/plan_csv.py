"""`preview` and `sync` as CSV: one row a billing line, a failed client, an unmapped use."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from kisi.model import CompanyPlan, Failure, PlannedLine, Tenant, UnmappedUse
from kisi.render.csv_text import Value, csv_text
from kisi.render.plan_view import PlanView, money_after, money_before

COLUMNS = (
    "kind",
    "company",
    "psa",
    "psa_company",
    "agreement",
    "application",
    "category",
    "product",
    "line_id",
    "action",
    "before",
    "after",
    "delta",
    "unit_price",
    "money_delta",
    "guard",
    "reason",
    "remedy",
    "outcome",
    "detail",
    "used",
)
"""`kind` is line, left, failure, unmapped or tenant; `used` is the quantity that no row bills."""

Row = dict[str, Value]


def plan_csv(view: PlanView) -> str:
    """Every line of the plan, and what failed or is not billed at all."""
    return csv_text(COLUMNS, ([row.get(name) for name in COLUMNS] for row in _rows(view)))


def _rows(view: PlanView) -> Iterable[Row]:
    plan = view.plan
    for company in plan.companies:
        yield from _company(company)
    for failure in plan.failures:
        yield {"kind": "failure", **_failure(failure)}
    for use in plan.unmapped_uses:
        yield _use(use)
    for tenant in plan.unmapped_tenants:
        yield _tenant(tenant)


def _company(plan: CompanyPlan) -> Iterable[Row]:
    company = plan.company
    client: Row = {
        "company": company.name,
        "psa": company.psa,
        "psa_company": company.company,
        "agreement": company.agreement,
    }
    if plan.failure is not None:
        yield {"kind": "failure", **client, **_failure(plan.failure)}
    for line in plan.lines:
        yield {"kind": "line", "company": company.name, **_line(line)}
    for line in plan.left:
        yield {"kind": "left", "company": company.name, **_line(line)}
    for use in plan.unmapped:
        yield {**client, **_use(use)}


def _failure(failure: Failure) -> Row:
    return {"guard": failure.guard, "reason": failure.reason, "remedy": failure.remedy}


def _line(line: PlannedLine) -> Row:
    row: Row = {
        "psa": line.psa,
        "psa_company": line.company,
        "agreement": line.agreement,
        "application": line.application,
        "category": line.category,
        "product": line.product,
        "line_id": line.line_id,
        "action": line.action.value,
        "before": line.before,
        "after": line.after,
        "delta": line.delta,
        "unit_price": line.unit_price,
        "money_delta": _money_delta(line),
        "outcome": line.outcome.value if line.outcome else None,
        "detail": line.detail,
    }
    if line.hold is not None:
        hold = line.hold
        row |= {"guard": hold.guard, "reason": hold.reason, "remedy": hold.remedy}
    return row


def _money_delta(line: PlannedLine) -> Decimal | None:
    was, will_be = money_before(line), money_after(line)
    return None if was is None or will_be is None else will_be - was


def _use(use: UnmappedUse) -> Row:
    return {
        "kind": "unmapped",
        "company": use.company,
        "application": use.application,
        "category": use.category.value if use.category else None,
        "used": use.quantity,
        "detail": "the source's figure" if use.estimated else None,
    }


def _tenant(tenant: Tenant) -> Row:
    row: Row = {"kind": "tenant", "company": tenant.name, "detail": str(tenant.ref)}
    return {**row, "reason": tenant.listed_as or None}
