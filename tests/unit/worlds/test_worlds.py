"""No device is on two lines, and every world comes to rest: in random worlds over several nights.

`KISI_WORLDS=100000` tries so many worlds on all processors, from `KISI_WORLDS_FROM` (0) on. The
story of one that fails: `python -m tests.unit.worlds SEED`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kisi.model import GuardRules
from tests.unit.fakes import LOST, REFUSED, VANISHED
from tests.unit.worlds.events import FIRST
from tests.unit.worlds.judge import Account, Broken, too_many
from tests.unit.worlds.lives import OPEN, Life, a_journal, live, many
from tests.unit.worlds.night import held
from tests.unit.worlds.world import LineId, World

WORLDS = int(os.environ.get("KISI_WORLDS", "0"))
FROM = int(os.environ.get("KISI_WORLDS_FROM", "0"))
PART = 12
"""So many worlds are one test, so that several processes can share them."""


@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, 8))]
)
def test_random_worlds(part: int) -> None:
    for seed in range(part * PART, (part + 1) * PART):
        try:
            live(seed)
        except Broken as error:
            pytest.fail(f"world {seed} (python -m tests.unit.worlds {seed}): {error}")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_random_worlds_in_which_every_second_run_undoes_one(part: int) -> None:
    for seed in range(part * PART, (part + 1) * PART):
        try:
            live(seed, reverts=0.5)
        except Broken as error:
            pytest.fail(f"world {seed}, of live({seed}, reverts=0.5): {error}")


@pytest.mark.parametrize(
    "seed",
    [
        100512,
        101640,
        150240,
        150431,
        151096,
        153886,
        202398,
        209988,
        214301,
        218348,
        255487,
        260696,
        267365,
        903870,
        905580,
    ],
)
def test_worlds_that_once_broke_a_promise(seed: int) -> None:
    live(seed, kinds=FIRST)


if WORLDS:

    def test_many_random_worlds() -> None:
        broken = many(range(FROM, FROM + WORLDS))
        assert not broken, "\n".join(f"world {seed}: {text}" for seed, text in broken.items())


# --- the judge --------------------------------------------------------------------------------------


def _line(number: int) -> LineId:
    return LineId("cw", "1042", str(number))


def _account(*bodies: str, units: int = 1) -> Account:
    content = dict.fromkeys(bodies, units)
    return Account("Alpha", "1100", frozenset(), content, dict.fromkeys(bodies, units))


def test_a_device_that_stands_for_two_units_is_found() -> None:
    accounts = {_line(1): _account("d1", "d2"), _line(2): _account("d2")}
    assert too_many(accounts, {_line(1): 1, _line(2): 1}, {}) == []
    assert too_many(accounts, {_line(1): 2, _line(2): 1}, {}) == [_line(1), _line(2)]
    assert too_many(accounts, {_line(1): 2, _line(2): 1}, {"d2": 2}) == []


def test_units_are_passed_on_until_each_has_a_device() -> None:
    ring = [("d1", "d2"), ("d2", "d3"), ("d3", "d1")]
    accounts = {_line(number): _account(*bodies) for number, bodies in enumerate(ring)}
    accounts[_line(9)] = _account("d1", "d4")
    units = dict.fromkeys(accounts, 1)
    assert too_many(accounts, units, {}) == []
    accounts[_line(9)] = _account("d1")
    assert len(too_many(accounts, units, {})) == 4


def test_a_tenant_of_totals_stands_for_as_many_units_as_it_has_uses() -> None:
    accounts = {_line(1): _account("t1", units=5), _line(2): _account("t1", units=5)}
    assert too_many(accounts, {_line(1): 3, _line(2): 2}, {}) == []
    assert too_many(accounts, {_line(1): 3, _line(2): 3}, {}) == [_line(1), _line(2)]
    assert too_many(accounts, {_line(1): 3, _line(2): 3}, {"t1": 6}) == []


# --- worked examples --------------------------------------------------------------------------------


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as open_:
        yield open_


def _life(stack: ExitStack, rows: dict[str, dict[str, int]], guards: GuardRules) -> Life:
    """Clients with their tenants, and how many devices with Alpha (or, in capitals, Beta) each has.

    Everything is billed rightly before anything happens.
    """
    world = World(random.Random(0))
    world.add_psa("cw")
    for application in ("Alpha", "Beta"):
        world.add_application(application)
    for number, (name, tenants) in enumerate(rows.items()):
        world.add_company("cw", f"{250 + number}", f"{1042 + number}", f"{2042 + number}")
        world.add_client(name, map(str.lower, tenants), "cw", f"{250 + number}", f"{1042 + number}")
        for tenant, devices in tenants.items():
            world.add_tenant(tenant.lower(), "hq")
            for _ in range(devices):
                world.add_machine(tenant.lower(), ["Beta" if tenant.isupper() else "Alpha"])
    life = Life.of(world, stack.enter_context(a_journal()), guards)
    life.night()
    assert not held(life.last)
    assert _billed(life) == sum(map(sum, (tenants.values() for tenants in rows.values())))
    return life


def _billed(life: Life) -> int:
    return sum(int(line.quantity) for line in life.world.live().values())


def _give(life: Life, tenant: str, old: str, new: str) -> None:
    rows = {client.name: client for client in life.world.clients}
    rows[old].tenants.remove(tenant)
    rows[new].tenants.append(tenant)


def _upgraded_and_moved(stack: ExitStack) -> tuple[Life, int]:
    """A tenant goes to another client, and its 40 devices from Alpha to Beta, at once."""
    rows = {"Contoso": {"t1": 10, "T2": 5, "t3": 40}, "Lab": {"t8": 10, "T9": 165}}
    life = _life(stack, rows, GuardRules())
    _give(life, "t3", "Contoso", "Lab")
    for machine in life.world.machines:
        if machine.tenant == "t3":
            machine.applications = {"Beta"}
    return life, 230


def _between_servers(stack: ExitStack, *, new_id: bool = False) -> tuple[Life, int]:
    """40 devices go from a virtual server of one client to one of another."""
    life = _life(stack, {"Contoso": {"t1": 100}, "Lab": {"t9": 120}}, GuardRules())
    for machine in life.world.machines[:40]:
        life.world.move(machine, "t9", new_id=new_id)
    return life, 220


def _with_new_ids(stack: ExitStack) -> tuple[Life, int]:
    """The same, and their new server calls them otherwise: their names are what they had."""
    return _between_servers(stack, new_id=True)


def _ring(stack: ExitStack) -> tuple[Life, int]:
    """Lab gives a tenant to Fabrikam and gets one of the same size from Contoso.

    Lab's number is the same; what it bills are Contoso's devices, as long as Contoso's line stays.
    """
    rows = {"Contoso": {"t1": 10, "t2": 40}, "Lab": {"t3": 40}, "Fabrikam": {"t4": 100}}
    life = _life(stack, rows, GuardRules())
    _give(life, "t3", "Lab", "Fabrikam")
    _give(life, "t2", "Contoso", "Lab")
    return life, 190


def _ring_with_a_fall(stack: ExitStack) -> tuple[Life, int]:
    """The same, and the tenant that Lab gives is greater: Lab's line falls, within the guards."""
    rows = {"Contoso": {"t1": 10, "t2": 40}, "Lab": {"t3": 50}, "Fabrikam": {"t4": 100}}
    life = _life(stack, rows, GuardRules())
    _give(life, "t3", "Lab", "Fabrikam")
    _give(life, "t2", "Contoso", "Lab")
    return life, 200


