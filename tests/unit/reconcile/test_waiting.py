"""Who waits for lines that a run does not plan, and for devices that went away nights ago."""

from dataclasses import replace
from datetime import date

import pytest

from kisi.counting import count_tenant, without_evidence
from kisi.errors import ExitCode, Incomplete, PsaError, Withheld
from kisi.journal import PackedUsage
from kisi.model import (
    WITH,
    Action,
    Category,
    GuardRules,
    NotBillable,
    Pool,
    ProductRow,
    Proof,
    TenantRef,
)
from kisi.reconcile import waiting
from kisi.reconcile.waiting import Since
from tests.unit.build import (
    ALL_ROW,
    COMPANY,
    KES,
    SERVER_2022,
    counting,
    device,
    fact,
    key,
    mapping,
    reading,
    row,
    tenant,
)
from tests.unit.fakes import REFUSED, planned
from tests.unit.planning.arranged import pools, ready
from tests.unit.reconcile.conftest import company, devices

T1, T2, T9 = (TenantRef("hq", uid) for uid in ("VSRV-1", "VSRV-2", "VSRV-9"))
BOTH = replace(COMPANY, tenants=(T1, T2))
LAB = company(9, name="Lab")
GROWN = replace(LAB, tenants=(T9, T2))


@pytest.fixture
def moved(scene):
    """Contoso was billed for 5 and 50 devices of two tenants; the second one is Lab's since."""
    scene.cw.agreement(LAB.company, LAB.agreement)
    scene.bill(BOTH, LAB)
    scene.uses(5)
    scene.uses(50, uid="VSRV-2")
    scene.uses(200, uid="VSRV-9")
    assert scene.sync().code is ExitCode.OK
    assert held(scene) == (55, 200)
    scene.bill(COMPANY, GROWN)
    scene.cw.sent.clear()
    scene.cw.looks.clear()
    return scene


def held(scene):
    """What Contoso and Lab are billed."""
    return tuple(scene.cw.quantities(one.agreement).get("1200", 0) for one in (COMPANY, LAB))


def hold(day, name="Lab"):
    return next(line.hold for line in day.client(name).lines if line.hold is not None)


def test_a_tenant_that_moves_is_billed_on_its_new_agreement_in_the_same_run(moved):
    assert moved.sync().code is ExitCode.OK
    assert held(moved) == (5, 250)
    assert [line.agreement for line in moved.cw.sent] == [COMPANY.agreement, LAB.agreement]
    assert moved.sync().code is ExitCode.OK
    assert moved.sent() == 2


def test_and_not_before_its_old_line_is_down_whatever_goes_wrong_there(moved):
    moved.cw.reactions.append(REFUSED)
    assert moved.sync().code is ExitCode.WRITE
    assert held(moved) == (55, 200)
    assert moved.sync().code is ExitCode.OK
    assert held(moved) == (5, 250)


def test_where_the_fall_is_held_the_rise_waits_and_one_id_releases_both(moved):
    moved.guards = GuardRules()
    for _ in range(2):
        day = moved.sync()
        assert (hold(day, "Contoso").guard, hold(day).guard) == ("decrease", WITH)
        assert held(moved) == (55, 200)
    plan_id = day.client("Contoso").plan_id
    assert (
        hold(day).remedy
        == hold(day, "Contoso").remedy
        == (f"If that is right: kisi sync --accept {plan_id}")
    )
    assert moved.sync(plan_id).code is ExitCode.OK
    assert held(moved) == (5, 250)


# --- lines of which nothing is planned ------------------------------------------------------------


def fails(scene):
    scene.hq.answers[T1] = Incomplete("Contoso: the list ended early.")
    return scene.sync()


def off(scene):
    scene.bill(replace(COMPANY, billing=False), GROWN)
    return scene.sync()


def left_out(scene):
    return scene.sync(only=["Lab"])


UNPLANNED = pytest.mark.parametrize(
    ("run", "why"),
    [
        (fails, "that client could not be worked out in this run"),
        (off, "billing is off for that client"),
        (left_out, "that client is not in this run"),
    ],
)


