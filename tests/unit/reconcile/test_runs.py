"""Whole days: what the PSA holds after a run, after the next, and after a mapping has changed."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from kisi.errors import ExitCode
from kisi.model import (
    Application,
    Category,
    CountingRules,
    GuardRules,
    Hold,
    NotBillable,
    Outcome,
    ProductRow,
    Status,
    TenantRef,
)
from kisi.reconcile import pipeline
from kisi.reconcile.new_lines import Catalogues, Siblings
from kisi.reconcile.summary import Summary, last_line, summarise
from kisi.run.journal_entries import record_reading
from tests.unit.build import (
    ALL_ROW,
    COMPANY,
    KES,
    SPLIT_ROW,
    device,
    key,
    mapping,
    reading,
    row,
    tenant,
)
from tests.unit.fakes import LOST, planned
from tests.unit.reconcile.conftest import company, devices


def test_100_devices_are_billed_as_90_and_10_and_the_second_run_writes_nothing(scene):
    scene.mapping = mapping(SPLIT_ROW)
    scene.uses(workstations=90, servers=10)
    day = scene.sync()
    assert scene.cw.quantities() == {"1201": 90, "1202": 10}
    assert day.code is ExitCode.OK
    assert last_line(day.plan) == "1 of 1 clients up to date."
    assert scene.sent() == 2
    assert sorted(scene.facts().values()) == [10, 90]
    for _ in range(3):
        again = scene.sync()
        assert again.code is ExitCode.OK
        assert [line.outcome for line in again.client().lines] == [Outcome.UNCHANGED] * 2
    assert scene.sent() == 2
    assert scene.journal.operations(again.run) == ()


def test_what_a_run_counted_is_the_days_reading(scene):
    scene.mapping = mapping(SPLIT_ROW)
    scene.uses(workstations=90, servers=10)
    scene.sync()
    at = scene.clock.now().date()
    (tenant_ref,) = COMPANY.tenants
    counted = {Category.WINDOWS_WORKSTATIONS: 90, Category.WINDOWS_SERVERS: 10}
    assert scene.journal.days(at, at, COMPANY.tenants) == {(tenant_ref, KES): {at: counted}}
    scene.uses(0)
    doubted = scene.sync()
    assert scene.journal.days(at, at, COMPANY.tenants) == {
        (tenant_ref, KES): {at: counted}
    }  # a guard doubts the 0
    scene.sync(doubted.plan.plan_id)
    assert scene.journal.days(at, at, COMPANY.tenants) == {(tenant_ref, KES): {at: {}}}


def test_a_doubted_reading_is_kept_apart_from_the_start(scene):
    """Also if the run is killed between its reading and its end."""
    scene.uses(50)
    scene.sync()
    scene.uses(0)
    at = scene.clock.now() + timedelta(days=1)
    run = scene.journal.begin_run(at, version="1", command="sync", config_hash="")
    rules = replace(scene.rules(), today=at.date())
    record_reading(scene.journal, run, at, scene.look(), rules)
    assert scene.journal.days(at.date(), at.date(), COMPANY.tenants) == {}


def test_a_changed_use_changes_the_line_that_is_there(scene):
    scene.uses(10)
    (first,) = scene.sync().client().lines
    scene.uses(12)
    (second,) = scene.sync().client().lines
    assert scene.cw.quantities() == {"1200": 12}
    assert second.line_id == first.line_id
    assert len(scene.cw.held()) == 1


def test_an_equal_line_of_a_person_is_owned_without_a_word(scene):
    there = scene.cw.put("1200", 5)
    scene.uses(5)
    day = scene.sync()
    assert day.code is ExitCode.OK
    assert scene.facts() == {("1042", "1200", there.id): 5}
    assert scene.sent() == 0


def test_a_line_that_kisi_never_wrote_is_adopted_only_when_accepted(scene):
    scene.cw.put("1200", 4)
    scene.uses(5)
    day = scene.sync()
    assert day.code is ExitCode.WITHHELD
    assert day.client().lines[0].hold.guard == "adopt"
    assert scene.cw.quantities() == {"1200": 4}
    assert scene.sync(day.client().plan_id).code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 5}


def test_a_persons_change_is_held_as_drift_and_kept(scene):
    scene.uses(10)
    scene.sync()
    scene.cw.put("1200", 8, line_id=scene.cw.held()[0].id)
    for _ in range(2):
        day = scene.sync()
        assert day.client().lines[0].hold.guard == "drift"
        assert day.client().lines[0].outcome is Outcome.HELD
    assert scene.cw.quantities() == {"1200": 8}
    scene.sync(day.client().plan_id)
    assert scene.cw.quantities() == {"1200": 10}


def test_a_deleted_line_is_never_silently_created_again(scene):
    scene.uses(10)
    scene.sync()
    scene.cw.remove(scene.cw.held()[0])
    day = scene.sync()
    assert day.client().lines[0].hold.guard == "deleted"
    assert scene.cw.held() == []
    scene.sync(day.client().plan_id)
    assert scene.cw.quantities() == {"1200": 10}
    assert list(scene.facts()) == [("1042", "1200", scene.cw.held()[0].id)]
    assert scene.sync().code is ExitCode.OK


def test_a_cancelled_line_is_no_line(scene):
    scene.cw.put("1200", 10, cancelled=date(2026, 11, 1))
    scene.uses(10)
    scene.sync()
    assert sorted(line.cancelled is None for line in scene.cw.held()) == [False, True]


def test_two_lines_of_one_product_fail_the_client_and_nothing_of_it_is_written(scene):
    scene.mapping = mapping(SPLIT_ROW)
    scene.cw.put("1201", 3)
    scene.cw.put("1201", 4)
    scene.uses(workstations=9, servers=2)
    day = scene.sync()
    assert day.client().failure.guard == "ambiguous"
    assert "301 (3), 302 (4)" in day.client().failure.reason
    assert day.code is ExitCode.WITHHELD
    assert scene.sent() == 0


def test_a_create_whose_answer_is_lost_makes_one_line_also_if_it_is_shown_late(scene):
    scene.cw.late = 3
    scene.cw.reactions.append(LOST)
    scene.uses(10)
    assert scene.sync().code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 10}
    scene.sync()
    assert scene.sent() == 1


def test_report_mode_holds_every_change_and_no_id_releases_it(scene):
    scene.cw.report = Hold("report", "psa.cw is set to report", "Write it by hand.")
    scene.uses(10)
    day = scene.sync()
    assert day.code is ExitCode.WITHHELD
    assert day.client().status is Status.HELD
    assert day.client().lines[0].hold.guard == "report"
    assert scene.sent() == 0


# --- a mapping that changes ---------------------------------------------------------------------


def test_a_new_agreement_never_bills_twice(scene):
    scene.uses(10)
    scene.sync()
    scene.cw.agreement("250", "2000")
    scene.bill(replace(COMPANY, agreement="2000"))
    day = scene.sync()
    orphan, create = day.client().lines
    assert (orphan.agreement, orphan.after, orphan.hold.guard) == ("1042", 0, "orphaned")
    assert (create.agreement, create.after, create.hold.guard) == ("2000", 10, "with")
    assert (scene.cw.quantities("1042"), scene.cw.quantities("2000")) == ({"1200": 10}, {})
    scene.sync(day.client().plan_id)
    assert (scene.cw.quantities("1042"), scene.cw.quantities("2000")) == (
        {"1200": 0},
        {"1200": 10},
    )
    assert scene.sync().code is ExitCode.OK


def test_a_client_that_moves_to_another_psa_is_not_billed_in_both(scene):
    scene.uses(10)
    scene.sync()
    tp = scene.add_psa("tp")
    tp.agreement("500", "7001")
    row_tp = replace(ALL_ROW, psa="tp", products={Category.ALL: "KES"})
    moved = replace(COMPANY, psa="tp", company="500", agreement="7001")
    scene.mapping = mapping(ALL_ROW, row_tp, companies=[moved])
    day = scene.sync()
    assert [line.hold.guard for line in day.client().lines] == ["orphaned", "with"]
    assert (scene.cw.quantities(), tp.quantities("7001")) == ({"1200": 10}, {})
    scene.sync(day.client().plan_id)
    assert (scene.cw.quantities(), tp.quantities("7001")) == ({"1200": 0}, {"KES": 10})


def test_an_old_agreement_that_cannot_be_read_fails_the_client(scene):
    from kisi.errors import PsaError

    scene.uses(10)
    scene.sync()
    scene.cw.agreement("250", "2000")
    scene.cw.unreadable["1042"] = (PsaError("The additions did not arrive whole."), None)
    scene.bill(replace(COMPANY, agreement="2000"))
    day = scene.sync()
    assert (day.client().failure.guard, day.code) == ("psa", ExitCode.PSA)
    assert scene.cw.held("2000") == []


def test_an_old_line_of_which_nobody_knows_what_it_bills_fails_the_client(scene):
    scene.uses(10)
    scene.sync()
    scene.cw.agreement("250", "2000")
    there = scene.cw.held()[0]
    scene.cw.put("1200", 0, line_id=there.id, problem="quantity is missing")
    scene.bill(replace(COMPANY, agreement="2000"))
    day = scene.sync()
    assert (day.client().failure.guard, day.code) == ("psa", ExitCode.PSA)
    assert "301 of product 1200 cannot be read: quantity is missing" in day.client().failure.reason
    assert scene.cw.held("2000") == []


def test_an_unreadable_line_that_people_keep_fails_nobody(scene):
    scene.uses(10)
    scene.sync()
    there = scene.cw.held()[0]
    scene.cw.put("1200", 0, line_id=there.id, problem="quantity is missing")
    scene.cw.put("9001", 0, problem="quantity is missing")
    scene.bill(replace(COMPANY, exceptions=(ProductRow(KES, "cw", {}, bill=False),)))
    assert scene.sync().client().failure is None


def test_an_old_agreement_that_bills_nothing_any_more_is_not_waited_for(scene):
    scene.uses(10)
    scene.sync()
    scene.cw.agreement("250", "2000")
    ended = NotBillable("agreement", "it was cancelled", "Map the one that follows it.")
    scene.cw.agreement("250", "1042", gone=True, not_billable=ended)
    scene.bill(replace(COMPANY, agreement="2000"))
    scene.cw.looks.clear()
    assert scene.sync().code is ExitCode.OK
    assert set(scene.cw.looks) == {"2000"}
    assert scene.cw.quantities("2000") == {"1200": 10}
    assert scene.cw.quantities("1042") == {"1200": 10}


def test_a_client_switched_off_is_neither_read_nor_written_and_its_lines_are_listed(scene):
    scene.uses(10)
    scene.sync()
    scene.bill(replace(COMPANY, billing=False))
    scene.hq.reads.clear()
    scene.cw.looks.clear()
    day = scene.sync()
    assert day.client().status is Status.OFF
    (left,) = day.found.left
    assert (left.line_id, left.quantity, left.is_off) == ("301", 10, True)
    assert (scene.hq.reads, scene.cw.looks) == ([[]], ["1042"])  # its tenants' names alone
    assert scene.cw.quantities() == {"1200": 10}
    assert day.code is ExitCode.OK
    assert (
        last_line(day.plan) == "No client is billed: billing is off for all of them. "
        "Next: `kisi map billing CLIENT on`."
    )


def test_lines_managed_by_hand_stay_and_are_listed(scene):
    scene.uses(10)
    scene.sync()
    exception = ProductRow(KES, "cw", {}, bill=False)
    scene.bill(replace(COMPANY, exceptions=(exception,)))
    scene.uses(30)
    day = scene.sync()
    assert day.client().lines == ()
    assert [(line.line_id, line.before) for line in day.client().left] == [("301", Decimal(10))]
    assert scene.cw.quantities() == {"1200": 10}


def test_an_exception_of_a_client_wins_over_the_general_row(scene):
    special = replace(ALL_ROW, products={Category.ALL: "1250"})
    scene.bill(replace(COMPANY, exceptions=(special,)), company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(4)
    scene.uses(5, uid="VSRV-2")
    scene.sync()
    assert (scene.cw.quantities("1042"), scene.cw.quantities("1043")) == ({"1250": 4}, {"1200": 5})


# --- several of everything ----------------------------------------------------------------------


def test_the_tenants_of_a_client_add_up_over_sources(scene):
    hub = scene.add_source("hub")
    hub.add(reading(devices(7, prefix="hub"), of=tenant("Contoso Ltd", "Contoso Ltd", "hub")))
    both = (*COMPANY.tenants, TenantRef("hub", "Contoso Ltd"))
    scene.bill(replace(COMPANY, tenants=both))
    scene.uses(3)
    scene.sync()
    assert scene.cw.quantities() == {"1200": 10}


def test_a_device_in_two_tenants_of_one_source_is_billed_once(scene):
    scene.uses(3)
    scene.hq.add(reading(devices(3, prefix="VSRV-1"), of=tenant("Contoso Lab", "VSRV-9")))
    scene.bill(replace(COMPANY, tenants=(*COMPANY.tenants, TenantRef("hq", "VSRV-9"))))
    scene.sync()
    assert scene.cw.quantities() == {"1200": 3}


def test_several_psas_are_written_in_one_run(scene):
    tp = scene.add_psa("tp")
    tp.agreement("500", "7001")
    theirs = company(2, psa="tp", company="500", agreement="7001")
    row_tp = replace(ALL_ROW, psa="tp", products={Category.ALL: "KES"})
    scene.mapping = mapping(ALL_ROW, row_tp, companies=[COMPANY, theirs])
    scene.uses(4)
    scene.uses(5, uid="VSRV-2")
    assert scene.sync().code is ExitCode.OK
    assert (scene.cw.quantities(), tp.quantities("7001")) == ({"1200": 4}, {"KES": 5})
    assert scene.cw.looks == ["1042"] * 3  # for the plan, before the new line, and after it
    assert tp.looks == ["7001"] * 3


def test_only_and_exclude_concern_names_in_any_case(scene):
    scene.bill(COMPANY, company(2), company(3, name="Contrast [East]"))
    for number, uid in enumerate(("VSRV-1", "VSRV-2", "VSRV-3"), start=3):
        scene.cw.agreement(str(247 + number), str(1039 + number))
        scene.uses(number, uid=uid)
    day = scene.sync(only=["cont*"], exclude=["*EAST]"])
    assert [plan.company.name for plan in day.plan.companies] == ["Contoso"]
    assert scene.hq.reads == [[TenantRef("hq", "VSRV-1")]]
    held = [scene.cw.quantities(str(1042 + number)) for number in range(3)]
    assert held == [{"1200": 3}, {}, {}]


def test_a_run_over_some_clients_still_knows_whose_lines_are_whose(scene):
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(3)
    scene.uses(4, uid="VSRV-2")
    scene.sync()
    day = scene.sync(only=["Contoso"])
    assert day.found.left == ()
    assert day.found.plan.unmapped_tenants == ()
    assert [line.orphaned for line in day.client().lines] == [False]


@pytest.mark.parametrize("number", [2, 5])
def test_an_accepted_plan_releases_every_client_at_once(scene, number):
    clients = [company(one) for one in range(1, number)]
    scene.bill(*clients)
    for one, client in enumerate(clients, start=1):
        scene.cw.agreement(client.company, client.agreement)
        scene.cw.put("1200", 40, client.agreement)
        scene.uses(one, uid=f"VSRV-{one}")
    held = scene.sync()
    assert scene.sent() == 0
    scene.sync(held.found.plan.plan_id)
    assert [scene.cw.quantities(client.agreement) for client in clients] == [
        {"1200": one} for one in range(1, number)
    ]


# --- what is not billed -------------------------------------------------------------------------


def test_what_no_row_bills_is_told_with_its_quantity(scene):
    edr = key("K2", "Kaspersky EDR Optimum", used=7)
    scene.hq.add(reading(devices(5), keys=[key(), edr]))
    day = scene.sync()
    (use,) = day.client().unmapped
    assert (use.company, use.application, use.quantity) == ("Contoso", "Kaspersky EDR Optimum", 7)
    assert day.code is ExitCode.WITHHELD
    assert scene.cw.quantities() == {"1200": 5}
    assert last_line(day.plan).endswith("; unmapped usage: Contoso.")


def test_a_known_application_that_is_never_billed_is_not_reported(scene):
    mail = key("K2", "Kaspersky Mail", used=7)
    scene.hq.add(reading(devices(5), keys=[key(), mail]))
    apps = (Application(KES), Application("Kaspersky Mail", bill=False))
    scene.mapping = mapping(ALL_ROW, applications=apps)
    assert scene.sync().code is ExitCode.OK


def test_without_a_mapping_every_tenant_is_shown_and_nothing_is_sent(scene):
    scene.mapping = mapping(companies=())
    scene.uses(5, uid="VSRV-1")
    scene.uses(6, uid="VSRV-2")
    day = scene.sync()
    names = [one.name for one in day.plan.unmapped_tenants]
    assert names == ["Contoso", "Tenant VSRV-2"]
    uses = {(use.company, use.application): use.quantity for use in day.plan.unmapped_uses}
    assert uses == {("Contoso", KES): 5, ("Tenant VSRV-2", KES): 6}
    assert scene.cw.asked_agreements == []
    assert last_line(day.plan) == "No client is billed; 2 tenants unmapped. Next: `kisi map`."


def test_tenants_of_a_source_in_use_that_nobody_mapped_are_listed(scene):
    scene.uses(5)
    scene.uses(6, uid="VSRV-2")
    day = scene.sync()
    assert [one.ref.tenant for one in day.plan.unmapped_tenants] == ["VSRV-2"]
    assert scene.hq.reads == [[TenantRef("hq", "VSRV-1")]]


def test_devices_with_an_unknown_operating_system_are_named_and_can_be_held(scene):
    scene.hq.add(reading([device("toaster", os_name=""), *devices(2)]))
    (note,) = scene.look().plan.companies[0].notes
    assert note == f"{KES}: 1 devices with an unknown operating system: toaster."
    scene.counting = CountingRules(unknown_device="hold")
    day = scene.sync()
    assert day.client().lines[0].hold.guard == "unknown-device"
    assert scene.cw.held() == []


def test_rows_of_a_key_that_does_not_count_are_never_asked_for(scene):
    trial = key("K2", key_type=3)
    uses = [row("pc-w0", "K1"), row("pc-w1", "K2")]
    scene.hq.add(reading(devices(2), rows=uses, keys=[key(), trial]))
    scene.sync()
    assert scene.cw.quantities() == {"1200": 1}


# --- holds and the summary ----------------------------------------------------------------------


def test_each_line_is_counted_in_exactly_one_place(scene):
    scene.mapping = mapping(SPLIT_ROW)
    scene.guards = GuardRules()
    scene.uses(workstations=9, servers=2)
    scene.cw.put("1201", 9)
    scene.cw.put("1203", 4)
    day = scene.sync()
    summary = summarise(day.plan)
    assert summary == Summary(create=0, update=0, unchanged=1, held=2)
    assert day.client().status is Status.HELD
    assert scene.cw.quantities() == {"1201": 9, "1203": 4}


def test_a_planned_line_of_the_fakes_is_what_the_planner_makes(scene):
    """The short form that tests of `kisi.apply` use is no other value than the planner's."""
    scene.uses(5)
    (line,) = scene.look().plan.companies[0].lines
    assert line == planned(None, 5, application=KES)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (pipeline, "plan_company"),
        (Catalogues, "judge"),
        (Siblings, "judge"),
        (pipeline, "who_waits"),
        (pipeline, "guard"),
    ],
)
def test_a_bug_in_the_planning_of_one_client_fails_it_alone(scene, owner, name, monkeypatch):
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(10)
    scene.uses(20, uid="VSRV-2")
    work = getattr(owner, name)

    def buggy(*given):
        plans = [x for x in getattr(given[0], "plans", ()) if x.status is Status.READY]
        if any(COMPANY in (one, getattr(one, "company", None)) for one in (*given, *plans)):
            raise KeyError("x")
        return work(*given)

    monkeypatch.setattr(owner, name, buggy)
    day = scene.sync()
    failure = day.client().failure
    assert (failure.guard, failure.exit_code) == ("bug", ExitCode.WITHHELD)
    assert "KeyError" in failure.reason
    assert (scene.cw.held("1042"), scene.cw.quantities("1043")) == ([], {"1200": 20})
    assert day.code is ExitCode.WITHHELD


