"""How many? A tenant's reading and the rules in, quantities and evidence out.

The conservation law holds for every tenant and application and is checked on every run:
rows read = rows counted + rows left out, by reason. A device counts once per application, however
many keys, products or rows it has there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from kisi.counting.notes import device_notes, figure_notes, key_notes, name_notes, some
from kisi.counting.rules import (
    CountingContext,
    Reason,
    classify,
    expires,
    identity,
    judge_key,
    judge_row,
)
from kisi.errors import ExitCode, Incomplete, SourceError
from kisi.model import (
    Application,
    ApplicationUsage,
    Category,
    CountingRules,
    Device,
    DeviceClass,
    Evidence,
    KeyEvidence,
    KeyRow,
    Reading,
    ReportedQuantity,
    TenantRef,
    TenantUsage,
    Unit,
    UnmappedUse,
)

_FOREIGN_TOLERATED = 2
_FOREIGN_SHARE = 0.02
_TOTAL_SHARE = 0.02
"""How far apart the figures of a shared key may be: servers are read one after the other."""
READ_ALL = "Give kisi's account the right to read all of it: it is not told what it may not see."
SAME_DEVICE = "the same device again"
_CATEGORY = {
    DeviceClass.WINDOWS_WORKSTATION: Category.WINDOWS_WORKSTATIONS,
    DeviceClass.WINDOWS_SERVER: Category.WINDOWS_SERVERS,
}
"""All others are non-Windows devices, but for unknown ones where `unknown_device` says so."""
_COMPUTERS = (Category.WINDOWS_WORKSTATIONS, Category.WINDOWS_SERVERS)
"""Reported categories that are computers to a user licence; the third may be anything."""


class Undecided(SourceError):
    """The reading is whole, and a person must say what is to be billed of it.

    Its `guard` is `ambiguous` (a key name in use belongs to two applications equally well) or
    `category` (users cannot be worked out from a number of non-Windows devices).
    """

    exit_code = ExitCode.WITHHELD

    def __init__(self, guard: str, message: str, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.guard = guard


class RowCount(NamedTuple):
    """What became of the uses of one application's keys: rows by reason, evidence by device."""

    counted: int
    left_out: Counter[str]
    evidence: list[Evidence]


@dataclass(slots=True)
class _Group:
    """Everything a tenant reported under one application (or one key name that matches none)."""

    name: str
    application: Application | None
    keys: list[KeyEvidence] = field(default_factory=list)
    rows: list[KeyRow] = field(default_factory=list)
    reported: list[ReportedQuantity] = field(default_factory=list)
    count: RowCount = field(default_factory=lambda: RowCount(0, Counter(), []))

    def counted_reports(self) -> list[ReportedQuantity]:
        return [each for each in self.reported if not each.not_counted_reason]


def count_tenant(reading: Reading, context: CountingContext) -> TenantUsage:
    """Counts one complete tenant: an `ApplicationUsage` for each billed application it uses.

    Raises `Undecided`, or `Incomplete` if too many uses belong to devices of other servers, or the
    rows do not add up.
    """
    keys, listed = {}, Counter(row.serial for row in reading.rows if row.current)
    for key in reading.keys:
        ruling = judge_key(key, context.rules, context.now)
        evidence = KeyEvidence(key.serial, key.name, ruling.counts, ruling.reason, key.used)
        read = listed[key.serial] if context.selects(key) else None
        keys[key.serial] = replace(
            evidence, licenses=key.licenses, expires=expires(key), listed=read
        )
    groups = _group(reading, keys, context)
    _refuse_foreign(reading, keys, context)
    for group in groups:
        group.count = count_rows(group.rows, reading.devices, keys, context)
    devices = (item for group in groups for item in group.count.evidence)
    return TenantUsage(
        tenant=reading.tenant,
        at=reading.at,
        applications=tuple(
            _usage(group, group.application, reading, context)
            for group in groups
            if group.application and group.application.bill and group.name in context.billed
        ),
        unmapped=tuple(_unmapped(groups, reading, context)),
        keys=tuple(keys.values()),
        notes=(
            *reading.notes,
            *key_notes(reading.keys, context),
            *figure_notes(keys.values()),
            *name_notes(row for row in reading.rows if row.device in reading.devices),
            *device_notes(devices, reading.devices, context),
        ),
    )


