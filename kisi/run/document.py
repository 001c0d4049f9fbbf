"""A run as plain JSON data, format version 1: what is printed, stored, and sent to a webhook.

Part of the contract with scripts: fields may be added, never renamed. What is not known is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kisi.journal import LineHistory, Operation
from kisi.json_text import Json, document, fields
from kisi.model import (
    Category,
    CompanyPlan,
    Failure,
    Hold,
    OwnedLine,
    PlannedLine,
    Tenant,
    TenantRef,
    UnmappedUse,
    category_text,
)
from kisi.reconcile.summary import is_current, summarise
from kisi.run.result import RunResult, totals

Fields = dict[str, Any]
_CAUSE = "guard reason remedy"
_FAILURE = f"{_CAUSE} exit_code"
_OTHER = "line_id=id product description quantity unit_price billable"


def plan_document(result: RunResult) -> Json:
    """A run as plain JSON data; `status --format json` has it again under `last_run`."""
    plan = result.plan
    uses = [*plan.unmapped_uses, *(use for one in plan.companies for use in one.unmapped)]
    return document(
        {
            "kisi_version": result.version,
            "mode": result.mode,
            "generated_at": result.generated_at,
            "run": result.run,
            "plan_id": plan.plan_id,
            "exit_code": int(result.exit_code),
            "last_line": result.last_line,
            "accepted": result.accepted,
            "companies": [_company(company) for company in plan.companies],
            "unmapped": {
                "tenants": [tenant_fields(tenant) for tenant in plan.unmapped_tenants],
                "applications": [use_fields(use) for use in uses],
                "accounts": [],
            },
            "summary": asdict(summarise(plan)),
            "totals": {
                psa: {part: asdict(amount) for part, amount in parts.items()}
                for psa, parts in totals(plan).items()
            },
            "failures": [fields(failure, _FAILURE) for failure in plan.failures],
            "earlier_writes": [operation_fields(write) for write in result.earlier],
            "left": [_owned(fact) for fact in result.left],
            "notes": plan.notes,
        }
    )


def _company(plan: CompanyPlan) -> Fields:
    cause = plan.failure or plan.hold
    return {
        **fields(plan.company, "name psa company agreement"),
        **fields(plan, "agreement_name plan_id status"),
        "current": is_current(plan),
        "reason": cause.reason if cause else None,
        "failure": fields(plan.failure, _FAILURE) if plan.failure else None,
        "lines": [line_fields(line) for line in plan.lines],
        "others": [fields(line, _OTHER) for line in plan.others],
        "left": [line_fields(line) for line in plan.left],
        "notes": plan.notes,
    }


def line_fields(line: PlannedLine) -> Fields:
    """A planned line; the PSA, company and agreement are the line's own (an orphan's differ)."""
    return {
        **fields(line, "psa company agreement application category product line_id description"),
        **fields(line, "action before after unit_price billable prorated adopt orphaned"),
        "hold": cause_fields(line.hold) if line.hold else None,
        "outcome": line.outcome,
        "detail": line.detail or None,
    }


def cause_fields(cause: Hold | Failure) -> Fields:
    """Why a line is on hold, or a client failed."""
    return fields(cause, _CAUSE)


def tenant_fields(tenant: Tenant) -> Fields:
    """A tenant that no client has; `read_tenant` is the way back."""
    known = fields(tenant, "source=ref.source tenant=ref.tenant name enabled")
    return {**known, "listed_as": tenant.listed_as or None}


def use_fields(use: UnmappedUse) -> Fields:
    """Something used that no row bills, `estimated` by the source; `read_use` is the way back."""
    known = "company application category quantity estimated"
    return fields(use, f"{known} source=tenant.source tenant=tenant.tenant")


def read_tenant(data: Mapping[str, Any]) -> Tenant:
    """A tenant of a stored document, also of one by an earlier kisi."""
    ref, listed_as = TenantRef(data["source"], data["tenant"]), data.get("listed_as") or ""
    return Tenant(ref, data["name"], enabled=data.get("enabled", True), listed_as=listed_as)


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


def operation_fields(write: Operation) -> Fields:
    """A write of an earlier run whose outcome was not known when it ended."""
    known = fields(write, "name run=run_id sent_at=at outcome")
    return {**known, "detail": write.detail or None, "line": line_fields(write.line)}


def _owned(fact: OwnedLine) -> Fields:
    client = fields(fact, "name psa company agreement")
    return {**client, **known_line(fact), "quantity": fact.confirmed}


def known_line(line: OwnedLine | LineHistory) -> Fields:
    """A line that the journal knows."""
    billed = {"application": line.application, "category": category_text(line.categories)}
    return {**billed, **fields(line, "product line_id")}
