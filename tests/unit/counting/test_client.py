from dataclasses import replace

from kisi.counting import combine, count_tenant, without_evidence
from kisi.model import Application, Category, CountingRules, Unit
from tests.unit.build import KES, SERVER_2022, counting, device, reading, row, tenant, users


def counted(*readings, using=None):
    return combine([count_tenant(item, using or counting()) for item in readings], CountingRules())


def test_tenants_of_one_client_add_up():
    one = reading([device("a"), device("b")])
    two = reading([device("c", SERVER_2022)], of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two)
    assert usage.quantities[Category.WINDOWS_WORKSTATIONS] == 2
    assert usage.quantities[Category.WINDOWS_SERVERS] == 1


def test_what_a_client_used_has_the_name_of_its_application_and_needs_no_evidence_of_one_tenant():
    one = count_tenant(reading([device("a"), device("b", "")]), counting())
    numbers = without_evidence(one)
    assert [usage.evidence for usage in numbers.applications] == [()]
    assert [replace(usage, evidence=()) for usage in one.applications] == [*numbers.applications]
    assert replace(numbers, applications=one.applications) == one
    found = combine([numbers], CountingRules())
    assert found == combine([one], CountingRules())
    assert [usage.application for usage in found] == [KES]


def test_a_device_in_two_tenants_of_one_source_counts_once_and_the_first_decides_its_class():
    one = reading([device("a")])
    two = reading([device("a", SERVER_2022)], of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two)
    assert usage.quantities[Category.WINDOWS_WORKSTATIONS] == 1
    assert usage.quantities[Category.WINDOWS_SERVERS] == 0


def test_the_same_id_in_two_sources_is_two_devices():
    one = reading([device("a")])
    two = reading([device("a")], of=tenant(source="other"))
    (usage,) = counted(one, two)
    assert sum(usage.quantities.values()) == 2


def test_users_are_worked_out_per_tenant_and_then_added():
    one = reading([device(f"a{n}", "Android") for n in range(3)])
    two = reading([device("a0", "Android")], of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two, using=counting(users(KES)))
    assert usage.quantities == {Category.ALL: 3}


def test_the_unknown_devices_of_all_tenants_are_kept():
    one = reading([device("a", ""), device("b")])
    two = reading([device("c", "")], of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two)
    assert usage.unknown_devices == ("a", "c")


def test_an_unknown_device_in_two_tenants_is_taken_off_the_category_it_was_counted_in():
    rules = CountingRules(unknown_device="windows_servers")
    readings = [reading([device("a", "")]), reading([device("a", "")], of=tenant(uid="VSRV-2"))]
    usages = [count_tenant(item, counting(rules=rules)) for item in readings]
    (usage,) = combine(usages, rules)
    assert usage.quantities == {Category.WINDOWS_SERVERS: 1}


def test_a_mailbox_in_two_tenants_counts_once():
    using = counting(Application(KES, unit=Unit.MAILBOX))
    one = reading([device("a"), device("b")])
    two = reading([device("b"), device("c")], of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two, using=using)
    assert usage.quantities == {Category.ALL: 3}


def test_a_device_that_is_left_out_hides_no_repeated_one_after_it():
    rows = [row("x", current=False), row("a")]
    one = reading([device("a"), device("x")], rows)
    two = reading([device("a"), device("x")], rows, of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two)
    assert usage.quantities == {Category.WINDOWS_WORKSTATIONS: 1}