def _ring_with_a_rise(stack: ExitStack) -> tuple[Life, int]:
    """The same, and the tenant that Lab gives is smaller: Lab's line is to rise, and is held."""
    rows = {"Contoso": {"t1": 10, "t2": 40}, "Lab": {"t3": 20}, "Fabrikam": {"t4": 100}}
    life = _life(stack, rows, GuardRules())
    _give(life, "t3", "Lab", "Fabrikam")
    _give(life, "t2", "Contoso", "Lab")
    return life, 170


WAYS = [_upgraded_and_moved, _between_servers, _ring, _ring_with_a_fall, _ring_with_a_rise]
ORDERS = {
    "nothing is accepted": [(), ()],
    "the old client first": [("Contoso",), ("Lab",)],
    "the new client first": [("Lab",), ("Contoso",)],
    "both at once": [("Contoso", "Lab")],
}
NIGHTS = {
    "all clients": ((), None),
    "only Lab": (("Lab",), None),
    "only Contoso": (("Contoso",), None),
    "only Lab and Fabrikam": (("Lab", "Fabrikam"), None),
    "the first write is refused": ((), REFUSED),
    "its answer is lost": ((), LOST),
    "it is lost": ((), VANISHED),
}


CASES = [(way, night) for way in WAYS for night in NIGHTS]
CASES += [(_with_new_ids, night) for night in NIGHTS if not night.startswith("only Lab")]
"""A name proves nothing of a device in a run that does not read the tenant where it was."""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("way", "night"), CASES)
def test_never_more_than_the_uses(stack, way, order, night) -> None:
    life, uses = way(stack)
    only, answer = NIGHTS[night]
    for names in ORDERS[order]:
        plan = life.look()
        ids = {client.company.name: client.plan_id for client, _ in held(plan)}
        if answer is not None:
            life.world.psas["cw"].reactions.append(answer)
        life.night(*(ids[name] for name in names if name in ids), only=only)
        assert _billed(life) <= uses
    life.rest("all", random.Random(1))
    assert _billed(life) == uses


