"""What holds whatever happens: drawn inputs, drawn answers of the PSA, several runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kisi.errors import ExitCode
from kisi.model import Category, GuardRules, Outcome
from kisi.planning import is_live
from kisi.reconcile.summary import summarise
from tests.unit.build import COMPANY, SPLIT_ROW, TODAY, mapping
from tests.unit.fakes import (
    CHANGED,
    DENIED,
    DONE,
    FOREIGN,
    LOST,
    REFUSED,
    UNREACHED,
    VANISHED,
    busy,
)
from tests.unit.reconcile.conftest import company

pytestmark = pytest.mark.slow
SHARED = settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
COUNTS = st.integers(0, 6)
REACTIONS = st.sampled_from(
    [DONE, DONE, LOST, VANISHED, REFUSED, DENIED, UNREACHED, CHANGED, FOREIGN, busy(3), busy(999)]
)
PRODUCTS = ("1201", "1202")


@dataclass
class Fleet:
    """Three clients with two products each, as they were and as they are."""

    before: list[tuple[int | None, int | None]]
    used: list[tuple[int, int]]


FLEETS = st.builds(
    Fleet,
    st.lists(st.tuples(st.none() | COUNTS, st.none() | COUNTS), min_size=3, max_size=3),
    st.lists(st.tuples(COUNTS, COUNTS), min_size=3, max_size=3),
)
CLIENTS = [company(number) for number in (1, 2, 3)]
ALLOWING = GuardRules(
    decrease_percent=1000,
    increase_percent=10**9,
    run_percent=1000,
    adopt="allow",
    drift="overwrite",
)


def build(scene, fleet):
    scene.mapping = mapping(SPLIT_ROW, companies=CLIENTS)
    scene.guards = ALLOWING
    for number, client in enumerate(CLIENTS, start=1):
        scene.cw.agreement(client.company, client.agreement)
        workstations, servers = fleet.used[number - 1]
        scene.uses(workstations, servers, uid=f"VSRV-{number}")
        for product, quantity in zip(PRODUCTS, fleet.before[number - 1], strict=True):
            if quantity is not None:
                scene.cw.put(product, quantity, client.agreement)
    return scene


def live(scene, client, product):
    """The quantities that bill a product of a client."""
    lines = scene.cw.held(client.agreement)
    return [float(one.quantity) for one in lines if one.product == product and is_live(one, TODAY)]


def quiet(scene):
    """The run over which no fault lies: accepts what only a person may decide."""
    found = scene.look().plan
    return scene.sync(found.plan_id) if summarise(found).held else scene.sync()


@SHARED
@given(fleet=FLEETS, reactions=st.lists(REACTIONS, max_size=12), late=st.sampled_from([0, 3]))
def test_whatever_the_psa_answers_each_line_is_what_it_was_or_what_it_should_be(
    make_scene, fleet, reactions, late
):
    scene = build(make_scene(), fleet)
    scene.cw.late = late
    scene.cw.reactions.extend(reactions)
    scene.sync()
    scene.clock.sleep(60)
    for client, before, used in zip(CLIENTS, fleet.before, fleet.used, strict=True):
        for product, was, should in zip(PRODUCTS, before, used, strict=True):
            lines = live(scene, client, product)
            assert len(lines) <= 1
            assert lines in ([] if was is None else [was], [should])


@SHARED
@given(fleet=FLEETS, reactions=st.lists(REACTIONS, max_size=12), late=st.sampled_from([0, 3]))
def test_what_the_journal_calls_confirmed_is_in_the_psa(make_scene, fleet, reactions, late):
    scene = build(make_scene(), fleet)
    scene.cw.late = late
    scene.cw.reactions.extend(reactions)
    for _ in range(2):
        day = scene.sync()
        scene.clock.sleep(60)
        facts = scene.journal.facts(scene.clock.now(), 30)
        there = {
            (line.agreement, line.id): line.quantity
            for client in CLIENTS
            for line in scene.cw.held(client.agreement)
        }
        sure = [fact for fact in facts if not fact.unsettled]
        assert {
            (one.agreement, one.line_id): one.confirmed for one in sure
        }.items() <= there.items()
        for plan in day.plan.companies:
            for line in plan.lines:
                if line.outcome is Outcome.APPLIED:
                    assert there[line.agreement, line.line_id] == line.after


@SHARED
@given(fleet=FLEETS, reactions=st.lists(REACTIONS, max_size=12))
def test_after_a_run_without_faults_everything_is_right_and_the_next_writes_nothing(
    make_scene, fleet, reactions
):
    scene = build(make_scene(), fleet)
    scene.cw.reactions.extend(reactions)
    scene.sync()
    scene.cw.reactions.clear()
    day = quiet(scene)
    assert day.code is ExitCode.OK
    assert scene.journal.pending() == ()
    for client, before, used in zip(CLIENTS, fleet.before, fleet.used, strict=True):
        for product, was, should in zip(PRODUCTS, before, used, strict=True):
            assert live(scene, client, product) in ([should], [] if was is None else [should])
            assert sum(live(scene, client, product)) == should
    writes = scene.sent()
    again = scene.sync()
    assert (scene.sent(), again.code) == (writes, ExitCode.OK)


@SHARED
@given(fleet=FLEETS, seed=st.integers(0, 2**32))
def test_the_plan_does_not_depend_on_the_order_of_anything_that_is_read(make_scene, fleet, seed):
    scene = build(make_scene(), fleet)
    scene.guards = GuardRules()
    first = scene.look().plan

    dice = Random(seed)

    def shuffled(items):
        items = list(items)
        return dice.sample(items, len(items))

    scene.hq.answers = {
        ref: replace(
            answer,
            keys=tuple(shuffled(answer.keys)),
            rows=tuple(shuffled(answer.rows)),
            devices=dict(shuffled(answer.devices.items())),
        )
        for ref, answer in shuffled(scene.hq.answers.items())
    }
    real = scene.cw.lines
    scene.cw.lines = lambda ref: tuple(shuffled(real(ref)))
    split = dict(shuffled(SPLIT_ROW.products.items()))
    scene.mapping = mapping(
        replace(SPLIT_ROW, products={Category(name): item for name, item in split.items()}),
        companies=shuffled(CLIENTS),
    )
    second = scene.look().plan
    assert first.plan_id == second.plan_id

    def by_name(plan):
        return {one.company.name: replace(one, others=()) for one in plan.companies}

    assert by_name(first) == by_name(second)
    others = {one.company.name: set(one.others) for one in first.companies}
    assert others == {one.company.name: set(one.others) for one in second.companies}


@SHARED
@given(fleet=FLEETS, gone=st.integers(0, 5))
def test_a_device_less_never_bills_more(make_scene, fleet, gone):
    scene = build(make_scene(), fleet)
    answer = scene.hq.answers[COMPANY.tenants[0]]
    whole = {line.product: line.after for line in scene.look().plan.companies[0].lines}
    scene.hq.add(replace(answer, rows=answer.rows[:gone]))
    less = {line.product: line.after for line in scene.look().plan.companies[0].lines}
    assert all(less[product] <= whole[product] for product in less)
