"""For programs: CSV of all that a spreadsheet opens, JSON of `status` and `explain`; a contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from kisi.counting import conservation
from kisi.csv_table import CsvStyle, csv_table
from kisi.journal import LineHistory, Run, UsageRecord
from kisi.json_text import Json, document, fields, plain
from kisi.model import ApplicationUsage, CompanyPlan, Evidence, KeyEvidence, UnmappedUse
from kisi.redaction import STARTS, guarded_inside, safe_text
from kisi.render.explain import (
    ExplainView,
    applications,
    device_changes,
    doubles,
    other_keys,
    shared_devices,
)
from kisi.render.formatting import AS_REPORTED, quantity
from kisi.render.status import Client, Readiness, StatusView
from kisi.run.document import (
    Fields,
    FoundLine,
    cause_fields,
    known_line,
    left_fields,
    line_fields,
    operation_fields,
    period_fields,
    tenant_fields,
    terms_fields,
    use_fields,
)
from kisi.run.result import Mode, RunResult, money_delta

PLAN_COLUMNS = (
    "kind company psa psa_company agreement application category product line_id action before"
    " after delta unit_price money_delta guard reason remedy outcome detail used policy counted"
    " included billable amount currency billing_cycle next_invoice period_begins"
)
"""`kind` is line, left, failure, unmapped or tenant; `used` is the quantity that no row bills."""
STATUS_COLUMNS = (
    "company psa psa_company agreement billing status since confirmed_at guard reason remedy"
    " application category product line_id quantity quantity_since before billed managed_by_hand"
    " unit_price included billable amount currency billing_cycle"
)
EXPLAIN_COLUMNS = (
    "kind company run source tenant tenant_name read_at application category quantity device name"
    " operating_system class counted serial reason change last_seen"
)
_KEY_FIELDS = (
    "name source=tenant.source tenant=tenant.tenant key=key.name serial=key.serial"
    " expires=key.expires used=key.used"
)
_STARTS = (*STARTS, "\t", "\r", "\n", "\0")
_PLAIN = CsvStyle()
_Value = str | int | Decimal | bool | date | None


def csv_text(
    columns: Sequence[str], rows: Iterable[Sequence[_Value]], style: CsvStyle = _PLAIN
) -> str:
    r"""A table as CSV (RFC 4180), each line ended by `\r\n`: write it with `newline=""`.

    Numbers are plain but for the style's decimal sign, instants UTC. A text that a spreadsheet
    would run as a formula gets an apostrophe in front, also behind a delimiter inside it
    (`kisi.redaction`).
    """
    texts = ([_text(value, style.decimal) for value in one] for one in rows)
    return csv_table(columns, texts, style)


def csv_of_fields(columns: str, rows: Iterable[Mapping[str, Any]], style: CsvStyle = _PLAIN) -> str:
    """As `csv_text`, of rows by column (names between spaces); what a row lacks is empty."""
    names = columns.split()
    return csv_text(names, ([row.get(name) for name in names] for row in rows), style)


def _text(value: _Value, decimal: str) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | Decimal():
            return quantity(value).replace(".", decimal)
        case date():
            return str(plain(value))
    guard = "'" if value.startswith(_STARTS) else ""
    return guard + guarded_inside(safe_text(value), lambda start: f"'{start}")


def _client_columns(row: Fields) -> Fields:
    """A client's fields under the names of CSV, where `company` is its name."""
    return {**row, "company": row["name"], "psa_company": row["company"]}


def plan_csv(result: RunResult, style: CsvStyle = _PLAIN) -> str:
    """Every line of the plan, and what failed or is not billed at all, a row each."""
    plan = result.plan
    rows = [row for company in plan.companies for row in _company_rows(company, result.mode)]
    rows += ({"kind": "failure", **cause_fields(failure)} for failure in plan.failures)
    rows += map(_use_row, plan.unmapped_uses)
    for tenant in plan.unmapped_tenants:
        row = {"kind": "tenant", "company": tenant.name, "detail": str(tenant.ref)}
        rows.append({**row, "reason": tenant.listed_as or None})
    return csv_of_fields(PLAN_COLUMNS, rows, style)