def _group(
    reading: Reading, keys: Mapping[str, KeyEvidence], context: CountingContext
) -> list[_Group]:
    groups: dict[tuple[str, bool], _Group] = {}

    def of(name: str, *, used: bool) -> _Group:
        found = context.matcher.matches(name)
        if len(found) > 1 and used:
            raise Undecided(
                "ambiguous",
                f"{reading.tenant.name}: the key name {name!r} belongs equally to "
                + " and ".join(repr(application.name) for application in found)
                + ". Nothing of this client was billed.",
                remedy="Make one `keys` pattern in mapping.toml longer, so that it wins.",
            )
        application = found[0] if len(found) == 1 else None
        label = application.name if application else name
        return groups.setdefault((label, application is not None), _Group(label, application))

    by_serial: dict[str, _Group] = {}
    for key in keys.values():
        group = by_serial[key.serial] = of(key.name, used=key.counted and key.used != 0)
        group.keys.append(key)
    closed = {key.serial for key in reading.keys if key.not_counted_reason}
    for row in reading.rows:
        if row.serial not in by_serial:
            raise Incomplete(f"{reading.tenant.name}: a use names the unlisted key {row.serial}.")
        if keys[row.serial].counted or row.serial in closed:
            by_serial[row.serial].rows.append(row)
    for each in reading.reported:
        of(each.name, used=not each.not_counted_reason).reported.append(each)
    return list(groups.values())


def _refuse_foreign(
    reading: Reading, keys: Mapping[str, KeyEvidence], context: CountingContext
) -> None:
    def is_active(row: KeyRow) -> bool:
        return keys[row.serial].counted and judge_row(row, context.rules, context.now).counts

    strange = [row for row in reading.rows if row.device not in reading.devices and is_active(row)]
    if not strange:  # as nearly always
        return
    foreign = list({row.device: row.name or row.device for row in strange}.values())
    active = {row.device for row in reading.rows if is_active(row)}
    tolerated = max(_FOREIGN_TOLERATED, _FOREIGN_SHARE * len(active)) if reading.devices else 0
    if len(foreign) > tolerated:
        raise Incomplete(
            f"{reading.tenant.name}: {len(foreign)} of {len(active)} devices that use its keys are "
            "not among its own devices and may be another client's. Its lines stay as they are. "
            f"They are {some(foreign)}.",
            remedy="Run it again; if it keeps happening, see on which server these devices are, "
            "and whether the key is shared with other servers.",
        )


def _usage(
    group: _Group, application: Application, reading: Reading, context: CountingContext
) -> ApplicationUsage:
    reported = group.counted_reports()
    if application.unit is Unit.USER:
        _refuse_non_windows(reported, application.name, reading.tenant.name)
    counted_rows, left_out, evidence = group.count
    for each in group.reported:
        if each.not_counted_reason:
            left_out[each.not_counted_reason] += each.quantity
    counted = [item for item in evidence if item.counted]
    devices = [reading.devices[item.device] for item in counted]
    classed = application.unit is Unit.USER or application.name in context.split
    if counted and classed and not any(device.os_name or device.ctype for device in devices):
        raise Incomplete(
            f"{reading.tenant.name}, {application.name}: none of {len(counted)} devices says what "
            "it is (KLHST_WKS_OS_NAME, KLHST_WKS_CTYPE). Its lines stay as they are.",
            remedy=f"{READ_ALL} Or bill the application as one product (`all`).",
        )
    usage = ApplicationUsage(
        application=application.name,
        unit=application.unit,
        quantities=dict(_quantities(counted, reported, application.unit, context.rules)),
        rows=len(group.rows) + sum(each.quantity for each in group.reported),
        counted_rows=counted_rows + sum(each.quantity for each in reported),
        left_out=dict(left_out),
        evidence=tuple(evidence),
        keys=tuple(group.keys),
        unknown_devices=tuple(
            item.name or item.device for item in counted if item.device_class is DeviceClass.UNKNOWN
        ),
    )
    if usage.rows != usage.counted_rows + left_out.total():
        raise Incomplete(
            f"{reading.tenant.name}, {usage.application}: {usage.rows} rows were read, but "
            f"{usage.counted_rows} counted and {left_out.total()} left out do not add up. This is "
            "a bug in kisi; the client's lines stay as they are.",
            remedy="Please report it with the output of `kisi preview -vv`.",
        )
    return usage