@UNPLANNED
def test_who_may_bill_devices_of_a_line_that_is_not_planned_waits_for_a_person(moved, run, why):
    for _ in range(2):
        day = run(moved)
        found = hold(day)
        assert found.guard == "elsewhere"
        assert found.reason == (
            f"line 301 of Contoso (agreement 1042) still bills 55 x {KES}, in part for the same "
            f"devices, and {why}"
        )
        assert found.remedy == (
            "Where that line keeps an earlier number by its `count`, wait: this one is written once "
            "it comes down. Otherwise set that line to 0 in its PSA, or run its client too. If both "
            f"are to bill: kisi sync --accept {day.client('Lab').plan_id}"
        )
        assert held(moved) == (55, 200)


@UNPLANNED
def test_the_id_of_who_waits_releases_it(moved, run, why):
    plan_id = run(moved).client("Lab").plan_id
    moved.sync(plan_id, only=["Lab"])
    assert held(moved) == (55, 250)


@UNPLANNED
def test_a_line_that_a_person_has_set_to_0_is_not_waited_for(moved, run, why):
    moved.cw.put("1200", 0, line_id="301")
    run(moved)
    assert held(moved) == (0, 250)


@pytest.mark.parametrize(
    "how", [{"cancelled": date(2026, 11, 1)}, {"dead": True}, {"one_time": True}]
)
def test_nor_one_that_bills_nothing_any_more(moved, how):
    moved.cw.put("1200", 55, line_id="301", **how)
    left_out(moved)
    assert held(moved)[1] == 250


def test_nor_one_that_is_gone_or_that_a_person_gave_another_product(moved):
    moved.cw.put("9999", 55, line_id="301")
    assert left_out(moved).code is ExitCode.OK
    moved.cw.remove(moved.cw.held()[0])
    assert left_out(moved).code is ExitCode.OK
    assert moved.cw.quantities(LAB.agreement) == {"1200": 250}


def test_nor_one_on_an_agreement_that_has_ended(moved):
    ended = NotBillable("agreement", "it was cancelled", "Map the one that follows it.")
    moved.cw.agreement("250", "1042", gone=True, not_billable=ended)
    left_out(moved)
    assert COMPANY.agreement not in moved.cw.looks
    assert held(moved) == (55, 250)


def test_a_line_that_will_be_cancelled_or_that_cannot_be_read_still_bills(moved):
    moved.cw.put("1200", 55, line_id="301", cancelled=date(2027, 1, 1))
    assert hold(left_out(moved)).guard == "elsewhere"
    moved.cw.put("1200", 0, line_id="301", problem="quantity is missing")
    assert hold(left_out(moved)).guard == "elsewhere"
    assert held(moved)[1] == 200


def test_an_agreement_that_cannot_be_read_is_waited_for_as_it_was_last_seen(moved):
    moved.cw.unreadable["1042"] = (PsaError("The additions did not arrive whole."), None)
    day = left_out(moved)
    assert hold(day).reason.startswith(
        f"line 301 of Contoso (agreement 1042) billed 55 x {KES} when kisi last saw it, in part"
    )
    assert held(moved) == (55, 200)
    assert day.client("Lab").failure is None


def test_what_a_person_left_of_it_is_told(moved):
    moved.cw.put("1200", "12.50", line_id="301")
    assert "still bills 12.5 x" in hold(left_out(moved)).reason


def test_an_agreement_is_read_once_for_all_who_wait_for_its_lines(moved):
    third = company(8, name="Third", tenants=(T1,))
    moved.cw.agreement(third.company, third.agreement)
    moved.bill(GROWN, third, replace(COMPANY, billing=False, tenants=(TenantRef("hq", "gone"),)))
    found = moved.look()
    assert [plan.hold.guard for plan in found.plan.companies[:2]] == ["elsewhere"] * 2
    assert moved.cw.looks.count("1042") == 1
    assert [ref.agreement for ref in moved.cw.asked_agreements].count("1042") == 2  # last night too


def test_an_agreement_for_whose_lines_nobody_waits_is_not_read(moved):
    moved.bill(BOTH, LAB)
    moved.uses(201, uid="VSRV-9")
    assert left_out(moved).code is ExitCode.OK
    assert COMPANY.agreement not in moved.cw.looks
    assert held(moved) == (55, 201)


def test_what_falls_waits_for_nobody_and_reads_nothing(moved):
    moved.uses(100, uid="VSRV-9")
    assert left_out(moved).code is ExitCode.OK
    assert COMPANY.agreement not in moved.cw.looks
    assert held(moved) == (55, 150)


