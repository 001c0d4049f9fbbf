"""`kisi explain` for programs: the evidence behind each quantity, as JSON and as CSV."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.journal import LineHistory, UsageRecord
from kisi.json_text import FORMAT_VERSION, Json
from kisi.model import ApplicationUsage, Evidence, KeyEvidence, category_text
from kisi.render.csv_text import csv_of_fields
from kisi.render.explain_view import ExplainView, device_changes, other_keys, shared_devices
from kisi.render.formatting import fields, plain
from kisi.render.plan_export import Fields, use_fields
from kisi.usage import conservation

COLUMNS = (
    "kind company run source tenant tenant_name read_at application category quantity device name"
    " operating_system class counted serial reason change"
)


def explain_document(view: ExplainView) -> Json:
    """A client's quantities and their evidence as plain JSON data."""
    document: Json = plain(
        {
            "format_version": FORMAT_VERSION,
            **fields(view.client, "name psa company agreement"),
            "run": view.run.id,
            "began_at": view.run.at,
            "lines": [_line(line) for line in view.lines],
            "tenants": [_tenant(tenant, view) for tenant in view.tenants],
        }
    )
    return document


def _line(line: LineHistory) -> Fields:
    return {
        "application": line.application,
        "category": category_text(line.categories),
        "product": line.product,
        "line_id": line.key.line_id,
        "quantity": line.quantities[-1].quantity,
    }


def _tenant(tenant: UsageRecord, view: ExplainView) -> Fields:
    usage = tenant.usage
    return {
        **fields(usage.tenant.ref, "source tenant"),
        "name": usage.tenant.name,
        "read_at": usage.at,
        "read_in_this_run": tenant.read,
        "since": tenant.first_at,
        "previous_run": tenant.previous_run,
        "applications": [_application(one, tenant, view) for one in usage.applications],
        "unmapped": [use_fields(use) for use in usage.unmapped],
        "other_keys": [_key(key) for key in other_keys(usage)],
        "notes": usage.notes,
    }


def _application(usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView) -> Fields:
    changes = device_changes(tenant, usage) if tenant.previous else None
    return {
        **fields(usage, "application unit"),
        "quantity": usage.total,
        **fields(usage, "quantities rows counted_rows left_out"),
        "conservation": conservation(usage),
        "keys": [_key(key) for key in usage.keys],
        "unknown_devices": usage.unknown_devices,
        "devices": [_device(item) for item in usage.evidence],
        "shared": [item.device for item in shared_devices(view, tenant, usage)],
        "came": [item.device for item in changes.added] if changes else None,
        "went": [item.device for item, _ in changes.removed] if changes else None,
    }


def _key(key: KeyEvidence) -> Fields:
    return fields(key, "serial name counted reason used licenses expires")


def _device(item: Evidence) -> Fields:
    return {
        **fields(item, "device name"),
        "operating_system": item.os_name,
        "class": item.device_class,
        **fields(item, "counted serial reason"),
    }


def explain_csv(view: ExplainView) -> str:
    """Each quantity (kind `quantity`) and each device (kind `device`), counted or left out.

    `change` says which devices `came` and `went` since the reading before; those that are not even
    listed any more have a row of kind `went`, as they were.
    """
    return csv_of_fields(
        COLUMNS,
        (
            {
                "company": view.client.name,
                "run": view.run.id,
                **fields(tenant.usage.tenant.ref, "source tenant"),
                "tenant_name": tenant.usage.tenant.name,
                "read_at": tenant.usage.at,
                "application": usage.application,
                **one,
            }
            for tenant in view.tenants
            for usage in tenant.usage.applications
            for one in _rows(tenant, usage)
        ),
    )


def _rows(tenant: UsageRecord, usage: ApplicationUsage) -> Iterable[Fields]:
    for category, number in usage.quantities.items():
        yield {"kind": "quantity", "category": category, "quantity": number}
    changes = device_changes(tenant, usage)
    went = [item for item, _ in changes.removed]
    moved = {item.device: "came" for item in changes.added if tenant.previous}
    moved |= {item.device: "went" for item in went}
    listed = {item.device for item in usage.evidence}
    for item in usage.evidence:
        yield {"kind": "device", **_device(item), "change": moved.get(item.device)}
    for item in went:
        if item.device not in listed:
            yield {"kind": "went", **_device(item), "counted": False, "change": "went"}