def test_where_no_client_is_at_fault_all_fail_and_nothing_is_written(scene, monkeypatch):
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(10)
    scene.uses(20, uid="VSRV-2")
    work = pipeline.who_waits

    def buggy(unplanned, *more):
        if sum(plan.status is Status.READY for plan in unplanned.plans) > 1:
            raise KeyError("x")
        return work(unplanned, *more)

    monkeypatch.setattr(pipeline, "who_waits", buggy)
    day = scene.sync()
    assert [one.failure.guard for one in day.plan.companies] == ["bug", "bug"]
    assert (scene.sent(), day.code) == (0, ExitCode.WITHHELD)


# --- licences that replace others ---------------------------------------------------------------

EDR = "Kaspersky Next EDR Optimum"


def _licensed(scene, advanced, edr):
    """From now on these devices of Contoso use the one application, and those the other."""
    names = sorted({*advanced, *edr})
    scene.hq.add(
        reading(
            [device(name) for name in names],
            [*(row(name) for name in advanced), *(row(name, "K2") for name in edr)],
            [key(), key("K2", EDR)],
        )
    )


@pytest.fixture
def upgrade(scene):
    """Contoso, billed for twenty devices of one application, with a second one mapped."""
    scene.mapping = mapping(ALL_ROW, ProductRow(EDR, "cw", {Category.ALL: "1300"}))
    scene.guards = GuardRules()
    _licensed(scene, range_of(20), ())
    assert scene.sync().code is ExitCode.OK
    return scene


