"""What may happen to a world between two nights, and in one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta

from tests.unit.fakes import (
    CHANGED,
    DENIED,
    DONE,
    LOST,
    REFUSED,
    SAID_DONE,
    UNREACHED,
    VANISHED,
    Reaction,
    busy,
)
from tests.unit.worlds.world import (
    KINDS,
    Client,
    LineId,
    Machine,
    World,
)

DAY = 86_400.0
Event = Callable[[World, random.Random], None]
"""Does something to a world, or nothing where it cannot be done."""


# --- devices ---------------------------------------------------------------------------------------


def _seen(world: World) -> list[Machine]:
    return [machine for machine in world.machines if machine.tenant is not None]


def _some(world: World, dice: random.Random) -> list[Machine]:
    """One device, or several of one virtual server."""
    seen = _seen(world)
    if not seen:
        return []
    first = dice.choice(seen)
    if dice.random() < 0.5:
        return [first]
    mates = [machine for machine in seen if machine.tenant == first.tenant]
    return dice.sample(mates, dice.randint(1, len(mates)))


def _servers(world: World, but: str | None = None) -> list[str]:
    return [name for name in world.tenants if name not in world.totals and name != but]


def _moved(world: World, dice: random.Random, machine: Machine, target: str) -> None:
    same_source = machine.tenant and world.tenants[machine.tenant] == world.tenants[target]
    new_id = machine.unique and (dice.random() < 0.4 or not same_source)
    if new_id or same_source:
        world.move(machine, target, new_id=bool(new_id))


def move_devices(world: World, dice: random.Random) -> None:
    machines = _some(world, dice)
    targets = _servers(world, machines[0].tenant) if machines else []
    if targets:
        target = dice.choice(targets)
        for machine in machines:
            _moved(world, dice, machine, target)


def replace_licences(world: World, dice: random.Random) -> None:
    machines = _some(world, dice)
    new = dice.choice(list(world.names))
    for machine in machines:
        if machine.applications != {new}:
            world.license(machine, [new])


def move_and_replace(world: World, dice: random.Random) -> None:
    machines = _some(world, dice)
    targets = _servers(world, machines[0].tenant) if machines else []
    if targets:
        target, new = dice.choice(targets), dice.choice(list(world.names))
        for machine in machines:
            _moved(world, dice, machine, target)
            world.license(machine, [new])


def one_licence_more(world: World, dice: random.Random) -> None:
    for machine in _some(world, dice):
        missing = [name for name in world.names if name not in machine.applications]
        if missing:
            world.license(machine, {*machine.applications, dice.choice(missing)})


def one_licence_fewer(world: World, dice: random.Random) -> None:
    for machine in _some(world, dice):
        if len(machine.applications) > 1:
            world.license(
                machine, machine.applications - {dice.choice(sorted(machine.applications))}
            )


def reinstall(world: World, dice: random.Random) -> None:
    for machine in _some(world, dice):
        if dice.random() < 0.5:
            machine.kind = dice.choice(KINDS)
            world.say(f"{machine.body} is a {machine.kind} now")
        if machine.unique and machine.tenant:
            world.move(machine, machine.tenant, new_id=True)


def appear(world: World, dice: random.Random) -> None:
    servers = _servers(world)
    if not servers:
        return
    tenant = dice.choice(servers)
    for _ in range(dice.randint(1, 4)):
        gone = [machine for machine in world.machines if machine.tenant is None]
        if gone and dice.random() < 0.4:
            machine = dice.choice(gone)
            world.move(machine, tenant)
            continue
        name = dice.choice(["", "", "", "NOTEBOOK"])
        new = world.add_machine(tenant, [dice.choice(list(world.names))], dice.choice(KINDS), name)
        world.say(f"{new.body} {new.name} appears on {tenant}: {'+'.join(new.applications)}")


def disappear(world: World, dice: random.Random) -> None:
    for machine in _some(world, dice)[:4]:
        world.say(f"{machine.body} disappears from {machine.tenant}")
        machine.tenant = None


def change_totals(world: World, dice: random.Random) -> None:
    if not world.totals:
        return
    tenant = dice.choice(list(world.totals))
    totals = world.totals[tenant]
    for _ in range(dice.randint(1, 2)):
        application, kind = dice.choice(list(world.names)), dice.choice(KINDS)
        other, number = dice.choice(list(world.names)), dice.randint(1, 5)
        if dice.random() < 0.4:
            totals[application, kind] += number
            world.say(f"{tenant} reports {number} more {kind}s with {application}")
            continue
        number = min(number, totals[application, kind])
        totals[application, kind] -= number
        if dice.random() < 0.6:
            totals[other, kind] += number
            world.say(f"{tenant}: {number} {kind}s go from {application} to {other}")
        else:
            world.say(f"{tenant} reports {number} {kind}s fewer with {application}")


# --- the mapping ------------------------------------------------------------------------------------


def _free(world: World) -> list[str]:
    """Tenants that no client with billing on has for good."""
    stay = [one for one in world.clients if one.billing and one.until is None]
    taken = {tenant for one in stay for tenant in one.tenants} | world.ignored
    return [tenant for tenant in world.tenants if tenant not in taken]


def _free_agreements(world: World, psa: str, company: str) -> list[str]:
    used = {(one.psa, one.agreement) for one in world.clients}
    return [a for a in world.agreements[psa, company] if (psa, a) not in used]


def _client(world: World, dice: random.Random) -> Client:
    return dice.choice(world.clients)


def move_tenant(world: World, dice: random.Random) -> None:
    old, new = _client(world, dice), _client(world, dice)
    if old is new or len(old.tenants) < 2 or not (old.billing and new.billing):
        return
    tenant = dice.choice(old.tenants)
    old.tenants.remove(tenant)
    new.tenants.append(tenant)
    world.say(f"the tenant {tenant} goes from {old.name} to {new.name}")
    if dice.random() < 0.5 and tenant not in world.totals:
        application = dice.choice(list(world.names))
        for machine in world.machines:
            if machine.tenant == tenant and dice.random() < 0.8:
                world.license(machine, [application])


def exchange_tenants(world: World, dice: random.Random) -> None:
    on = [client for client in world.clients if client.billing]
    if len(on) < 2:
        return
    one, other = dice.sample(on, 2)
    mine, theirs = dice.choice(one.tenants), dice.choice(other.tenants)
    one.tenants[one.tenants.index(mine)] = theirs
    other.tenants[other.tenants.index(theirs)] = mine
    world.say(f"{one.name} and {other.name} exchange {mine} and {theirs}")


def drop_tenant(world: World, dice: random.Random) -> None:
    client = _client(world, dice)
    if len(client.tenants) > 1:
        tenant = client.tenants.pop(dice.randrange(len(client.tenants)))
        world.say(f"{client.name} loses {tenant} to nobody")


def map_tenant(world: World, dice: random.Random) -> None:
    free, on = _free(world), [client for client in world.clients if client.billing]
    if free and on:
        client, tenant = dice.choice(on), dice.choice(free)
        client.tenants.append(tenant)
        world.say(f"{client.name} has {tenant} from now on")


def _new_row(world: World, dice: random.Random, tenants: list[str]) -> None:
    places = [
        (psa, company, agreement)
        for psa, company in world.agreements
        for agreement in _free_agreements(world, psa, company)
        if world.is_alive(psa, agreement)
    ]
    if not places or not tenants:
        return
    psa, company, agreement = dice.choice(places)
    taken = {client.name for client in world.clients}
    name = next(f"Row {n}" for n in range(1, 99) if f"Row {n}" not in taken)
    world.add_client(name, tenants, psa, company, agreement)
    world.say(f"a new row {name}: {' '.join(tenants)} on {psa} {company}/{agreement}")


def remove_row(world: World, dice: random.Random) -> None:
    if len(world.clients) < 2:
        return
    client = _client(world, dice)
    world.clients.remove(client)
    world.say(f"the row of {client.name} is removed")
    free = [tenant for tenant in client.tenants if tenant in _free(world)]
    for tenant in list(free):
        if dice.random() < 0.3:
            free.remove(tenant)
            on = [one for one in world.clients if one.billing]
            if on and dice.random() < 0.6:
                heir = dice.choice(on)
                heir.tenants.append(tenant)
                world.say(f"{heir.name} has {tenant} now")
    if dice.random() < 0.7:
        _new_row(world, dice, free)


def new_row(world: World, dice: random.Random) -> None:
    free = _free(world)
    if free:
        _new_row(world, dice, dice.sample(free, dice.randint(1, len(free))))


def change_agreement(world: World, dice: random.Random) -> None:
    client = _client(world, dice)
    places = [
        (psa, company, agreement)
        for psa, company in world.agreements
        if company == client.company or dice.random() < 0.1
        for agreement in _free_agreements(world, psa, company)
        if world.is_alive(psa, agreement)
    ]
    if not places or client.own:
        return
    old = client.psa, client.company, client.agreement
    client.psa, client.company, client.agreement = dice.choice(places)
    world.say(f"{client.name} is billed on {client.psa} {client.company}/{client.agreement} now")
    if dice.random() < 0.25 and client.billing:
        left = world.add_client(f"{client.name} before", client.tenants, *old)
        if any(one.name == left.name for one in world.clients if one is not left):
            world.clients.remove(left)
            return
        left.billing = False
        world.say(f"a row with billing off keeps its old agreement {old[2]}")


def toggle_billing(world: World, dice: random.Random) -> None:
    client = _client(world, dice)
    if client.billing:
        client.billing = False
    elif world.ignored.isdisjoint(client.tenants):
        client.billing = True
    else:
        return
    world.say(f"billing of {client.name} is {'on' if client.billing else 'off'}")


def leave(world: World, dice: random.Random) -> None:
    """A client leaves soon, or has left; another one may get its tenants afterwards."""
    client = _client(world, dice)
    if not client.billing or client.until is not None:
        return
    client.until = world.today() + timedelta(days=dice.randint(-1, 3))
    world.say(f"{client.name} leaves, its last day is {client.until}")
    on = [one for one in world.clients if one.billing and one is not client]
    if on and dice.random() < 0.5:
        heir, tenant = dice.choice(on), dice.choice(client.tenants)
        heir.tenants.append(tenant)
        world.say(f"{heir.name} has {tenant} after that")
    elif dice.random() < 0.5:
        _new_row(world, dice, list(client.tenants))


def stay(world: World, dice: random.Random) -> None:
    leavers = [client for client in world.clients if client.until is not None]
    if leavers:
        client = dice.choice(leavers)
        client.until = None
        world.say(f"{client.name} stays after all")


def ignore_tenant(world: World, dice: random.Random) -> None:
    tenant = dice.choice(list(world.tenants))
    world.ignored ^= {tenant}
    world.say(f"{tenant} is {'never' if tenant in world.ignored else 'again'} to be billed")


def rename_application(world: World, dice: random.Random) -> None:
    name = dice.choice(list(world.names))
    world.names[name] += "+"
    world.say(f"the mapping calls {name} {world.names[name]!r}")


def know_application(world: World, dice: random.Random) -> None:
    """The mapping names it no more, or again; or says that it is never billed, or takes it back."""
    name = dice.choice(list(world.names))
    which, what = dice.choice([(world.unknown, "in the mapping"), (world.unbilled, "billed")])
    which.symmetric_difference_update({name})
    world.say(f"{name} is {'not ' if name in which else ''}{what} any more/again")


def change_product(world: World, dice: random.Random) -> None:
    psa, name = dice.choice(list(world.products))
    product = world.products[psa, name]
    what = dice.choice(["variant", "variant", "split", "split", "present"])
    if what == "variant":
        product.variant = dice.randrange(3)
    elif what == "split":
        product.split = not product.split
    else:
        product.present = not product.present
    world.say(f"{name} on {psa} is billed in another way: {product}")


def swap_products(world: World, dice: random.Random) -> None:
    """Each of two applications takes the products of the other."""
    if len(world.names) < 2:
        return
    psa = dice.choice(list(world.psas))
    one, other = dice.sample(list(world.names), 2)
    for (at, name, variant, category), product in list(world.ids.items()):
        if (at, name) == (psa, one):
            theirs = (psa, other, variant, category)
            world.ids[at, name, variant, category] = world.ids[theirs]
            world.ids[theirs] = product
    world.say(f"{one} and {other} exchange their products on {psa}")


def make_exception(world: World, dice: random.Random) -> None:
    client, name = _client(world, dice), dice.choice(list(world.names))
    client.by_hand.discard(name)
    client.own.pop(name, None)
    what = dice.choice(["by hand", "by hand", "a product of its own", "as all"])
    if what == "by hand":
        client.by_hand.add(name)
    elif what == "a product of its own":
        client.own[name] = f"9{list(world.names).index(name)}"
    world.say(f"{client.name}, {name}: {what}")


# --- people in the PSA ------------------------------------------------------------------------------


def _line(world: World, dice: random.Random) -> LineId | None:
    lines = sorted(world.live())
    return dice.choice(lines) if lines else None


def zero_line(world: World, dice: random.Random) -> None:
    where = _line(world, dice)
    if where is not None:
        world.set_line(where, 0)


def set_line(world: World, dice: random.Random) -> None:
    where = _line(world, dice)
    if where is not None:
        world.set_line(where, dice.randint(0, 9))


def cancel_line(world: World, dice: random.Random) -> None:
    where = _line(world, dice)
    if where is not None:
        world.cancel_line(where)


def delete_line(world: World, dice: random.Random) -> None:
    where = _line(world, dice)
    if where is not None:
        world.delete_line(where)


def add_line(world: World, dice: random.Random) -> None:
    live = {(w.psa, w.agreement, line.product) for w, line in world.live().items()}
    desired = world.desired()
    slots = [s for s in desired if s not in live and world.is_alive(s.psa, s.agreement)]
    if slots:
        slot = dice.choice(slots)
        right = desired[slot].quantity
        world.add_line(slot, right if dice.random() < 0.4 else dice.randint(0, 9))


def end_or_renew(world: World, dice: random.Random) -> None:
    if world.ended and dice.random() < 0.5:
        world.renew_agreement(*dice.choice(sorted(world.ended)))
        return
    places = [(psa, a) for (psa, _), all_ in world.agreements.items() for a in all_]
    psa, agreement = dice.choice(places)
    if world.is_alive(psa, agreement):
        world.end_agreement(psa, agreement)


Kinds = tuple[tuple[Event, int], ...]
"""Events, and how often each happens."""

FIRST: Kinds = (
    (move_devices, 12),
    (replace_licences, 8),
    (move_and_replace, 5),
    (one_licence_more, 4),
    (one_licence_fewer, 4),
    (reinstall, 4),
    (appear, 6),
    (disappear, 6),
    (change_totals, 8),
    (move_tenant, 10),
    (exchange_tenants, 5),
    (drop_tenant, 3),
    (map_tenant, 4),
    (remove_row, 5),
    (new_row, 4),
    (change_agreement, 4),
    (toggle_billing, 5),
    (rename_application, 2),
    (know_application, 2),
    (change_product, 4),
    (swap_products, 1),
    (make_exception, 3),
    (zero_line, 2),
    (set_line, 2),
    (cancel_line, 1),
    (delete_line, 1),
    (add_line, 2),
    (end_or_renew, 2),
)
EVENTS: Kinds = (*FIRST, (leave, 8), (stay, 1), (ignore_tenant, 4))
"""`FIRST`, which the stories of some seeds are told with, and what came later."""


def happen(world: World, dice: random.Random, kinds: Kinds = EVENTS) -> None:
    """One event; a change that mapping.toml could not hold is taken back."""
    functions, weights = zip(*kinds, strict=True)
    (event,) = dice.choices(functions, weights)
    rows, ignored = list(world.clients), set(world.ignored)
    before = [replace(client, tenants=list(client.tenants)) for client in rows]
    event(world, dice)
    if not world.is_valid():
        world.say("which the mapping cannot say: it stays as it was")
        world.clients[:], world.ignored = rows, ignored
        for client, then in zip(rows, before, strict=True):
            for one in fields(then):
                setattr(client, one.name, getattr(then, one.name))


# --- trouble in a night -----------------------------------------------------------------------------


def _blind(world: World, psa: str) -> Reaction:
    """The write lands, its answer is lost, and nothing can be read any more."""

    def before() -> None:
        from kisi.errors import PsaError

        for ref in world.psas[psa].refs():
            world.psas[psa].unreadable[ref.agreement] = (PsaError("It is down."), None)

    return Reaction(LOST.status, lands=True, message="The answer was lost.", before=before)


def reading_fails(world: World, dice: random.Random) -> None:
    for source in world.sources:
        if dice.random() < 0.15:
            world.down.add(source)
            world.say(f"the source {source} is down")
    for tenant in world.tenants:
        if dice.random() < 0.1:
            world.down.add(tenant)
            world.say(f"{tenant} cannot be read")
    for (psa, _), agreements in world.agreements.items():
        for agreement in agreements:
            if dice.random() < 0.1:
                world.unreadable.add((psa, agreement))
                world.say(f"the agreement {agreement} cannot be read")
    if dice.random() < 0.1:
        psa = dice.choice(list(world.psas))
        world.unreadable.add((psa, ""))
        world.say(f"{psa} is down")


def writing_fails(world: World, dice: random.Random) -> None:
    for name, psa in world.psas.items():
        kinds = [DONE, DONE, REFUSED, LOST, VANISHED, SAID_DONE, UNREACHED, CHANGED, busy(1.0)]
        kinds += [_blind(world, name)] + ([DENIED] if dice.random() < 0.2 else [])
        kinds += [replace(dice.choice([DONE, LOST]), late=dice.choice([0.5, 1.5, 2.5]) * DAY)]
        psa.reactions.extend(dice.choices(kinds, k=dice.randint(1, 6)))
        words = [
            f"{one.status}{' (landed)' if one.lands else ''}{' late' if one.late else ''}"
            for one in psa.reactions
        ]
        world.say(f"{name} answers the first writes: {', '.join(words)}")


def crash(world: World, dice: random.Random) -> None:
    psa = dice.choice(list(world.psas))
    world.psas[psa].crash = dice.randint(1, 3)
    world.say(f"the process dies after {world.psas[psa].crash} writes to {psa}")


def trouble(world: World, dice: random.Random) -> None:
    """What goes wrong tonight, if anything does."""
    if dice.random() < 0.25:
        reading_fails(world, dice)
    if dice.random() < 0.25:
        writing_fails(world, dice)
    if dice.random() < 0.04:
        crash(world, dice)