def test_a_client_that_failed_for_its_agreement_is_read_for_who_waits(moved):
    """It may bill all the same: only a person can tell what is wrong with it."""
    not_billable = NotBillable("agreement", "it has no cross reference", "Give it one.")
    moved.cw.agreement("250", "1042", not_billable=not_billable)
    day = moved.sync()
    assert (day.client().failure.guard, hold(day).guard) == ("agreement", "elsewhere")
    assert "still bills 55" in hold(day).reason
    moved.cw.put("1200", 0, line_id="301")
    moved.sync()
    assert held(moved) == (0, 250)


def test_lines_in_a_psa_that_is_not_configured_any_more_are_waited_for(scene):
    tp = scene.add_psa("tp")
    tp.agreement("500", "7001")
    row_tp = replace(ALL_ROW, psa="tp", products={Category.ALL: "KES"})
    theirs = replace(COMPANY, psa="tp", company="500", agreement="7001")
    scene.mapping = mapping(ALL_ROW, row_tp, companies=[theirs])
    scene.uses(10)
    scene.sync()
    del scene.psas["tp"]
    scene.mapping = mapping(ALL_ROW)
    day = scene.sync()
    assert hold(day, "Contoso").reason == (
        f"line 301 of Contoso (agreement 7001) billed 10 x {KES} when kisi last saw it, in part "
        "for the same devices, and psa.tp is not in kisi.toml any more"
    )
    assert scene.cw.quantities() == {}
    scene.sync(day.client().plan_id)
    assert (scene.cw.quantities(), tp.quantities("7001")) == ({"1200": 10}, {"KES": 10})


def test_a_line_of_a_row_that_is_gone_is_waited_for_where_its_devices_went(moved):
    """Contoso left the mapping with its tenant; ten of its devices are in Lab's tenant now."""
    moved.bill(LAB)
    moved.hq.add(
        reading(
            [*devices(200, prefix="VSRV-9"), *devices(10, prefix="VSRV-2")],
            of=tenant("Tenant VSRV-9", "VSRV-9"),
        )
    )
    day = moved.sync()
    assert hold(day).reason.endswith("and no row of mapping.toml bills it")
    assert [one.line_id for one in day.found.left] == ["301"]
    assert held(moved) == (55, 200)


def test_a_line_whose_tenants_have_no_row_any_more_is_told_under_the_id_of_who_has_them(moved):
    """It is Lab's orphan, so that Lab's own id brings it down."""
    moved.bill(GROWN)
    day = moved.sync()
    assert [line.hold.guard for line in day.client("Lab").lines] == ["orphaned", WITH]
    moved.sync(day.client("Lab").plan_id)
    assert held(moved) == (0, 250)


def test_a_line_that_people_keep_is_not_waited_for_in_any_run(moved):
    by_hand = replace(COMPANY, exceptions=(ProductRow(KES, "cw", {}, bill=False),))
    moved.bill(by_hand, GROWN)
    assert left_out(moved).code is ExitCode.OK
    assert held(moved) == (55, 250)
    moved.bill(replace(by_hand, billing=False), GROWN)
    moved.uses(201, uid="VSRV-9")
    assert moved.sync().code is ExitCode.OK
    assert held(moved) == (55, 251)


# --- accepting ------------------------------------------------------------------------------------


def exchanged(scene):
    """Contoso and Lab have exchanged a tenant of many workstations and one of many servers."""
    rows = ALL_ROW.psa, ("1201", "1202", "1203")
    split = dict(
        zip((Category.WINDOWS_WORKSTATIONS, Category.WINDOWS_SERVERS), rows[1], strict=False)
    )
    scene.mapping = mapping(ProductRow(KES, "cw", split), companies=(COMPANY, LAB))
    scene.cw.agreement(LAB.company, LAB.agreement)
    scene.uses(workstations=100, servers=10)
    scene.uses(workstations=10, servers=100, uid="VSRV-9")
    assert scene.sync().code is ExitCode.OK
    scene.guards = GuardRules(increase_percent=10**9)
    scene.bill(replace(COMPANY, tenants=(T9,)), replace(LAB, tenants=(T1,)))
    return scene


def by_category(scene):
    return [
        tuple(scene.cw.quantities(one.agreement)[product] for product in ("1201", "1202"))
        for one in (COMPANY, LAB)
    ]