def _company_rows(plan: CompanyPlan, mode: Mode) -> Iterable[Fields]:
    client = _client_columns(fields(plan.company, "name psa company agreement"))
    client["next_invoice"] = plan.next_invoice
    if plan.failure is not None:
        yield {"kind": "failure", **client, **cause_fields(plan.failure)}
    for kind, lines in (("line", plan.lines), ("left", plan.left)):
        for line in lines:
            row = {**client, "kind": kind, "name": plan.company.name, **line_fields(line, mode)}
            more = {"delta": line.delta, "money_delta": money_delta(line)}
            yield {**_client_columns(row), **(row["hold"] or {}), **more}
    for use in plan.unmapped:
        yield {**client, **_use_row(use)}


def _use_row(use: UnmappedUse) -> Fields:
    detail = AS_REPORTED if use.estimated else None
    return {"kind": "unmapped", **use_fields(use), "used": use.quantity, "detail": detail}


def status_document(view: StatusView, ready: Readiness | None = None) -> Json:
    """The status as plain JSON data; `ready` is the answer to `--ready`, where it was asked for."""
    holds = [
        {
            **fields(hold, "name psa company agreement plan_id since=first_at"),
            "lines": [line_fields(line) for line in hold.lines],
        }
        for hold in view.holds
    ]
    answer = ready and {
        **fields(ready, "ready billed"),
        "max_age_seconds": int(ready.max_age.total_seconds()),
        "blockers": [{"name": name, "reason": reason} for name, reason in ready.blockers],
        "unmapped_tenants": [
            {**tenant_fields(tenant), "devices": number} for tenant, number in ready.tenants
        ],
        "unmapped_lines": [left_fields(line) for line in ready.unmapped_lines],
        "off_lines": [left_fields(line) for line in ready.off_lines],
    }
    return document(
        {
            **fields(view, "kisi_version=version generated_at=at"),
            "problem": view.problem or None,
            "ready": answer,
            "runs": [_run(run) for run in view.runs],
            "clients": [{**_client(one), "lines": _lines(one)} for one in view.clients],
            "holds": holds,
            "unmapped": {
                "tenants": [tenant_fields(tenant) for tenant in view.unmapped_tenants],
                "applications": [use_fields(x) for x in (*view.unmapped, *view.unmapped_uses)],
            },
            "unsettled": [operation_fields(write) for write in view.unsettled],
            "expiring_keys": [fields(stored, _KEY_FIELDS) for _, stored in view.expiring_keys],
            "expiring_certificates": [
                {"server": server, "expires": at} for at, server in view.expiring_certificates
            ],
            "last_run": view.last_run and {**view.last_run, **_age(view)},
        }
    )


def _age(view: StatusView) -> Fields:
    at = view.last_run_at
    return {"at": at, "age_seconds": at and int((view.at - at).total_seconds())}


def _run(run: Run) -> Fields:
    known = "run=id command scope=plan_scope began_at=at ended_at state exit_code last_line=message"
    counts = ("current", "billed", "applied", "held", "failed")
    # null where the run did not get that far
    return {**fields(run, known), **{name: run.summary.get(name) for name in counts}}


def _client(client: Client) -> Fields:
    record = client.record
    return {
        **fields(record, "name psa company agreement billing status"),
        **{name: value or None for name, value in fields(record, "guard reason remedy").items()},
        **fields(record, "since=since_at confirmed_at"),
        "state": client.state,
    }


def _lines(client: Client) -> list[Fields]:
    return [
        {
            **known_line(line),
            **_billed(line, client.found),
            **terms_fields(line.terms_at()),
            "quantities": [fields(one, "quantity since=first_at") for one in line.quantities],
        }
        for line in client.lines
    ]


def _billed(line: LineHistory, found: Mapping[str, FoundLine]) -> Fields:
    """What the PSA holds, as the last run that looked has seen it."""
    other = found.get(line.line_id)
    confirmed = line.quantities[-1].quantity if line.quantities else None
    billed = other.quantity if other else confirmed
    return {
        "billed": billed,
        "amount": line.terms_at().amount(billed),
        "managed_by_hand": other is not None and other.by_hand,
    }


def status_csv(view: StatusView, style: CsvStyle = _PLAIN) -> str:
    """A row for each line with its quantity and the one before, and for a client without lines."""
    rows = (row for client in view.clients for row in _status_rows(client))
    return csv_of_fields(STATUS_COLUMNS, rows, style)


