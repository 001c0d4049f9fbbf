"""Who waits for whom: pools, what joins them, and the least set of holds that follows."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ExitCode
from kisi.model import (
    SPLIT,
    WITH,
    ApplicationUsage,
    Category,
    Failure,
    Hold,
    LineSlot,
    Outcome,
    Plan,
    Pool,
    ProductRow,
    TenantUsage,
    Unit,
)
from kisi.planning import (
    accepted_keys,
    failed,
    pools_of,
    release,
    settled,
    spread,
    with_commands,
    with_ids,
    with_lines,
)
from kisi.planning.order import wanted_pools
from tests.unit.build import NOW, mapping, tenant
from tests.unit.fakes import planned as line_of
from tests.unit.planning.arranged import (
    arranged,
    arrangement,
    billing,
    client,
    owned,
    pools,
    ready,
    refs,
)

W, S, N = SPLIT
FAILURE = Failure("source-incomplete", "it broke off", "run it again", ExitCode.SOURCE)


def planned(before, after, line_id, agreement, application="A", guard="", **more):
    """A line whose product has the name of its line."""
    hold = Hold(guard, f"because of {guard}", "If that is right: {accept}") if guard else None
    line = line_of(
        before,
        after,
        f"p{line_id}",
        line_id=None if before is None else line_id,
        agreement=agreement,
        application=application,
        hold=hold,
    )
    return replace(line, **more)


def guards(plan):
    """The guard of each line that is held, by the product's number."""
    lines = [line for company in plan.companies for line in company.lines]
    return {line.product[1:]: line.hold.guard for line in lines if line.hold is not None}


def waits(found):
    """Which products each rising one waits for."""
    return {
        slot.product[1:]: {other.product[1:] for other in slots}
        for slot, slots in found.waits.items()
    }


def elsewhere(found):
    """Which lines that are not planned each rising product waits for."""
    return {
        slot.product[1:]: [one.line_id for one in facts] for slot, facts in found.elsewhere.items()
    }


# --- the seven worked cases -----------------------------------------------------------------------


def moved_tenant(before=55, after=5, guard="", proven="t1 t2"):
    """t2 went from Contoso to Lab."""
    contoso, lab = client("Contoso", "t1"), client("Lab", "t2 t9")
    fall, rise = (
        planned(before, after, "301", "Contoso", guard=guard),
        planned(200, 250, "401", "Lab"),
    )
    facts = owned(fall, proven), owned(rise, "t9")
    return (ready(contoso, fall), ready(lab, rise)), facts


def test_1_who_has_a_tenant_now_is_written_after_the_line_that_falls_without_it():
    plans, facts = moved_tenant()
    assert waits(arrangement(*plans, facts=facts)) == {"401": {"301"}}
    assert guards(spread(arranged(*plans, facts=facts))) == {}


def test_1_and_waits_with_it_where_that_one_is_held():
    plans, facts = moved_tenant(guard="decrease")
    assert guards(spread(arranged(*plans, facts=facts))) == {"301": "decrease", "401": WITH}


@pytest.mark.parametrize(("before", "after"), [(55, 55), (55, 60), (54.5, 55)])
def test_1_nobody_waits_for_a_line_that_does_not_fall(before, after):
    plans, facts = moved_tenant(before, after, guard="increase" if after > before else "")
    assert waits(arrangement(*plans, facts=facts)) == {}
    assert WITH not in guards(spread(arranged(*plans, facts=facts))).values()


@pytest.mark.parametrize(("before", "after"), [(200, 201), (249.5, 250), (None, 1)])
def test_1_the_least_rise_waits(before, after):
    (contoso, lab), (old, _) = moved_tenant(guard="decrease")
    rise = ready(lab.company, planned(before, after, "401", "Lab"))
    plan = arranged(contoso, rise, facts=[old])
    assert waits(plan.arrangement) == {"401": {"301"}}
    assert guards(spread(plan)) == {"301": "decrease", "401": WITH}
    found = arrangement(rise, unknown=[old], by=billing(contoso, lab))
    assert elsewhere(found) == {"401": ["301"]}


def test_1_once_it_was_proven_without_the_tenant_nobody_waits():
    plans, facts = moved_tenant(guard="decrease", proven="t1")
    assert guards(spread(arranged(*plans, facts=facts))) == {"301": "decrease"}


def test_1_a_client_that_is_not_planned_or_failed_may_still_be_billed_for_it():
    (contoso, lab), (old, new) = moved_tenant()
    by = billing(contoso, lab)
    for plans in [(lab,), (failed(contoso.company, FAILURE), lab)]:
        found = arrangement(*plans, facts=[new], unknown=[old], by=by)
        assert elsewhere(found) == {"401": ["301"]}
        assert found.elsewhere[lab.lines[0].slot] == (old,)
        assert waits(found) == {}


def test_1_a_client_that_fails_itself_waits_for_nothing():
    (contoso, lab), (old, _new) = moved_tenant()
    found = arrangement(contoso, failed(lab.company, FAILURE), facts=[old])
    assert (waits(found), elsewhere(found)) == ({}, {})


def test_1_a_corrected_company_id_hides_no_line():
    (contoso, lab), (old, new) = moved_tenant()
    corrected = replace(contoso, company=replace(contoso.company, company="251"))
    found = arrangement(corrected, lab, facts=[replace(old, company="250"), new])
    assert waits(found) == {"401": {"301"}}


