"""Uses of keys in, devices out: each device once, with the reason why it counts or does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from kisi import licensing
from kisi.model import (
    Category,
    CountingRules,
    Device,
    DeviceClass,
    Evidence,
    KeyRow,
    ReportedQuantity,
    Unit,
)
from kisi.usage.terms import Terms

SAME_DEVICE = "the same device again"
FOREIGN_DEVICE = "not a device of this server"

_CATEGORY = {
    DeviceClass.WINDOWS_WORKSTATION: Category.WINDOWS_WORKSTATIONS,
    DeviceClass.WINDOWS_SERVER: Category.WINDOWS_SERVERS,
    DeviceClass.MOBILE: Category.NON_WINDOWS,
    DeviceClass.OTHER: Category.NON_WINDOWS,
}


_COMPUTERS = (Category.WINDOWS_WORKSTATIONS, Category.WINDOWS_SERVERS)
"""Reported categories that are computers to a user licence; the third may be anything."""

_TELLING = (licensing.RESERVE, licensing.EXPIRED_ON_DEVICE, licensing.PENDING, FOREIGN_DEVICE)
"""Reasons why a device is not counted, the one that says most last; those of a source say less."""

Tally = tuple[int, Counter[str], list[Evidence]]
"""Counted rows, rows left out by reason, and one evidence a device."""


def count_rows(
    rows: Sequence[KeyRow],
    devices: Mapping[str, Device],
    terms: Terms,
    closed: Mapping[str, str],
) -> Tally:
    """Counts the uses of one application's keys.

    A device that does not count is told with the reason that was nearest to counting it.

    Args:
        rows: The uses, also those of keys that the source itself closed.
        devices: The tenant's own.
        terms: What is counted.
        closed: Keys that the source closed, with its reason; their uses are left out for it.
    """
    left_out: Counter[str] = Counter()
    records: dict[str, Evidence] = {}
    counted = 0
    for row in rows:
        reason, counts = closed.get(row.serial, ""), False
        if not reason:
            reason, counts = _judge(row, devices, terms)
        earlier = records.get(row.device)
        if counts and earlier is not None and earlier.counted:
            counts, reason = False, SAME_DEVICE
        if counts:
            counted += 1
        else:
            left_out[reason] += 1
        if earlier is None or counts or _tells_more(reason, earlier):
            records[row.device] = _evidence(row, devices, counted=counts, reason=reason)
    return counted, left_out, list(records.values())


def _judge(row: KeyRow, devices: Mapping[str, Device], terms: Terms) -> tuple[str, bool]:
    judgement = licensing.judge_row(row, terms.rules, terms.now)
    in_use = judgement.counts or judgement.reason == licensing.PENDING
    if in_use and row.device not in devices:
        return FOREIGN_DEVICE, False
    return judgement.reason, judgement.counts


def _tells_more(reason: str, earlier: Evidence) -> bool:
    return not earlier.counted and _telling(reason) > _telling(earlier.reason)


def _telling(reason: str) -> int:
    return _TELLING.index(reason) if reason in _TELLING else -1


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


def quantities(
    counted: Sequence[Evidence],
    reported: Iterable[ReportedQuantity],
    unit: Unit,
    rules: CountingRules,
) -> Counter[Category]:
    """Devices and reported quantities as units: by category, or users or mailboxes as `ALL`."""
    told: Counter[Category] = Counter()
    for each in reported:
        told[each.category] += each.quantity
    if unit is Unit.DEVICE:
        told.update(category_of(item.device_class, rules) for item in counted)
        return told
    if unit is Unit.MAILBOX:
        units = len(counted) + told.total()
    else:
        mobile = sum(item.device_class is DeviceClass.MOBILE for item in counted)
        computers = len(counted) - mobile + sum(told[category] for category in _COMPUTERS)
        units = told[Category.ALL] + licensed_users(computers=computers, mobile=mobile)
    return Counter({Category.ALL: units} if units else {})


def licensed_users(*, computers: int, mobile: int) -> int:
    """Users under a per-user licence; one is a computer or server and up to two mobile devices.

    https://support.kaspersky.com/Cloud/1.0/en-US/180753.htm gives 10 computers and 12 mobile
    devices as 10 users, 10 and 32 as 16. An odd number of mobile devices is not documented: kisi
    rounds up.
    """
    return max(computers, (mobile + 1) // 2)
