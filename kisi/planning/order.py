"""Who waits for whom? One rule, whatever changed: mapping, licences, devices, tenants. Pure.

A *pool* is one application of one tenant: devices that somebody pays for. A line has a *stake* in a
pool if at least one device of it was counted in the quantity that the line was last proven with, or
is counted in the one that it is to bill now. Pools are *joined* where devices went from one to the
other, and a pool that no row of the mapping bills is joined with all billed pools of its tenant,
because nobody can tell where its devices went. Pools are also joined where one line exchanges
tenant A for tenant B: the line that takes over A waits for the line that still bills B.

1. A line that rises waits for every line that falls in one of its pools, and for every line there
   of which this run knows nothing. Under a count policy, it waits for a person while a line there
   goes on billing its devices (`kisi.planning.twice`).
2. Changing lines of one client that share a pool or an application wait together.

Example: tenant T moves from Contoso (55 → 5) to Lab (200 → 250). Both lines have a stake in T's
pool, so Lab is written after the PSA shows 5 for Contoso; while Contoso's decrease is on hold, so
is Lab.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from kisi.counting import identity, name_before, own_id
from kisi.model import (
    WITH,
    Arrangement,
    BillingMapping,
    Category,
    Company,
    CompanyPlan,
    Hold,
    LineSlot,
    Outcome,
    OwnedLine,
    Plan,
    PlannedLine,
    Pool,
    TenantRef,
    TenantUsage,
)
from kisi.planning.desired import rows_of
from kisi.planning.twice import lasting_lines

_Place = tuple[int, int]
"""A line in a plan: the number of its client, and its own number there."""
Moves = Mapping[tuple[Pool, Pool], int]
"""How many devices went from one pool to another."""


@dataclass(frozen=True, slots=True)
class Known:
    """What decides who waits for whom, beside the plan itself.

    Args:
        mapping: The whole mapping, whatever part of it this run concerns.
        now: What was counted in each tenant that was read.
        billed: How much of which pools each owned line billed when it was last proven.
        unknown: Owned lines that may still bill and of which this run plans nothing.
        moves: The devices that changed their pool since the lines were proven.
        sure: Those of the moves between tenants that were seen by a device's id.
    """

    mapping: BillingMapping
    now: Mapping[TenantRef, TenantUsage] = field(default_factory=dict)
    billed: Mapping[OwnedLine, Mapping[Pool, int]] = field(default_factory=dict)
    unknown: Collection[OwnedLine] = ()
    moves: Moves = field(default_factory=dict)
    sure: Collection[tuple[Pool, Pool]] = ()


def pools_of(
    tenants: Iterable[TenantRef],
    application: str,
    categories: Collection[Category],
    usages: Mapping[TenantRef, TenantUsage],
) -> Mapping[Pool, int]:
    """How much is counted of each of the tenants' pools in `categories`; without those of 0.

    The count of a tenant that is missing in `usages` is unknown, so it gets 1. If all pools count
    0, each gets 1 too, because nobody knows which of them the line bills.
    """
    counted = {
        Pool(tenant, application): _number(usages[tenant], application, categories)
        if tenant in usages
        else 1
        for tenant in tenants
    }
    return {pool: number for pool, number in counted.items() if number} or dict.fromkeys(counted, 1)


def _number(usage: TenantUsage, application: str, categories: Collection[Category]) -> int:
    return sum(
        number
        for one in usage.applications
        if one.application == application
        for category, number in one.quantities.items()
        if category in categories or Category.ALL in (category, *categories)
    )


def wanted_pools(mapping: BillingMapping) -> frozenset[Pool]:
    """The pools that some row bills, or that are managed by hand."""
    return frozenset(
        Pool(tenant, application)
        for company in mapping.everyone
        if company.billing
        for application in rows_of(mapping, company)
        for tenant in company.counted
    )


@dataclass(slots=True)
class _Content:
    """What is counted in one pool."""

    total: int = 0
    ids: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)  # ids that may be of another device elsewhere
    names: set[str] = field(default_factory=set)


_NOTHING = _Content()


def moved(
    then: Iterable[TenantUsage],
    now: Iterable[TenantUsage],
    between: Iterable[TenantUsage] = (),
    sure: set[tuple[Pool, Pool]] | None = None,
) -> Moves:
    """From which pool to which other one devices went, and how many.

    A device goes to another pool when its licence is replaced, when it moves to another tenant, or
    both at once. It is known by its id, which may be a mere name in a report, or by its name where
    the id differs (it was installed anew): what is not in a pool any more and appeared in another
    one since then has moved there. A device that the other pool counted already has not moved: it
    had both applications. Where a reading has no devices, only a total, a fall of one application
    and a rise of another one in the same tenant count as a move.

    Args:
        then: What tenants used at an earlier time, with their evidence.
        now: What was read today. Nobody knows whether a device left a tenant that is missing here:
            it is looked for in other pools by its id, and by its name only if `between` shows that.
        between: What such tenants used when they were last read, after `then`.
        sure: Takes the pairs between which a device went by an id that no other device has.
    """
    now = tuple(now)
    known = (*now, *between)
    read = {usage.tenant.ref for usage in known}
    before, after = _contents(then), _contents(known)
    seen = {pool: content for pool, content in before.items() if pool.tenant in read}
    today, taken = _contents(now), set() if sure is None else sure
    by_id = _matched(before, today, lambda content: content.ids)
    taken.update(by_id)
    by_own = _matched(before, today, lambda content: content.own)
    # A name beside an id proves nothing where nobody knows whether it left: many have a PC-01.
    by_name = _matched(seen, after, lambda content: content.names)
    return by_id | by_own | by_name | _totals(seen, after)  # the larger number of each pair


def _contents(usages: Iterable[TenantUsage]) -> Mapping[Pool, _Content]:
    pools: dict[Pool, _Content] = defaultdict(_Content)
    for usage in usages:
        ref = usage.tenant.ref
        for application in usage.applications:
            pool = pools[Pool(ref, application.application)]
            pool.total += application.total
            counted = [item for item in application.evidence if item.counted]
            known = {identity(ref, item.device) for item in counted}
            pool.own |= {own for x in known if (own := own_id(ref, x)) != x}
            pool.ids |= known
            pool.names |= {name_before(item.name).casefold() for item in counted if item.name}
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


@dataclass(frozen=True, slots=True)
class _Stake:
    """What a line bills: how much of which pools, then and now."""

    line: PlannedLine
    then: Mapping[Pool, int]
    now: Mapping[Pool, int]

    @property
    def pools(self) -> frozenset[Pool]:
        return frozenset({*self.then, *self.now})

    def exchanged(self) -> Iterable[tuple[Pool, Pool]]:
        """Pools of which it bills less, each with those of which it bills more."""
        less = [pool for pool, number in self.then.items() if number > self.now.get(pool, 0)]
        more = [pool for pool, number in self.now.items() if number > self.then.get(pool, 0)]
        return product(less, more)


def arrange(plans: Iterable[CompanyPlan], known: Known) -> Arrangement:
    """Finds the pools of every line, and which lines a rising one waits for."""
    facts = {(fact.slot, fact.line_id): fact for fact in known.billed}
    stakes = [
        _stake(line, plan.company, fact, known)
        for plan in plans
        for line in plan.lines
        for fact in [facts.get((line.slot, line.line_id or ""))]
        if line.changes or fact is not None
    ]
    joined = _Joined(_pairs(stakes, known))
    pools: dict[LineSlot, frozenset[Pool]] = defaultdict(frozenset)
    falling: dict[Pool, set[LineSlot]] = defaultdict(set)
    for stake in stakes:
        mine = frozenset(map(joined.find, stake.pools))
        pools[stake.line.slot] |= mine
        for pool in mine if stake.line.delta < 0 else ():
            falling[pool].add(stake.line.slot)
    idle: dict[Pool, list[OwnedLine]] = defaultdict(list)
    for fact in known.unknown:
        for pool in set(map(joined.find, known.billed[fact])):
            idle[pool].append(fact)
    same = _Joined(x for x in known.moves if x in known.sure or x[0].tenant == x[1].tenant)
    rising = {x.line.slot: sorted(pools[x.line.slot]) for x in stakes if x.line.delta > 0}
    return Arrangement(
        pools=dict(pools),
        waits={
            slot: slots
            for slot, mine in rising.items()
            if (slots := frozenset().union(*(falling[pool] for pool in mine)))
        },
        moved=_counted(stakes, known.moves),
        unknown=frozenset(idle),
        elsewhere={
            slot: tuple(dict.fromkeys(found))
            for slot, mine in rising.items()
            if (found := [x for pool in mine for x in idle.get(pool, ()) if x.slot != slot])
        },
        lasting=lasting_lines(
            [(x.line, {*map(same.find, x.pools)}, {*map(joined.find, x.pools)}) for x in stakes]
        ),
    )


def _stake(line: PlannedLine, company: Company, fact: OwnedLine | None, known: Known) -> _Stake:
    now: Mapping[Pool, int] = {}
    if line.after > 0:
        now = pools_of(company.tenants, line.application, line.categories, known.now)
    if not line.before and not line.goes_back:
        return _Stake(line, {}, now)
    if fact is None:  # nobody knows what a person counted in it
        then = {Pool(tenant, line.application): 1 for tenant in company.tenants}
        return _Stake(line, then, {**then, **now})
    return _Stake(line, known.billed[fact], now)


class _Joined:
    """Sets of pools, each known by its least member."""

    def __init__(self, pairs: Iterable[tuple[Pool, Pool]]) -> None:
        self._above: dict[Pool, Pool] = {}
        for pair in pairs:
            first, second = sorted(map(self.find, pair))
            self._above[second] = first

    def find(self, pool: Pool) -> Pool:
        while (above := self._above.get(pool, pool)) != pool:
            self._above[pool] = self._above.get(above, above)
            pool = above
        return pool


def _pairs(stakes: Iterable[_Stake], known: Known) -> Iterable[tuple[Pool, Pool]]:
    """Pools of which devices went, or may have gone, from one to the other."""
    yield from known.moves
    pools = {pool for fact in known.unknown for pool in known.billed[fact]}
    for stake in stakes:
        pools |= stake.pools
        yield from stake.exchanged()
    wanted = wanted_pools(known.mapping)
    of_tenant: dict[TenantRef, list[Pool]] = defaultdict(list)
    for pool in wanted:
        of_tenant[pool.tenant].append(pool)
    for pool in pools - wanted:
        yield from product([pool], of_tenant[pool.tenant])


def _counted(stakes: Iterable[_Stake], moves: Moves) -> Mapping[tuple[LineSlot, LineSlot], int]:
    falling: dict[Pool, list[LineSlot]] = defaultdict(list)
    rising: dict[Pool, list[LineSlot]] = defaultdict(list)
    for stake in stakes:
        for pool in stake.pools if stake.line.changes else ():
            (falling if stake.line.delta < 0 else rising)[pool].append(stake.line.slot)
    devices: dict[tuple[LineSlot, LineSlot], int] = defaultdict(int)
    for (old, new), number in moves.items():
        for source in falling[old]:
            for target in rising[new]:
                devices[source, target] += number
    return dict(devices)


def settled(plan: Plan) -> frozenset[LineSlot]:
    """The lines that bill from now on what was counted today, once `plan` was written.

    While another line in its pools has not come down, a line still counts as billing what it billed
    before: what it gained is still billed by the other line, and whoever takes over what it lost
    must keep waiting. Otherwise its units stand for today's devices, also those of a line whose
    rise was not written. A line that rose has waited, or a person has accepted it beside the other.
    """
    open_: dict[Pool, set[LineSlot]] = defaultdict(set)
    lasting = plan.arrangement.lasting
    waiting = {line.slot for line in plan.lines if line.slot in lasting and line.hold is not None}
    waiting |= {line.slot for slot in waiting for line in lasting[slot]}
    for line in plan.lines:
        if line.delta < 0 and line.outcome is not Outcome.APPLIED:
            for pool in plan.arrangement.pools.get(line.slot, ()):
                open_[pool].add(line.slot)
    return frozenset(
        line.slot
        for line in plan.lines
        for mine in [plan.arrangement.pools.get(line.slot, frozenset())]
        if not line.goes_back  # else it stands for what it billed before the run that is undone
        and (
            (line.delta > 0 and line.outcome is Outcome.APPLIED)
            or (
                line.slot not in waiting
                and mine.isdisjoint(plan.arrangement.unknown)
                and not any(open_[pool] - {line.slot} for pool in mine)
            )
        )
    )


def spread(plan: Plan) -> Plan:
    """Holds every line that waits for one on hold: the least set of holds that the rule allows."""
    lines = _Lines(plan)
    causes = {place: place for place, line in lines.changing.items() if line.hold is not None}
    queue = deque(sorted(causes))
    while queue:
        place = queue.popleft()
        for waiting in lines.waiting_for(place):
            if waiting not in causes:
                causes[waiting] = causes[place]
                queue.append(waiting)
    return lines.replaced(
        {
            place: replace(line, hold=lines.follows(place, cause))
            for place, cause in causes.items()
            if (line := lines.changing[place]).hold is None
        }
    )


def with_commands(plan: Plan) -> Plan:
    """Puts the one command that releases a line into its remedy, with all ids that it needs."""
    lines = _Lines(plan)
    held = {place: line.hold for place, line in lines.changing.items() if line.hold is not None}
    awaited: dict[_Place, list[_Place]] = defaultdict(list)
    for place in sorted(held):
        for waiting in lines.waiting_for(place):
            if waiting in held:
                awaited[waiting].append(place)
    changed = {}
    for place, hold in held.items():
        if "{accept}" in hold.remedy:
            needed = [plan.companies[client].plan_id for client in _needed(place, awaited, held)]
            command = " ".join(["kisi sync", *(f"--accept {plan_id}" for plan_id in needed)])
            remedy = hold.remedy.replace("{accept}", command)
            changed[place] = replace(lines.changing[place], hold=replace(hold, remedy=remedy))
    return lines.replaced(changed)


def _needed(
    place: _Place, awaited: Mapping[_Place, Sequence[_Place]], held: Mapping[_Place, Hold]
) -> Sequence[int]:
    """The clients whose ids a line needs: its own first, then in the order of the mapping."""
    seen, queue = {place}, [place]
    while queue:
        for other in awaited.get(queue.pop(), ()):
            if other not in seen:
                seen.add(other)
                queue.append(other)
    clients = {client for client, index in seen if held[client, index].has_id}
    return sorted(clients, key=lambda client: (client != place[0], client))


class _Lines:
    """The lines of a plan that change, or whose count is held, found by what they share."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.changing: dict[_Place, PlannedLine] = {
            (client, index): line
            for client, company in enumerate(plan.companies)
            for index, line in enumerate(company.lines)
            if line.changes or line.hold is not None
        }
        self._rising: dict[Pool, list[_Place]] = defaultdict(list)
        self._together: dict[tuple[int, Pool | str], list[_Place]] = defaultdict(list)
        for place, line in self.changing.items():
            for pool in self._pools(line):
                self._together[place[0], pool].append(place)
                if line.delta > 0:
                    self._rising[pool].append(place)
            self._together[place[0], line.application].append(place)

    def _pools(self, line: PlannedLine) -> Iterable[Pool]:
        return sorted(self._plan.arrangement.pools.get(line.slot, ()))

    def waiting_for(self, place: _Place) -> Iterable[_Place]:
        """Who waits for a line: its own client's lines by rule 2, any that rises by rule 1.

        A hold that no id can release does not hold the client's other lines by rule 2, which is
        only for holds that a person can release.
        """
        line = self.changing[place]
        together = line.hold is None or line.hold.releasable
        if together:
            yield from self._together[place[0], line.application]
        for pool in self._pools(line):
            if together:
                yield from self._together[place[0], pool]
            if line.delta < 0:
                yield from self._rising[pool]

    def follows(self, place: _Place, cause: _Place) -> Hold:
        """The hold of a line that waits because another one is on hold."""
        line, held = self.changing[place], self.changing[cause]
        if held.hold is None:
            raise ValueError("The cause must be a line that is on hold.")
        guard, line_id = held.hold.guard, held.line_id
        which = f"line {line_id}" if line_id else f"the new line of product {held.product}"
        if place[0] == cause[0]:
            what = held.application if held.application != line.application else held.category
            why = guard if what == Category.ALL else f"{what}: {guard}"
            said = "so that nothing is billed twice or not at all"
            reason = f"held together with {which} ({why}), {said}"
        else:
            owner = self._plan.companies[cause[0]].company.name
            before = "new" if held.before is None else f"{held.before.normalize():f}"
            first = "must come down first, and " if held.delta < 0 else ""
            reason = (
                f"waits for {which} of {owner} (agreement {held.agreement}), {held.application} "
                f"{before} → {held.after}, which {first}is on hold ({guard})"
            )
        old, new = (held, line) if held.delta < 0 else (line, held)
        devices = self._plan.arrangement.moved.get((old.slot, new.slot))
        if devices and old.application != new.application:
            reason += f": {devices} devices went from {old.application} to {new.application}"
        return Hold(WITH, reason, held.hold.remedy)

    def replaced(self, changed: Mapping[_Place, PlannedLine]) -> Plan:
        """The plan with some lines changed."""
        companies = tuple(
            replace(
                company,
                lines=tuple(
                    changed.get((client, index), line) for index, line in enumerate(company.lines)
                ),
            )
            for client, company in enumerate(self._plan.companies)
        )
        return replace(self._plan, companies=companies)