def by_category(first="", second=""):
    """North had t1 and South t2, and they have exchanged them."""
    one, other = client("North", "t2"), client("South", "t1")
    lines = [
        planned(100, 50, "1", one.name, "K", first, categories=(W,)),
        planned(50, 100, "2", one.name, "K", categories=(S,)),
        planned(50, 100, "3", other.name, "K", categories=(W,)),
        planned(100, 50, "4", other.name, "K", second, categories=(S,)),
    ]
    facts = [owned(line, "t1" if line.agreement == one.name else "t2") for line in lines]
    return (ready(one, *lines[:2]), ready(other, *lines[2:])), facts


def test_2_two_clients_that_exchange_tenants_by_category_do_not_wait_for_ever():
    plans, facts = by_category()
    assert waits(arrangement(*plans, facts=facts)) == {"2": {"1", "4"}, "3": {"1", "4"}}
    assert guards(spread(arranged(*plans, facts=facts))) == {}


def test_2_and_end_with_both_ids_where_both_are_held():
    plans, facts = by_category("decrease", "run")
    plan = with_ids(spread(arranged(*plans, facts=facts)), {})
    assert guards(plan) == {"1": "decrease", "2": WITH, "3": WITH, "4": "run"}
    north, south = (company.plan_id for company in plan.companies)
    for ids, left in [
        ([north], {"1": WITH, "2": WITH, "3": WITH, "4": "run"}),
        ([south], {"1": "decrease", "2": WITH, "3": WITH, "4": WITH}),
        ([south, north], {}),
    ]:
        assert guards(release(plan, keys_of(plan, ids), {})) == left


def keys_of(plan, ids):
    return {key for found in accepted_keys(plan, ids).values() for key in found}


def replaced_licences(moves, *more, guard="to-zero"):
    old, new = planned(100, 0, "1", "C", "A", guard), planned(None, 100, "2", "C", "B")
    return arranged(
        ready(client("C", "t1"), old, new, *more), facts=[owned(old, "t1")], moves=moves
    )


A_TO_B = {(Pool(*refs("t1"), "A"), Pool(*refs("t1"), "B")): 100}


def test_3_devices_that_take_another_licence_are_never_billed_for_both():
    assert guards(spread(replaced_licences(A_TO_B))) == {"1": "to-zero", "2": WITH}
    assert replaced_licences(A_TO_B, guard="").arrangement.waits == {
        LineSlot("cw", "C", "p2"): {LineSlot("cw", "C", "p1")}
    }


def test_3_applications_that_have_nothing_to_do_with_each_other_are_not_taken_along():
    assert guards(spread(replaced_licences({}))) == {"1": "to-zero"}
    third = planned(5, 6, "3", "C", "Third")
    assert guards(spread(replaced_licences(A_TO_B, third))) == {"1": "to-zero", "2": WITH}


def test_4_another_product_for_the_same_application_waits_for_the_orphan():
    orphan = planned(90, 0, "1", "C", guard="orphaned", orphaned=True)
    create = planned(None, 90, "2", "C")
    plan = arranged(ready(client("C", "t1"), orphan, create), facts=[owned(orphan, "t1")])
    assert guards(spread(plan)) == {"1": "orphaned", "2": WITH}


def unwanted(by=None, guard="orphaned"):
    """Nothing bills application X any more, which t1 had; C bills Y of t1, D bills Y of t9."""
    orphan = planned(90, 0, "1", "C", "X", guard, orphaned=True)
    rise, other = planned(10, 50, "2", "C", "Y"), planned(10, 50, "3", "D", "Y")
    plans = ready(client("C", "t1"), orphan, rise), ready(client("D", "t9"), other)
    facts = owned(orphan, "t1"), owned(rise, "t1"), owned(other, "t9")
    return arranged(*plans, facts=facts, by=by)


def test_5_whatever_bills_the_tenant_more_waits_for_what_nothing_bills_any_more():
    assert guards(spread(unwanted())) == {"1": "orphaned", "2": WITH}
    assert {
        slot.product: len(slots) for slot, slots in unwanted(guard="").arrangement.waits.items()
    } == {"p2": 1}


def test_5_but_not_where_some_row_of_the_whole_mapping_bills_it():
    plan = unwanted()
    elsewhere_billed = billing(*plan.companies, apps=["X", "Y"])
    assert guards(spread(unwanted(elsewhere_billed))) == {"1": "orphaned"}


def test_6_a_row_that_becomes_two_clients_waits_in_both_for_its_old_line():
    first, second = client("North", "t1"), client("South", "t2")
    orphan = planned(90, 0, "1", "Old", guard="orphaned", orphaned=True)
    a, b = planned(None, 40, "2", "North"), planned(None, 50, "3", "South")
    plan = arranged(ready(first, orphan, a), ready(second, b), facts=[owned(orphan, "t1 t2")])
    assert guards(spread(plan)) == {"1": "orphaned", "2": WITH, "3": WITH}
    accepted = with_lines(plan, lambda line: replace(line, hold=None))
    assert guards(spread(accepted)) == {}
    assert {
        slot.product: {one.product for one in many} for slot, many in plan.arrangement.waits.items()
    } == {
        "p2": {"p1"},
        "p3": {"p1"},
    }


