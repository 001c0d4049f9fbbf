"""Which devices went from one pool to another? Pure.

A pool is one application of one tenant. A device goes to another pool when its licence is replaced
by another application's, when it moves to another tenant, or both at once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kisi.model import Pool, TenantUsage

_DOUBLE = re.compile(r"~~\d+$")
"""What Security Center appends to the name of a device that was installed anew."""


@dataclass(slots=True)
class _Content:
    """What is counted in one pool."""

    total: int = 0
    ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


_NOTHING = _Content()


def moved(
    then: Iterable[TenantUsage], now: Iterable[TenantUsage], between: Iterable[TenantUsage] = ()
) -> Mapping[tuple[Pool, Pool], int]:
    """From which pool to which other one devices went, and how many.

    A device is known by its id, or by its name where the id differs (it was installed anew): what
    is not in a pool any more and appeared in another one since then has moved there. A device that
    the other pool counted already has not moved: it had both applications. Where a reading has no
    devices, only a total, a fall of one application and a rise of another one in the same tenant
    count as a move.

    Args:
        then: What tenants used at an earlier time, with their evidence.
        now: What was read today. Of a tenant that is missing here nothing is known, so every device
            that it had is looked for elsewhere by its id; by its name only as far as it left
            `between`.
        between: What such tenants used when they were last read, after `then`.
    """
    now = tuple(now)
    known = (*now, *between)
    read = {usage.tenant.ref for usage in known}
    before, after = _pools(then), _pools(known)
    seen = {pool: content for pool, content in before.items() if pool.tenant in read}
    by_id = _matched(before, _pools(now), lambda content: content.ids)
    # A name proves nothing where nobody knows whether it left: many clients have a PC-01.
    by_name = _matched(seen, after, lambda content: content.names)
    return by_id | by_name | _totals(seen, after)  # the larger number of each pair


def _pools(usages: Iterable[TenantUsage]) -> Mapping[Pool, _Content]:
    pools: dict[Pool, _Content] = defaultdict(_Content)
    for usage in usages:
        for application in usage.applications:
            pool = pools[Pool(usage.tenant.ref, application.application)]
            pool.total += application.total
            counted = [item for item in application.evidence if item.counted]
            pool.ids |= {item.device for item in counted}
            pool.names |= {_DOUBLE.sub("", item.name).casefold() for item in counted if item.name}
    return pools


def _matched(
    before: Mapping[Pool, _Content],
    after: Mapping[Pool, _Content],
    known_by: Callable[[_Content], set[str]],
) -> Counter[tuple[Pool, Pool]]:
    """What is missing from one pool and new in another."""
    left: dict[str, list[Pool]] = defaultdict(list)
    for pool, content in before.items():
        for device in known_by(content) - known_by(after.get(pool, _NOTHING)):
            left[device].append(pool)
    return Counter(
        (old, new)
        for new, content in after.items()
        for device in known_by(content) - known_by(before.get(new, _NOTHING))
        for old in left.get(device, ())
    )


def _totals(
    before: Mapping[Pool, _Content], after: Mapping[Pool, _Content]
) -> Counter[tuple[Pool, Pool]]:
    """A fall and a rise within one tenant, where a reading of one of the two has no devices."""
    changes: dict[str, list[tuple[Pool, int, bool]]] = defaultdict(list)
    for pool in before.keys() | after.keys():
        then, now = before.get(pool, _NOTHING), after.get(pool, _NOTHING)
        blind = any(one.total and not one.ids for one in (then, now))
        if then.total != now.total:
            changes[str(pool.tenant)].append((pool, now.total - then.total, blind))
    return Counter(
        {
            (old, new): min(-fall, rise)
            for pools in changes.values()
            for old, fall, old_blind in pools
            for new, rise, new_blind in pools
            if fall < 0 < rise and (old_blind or new_blind)
        }
    )
