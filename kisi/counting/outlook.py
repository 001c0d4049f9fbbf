"""What is to be expected of the keys, and what ended keys have done to a count. Pure.

A key that ends cuts the count, and so the bill, in silence: it is announced before, with how many
devices go with it. Keys that are used more than they were bought for may be blocked (KSC help,
subscriptions); nobody pays for one that is paused.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, tzinfo
from itertools import chain

from kisi.counting.count import category_of
from kisi.counting.rules import EXPIRED, SUSPENDED, CountingContext, ends
from kisi.model import (
    Category,
    Company,
    CountingRules,
    Evidence,
    KeyUse,
    Outlook,
    OutlookKind,
    OutlookRules,
    PlannedLine,
    Reading,
    TenantRef,
    TenantUsage,
)

KeyUses = Mapping[str, Sequence[KeyUse]]
"""The keys of each tenant, by `source:tenant`."""
_ORDER = list(OutlookKind)


def key_uses(usage: TenantUsage) -> Iterator[KeyUse]:
    """The keys of a tenant's billed applications, with how many devices are counted with each."""
    for one in usage.applications:
        devices = Counter(item.serial for item in one.evidence if item.counted)
        for key in one.keys:
            known = (key.serial, key.name, one.application, key.counted, key.reason)
            bought = (key.used, key.licenses, key.expires)
            yield KeyUse(*known, devices[key.serial], *bought)


def outlook(
    companies: Iterable[Company], keys: KeyUses, rules: OutlookRules, today: date, zone: tzinfo
) -> tuple[Outlook, ...]:
    """What is to be expected of the keys of billed clients, the most urgent first.

    One entry a client, key and kind. What is in use of a key that several tenants have is the
    greatest of the servers' own figures, or the sum of the devices counted with it: the greater.
    """
    counted, figures = Counter[str](), Counter[str]()
    for key in chain.from_iterable(keys.values()):
        counted[key.serial] += key.devices
        figures[key.serial] = max(figures[key.serial], key.used or 0)
    found = (
        replace(one, kind=kind)
        for company in companies
        if company.billing
        for one, counts in _of_client(company, keys, counted | figures, zone)
        for kind in _kinds(one, rules, today, counts=counts)
    )
    return tuple(sorted(found, key=_urgency))


def _of_client(
    company: Company, keys: KeyUses, used: Mapping[str, int], zone: tzinfo
) -> Iterator[tuple[Outlook, bool]]:
    """Each key of a client, and whether it counts; its kind is to be said."""
    mine: dict[str, list[tuple[TenantRef, KeyUse]]] = defaultdict(list)
    for ref in company.counted:
        for key in keys.get(str(ref), ()):
            mine[key.serial].append((ref, key))
    for serial, uses in mine.items():
        ref, key = next((x for x in uses if x[1].counted), uses[0])
        known = used[serial] > 0 or any(one.used is not None for _, one in uses)
        one = Outlook(
            company=company.name,
            tenant=ref,
            application=key.application,
            key=serial,
            key_name=key.name,
            kind=OutlookKind.ENDS,
            devices=sum(one.devices for _, one in uses),
            licenses=key.licenses,
            used=used[serial] if known else None,
            expires=key.expires,
            ends=_day(key.expires, zone),
            reason=key.reason,
        )
        yield one, key.counted


def _kinds(
    one: Outlook, rules: OutlookRules, today: date, *, counts: bool
) -> Iterator[OutlookKind]:
    if counts and one.ends is not None and (one.ends - today).days <= rules.days:
        yield OutlookKind.ENDS
    if one.reason in SUSPENDED and one.used != 0:
        yield OutlookKind.PAUSED
    if counts and one.licenses and one.used:
        if one.used > one.licenses:
            yield OutlookKind.OVER
        elif one.used * 100 > rules.percent * one.licenses:
            yield OutlookKind.NEAR


def _urgency(one: Outlook) -> tuple[int, date, str, str]:
    return _ORDER.index(one.kind), one.ends or date.max, one.company.casefold(), one.key


def _day(at: datetime | None, zone: tzinfo) -> date | None:
    try:
        return at and at.astimezone(zone).date()
    except (OverflowError, ValueError):  # the year 9999 stands for never
        return None


def turning_points(
    reading: Reading, usage: TenantUsage, context: CountingContext
) -> dict[str, tuple[datetime, ...]]:
    """By application, when an end of its keys, or of a use of one, changes what is counted.

    The last of these instants until now, and the next one: a clock that is wrong by so much counts
    wrongly.
    """
    used = {row.serial for row in reading.rows if row.current}
    found: dict[str, set[datetime]] = defaultdict(set)
    for key in reading.keys:
        if key.used != 0 or key.serial in used:
            found[key.serial] |= set(ends(key, context.rules))
    for row in reading.rows:
        if row.current and row.expires is not None:
            found[row.serial].add(row.expires)
    points = {}
    for one in usage.applications:
        instants = sorted(set[datetime]().union(*(found[key.serial] for key in one.keys)))
        after = bisect_right(instants, context.now)
        points[one.application] = tuple(instants[max(after - 1, 0) : after + 1])
    return points


def ended_keys(
    before: Iterable[TenantUsage],
    now: Iterable[TenantUsage],
    line: PlannedLine,
    rules: CountingRules,
    zone: tzinfo,
) -> Iterator[str]:
    """Why fewer are counted for a line: each key that counted `before` and does not now, in words.

    With how many devices were counted with it then and are counted no more; both with evidence.
    """
    keys = {key.serial: key for usage in now for key in usage.keys}
    names = {key.serial: key.name for usage in before for key in usage.keys}
    still = {item.device for item in _counted(now, line, rules)}
    lost = Counter(x.serial for x in _counted(before, line, rules) if x.device not in still)
    for serial, number in sorted(lost.items()):
        key = keys.get(serial)
        if key is not None and key.counted:
            continue
        if key is None:
            since = "is not on its server any more"
        elif key.reason == EXPIRED:
            since = f"ended on {_day(key.expires, zone)}"
        else:
            since = f"does not count any more ({key.reason})"
        devices = "1 device was" if number == 1 else f"{number} devices were"
        yield f"key {serial} ({names.get(serial, '')[:80]}) {since}: {devices} counted with it"


def _counted(
    usages: Iterable[TenantUsage], line: PlannedLine, rules: CountingRules
) -> Iterator[Evidence]:
    """The devices that are counted for a line."""
    every, mine = Category.ALL in line.categories, line.categories
    for one in chain.from_iterable(usage.applications for usage in usages):
        for item in one.evidence if one.application == line.application else ():
            if item.counted and (every or category_of(item.device_class, rules) in mine):
                yield item
