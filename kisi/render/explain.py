"""`kisi explain`: each quantity of a client down to its devices, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import takewhile

from kisi.counting import conservation
from kisi.journal import ClientRecord, LineHistory, Run, UsageRecord
from kisi.model import ApplicationUsage, DeviceClass, Evidence, Glob, KeyEvidence, TenantUsage, Unit
from kisi.render.formatting import billed_as, day, moment, plural, quantity, unmapped_as
from kisi.render.report import Entry, Grid, Item, Report, Section, Span, Tone, listing, remarks, row

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
    lines: tuple[LineHistory, ...] = ()
    """Each with what it was confirmed to hold up to that run, at least one quantity."""
    tenants: tuple[UsageRecord, ...] = ()


def device_changes(
    tenant: UsageRecord, usage: ApplicationUsage
) -> tuple[list[Evidence], list[tuple[Evidence, str]]]:
    """Counted devices that were added and removed since the reading before, if there was one.

    A removed one comes with what happened to it.
    """
    if tenant.previous is None:
        return [], []
    before = _counted(tenant.previous, usage.application)
    now = _counted(tenant.usage, usage.application)
    listed = {item.device: item for item in usage.evidence}
    removed = [listed.get(device, item) for device, item in before.items() if device not in now]
    added = [item for device, item in now.items() if device not in before]
    return added, [(item, _removed_because(item, tenant)) for item in removed]


def _removed_because(item: Evidence, tenant: UsageRecord) -> str:
    if not item.counted:
        return item.reason
    moved = [
        now.application
        for now in tenant.usage.applications
        if item.device in _counted(tenant.usage, now.application)
        and item.device not in _counted(tenant.previous, now.application)
    ]
    if moved:
        return f"now counted for {', '.join(moved)}"
    return "no longer listed with a key of this application"


def _counted(usage: TenantUsage | None, application: str) -> dict[str, Evidence]:
    return {
        item.device: item
        for one in (usage.applications if usage else ())
        for item in one.evidence
        if one.application == application and item.counted
    }


def shared_devices(
    view: ExplainView, tenant: UsageRecord, usage: ApplicationUsage
) -> list[Evidence]:
    """Counted devices that an earlier tenant of the source has too: billed once. Users add up."""
    if usage.unit is Unit.USER:
        return []
    source = tenant.usage.tenant.ref.source
    before = takewhile(lambda other: other is not tenant, view.tenants)
    known = {
        device
        for other in before
        if other.usage.tenant.ref.source == source
        for device in _counted(other.usage, usage.application)
    }
    return [item for item in usage.evidence if item.counted and item.device in known]


def other_keys(usage: TenantUsage) -> list[KeyEvidence]:
    """The tenant's keys that belong to no billed application."""
    known = {key.serial for one in usage.applications for key in one.keys}
    return [key for key in usage.keys if key.serial not in known]


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


def explain_report(view: ExplainView, *, devices: bool = False) -> Report:
    """How a client's quantities came about; with `devices` also each device, and why it counts."""
    client, run = view.client, f"run {view.run.id} of {moment(view.run.at, view.zone)}"
    lines: list[Item] = []
    for line in view.lines:
        label = billed_as(line.application, line.categories)
        held = quantity(line.quantities[-1].quantity)
        place = f"product {line.product}, line {line.line_id}"
        lines.append(Entry("=", Tone.DIM, label, after=held, change=place))
    lines = lines or [Span("kisi keeps no line of this client.")]
    facts = (client.psa, f"agreement {client.agreement}", run)
    sections = [Section(client.name, facts, tuple(lines))]
    for tenant in view.tenants:
        sections += (
            _application_section(usage, tenant, view, devices=devices)
            for usage in tenant.usage.applications
        )
        sections += _rest(tenant, view.zone)
    if not view.tenants:
        unread = Span("No reading of this client is in the journal.")
        sections.append(Section("Usage", (), (unread,)))
    return Report(f"kisi explain {client.name}", tuple(sections), (run,))


