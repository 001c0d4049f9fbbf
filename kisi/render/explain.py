"""`kisi explain`: each quantity of a client down to its devices, for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, tzinfo
from itertools import takewhile

from kisi.counting import conservation, identity, name_before
from kisi.journal import ClientRecord, LineHistory, Run, UsageRecord
from kisi.model import (
    TODAY,
    ApplicationUsage,
    DeviceClass,
    Evidence,
    Glob,
    Hold,
    KeyEvidence,
    PeriodCount,
    PlannedLine,
    Status,
    TenantUsage,
    Unit,
)
from kisi.reconcile.summary import cause_of, together
from kisi.render.formatting import (
    ACCEPT,
    billed_as,
    day,
    moment,
    plural,
    quantity,
    told_period,
    unmapped_as,
)
from kisi.render.report import Entry, Item, Report, Section, Span, Tone, listing, remarks, table
from kisi.render.status import as_billed
from kisi.run.document import FoundLine

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
    """Everything that `kisi explain` shows; of an earlier run nothing that has happened since."""

    client: ClientRecord
    run: Run
    zone: tzinfo = UTC
    lines: tuple[LineHistory, ...] = ()
    """Each with what it was confirmed to hold up to that run, at least one quantity."""
    tenants: tuple[UsageRecord, ...] = ()
    held: tuple[PlannedLine, ...] = ()
    """What waits for a person, of lines that exist or not."""
    found: Mapping[str, FoundLine] = field(default_factory=dict)
    """By id, the lines in which the PSA holds something else than kisi confirmed last."""
    periods: Mapping[str, PeriodCount] = field(default_factory=dict)
    """By id, what another count policy than `today` looked at."""
    left_to_people: Collection[str] = ()
    """Applications whose lines the mapping leaves to people, written by kisi once or never."""


def device_changes(
    tenant: UsageRecord, usage: ApplicationUsage
) -> tuple[list[Evidence], list[tuple[Evidence, str]]]:
    """Counted devices that were added and removed since the reading before, if there was one.

    A removed one comes with what happened to it.
    """
    if tenant.previous is None:
        return [], []
    before, now = _counted(tenant.previous), _counted(tenant.usage)
    new = {
        name: {device: x for device, x in own.items() if device not in before.get(name, {})}
        for name, own in now.items()
    }
    name, listed = usage.application, {item.device: item for item in usage.evidence}
    gone = (x for device, x in before.get(name, {}).items() if device not in now.get(name, {}))
    removed = [listed.get(item.device, item) for item in gone]
    added = [*new.get(name, {}).values()]
    return added, [(item, _removed_because(item, tenant, new)) for item in removed]


def _removed_because(
    item: Evidence, tenant: UsageRecord, new: Mapping[str, Mapping[str, Evidence]]
) -> str:
    if not item.counted:
        return item.reason
    if moved := [name for name, added in new.items() if item.device in added]:
        return f"now counted for {', '.join(moved)}"
    every = (x.name for added in new.values() for x in added.values() if x.name)
    again = (name for name in every if name_before(name) == name_before(item.name))
    if (name := next(again, None)) is not None:
        return f"installed anew: now counted as another device, {name}"
    return _key_because(item.serial, tenant)


def _key_because(serial: str, tenant: UsageRecord) -> str:
    """What happened to a key, so that its devices are not counted any more."""
    now, before = tenant.usage, tenant.previous.keys if tenant.previous else ()
    key = next((key for key in now.keys if key.serial == serial), None)
    if key is None:
        known = {one.serial for one in before}
        added = ", ".join(f"{x.serial} ({x.name})" for x in now.keys if x.serial not in known)
        gone = f"its key {serial} is not on the server any more"
        return f"{gone}; new there: {added}" if added else gone
    if not key.counted:
        return f"its key {key.serial} does not count any more: {key.reason}"
    if key.serial not in {one.serial for usage in now.applications for one in usage.keys}:
        return f"its key {key.serial} is of no billed application now ({key.name})"
    return f"no longer listed with its key {serial}"


def applications(tenant: UsageRecord) -> Iterable[ApplicationUsage]:
    """What the tenant used, with a 0 for what it used in the reading before and uses no more."""
    yield from tenant.usage.applications
    now = {usage.application for usage in tenant.usage.applications}
    for usage in tenant.previous.applications if tenant.previous else ():
        if usage.application not in now and usage.total:
            yield ApplicationUsage(usage.application, usage.unit, {}, 0, 0, {})


def doubles(usage: ApplicationUsage) -> Mapping[str, str]:
    """Counted devices, by id, that may be one device twice, with the names of all of it.

    Security Center gives a device that is installed anew a name with `~~` and a number while its
    old record is still there.
    """
    alike: dict[str, list[Evidence]] = defaultdict(list)
    for item in usage.evidence:
        if item.counted and item.name:
            alike[name_before(item.name).casefold()].append(item)
    return {
        item.device: " and ".join(sorted(one.name for one in items))
        for items in alike.values()
        if len(items) > 1 and any(name_before(one.name) != one.name for one in items)
        for item in items
    }


def _counted(usage: TenantUsage) -> dict[str, dict[str, Evidence]]:
    """By application and id, the devices that count."""
    return {
        one.application: {item.device: item for item in one.evidence if item.counted}
        for one in usage.applications
    }


def shared_devices(
    view: ExplainView, tenant: UsageRecord, usage: ApplicationUsage
) -> list[Evidence]:
    """Counted devices that an earlier tenant of the source has too: billed once. Users add up."""
    if usage.unit is Unit.USER:
        return []
    ref = tenant.usage.tenant.ref
    before = takewhile(lambda other: other is not tenant, view.tenants)
    known = {
        identity(other.usage.tenant.ref, device)
        for other in before
        if other.usage.tenant.ref.source == ref.source
        for device in _counted(other.usage).get(usage.application, ())
    }
    return [item for item in usage.evidence if item.counted and identity(ref, item.device) in known]


def other_keys(usage: TenantUsage) -> list[KeyEvidence]:
    """The tenant's keys that belong to no billed application."""
    known = {key.serial for one in usage.applications for key in one.keys}
    return [key for key in usage.keys if key.serial not in known]


