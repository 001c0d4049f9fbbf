"""`kisi explain`: each quantity of a client down to its devices, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import takewhile

from kisi.counting import conservation
from kisi.journal import ClientRecord, LineHistory, Run, UsageRecord
from kisi.json_text import Json, document, fields
from kisi.model import (
    ApplicationUsage,
    DeviceClass,
    Evidence,
    Glob,
    KeyEvidence,
    TenantUsage,
    Unit,
)
from kisi.render.csv_text import csv_of_fields
from kisi.render.formatting import billed_as, day, moment, plural, quantity, unmapped_as
from kisi.render.report import (
    Cell,
    Entry,
    Grid,
    Item,
    QuantityChange,
    Remark,
    Report,
    Section,
    Tone,
    listing,
    row,
)
from kisi.run.document import Fields, known_line, use_fields

COLUMNS = (
    "kind company run source tenant tenant_name read_at application category quantity device name"
    " operating_system class counted serial reason change"
)
_SHOWN = 20
"""How many devices that were added or removed are listed without `--devices`."""
_UNITS = {
    Unit.DEVICE: ("device", ""),
    Unit.USER: ("user", ""),
    Unit.MAILBOX: ("mailbox", "mailboxes"),
}
_CLASSES = {
    DeviceClass.WINDOWS_WORKSTATION: "workstation",
    DeviceClass.WINDOWS_SERVER: "server",
    DeviceClass.MOBILE: "mobile device",
    DeviceClass.OTHER: "other device",
    DeviceClass.UNKNOWN: "unknown device",
}


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


# For people


def explain_report(view: ExplainView, *, devices: bool = False) -> Report:
    """How a client's quantities came about.

    Args:
        view: What the journal holds of the client and the run.
        devices: Also each device, counted or left out with the reason.
    """
    run = f"run {view.run.id} of {moment(view.run.at, view.zone)}"
    return Report(
        title=f"kisi explain {view.client.name}",
        sections=tuple(_sections(view, run, devices=devices)),
        facts=(run,),
    )


def _sections(view: ExplainView, run: str, *, devices: bool) -> Iterable[Section]:
    client = view.client
    facts = (client.psa, f"agreement {client.agreement}", run)
    lines = tuple(map(_line, view.lines))
    yield Section(client.name, facts, lines or (Remark("kisi keeps no line of this client."),))
    for tenant in view.tenants:
        for usage in tenant.usage.applications:
            yield _application_section(usage, tenant, view, devices=devices)
        yield from _rest(tenant, view.zone)
    if not view.tenants:
        yield Section("Usage", (), (Remark("No reading of this client is in the journal."),))


def _line(line: LineHistory) -> Entry:
    held = quantity(line.quantities[-1].quantity)
    change = QuantityChange("", held, f"product {line.product}, line {line.line_id}")
    return Entry("=", Tone.DIM, billed_as(line.application, line.categories), change)


def _application_section(
    usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView, *, devices: bool
) -> Section:
    amount = plural(usage.total, *_UNITS[usage.unit])
    items: list[Item] = [Remark(conservation(usage))]
    if usage.evidence:
        items.append(_classes(usage))
    shared = shared_devices(view, tenant, usage)
    if shared:
        names = ", ".join(_device(item) for item in shared)
        items.append(Remark(f"In a tenant above too, and billed once ({len(shared)}): {names}"))
    items += _keys(usage.keys, view.zone)
    items += _changes(usage, tenant, everything=devices)
    if usage.unknown_devices:
        names = ", ".join(usage.unknown_devices)
        items.append(Remark(f"Counted, with an unknown operating system: {names}", Tone.HELD))
    if devices and usage.evidence:
        items.append(_devices(usage.evidence))
    return Section(usage.application, (amount, *_tenant(tenant, view.zone)), tuple(items))


def _tenant(tenant: UsageRecord, zone: tzinfo) -> tuple[str, ...]:
    known = tenant.usage.tenant
    read = f"read {moment(tenant.usage.at, zone)}"
    if not tenant.read:
        read += ", not in this run"
    return (f"{known.name} ({known.ref})", read, f"unchanged since {day(tenant.first_at, zone)}")


def _classes(usage: ApplicationUsage) -> Remark:
    counted = Counter(item.device_class for item in usage.evidence if item.counted)
    parts = [plural(counted[one], _CLASSES[one]) for one in DeviceClass if counted[one]]
    text = "Counted: " + (", ".join(parts) or "none")
    if usage.unit is Unit.USER:
        text += f"; users: {usage.total}, the larger of computers and half of the mobile devices"
    return Remark(text)


def _keys(keys: Sequence[KeyEvidence], zone: tzinfo) -> Iterable[Item]:
    if not keys:
        return
    rows = tuple(
        row(
            key.serial,
            key.name,
            Cell(key.reason, Tone.GOOD if key.counted else Tone.DIM),
            _use(key),
            day(key.expires, zone) if key.expires else "",
        )
        for key in keys
    )
    headers = ("key", "name", "counts as", "in use", "ends")
    yield Grid(headers, rows, right=frozenset({3}), flexible=frozenset({1, 2}))


def _use(key: KeyEvidence) -> str:
    if key.used is None:
        return ""
    return str(key.used) if key.licenses is None else f"{key.used} of {key.licenses}"


def _changes(usage: ApplicationUsage, tenant: UsageRecord, *, everything: bool) -> Iterable[Item]:
    if tenant.previous is None:
        return
    changes = device_changes(tenant, usage)
    rows = [("+", f"{_device(item)}, {item.os_name or 'unknown system'}") for item in changes.added]
    rows += [("-", f"{_device(item)}: {reason}") for item, reason in changes.removed]
    if not rows:
        return
    more = 0 if everything else len(rows) - _SHOWN
    if more > 0:
        rows[_SHOWN:] = [("", f"and {more} more; --devices lists them all")]
    yield listing(f"Added and removed since run {tenant.previous_run}:", rows)


def _device(item: Evidence) -> str:
    return item.name or item.device


def _devices(evidence: Sequence[Evidence]) -> Grid:
    rows = tuple(
        row(
            _device(item),
            item.os_name,
            _CLASSES[item.device_class],
            item.serial,
            Cell("counted", Tone.GOOD) if item.counted else Cell(item.reason, Tone.DIM),
        )
        for item in sorted(evidence, key=lambda item: (_device(item).casefold(), item.device))
    )
    headers = ("device", "operating system", "class", "key", "")
    return Grid(headers, rows, flexible=frozenset({0, 1, 4}))


def _rest(tenant: UsageRecord, zone: tzinfo) -> Iterable[Section]:
    """What the tenant has besides billed applications."""
    usage = tenant.usage
    items: list[Item] = []
    if usage.unmapped:
        rows = [(quantity(use.quantity), unmapped_as(use)) for use in usage.unmapped]
        items.append(listing("Used, and billed by no row of mapping.toml:", rows, Tone.HELD))
    items += _keys(other_keys(usage), zone)
    items += [Remark(f"Note: {note}", Tone.DIM) for note in usage.notes]
    if items:
        yield Section("Also there", _tenant(tenant, zone)[:1], tuple(items))


# For programs


def explain_document(view: ExplainView) -> Json:
    """A client's quantities and their evidence as plain JSON data."""
    return document(
        {
            **fields(view.client, "name psa company agreement"),
            "run": view.run.id,
            "began_at": view.run.at,
            "lines": [
                {
                    **known_line(line),
                    "quantity": line.quantities[-1].quantity,
                }
                for line in view.lines
            ],
            "tenants": [_tenant_fields(tenant, view) for tenant in view.tenants],
        }
    )