def _status_rows(client: Client) -> Iterable[Fields]:
    columns = _client_columns(_client(client))
    for line in _lines(client) or [{"quantities": []}]:
        before, now = [{}, {}, *line["quantities"]][-2:]
        quantities = {"quantity": now.get("quantity"), "quantity_since": now.get("since")}
        yield {**columns, **line, **quantities, "before": before.get("quantity")}


def explain_document(view: ExplainView) -> Json:
    """A client's quantities and their evidence as plain JSON data."""
    return document(
        {
            **fields(view.client, "name psa company agreement"),
            **fields(view.run, "run=id began_at=at"),
            "lines": [
                {
                    **known_line(one),
                    "quantity": one.quantities[-1].quantity,
                    **_billed(one, view.found),
                    **period_fields(view.periods.get(one.line_id)),
                }
                for one in view.lines
            ],
            "held": [line_fields(line) for line in view.held],
            "tenants": [_tenant(tenant, view) for tenant in view.tenants],
        }
    )


def _tenant(tenant: UsageRecord, view: ExplainView) -> Fields:
    usage = tenant.usage
    return {
        **fields(usage.tenant, "source=ref.source tenant=ref.tenant name"),
        **fields(tenant, "read_at=usage.at read_in_this_run=read since=first_at previous_run"),
        "applications": [_application(one, tenant, view) for one in applications(tenant)],
        "unmapped": [use_fields(use) for use in usage.unmapped],
        "other_keys": [_key(key) for key in other_keys(usage)],
        "notes": usage.notes,
    }


def _application(usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView) -> Fields:
    added, removed = device_changes(tenant, usage)
    compared = tenant.previous is not None
    return {
        **fields(usage, "application unit quantity=total quantities rows counted_rows left_out"),
        "conservation": conservation(usage),
        "keys": [_key(key) for key in usage.keys],
        "unknown_devices": usage.unknown_devices,
        "devices": [_device(item, tenant) for item in usage.evidence],
        "shared": [item.device for item in shared_devices(view, tenant, usage)],
        "came": [item.device for item in added] if compared else None,
        "went": [item.device for item, _ in removed] if compared else None,
        "went_because": {item.device: why for item, why in removed} if compared else None,
        "doubles": sorted(doubles(usage)),
    }


def _key(key: KeyEvidence) -> Fields:
    return fields(key, "serial name counted reason used licenses expires")


def _device(item: Evidence, tenant: UsageRecord) -> Fields:
    names = "device name operating_system=os_name class=device_class counted serial reason"
    seen = tenant.last_seen.get(item.device)
    return {**fields(item, names), "last_seen": seen and str(seen)}


def explain_csv(view: ExplainView, style: CsvStyle = _PLAIN) -> str:
    """Each quantity (kind `quantity`) and device (`device`; `went`: no longer listed), a row each.

    `change` says which devices `came` and `went` since the reading before.
    """
    where = "source=usage.tenant.ref.source tenant=usage.tenant.ref.tenant read_at=usage.at"
    rows: list[Fields] = []
    for tenant in view.tenants:
        known = fields(view, "company=client.name run=run.id")
        known |= fields(tenant, f"{where} tenant_name=usage.tenant.name")
        for usage in applications(tenant):
            known["application"] = usage.application
            rows += ({**known, **one} for one in _usage_rows(tenant, usage))
    return csv_of_fields(EXPLAIN_COLUMNS, rows, style)


def _usage_rows(tenant: UsageRecord, usage: ApplicationUsage) -> Iterable[Fields]:
    for category, number in usage.quantities.items():
        yield {"kind": "quantity", "category": category, "quantity": number}
    added, removed = device_changes(tenant, usage)
    moved = {item.device: "came" for item in added} | {item.device: "went" for item, _ in removed}
    listed = {item.device for item in usage.evidence}
    for item in usage.evidence:
        yield {"kind": "device", **_device(item, tenant), "change": moved.get(item.device)}
    for item, why in removed:
        if item.device not in listed:
            gone = {**_device(item, tenant), "counted": False, "reason": why}
            yield {"kind": "went", **gone, "change": "went"}
