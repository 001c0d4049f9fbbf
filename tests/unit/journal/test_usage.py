from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from kisi.journal import Journal, PackedUsage, Subject
from kisi.model import Company, KeyUse, TenantRef, TenantUsage
from tests.unit.journal.builders import begin, company, day, held, usage
from tests.unit.journal.test_clients import plan_of


def night(journal: Journal, number: int, *read: tuple[Company, TenantUsage]) -> int:
    run = begin(journal, number)
    journal.record_mapping([company(1), company(2)])
    usages = [(client, PackedUsage.of(usage)) for client, usage in read]
    journal.record_usage(run, usages, day(number).date())
    return run


def contents(journal: Journal) -> int:
    (row,) = journal._rows("SELECT count(*) FROM content")
    return int(row[0])


def ranges(journal: Journal) -> list[tuple[int, int]]:
    rows = journal._rows("SELECT first_run, last_run FROM usage ORDER BY id")
    return [(row[0], row[1]) for row in rows]


def test_unchanged_usage_is_one_range_of_one_content_whatever_the_order(journal: Journal) -> None:
    for number in (1, 2, 3):
        read = usage(at=day(number))
        (application,) = read.applications
        turned = replace(application, evidence=application.evidence[::-1])
        night(journal, number, (company(), replace(read, applications=(turned,))))

    assert contents(journal) == 1
    assert ranges(journal) == [(1, 3)]
    (record,) = journal.usage_at("Client 1")
    assert record.usage == usage(at=day(3))
    assert (record.first_run, record.first_at, record.last_run, record.last_at) == (
        *(1, day(1)),
        *(3, day(3)),
    )
    assert (record.read, record.previous, record.previous_run) == (True, None, None)


def test_a_past_run_still_lists_its_devices_and_what_it_had_before(journal: Journal) -> None:
    for number, devices in ((1, 5), (2, 5), (3, 7), (4, 2)):
        night(journal, number, (company(), usage(devices=devices, at=day(number))))

    (record,) = journal.usage_at("Client 1", 3)
    assert [len(record.usage.applications[0].evidence), record.usage.at] == [7, day(3)]
    assert record.previous == usage(devices=5, at=day(2))
    assert record.previous_run == 2
    (oldest,) = journal.usage_at("Client 1", 1)
    assert oldest.usage.applications[0].total == 5


def test_no_run_is_said_to_have_read_what_it_did_not(journal: Journal) -> None:
    night(journal, 1, (company(), usage(at=day(1))))
    failed = night(journal, 2)
    night(journal, 3, (company(), usage(at=day(3))))

    assert contents(journal) == 1
    assert ranges(journal) == [(1, 1), (3, 3)]
    (record,) = journal.usage_at("Client 1", failed)
    assert (record.read, record.last_run) == (False, 1)
    (record,) = journal.usage_at("Client 1")
    assert (record.read, record.previous) == (True, None)


def test_a_tenant_that_was_moved_away_is_shown_only_where_it_was_read(journal: Journal) -> None:
    moved = replace(company(), tenants=(TenantRef("hub", "Contoso Ltd"),))
    first = night(journal, 1, (company(), usage(at=day(1))))
    night(journal, 2, (moved, usage(moved, at=day(2))))
    journal.record_mapping([moved])

    assert [r.usage.tenant.ref for r in journal.usage_at("Client 1")] == [*moved.tenants]
    assert [r.usage.tenant.ref for r in journal.usage_at("Client 1", first)] == [*company().tenants]
    assert journal.usage_at("Nobody") == ()


def test_keys_are_those_that_were_stored_last(journal: Journal) -> None:
    assert journal.keys() == {}
    run, known = begin(journal), KeyUse("K1", "KES", "KES", True, "commercial", 6, 7, 10, day(9))
    journal.replace_latest(run, day(1), Subject.KEYS, {"hq:VSRV-1": (known,)})
    assert journal.keys() == {"hq:VSRV-1": (known,)}