def _tenant_fields(tenant: UsageRecord, view: ExplainView) -> Fields:
    usage = tenant.usage
    return {
        **fields(usage.tenant.ref, "source tenant"),
        "name": usage.tenant.name,
        "read_at": usage.at,
        "read_in_this_run": tenant.read,
        "since": tenant.first_at,
        "previous_run": tenant.previous_run,
        "applications": [_application_fields(one, tenant, view) for one in usage.applications],
        "unmapped": [use_fields(use) for use in usage.unmapped],
        "other_keys": [_key_fields(key) for key in other_keys(usage)],
        "notes": usage.notes,
    }


def _application_fields(usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView) -> Fields:
    changes = device_changes(tenant, usage) if tenant.previous else None
    return {
        **fields(usage, "application unit"),
        "quantity": usage.total,
        **fields(usage, "quantities rows counted_rows left_out"),
        "conservation": conservation(usage),
        "keys": [_key_fields(key) for key in usage.keys],
        "unknown_devices": usage.unknown_devices,
        "devices": [_device_fields(item) for item in usage.evidence],
        "shared": [item.device for item in shared_devices(view, tenant, usage)],
        "came": [item.device for item in changes.added] if changes else None,
        "went": [item.device for item, _ in changes.removed] if changes else None,
    }


def _key_fields(key: KeyEvidence) -> Fields:
    return fields(key, "serial name counted reason used licenses expires")


def _device_fields(item: Evidence) -> Fields:
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
        yield {"kind": "device", **_device_fields(item), "change": moved.get(item.device)}
    for item in went:
        if item.device not in listed:
            yield {"kind": "went", **_device_fields(item), "counted": False, "change": "went"}
