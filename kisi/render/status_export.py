"""`kisi status` for programs: JSON, with the last run's document as it was printed; and CSV."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.journal import Run
from kisi.json_text import Json, document, fields
from kisi.render.csv_text import csv_of_fields
from kisi.render.plan_export import client_columns
from kisi.render.status_view import Client, Readiness, StatusView
from kisi.run.document import (
    Fields,
    known_line,
    line_fields,
    operation_fields,
    tenant_fields,
    use_fields,
)

COLUMNS = (
    "company psa psa_company agreement billing status since confirmed_at guard reason remedy"
    " application category product line_id quantity quantity_since before"
)
_COUNTS = ("current", "billed", "applied", "held", "failed")
"""Of a run; null where it did not get that far."""


def status_document(view: StatusView, ready: Readiness | None = None) -> Json:
    """The status as plain JSON data.

    Args:
        view: What the journal holds.
        ready: The answer to `--ready`, where it was asked for.
    """
    return document(
        {
            "kisi_version": view.version,
            "generated_at": view.at,
            "problem": view.problem or None,
            "ready": _ready(ready) if ready else None,
            "runs": [_run(run) for run in view.runs],
            "clients": [
                {**_client(client), "lines": list(_lines(client))} for client in view.clients
            ],
            "holds": [
                {
                    **fields(hold, "name psa company agreement plan_id"),
                    "since": hold.first_at,
                    "lines": [line_fields(line) for line in hold.lines],
                }
                for hold in view.holds
            ],
            "unmapped": {
                "tenants": [tenant_fields(tenant) for tenant in view.unmapped_tenants],
                "applications": [use_fields(use) for use in view.unmapped],
            },
            "unsettled": [operation_fields(write) for write in view.unsettled],
            "expiring_keys": [
                {
                    "name": stored.name,
                    **fields(stored.tenant, "source tenant"),
                    "key": stored.key.name,
                    **fields(stored.key, "serial expires used"),
                }
                for _, stored in view.expiring_keys
            ],
            "expiring_certificates": [
                fields(one, "server expires") for one in view.expiring_certificates
            ],
            "last_run": view.last_run,
        }
    )


def _ready(readiness: Readiness) -> Fields:
    return {
        **fields(readiness, "ready billed"),
        "max_age_seconds": int(readiness.max_age.total_seconds()),
        "blockers": [fields(one, "name reason") for one in readiness.blockers],
    }


def _run(run: Run) -> Fields:
    return {
        "run": run.id,
        "command": run.command,
        "scope": run.plan_scope,
        "began_at": run.at,
        **fields(run, "ended_at state exit_code"),
        "last_line": run.message,
        **{name: run.summary.get(name) for name in _COUNTS},
    }


def _client(client: Client) -> Fields:
    record = client.record
    return {
        **fields(record, "name psa company agreement billing status"),
        **{name: value or None for name, value in fields(record, "guard reason remedy").items()},
        "since": record.since_at,
        "confirmed_at": record.confirmed_at,
    }


def _lines(client: Client) -> Iterable[Fields]:
    for line in client.lines:
        held = [{"quantity": one.quantity, "since": one.first_at} for one in line.quantities]
        yield {**known_line(line), "quantities": held}


def status_csv(view: StatusView) -> str:
    """Every client with the quantity of each of its lines, and the quantity before that.

    One row a billing line, or a client without lines.
    """
    return csv_of_fields(COLUMNS, (row for client in view.clients for row in _rows(client)))


def _rows(client: Client) -> Iterable[Fields]:
    columns = client_columns(_client(client))
    for line in list(_lines(client)) or [{"quantities": []}]:
        before, now = [{}, {}, *line["quantities"]][-2:]
        yield {
            **columns,
            **line,
            "quantity": now.get("quantity"),
            "quantity_since": now.get("since"),
            "before": before.get("quantity"),
        }