def test_7_a_line_given_to_another_application_has_a_stake_in_both():
    given_away = planned(100, 90, "301", "C", "B", "decrease")
    other = planned(10, 20, "302", "C", "A")
    facts = owned(given_away, "t1", "A"), owned(other, "t1", "A")
    plan = arranged(ready(client("C", "t1"), given_away, other), facts=facts)
    assert plan.arrangement.pools[given_away.slot] == plan.arrangement.pools[other.slot]
    assert guards(spread(plan)) == {"301": "decrease", "302": WITH}


# --- stakes ---------------------------------------------------------------------------------------


def usage(name, **applications):
    """A tenant that uses `A=(workstations, servers)` and so on; a number is a total alone."""
    used = tuple(
        ApplicationUsage(
            application=app,
            unit=Unit.DEVICE,
            quantities=(
                {Category.ALL: number}
                if isinstance(number, int)
                else dict(zip((W, S), number, strict=True))
            ),
            rows=0,
            counted_rows=0,
            left_out={},
        )
        for app, number in applications.items()
    )
    return TenantUsage(tenant(name, name), NOW, used)


def counted(*usages):
    return {one.tenant.ref: one for one in usages}


def test_a_pool_counts_where_a_device_of_the_lines_categories_was_counted():
    used = counted(usage("t1", A=(5, 0)), usage("t2", A=(0, 3)), usage("t3", B=(9, 9)))
    tenants = refs("t1 t2 t3")
    assert pools_of(tenants, "A", (W,), used) == {Pool(tenants[0], "A"): 5}
    assert pools_of(tenants, "A", (S,), used) == {Pool(tenants[1], "A"): 3}
    assert sum(pools_of(tenants, "A", (W, S), used).values()) == 8
    assert set(pools_of(tenants, "A", (Category.ALL,), used)) == pools("t1 t2", "A")


def test_a_total_may_be_of_any_category():
    used = counted(usage("t1", A=7), usage("t2", A=0))
    assert pools_of(refs("t1 t2"), "A", (W,), used) == dict.fromkeys(pools("t1", "A"), 7)


def test_a_tenant_that_was_not_read_may_have_anything():
    found = pools_of(refs("t1 t2"), "A", (W,), counted(usage("t1", A=(0, 5))))
    assert found == dict.fromkeys(pools("t2", "A"), 1)


def test_where_nothing_is_counted_at_all_every_tenant_may_be_meant():
    found = pools_of(refs("t1 t2"), "A", (W,), counted(usage("t1"), usage("t2")))
    assert found == dict.fromkeys(pools("t1 t2", "A"), 1)


def test_a_line_that_bills_nothing_from_now_on_has_no_stake_in_what_its_client_has_now():
    """Contoso has t2 now, and has none of it on its line."""
    plans, facts = moved_tenant(before=5, after=0, guard="to-zero", proven="t1")
    took = replace(plans[0], company=client("Contoso", "t1 t2"))
    assert guards(spread(arranged(took, plans[1], facts=facts))) == {"301": "to-zero"}


def test_a_line_that_kisi_never_wrote_may_bill_all_devices_of_its_application():
    """Nobody knows what a person counted in it."""
    adopt = planned(90, 60, "1", "C", guard="adopt", adopt=True)
    rise = planned(10, 20, "2", "D")
    both = counted(usage("t1", A=(5, 0)), usage("t2"))
    plans = ready(client("C", "t1 t2"), adopt), ready(client("D", "t2"), rise)
    plan = arranged(*plans, facts=[owned(rise, "t2")], now=both)
    assert plan.arrangement.pools[adopt.slot] == pools("t1 t2", "A")
    assert guards(spread(plan)) == {"1": "adopt", "2": WITH}


def test_the_tenants_of_a_line_that_kisi_never_wrote_are_not_joined():
    adopt = planned(90, 6, "1", "C", guard="adopt", adopt=True)
    used = counted(usage("t1", A=(1, 0)), usage("t2", A=(5, 0)))
    found = arrangement(ready(client("C", "t1 t2"), adopt), now=used)
    assert found.pools == {adopt.slot: pools("t1 t2", "A")}


def test_a_line_that_a_person_gave_another_product_is_no_line_that_kisi_proved():
    """Line 1 was kisi's for application A of t9; a person made it one of B, of which t1 has some."""
    given = planned(90, 60, "1", "C", "B", guard="adopt", adopt=True)
    before = replace(owned(given, "t9", "A"), product="of A")
    plan = arranged(ready(client("C", "t1"), given), facts=[before])
    assert plan.arrangement.pools == {given.slot: pools("t1", "B")}


def test_a_new_line_has_a_stake_only_in_what_it_is_to_bill():
    create = planned(None, 5, "1", "C", categories=(W,))
    used = counted(usage("t1", A=(5, 0)), usage("t2", A=(0, 3)))
    assert arranged(ready(client("C", "t1 t2"), create), now=used).arrangement.pools == {
        create.slot: pools("t1", "A")
    }


def test_a_line_at_0_has_no_stake_in_what_it_billed_earlier():
    rise = planned(0, 5, "1", "C")
    found = arrangement(ready(client("C", "t2"), rise), facts=[owned(rise, "t1")])
    assert found.pools == {rise.slot: pools("t2", "A")}


def test_a_new_line_of_one_device_has_a_stake_in_its_pool_alone():
    create = planned(None, 1, "1", "C")
    used = counted(usage("t1", A=(1, 0)), usage("t2"))
    assert arrangement(ready(client("C", "t1 t2"), create), now=used).pools == {
        create.slot: pools("t1", "A")
    }