BEFORE, AFTER = [(100, 10), (10, 100)], [(10, 100), (100, 10)]


@pytest.mark.parametrize("order", [("Contoso", "Lab"), ("Lab", "Contoso")])
def test_two_clients_that_wait_for_each_other_end_with_both_ids_in_any_order(scene, order):
    exchanged(scene)
    day = scene.sync()
    assert by_category(scene) == BEFORE
    first, second = (day.client(name).plan_id for name in order)
    assert f"kisi sync --accept {first} --accept {second}" in hold(day, order[0]).remedy
    waiting = scene.sync(first)
    assert by_category(scene) == BEFORE
    assert hold(waiting, order[0]).remedy.endswith(f"kisi sync --accept {second}")
    assert waiting.client(order[0]).plan_id == first
    assert scene.sync().code is ExitCode.WITHHELD
    assert scene.sync(second).code is ExitCode.OK
    assert by_category(scene) == AFTER
    assert scene.journal.accepted() == frozenset()
    for plan_id in (first, second):
        with pytest.raises(Withheld, match="an id works once"):
            scene.sync(plan_id)


@pytest.mark.parametrize("again", [True, False])
def test_one_command_with_both_ids_ends_it_at_once_also_if_one_was_given_before(scene, again):
    exchanged(scene)
    day = scene.sync()
    ids = [day.client(name).plan_id for name in ("Contoso", "Lab")]
    if again:
        scene.sync(ids[0])
    assert scene.sync(*ids).code is ExitCode.OK
    assert by_category(scene) == AFTER


def test_so_does_the_id_of_the_whole_plan(scene):
    exchanged(scene)
    whole = scene.sync().plan.plan_id
    assert scene.sync(whole).code is ExitCode.OK
    assert by_category(scene) == AFTER
    with pytest.raises(Withheld, match="an id works once"):
        scene.sync(whole)


def test_what_was_accepted_is_void_once_it_asks_for_other_numbers(scene):
    exchanged(scene)
    day = scene.sync()
    first, second = (day.client(name).plan_id for name in ("Contoso", "Lab"))
    scene.sync(first)
    scene.uses(workstations=9, servers=100, uid="VSRV-9")
    changed = scene.sync()
    new = changed.client().plan_id
    assert new != first
    assert scene.journal.accepted() == frozenset()
    assert scene.sync(second).code is ExitCode.WITHHELD
    assert by_category(scene) == BEFORE
    assert scene.sync(new).code is ExitCode.OK
    assert by_category(scene) == [(9, 100), (100, 10)]


def test_numbers_that_come_back_are_accepted_once_more_by_their_id(scene):
    exchanged(scene)
    first = scene.sync().client().plan_id
    scene.sync(first)
    scene.uses(workstations=9, servers=100, uid="VSRV-9")
    scene.sync()
    scene.uses(workstations=10, servers=100, uid="VSRV-9")
    day = scene.sync()
    assert hold(day, "Contoso").guard == "decrease"
    assert day.client().plan_id == first
    both = [first, day.client("Lab").plan_id]
    assert scene.sync(*both).code is ExitCode.OK
    assert by_category(scene) == AFTER


def test_the_id_that_is_shown_is_taken_also_where_an_accepted_line_was_not_written(scene):
    """One line was accepted and refused by the PSA; the next night another one is held."""
    edr = "Kaspersky Next EDR Optimum"
    scene.mapping = mapping(ALL_ROW, ProductRow(edr, "cw", {Category.ALL: "1300"}))
    scene.guards = GuardRules()

    def uses(advanced, others):
        pcs, servers = devices(advanced), devices(0, others, "srv")
        rows = [*(row(one.id) for one in pcs), *(row(one.id, "K2") for one in servers)]
        scene.hq.add(reading([*pcs, *servers], rows, [key(), key("K2", edr)]))

    uses(20, 20)
    assert scene.sync().code is ExitCode.OK
    uses(10, 20)
    accepted = scene.sync().client().plan_id
    scene.cw.reactions.append(REFUSED)
    assert scene.sync(accepted).code is ExitCode.WRITE
    uses(10, 5)
    scene.cw.reactions.append(REFUSED)
    shown = scene.sync().client()
    assert [line.hold.guard if line.hold else None for line in shown.lines] == [None, "decrease"]
    assert scene.sync(shown.plan_id).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10, "1300": 5}


