from dataclasses import replace

from kisi.counting import ClientUsage
from kisi.errors import ExitCode
from kisi.model import Application, Category, Failure, ProductRow, UnmappedUse
from kisi.planning import billed_applications, desired_state
from tests.unit.build import ALL_ROW, COMPANY, KES, SPLIT_ROW, mapping

W, S, N = (
    Category.WINDOWS_WORKSTATIONS,
    Category.WINDOWS_SERVERS,
    Category.NON_WINDOWS,
)


def used(application=KES, **numbers):
    quantities = {Category(name): number for name, number in numbers.items()}
    return ClientUsage(application, quantities)


def quantities(found):
    return {want.product: want.quantity for want in found.lines}


def test_by_category_each_product_gets_its_own_number():
    usage = used(windows_workstations=90, windows_servers=10)
    found = desired_state(mapping(SPLIT_ROW), COMPANY, [usage])
    assert quantities(found) == {"1201": 90, "1202": 10, "1203": 0}
    assert found.unmapped == ()


def test_each_product_knows_its_application_and_whether_unknown_devices_are_counted():
    rows = (SPLIT_ROW, ProductRow("Mail", "cw", {Category.ALL: "1300"}))
    billed = mapping(*rows, applications=[Application(KES), Application("Mail")])
    usages = [
        replace(used(windows_workstations=90), unknown_devices=("pc-9",)),
        used("Mail", all=2),
    ]
    found = desired_state(billed, COMPANY, usages)
    assert {line.product: (line.application, line.unknown_devices) for line in found.lines} == {
        "1201": (KES, ("pc-9",)),
        "1202": (KES, ("pc-9",)),
        "1203": (KES, ("pc-9",)),
        "1300": ("Mail", ()),
    }


def test_as_one_product_everything_adds_up():
    usage = used(windows_workstations=90, windows_servers=10)
    assert quantities(desired_state(mapping(ALL_ROW), COMPANY, [usage])) == {"1200": 100}


def test_categories_that_share_a_product_add_up_under_both_names():
    row = ProductRow(KES, "cw", {W: "1201", S: "1202", N: "1201"})
    found = desired_state(mapping(row), COMPANY, [used(windows_workstations=5, non_windows=2)])
    assert quantities(found) == {"1201": 7, "1202": 0}
    assert found.lines[0].categories == (W, N)


def test_a_category_without_a_product_is_unmapped_not_lost():
    row = ProductRow(KES, "cw", {W: "1201", S: "1202"})
    found = desired_state(mapping(row), COMPANY, [used(windows_workstations=5, non_windows=2)])
    (use,) = found.unmapped
    assert (use.application, use.category, use.quantity) == (KES, N, 2)


def test_an_unused_application_wants_zero_so_that_its_line_comes_down():
    assert quantities(desired_state(mapping(ALL_ROW), COMPANY, [])) == {"1200": 0}


def test_an_exception_of_the_client_wins():
    own = ProductRow(KES, "cw", {Category.ALL: "1250"})
    company = replace(COMPANY, exceptions=(own,))
    found = desired_state(
        mapping(SPLIT_ROW), company, [used(windows_workstations=3, windows_servers=1)]
    )
    assert quantities(found) == {"1250": 4}


def test_what_bills_an_application_elsewhere_is_known_where_it_is_managed_by_hand():
    own = ProductRow(KES, "cw", {}, bill=False)
    rows = (SPLIT_ROW, ProductRow("Mail", "cw", {Category.ALL: "1300"}))
    elsewhere = ProductRow(KES, "tp", {Category.ALL: "KES"})
    company = replace(COMPANY, exceptions=(own,))
    billed = mapping(*rows, elsewhere, applications=[Application(KES), Application("Mail")])
    assert desired_state(billed, company, []).products_by_hand == {"1201", "1202", "1203"}
    assert desired_state(billed, COMPANY, []).products_by_hand == frozenset()


def test_an_application_managed_by_hand_is_neither_wanted_nor_unmapped():
    own = ProductRow(KES, "cw", {}, bill=False)
    company = replace(COMPANY, exceptions=(own,))
    found = desired_state(mapping(SPLIT_ROW), company, [used(windows_workstations=3)])
    assert (found.lines, found.unmapped) == ((), ())
    assert found.managed_by_hand == {KES}


def test_rows_of_another_psa_do_not_bill_this_client():
    elsewhere = ProductRow(KES, "tp", {Category.ALL: "X"})
    found = desired_state(mapping(elsewhere), COMPANY, [used(windows_workstations=3)])
    assert found.lines == ()
    (use,) = found.unmapped
    assert (use.quantity, use.estimated) == (3, False)


def test_a_total_cannot_be_billed_by_category():
    found = desired_state(mapping(SPLIT_ROW), COMPANY, [used(all=40)])
    assert found.failure is not None
    assert found.failure.exit_code == 6
    assert quantities(desired_state(mapping(ALL_ROW), COMPANY, [used(all=40)])) == {"1200": 40}


def test_applications_are_billed_if_any_row_says_so():
    never = Application("Mail", bill=False)
    left = ProductRow("Mail", "cw", {}, bill=False)
    company = replace(COMPANY, exceptions=(left,))
    subject = mapping(ALL_ROW, applications=(Application(KES), never), companies=(company,))
    assert billed_applications(subject) == {KES}


def test_every_application_of_a_client_is_wanted_whatever_another_one_says():
    left = ProductRow("Mail", "cw", {}, bill=False)
    storage = ProductRow("Storage", "cw", {W: "1301"})
    rows = (left, ALL_ROW, storage)
    apps = tuple(Application(name) for name in ("Mail", KES, "Storage"))
    uses = [used(windows_servers=3), used("Storage", windows_workstations=2, non_windows=1)]
    found = desired_state(mapping(*rows, applications=apps), COMPANY, uses)
    assert quantities(found) == {"1200": 3, "1301": 2}
    assert found.unmapped == (UnmappedUse("Contoso", "Storage", 1, estimated=False, category=N),)


def test_usage_without_a_row_adds_to_what_is_unmapped():
    storage = ProductRow("Storage", "cw", {W: "1301"})
    apps = (Application("Storage"), Application("Other"), Application("More"))
    uses = [
        used("Storage", windows_workstations=2, windows_servers=4),
        used("Other", windows_servers=5),
        used("More", all=6),
    ]
    found = desired_state(mapping(storage, applications=apps), COMPANY, uses)
    assert found.unmapped == (
        UnmappedUse("Contoso", "Storage", 4, estimated=False, category=S),
        UnmappedUse("Contoso", "Other", 5, estimated=False),
        UnmappedUse("Contoso", "More", 6, estimated=False),
    )


def test_a_category_that_nobody_uses_is_not_unmapped():
    row = ProductRow(KES, "cw", {W: "1201"})
    assert desired_state(mapping(row), COMPANY, [used(windows_workstations=5)]).unmapped == ()


def test_a_total_without_categories_fails_with_a_way_out():
    found = desired_state(mapping(SPLIT_ROW), COMPANY, [used(all=40)])
    assert found.lines == ()
    assert found.failure == Failure(
        "category",
        f"the report has only a total for {KES}, which is billed by category",
        "Map the application to one product (`all = ...`) for this client, or export a report "
        "with a category or one row a device.",
        ExitCode.WITHHELD,
    )
