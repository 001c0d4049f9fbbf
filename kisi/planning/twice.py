"""Devices that two tenants count in the same run, or that another line still bills. Pure.

A device has one place. It is counted in two where it moved while the run was reading, where an old
record of it is left on the server that it came from, or where two Security Centers know it. Within
the tenants of one client in one source such a device counts once; anywhere else it would be billed
twice, and what rises because of it waits for a person. Once that was accepted, it waits again only
where more of them are counted twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise, permutations

from kisi.model import (
    BillingMapping,
    Company,
    CompanyPlan,
    LineSlot,
    PlannedLine,
    Pool,
    TenantRef,
)

DeviceHashes = Mapping[Pool, Collection[int]]
"""The devices that are counted in each pool, each as the same 64 bits wherever it is counted."""
Doubles = Mapping[Pool, Mapping[TenantRef, int]]
"""How many devices of a pool other tenants count for the same application."""
AcceptedDoubles = Mapping[str, int]
"""How many devices a person lets two tenants count, by application and tenants (`_pair`)."""


def counted_twice(devices: DeviceHashes, mapping: BillingMapping) -> Doubles:
    """Finds the devices that are counted in two places that do not count as one."""
    clients = _clients(mapping)
    pools: dict[str, list[Pool]] = defaultdict(list)
    for pool in devices:
        pools[pool.application].append(pool)
    found: dict[Pool, dict[TenantRef, int]] = defaultdict(lambda: defaultdict(int))
    for mine in pools.values():
        every = sorted(chain.from_iterable(devices[pool] for pool in mine))
        doubles = {one for one, next_ in pairwise(every) if one == next_}
        places: dict[int, list[Pool]] = defaultdict(list)
        for pool in mine if doubles else ():
            for device in doubles.intersection(devices[pool]):
                places[device].append(pool)
        for pool, other in chain.from_iterable(permutations(x, 2) for x in places.values()):
            here, there = pool.tenant, other.tenant
            if here.source != there.source or clients.get(here) != clients.get(there):
                found[pool][there] += 1
    return found


def _pair(pool: Pool, other: TenantRef) -> str:
    """The same from both sides."""
    return "\n".join((pool.application, *sorted(map(str, (pool.tenant, other)))))


def still_accepted(
    accepted: AcceptedDoubles,
    doubles: Doubles,
    billed: Iterable[Pool],
    read: Collection[TenantRef],
) -> AcceptedDoubles:
    """What is accepted after a run: no more than is counted twice now, where both were `read`.

    `billed` are the pools of lines that a person let rise in it.
    """
    now = {_pair(pool, x): number for pool in doubles for x, number in doubles[pool].items()}
    known = set(map(str, read))
    kept = {
        pair: min(number, now.get(pair, 0)) if known.issuperset(pair.split("\n")[-2:]) else number
        for pair, number in accepted.items()
    }
    new = {_pair(pool, x) for pool in billed for x in doubles.get(pool, ())}
    return {pair: x for pair, x in {**kept, **{y: now[y] for y in new}}.items() if x}


def _clients(mapping: BillingMapping) -> Mapping[TenantRef, Company]:
    billed = (company for company in mapping.companies if company.billing)
    return {tenant: company for company in billed for tenant in company.counted}


def doubles_of(
    plans: Iterable[CompanyPlan], doubles: Doubles, mapping: BillingMapping
) -> Mapping[LineSlot, str]:
    """For each line whose devices are counted elsewhere too, how many and where, in words."""
    clients, found = _clients(mapping), {}
    for plan in plans:
        for line in plan.lines:
            pools = [Pool(tenant, line.application) for tenant in plan.company.counted]
            counts: dict[TenantRef, int] = defaultdict(int)
            for other, number in chain.from_iterable(doubles.get(x, {}).items() for x in pools):
                counts[other] += number
            if counts and line.after:
                said = (
                    f"{number} of its devices {'is' if number == 1 else 'are'} counted in "
                    f"{tenant} of {clients[tenant].name} too"
                    for tenant, number in sorted(counts.items())
                    if tenant in clients
                )
                found[line.slot] = "; ".join(said)
    return found


def told_and_asked(
    doubles: Doubles,
    accepted: AcceptedDoubles,
    plans: Collection[CompanyPlan],
    mapping: BillingMapping,
) -> tuple[Mapping[LineSlot, str], Mapping[LineSlot, str]]:
    """What `doubles_of` says of each line, and what of it is more than a person has accepted."""
    more = {
        pool: {x: number for x, number in found.items() if number > accepted.get(_pair(pool, x), 0)}
        for pool, found in doubles.items()
    }
    return doubles_of(plans, doubles, mapping), doubles_of(plans, more, mapping)


def with_notes(
    plan: CompanyPlan, doubles: Mapping[LineSlot, str], asked: Collection[LineSlot]
) -> CompanyPlan:
    """Says what is counted twice also where nobody is `asked`, and where no line rises."""
    said = {
        f"{line.application}: {doubles[line.slot]}; `kisi explain` shows the devices of both."
        for line in plan.lines
        if line.slot in doubles and (line.delta <= 0 or line.slot not in asked)
    }
    return replace(plan, notes=(*plan.notes, *sorted(said)))


def lasting_lines(
    stakes: Sequence[tuple[PlannedLine, Collection[Pool], Collection[Pool]]],
) -> Mapping[LineSlot, tuple[PlannedLine, ...]]:
    """For each line that rises, those that bill devices which it is to bill, too.

    That is a line whose policy, or whose reversal, bills more than is counted; and for one that
    goes back to more than is counted, any that bills its count, or that does not come down. A
    line that is to go back, and bills no more than its count so far, holds up only others like it.

    Each line comes with its pools, joined where devices surely went, and joined as for what waits:
    what goes back does not come down with its count, whatever tells that devices have left it. A
    device may be on two lines of one product row, whose days agree, where it changed its
    application within a client's period under `peak`, and on what was billed before one run.
    """
    over: dict[Pool, list[PlannedLine]] = defaultdict(list)
    back: dict[Pool, list[PlannedLine]] = defaultdict(list)
    standing: dict[Pool, list[PlannedLine]] = defaultdict(list)
    for line, sure, joined in stakes:
        if line.excess > 0:
            group, pools = (back, joined) if line.goes_back else (over, sure)
        else:
            comes_down = line.after == 0 or (line.goes_back and line.delta < 0)
            group, pools = standing, () if comes_down else joined
        for pool in pools:
            group[pool].append(line)

    lasting: dict[LineSlot, tuple[PlannedLine, ...]] = {}
    for line, sure, joined in stakes:
        stands = joined if line.excess > 0 and line.goes_back else ()
        places = ((over, sure), (back, joined), (standing, stands))
        others = [x for group, pools in places for pool in sorted(pools) for x in group[pool]]
        if line.delta > 0 and (found := [x for x in others if _meets(line, x)]):
            lasting[line.slot] = tuple(dict.fromkeys(found))
    return lasting


def _meets(rise: PlannedLine, other: PlannedLine) -> bool:
    """Whether the rise waits for another line, whose devices it may be to bill, too."""
    same_row = rise.application == other.application and rise.orphaned == other.orphaned
    if rise.ref == other.ref and (other.policy == "peak" or same_row):
        return False
    if rise.goes_back and other.goes_back and _run(rise) == _run(other):
        return False
    not_yet = other.goes_back and (other.before or 0) <= (other.counted or 0) < other.after
    if not_yet and not (rise.goes_back and rise.excess > 0):
        return False
    if other.excess <= 0:
        return True
    return other.excess + rise.after > (rise.after if rise.counted is None else rise.counted)


def _run(line: PlannedLine) -> int | None:
    """Before which run it held what it goes back to."""
    return line.reversal.run if line.reversal else None
