"""Sources that fail, tenants that fail, are missing or disabled: never a number, never a zero."""

from dataclasses import replace

import pytest

from kisi.errors import (
    ConfigError,
    ExitCode,
    Incomplete,
    Interrupted,
    LoginRefused,
    SourceError,
    StateError,
)
from kisi.model import Application, BillingMapping, Status, TenantRef
from kisi.reconcile import collect
from kisi.reconcile.summary import last_line
from kisi.run.daily import chosen_clients
from tests.unit.build import ALL_ROW, COMPANY, key, mapping, reading, row, tenant
from tests.unit.reconcile.conftest import company, devices

HQ_1, HQ_2 = TenantRef("hq", "VSRV-1"), TenantRef("hq", "VSRV-2")
BROKEN = SourceError("hq could not be reached.", remedy="Look at its network.")


@pytest.fixture
def two(scene):
    """Two clients that were billed 10 and 20 yesterday."""
    scene.bill(COMPANY, company(2))
    scene.cw.agreement("251", "1043")
    scene.uses(10)
    scene.uses(20, uid="VSRV-2")
    scene.sync()
    scene.cw.sent.clear()
    return scene


def held(scene):
    return scene.cw.quantities("1042"), scene.cw.quantities("1043")


def failure(day, name="Contoso"):
    found = day.client(name).failure
    return found.guard, found.exit_code


def test_a_tenant_that_could_not_be_read_fails_its_client_alone(two):
    two.hq.answers[HQ_1] = Incomplete("Contoso: the list ended early.", remedy="Run it again.")
    two.uses(25, uid="VSRV-2")
    day = two.sync()
    assert failure(day) == ("source-incomplete", ExitCode.SOURCE)
    assert day.client().failure.remedy == "Run it again."
    assert day.client("Client 2").status is Status.READY
    assert held(two) == ({"1200": 10}, {"1200": 25})
    assert day.plan.failures == ()
    assert day.code is ExitCode.SOURCE
    assert last_line(day.plan) == (
        "1 of 2 clients up to date; need attention: Contoso (source-incomplete: "
        "Contoso: the list ended early)."
    )


@pytest.mark.parametrize(
    ("error", "guard"),
    [(BROKEN, "source-incomplete"), (LoginRefused("hq refused the login."), "login")],
)
def test_a_source_that_cannot_be_read_fails_all_its_clients(two, error, guard):
    two.hq.broken = error
    day = two.sync()
    assert failure(day) == failure(day, "Client 2") == (guard, ExitCode.SOURCE)
    assert f"need attention: Contoso and Client 2 ({guard}: " in last_line(day.plan)
    assert held(two) == ({"1200": 10}, {"1200": 20})
    assert two.sent() == 0


def test_a_source_that_breaks_in_the_middle_gives_nothing_of_what_it_gave_before(two):
    two.uses(11)
    two.uses(21, uid="VSRV-2")
    two.hq.breaks = (BROKEN, 1)
    day = two.sync()
    assert failure(day) == failure(day, "Client 2") == ("source-incomplete", ExitCode.SOURCE)
    assert held(two) == ({"1200": 10}, {"1200": 20})
    assert day.found.usages == {}


def test_another_source_goes_on(two):
    hub = two.add_source("hub")
    hub.add(reading(devices(7, prefix="hub"), of=tenant("Coho", "Coho", "hub")))
    two.cw.agreement("252", "1044")
    two.bill(COMPANY, company(3, name="Coho", tenants=(TenantRef("hub", "Coho"),)))
    two.hq.broken = BROKEN
    day = two.sync()
    assert failure(day) == ("source-incomplete", ExitCode.SOURCE)
    assert two.cw.quantities("1044") == {"1200": 7}


def test_a_missing_tenant_is_never_zero(two):
    del two.hq.answers[HQ_1]
    day = two.sync()
    assert failure(day) == ("tenant-missing", ExitCode.SOURCE)
    assert "hq:VSRV-1 does not exist" in day.client().failure.reason
    assert held(two) == ({"1200": 10}, {"1200": 20})


def test_a_disabled_tenant_is_a_missing_one(two):
    two.hq.disabled.add(HQ_1)
    day = two.sync()
    assert failure(day) == ("tenant-missing", ExitCode.SOURCE)
    assert "(Contoso) is disabled in its source" in day.client().failure.reason
    assert two.hq.reads[-1] == [HQ_2]
    assert held(two) == ({"1200": 10}, {"1200": 20})


