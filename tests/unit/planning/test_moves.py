"""Which devices went from one pool to another: by id, by name, by totals; and which did not."""

from dataclasses import replace

import pytest

from kisi.counting import count_tenant
from kisi.model import Application, ApplicationUsage, Category, Pool, TenantUsage, Unit
from kisi.planning import moved
from tests.unit.build import KES, NOW, counting, device, key, reading, row, tenant

EDR = "Kaspersky Next EDR Optimum"
SOUTH, HUB = tenant(uid="VSRV-2"), tenant("Contoso Ltd", source="hub")


def used(advanced=(), edr=(), of=None) -> TenantUsage:
    """A tenant in which these devices use the one application, and those the other.

    A device's id is its name, unless it is written `id/name`.
    """
    names = sorted({*advanced, *edr})
    devices = [
        replace(device(name), id=name.partition("/")[0], name=name.rpartition("/")[2])
        for name in names
    ]
    return count_tenant(
        reading(
            devices,
            [
                *(row(name.partition("/")[0]) for name in advanced),
                *(row(name.partition("/")[0], "K2") for name in edr),
            ],
            [key(), key("K2", EDR)],
            of=of,
        ),
        counting(Application(KES), Application(EDR)),
    )


def pool(application=KES, of=None):
    return Pool((of or tenant()).ref, application)


UPGRADE = (pool(), pool(EDR))


# --- by id ----------------------------------------------------------------------------------------


def test_devices_that_changed_their_licence_have_moved():
    then, now = used("abcd", "x"), used("a", "bcx")
    assert moved([then], [now]) == {UPGRADE: 2}


def test_a_device_that_had_both_has_not_moved_when_it_loses_one():
    assert moved([used("ab", "ab")], [used("", "ab")]) == {}


def test_a_device_that_has_both_from_now_on_has_not_moved():
    assert moved([used("ab")], [used("ab", "ab")]) == {}


def test_other_devices_are_not_those_that_went():
    assert moved([used("ab")], [used("", "cd")]) == {}


def test_devices_move_also_between_tenants_whoever_bills_them_and_between_sources():
    """The id of a device of another server means nothing here, but its name does."""
    before = [used("ab"), used("", "x", of=SOUTH)]
    now = [used(), used("", "abx", of=SOUTH)]
    assert moved(before, now) == {(pool(), pool(EDR, SOUTH)): 2}
    before = [used(["1/a", "2/b"]), used("", "x", of=HUB)]
    now = [used(), used("", ["7/a", "8/b", "x"], of=HUB)]
    assert moved(before, now) == {(pool(), pool(EDR, HUB)): 2}


def test_devices_move_between_tenants_also_with_the_same_licence():
    assert moved([used("ab"), used(of=SOUTH)], [used("a"), used("b", of=SOUTH)]) == {
        (pool(), pool(KES, SOUTH)): 1
    }


def test_a_device_may_have_come_from_several_pools_and_gone_to_several():
    then, now = [used("a", "a")], [used("", ""), used("a", "a", of=SOUTH)]
    assert moved(then, now) == {
        (old, new): 1 for old in UPGRADE for new in (pool(KES, SOUTH), pool(EDR, SOUTH))
    }


def test_without_evidence_of_then_nothing_is_known_to_have_moved():
    assert moved([], [used("", "ab")]) == {}


def test_devices_that_are_not_counted_do_not_move():
    now = count_tenant(
        reading([device("a")], [row("a", "K2", current=False)], [key(), key("K2", EDR)]),
        counting(Application(KES), Application(EDR)),
    )
    assert moved([used("a")], [now]) == {}


def test_a_tenant_that_was_not_read_today_has_lost_what_appeared_elsewhere_by_its_id():
    assert moved([used("ab")], [used("", "ab", of=SOUTH)]) == {(pool(), pool(EDR, SOUTH)): 2}


# --- by name --------------------------------------------------------------------------------------


def test_a_device_that_was_installed_anew_is_known_by_its_name():
    then, now = used(["1/pc-01", "2/pc-02"]), used(["1/pc-01"], ["9/PC-02"])
    assert moved([then], [now]) == {UPGRADE: 1}


def test_what_security_center_appends_to_a_double_name_is_no_part_of_it():
    assert moved([used(["1/pc-01"])], [used("", ["9/PC-01~~10281"])]) == {UPGRADE: 1}
    assert moved([used(["1/PC-01~~10281"])], [used("", ["9/pc-01"])]) == {UPGRADE: 1}
    for other in ("pc-01~10281", "pc-01~~", "pc-01~~2x", "pc-01~~1 old"):
        assert moved([used(["1/pc-01"])], [used("", [f"9/{other}"])]) == {}


def test_a_name_of_a_tenant_that_was_not_read_today_proves_nothing():
    """Nobody knows whether it left, and every client has a PC-01."""
    assert moved([used(["1/pc-01"])], [used("", ["9/pc-01"], of=SOUTH)]) == {}


def test_a_name_that_is_still_there_or_that_was_there_before_has_not_moved():
    assert moved([used(["1/pc-01"])], [used(["1/pc-01"], ["9/pc-01"])]) == {}
    then = [used(["1/pc-01"], ["8/pc-01"])]
    assert moved(then, [used("", ["8/pc-01"])]) == {}