def range_of(end, start=0):
    return [f"pc{number:02}" for number in range(start, end)]


def test_a_client_whose_licences_were_replaced_is_never_billed_for_both(upgrade):
    _licensed(upgrade, (), range_of(20))
    for _ in range(3):
        day = upgrade.sync()
        assert upgrade.cw.quantities() == {"1200": 20}
        assert day.code is ExitCode.WITHHELD
        assert [line.hold.guard for line in day.client().lines] == ["to-zero", "with"]
    accepted = upgrade.sync(day.client().plan_id)
    assert upgrade.cw.quantities() == {"1200": 0, "1300": 20}
    assert accepted.code is ExitCode.OK
    sent = upgrade.sent()
    assert upgrade.sync().code is ExitCode.OK
    assert upgrade.sent() == sent


def test_a_replacement_in_steps_too_small_to_mind_is_written_every_night(upgrade):
    for moved in (3, 6, 9):
        _licensed(upgrade, range_of(20, moved), range_of(moved))
        day = upgrade.sync()
        if moved <= 3:
            assert upgrade.cw.quantities() == {"1200": 20 - moved, "1300": moved}
        else:
            assert upgrade.cw.quantities() == {"1200": 17, "1300": 3}
            assert [line.hold.guard for line in day.client().lines] == ["decrease", "with"]