def test_one_missing_tenant_of_several_fails_the_client(two):
    two.bill(replace(COMPANY, tenants=(HQ_2, TenantRef("hq", "VSRV-7"))), company(9))
    assert failure(two.sync()) == ("tenant-missing", ExitCode.SOURCE)


def test_a_tenant_is_known_by_its_id_not_its_name(two):
    two.hq.add(reading(devices(12), of=tenant("Contoso (renamed)", "VSRV-1")))
    two.hq.add(reading(devices(99), of=tenant("Contoso", "VSRV-8")))
    day = two.sync(only=["Contoso"])
    assert day.code is ExitCode.OK
    assert two.cw.quantities("1042") == {"1200": 12}
    assert [one.ref.tenant for one in day.plan.unmapped_tenants] == ["VSRV-8"]


def test_a_key_of_two_applications_fails_whoever_uses_it(two):
    apps = (Application("KES", keys=("Kaspersky Endp*",)), Application("EDR", keys=("Kasp*rsky*",)))
    tie = (Application("KES", keys=("Kaspersky*",)), Application("EDR", keys=("Kaspersky?*",)))
    rows = [replace(ALL_ROW, application="KES")]
    two.mapping = mapping(*rows, applications=tie, companies=[COMPANY])
    assert failure(two.sync()) == ("ambiguous", ExitCode.WITHHELD)
    two.mapping = mapping(*rows, applications=apps, companies=[COMPANY])
    assert two.sync().client().failure is None


def test_devices_of_other_servers_fail_the_client_that_would_be_billed_for_them(two):
    two.hq.add(reading([], rows=[row(f"other-{number}") for number in range(9)], keys=[key()]))
    day = two.sync()
    assert failure(day) == ("source-incomplete", ExitCode.SOURCE)
    assert "9 of 9 devices" in day.client().failure.reason
    assert held(two) == ({"1200": 10}, {"1200": 20})


BUGS = [KeyError("quantity"), ValueError("no number"), UnicodeEncodeError("utf-8", "x", 0, 1, "y")]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: type(bug).__name__)
def test_a_bug_in_the_counting_of_one_tenant_fails_its_client_alone(two, bug, monkeypatch, caplog):
    count = collect.count_tenant

    def count_tenant(reading, terms):
        if reading.tenant.ref == HQ_1:
            raise bug
        return count(reading, terms)

    monkeypatch.setattr(collect, "count_tenant", count_tenant)
    two.uses(25, uid="VSRV-2")
    with caplog.at_level("INFO", logger="kisi"):
        day = two.sync()
    assert failure(day) == ("bug", ExitCode.SOURCE)
    assert f"a bug in kisi stopped the work here ({type(bug).__name__}: " in last_line(day.plan)
    assert "Please report it" in day.client().failure.remedy
    assert held(two) == ({"1200": 10}, {"1200": 25})
    assert day.code is ExitCode.SOURCE
    (record,) = [one for one in caplog.records if one.exc_info]
    assert record.exc_info[1] is bug
    assert record.levelname == "INFO"  # the file has it, the terminal only with -v


def test_a_bug_in_the_reading_of_a_source_fails_its_clients_alone(two):
    hub = two.add_source("hub")
    hub.add(reading(devices(7, prefix="hub"), of=tenant("Coho", "Coho", "hub")))
    two.cw.agreement("252", "1044")
    two.bill(COMPANY, company(3, name="Coho", tenants=(TenantRef("hub", "Coho"),)))
    two.hq.breaks = (KeyError("nAddIndex"), 0)
    day = two.sync()
    assert failure(day) == ("bug", ExitCode.SOURCE)
    assert (two.cw.quantities("1042"), two.cw.quantities("1044")) == ({"1200": 10}, {"1200": 7})


@pytest.mark.parametrize("error", [Interrupted("Stopped."), StateError("The disk is full.")])
def test_what_concerns_the_whole_run_ends_it(two, error, monkeypatch):
    def count_tenant(reading, terms):
        raise error

    monkeypatch.setattr(collect, "count_tenant", count_tenant)
    with pytest.raises(type(error)):
        two.look()