def _application_section(
    usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView, *, devices: bool
) -> Section:
    items: list[Item] = [Span(conservation(usage))]
    if usage.evidence:
        items.append(_classes(usage))
    if shared := shared_devices(view, tenant, usage):
        names = ", ".join(map(_device, shared))
        items.append(Span(f"In a tenant above too, and billed once ({len(shared)}): {names}"))
    items += _keys(usage.keys, view.zone)
    items += _changes(usage, tenant, everything=devices)
    if usage.unknown_devices:
        names = ", ".join(usage.unknown_devices)
        items.append(Span(f"Counted, with an unknown operating system: {names}", Tone.HELD))
    items += _devices(usage.evidence) if devices else ()
    read = f"read {moment(tenant.usage.at, view.zone)}"
    read += "" if tenant.read else ", not in this run"
    since = f"unchanged since {day(tenant.first_at, view.zone)}"
    facts = (plural(usage.total, *_UNITS[usage.unit]), _tenant(tenant), read, since)
    return Section(usage.application, facts, tuple(items))


def _tenant(tenant: UsageRecord) -> str:
    return f"{tenant.usage.tenant.name} ({tenant.usage.tenant.ref})"


def _classes(usage: ApplicationUsage) -> Span:
    counted = Counter(item.device_class for item in usage.evidence if item.counted)
    parts = [plural(counted[one], noun) for one, noun in _CLASSES.items() if counted[one]]
    text = "Counted: " + (", ".join(parts) or "none")
    if usage.unit is Unit.USER:
        text += f"; users: {usage.total}, the larger of computers and half of the mobile devices"
    return Span(text)


def _keys(keys: Sequence[KeyEvidence], zone: tzinfo) -> Iterable[Item]:
    rows = []
    for key in keys:
        used = "" if key.used is None else str(key.used)
        used += f" of {key.licenses}" if used and key.licenses is not None else ""
        reason = Span(key.reason, Tone.GOOD if key.counted else Tone.DIM)
        ends = day(key.expires, zone) if key.expires else ""
        rows.append(row(key.serial, key.name, reason, used, ends))
    if rows:
        headers = ("key", "name", "counts as", "in use", "ends")
        yield Grid(headers, tuple(rows), (3,), (1, 2))


def _changes(usage: ApplicationUsage, tenant: UsageRecord, *, everything: bool) -> Iterable[Item]:
    added, removed = device_changes(tenant, usage)
    rows = [("+", f"{_device(item)}, {item.os_name or 'unknown system'}") for item in added]
    rows += [("-", f"{_device(item)}: {reason}") for item, reason in removed]
    more = 0 if everything else len(rows) - _SHOWN
    if more > 0:
        rows[_SHOWN:] = [("", f"and {more} more; --devices lists them all")]
    return listing(f"Added and removed since run {tenant.previous_run}:", rows)


def _device(item: Evidence) -> str:
    return item.name or item.device


def _devices(evidence: Sequence[Evidence]) -> Iterable[Item]:
    rows = []
    for item in sorted(evidence, key=lambda item: (_device(item).casefold(), item.device)):
        reason = Span("counted", Tone.GOOD) if item.counted else Span(item.reason, Tone.DIM)
        known = (item.os_name, _CLASSES[item.device_class], item.serial)
        rows.append(row(_device(item), *known, reason))
    if rows:
        headers = ("device", "operating system", "class", "key", "")
        yield Grid(headers, tuple(rows), flexible=(0, 1, 4))


def _rest(tenant: UsageRecord, zone: tzinfo) -> Iterable[Section]:
    usage = tenant.usage
    rows = [(quantity(use.quantity), unmapped_as(use)) for use in usage.unmapped]
    items: list[Item] = [*listing("Used, and billed by no row of mapping.toml:", rows, Tone.HELD)]
    items += _keys(other_keys(usage), zone)
    items += remarks(*(f"Note: {note}" for note in usage.notes))
    if items:
        yield Section("Also there", (_tenant(tenant),), tuple(items))