def test_a_tenant_that_moves_within_the_guards_is_billed_in_the_same_run(stack) -> None:
    life = _life(stack, {"Contoso": {"t1": 50, "t2": 50}, "Lab": {"t9": 50}}, OPEN)
    _give(life, "t2", "Contoso", "Lab")
    life.night()
    assert [int(line.quantity) for line in life.world.live().values()] == [50, 100]
    assert [line.agreement for line in life.world.psas["cw"].sent[-2:]] == ["1042", "1043"]


def test_the_new_line_keeps_its_number_if_the_old_one_cannot_be_written(stack) -> None:
    life = _life(stack, {"Contoso": {"t1": 50, "t2": 50}, "Lab": {"t9": 50}}, OPEN)
    _give(life, "t2", "Contoso", "Lab")
    life.world.psas["cw"].reactions.append(REFUSED)
    life.night()
    assert [int(line.quantity) for line in life.world.live().values()] == [100, 50]


def test_both_ids_of_a_tenant_that_moved_are_accepted_in_one_command(stack) -> None:
    life = _life(stack, {"Contoso": {"t1": 10, "t2": 90}, "Lab": {"t9": 50}}, GuardRules())
    _give(life, "t2", "Contoso", "Lab")
    life.night()
    ids = [client.plan_id for client, _ in held(life.last)]
    life.night(*ids)
    assert [int(line.quantity) for line in life.world.live().values()] == [10, 140]


def test_an_accept_that_is_kept_lets_nothing_rise_beside_a_client_that_is_switched_off(
    stack,
) -> None:
    life = _life(stack, {"Contoso": {"t1": 10, "t2": 90}, "Lab": {"t9": 50}}, GuardRules())
    _give(life, "t2", "Contoso", "Lab")
    ids = {client.company.name: client.plan_id for client, _ in held(life.look())}
    life.night(ids["Lab"])
    life.world.clients[0].billing = False
    life.night()
    assert [int(line.quantity) for line in life.world.live().values()] == [100, 50]
    life.rest("all", random.Random(1))
    assert [int(line.quantity) for line in life.world.live().values()] == [100, 140]


def test_a_line_at_0_of_a_client_that_is_switched_off_is_raised_by_a_person(stack) -> None:
    life = _life(stack, {"Contoso": {"t1": 5, "T2": 4}, "Lab": {"t9": 50}}, OPEN)
    for machine in life.world.machines:
        if machine.tenant == "t2":
            machine.tenant = None
    life.night(life.look().plan_id)
    life.world.clients[0].billing = False
    _give(life, "t1", "Contoso", "Lab")
    emptied = next(where for where, line in life.world.live().items() if not line.quantity)
    life.world.set_line(emptied, 1)
    life.night()
    assert [int(line.quantity) for line in life.world.live().values()] == [5, 1, 50]
    assert [line.hold.guard for _, line in held(life.last)] == ["elsewhere"]
