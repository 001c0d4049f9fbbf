from kisi.model import Category, CountingRules
from kisi.usage import combine, count_tenant
from tests.unit.build import KES, SERVER_2022, device, reading, tenant, terms, users


def counted(*readings, using=None):
    return combine([count_tenant(item, using or terms()) for item in readings], CountingRules())


def test_tenants_of_one_client_add_up():
    one = reading([device("a"), device("b")])
    two = reading([device("c", SERVER_2022)], of=tenant(uid="VSRV-2"))
    (usage,) = counted(one, two)
    assert usage.quantities[Category.WINDOWS_WORKSTATIONS] == 2
    assert usage.quantities[Category.WINDOWS_SERVERS] == 1


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
    (usage,) = counted(one, two, using=terms(users(KES)))
    assert usage.quantities == {Category.ALL: 3}