def test_an_id_that_was_given_and_whose_line_the_psa_refused_may_be_given_again(moved):
    moved.guards = GuardRules()
    plan_id = moved.sync().client("Contoso").plan_id
    moved.cw.reactions.append(REFUSED)
    assert moved.sync(plan_id).code is ExitCode.WRITE
    assert held(moved) == (55, 200)
    assert moved.sync(plan_id).code is ExitCode.OK
    assert held(moved) == (5, 250)


def test_an_accept_releases_no_line_whose_devices_somebody_else_bills_by_then(moved):
    """Accepted as an increase, it waits for Contoso's fall; then Contoso cannot be read."""
    moved.guards = GuardRules(increase_percent=10, increase_units=10)
    day = moved.sync()
    assert (hold(day, "Contoso").guard, hold(day).guard) == ("decrease", "increase")
    waiting = moved.sync(day.client("Lab").plan_id)
    assert hold(waiting).guard == WITH
    day = fails(moved)
    assert hold(day).guard == "elsewhere"
    assert "still bills 55" in hold(day).reason
    assert "also it would rise by 50" in hold(day).reason
    assert held(moved) == (55, 200)


# --- devices that went away nights ago ------------------------------------------------------------


def test_what_moved_is_compared_with_the_night_in_which_the_line_was_proven(scene):
    """The devices went two nights ago, and the fall has been on hold since."""
    scene.guards = GuardRules(increase_percent=10**9)
    scene.cw.agreement(LAB.company, LAB.agreement)
    scene.bill(COMPANY, LAB)
    scene.uses(20)
    scene.uses(10, uid="VSRV-9")
    assert scene.sync().code is ExitCode.OK
    scene.uses(8)
    scene.hq.add(
        reading(
            [*devices(10, prefix="VSRV-9"), *devices(20, prefix="VSRV-1")[8:]],
            of=tenant("Tenant VSRV-9", "VSRV-9"),
        )
    )
    for _ in range(4):
        day = scene.sync()
        assert (hold(day, "Contoso").guard, hold(day).guard) == ("decrease", WITH)
        assert held(scene) == (20, 10)
    scene.sync(day.client("Contoso").plan_id)
    assert held(scene) == (8, 22)


def test_devices_of_a_tenant_that_cannot_be_read_are_known_where_they_appear(scene):
    scene.cw.agreement(LAB.company, LAB.agreement)
    scene.bill(COMPANY, LAB)
    scene.uses(20)
    scene.uses(10, uid="VSRV-9")
    scene.sync()
    scene.hq.answers[T1] = Incomplete("Contoso: the list ended early.")
    scene.hq.add(
        reading(
            [*devices(10, prefix="VSRV-9"), *devices(3, prefix="VSRV-1")],
            of=tenant("Tenant VSRV-9", "VSRV-9"),
        )
    )
    assert hold(scene.sync()).guard == "elsewhere"
    assert held(scene) == (20, 10)


def upgraded(scene):
    """Contoso was billed for 20 devices of one application; they have the other one's licence."""
    edr = "Kaspersky Next EDR Optimum"
    scene.mapping = mapping(ALL_ROW, ProductRow(edr, "cw", {Category.ALL: "1300"}))
    scene.uses(20)
    assert scene.sync().code is ExitCode.OK
    scene.uses(20, keys=[key(name=edr)])
    assert [line.hold.guard for line in scene.sync().client().lines] == ["to-zero", WITH]
    return scene


def test_devices_are_billed_once_also_where_a_hold_is_older_than_what_is_kept(scene):
    """Nobody can tell any more where the devices went: whatever bills their tenant waits."""
    upgraded(scene)
    scene.clock.sleep(8 * 86400)
    scene.uses(20, keys=[key(name="Kaspersky Next EDR Optimum")])
    scene.journal.prune(scene.clock.now())
    for _ in range(2):
        day = scene.sync()
        assert [line.hold.guard for line in day.client().lines] == ["to-zero", WITH]
        assert scene.cw.quantities() == {"1200": 20}
    scene.sync(day.client().plan_id)
    assert scene.cw.quantities() == {"1200": 0, "1300": 20}


