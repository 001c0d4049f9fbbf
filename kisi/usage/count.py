"""How many? A tenant's reading and the rules in, quantities and evidence out.

The conservation law holds for every tenant and application and is checked on every run:
rows read = rows counted + rows left out, by reason. A device counts once per application, however
many keys, products or rows it has there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kisi import licensing
from kisi.errors import Incomplete
from kisi.model import (
    Application,
    ApplicationUsage,
    Category,
    CountingRules,
    Device,
    DeviceClass,
    Evidence,
    Figure,
    Key,
    KeyEvidence,
    KeyRow,
    Reading,
    TenantUsage,
    Unit,
    UnmappedUse,
)
from kisi.usage.matcher import Matcher

SAME_DEVICE = "the same device again"
FOREIGN_DEVICE = "not a device of this server"

_CATEGORY = {
    DeviceClass.WINDOWS_WORKSTATION: Category.WINDOWS_WORKSTATIONS,
    DeviceClass.WINDOWS_SERVER: Category.WINDOWS_SERVERS,
    DeviceClass.MOBILE: Category.NON_WINDOWS,
    DeviceClass.OTHER: Category.NON_WINDOWS,
}
_FOREIGN_TOLERATED = 2
_FOREIGN_SHARE = 0.02


class Tie(Incomplete):
    """A key name belongs to two applications equally well; whoever uses it cannot be billed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a count is made by.

    Args:
        matcher: Knows the applications of the mapping.
        billed: Names of the applications that some product bills.
        rules: `[counting]`.
        now: The instant at which keys must be unexpired (aware, UTC).
    """

    matcher: Matcher
    billed: frozenset[str]
    rules: CountingRules
    now: datetime

    def selects(self, key: Key) -> bool:
        """Whether the devices that use `key` must be read from the source.

        They must if the key counts and its application is billed. For everything else the server's
        own figure is enough, except where it gives none.
        """
        if not licensing.judge_key(key, self.rules, self.now).counts:
            return False
        application = self.matcher.match(key.name)
        if application is None or application.name not in self.billed:
            wanted = application is None or application.bill
            return wanted and key.used is None
        return application.bill


@dataclass(slots=True)
class _Group:
    """Everything a tenant reported under one application (or one key name that matches none)."""

    name: str
    application: Application | None
    keys: list[tuple[Key, licensing.Judgement]] = field(default_factory=list)
    rows: list[KeyRow] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def count_tenant(reading: Reading, terms: Terms) -> TenantUsage:
    """Counts one complete tenant: an `ApplicationUsage` for each billed application it uses.

    Raises:
        Tie: A key in use belongs to two applications equally well.
        Incomplete: Too many uses belong to devices of other servers, or the rows do not add up.
    """
    judged = {key.serial: licensing.judge_key(key, terms.rules, terms.now) for key in reading.keys}
    groups = _group(reading, judged, terms)
    _refuse_foreign(reading, groups, terms)
    billed = [g for g in groups if g.application and g.application.bill and g.name in terms.billed]
    return TenantUsage(
        tenant=reading.tenant,
        at=reading.at,
        applications=tuple(_count(group, reading, terms) for group in billed),
        unmapped=tuple(_unmapped(groups, reading, terms)),
        keys=tuple(_key_evidence(key, judged[key.serial]) for key in reading.keys),
        notes=(*reading.notes, *_notes(reading.keys, judged)),
    )


def _group(
    reading: Reading, judged: Mapping[str, licensing.Judgement], terms: Terms
) -> list[_Group]:
    groups: dict[str, _Group] = {}

    def of(name: str, *, used: bool) -> _Group:
        found = terms.matcher.matches(name)
        if len(found) > 1 and used:
            raise Tie(
                f"{reading.tenant.name}: the key name {name!r} belongs equally to "
                + " and ".join(repr(application.name) for application in found)
                + ". Nothing of this client was billed.",
                remedy="Make one `keys` pattern in mapping.toml longer, so that it wins.",
            )
        application = found[0] if len(found) == 1 else None
        label = application.name if application else name
        return groups.setdefault(label, _Group(label, application))

    by_serial: dict[str, _Group] = {}
    for key in reading.keys:
        counts = judged[key.serial].counts
        group = by_serial[key.serial] = of(key.name, used=counts and key.used != 0)
        group.keys.append((key, judged[key.serial]))
    for row in reading.rows:
        if row.serial not in by_serial:
            raise Incomplete(f"{reading.tenant.name}: a use names the unlisted key {row.serial}.")
        if judged[row.serial].counts:
            by_serial[row.serial].rows.append(row)
    for figure in reading.figures:
        of(figure.name, used=not figure.closed).figures.append(figure)
    return list(groups.values())


def _refuse_foreign(reading: Reading, groups: Sequence[_Group], terms: Terms) -> None:
    active = {
        row.device
        for group in groups
        for row in group.rows
        if licensing.judge_row(row, terms.rules, terms.now).counts
    }
    foreign = active - reading.devices.keys()
    if len(foreign) > max(_FOREIGN_TOLERATED, _FOREIGN_SHARE * len(active)):
        raise Incomplete(
            f"{reading.tenant.name}: {len(foreign)} of {len(active)} devices that use its keys are "
            "not among its own devices and may be another client's. Its lines stay as they are.",
            remedy="Run it again; if it stays, see which devices `kisi explain` lists, "
            "and whether the key is shared with other servers.",
        )


def _count(group: _Group, reading: Reading, terms: Terms) -> ApplicationUsage:
    application = group.application
    if application is None:  # pragma: no cover - `count_tenant` passes only known applications
        raise AssertionError(group.name)
    rows, left_out, evidence = _count_rows(group.rows, reading.devices, terms)
    counted = [item for item in evidence if item.counted]
    quantities = _quantities(counted, application.unit, terms.rules)
    units = 0
    for figure in group.figures:
        units += figure.quantity
        if figure.closed:
            left_out[figure.closed] += figure.quantity
        else:
            category = Category.ALL if application.unit is not Unit.DEVICE else figure.category
            quantities[category] += figure.quantity
    usage = ApplicationUsage(
        application=application.name,
        unit=application.unit,
        quantities=dict(quantities),
        rows=len(group.rows) + units,
        counted_rows=rows + sum(f.quantity for f in group.figures if not f.closed),
        left_out=dict(left_out),
        evidence=tuple(evidence),
        keys=tuple(_key_evidence(key, judgement) for key, judgement in group.keys),
        unknown_devices=tuple(
            item.name or item.device for item in counted if item.device_class is DeviceClass.UNKNOWN
        ),
    )
    _conserve(usage, reading.tenant.name)
    return usage


def _count_rows(
    rows: Sequence[KeyRow], devices: Mapping[str, Device], terms: Terms
) -> tuple[int, Counter[str], list[Evidence]]:
    """Counted rows, rows left out by reason, and one evidence a device."""
    left_out: Counter[str] = Counter()
    records: dict[str, Evidence] = {}
    counted = 0
    for row in rows:
        reason, counts = _judge(row, devices, terms)
        earlier = records.get(row.device)
        if counts and earlier is not None and earlier.counted:
            counts, reason = False, SAME_DEVICE
        if counts:
            counted += 1
        else:
            left_out[reason] += 1
        if earlier is None or counts:
            records[row.device] = _evidence(row, devices, counted=counts, reason=reason)
    return counted, left_out, list(records.values())


def _judge(row: KeyRow, devices: Mapping[str, Device], terms: Terms) -> tuple[str, bool]:
    judgement = licensing.judge_row(row, terms.rules, terms.now)
    if judgement.counts and row.device not in devices:
        return FOREIGN_DEVICE, False
    return judgement.reason, judgement.counts


def _evidence(
    row: KeyRow, devices: Mapping[str, Device], *, counted: bool, reason: str
) -> Evidence:
    device = devices.get(row.device, Device(row.device, row.name))
    return Evidence(
        device=row.device,
        name=device.name or row.name,
        os_name=device.os_name,
        device_class=licensing.classify(device),
        counted=counted,
        serial=row.serial,
        reason=reason,
    )


def category_of(device_class: DeviceClass, rules: CountingRules) -> Category:
    """The category a device is billed in; an unknown one as `unknown_device` says."""
    if device_class is not DeviceClass.UNKNOWN:
        return _CATEGORY[device_class]
    if rules.unknown_device == "hold":
        return Category.NON_WINDOWS
    return Category(rules.unknown_device)


def _quantities(counted: Sequence[Evidence], unit: Unit, rules: CountingRules) -> Counter[Category]:
    if unit is Unit.DEVICE:
        return Counter(category_of(item.device_class, rules) for item in counted)
    if unit is Unit.MAILBOX:
        return Counter({Category.ALL: len(counted)} if counted else {})
    mobile = sum(item.device_class is DeviceClass.MOBILE for item in counted)
    users = licensed_users(computers=len(counted) - mobile, mobile=mobile)
    return Counter({Category.ALL: users} if users else {})


def licensed_users(*, computers: int, mobile: int) -> int:
    """Users under a per-user licence; one is a computer or server and up to two mobile devices.

    https://support.kaspersky.com/Cloud/1.0/en-US/180753.htm gives 10 computers and 12 mobile
    devices as 10 users, 10 and 32 as 16. An odd number of mobile devices is not documented: kisi
    rounds up.
    """
    return max(computers, (mobile + 1) // 2)


def _conserve(usage: ApplicationUsage, tenant: str) -> None:
    left = sum(usage.left_out.values())
    if usage.rows != usage.counted_rows + left:
        raise Incomplete(
            f"{tenant}, {usage.application}: {usage.rows} rows were read, but {usage.counted_rows} "
            f"counted and {left} left out do not add up. This is a bug of kisi; "
            "the client's lines stay as they are.",
            remedy="Please report it with the output of `kisi -vv preview`.",
        )


def conservation(usage: ApplicationUsage) -> str:
    """The conservation law in words: `112 rows = 100 counted + 7 expired + 5 reserve key`."""
    parts = [f"{usage.counted_rows} counted"]
    parts += [f"{number} {reason}" for reason, number in sorted(usage.left_out.items())]
    return f"{usage.rows} rows = " + " + ".join(parts)


def _unmapped(groups: Sequence[_Group], reading: Reading, terms: Terms) -> Iterable[UnmappedUse]:
    for group in groups:
        known = group.application
        if known is not None and (not known.bill or known.name in terms.billed):
            continue
        counted, _, _ = _count_rows(group.rows, reading.devices, terms)
        figures = sum(figure.quantity for figure in group.figures if not figure.closed)
        own = sum(key.used or 0 for key, judgement in group.keys if judgement.counts)
        quantity = counted + figures or own
        if quantity:
            yield UnmappedUse(
                company=reading.tenant.name,
                application=group.name,
                quantity=quantity,
                estimated=not (counted or figures),
                tenant=reading.tenant.ref,
            )


def _key_evidence(key: Key, judgement: licensing.Judgement) -> KeyEvidence:
    return KeyEvidence(
        serial=key.serial,
        name=key.name,
        counted=judgement.counts,
        reason=judgement.reason,
        used=key.used,
        licenses=key.licenses,
        expires=licensing.expires(key),
    )


_WORTH_A_NOTE = ("soft-cancelled subscription", "subscription in its grace term")


def _notes(keys: Sequence[Key], judged: Mapping[str, licensing.Judgement]) -> Iterable[str]:
    for key in keys:
        judgement = judged[key.serial]
        if judgement.warning:
            yield judgement.warning
        if judgement.counts or key.used == 0:
            continue
        uses = "in use" if key.used is None else f"{key.used} in use"
        if judgement.reason == licensing.NOT_STORED:
            yield (
                f"Key {key.serial} ({key.name}, {uses}) is not in the server's own storage, so it "
                "is not counted; `reported_keys = true` under [counting] would count it."
            )
        elif judgement.reason in _WORTH_A_NOTE:
            yield f"Key {key.serial} ({key.name}, {uses}) is not counted: {judgement.reason}."
