"""`preview` and `sync` as CSV. Part of the contract with scripts, as their JSON is."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.json_text import fields
from kisi.model import CompanyPlan, UnmappedUse
from kisi.render.csv_text import csv_of_fields
from kisi.render.formatting import AS_REPORTED
from kisi.run.document import Fields, cause_fields, line_fields, use_fields
from kisi.run.result import RunResult, money_delta

COLUMNS = (
    "kind company psa psa_company agreement application category product line_id action before"
    " after delta unit_price money_delta guard reason remedy outcome detail used"
)
"""`kind` is line, left, failure, unmapped or tenant; `used` is the quantity that no row bills."""


def plan_csv(result: RunResult) -> str:
    """Every line of the plan, and what failed or is not billed at all, a row each."""
    return csv_of_fields(COLUMNS, _rows(result))


def _rows(result: RunResult) -> Iterable[Fields]:
    plan = result.plan
    for company in plan.companies:
        yield from _client_rows(company)
    yield from ({"kind": "failure", **cause_fields(failure)} for failure in plan.failures)
    yield from map(_use_row, plan.unmapped_uses)
    for tenant in plan.unmapped_tenants:
        row = {"kind": "tenant", "company": tenant.name, "detail": str(tenant.ref)}
        yield {**row, "reason": tenant.listed_as or None}


def _client_rows(plan: CompanyPlan) -> Iterable[Fields]:
    client = client_columns(fields(plan.company, "name psa company agreement"))
    if plan.failure is not None:
        yield {"kind": "failure", **client, **cause_fields(plan.failure)}
    for kind, lines in (("line", plan.lines), ("left", plan.left)):
        for line in lines:
            row = {"kind": kind, "name": plan.company.name, **line_fields(line)}
            more = {"delta": line.delta, "money_delta": money_delta(line)}
            yield {**client_columns(row), **(row["hold"] or {}), **more}
    for use in plan.unmapped:
        yield {**client, **_use_row(use)}


def _use_row(use: UnmappedUse) -> Fields:
    detail = AS_REPORTED if use.estimated else None
    return {"kind": "unmapped", **use_fields(use), "used": use.quantity, "detail": detail}


def client_columns(row: Fields) -> Fields:
    """A client's fields under the names of CSV, where `company` is its name."""
    return {**row, "company": row["name"], "psa_company": row["company"]}