def test_two_lines_of_one_product_have_the_pools_of_both():
    fall, rise = planned(9, 0, "1", "C"), planned(5, 6, "2", "C", product="p1")
    facts = owned(fall, "t1"), owned(rise, "t2")
    used = counted(usage("t2", A=(6, 0)))
    for lines in [(fall, rise), (rise, fall)]:
        found = arrangement(ready(client("C", "t2"), *lines), facts=facts, now=used)
        assert found.pools == {fall.slot: pools("t1 t2", "A")}


def test_a_line_that_lost_devices_of_one_tenant_joins_it_with_none_of_which_it_bills_as_many():
    """One device of t1 is gone; the one of t2 was there before."""
    fall = planned(2, 1, "1", "C", guard="decrease")
    used = counted(usage("t1", A=(0, 0)), usage("t2", A=(1, 0)))
    found = arrangement(ready(client("C", "t1 t2"), fall), facts=[owned(fall, "t1 t2")], now=used)
    assert found.pools == {fall.slot: pools("t1 t2", "A")}


def test_a_line_that_does_not_change_has_to_do_with_nobody():
    same = planned(55, 55, "301", "Contoso")
    (_, lab), (old, new) = moved_tenant()
    found = arrangement(ready(client("Contoso", "t1"), same), lab, facts=[old, new])
    assert waits(found) == {}
    assert found.waits == {}


def ring(lab: int, t3: int, guard: str = "decrease"):
    """Lab gives t3 to Fabrikam and gets t2 from Contoso, whose line is on hold."""
    old = planned(50, 10, "301", "Contoso", guard=guard)
    through = planned(t3, lab, "302", "Lab")
    last = planned(100, 100 + t3, "303", "Fabrikam")
    facts = owned(old, "t1 t2"), owned(through, "t3"), owned(last, "t4")
    return (
        arranged(
            ready(client("Contoso", "t1"), old),
            ready(client("Lab", "t2"), through),
            ready(client("Fabrikam", "t4 t3"), last),
            facts=facts,
        ),
        (old, through, last),
    )


@pytest.mark.parametrize(("lab", "t3"), [(40, 40), (40, 50), (40, 20)])
def test_a_line_that_changes_its_tenants_passes_the_wait_on_whatever_its_number(lab, t3):
    plan, (_, _, last) = ring(lab, t3)
    assert guards(spread(plan))["303"] == WITH
    assert last.slot in plan.arrangement.waits


def test_what_a_line_bills_is_settled_once_nothing_in_its_pools_is_left_open():
    plan, (old, through, last) = ring(40, 40, guard="")

    def after(outcome):
        return with_lines(
            plan, lambda line: replace(line, outcome=outcome) if line.slot == old.slot else line
        )

    assert settled(after(Outcome.APPLIED)) == {old.slot, through.slot, last.slot}
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN, Outcome.HELD, None):
        assert settled(after(outcome)) == {old.slot}  # its own fall; nobody else's


@pytest.mark.parametrize("more", [1, 50])
def test_a_line_that_rose_beside_one_that_did_not_fall_is_settled_and_one_that_did_not_is_not(more):
    """A person has accepted the rise alone."""
    (contoso, lab), facts = moved_tenant(guard="decrease")
    rise = replace(lab.lines[0], after=200 + more)
    for outcome, lines in [
        (Outcome.APPLIED, {contoso.lines[0].slot, rise.slot}),
        (Outcome.FAILED, {contoso.lines[0].slot}),
    ]:
        written = replace(lab, lines=(replace(rise, outcome=outcome),))
        assert settled(arranged(contoso, written, facts=facts)) == lines


def test_a_line_that_fell_is_not_settled_beside_one_that_did_not():
    one, other = planned(9, 5, "1", "C"), planned(9, 5, "2", "D")
    lines = replace(one, outcome=Outcome.APPLIED), replace(other, outcome=Outcome.FAILED)
    plans = ready(client("C", "t1"), lines[0]), ready(client("D", "t2"), lines[1])
    plan = arranged(*plans, facts=[owned(one, "t1"), owned(other, "t1 t2")])
    assert settled(plan) == {other.slot}


def test_a_line_is_not_settled_beside_one_of_which_nothing_is_planned():
    (contoso, lab), (old, new) = moved_tenant()
    by, far = billing(contoso, lab), planned(9, 8, "501", "Third")
    rise, fall = lab.lines[0], replace(lab.lines[0], after=190)
    third = ready(client("Third", "t5"), far)
    facts = [new, owned(far, "t5")]
    for line in (rise, fall):
        plan = arranged(replace(lab, lines=(line,)), third, facts=facts, unknown=[old], by=by)
        assert settled(plan) == {far.slot}


def test_a_line_that_has_to_do_with_nobody_is_settled():
    same = planned(55, 55, "302", "Contoso")
    (contoso, lab), facts = moved_tenant(guard="decrease")
    beside = replace(contoso, lines=(*contoso.lines, same))
    assert settled(arranged(beside, lab, facts=facts)) == {contoso.lines[0].slot, same.slot}
    assert settled(Plan((beside,))) == {contoso.lines[0].slot, same.slot}


def test_the_fall_of_one_category_is_waited_for_whatever_the_others_do():
    """The application as a whole bills as much as before; the devices that left are in the fall."""
    fall, rise = planned(55, 5, "301", "Contoso"), planned(10, 60, "302", "Contoso")
    (_, lab), (_, new) = moved_tenant()
    for application in ("A", "Another"):
        beside = replace(rise, application=application)
        contoso = ready(client("Contoso", "t1"), fall, beside)
        facts = owned(fall, "t1 t2"), owned(beside, "t1"), new
        assert waits(arrangement(contoso, lab, facts=facts))["401"] == {"301"}


