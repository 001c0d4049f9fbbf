"""`kisi explain` as CSV: one row a device and application, for an audit or the client."""

from __future__ import annotations

from collections.abc import Iterable

from kisi.model import ApplicationUsage
from kisi.render.csv_text import Value, csv_text
from kisi.render.explain_view import ExplainedTenant, ExplainView, device_changes
from kisi.render.figures import instant

_COLUMNS = (
    "kind",
    "company",
    "run",
    "source",
    "tenant",
    "tenant_name",
    "read_at",
    "application",
    "category",
    "quantity",
    "device",
    "name",
    "operating_system",
    "class",
    "counted",
    "serial",
    "reason",
    "change",
)


def explain_csv(view: ExplainView) -> str:
    """Each quantity (kind `quantity`) and each device (kind `device`), counted or left out.

    `change` says which devices `came` and `went` since the reading before; those that are not even
    listed any more have a row of kind `went`, as they were.
    """
    return csv_text(
        _COLUMNS,
        (
            one
            for tenant in view.tenants
            for usage in tenant.usage.applications
            for one in _rows(view, tenant, usage)
        ),
    )


def _rows(
    view: ExplainView, tenant: ExplainedTenant, usage: ApplicationUsage
) -> Iterable[tuple[Value, ...]]:
    known = tenant.usage.tenant
    place: tuple[Value, ...] = (
        view.name,
        view.run,
        known.ref.source,
        known.ref.tenant,
        known.name,
        instant(tenant.usage.at),
        usage.application,
    )
    for category, number in usage.quantities.items():
        yield ("quantity", *place, category.value, number, *(None,) * 8)
    changes = device_changes(tenant, usage)
    moved = dict.fromkeys((item.device for item in changes.came), "came") if tenant.previous else {}
    moved |= dict.fromkeys((item.device for item in changes.went), "went")
    listed = {item.device for item in usage.evidence}
    gone = [item for item in changes.went if item.device not in listed]
    for kind, items in (("device", usage.evidence), ("went", gone)):
        for item in items:
            yield (
                kind,
                *place,
                None,
                None,
                item.device,
                item.name,
                item.os_name,
                item.device_class.value,
                item.counted and kind == "device",
                item.serial,
                item.reason,
                moved.get(item.device),
            )