def test_new_devices_do_not_wait_for_those_that_went(upgrade):
    _licensed(upgrade, (), range_of(40, 20))
    day = upgrade.sync()
    assert upgrade.cw.quantities() == {"1200": 20, "1300": 20}
    assert [line.hold.guard if line.hold else None for line in day.client().lines] == [
        "to-zero",
        None,
    ]


# --- clocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [timedelta(days=365), timedelta(days=-200)], ids=str)
def test_a_clock_that_the_psa_contradicts_makes_no_line_and_confirms_nothing(scene, skew):
    """What exists is written all the same; the clients of another PSA are confirmed."""
    other = company(2, psa="tp")
    scene.mapping = mapping(ALL_ROW, replace(ALL_ROW, psa="tp"))
    scene.bill(COMPANY, other)
    scene.add_psa("tp").agreement(other.company, other.agreement)
    scene.uses(workstations=5)
    scene.uses(workstations=7, uid="VSRV-2")
    scene.sync()
    scene.cw.skew = skew
    scene.clock.sleep(3600)
    scene.uses(workstations=6)
    day = scene.sync()
    direction = "ahead of" if skew > timedelta(0) else "behind"
    said = f"this machine's clock is {abs(skew).days} days {direction} that of psa.cw"
    assert (day.code, scene.cw.quantities()) == (ExitCode.WITHHELD, {"1200": 6})
    assert last_line(day.plan) == (
        f"1 of 2 clients up to date; need attention: Contoso (not confirmed: {said})."
    )
    other, contoso = scene.journal.clients()
    assert (contoso.status, contoso.guard) == (Status.HELD, "clock")
    assert other.confirmed_at - contoso.confirmed_at == timedelta(hours=1)


