"""Which devices changed their application? Pure.

A client whose licences are replaced by others (an upgrade, say) has the same devices as before,
counted for another application. The two changes are one: they wait together, or are written
together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from kisi.model import Move, TenantUsage

_Devices = Mapping[str, set[tuple[str, str]]]


def moves(then: Iterable[TenantUsage], now: Iterable[TenantUsage], old: str) -> tuple[Move, ...]:
    """The applications that now count devices which `old` counted, and does not count any more.

    A device that the other application counted already has not moved: it had both. Where a source
    reports totals without devices nothing can be told, and nothing is.

    Args:
        then: A client's tenants when the line of `old` was last right, with their evidence.
        now: The same, today.
        old: The application that counts fewer.
    """
    before, after = _devices(then), _devices(now)
    gone = before[old] - after[old]
    arrived = {new: len(gone & (after[new] - before[new])) for new in sorted(after) if new != old}
    return tuple(Move(old, new, count) for new, count in arrived.items() if count)


def _devices(tenants: Iterable[TenantUsage]) -> _Devices:
    devices: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for tenant in tenants:
        for usage in tenant.applications:
            source = tenant.tenant.ref.source
            devices[usage.application] |= {
                (source, item.device) for item in usage.evidence if item.counted
            }
    return devices