def test_devices_without_a_name_are_not_one_device():
    assert moved([used(["1/"])], [used("", ["9/"])]) == {}


def test_a_device_that_kept_its_id_is_not_counted_again_for_its_name():
    then, now = used(["1/a", "2/b", "3/c"]), used("", ["1/a", "2/x", "9/c"])
    assert moved([then], [now]) == {UPGRADE: 2}


# --- what was last read of a tenant that was not read today ----------------------------------------


def test_a_tenant_that_was_not_read_today_has_lost_by_name_what_was_gone_when_it_was_last_read():
    then, now = [used(["1/pc-01"])], [used("", ["9/pc-01"], of=SOUTH)]
    assert moved(then, now, [used(["2/pc-02"])]) == {(pool(), pool(EDR, SOUTH)): 1}
    assert moved(then, now, [used(["1/pc-01"])]) == {}


def test_a_tenant_that_was_not_read_today_may_have_lost_by_its_id_what_it_had_when_it_was_last_read():
    had = [used("ab")]
    assert moved(had, [used("", "a", of=SOUTH)], had) == {(pool(), pool(EDR, SOUTH)): 1}


def test_what_moved_within_a_tenant_before_it_was_last_read_has_moved():
    assert moved([used("ab")], [], [used("a", "b")]) == {UPGRADE: 1}
    assert moved([reported(advanced=20)], [], [reported(edr=20)]) == {UPGRADE: 20}


# --- by totals ------------------------------------------------------------------------------------


def reported(of=None, **numbers) -> TenantUsage:
    """A tenant whose report has totals alone: `advanced=5, edr=3`."""
    applications = tuple(
        ApplicationUsage(
            application={"advanced": KES, "edr": EDR}[name],
            unit=Unit.DEVICE,
            quantities={Category.ALL: number},
            rows=1,
            counted_rows=1,
            left_out={},
        )
        for name, number in numbers.items()
    )
    return TenantUsage(of or tenant(), NOW, applications)


def test_where_a_reading_has_no_devices_a_fall_and_a_rise_of_a_tenant_are_a_move():
    then = [reported(advanced=20, edr=5)]
    assert moved(then, [reported(advanced=12, edr=10)]) == {UPGRADE: 5}
    assert moved(then, [reported(advanced=18, edr=10)]) == {UPGRADE: 2}
    assert moved(then, [reported(edr=25)]) == {UPGRADE: 20}
    assert moved([reported(advanced=20)], [reported(edr=20)]) == {UPGRADE: 20}
    assert moved([reported(advanced=1)], [reported(edr=1)]) == {UPGRADE: 1}


def test_totals_that_both_rise_or_fall_or_stay_tell_of_no_move():
    then = [reported(advanced=20, edr=5)]
    for advanced, edr in [(21, 6), (19, 4), (20, 9), (10, 5), (20, 5)]:
        assert moved(then, [reported(advanced=advanced, edr=edr)]) == {}


def test_totals_of_two_tenants_have_nothing_to_do_with_each_other():
    then = [reported(advanced=20), reported(edr=5, of=SOUTH)]
    assert moved(then, [reported(advanced=10), reported(edr=15, of=SOUTH)]) == {}


def test_a_total_on_one_side_is_enough():
    """A client whose report had totals yesterday has devices today, or the other way round."""
    assert moved([reported(advanced=2)], [used("", "ab")]) == {UPGRADE: 2}
    assert moved([used("ab")], [reported(edr=2)]) == {UPGRADE: 2}


def test_where_both_readings_have_devices_totals_decide_nothing():
    assert moved([used("ab", "x")], [used("a", "xyz")]) == {}


def test_the_total_of_a_tenant_that_was_not_read_today_has_not_fallen():
    assert moved([reported(advanced=20)], [reported(edr=20, of=SOUTH)]) == {}


# --- ids of a report, each of its company ---------------------------------------------------------

GUID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
NORTH, LAB = (tenant(name, name, "hub") for name in ("North", "Lab"))


def reports(of, *own) -> TenantUsage:
    """What a company of a report uses, by the ids that are its own."""
    devices = [replace(device(x), id=f"{of.name}/{x}", name="") for x in own]
    return count_tenant(reading(devices, of=of), counting())


@pytest.mark.parametrize(
    ("own", "is_sure"),
    [
        (GUID, True),
        (f"{{{GUID}}}", True),
        (GUID.replace("-", ""), True),
        ("00000000-0000-0000-0000-000000000001", False),
        ("00-50-56-c0-00-08", False),
        ("pc-01", False),
        ("17", False),
    ],
)
def test_an_id_of_a_company_is_the_same_device_in_another_one_and_surely_so_if_it_is_random(
    own, is_sure
):
    before, after = reports(NORTH, own), reports(LAB, own)
    went = {(pool(of=NORTH), pool(of=LAB)): 1}
    for today in ([reports(NORTH), after], [after]):
        sure = set()
        assert moved([before, reports(LAB)], today, sure=sure) == went
        assert sure == (went.keys() if is_sure else set())
    assert moved([before, after], [before, after]) == moved([before, after], [after]) == {}
