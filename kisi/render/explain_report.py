"""What `kisi explain` shows a person: quantity, conservation, keys, devices, what came and went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import tzinfo

from kisi.model import ApplicationUsage, DeviceClass, Evidence, KeyEvidence, Unit
from kisi.render.explain_view import (
    ExplainedTenant,
    ExplainView,
    device_changes,
    other_keys,
    shared_devices,
)
from kisi.render.figures import day, moment, plural, quantity
from kisi.render.report import (
    Cell,
    Entry,
    Figures,
    Grid,
    Item,
    Listing,
    Remark,
    Report,
    Section,
    Tone,
    row,
)
from kisi.render.words import CLASSES, billed_as, unmapped_as
from kisi.usage import conservation

_SHOWN = 20
_UNITS = {Unit.DEVICE: "device", Unit.USER: "user", Unit.MAILBOX: "mailbox"}


def explain_report(view: ExplainView, *, devices: bool = False) -> Report:
    """How a client's quantities came about.

    Args:
        view: What the journal holds of the client and the run.
        devices: Also each device, counted or left out with the reason.
    """
    return Report(
        title=f"kisi explain {view.name}",
        sections=tuple(_sections(view, devices=devices)),
        facts=(f"run {view.run} of {moment(view.at, view.zone)}",),
    )


def _sections(view: ExplainView, *, devices: bool) -> Iterable[Section]:
    run = f"run {view.run} of {moment(view.at, view.zone)}"
    facts = (view.psa, f"agreement {view.agreement}", run)
    lines = tuple(
        Entry(
            mark="=",
            tone=Tone.DIM,
            label=billed_as(line.application, line.categories),
            figures=Figures(
                "", quantity(line.quantity), f"product {line.product}, line {line.line_id}"
            ),
        )
        for line in view.lines
    )
    yield Section(view.name, facts, lines or (Remark("kisi keeps no line of this client."),))
    for tenant in view.tenants:
        for usage in tenant.usage.applications:
            yield _application(usage, tenant, view, devices=devices)
        yield from _rest(tenant, view.zone)
    if not view.tenants:
        yield Section("Usage", (), (Remark("No reading of this client is in the journal."),))


def _application(
    usage: ApplicationUsage, tenant: ExplainedTenant, view: ExplainView, *, devices: bool
) -> Section:
    amount = plural(
        usage.total, _UNITS[usage.unit], "mailboxes" if usage.unit is Unit.MAILBOX else ""
    )
    items: list[Item] = [Remark(conservation(usage))]
    if usage.evidence:
        items.append(_classes(usage))
    shared = shared_devices(view, tenant, usage)
    if shared:
        names = ", ".join(_device(item) for item in shared)
        items.append(Remark(f"In a tenant above too, and billed once ({len(shared)}): {names}"))
    items += _keys(usage.keys, view.zone)
    items += _came_and_went(usage, tenant, everything=devices)
    if usage.unknown_devices:
        names = ", ".join(usage.unknown_devices)
        items.append(Remark(f"Counted, with an unknown operating system: {names}", Tone.HELD))
    if devices and usage.evidence:
        items.append(_devices(usage.evidence))
    return Section(usage.application, (amount, *_tenant(tenant, view.zone)), tuple(items))


def _tenant(tenant: ExplainedTenant, zone: tzinfo) -> tuple[str, ...]:
    known = tenant.usage.tenant
    read = f"read {moment(tenant.usage.at, zone)}"
    if not tenant.read:
        read += ", not in this run"
    return (f"{known.name} ({known.ref})", read, f"unchanged since {day(tenant.since, zone)}")


def _classes(usage: ApplicationUsage) -> Remark:
    counted = Counter(item.device_class for item in usage.evidence if item.counted)
    parts = [plural(counted[one], CLASSES[one]) for one in DeviceClass if counted[one]]
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


def _came_and_went(
    usage: ApplicationUsage, tenant: ExplainedTenant, *, everything: bool
) -> Iterable[Item]:
    if tenant.previous is None:
        return
    changes = device_changes(tenant, usage)
    rows = [("+", f"{_device(item)}, {item.os_name or 'unknown system'}") for item in changes.came]
    rows += [("-", f"{_device(item)}: {_why_gone(item)}") for item in changes.went]
    if not rows:
        return
    more = 0 if everything else len(rows) - _SHOWN
    if more > 0:
        rows[_SHOWN:] = [("", f"and {more} more; --devices lists them all")]
    yield Listing(f"Came and went since run {tenant.previous_run}:", tuple(rows))


def _why_gone(item: Evidence) -> str:
    return "does not use it any more" if item.counted else item.reason


def _device(item: Evidence) -> str:
    return item.name or item.device


def _devices(evidence: Sequence[Evidence]) -> Grid:
    rows = tuple(
        row(
            _device(item),
            item.os_name,
            CLASSES[item.device_class],
            item.serial,
            Cell("counted", Tone.GOOD) if item.counted else Cell(item.reason, Tone.DIM),
        )
        for item in sorted(evidence, key=lambda item: (_device(item).casefold(), item.device))
    )
    headers = ("device", "operating system", "class", "key", "")
    return Grid(headers, rows, flexible=frozenset({0, 1, 4}))


def _rest(tenant: ExplainedTenant, zone: tzinfo) -> Iterable[Section]:
    """What the tenant has besides billed applications."""
    usage = tenant.usage
    items: list[Item] = []
    if usage.unmapped:
        rows = tuple((quantity(use.quantity), unmapped_as(use)) for use in usage.unmapped)
        items.append(Listing("Used, and billed by no row of mapping.toml:", rows, Tone.HELD))
    items += _keys(other_keys(usage), zone)
    items += [Remark(f"Note: {note}", Tone.DIM) for note in usage.notes]
    if items:
        yield Section("Also there", _tenant(tenant, zone)[:1], tuple(items))
