"""What `kisi explain` knows of one client in one run: each quantity down to its devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from itertools import takewhile

from kisi.model import ApplicationUsage, Category, Evidence, Glob, KeyEvidence, TenantUsage, Unit


@dataclass(frozen=True, slots=True)
class ExplainedLine:
    """A billing line of the client and what it was last proven to hold."""

    application: str
    categories: tuple[Category, ...]
    product: str
    line_id: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class ExplainedTenant:
    """One tenant of the client, as it was counted."""

    usage: TenantUsage
    since: datetime
    """When its content was first read as it is here (aware)."""
    read: bool = True
    """False: the run did not read this tenant; this is the reading before."""
    previous: TenantUsage | None = None
    """The last reading with another content; None if none is kept."""
    previous_run: int | None = None


@dataclass(frozen=True, slots=True)
class ExplainView:
    """Everything that `kisi explain` shows."""

    name: str
    psa: str
    company: str
    agreement: str
    run: int
    at: datetime
    """When the run began (aware)."""
    zone: tzinfo = UTC
    """The billing time zone."""
    lines: tuple[ExplainedLine, ...] = ()
    tenants: tuple[ExplainedTenant, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceChanges:
    """Which counted devices of an application came and went."""

    came: tuple[Evidence, ...] = ()
    went: tuple[Evidence, ...] = ()
    """As they are now where they are still listed (with the reason why they do not count), else as
    they were."""


def device_changes(tenant: ExplainedTenant, usage: ApplicationUsage) -> DeviceChanges:
    """What came and went between the reading before and this one."""
    before = _counted(_application(tenant.previous, usage.application))
    now = _counted(usage)
    listed = {item.device: item for item in usage.evidence}
    return DeviceChanges(
        came=tuple(item for device, item in now.items() if device not in before),
        went=tuple(
            listed.get(device, item) for device, item in before.items() if device not in now
        ),
    )


def _application(usage: TenantUsage | None, name: str) -> ApplicationUsage | None:
    applications = usage.applications if usage else ()
    return next((one for one in applications if one.application == name), None)


def _counted(usage: ApplicationUsage | None) -> Mapping[str, Evidence]:
    evidence: Iterable[Evidence] = usage.evidence if usage else ()
    return {item.device: item for item in evidence if item.counted}


def shared_devices(
    view: ExplainView, tenant: ExplainedTenant, usage: ApplicationUsage
) -> tuple[Evidence, ...]:
    """Counted devices that a tenant before this one, of the same source, has too: they bill once.

    Users are worked out for each tenant and then added, so that nothing of them is shared.
    """
    if usage.unit is Unit.USER:
        return ()
    source = tenant.usage.tenant.ref.source
    before = takewhile(lambda other: other is not tenant, view.tenants)
    known = {
        device
        for other in before
        if other.usage.tenant.ref.source == source
        for device in _counted(_application(other.usage, usage.application))
    }
    return tuple(item for device, item in _counted(usage).items() if device in known)


def other_keys(usage: TenantUsage) -> tuple[KeyEvidence, ...]:
    """The tenant's keys that belong to no billed application."""
    known = {key.serial for one in usage.applications for key in one.keys}
    return tuple(key for key in usage.keys if key.serial not in known)


def of_application(view: ExplainView, glob: str) -> ExplainView:
    """The view narrowed to the applications that match a glob; case does not matter."""
    matches = Glob(glob).matches

    def narrowed(usage: TenantUsage) -> TenantUsage:
        return replace(
            usage,
            applications=tuple(one for one in usage.applications if matches(one.application)),
            unmapped=tuple(use for use in usage.unmapped if matches(use.application)),
            keys=tuple(
                key for one in usage.applications if matches(one.application) for key in one.keys
            ),
        )

    return replace(
        view,
        lines=tuple(line for line in view.lines if matches(line.application)),
        tenants=tuple(replace(one, usage=narrowed(one.usage)) for one in view.tenants),
    )