# --- pools that are joined ------------------------------------------------------------------------


def test_joined_pools_are_transitive_also_where_the_one_between_does_not_change():
    """Ten devices went from A to B, and ten others from B to C."""
    old, new = planned(10, 0, "1", "C", "A", "to-zero"), planned(None, 10, "3", "C", "C")
    between = planned(20, 20, "2", "C", "B")
    a, b, c = (Pool(*refs("t1"), name) for name in "ABC")
    facts = [owned(old, "t1"), owned(between, "t1")]
    plans = ready(client("C", "t1"), old, between, new)
    plan = arranged(plans, facts=facts, moves={(a, b): 10, (b, c): 10})
    assert guards(spread(plan)) == {"1": "to-zero", "3": WITH}
    assert waits(arrangement(plans, facts=facts, moves={(a, b): 10, (b, c): 10})) == {"3": {"1"}}
    assert guards(spread(arranged(plans, facts=facts, moves={(a, b): 10}))) == {"1": "to-zero"}


def test_a_device_that_changed_its_tenant_and_its_licence_joins_the_pools_of_two_clients():
    fall, rise = planned(50, 0, "1", "C", "A", "to-zero"), planned(10, 60, "2", "D", "B")
    plans = ready(client("C", "t1"), fall), ready(client("D", "t2"), rise)
    facts = owned(fall, "t1"), owned(rise, "t2")
    moves = {(Pool(*refs("t1"), "A"), Pool(*refs("t2"), "B")): 50}
    by = billing(*plans, apps=["A", "B"])
    assert guards(spread(arranged(*plans, facts=facts, moves=moves, by=by))) == {
        "1": "to-zero",
        "2": WITH,
    }
    assert guards(spread(arranged(*plans, facts=facts, by=by))) == {"1": "to-zero"}


def test_devices_that_went_where_nobody_bills_them_make_nobody_wait():
    fall, rise = planned(50, 0, "1", "C", "A", "to-zero"), planned(10, 60, "2", "C", "B")
    moves = {(Pool(*refs("t1"), "A"), Pool(*refs("t1"), "Free")): 50}
    plan = arranged(
        ready(client("C", "t1"), fall, rise),
        facts=[owned(fall, "t1"), owned(rise, "t1")],
        moves=moves,
    )
    assert guards(spread(plan)) == {"1": "to-zero"}


def test_what_is_unwanted_of_one_tenant_joins_nothing_of_another():
    orphan = planned(90, 0, "1", "C", "X", "orphaned", orphaned=True)
    rise = planned(10, 50, "2", "C", "Y")
    used = counted(usage("t1", Y=(0, 0)), usage("t2", Y=(50, 0)))
    plans = ready(client("C", "t1 t2"), orphan, rise)
    plan = arranged(plans, facts=[owned(orphan, "t1"), owned(rise, "t2")], now=used)
    assert guards(spread(plan)) == {"1": "orphaned"}


def by_hand(*exceptions):
    """t1 came from Lab, which billed Y of it; Contoso bills A of t1, and what of Y?"""
    contoso, lab = client("Contoso", "t1", exceptions=exceptions), client("Lab", "t9")
    fall, rise = planned(60, 50, "1", "Lab", "Y", "decrease"), planned(10, 20, "2", "Contoso")
    plans = ready(contoso, rise), ready(lab, fall)
    row = ProductRow("A", "cw", {Category.ALL: "A"})
    other = ProductRow("Y", "tp", {Category.ALL: "Y"})
    by = mapping(row, other, companies=(contoso, lab))
    return guards(spread(arranged(*plans, facts=[owned(fall, "t1 t9"), owned(rise, "t1")], by=by)))


def test_what_people_bill_by_hand_is_not_unwanted():
    """Its devices are where they always were, so nobody has to ask where they went."""
    assert by_hand() == {"1": "decrease", "2": WITH}
    assert by_hand(ProductRow("Y", "cw", {}, bill=False)) == {"1": "decrease"}


def test_pools_are_wanted_by_rows_of_clients_that_are_billed():
    on, off = client("On", "t1 t2"), client("Off", "t3", billing=False)
    rows = ProductRow("A", "cw", {Category.ALL: "1"}), ProductRow("B", "tp", {Category.ALL: "2"})
    assert wanted_pools(mapping(*rows, companies=(on, off))) == pools("t1 t2", "A")


# --- lines of which nothing is planned ------------------------------------------------------------


def test_what_falls_does_not_wait_for_a_line_of_which_nothing_is_planned():
    (_, lab), (old, new) = moved_tenant()
    fall = replace(lab.lines[0], after=100)
    found = arrangement(replace(lab, lines=(fall,)), facts=[new], unknown=[old])
    assert elsewhere(found) == {}


def test_every_unplanned_line_is_named_once_in_the_order_of_its_pools():
    rise = planned(10, 50, "9", "New")
    one = owned(planned(20, 0, "1", "Old 1"), "t1 t2")
    two = owned(planned(20, 0, "2", "Old 2"), "t2")
    far = owned(planned(20, 0, "3", "Old 3"), "t7")
    found = arrangement(ready(client("New", "t1 t2"), rise), unknown=[two, far, one])
    assert elsewhere(found) == {"9": ["1", "2"]}