def test_a_hold_that_stays_open_makes_nobody_else_wait_for_what_moved_since(scene):
    """Lab changed its licences and was billed for it, after the night that Contoso waits from."""
    edr = "Kaspersky Next EDR Optimum"
    scene.cw.agreement(LAB.company, LAB.agreement)
    scene.bill(COMPANY, LAB)
    scene.uses(41, uid="VSRV-9")
    scene.mapping = mapping(
        ALL_ROW, ProductRow(edr, "cw", {Category.ALL: "1300"}), companies=(COMPANY, LAB)
    )
    scene.uses(20)
    scene.sync()

    def lab(advanced, new=0):
        pcs = [*devices(10 + advanced, prefix="VSRV-9"), *devices(new, prefix="new")]
        rows = [row(pc.id, "K1" if 10 <= n < 10 + advanced else "K2") for n, pc in enumerate(pcs)]
        scene.hq.add(
            reading(pcs, rows, [key(), key("K2", edr)], of=tenant("Tenant VSRV-9", "VSRV-9"))
        )

    lab(31)
    scene.uses(0)
    assert hold(scene.sync(), "Contoso").guard == "to-zero"
    assert scene.cw.quantities(LAB.agreement) == {"1200": 31, "1300": 10}
    scene.guards = GuardRules()
    lab(11, new=1)
    day = scene.sync()
    assert [line.hold.guard if line.hold else None for line in day.client("Lab").lines] == [
        "decrease",
        None,
    ]
    assert scene.cw.quantities(LAB.agreement) == {"1200": 31, "1300": 11}


def used(number, of=T1, prefix="", servers=0):
    """What a tenant used, with and without its evidence."""
    some = [
        *(device(f"{prefix or of.tenant}-{n}") for n in range(number)),
        *(device(f"{prefix or of.tenant}-s{n}", SERVER_2022) for n in range(servers)),
    ]
    return count_tenant(reading(some, of=tenant(of.tenant, of.tenant)), counting())


class Past:
    """Readings by run, and what was asked for."""

    def __init__(self, runs):
        self.runs = runs
        self.asked = []

    def __call__(self, run_id, tenants):
        self.asked.append((run_id, tenants))
        found = {}
        for number in sorted(self.runs):
            if run_id is None or number <= run_id:
                found |= {one.tenant.ref: PackedUsage.of(one) for one in self.runs[number]}
        return {ref: one for ref, one in found.items() if tenants is None or ref in tenants}


def since(past, *today):
    numbers = {one.tenant.ref: without_evidence(one) for one in today}
    return Since(past, numbers, {one.tenant.ref: PackedUsage.of(one) for one in today})


def proven(run, line_id="301", tenants=(T1,), **more):
    return fact("1200", 20, line_id, tenants=tenants, proven=run, **more)


def plan_of(*lines):
    return [ready(COMPANY, *lines)]


FALL = planned(20, 8, line_id="301", application=KES)
RISE = planned(10, 22, "1201", line_id="302", application=KES)


def test_a_line_billed_the_pools_of_the_night_in_which_it_was_proven():
    past = Past({1: [used(5), used(0, T2, servers=3)], 2: [used(0), used(4, T2)]})
    one, two = proven(1, tenants=(T1, T2)), proven(2, "302", tenants=(T1, T2))
    workstations = (Category.WINDOWS_WORKSTATIONS,)
    some = replace(one, line_id="303", categories=workstations)
    billed = since(past, used(9), used(9, T2)).billed([one, two, some], [KES, "Mail"])
    assert billed == {
        one: {Pool(T1, KES): 5, Pool(T2, KES): 3},
        two: {Pool(T2, KES): 4},
        some: {Pool(T1, KES): 5},
    }
    assert sorted(run for run, _ in past.asked) == [1, 2]


def test_a_line_whose_reading_is_not_kept_any_more_may_have_billed_every_tenant():
    one = proven(1, tenants=(T1, T2))
    everything = {Pool(T1, KES): 1, Pool(T2, KES): 1}
    here = used(9), used(0, T2)
    assert since(Past({}), *here).billed([one], ()) == {one: everything}
    both = [KES, "Mail"]
    assert since(Past({}), *here).billed([one], both) == {
        one: everything | dict.fromkeys(pools("VSRV-1 VSRV-2", "Mail"), 1)
    }
    past = Past({1: [used(5)]})
    more = {Pool(T1, KES): 5, Pool(T2, "Mail"): 1}
    assert since(past, *here).billed([one], both) == {one: everything | more}