def test_a_whole_run_that_a_wrong_clock_would_bring_down_is_held_for_the_clock(scene):
    """And not by `run`, whose id would release it."""
    scene.mapping = mapping(replace(ALL_ROW, count="peak"))
    scene.uses(40)
    scene.sync()
    scene.guards = replace(scene.guards, run_percent=1, run_units=0)
    scene.clock.sleep(31 * 86400)
    scene.cw.skew = timedelta(days=31)
    scene.uses(29)
    day = scene.sync()
    (line,) = day.client().lines
    assert (day.code, scene.cw.quantities()) == (ExitCode.WITHHELD, {"1200": 40})
    assert (line.hold.guard, line.hold.releasable) == ("clock", False)
    assert line.hold.reason.endswith("so the days that its `count` (peak) looks at are not known")


def test_a_new_line_waits_until_the_clock_is_right(scene):
    scene.cw.skew = timedelta(days=2)
    scene.uses(5)
    day = scene.sync()
    (line,) = day.client().lines
    assert (line.hold.guard, line.hold.releasable, scene.cw.quantities()) == ("clock", False, {})
    assert line.hold.reason.endswith("psa.cw, so the new line would begin on a wrong day")
    scene.cw.skew = timedelta(hours=23)
    assert scene.sync().code is ExitCode.OK
    assert scene.cw.quantities() == {"1200": 5}
