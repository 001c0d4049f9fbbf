"""What `kisi explain` shows a person: quantity, conservation, keys, devices, what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import tzinfo

from kisi.journal import LineHistory, UsageRecord
from kisi.model import ApplicationUsage, DeviceClass, Evidence, KeyEvidence, Unit
from kisi.render.explain_view import ExplainView, device_changes, other_keys, shared_devices
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
from kisi.usage import conservation

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
            yield _application(usage, tenant, view, devices=devices)
        yield from _rest(tenant, view.zone)
    if not view.tenants:
        yield Section("Usage", (), (Remark("No reading of this client is in the journal."),))


def _line(line: LineHistory) -> Entry:
    held = quantity(line.quantities[-1].quantity)
    change = QuantityChange("", held, f"product {line.product}, line {line.key.line_id}")
    return Entry("=", Tone.DIM, billed_as(line.application, line.categories), change)


def _application(
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
