"""The JSON of `preview` and `sync`, format version 1.

Part of the contract with scripts: fields may be added, never renamed, and mean what they meant.
Quantities and prices are JSON numbers; what is not known is null. Instants are UTC.
"""

from __future__ import annotations

from dataclasses import asdict

from kisi.json_text import FORMAT_VERSION, Json
from kisi.model import (
    CompanyPlan,
    Failure,
    Hold,
    Line,
    LineFact,
    PlannedLine,
    Tenant,
    UnmappedUse,
    category_text,
)
from kisi.reconcile.verdict import is_current, summarise
from kisi.render.figures import instant, json_number
from kisi.render.plan_view import Amount, EarlierWrite, PlanView, totals


def plan_document(view: PlanView) -> Json:
    """A run as plain JSON data; `status --format json` has it again under `last_run`."""
    plan = view.plan
    uses = [*plan.unmapped_uses, *(use for one in plan.companies for use in one.unmapped)]
    return {
        "format_version": FORMAT_VERSION,
        "kisi_version": view.version,
        "mode": view.mode.value,
        "generated_at": instant(view.generated_at),
        "run": view.run,
        "plan_id": plan.plan_id,
        "exit_code": int(view.exit_code),
        "last_line": view.last_line,
        "accepted": list(view.accepted),
        "companies": [_company(company) for company in plan.companies],
        "unmapped": {
            "tenants": [tenant_data(tenant) for tenant in plan.unmapped_tenants],
            "applications": [use_data(use) for use in uses],
            "accounts": [],
        },
        "summary": asdict(summarise(plan)),
        "totals": {
            one.psa: {
                "billed": _amount(one.billed),
                "held": _amount(one.held),
                "unwritten": _amount(one.unwritten),
            }
            for one in totals(plan)
        },
        "failures": [_failure(failure) for failure in plan.failures],
        "earlier_writes": [earlier_data(write) for write in view.earlier],
        "left": [_fact(fact) for fact in view.left],
        "notes": list(plan.notes),
    }


def _company(plan: CompanyPlan) -> Json:
    company = plan.company
    return {
        "name": company.name,
        "psa": company.psa,
        "company": company.company,
        "agreement": company.agreement,
        "agreement_name": plan.agreement_name,
        "plan_id": plan.plan_id,
        "status": plan.status.value,
        "current": is_current(plan),
        "reason": _reason(plan),
        "failure": _failure(plan.failure) if plan.failure else None,
        "lines": [line_data(line) for line in plan.lines],
        "others": [_other(line) for line in plan.others],
        "left": [line_data(line) for line in plan.left],
        "notes": list(plan.notes),
    }


def _reason(plan: CompanyPlan) -> str | None:
    """The sentence of the failure or of the hold."""
    cause = plan.failure or plan.hold
    return cause.reason if cause else None


def line_data(line: PlannedLine) -> Json:
    """A planned line; the PSA, company and agreement are the line's own (an orphan's differ)."""
    return {
        "psa": line.psa,
        "company": line.company,
        "agreement": line.agreement,
        "application": line.application,
        "category": line.category,
        "product": line.product,
        "line_id": line.line_id,
        "description": line.description,
        "action": line.action.value,
        "before": json_number(line.before),
        "after": line.after,
        "unit_price": json_number(line.unit_price),
        "billable": line.billable,
        "prorated": line.prorated,
        "adopt": line.adopt,
        "orphaned": line.orphaned,
        "hold": _hold(line.hold) if line.hold else None,
        "outcome": line.outcome.value if line.outcome else None,
        "detail": line.detail or None,
    }


def _hold(hold: Hold) -> Json:
    return {"guard": hold.guard, "reason": hold.reason, "remedy": hold.remedy}


def _failure(failure: Failure) -> Json:
    return {
        "guard": failure.guard,
        "reason": failure.reason,
        "remedy": failure.remedy,
        "exit_code": int(failure.exit_code),
    }


def _other(line: Line) -> Json:
    return {
        "line_id": line.id,
        "product": line.product,
        "description": line.description,
        "quantity": json_number(line.quantity),
        "unit_price": json_number(line.unit_price),
        "billable": line.billable,
    }


def tenant_data(tenant: Tenant) -> Json:
    """A tenant that no client has."""
    return {
        "source": tenant.ref.source,
        "tenant": tenant.ref.tenant,
        "name": tenant.name,
        "enabled": tenant.enabled,
        "listed_as": tenant.listed_as or None,
    }


def use_data(use: UnmappedUse) -> Json:
    """Something used that no row bills; `estimated` marks the source's own figure."""
    return {
        "company": use.company,
        "application": use.application,
        "category": use.category.value if use.category else None,
        "quantity": use.quantity,
        "estimated": use.estimated,
        "source": use.tenant.source if use.tenant else None,
        "tenant": use.tenant.tenant if use.tenant else None,
    }


def _amount(amount: Amount) -> Json:
    return {
        "lines": amount.lines,
        "before": json_number(amount.before),
        "after": json_number(amount.after),
        "money_before": json_number(amount.money_before),
        "money_after": json_number(amount.money_after),
        "unpriced": amount.unpriced,
    }


def earlier_data(write: EarlierWrite) -> Json:
    """A write of an earlier run whose outcome was not known when it ended."""
    return {
        "name": write.client,
        "run": write.run,
        "sent_at": instant(write.at),
        "outcome": write.outcome.value if write.outcome else None,
        "detail": write.detail or None,
        "line": line_data(write.line),
    }


def _fact(fact: LineFact) -> Json:
    return {
        "name": fact.name,
        "psa": fact.psa,
        "company": fact.company,
        "agreement": fact.agreement,
        "application": fact.application,
        "category": category_text(fact.categories),
        "product": fact.product,
        "line_id": fact.line_id,
        "quantity": json_number(fact.confirmed),
    }