def test_an_unplanned_line_of_what_nothing_bills_any_more_is_waited_for_in_its_tenant():
    rise, far = planned(10, 50, "9", "New", "Y"), planned(10, 50, "8", "Far", "Y")
    old = owned(planned(90, 90, "1", "Old", "X"), "t1")
    plans = ready(client("New", "t1"), rise), ready(client("Far", "t9"), far)
    found = arrangement(*plans, facts=[owned(rise, "t1"), owned(far, "t9")], unknown=[old])
    assert elsewhere(found) == {"9": ["1"]}


def test_an_unplanned_line_of_another_application_is_waited_for_where_devices_came_from_it():
    rise = planned(None, 20, "9", "New", "B")
    old = owned(planned(20, 20, "1", "Old"), "t1")
    plans, by = (
        ready(client("New", "t2"), rise),
        billing(ready(client("Old", "t1")), apps=["A", "B"]),
    )
    moves = {(Pool(*refs("t1"), "A"), Pool(*refs("t2"), "B")): 20}
    assert elsewhere(arrangement(plans, unknown=[old], moves=moves, by=by)) == {"9": ["1"]}
    assert elsewhere(arrangement(plans, unknown=[old], by=by)) == {}


def test_devices_that_went_between_two_lines_are_counted_for_them():
    a, b = (Pool(*refs("t1"), name) for name in "AB")
    old, new = planned(100, 80, "1", "C", "A"), planned(29.5, 30, "2", "C", "B")
    same = planned(4, 4, "3", "C", "B")
    facts = owned(old, "t1"), owned(new, "t1"), owned(same, "t1")
    moves = {(a, b): 20, (b, a): 3}
    found = arrangement(ready(client("C", "t1"), old, new, same), facts=facts, moves=moves)
    assert found.moved == {(old.slot, new.slot): 20}


def test_devices_that_went_between_two_lines_in_several_tenants_are_added():
    old, new = planned(100, 80, "1", "C", "A"), planned(5, 30, "2", "C", "B")
    moves = {(Pool(ref, "A"), Pool(ref, "B")): 7 for ref in refs("t1 t2")}
    facts = owned(old, "t1 t2"), owned(new, "t1 t2")
    found = arrangement(ready(client("C", "t1 t2"), old, new), facts=facts, moves=moves)
    assert found.moved == {(old.slot, new.slot): 14}


# --- the holds that follow ------------------------------------------------------------------------


def test_lines_of_one_client_and_application_wait_together_in_whatever_tenants():
    one = planned(10, 0, "1", "C", guard="to-zero", categories=(W,))
    other = planned(10, 12, "2", "C", categories=(S,))
    used = counted(usage("t1"), usage("t2", A=(0, 12)))
    plan = arranged(
        ready(client("C", "t1 t2"), one, other),
        facts=[owned(one, "t1"), owned(other, "t2")],
        now=used,
    )
    assert not plan.arrangement.pools[one.slot] & plan.arrangement.pools[other.slot]
    assert guards(spread(plan)) == {"1": "to-zero", "2": WITH}


def test_lines_of_one_client_that_share_a_pool_wait_together_whichever_is_held():
    old = planned(100, 80, "1", "C", "A")
    new = planned(None, 600, "2", "C", "B", "create")
    plan = arranged(ready(client("C", "t1"), old, new), facts=[owned(old, "t1")], moves=A_TO_B)
    assert guards(spread(plan)) == {"1": WITH, "2": "create"}


def test_a_fall_waits_for_no_rise_of_another_client():
    """It is billed too little until the next run, never too much."""
    plans, facts = moved_tenant()
    held = replace(plans[1], lines=(planned(200, 250, "401", "Lab", guard="increase"),))
    assert guards(spread(arranged(plans[0], held, facts=facts))) == {"401": "increase"}


CANNOT = Hold("ambiguous", "it is billed elsewhere", "Cancel one.", releasable=False)


def test_what_no_id_releases_takes_nothing_of_its_client_along():
    """It is not for a person to decide here, and the rest is right as it is."""
    cannot = planned(None, 9, "1", "C", hold=CANNOT)
    other = planned(10, 12, "2", "C")
    plan = arranged(ready(client("C", "t1"), cannot, other), facts=[owned(other, "t1")])
    assert guards(spread(plan)) == {"1": "ambiguous"}


def test_but_what_rises_waits_for_a_fall_that_no_id_releases():
    plans, facts = moved_tenant()
    fall = replace(plans[0].lines[0], hold=CANNOT)
    plan = arranged(replace(plans[0], lines=(fall,)), plans[1], facts=facts)
    assert guards(spread(plan)) == {"301": "ambiguous", "401": WITH}


def test_a_plan_that_knows_no_pools_holds_by_application():
    lines = planned(10, 0, "1", "C", guard="to-zero"), planned(10, 12, "2", "C")
    other = planned(10, 12, "3", "C", "B")
    assert guards(spread(Plan((ready(client("C", "t1"), *lines, other),)))) == {
        "1": "to-zero",
        "2": WITH,
    }


def hold(plan, number):
    lines = [line for company in plan.companies for line in company.lines]
    return next(line.hold for line in lines if line.product == f"p{number}")


def test_who_waits_for_another_client_is_told_for_which_line_and_why():
    plans, facts = moved_tenant(guard="decrease")
    found = hold(spread(arranged(*plans, facts=facts)), "401")
    assert found.reason == (
        "waits for line 301 of Contoso (agreement Contoso), A 55 → 5, which must come "
        "down first, and is on hold (decrease)"
    )
    assert found.remedy == "If that is right: {accept}"
    assert (found.releasable, found.key) == (True, "")


