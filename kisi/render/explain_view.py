"""What `kisi explain` knows of one client in one run: each quantity down to its devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import takewhile

from kisi.journal import ClientRecord, LineHistory, Run, UsageRecord
from kisi.model import ApplicationUsage, Evidence, Glob, KeyEvidence, TenantUsage, Unit


@dataclass(frozen=True, slots=True)
class ExplainView:
    """Everything that `kisi explain` shows."""

    client: ClientRecord
    run: Run
    zone: tzinfo = UTC
    """The billing time zone."""
    lines: tuple[LineHistory, ...] = ()
    """Each with what it was confirmed to hold up to that run, at least one quantity."""
    tenants: tuple[UsageRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceChanges:
    """Which counted devices an application has more and fewer of than in the reading before."""

    added: tuple[Evidence, ...] = ()
    removed: tuple[tuple[Evidence, str], ...] = ()
    """Each with what happened to it; as it was before where it is not listed any more."""


def device_changes(tenant: UsageRecord, usage: ApplicationUsage) -> DeviceChanges:
    """What was added and removed between the reading before and this one."""
    before = _counted(_application(tenant.previous, usage.application))
    now = _counted(usage)
    listed = {item.device: item for item in usage.evidence}
    removed = [listed.get(device, item) for device, item in before.items() if device not in now]
    return DeviceChanges(
        added=tuple(item for device, item in now.items() if device not in before),
        removed=tuple((item, _removed_because(item, tenant)) for item in removed),
    )


def _removed_because(item: Evidence, tenant: UsageRecord) -> str:
    """What happened to a device that an application counted in the reading before.

    It is listed there with a reason why it does not count; or it has moved: another application
    counts it, and did not before; or the application's keys list it no longer.
    """
    if not item.counted:
        return item.reason
    moved = [
        now.application
        for now in tenant.usage.applications
        if item.device in _counted(now)
        and item.device not in _counted(_application(tenant.previous, now.application))
    ]
    if moved:
        return f"now counted for {', '.join(moved)}"
    return "no longer listed with a key of this application"


def _application(usage: TenantUsage | None, name: str) -> ApplicationUsage | None:
    applications = usage.applications if usage else ()
    return next((one for one in applications if one.application == name), None)


def _counted(usage: ApplicationUsage | None) -> Mapping[str, Evidence]:
    evidence = usage.evidence if usage else ()
    return {item.device: item for item in evidence if item.counted}


def shared_devices(
    view: ExplainView, tenant: UsageRecord, usage: ApplicationUsage
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
        applications = tuple(one for one in usage.applications if matches(one.application))
        return replace(
            usage,
            applications=applications,
            unmapped=tuple(use for use in usage.unmapped if matches(use.application)),
            keys=tuple(key for one in applications for key in one.keys),
        )

    return replace(
        view,
        lines=tuple(line for line in view.lines if matches(line.application)),
        tenants=tuple(replace(one, usage=narrowed(one.usage)) for one in view.tenants),
    )