def test_an_unchanged_reading_is_not_unpacked(monkeypatch):
    past = Past({1: [used(5)]})
    compared = since(past, used(5))
    monkeypatch.setattr(PackedUsage, "whole", pytest.fail)
    assert compared.billed([proven(1)], [KES]) == {proven(1): {Pool(T1, KES): 5}}
    assert compared.moves(plan_of(FALL, RISE), [proven(1)]) == {}


def test_moves_are_since_the_run_in_which_a_falling_line_was_proven():
    past = Past({1: [used(20), used(0, T2)], 3: [used(8), used(12, T2, "VSRV-1x")]})
    here = [
        used(8),
        count_tenant(
            reading([device(f"VSRV-1-{n}") for n in range(8, 20)], of=tenant("VSRV-2", "VSRV-2")),
            counting(),
        ),
    ]
    moved = {(Pool(T1, KES), Pool(T2, KES)): 12}
    assert since(past, *here).moves(plan_of(FALL, RISE), [proven(1)]) == moved
    assert since(past, *here).moves(plan_of(FALL, RISE), [proven(3)]) == {}
    both = [proven(3), proven(1, "303")]
    assert since(past, *here).moves(plan_of(FALL, RISE), both) == moved


def test_where_nothing_changes_nobody_asks_where_devices_came_from():
    past = Past({1: [used(20)]})
    same = replace(FALL, action=Action.NONE, after=20)
    assert since(past, used(8)).moves(plan_of(same), [proven(1)]) == {}
    assert past.asked == []


def test_where_nothing_changes_and_one_line_is_not_planned_devices_are_followed():
    """What changes its place today must not count as proven while the other line may bill it."""
    past = Past({1: [used(20)]})
    same = replace(FALL, action=Action.NONE, after=20)
    since(past, used(8)).moves(plan_of(same), [proven(1)], [proven(1, "303")])
    assert past.asked


def test_a_name_that_left_a_tenant_before_that_was_read_for_the_last_time_is_followed():
    """Three devices were installed anew in T2 while T1 was still read; today it is not."""

    def named(*names, of):
        devices = [replace(device(f"{of.name}-{name}"), name=name) for name in names]
        return count_tenant(reading(devices, of=of), counting())

    one, two = tenant("Contoso", "VSRV-1"), tenant("VSRV-2", "VSRV-2")
    first = [named("A", "B", "C", of=one), named("D", of=two)]
    here = named("A", "B", "D", of=two)
    gone = Past({1: first, 2: [named("C", of=one), here]})
    moved = {(Pool(T1, KES), Pool(T2, KES)): 2}
    assert since(gone, here).moves(plan_of(FALL, RISE), [proven(1)]) == moved
    still = Past({1: first})
    assert since(still, here).moves(plan_of(FALL, RISE), [proven(1)]) == {}


def test_a_tenant_that_was_not_read_today_counts_where_a_line_of_it_is_unknown():
    past = Past({1: [used(20), used(0, T2)]})
    here = count_tenant(reading([device("VSRV-1-3")], of=tenant("VSRV-2", "VSRV-2")), counting())
    found = since(past, here).moves(plan_of(RISE), [proven(1)])
    assert found == {(Pool(T1, KES), Pool(T2, KES)): 1}
    assert since(past, here).moves(plan_of(RISE), [proven(1, tenants=(T9,))]) == {}


@pytest.mark.parametrize(
    "name", ["VSRV-1-3", 'a "quoted" id', '"', "ü\\", "VSRV-1/its own", 'VSRV-1/"ü"']
)
def test_in_a_run_for_one_client_of_many_only_who_had_its_new_devices_is_opened(monkeypatch, name):
    others = [TenantRef("hq", f"VSRV-{n}") for n in range(10, 30)]
    had = count_tenant(reading([device(name)], of=tenant("VSRV-1", "VSRV-1")), counting())
    past = Past({1: [had, used(2, T2), *(used(5, one) for one in others)]})
    here = name.replace("VSRV-1/", "VSRV-2/")
    now = [device("VSRV-2-0"), device("VSRV-2-1"), device(here)]
    here = count_tenant(reading(now, of=tenant("VSRV-2", "VSRV-2")), counting())
    opened, each = [], waiting._each

    def opening(readings, *more):
        for one in readings:
            opened.append(one.tenant)
            yield from each([one], *more)

    monkeypatch.setattr(waiting, "_each", opening)
    everybody = [proven(1), *(proven(1, f"4{n}", tenants=(x,)) for n, x in enumerate(others))]

    moves = since(past, here).moves(plan_of(RISE), everybody, everybody)

    assert moves == {(Pool(T1, KES), Pool(T2, KES)): 1}
    assert {*opened} == {T1, T2}
    opened.clear()
    assert since(past, used(2, T2)).moves(plan_of(RISE), everybody, everybody) == {}
    assert opened == []


