"""The JSON of `kisi status`: the journal's state, and the last run's document as it was printed."""

from __future__ import annotations

from kisi.json_text import FORMAT_VERSION, Json
from kisi.model import category_text
from kisi.render.figures import instant, json_number
from kisi.render.plan_json import (
    earlier_data,
    line_data,
    tenant_data,
    use_data,
)
from kisi.render.readiness import Readiness
from kisi.render.status_view import ClientRow, LineTrend, OpenHold, RunRow, StatusView


def status_document(view: StatusView, ready: Readiness | None = None) -> Json:
    """The status as plain JSON data.

    Args:
        view: What the journal holds.
        ready: The answer to `--ready`, where it was asked for.
    """
    return {
        "format_version": FORMAT_VERSION,
        "kisi_version": view.version,
        "generated_at": instant(view.at),
        "problem": view.problem or None,
        "ready": _ready(ready) if ready else None,
        "runs": [_run(run) for run in view.runs],
        "clients": [_client(client) for client in view.clients],
        "holds": [_hold(hold) for hold in view.holds],
        "unmapped": {
            "tenants": [tenant_data(tenant) for tenant in view.unmapped_tenants],
            "applications": [use_data(use) for use in view.unmapped],
        },
        "unsettled": [earlier_data(write) for write in view.unsettled],
        "expiring_keys": [
            {
                "name": key.client,
                "source": key.tenant.source,
                "tenant": key.tenant.tenant,
                "key": key.name,
                "serial": key.serial,
                "expires": instant(key.expires),
                "used": key.used,
            }
            for key in view.expiring_keys
        ],
        "expiring_certificates": [
            {"server": one.server, "expires": instant(one.expires)}
            for one in view.expiring_certificates
        ],
        "last_run": view.last_run,
    }


def _ready(readiness: Readiness) -> Json:
    return {
        "ready": readiness.ready,
        "billed": readiness.billed,
        "max_age_seconds": int(readiness.max_age.total_seconds()),
        "blockers": [{"name": one.client, "reason": one.reason} for one in readiness.blockers],
    }


def _run(run: RunRow) -> Json:
    return {
        "run": run.id,
        "command": run.command,
        "scope": run.scope,
        "began_at": instant(run.at),
        "ended_at": instant(run.ended_at),
        "state": run.end.value,
        "exit_code": run.exit_code,
        "last_line": run.last_line,
        "current": run.current,
        "billed": run.billed,
        "applied": run.applied,
        "held": run.held,
        "failed": run.failed,
    }


def _client(client: ClientRow) -> Json:
    return {
        "name": client.name,
        "psa": client.psa,
        "company": client.company,
        "agreement": client.agreement,
        "billing": client.billing.value,
        "status": client.status.value if client.status else None,
        "guard": client.guard or None,
        "reason": client.reason or None,
        "remedy": client.remedy or None,
        "since": instant(client.since),
        "confirmed_at": instant(client.confirmed_at),
        "lines": [_trend(line) for line in client.lines],
    }


def _trend(line: LineTrend) -> Json:
    return {
        "application": line.application,
        "category": category_text(line.categories),
        "product": line.product,
        "line_id": line.line_id,
        "quantities": [
            {"quantity": json_number(point.quantity), "since": instant(point.since)}
            for point in line.points
        ],
    }


def _hold(hold: OpenHold) -> Json:
    return {
        "name": hold.client,
        "psa": hold.psa,
        "company": hold.company,
        "agreement": hold.agreement,
        "plan_id": hold.plan_id,
        "since": instant(hold.since),
        "lines": [line_data(line) for line in hold.lines],
    }