def test_a_first_look_tells_what_could_not_be_read(scene):
    scene.mapping = mapping(companies=())
    scene.uses(5)
    scene.hq.answers[HQ_2] = Incomplete("Tenant VSRV-2: the list ended early.")
    hub = scene.add_source("hub")
    hub.broken = SourceError("No report file.")
    day = scene.sync()
    assert {one.reason for one in day.plan.failures} == {
        "Tenant VSRV-2: the list ended early.",
        "No report file.",
    }
    assert day.code is ExitCode.SOURCE
    assert last_line(day.plan).startswith("Nothing could be read")


def test_a_source_that_no_billed_client_has_fails_nobody_and_is_named(scene):
    hub = scene.add_source("hub")
    hub.broken = SourceError("No report file.")
    scene.uses(5)
    day = scene.sync()
    assert day.code is ExitCode.OK
    (note,) = day.plan.notes
    assert note.endswith("whom nobody is billed for is not known: No report file.")


def test_the_tenants_of_a_source_that_no_billed_client_has_are_known(scene):
    hub = scene.add_source("hub")
    hub.answers[TenantRef("hub", "Newcomer")] = SourceError("Nobody reads it.")
    scene.uses(5)
    assert "Newcomer" in {one.ref.tenant for one in scene.sync().plan.unmapped_tenants}


def test_a_tenant_with_a_new_name_is_said_once_and_billed_as_before(scene):
    scene.uses(5)
    names = {"hq:VSRV-1": "Contoso Ltd", "hq:VSRV-2": "Fabrikam"}
    plan = scene.look(memory=replace(scene.journal_state(), tenants=names)).plan
    (note,) = plan.companies[0].notes
    assert note == (
        "The tenant hq:VSRV-1 is now called 'Contoso'; it was 'Contoso Ltd'. "
        "Ids decide, so nothing else changes."
    )
    assert plan.companies[0].status is Status.READY
    assert scene.look().plan.companies[0].notes == ()


def test_who_watches_is_told_what_is_read(scene):
    scene.uses(5)
    scene.look()
    told = [("cw", 0, 1), ("cw", 1, 1), ("hq", 0, 1), ("hq", 1, 1)]
    assert sorted(scene.told) == told  # both sides at once


def test_without_globs_every_client_is_chosen():
    clients = (COMPANY, company(2))
    mapping = BillingMapping(companies=clients)
    assert chosen_clients(mapping, (), ()) == clients
    assert chosen_clients(mapping, (), ["client ?"]) == (COMPANY,)
    with pytest.raises(ConfigError, match="leave no client"):
        chosen_clients(mapping, ["*"], ["*"])


def test_a_part_of_a_name_is_enough_if_only_one_client_has_it():
    clients = tuple(replace(COMPANY, name=name) for name in ("North", "Northwind", "Contoso [EU]"))
    mapping = BillingMapping(companies=clients)

    def chosen(*names: str) -> list[str]:
        return [one.name for one in chosen_clients(mapping, names, ())]

    assert chosen("wind") == ["Northwind"]
    assert chosen("NORTH") == ["North"]  # a whole name is no part of another
    assert chosen("[eu]", "north*") == ["North", "Northwind", "Contoso [EU]"]
    for text in ("ort", "nort"):
        with pytest.raises(ConfigError, match="in their name: North, Northwind"):
            chosen(text)
    for text in ("", " ", "south"):
        with pytest.raises(ConfigError, match="has a name that matches"):
            chosen(text)


def test_evidence_is_packed_and_the_numbers_are_at_hand(two):
    found = two.look()
    whole = {ref: packed.whole() for ref, packed in found.evidence.items()}
    assert [len(whole[ref].applications[0].evidence) for ref in (HQ_1, HQ_2)] == [10, 20]
    usages = found.usages
    assert [usages[ref].applications[0].evidence for ref in (HQ_1, HQ_2)] == [(), ()]
    assert [usages[ref].applications[0].total for ref in (HQ_1, HQ_2)] == [10, 20]


def test_a_device_in_two_tenants_of_a_client_is_one_device(scene):
    both = (
        reading(devices(3), of=tenant("Contoso")),
        reading(devices(3), of=tenant("East", "VSRV-2")),
    )
    for one in both:
        scene.hq.add(one)
    scene.bill(replace(COMPANY, tenants=(HQ_1, HQ_2)))
    scene.sync()
    assert scene.cw.quantities("1042") == {"1200": 3}