def test_pruning_forgets_what_ended_and_keeps_what_is_still_so(journal: Journal) -> None:
    for number, devices in ((1, 5), (2, 7), (3, 7)):
        night(journal, number, (company(), usage(devices=devices, at=day(number))))
    journal.record_plan(1, day(1), plan_of(company(1), held(company(1)), plan_id="a"))
    journal.record_plan(3, day(3), plan_of(company(1), held(company(1)), plan_id="b"))
    before: datetime = day(2)

    journal.prune(before)
    assert contents(journal) == 1
    assert journal.held_lines("a") == ()
    assert journal.held_lines("b")
    (record,) = journal.usage_at("Client 1", 2)
    assert record.previous is None
    assert journal.usage_at("Client 1", 1) == ()


def readings(journal: Journal, run: int, *tenants: TenantRef) -> dict[TenantRef, TenantUsage]:
    found = journal.readings(run, tenants or None)
    return {ref: packed.whole() for ref, packed in found.items()}


def of(*numbers: int) -> list[TenantRef]:
    return [ref for number in numbers for ref in company(number).tenants]


def test_a_reading_of_a_run_is_what_was_read_in_it(journal: Journal) -> None:
    for number, devices in ((1, 5), (2, 7), (3, 2)):
        night(journal, number, (company(), usage(devices=devices, at=day(number))))

    (ref,) = of(1)
    assert readings(journal, 2) == {ref: usage(devices=7, at=day(2))}
    assert readings(journal, 1) == {ref: usage(devices=5, at=day(1))}
    assert readings(journal, 99) == {ref: usage(devices=2, at=day(3))}
    assert readings(journal, 0) == {}


def test_a_tenant_that_was_not_read_that_night_stands_there_as_it_was_before(
    journal: Journal,
) -> None:
    night(journal, 1, (company(), usage(devices=5, at=day(1))))
    second = night(journal, 2)
    night(journal, 3, (company(), usage(devices=9, at=day(3))))

    assert readings(journal, second) == {of(1)[0]: usage(devices=5, at=day(1))}


def test_readings_are_of_all_tenants_or_of_some(journal: Journal) -> None:
    both = [(company(number), usage(company(number), devices=number)) for number in (1, 2)]
    run = night(journal, 1, *both)

    assert set(readings(journal, run)) == {*of(1, 2)}
    assert set(readings(journal, run, *of(2))) == {*of(2)}
    assert set(readings(journal, run, *of(2, 7))) == {*of(2)}
    assert journal.readings(run, []) == {}


def test_a_reading_stays_the_tenants_whoever_bills_it(journal: Journal) -> None:
    """A tenant that went to another client: its reading of then is the old client's."""
    first = night(journal, 1, (company(1), usage(devices=5, at=day(1))))
    taken = replace(company(2), tenants=company(1).tenants)
    second = night(journal, 2, (taken, usage(devices=6, at=day(2))))

    assert readings(journal, first) == {of(1)[0]: usage(devices=5, at=day(1))}
    assert readings(journal, second) == {of(1)[0]: usage(devices=6, at=day(2))}


def test_a_reading_says_what_it_is_without_being_unpacked(journal: Journal) -> None:
    packed = PackedUsage.of(usage(at=day(1)))
    run = night(journal, 1, (company(), usage(at=day(1))))
    night(journal, 2, (company(), usage(at=day(2))))

    (found,) = journal.readings(run).values()
    assert (found.tenant, found.fingerprint) == (packed.tenant, packed.fingerprint)
    assert found.at == day(2)


def test_a_tenant_whose_id_has_a_colon_is_found(journal: Journal) -> None:
    odd = company(tenants=(TenantRef("hub", "Contoso: Berlin"),))
    run = night(journal, 1, (odd, usage(odd)))

    assert list(journal.readings(run)) == [*odd.tenants]
    assert list(journal.readings(run, odd.tenants)) == [*odd.tenants]


def test_what_was_pruned_is_not_known_any_more(journal: Journal) -> None:
    first = night(journal, 1, (company(), usage(devices=5, at=day(1))))
    night(journal, 9, (company(), usage(devices=7, at=day(9))))
    journal.prune(day(5))

    assert readings(journal, first) == {}
