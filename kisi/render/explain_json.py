"""The JSON of `kisi explain`: the evidence behind each quantity."""

from __future__ import annotations

from kisi.json_text import FORMAT_VERSION, Json
from kisi.model import ApplicationUsage, Evidence, KeyEvidence, category_text
from kisi.render.explain_view import (
    ExplainedLine,
    ExplainedTenant,
    ExplainView,
    device_changes,
    other_keys,
    shared_devices,
)
from kisi.render.figures import instant, json_number
from kisi.render.plan_json import use_data
from kisi.usage import conservation


def explain_document(view: ExplainView) -> Json:
    """A client's quantities and their evidence as plain JSON data."""
    return {
        "format_version": FORMAT_VERSION,
        "name": view.name,
        "psa": view.psa,
        "company": view.company,
        "agreement": view.agreement,
        "run": view.run,
        "began_at": instant(view.at),
        "lines": [_line(line) for line in view.lines],
        "tenants": [_tenant(tenant, view) for tenant in view.tenants],
    }


def _line(line: ExplainedLine) -> Json:
    return {
        "application": line.application,
        "category": category_text(line.categories),
        "product": line.product,
        "line_id": line.line_id,
        "quantity": json_number(line.quantity),
    }


def _tenant(tenant: ExplainedTenant, view: ExplainView) -> Json:
    usage = tenant.usage
    return {
        "source": usage.tenant.ref.source,
        "tenant": usage.tenant.ref.tenant,
        "name": usage.tenant.name,
        "read_at": instant(usage.at),
        "read_in_this_run": tenant.read,
        "since": instant(tenant.since),
        "previous_run": tenant.previous_run,
        "applications": [_application(one, tenant, view) for one in usage.applications],
        "unmapped": [use_data(use) for use in usage.unmapped],
        "other_keys": [_key(key) for key in other_keys(usage)],
        "notes": list(usage.notes),
    }


def _application(usage: ApplicationUsage, tenant: ExplainedTenant, view: ExplainView) -> Json:
    changes = device_changes(tenant, usage) if tenant.previous else None
    return {
        "application": usage.application,
        "unit": usage.unit.value,
        "quantity": usage.total,
        "quantities": {category.value: number for category, number in usage.quantities.items()},
        "rows": usage.rows,
        "counted_rows": usage.counted_rows,
        "left_out": dict(usage.left_out),
        "conservation": conservation(usage),
        "keys": [_key(key) for key in usage.keys],
        "unknown_devices": list(usage.unknown_devices),
        "devices": [_device(item) for item in usage.evidence],
        "shared": [item.device for item in shared_devices(view, tenant, usage)],
        "came": [item.device for item in changes.came] if changes else None,
        "went": [item.device for item in changes.went] if changes else None,
    }


def _key(key: KeyEvidence) -> Json:
    return {
        "serial": key.serial,
        "name": key.name,
        "counted": key.counted,
        "reason": key.reason,
        "used": key.used,
        "licenses": key.licenses,
        "expires": instant(key.expires),
    }


def _device(item: Evidence) -> Json:
    return {
        "device": item.device,
        "name": item.name,
        "operating_system": item.os_name,
        "class": item.device_class.value,
        "counted": item.counted,
        "serial": item.serial,
        "reason": item.reason,
    }