def of_application(view: ExplainView, glob: str) -> ExplainView:
    """The view narrowed to the applications that match a glob; case does not matter."""
    matches = Glob(glob).matches
    tenants = []
    for one in view.tenants:
        used = tuple(x for x in one.usage.applications if matches(x.application))
        unmapped = tuple(x for x in one.usage.unmapped if matches(x.application))
        keys = tuple(key for x in used for key in x.keys)
        usage = replace(one.usage, applications=used, unmapped=unmapped, keys=keys)
        tenants.append(replace(one, usage=usage))
    lines = tuple(line for line in view.lines if matches(line.application))
    held = tuple(line for line in view.held if matches(line.application))
    return replace(view, lines=lines, held=held, tenants=tuple(tenants))


def explain_report(view: ExplainView, *, devices: bool = False) -> Report:
    """How a client's quantities came about; with `devices` also each device, and why it counts."""
    client, run = view.client, f"run {view.run.id} of {moment(view.run.at, view.zone)}"
    used = {one.application for tenant in view.tenants for one in tenant.usage.applications}
    by_hand = (used & {*view.left_to_people}) - {line.application for line in view.lines}
    told = (
        f"{x}: its lines are managed by hand (`bill = false`), whatever is counted."
        for x in sorted(by_hand)
    )
    lines = (*_lines(view), *map(Span, told))
    lines = lines or (Span("kisi keeps no line of this client."),)
    facts = (client.psa, f"agreement {client.agreement}", run)
    sections = [Section(client.name, facts, lines)]
    for tenant in view.tenants:
        sections += (
            _application_section(usage, tenant, view, devices=devices)
            for usage in applications(tenant)
        )
        rows = [(quantity(use.quantity), unmapped_as(use)) for use in tenant.usage.unmapped]
        caption = "Used, and billed by no row of mapping.toml:"
        notes = remarks(*(f"Note: {note}" for note in tenant.usage.notes))
        rest = (
            *listing(caption, rows, Tone.HELD),
            *_keys(other_keys(tenant.usage), view.zone),
            *notes,
        )
        sections += [Section("Also there", (_tenant(tenant),), rest)] if rest else []
    if not view.tenants:
        unread = Span("No reading of this client is in the journal.")
        sections.append(Section("Usage", (), (unread,)))
    return Report(f"kisi explain {client.name}", tuple(sections), (run,))


def _lines(view: ExplainView) -> Iterable[Item]:
    """What is billed, and under each line what stands between the count and the bill."""
    client, held = view.client, {(*x.slot, x.line_id): x for x in view.held}
    if client.status is Status.FAILED:
        said = f"Run {client.last_run} wrote nothing: {client.guard}: {client.reason}"
        yield Entry("✗", Tone.BAD, said, remarks=remarks(client.remedy, tone=Tone.PLAIN))
    for line in view.lines:
        label = billed_as(line.application, line.categories)
        billed, said = as_billed(line, view.found, view.zone)
        place = f"product {line.product}, line {line.line_id}"
        other = view.found.get(line.line_id)
        place += f", {said}" if other and not said.startswith("since") else ""
        period = view.periods.get(line.line_id)
        days = remarks(told_period(period)) if period else ()
        yield Entry("=", Tone.DIM, label, after=billed, change=place, remarks=days)
        waiting = held.pop((line.psa, line.agreement, line.product, line.line_id), None)
        if waiting is not None:
            yield _held(waiting)
        elif other is not None and not other.by_hand and other.quantity != other.counted:
            said = (
                f"billed {billed}, counted {quantity(other.counted)}: {other.why or 'not written'}"
            )
            yield Entry("!", Tone.HELD, said)
    for waiting in held.values():
        where = "new line" if waiting.line_id is None else f"line {waiting.line_id}"
        where += f" on agreement {waiting.agreement}"
        label = f"{billed_as(waiting.application, waiting.categories)} ({where})"
        yield Entry("=", Tone.DIM, label, after=quantity(waiting.before or 0))
        yield _held(waiting)