def _refuse_non_windows(
    reported: Iterable[ReportedQuantity], application: str, tenant: str
) -> None:
    if number := sum(x.quantity for x in reported if x.category is Category.NON_WINDOWS):
        raise Undecided(
            "category",
            f"{tenant}: the report tells {number} non-Windows devices of {application} only as a "
            "number, and its users cannot be worked out from it: a Mac or Linux computer is a "
            "user, two mobile devices are one. Nothing of this client was billed.",
            remedy="Export one row a device, or the number of users with the category `all`.",
        )


def contradictions(usages: Collection[TenantUsage]) -> Iterator[tuple[TenantRef, Incomplete]]:
    """The error of each of a source's tenants that counts 0 devices, and says that a key is in use.

    An account that may not see devices reads so. Where servers share a key, the figure of each may
    count the uses on all of them (which it does is not documented); but then it is the same on
    each, and the others' lists have them. `figure_notes` says those that this explains.
    """
    known: dict[str, list[KeyEvidence]] = defaultdict(list)
    for key in (key for usage in usages for key in usage.keys):
        known[key.serial].append(key)
    for usage in usages:
        idle = [key for x in usage.applications if not x.counted_rows for key in x.keys]
        odd = [x for x in idle if x.counted and (x.used or 0) > 0 and x.listed == 0]
        for key in [one for one in odd if not _of_all(one, known[one.serial])][:1]:  # one is enough
            yield (
                usage.tenant.ref,
                Incomplete(
                    f"{usage.tenant.name}: key {key.serial} ({key.name}): {key.used} in use by the "
                    "server's own figure, and its list has no active use. Its client's lines stay "
                    "as they are.",
                    remedy=f"{READ_ALL} If others use this key and no device there does, take it "
                    "out of this server's storage.",
                ),
            )


def _of_all(key: KeyEvidence, shared: Collection[KeyEvidence]) -> bool:
    """Whether the figure of `key` may be what all servers together use that have it."""
    used = key.used or 0
    alike = all(abs((each.used or 0) - used) <= _TOTAL_SHARE * used for each in shared)
    return alike and sum(each.listed or 0 for each in shared) >= (1 - _TOTAL_SHARE) * used


def conservation(usage: ApplicationUsage) -> str:
    """The conservation law in words: `112 rows = 100 counted + 7 expired + 5 reserve key`."""
    left_out = [f"{number} {reason}" for reason, number in sorted(usage.left_out.items())]
    return f"{usage.rows} rows = " + " + ".join([f"{usage.counted_rows} counted", *left_out])


def _unmapped(
    groups: Iterable[_Group], reading: Reading, context: CountingContext
) -> Iterable[UnmappedUse]:
    for group in groups:
        known = group.application
        if known is not None and (not known.bill or known.name in context.billed):
            continue
        read = {row.serial for row in group.rows}
        unread = sum(key.used or 0 for key in group.keys if key.counted and key.serial not in read)
        reported = sum(each.quantity for each in group.counted_reports())
        if quantity := group.count.counted + reported + unread:
            company, tenant = reading.tenant.name, reading.tenant.ref
            yield UnmappedUse(company, group.name, quantity, estimated=unread > 0, tenant=tenant)


def count_rows(
    rows: Sequence[KeyRow],
    devices: Mapping[str, Device],
    keys: Mapping[str, KeyEvidence],
    context: CountingContext,
) -> RowCount:
    """Counts the uses of one application's keys; a key that the source closed has its own reason.

    A device that does not count is told with the reason that was nearest to counting it.
    """
    left_out: Counter[str] = Counter()
    records: dict[str, Evidence] = {}
    counted = 0
    for row in rows:
        key = keys[row.serial]
        reason, counts = key.reason, False
        if key.counted:
            ruling = judge_row(row, context.rules, context.now)
            reason, counts = ruling.reason, ruling.counts
            if row.device not in devices and (counts or reason == Reason.PENDING):
                reason, counts = Reason.FOREIGN_DEVICE, False
        earlier = records.get(row.device)
        again = earlier is not None and earlier.counted
        if counts and again:
            counts, reason = False, SAME_DEVICE
        if counts:
            counted += 1
        else:
            left_out[reason] += 1
        if not again and (counts or earlier is None or _telling(reason) > _telling(earlier.reason)):
            device = devices.get(row.device, Device(row.device, row.name))
            name, kind = device.name or row.name, classify(device)
            records[row.device] = Evidence(
                row.device, name, device.os_name, kind, counts, row.serial, reason
            )
    return RowCount(counted, left_out, list(records.values()))


def _telling(reason: str) -> int:
    """How much a reason says; those of a source say less than any of `Reason`."""
    known: list[str] = list(Reason)
    return known.index(reason) if reason in known else -1


