"""The life of one world: it is made, things happen, nights pass, and it comes to rest."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kisi.apply import phases
from kisi.errors import KisiError
from kisi.journal import Journal
from kisi.model import GuardRules, Plan, PlannedLine
from kisi.reconcile import collect, psas
from tests.unit.worlds import events
from tests.unit.worlds.judge import Broken, Judge, Seen
from tests.unit.worlds.night import (
    Night,
    Office,
    accepts_beside,
    client_ids,
    doubled,
    goes_back,
    held,
    ids_in,
    judged,
    night,
    offered,
    preview,
    told,
    unknown_creates,
)
from tests.unit.worlds.world import KINDS, Crash, LineId, Slot, World

NIGHTS_TO_REST = 40
"""A world that has not come to rest after so many nights never does."""
QUIET = ("all", "single", "remedy")
"""How the operator of a world at rest accepts: every id that is offered, one a night, or the
command that one line offers, again and again."""

TIGHT = GuardRules(
    decrease_percent=5,
    decrease_units=0,
    increase_percent=5,
    increase_units=0,
    create_units=1,
    run_percent=5,
    run_units=1,
)
OPEN = GuardRules(
    decrease_percent=1000, increase_percent=10**9, create_units=10**9, run_percent=1000
)
MIDDLE = GuardRules(decrease_units=1, increase_units=2, create_units=4, run_units=4)


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextmanager
def a_journal() -> Iterator[Journal]:
    """The real journal, in memory where the machine has a folder for that."""
    folder = Path(tempfile.mkdtemp(prefix="kisi-world-", dir=_memory()))
    try:
        with Journal.open(folder) as journal:
            yield journal
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Life:
    """A world, its operator, and its judge."""

    world: World
    office: Office
    judge: Judge
    last: Plan = field(default_factory=lambda: Plan(()))
    """What the operator saw last."""
    yesterday: Plan = field(default_factory=lambda: Plan(()))
    nights: int = 0

    @classmethod
    def of(cls, world: World, journal: Journal, guards: GuardRules) -> Life:
        office = Office(journal, world.clock, world.sources, world.psas, guards=guards)
        return cls(world, office, Judge(world))

    def look(self) -> Plan:
        """A preview, as things are now."""
        self._prepare()
        return preview(self.office)

    def night(
        self,
        *accepted: str,
        only: tuple[str, ...] = (),
        exclude: tuple[str, ...] = (),
        revert: int | None = None,
        looks: int | None = None,
    ) -> Night | None:
        """One run, judged; None if the process died in it.

        Raises:
            Broken: A promise was not kept.
        """
        world = self.world
        self._prepare()
        self.nights += 1
        options = [*(f"--accept {one}" for one in accepted), *(f"--only {one}" for one in only)]
        options += [f"--exclude {one}" for one in exclude]
        options += [f"--revert {revert}"] if revert is not None else []
        options += [f"--deadline ({looks} looks)"] if looks is not None else []
        world.say(f"--- night {self.nights}: kisi sync {' '.join(options)}")
        self.judge.opens()
        done = None
        try:
            more = {"only": only, "exclude": exclude, "revert": revert, "looks": looks}
            done = night(self.office, accepted=accepted, **more)
        except Crash:
            world.say("the process died")
        except KisiError as error:
            raise Broken("error", f"{type(error).__name__}: {error}") from error
        if done is not None:
            self._tell(done)
        self._tell_lines()
        self.judge.closes(self._seen(done))
        world.heal()
        world.clock.sleep(events.DAY - world.clock.elapsed % events.DAY)
        return done

    def _prepare(self) -> None:
        self.office.mapping = self.world.mapping()
        self.world.report()

    def _seen(self, done: Night | None) -> Seen:
        if done is not None and done.refused:
            return Seen(asked=frozenset(), run=self.office.run)
        guarded = self.office.guarded
        return Seen(
            judged(guarded) if done else frozenset(),
            frozenset(one.company.name for one in guarded.companies),
            accepts_beside(guarded, self.office.accepted),
            unknown_creates(done.plan) if done else frozenset(),
            self.office.run,
            goes_back(guarded),
            doubled(guarded, self.office.accepted),
        )

    def _tell(self, done: Night) -> None:
        self.yesterday, self.last = self.last, done.plan
        if done.refused:
            self.world.say(f"refused: {done.refused}")
        self.world.told += told(done.plan)
        reported = {tenant.ref.tenant for tenant in done.plan.unmapped_tenants}
        if reported & self.world.ignored:
            raise Broken("reported", f"{reported & self.world.ignored} are never billed")

    def _tell_lines(self) -> None:
        lines = [
            f"{where.agreement}/{line.product}={line.quantity}"
            for where, line in sorted(self.world.live().items())
        ]
        self.world.say(f"the PSAs hold: {' '.join(lines)}")

    # --- the end --------------------------------------------------------------------------------

    def rest(self, how: str, dice: random.Random) -> int:
        """Nothing happens any more; what is offered is accepted until nothing is held.

        Returns:
            How many nights it took.

        Raises:
            Broken: The world does not come to rest, or not with the truth.
        """
        world = self.world
        world.heal()
        world.say(f"=== nothing happens any more; the operator accepts: {how}")
        command: tuple[str, ...] = ()
        slot, idle, revert = None, 0, None
        for number in range(1, NIGHTS_TO_REST + 1):
            before = world.live()
            done = self.night(*command, revert=revert)
            idle = 0 if command or world.live() != before else idle + 1
            plan = done.plan if done and not done.refused else self.look()
            waiting = held(plan)
            leaving = any(one.until and not world.has_left(one) for one in world.clients)
            idle = 0 if leaving else idle
            if done and not (done.refused or waiting or leaving or self._differs()):
                return number
            command, slot = self._answer(how, plan, slot, dice)
            revert = next((x for _, line in waiting if (x := _withdrawn_by(line))), None)
            idle = 0 if revert else idle
            if self._end_by_hand(plan):
                continue
            if idle == 3 and not command:
                break
        raise Broken("ends", f"after {number} nights ({how}): {self._unrest(plan)}")

    def _end_by_hand(self, plan: Plan) -> bool:
        """What no id releases and a person can: other lines of the same product are set to 0."""
        world, ended = self.world, False
        for client, held_line in held(plan):
            if held_line.hold is None or held_line.hold.guard != "ambiguous":
                continue
            company = (client.company.psa, client.company.company)
            for where, line in world.live().items():
                slot = Slot(where.psa, where.agreement, line.product)
                same = line.product == held_line.product and line.quantity > 0
                beside = where.agreement in world.agreements.get(company, ())
                if same and beside and where.psa == company[0] and slot not in world.desired():
                    world.set_line(where, 0)
                    ended = True
        return ended

    def _answer(
        self, how: str, plan: Plan, slot: Slot | None, dice: random.Random
    ) -> tuple[tuple[str, ...], Slot | None]:
        ids = offered(plan)
        if how == "all" or not ids:
            return tuple(ids), None
        if how == "single":
            return (dice.choice(ids),), None
        lines = {Slot(*line.slot): ids_in(line) for _, line in held(plan) if ids_in(line)}
        if slot not in lines:
            slot = dice.choice(sorted(lines))
        return lines[slot], slot

    def _unrest(self, plan: Plan) -> str:
        held_lines = [f"{client.company.name} {line.slot}" for client, line in held(plan)]
        return f"held {held_lines}; {'; '.join(self._differs()) or 'every line is right'}"

    def _differs(self) -> list[str]:
        """The lines that kisi manages and that do not bill what they should."""
        world, live = self.world, self.world.live()
        there = {Slot(w.psa, w.agreement, line.product): line for w, line in live.items()}
        found = []
        for slot, one in world.desired().items():
            if not world.is_alive(slot.psa, slot.agreement):
                continue
            quantity = there[slot].quantity if slot in there else 0
            if quantity != one.quantity:
                found.append(f"{slot} bills {quantity}, and {one.quantity} is right")
        for where, line in live.items():
            slot = Slot(where.psa, where.agreement, line.product)
            if line.quantity and slot not in world.desired() and self._must_be_empty(where):
                found.append(f"{slot} bills {line.quantity}, and nothing is billed there any more")
        return found

    def _must_be_empty(self, where: LineId) -> bool:
        """Whether somebody who can be billed is there to plan a line that bills nothing now."""
        account = self.judge.accounts.get(where)
        renewed = (where.psa, where.agreement) in self.world.renewed
        if account is None or (renewed and not account.trusted):
            return False
        if self.world.client_of(where.psa, where.agreement) is None:
            world = self.world
            billed = {t for one in world.clients if world.is_billed(one) for t in world.had(one)}
            if not account.trusted or (account.since and billed.isdisjoint(account.since)):
                return False
        owners = self.judge.owners(where, later=False)
        return bool(owners) and all(
            self.world.can_be_judged(one) and not self.judge.by_hand(where, one) for one in owners
        )


def _withdrawn_by(line: PlannedLine) -> int | None:
    """The run to revert where a line is to go back, and no id lets it."""
    no_id = line.hold is not None and line.hold.guard == "lasting"
    return line.reversal.by if no_id and line.goes_back and line.reversal else None


# --- random worlds ----------------------------------------------------------------------------------


def make(dice: random.Random) -> World:
    """A world as it is on its first day."""
    world = World(dice)
    for psa in ("cw", "tp")[: dice.choice([1, 1, 2])]:
        world.add_psa(psa)
    for name in ("Alpha", "Beta", "Gamma")[: dice.choice([2, 2, 3])]:
        world.add_application(name)
    for product in world.products.values():
        product.split = dice.random() < 0.35
    hub = dice.random() < 0.3
    sources = ["hq", "hq", "hq", "east"] + ["hub"] * hub
    for number in range(dice.randint(3, 6)):
        world.add_tenant(f"t{number + 1}", dice.choice(sources))
    _devices(world, dice)
    _clients(world, dice)
    return world


def _devices(world: World, dice: random.Random) -> None:
    applications = list(world.names)
    servers = [tenant for tenant in world.tenants if tenant not in world.totals]
    for _ in range(dice.randint(6, 20) if servers else 0):
        uses = dice.sample(applications, 2 if dice.random() < 0.12 else 1)
        name = "NOTEBOOK" if dice.random() < 0.06 else ""
        kind = dice.choices(KINDS, (6, 3, 1))[0]
        world.add_machine(dice.choice(servers), uses, kind, name)
    for totals in world.totals.values():
        for _ in range(dice.randint(1, 3)):
            totals[dice.choice(applications), dice.choice(KINDS)] += dice.randint(1, 6)


def _clients(world: World, dice: random.Random) -> None:
    psas = list(world.psas)
    number = dice.randint(2, min(4, len(world.tenants)))
    names = ("Contoso", "Lab", "Fabrikam", "Adatum")[:number]
    for place in range(number + 1):
        psa, company = dice.choice(psas), str(250 + place)
        for where in psas:
            agreements = [f"{company}{psas.index(where)}{n}" for n in (1, 2)]
            if where == psa or dice.random() < 0.3:
                world.add_company(where, company, *agreements)
        if place < number:
            first = world.agreements[psa, company][0]
            world.add_client(names[place], [], psa, company, first)
    tenants = list(world.tenants)
    dice.shuffle(tenants)
    for place, tenant in enumerate(tenants):
        if place < number:
            world.clients[place].tenants.append(tenant)
        elif dice.random() < 0.9:
            dice.choice(world.clients).tenants.append(tenant)


def guards(dice: random.Random) -> GuardRules:
    """Tight ones hold many things, open ones few."""
    return replace(
        dice.choice([TIGHT, MIDDLE, MIDDLE, OPEN, OPEN]),
        baseline_days=dice.choice([1, 3, 30]),
        adopt=dice.choice(["hold", "hold", "allow"]),
        drift=dice.choice(["hold", "hold", "overwrite"]),
    )


def live(
    seed: int,
    story: list[str] | None = None,
    kinds: events.Kinds = events.EVENTS,
    reverts: float = 0.2,
) -> int:
    """The whole life of the world of a seed; returns how many nights it had.

    Args:
        seed: Everything follows from it.
        story: Filled with what happens, in lines.
        kinds: What may happen.
        reverts: In how many of all nights a run is undone.

    Raises:
        Broken: A promise was not kept.
    """
    dice = random.Random(seed)
    new = random.Random(f"new {seed}") if kinds is events.EVENTS else None
    world = make(dice)
    if story is not None:
        world.told = story
    rules = guards(dice)
    world.say(f"world {seed}: {rules}")
    world.told += world.described()
    with a_journal() as journal:
        life = Life.of(world, journal, rules)
        _begin(life, dice)
        for _ in range(dice.randint(2, 6)):
            for _ in range(dice.choice([0, 1, 1, 2, 2, 3, 4])):
                events.happen(world, dice, kinds)
            events.trouble(world, dice)
            _a_night(life, dice, new, reverts)
        world.told += world.described()
        life.rest(dice.choice(QUIET), dice)
        return life.nights


def _begin(life: Life, dice: random.Random) -> None:
    """Most worlds are billed rightly before anything happens."""
    for _ in range(dice.randint(0, 2)):
        events.add_line(life.world, dice)
    if dice.random() < 0.9:
        life.night()
        if held(life.last):
            life.night(life.last.plan_id)


def _a_night(
    life: Life, dice: random.Random, new: random.Random | None = None, reverts: float = 0
) -> None:
    """With `new` dice, some nights undo a run, and some have too little time for all clients."""
    names = [client.name for client in life.world.clients]
    only = tuple(dice.sample(names, dice.randint(1, len(names)))) if dice.random() < 0.15 else ()
    exclude = (dice.choice(names),) if not only and len(names) > 1 and dice.random() < 0.1 else ()
    run = life.office.run
    revert = new.randint(max(1, run - 3), run) if new and run and new.random() < reverts else None
    # Of several PSAs nobody knows which one looks at the clock first.
    looks = new and new.random() < 0.15 and len(life.world.psas) == 1 and new.randint(2, 16)
    more = {"only": only, "exclude": exclude, "revert": revert, "looks": looks or None}
    life.night(*_accepted(life, dice), **more)


def _accepted(life: Life, dice: random.Random) -> tuple[str, ...]:
    how = dice.choice(["nothing", "nothing", "one", "one", "several", "plan", "yesterday"])
    if how == "nothing":
        return ()
    if how == "yesterday":
        ids = [*client_ids(life.last), *client_ids(life.yesterday)]
        return tuple(dice.sample(ids, min(len(ids), dice.randint(1, 2))))
    plan = life.look()
    ids = client_ids(plan)
    if not ids:
        return ()
    if how == "plan":
        return (plan.plan_id,)
    number = 1 if how == "one" else dice.randint(1, len(ids))
    return tuple(dice.sample(ids, number))


def tried(seed: int) -> str:
    """What the world of a seed shows: which promise is broken, or nothing."""
    try:
        live(seed)
    except Broken as error:
        return f"{error}"
    except Exception as error:  # noqa: BLE001 - a bug of kisi, or of the world: it has a seed too
        return f"bug: {error!r}"
    return ""


def many(seeds: Iterable[int]) -> dict[int, str]:
    """The worlds in which a promise is broken, out of many that all processors share."""
    logging.disable(logging.CRITICAL)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=spawn, initializer=_quiet) as pool:
        numbers = list(seeds)
        found = pool.map(tried, numbers, chunksize=25)
        return {seed: text for seed, text in zip(numbers, found, strict=True) if text}


def _quiet() -> None:
    """Prepares a process for many worlds: no log, and no threads, which cost more than the work."""
    logging.disable(logging.CRITICAL)
    for module in (phases, collect, psas):
        module.ThreadPoolExecutor = Inline  # type: ignore[attr-defined]


class Inline(Executor):
    """Does everything at once, in the thread that asks for it."""

    def __init__(self, *_workers: object, **_how: object) -> None:
        """Takes what a pool of threads takes."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **more))
        except Exception as error:  # noqa: BLE001  # as a pool does
            future.set_exception(error)
        return future
