"""Devices that two tenants count in one run."""

from kisi.model import Pool, TenantRef
from kisi.planning import (
    counted_twice,
    doubles_of,
    still_accepted,
    told_and_asked,
    with_notes,
)
from tests.unit.build import mapping
from tests.unit.fakes import planned
from tests.unit.planning.arranged import client, ready

T1, T2 = (TenantRef("hq", name) for name in ("t1", "t2"))
EAST = TenantRef("east", "t1")
CONTOSO, LAB = client("Contoso", "t1"), client("Lab", "t2")


def twice(devices, *companies):
    pools = {Pool(tenant, name): ids for (tenant, name), ids in devices.items()}
    return counted_twice(pools, mapping(companies=companies))


def test_a_device_of_two_clients_is_found_from_both_sides():
    found = twice({(T1, "A"): [1, 2, 3], (T2, "A"): [3, 2, 4]}, CONTOSO, LAB)
    assert found == {Pool(T1, "A"): {T2: 2}, Pool(T2, "A"): {T1: 2}}


def test_two_applications_of_one_device_are_two_uses():
    assert twice({(T1, "A"): [1], (T2, "B"): [1], (T1, "B"): [1]}, CONTOSO) == {
        Pool(T1, "B"): {T2: 1},
        Pool(T2, "B"): {T1: 1},
    }


def test_the_tenants_of_one_client_in_one_source_count_it_once_already():
    both = client("Contoso", "t1 t2")
    assert twice({(T1, "A"): [1], (T2, "A"): [1]}, both) == {}
    assert twice({(T1, "A"): [1], (EAST, "A"): [1]}, both) == {
        Pool(T1, "A"): {EAST: 1},
        Pool(EAST, "A"): {T1: 1},
    }


def test_a_line_says_how_many_and_where():
    lines = planned(10, 11, application="A"), planned(9, 9, "9", line_id="9", application="B")
    plan = ready(CONTOSO, *lines)
    devices = {(T1, "A"): [1, 2], (T2, "A"): [1, 2], (T1, "B"): [7], (T2, "B"): [7]}
    whole = mapping(companies=(CONTOSO, LAB))
    said = doubles_of([plan], twice(devices, CONTOSO, LAB), whole)
    assert said == {
        lines[0].slot: "2 of its devices are counted in hq:t2 of Lab too",
        lines[1].slot: "1 of its devices is counted in hq:t2 of Lab too",
    }
    none = planned(4, 0, "9", line_id="9", application="B")
    assert doubles_of([ready(CONTOSO, none)], twice(devices, CONTOSO, LAB), whole) == {}
    (note,) = with_notes(plan, said, said).notes
    assert note.startswith("B: 1 of its devices is counted in hq:t2 of Lab too; `kisi explain`")


def test_what_several_tenants_count_is_added_up_and_each_place_is_said():
    t3 = TenantRef("hq", "t3")
    both, north = client("Contoso", "t1 t3"), client("North", "t4")
    devices = {(T1, "A"): [1], (t3, "A"): [2, 5], (T2, "A"): [1, 2]}
    devices |= {(TenantRef("hq", "t4"), "A"): [5]}
    line = planned(1, 3, application="A")
    whole = mapping(companies=(both, LAB, north))
    said = doubles_of([ready(both, line)], twice(devices, both, LAB, north), whole)
    assert said[line.slot] == (
        "2 of its devices are counted in hq:t2 of Lab too; "
        "1 of its devices is counted in hq:t4 of North too"
    )


def test_what_was_accepted_is_asked_again_only_where_more_is_counted_twice():
    whole = mapping(companies=(CONTOSO, LAB))
    three = twice({(T1, "A"): [1, 2, 3], (T2, "A"): [1, 2, 3]}, CONTOSO, LAB)
    two = twice({(T1, "A"): [1, 2], (T2, "A"): [1, 2]}, CONTOSO, LAB)
    accepted = still_accepted({}, three, [Pool(T1, "A")], [T1, T2])
    line = planned(10, 11, application="A")
    for company in (CONTOSO, LAB):  # one pair of lines, from either side
        plan = ready(company, line)
        said = {line.slot: doubles_of([plan], three, whole)[line.slot]}
        assert told_and_asked(three, {}, [plan], whole) == (said, said)
        assert told_and_asked(three, accepted, [plan], whole) == (said, {})
        assert with_notes(plan, said, {}).notes
        assert with_notes(plan, said, said).notes == ()
    fewer = still_accepted(accepted, two, [], [T1, T2])
    assert told_and_asked(two, fewer, [ready(CONTOSO, line)], whole)[1] == {}
    assert told_and_asked(three, fewer, [ready(CONTOSO, line)], whole)[1] == {
        line.slot: "3 of its devices are counted in hq:t2 of Lab too"
    }
    assert still_accepted(accepted, {}, [], [T1]) == accepted  # nobody knows of the other one
    assert still_accepted(accepted, {}, [], [T1, T2]) == {}
    assert still_accepted({}, three, [], [T1, T2]) == {}