def test_who_waits_is_told_the_cause_and_not_the_next_in_the_row():
    """North's line waits with its other category, which waits for South's."""
    plans, facts = by_category(second="decrease")
    plan = spread(arranged(*plans, facts=facts))
    assert guards(plan) == {"1": WITH, "2": WITH, "3": WITH, "4": "decrease"}
    assert all("line 4 of South" in hold(plan, number).reason for number in "12")
    assert hold(plan, "3").reason.startswith(
        "held together with line 4 (windows_servers: decrease)"
    )


def test_a_new_line_that_is_waited_for_is_told_by_its_product():
    fall, new = planned(50, 40, "1", "C", "A"), planned(None, 600, "2", "C", "B", "create")
    rise = planned(10, 20, "3", "D", "A")
    plans = ready(client("C", "t1"), fall, new), ready(client("D", "t2"), rise)
    facts = owned(fall, "t1 t2"), owned(rise, "t2")
    plan = spread(arranged(*plans, facts=facts, moves=A_TO_B))
    assert guards(plan) == {"1": WITH, "2": "create", "3": WITH}
    assert hold(plan, "3").reason == (
        "waits for the new line of product p2 of C (agreement C), B new → 600, which is on hold "
        "(create)"
    )


def test_who_waits_for_devices_that_changed_their_licence_is_told_how_many():
    plan = spread(replaced_licences(A_TO_B))
    assert hold(plan, "2").reason == (
        "held together with line 1 (A: to-zero), so that nothing is billed twice or not at all: "
        "100 devices went from A to B"
    )
    old, new = planned(100, 80, "1", "C", "A"), planned(None, 600, "2", "C", "B", "create")
    plan = arranged(ready(client("C", "t1"), old, new), facts=[owned(old, "t1")], moves=A_TO_B)
    assert hold(spread(plan), "1").reason.endswith(": 100 devices went from A to B")


def commands(plan):
    """The remedies as they are printed, by product, with the clients' names in place of ids."""
    plan = with_commands(with_ids(spread(plan), {}))
    names = {company.plan_id: company.company.name for company in plan.companies}
    found = {}
    for company in plan.companies:
        for line in company.lines:
            if line.hold is not None:
                text = line.hold.remedy
                for plan_id, name in names.items():
                    text = text.replace(plan_id, name)
                found[line.product[1:]] = text
    return found


def test_a_remedy_is_one_command_with_every_id_that_is_needed_the_own_one_first():
    plans, facts = by_category("decrease", "run")
    both = "If that is right: kisi sync --accept {} --accept {}"
    assert commands(arranged(*plans, facts=facts)) == {
        "1": both.format("North", "South"),
        "2": both.format("North", "South"),
        "3": both.format("South", "North"),
        "4": both.format("South", "North"),
    }


def test_an_id_that_a_line_does_not_need_is_not_in_its_command():
    plans, facts = moved_tenant(guard="decrease")
    other = planned(9, 0, "501", "Third", "B", "to-zero")
    third = ready(client("Third", "t5"), other)
    assert commands(arranged(*plans, third, facts=[*facts, owned(other, "t5")])) == {
        "301": "If that is right: kisi sync --accept Contoso",
        "401": "If that is right: kisi sync --accept Contoso",
        "501": "If that is right: kisi sync --accept Third",
    }


def test_what_no_id_releases_is_in_no_command():
    plans, facts = moved_tenant()
    report = Hold("report", "nothing is sent", "Write it by hand.", releasable=False)
    fall = replace(plans[0].lines[0], hold=report)
    held = replace(plans[1], lines=(replace(plans[1].lines[0], hold=None),))
    plan = arranged(replace(plans[0], lines=(fall,)), held, facts=facts)
    assert commands(plan) == {"301": "Write it by hand.", "401": "Write it by hand."}


def test_a_line_with_an_id_of_its_own_names_it_also_where_it_waits_for_one_that_has_none():
    plans, facts = moved_tenant()
    fall = replace(plans[0].lines[0], hold=CANNOT)
    rise = planned(200, 250, "401", "Lab", guard="increase")
    plan = arranged(replace(plans[0], lines=(fall,)), replace(plans[1], lines=(rise,)), facts=facts)
    assert commands(plan) == {
        "301": "Cancel one.",
        "401": "If that is right: kisi sync --accept Lab",
    }


# --- what holds whatever there is -----------------------------------------------------------------

NAMES, TENANTS, APPLICATIONS = "CDE", ("t1", "t2", "t3"), ("A", "B")