def test_a_line_that_is_not_settled_may_bill_what_its_client_has_now():
    earlier = Proof(1, KES, (Category.ALL,), (T1,))
    one = proven(2, tenants=(T1, T2), earlier=(earlier,))
    past = Past({1: [used(5), used(3, T2)], 2: [used(5), used(4, T2)]})
    found = since(past, used(5), used(3, T2)).billed([one], [KES])
    assert found == {one: {Pool(T1, KES): 5, Pool(T2, KES): 0}}


def test_what_moved_since_any_of_its_proofs_counts():
    earlier = Proof(1, KES, (Category.ALL,), (T1,))
    one = proven(2, tenants=(T2,), earlier=(earlier,))
    past = Past({1: [used(5)], 2: [used(5), used(0, T9), used(4, T2, "d")]})
    here = used(5), used(3, T9, "d"), used(0, T2)
    assert since(past, *here).moves(plan_of(FALL), [one]) == {(Pool(T2, KES), Pool(T9, KES)): 3}
    settled = replace(one, earlier=(), proven=1, tenants=(T1,))
    assert since(past, *here).moves(plan_of(FALL), [settled]) == {}


def test_a_damaged_reading_counts_as_one_that_is_not_kept():
    class Damaged(Past):
        def __call__(self, run_id, tenants):
            found = super().__call__(run_id, tenants)
            return {ref: replace(one, fingerprint=b"", body=b"?") for ref, one in found.items()}

    one, here = proven(1, tenants=(T1, T2)), (used(9), used(0, T2))
    past = {1: [used(5), used(0, T2)]}
    damaged, missing = since(Damaged(past), *here), since(Past({}), *here)
    assert damaged.billed([one], [KES, "Mail"]) == missing.billed([one], [KES, "Mail"])
    assert damaged.moves(plan_of(FALL, RISE), [one]) == {}


# --- devices that are counted in two places -----------------------------------------------------


def test_what_two_clients_count_in_one_run_is_not_billed_on_both(scene):
    """Nine devices move while the run reads: each of the two servers shows them."""
    scene.cw.agreement(LAB.company, LAB.agreement)
    scene.bill(COMPANY, LAB)
    scene.uses(10)
    scene.uses(10, uid="VSRV-9")
    scene.sync()
    both = [*devices(10, prefix="VSRV-9"), *devices(9, prefix="VSRV-1")]
    scene.hq.add(reading(both, of=tenant("Lab", "VSRV-9")))
    day = scene.sync()
    assert held(scene) == (10, 10)
    assert (hold(day).guard, day.code) == ("counted-twice", ExitCode.WITHHELD)
    assert hold(day).reason.startswith("9 of its devices are counted in hq:VSRV-1 of Contoso too")
    (note,) = day.client("Contoso").notes
    assert note.startswith(f"{KES}: 9 of its devices are counted in hq:VSRV-9 of Lab too; ")
    scene.uses(1)
    scene.hq.add(reading([*devices(10, prefix="VSRV-9"), *both[11:]], of=tenant("Lab", "VSRV-9")))
    assert scene.sync().code is ExitCode.OK
    assert held(scene) == (1, 18)


def test_one_client_with_the_same_devices_in_two_sources_is_asked_about(scene):
    east = TenantRef("east", "VSRV-1")
    scene.add_source("east").add(
        reading(devices(3, prefix="VSRV-1"), of=tenant("C", "VSRV-1", "east"))
    )
    scene.bill(replace(COMPANY, tenants=(T1, east)))
    scene.uses(3)
    day = scene.sync()
    assert (hold(day, "Contoso").guard, held(scene)[0]) == ("counted-twice", 0)
