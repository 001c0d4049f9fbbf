"""A client's usage over all its tenants."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kisi.model import ApplicationUsage, Category, CountingRules, TenantUsage, Unit
from kisi.usage.rows import category_of


@dataclass(frozen=True, slots=True)
class ClientUsage:
    """What a client used of one application, over all its tenants."""

    application: str
    unit: Unit
    quantities: Mapping[Category, int]
    unknown_devices: tuple[str, ...] = ()


def combine(tenants: Sequence[TenantUsage], rules: CountingRules) -> tuple[ClientUsage, ...]:
    """Adds up a client's tenants, in the order of the mapping.

    A device that appears in two tenants of one source counts once; the first mapped tenant decides
    its class. Users are worked out per tenant and then added, so they are not affected.
    """
    seen: set[tuple[str, str, str]] = set()
    quantities: dict[str, Counter[Category]] = defaultdict(Counter)
    units: dict[str, Unit] = {}
    unknown: dict[str, list[str]] = defaultdict(list)
    for tenant in tenants:
        for usage in tenant.applications:
            units[usage.application] = usage.unit
            quantities[usage.application].update(usage.quantities)
            unknown[usage.application] += usage.unknown_devices
            if usage.unit is not Unit.USER:
                repeated = _repeated(usage, tenant.tenant.ref.source, seen, rules)
                quantities[usage.application].subtract(repeated)
    return tuple(
        ClientUsage(name, units[name], dict(counts), tuple(unknown[name]))
        for name, counts in quantities.items()
    )


def without_evidence(usage: TenantUsage) -> TenantUsage:
    """The numbers alone. Enough for `combine` where a client has one tenant; far less memory."""
    slim = tuple(replace(application, evidence=()) for application in usage.applications)
    return replace(usage, applications=slim)


def _repeated(
    usage: ApplicationUsage, source: str, seen: set[tuple[str, str, str]], rules: CountingRules
) -> Counter[Category]:
    again: Counter[Category] = Counter()
    for item in usage.evidence:
        if not item.counted:
            continue
        identity = (source, usage.application, item.device)
        if identity in seen:
            mailbox = usage.unit is Unit.MAILBOX
            again[Category.ALL if mailbox else category_of(item.device_class, rules)] += 1
        seen.add(identity)
    return again