def category_of(device_class: DeviceClass, rules: CountingRules) -> Category:
    """The category a device is billed in; an unknown one as `unknown_device` says."""
    if device_class is DeviceClass.UNKNOWN and rules.unknown_device != "hold":
        return Category(rules.unknown_device)
    return _CATEGORY.get(device_class, Category.NON_WINDOWS)


def _quantities(
    counted: Sequence[Evidence],
    reported: Iterable[ReportedQuantity],
    unit: Unit,
    rules: CountingRules,
) -> Counter[Category]:
    """Devices and reported quantities as units: by category, or users or mailboxes as `ALL`."""
    found: Counter[Category] = Counter()
    for each in reported:
        found[each.category] += each.quantity
    if unit is Unit.DEVICE:
        for kind, devices in Counter(item.device_class for item in counted).items():
            found[category_of(kind, rules)] += devices
        return found
    if unit is Unit.MAILBOX:
        units = len(counted) + found.total()
    else:
        mobile = sum(item.device_class is DeviceClass.MOBILE for item in counted)
        computers = len(counted) - mobile + sum(found[category] for category in _COMPUTERS)
        units = found[Category.ALL] + licensed_users(computers=computers, mobile=mobile)
    return Counter({Category.ALL: units} if units else {})


def licensed_users(*, computers: int, mobile: int) -> int:
    """Users under a per-user licence; one is a computer or server and up to two mobile devices.

    https://support.kaspersky.com/Cloud/1.0/en-US/180753.htm gives 10 computers and 12 mobile
    devices as 10 users, 10 and 32 as 16. An odd number of mobile devices is not documented: kisi
    rounds up.
    """
    return max(computers, (mobile + 1) // 2)


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What a client used of one application, over all its tenants."""

    application: str
    quantities: Mapping[Category, int]
    unknown_devices: tuple[str, ...] = ()


def each_once(tenants: Sequence[TenantUsage], rules: CountingRules) -> Iterator[TenantUsage]:
    """A client's tenants, in the order of the mapping, with what each adds to their sum.

    A device that appears in two tenants of one source counts once; the first mapped tenant decides
    its class. Users are worked out per tenant and then added, so they are not affected.
    """
    seen: set[tuple[str, str, str]] = set()
    for tenant in tenants:
        applications = []
        for usage in tenant.applications:
            found = Counter(usage.quantities)
            for item in usage.evidence if usage.unit is not Unit.USER else ():
                known = identity(tenant.tenant.ref, item.device)
                device = (tenant.tenant.ref.source, usage.application, known)
                if item.counted and device in seen:
                    mailbox = usage.unit is Unit.MAILBOX
                    found[Category.ALL if mailbox else category_of(item.device_class, rules)] -= 1
                elif item.counted:
                    seen.add(device)
            applications.append(replace(usage, quantities=dict(found)))
        yield replace(tenant, applications=tuple(applications))


def combine(tenants: Sequence[TenantUsage], rules: CountingRules) -> tuple[ClientUsage, ...]:
    """Adds up a client's tenants, each device once."""
    quantities: dict[str, Counter[Category]] = defaultdict(Counter)
    unknown: dict[str, list[str]] = defaultdict(list)
    for tenant in each_once(tenants, rules):
        for usage in tenant.applications:
            quantities[usage.application].update(usage.quantities)
            unknown[usage.application] += usage.unknown_devices
    return tuple(
        ClientUsage(name, dict(counts), tuple(unknown[name])) for name, counts in quantities.items()
    )


def uncounted(tenants: Iterable[TenantUsage]) -> Mapping[str, str]:
    """By application, the uses of its keys that do not count and the reasons; never reserve keys.

    Where a count falls, such as when keys have ended, this is why.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for usage in (application for tenant in tenants for application in tenant.applications):
        for key in usage.keys:
            if key.used and not key.counted:
                found[usage.application].append(
                    f"key {key.serial}, {key.used} in use: {key.reason}"
                )
        for reason, number in usage.left_out.items():
            if reason not in (Reason.RESERVE, SAME_DEVICE):
                found[usage.application].append(f"{number} uses: {reason}")
    return {application: some(said) for application, said in found.items()}


def without_evidence(usage: TenantUsage) -> TenantUsage:
    """The numbers alone. Enough for `combine` where a client has one tenant; far less memory."""
    slim = tuple(replace(application, evidence=()) for application in usage.applications)
    return replace(usage, applications=slim)