def _held(line: PlannedLine) -> Entry:
    """A change that waits, with the command that releases it, or what else does."""
    hold = line.hold or Hold("", "", "")
    command = ACCEPT.search(hold.remedy)
    released = Span(command[0], Tone.COMMAND) if command else Span(hold.remedy)
    number = line.after if line.counted is None else line.counted
    counted = "mapped no more" if line.orphaned else f"counted {number}"
    counted += f" ({line.policy} {line.after})" if line.policy != TODAY else ""
    why = cause_of(hold.guard, hold.reason)
    said = f"billed {quantity(line.before or 0)}, {counted}: on hold ({why}),"
    return Entry("!", Tone.HELD, said, remarks=(released,))


def _application_section(
    usage: ApplicationUsage, tenant: UsageRecord, view: ExplainView, *, devices: bool
) -> Section:
    items: list[Item] = [Span(conservation(usage))]
    if usage.evidence:
        classes = Counter(item.device_class for item in usage.evidence if item.counted)
        parts = [plural(classes[one], noun) for one, noun in _CLASSES.items() if classes[one]]
        text = "Counted: " + (", ".join(parts) or "none")
        if usage.unit is Unit.USER:
            text += (
                f"; users: {usage.total}, the larger of computers and half of the mobile devices"
            )
        items.append(Span(text))
    if shared := shared_devices(view, tenant, usage):
        names = ", ".join(map(_device, shared))
        items.append(Span(f"In a tenant above too, and billed once ({len(shared)}): {names}"))
    for names in dict.fromkeys(doubles(usage).values()):
        said = f"Counted twice? {names}: installed anew, and the old record was left."
        items.append(Span(f"{said} Delete that in Security Center.", Tone.HELD))
    items += _keys(usage.keys, view.zone)
    items += _changes(usage, tenant, everything=devices)
    if usage.unknown_devices:
        names = ", ".join(usage.unknown_devices)
        items.append(Span(f"Counted, with an unknown operating system: {names}", Tone.HELD))
    items += _devices(usage, tenant.last_seen) if devices else ()
    read = f"read {moment(tenant.usage.at, view.zone)}"
    read += "" if tenant.read else ", not in this run"
    since = f"unchanged since {day(tenant.first_at, view.zone)}"
    facts = (plural(usage.total, *_UNITS[usage.unit]), _tenant(tenant), read, since)
    return Section(usage.application, facts, tuple(items))


def _tenant(tenant: UsageRecord) -> str:
    return f"{tenant.usage.tenant.name} ({tenant.usage.tenant.ref})"


def _keys(keys: Sequence[KeyEvidence], zone: tzinfo) -> Iterable[Item]:
    rows = []
    for key in keys:
        used = "" if key.used is None else str(key.used)
        used += f" of {key.licenses}" if used and key.licenses is not None else ""
        reason = Span(key.reason, Tone.GOOD if key.counted else Tone.DIM)
        ends = day(key.expires, zone) if key.expires else ""
        rows.append((key.serial, key.name, reason, used, ends))
    return table("key | name~ | counts as~ | in use# | ends", rows)


def _changes(usage: ApplicationUsage, tenant: UsageRecord, *, everything: bool) -> Iterable[Item]:
    added, removed = device_changes(tenant, usage)
    added = sorted(added, key=lambda item: _device(item).casefold())
    rows = [("+", f"{_device(item)}, {item.os_name or 'unknown system'}") for item in added]
    because: dict[str, list[str]] = {}
    for item, reason in sorted(removed, key=lambda pair: _device(pair[0]).casefold()):
        because.setdefault(reason, []).append(_device(item))
    most = len(removed) if everything else _SHOWN
    rows += [("-", f"{together(names, most)}: {reason}") for reason, names in because.items()]
    more = 0 if everything else len(rows) - _SHOWN
    if more > 0:
        rows[_SHOWN:] = [("", f"and {more} more; --devices lists them all")]
    return listing(f"Added and removed since run {tenant.previous_run}:", rows)


def _device(item: Evidence) -> str:
    return item.name or item.device


def _devices(usage: ApplicationUsage, last_seen: Mapping[str, date]) -> Iterable[Item]:
    rows, twice = [], doubles(usage)
    for item in sorted(usage.evidence, key=lambda item: (_device(item).casefold(), item.device)):
        counted = Span(_CLASSES[item.device_class], Tone.GOOD)
        if item.device in twice:
            counted = Span(f"{counted.text}, twice?", Tone.HELD)
        seen = str(last_seen.get(item.device, ""))
        reason = counted if item.counted else Span(f"not counted: {item.reason}", Tone.DIM)
        rows.append((_device(item), item.os_name, seen, item.serial, reason))
    return table("device~ | operating system~ | last seen | key | counted as~", rows)