@st.composite
def fleets(draw):
    """Clients with lines, some of them held; what each billed; devices that changed pools."""
    pool = st.builds(Pool, st.sampled_from(refs("t1 t2 t3")), st.sampled_from(APPLICATIONS))
    plans, billed, unknown = [], {}, []
    number = 0
    for name in NAMES:
        lines = []
        for application in draw(st.lists(st.sampled_from((*APPLICATIONS, "X")), max_size=4)):
            number += 1
            before, after = draw(st.sampled_from([(None, 5), (5, 9), (9, 5), (5, 0), (5, 5)]))
            guard = draw(st.sampled_from(["", "", "", "decrease"])) if before != after else ""
            cannot = before is None and draw(st.sampled_from([False, False, True]))
            orphaned = application == "X"
            if orphaned and before is None:
                continue
            line = planned(before, 0 if orphaned else after, str(number), name, application, guard)
            line = replace(line, orphaned=orphaned, hold=CANNOT if cannot else line.hold)
            lines.append(line)
            if before is not None and draw(st.booleans()):
                fact = owned(line, "t1")
                billed[fact] = frozenset(draw(st.sets(pool, min_size=1, max_size=3)))
                if draw(st.sampled_from([False, False, True])):
                    lines.pop()
                    unknown.append(fact)
        tenants = " ".join(draw(st.sets(st.sampled_from(TENANTS), min_size=1)))
        plans.append(ready(client(name, " ".join(sorted(tenants.split()))), *lines))
    pairs = draw(st.lists(st.tuples(pool, pool), max_size=3))
    moves = {(old, new): 3 for old, new in pairs if old != new}
    by = billing(*plans, apps=APPLICATIONS)
    return tuple(plans), {"billed": billed, "unknown": unknown, "moves": moves, "by": by}


def rule(plan, mine, other):
    """Whether a line has to wait while another one is on hold, as the rule says it."""
    (client, line), (owner, held) = mine, other
    shared = plan.arrangement.pools[line.slot] & plan.arrangement.pools[held.slot]
    decided = held.hold is None or held.hold.releasable
    together = decided and client == owner and (shared or line.application == held.application)
    return bool(together or (shared and line.delta > 0 > held.delta))


def changing(plan):
    return {
        line.slot: (company.company.name, line)
        for company in plan.companies
        for line in company.lines
        if line.changes
    }


@given(fleets())
def test_what_is_held_is_the_least_that_the_rule_asks_for(fleet):
    plans, known = fleet
    plan = arranged(*plans, **known)
    lines, found = changing(plan), changing(spread(plan))
    guarded = {slot for slot, (_, line) in lines.items() if line.hold}
    held = {slot for slot, (_, line) in found.items() if line.hold}
    for slot in lines:  # nothing that has to wait is free
        if slot not in held:
            assert not any(rule(plan, lines[slot], lines[other]) for other in held)
    reached, before = set(guarded), None
    while before != reached:  # and nothing is held without a guard behind it
        before = set(reached)
        reached |= {
            slot
            for slot in lines
            if any(rule(plan, lines[slot], lines[other]) for other in reached)
        }
    assert held == reached
    assert all(found[slot][1].hold == lines[slot][1].hold for slot in guarded)
    assert all(found[slot][1].hold.guard == WITH for slot in held - guarded)
    assert spread(spread(plan)) == spread(plan)


@given(fleets())
def test_a_rising_line_waits_for_exactly_the_falling_and_unknown_ones_in_its_pools(fleet):
    plans, known = fleet
    found, lines = arrangement(*plans, **known), changing(Plan(plans))
    for slot, (_, line) in lines.items():
        falls = {
            other
            for other, (_, one) in lines.items()
            if one.delta < 0 and found.pools[other] & found.pools[slot]
        }
        assert found.waits.get(slot, frozenset()) == (falls if line.delta > 0 else set())
        assert line.delta > 0 or slot not in found.elsewhere


@given(fleets(), st.integers(0, 2**32))
def test_the_order_of_clients_lines_and_facts_decides_nothing(fleet, seed):
    plans, known = fleet
    dice = Random(seed)

    def shuffled(items):
        items = list(items)
        return dice.sample(items, len(items))

    turned = [replace(plan, lines=tuple(shuffled(plan.lines))) for plan in shuffled(plans)]
    companies = tuple(shuffled(known["by"].companies))
    again = {
        "billed": dict(shuffled(known["billed"].items())),
        "unknown": shuffled(known["unknown"]),
        "moves": dict(shuffled(known["moves"].items())),
        "by": replace(known["by"], companies=companies),
    }
    first, second = arrangement(*plans, **known), arrangement(*turned, **again)
    assert (first.pools, first.waits, first.moved) == (second.pools, second.waits, second.moved)
    for slot, facts in first.elsewhere.items():
        assert set(facts) == set(second.elsewhere[slot])
    one = with_ids(spread(arranged(*plans, **known)), {})
    other = with_ids(spread(arranged(*turned, **again)), {})
    assert one.plan_id == other.plan_id
    assert guards(one) == guards(other)


def printed(text, ids):
    return {plan_id for plan_id in ids if f"--accept {plan_id}" in text}


@given(fleets())
def test_the_ids_that_a_remedy_names_release_its_line_and_all_of_them_everything(fleet):
    plans, known = fleet
    guarded = with_ids(spread(arranged(*plans, **known)), {})
    shown = release(guarded, (), {})
    ids = {company.plan_id for company in shown.companies}
    assert ids == {company.plan_id for company in guarded.companies}
    everything = set()
    for company in shown.companies:
        for line in company.lines:
            if line.hold is None or line.hold == CANNOT:
                continue
            named = printed(line.hold.remedy, ids)
            assert named
            everything |= named
            keys = keys_of(guarded, named)
            released = changing(release(guarded, keys, {}))
            assert released[line.slot][1].hold is None
            for spare in named:  # and none of them is named without need
                keys = keys_of(guarded, named - {spare})
                assert changing(release(guarded, keys, {}))[line.slot][1].hold is not None
    keys = keys_of(guarded, everything)
    assert set(guards(release(guarded, keys, {})).values()) <= {"ambiguous"}
