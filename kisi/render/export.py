"""For programs: CSV of all that a spreadsheet opens, JSON of `status` and `explain`; a contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from kisi.counting import conservation
from kisi.csv_table import CsvStyle, csv_table
from kisi.formats import Made, columns, described, document
from kisi.journal import LineHistory, UsageRecord
from kisi.json_text import Json, plain
from kisi.model import ApplicationUsage, UnmappedUse
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
from kisi.run.document import FoundLine, made, period_fields
from kisi.run.result import RunResult, money_delta

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


def csv_of(name: str, rows: Iterable[Mapping[str, Any]], style: CsvStyle = _PLAIN) -> str:
    """A table of `kisi.formats` as `csv_text`, of rows by column; what a row lacks is empty."""
    names = columns(name)
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


def plan_csv(result: RunResult, style: CsvStyle = _PLAIN) -> str:
    """Every line of the plan, and what failed or is not billed at all, a row each."""
    plan, making = result.plan, made(result.mode)
    rows: list[Json] = []
    for one in plan.companies:
        known = {"company": one.company.name, "next_invoice": one.next_invoice}
        client = {**described("client", one.company), "psa_company": one.company.company, **known}
        if one.failure is not None:
            rows.append({"kind": "failure", **client, **described("cause", one.failure)})
        for kind, line in (*(("line", x) for x in one.lines), *(("left", x) for x in one.left)):
            row = described("line", line, making)
            more = {"kind": kind, "delta": line.delta, "money_delta": money_delta(line)}
            more |= {"psa_company": line.company, **known}
            rows.append({**row, **(row["hold"] or {}), **more})
        rows += ({**client, **_use_row(use)} for use in one.unmapped)
    rows += ({"kind": "failure", **described("cause", failure)} for failure in plan.failures)
    rows += map(_use_row, plan.unmapped_uses)
    for tenant in plan.unmapped_tenants:
        row = {"kind": "tenant", "company": tenant.name, "detail": str(tenant.ref)}
        rows.append({**row, "reason": tenant.remark or None})
    return csv_of("preview", rows, style)


def _use_row(use: UnmappedUse) -> Json:
    detail = AS_REPORTED if use.estimated else None
    return {"kind": "unmapped", **described("use", use), "used": use.quantity, "detail": detail}


def status_document(view: StatusView, ready: Readiness | None = None) -> Json:
    """The status as plain JSON data; `ready` is the answer to `--ready`, where it was asked for."""
    tenants = [
        {**described("tenant", tenant), "devices": number}
        for tenant, number in (ready.tenants if ready else ())
    ]
    making: Made = {
        **made(),
        "ready.max_age_seconds": lambda answer: int(answer.max_age.total_seconds()),
        "ready.blockers": lambda answer: [
            {"name": name, "reason": reason} for name, reason in answer.blockers
        ],
        "ready.due": lambda answer: [
            {"name": name, "date": day, "ready": ready} for name, day, ready in answer.due
        ],
        "ready.unmapped_tenants": lambda _answer: tenants,
        "status_client.lines": _lines,
    }
    at, run = view.last_run_at, view.last_run
    age = {"at": at, "age_seconds": at and int((view.at - at).total_seconds())}
    uses = (*view.unmapped, *view.unmapped_uses)
    return document(
        "status",
        view,
        making,
        ready=ready,
        unmapped={"tenants": view.unmapped_tenants, "applications": uses},
        expiring_certificates=[
            {"server": server, "expires": at} for at, server in view.expiring_certificates
        ],
        last_run=run and {**run, **age},
    )


def _lines(client: Client) -> list[Json]:
    return [
        {
            **described("known_line", line),
            **_billed(line, client.found),
            **described("terms", line.terms_at()),
            "quantities": line.quantities,
        }
        for line in client.lines
    ]


def _billed(line: LineHistory, found: Mapping[str, FoundLine]) -> Json:
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
    rows = []
    for client in view.clients:
        known = described("status_client", client, lines=())
        known |= {"company": known["name"], "psa_company": known["company"]}
        for line in _lines(client) or [{"quantities": ()}]:
            before, now = [None, None, *line["quantities"]][-2:]
            quantities = {"quantity": now and now.quantity, "quantity_since": now and now.first_at}
            rows.append({**known, **line, **quantities, "before": before and before.quantity})
    return csv_of("status", rows, style)


def explain_document(view: ExplainView) -> Json:
    """A client's quantities and their evidence as plain JSON data."""
    lines = [
        {
            **described("known_line", line),
            "quantity": line.quantities[-1].quantity,
            **_billed(line, view.found),
            **period_fields(view.periods.get(line.line_id)),
        }
        for line in view.lines
    ]
    making: Made = {
        **made(),
        "tenant_usage.applications": lambda tenant: [
            _application(one, tenant, view) for one in applications(tenant)
        ],
        "tenant_usage.other_keys": lambda tenant: other_keys(tenant.usage),
    }
    return document("explain", view, making, lines=lines)


def _application(usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView) -> Json:
    added, removed = device_changes(tenant, usage)
    compared = tenant.previous is not None
    return described(
        "application_usage",
        usage,
        _seen(tenant),
        conservation=conservation(usage),
        shared=[item.device for item in shared_devices(view, tenant, usage)],
        came=[item.device for item in added] if compared else None,
        went=[item.device for item, _ in removed] if compared else None,
        went_because={item.device: why for item, why in removed} if compared else None,
        doubles=sorted(doubles(usage)),
    )


def _seen(tenant: UsageRecord) -> Made:
    return {"device.last_seen": lambda item: tenant.last_seen.get(item.device)}


def explain_csv(view: ExplainView, style: CsvStyle = _PLAIN) -> str:
    """Each quantity (kind `quantity`) and device (`device`; `went`: no longer listed), a row each.

    `change` says which devices `came` and `went` since the reading before.
    """
    rows: list[Json] = []
    for tenant in view.tenants:
        known = described("tenant_usage", tenant, applications=(), other_keys=())
        known |= {"company": view.client.name, "run": view.run.id, "tenant_name": known["name"]}
        for usage in applications(tenant):
            known |= {"name": None, "application": usage.application}
            for category, number in usage.quantities.items():
                row = {"kind": "quantity", "category": category, "quantity": number}
                rows.append({**known, **row})
            added, removed = device_changes(tenant, usage)
            moved = {x.device: "came" for x in added} | {x.device: "went" for x, _ in removed}
            listed, seen = {item.device for item in usage.evidence}, _seen(tenant)
            for item in usage.evidence:
                row = {"kind": "device", **described("device", item, seen)}
                rows.append({**known, **row, "change": moved.get(item.device)})
            for item, why in removed:
                if item.device not in listed:
                    gone = described("device", item, seen, counted=False, reason=why)
                    rows.append({**known, "kind": "went", **gone, "change": "went"})
    return csv_of("explain", rows, style)
