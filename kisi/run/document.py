"""A run as plain JSON data, format version 1: what is printed, stored, and sent to a webhook.

Part of the contract with scripts: fields may be added, never renamed. What is not known is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from kisi.journal import LineHistory, Operation
from kisi.json_text import Json, document, fields
from kisi.model import (
    TODAY,
    Category,
    CompanyPlan,
    Failure,
    Hold,
    LeftLine,
    PeriodCount,
    PlannedLine,
    Tenant,
    TenantRef,
    Terms,
    UnmappedUse,
    categories_of,
    category_text,
)
from kisi.reconcile.summary import is_current, summarise
from kisi.run.result import Amount, Mode, RunResult, amount, invoiced_alike, totals

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
            "companies": [_company(company, result.mode) for company in plan.companies],
            "unmapped": {
                "tenants": [tenant_fields(tenant) for tenant in plan.unmapped_tenants],
                "applications": [use_fields(use) for use in uses],
                "accounts": [],
            },
            "summary": asdict(summarise(plan)),
            "totals": {
                psa: _amounts(parts) for psa, parts in totals(plan, lambda x: x.psa).items()
            },
            "totals_by_cycle": [
                {"psa": psa, "currency": currency, "billing_cycle": cycle, **_amounts(parts)}
                for (psa, currency, cycle), parts in totals(plan, invoiced_alike).items()
            ],
            "failures": [fields(failure, _FAILURE) for failure in plan.failures],
            "earlier_writes": [operation_fields(write) for write in result.earlier],
            "left": [left_fields(line) for line in result.left],
            "notes": plan.notes,
        }
    )


def _amounts(parts: Mapping[str, Amount]) -> Fields:
    return {part: asdict(amount) for part, amount in parts.items()}


def _company(plan: CompanyPlan, mode: Mode) -> Fields:
    cause = plan.failure or plan.hold
    return {
        **fields(plan.company, "name psa company agreement"),
        **fields(plan, "agreement_name next_invoice plan_id status"),
        "current": is_current(plan),
        "reason": cause.reason if cause else None,
        "failure": fields(plan.failure, _FAILURE) if plan.failure else None,
        "lines": [line_fields(line, mode) for line in plan.lines],
        "others": [fields(line, _OTHER) for line in plan.others],
        "left": [line_fields(line, mode) for line in plan.left],
        "notes": plan.notes,
    }


def line_fields(line: PlannedLine, mode: Mode = Mode.SYNC) -> Fields:
    """A planned line; the PSA, company and agreement are the line's own (an orphan's differ).

    Its `amount` is for what the PSA holds when a run of this mode ends.
    """
    return {
        **fields(line, "psa company agreement application category product line_id description"),
        **fields(line, "action before after"),
        **period_fields(line.period),
        "counted": line.counted,
        **terms_fields(line.terms),
        "amount": amount(line, mode),
        **fields(line, "prorated adopt orphaned"),
        "hold": cause_fields(line.hold) if line.hold else None,
        "outcome": line.outcome,
        "detail": line.detail or None,
    }


def period_fields(period: PeriodCount | None) -> Fields:
    """What a quantity was worked out from; None: it is today's reading."""
    days = period.days if period else ()
    return {
        "policy": period.policy if period else TODAY,
        "counted": period.counted if period else None,
        "period_begins": period.begins if days and period else None,
        "first_read": period.since if period else None,
        "days": [fields(day, "date quantity") for day in days],
    }


def terms_fields(terms: Terms) -> Fields:
    """What a PSA invoices for the units of a line; what it does not tell is null."""
    told = {"billing_cycle": terms.cycle or None, "currency": terms.currency or None}
    return {**fields(terms, "unit_price included billable"), **told}


def cause_fields(cause: Hold | Failure) -> Fields:
    """Why a line is on hold, or a client failed."""
    return fields(cause, _CAUSE)


def tenant_fields(tenant: Tenant) -> Fields:
    """A tenant that no client has; `read_tenant` is the way back."""
    known = fields(tenant, "source=ref.source tenant=ref.tenant name enabled")
    return {**known, "listed_as": tenant.listed_as or None, "in_use": tenant.in_use}


def use_fields(use: UnmappedUse) -> Fields:
    """Something used that no row bills, `estimated` by the source; `read_use` is the way back."""
    known = "company application category quantity estimated"
    return fields(use, f"{known} source=tenant.source tenant=tenant.tenant")


def read_tenant(data: Mapping[str, Any]) -> Tenant:
    """A tenant of a stored document, also of one by an earlier kisi."""
    ref, listed_as = TenantRef(data["source"], data["tenant"]), data.get("listed_as") or ""
    known = {"enabled": data.get("enabled", True), "in_use": data.get("in_use")}
    return Tenant(ref, data["name"], listed_as=listed_as, **known)


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


def left_fields(line: LeftLine) -> Fields:
    """A line of nobody who is billed; `read_left` is the way back."""
    client = fields(line, "name psa company agreement quantity money")
    billing = "off" if line.is_off else "unmapped"
    return {**client, **known_line(line), **terms_fields(line.terms), "billing": billing}


def read_left(document: Mapping[str, Any] | None) -> tuple[LeftLine, ...]:
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
        for line in (document["left"] if document else ())
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
    document: Mapping[str, Any] | None, lines: Iterable[LineHistory]
) -> Mapping[str, FoundLine]:
    """Of these lines, by id, those that the run of a stored document saw after they were confirmed.

    What the PSA holds there is not what kisi confirmed last.
    """
    confirmed = {(x.psa, x.agreement, x.line_id): x.quantities[-1] for x in lines if x.quantities}
    found: dict[str, FoundLine] = {}
    if document is None:
        return found
    for kind in ("lines", "left"):
        for line in (line for company in document["companies"] for line in company.get(kind, ())):
            last = confirmed.get((line["psa"], line["agreement"], line["line_id"]))
            if last is not None and last.last_run < (document["run"] or 0):
                before, after = (Decimal(str(line[which])) for which in ("before", "after"))
                why = ": ".join(filter(None, (line["outcome"], line["detail"])))
                found[line["line_id"]] = FoundLine(before, after, kind == "left", why)
    return found


def known_line(line: LeftLine | LineHistory) -> Fields:
    """A line that the journal knows."""
    billed = {"application": line.application, "category": category_text(line.categories)}
    return {**billed, **fields(line, "product line_id")}
