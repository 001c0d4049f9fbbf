from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.counting import RowCount, Undecided, conservation, count_tenant, licensed_users
from kisi.errors import ExitCode, Incomplete
from kisi.model import (
    Application,
    Category,
    CountingRules,
    Device,
    DeviceClass,
    KeyEvidence,
    KeyRow,
    ReportedQuantity,
    TenantRef,
    Unit,
    UnmappedUse,
)
from tests.unit.build import (
    EARLIER,
    KES,
    LATER,
    NOW,
    SERVER_2022,
    counting,
    device,
    key,
    reading,
    row,
    users,
)

WORKSTATIONS, SERVERS, OTHERS = (
    Category.WINDOWS_WORKSTATIONS,
    Category.WINDOWS_SERVERS,
    Category.NON_WINDOWS,
)


def fleet(workstations=0, servers=0, linux=0, android=0):
    return [
        *(device(f"w{n}") for n in range(workstations)),
        *(device(f"s{n}", SERVER_2022) for n in range(servers)),
        *(device(f"l{n}", "Linux") for n in range(linux)),
        *(device(f"a{n}", "Android") for n in range(android)),
    ]


def only(usage):
    (application,) = usage.applications
    return application


def test_ninety_workstations_and_ten_servers():
    usage = only(count_tenant(reading(fleet(90, 10)), counting()))
    assert usage.quantities == {WORKSTATIONS: 90, SERVERS: 10}
    assert usage.total == 100


def test_linux_and_mobile_devices_are_non_windows():
    usage = only(count_tenant(reading(fleet(1, 1, linux=2, android=3)), counting()))
    assert usage.quantities == {WORKSTATIONS: 1, SERVERS: 1, OTHERS: 5}


def test_a_device_counts_once_however_many_rows_products_and_keys_it_has():
    rows = [row("w0"), row("w0"), row("w0", "K2")]
    usage = only(count_tenant(reading(fleet(1), rows, [key(), key("K2")]), counting()))
    assert usage.total == 1
    assert conservation(usage) == "3 rows = 1 counted + 2 the same device again"


def test_a_device_with_a_reserve_row_first_still_counts_by_its_active_key():
    rows = [row("w0", current=False), row("w0", "K2")]
    usage = only(count_tenant(reading(fleet(1), rows, [key(), key("K2")]), counting()))
    assert usage.total == 1
    (evidence,) = usage.evidence
    assert (evidence.serial, evidence.counted) == ("K2", True)


def test_what_is_left_out_is_listed_with_its_reason():
    rows = [
        row("w0"),
        row("w1", current=False),
        row("w2", pending=True),
        row("w3", expires=EARLIER),
    ]
    usage = only(count_tenant(reading(fleet(4), rows), counting()))
    assert usage.total == 1
    assert {item.device: item.reason for item in usage.evidence} == {
        "w0": "active key",
        "w1": "reserve key",
        "w2": "activation pending",
        "w3": "expired on the device",
    }


def test_devices_of_another_server_are_listed_and_not_counted():
    rows = [*(row(f"w{n}") for n in range(3)), row("x1"), row("x2")]
    usage = only(count_tenant(reading(fleet(3), rows), counting()))
    assert usage.total == 3
    assert usage.left_out == {"not a device of this server": 2}


@pytest.mark.parametrize(
    ("own", "foreign", "complete"), [(10, 2, True), (10, 3, False), (294, 6, True), (293, 7, False)]
)
def test_too_many_devices_of_other_servers_make_the_tenant_incomplete(own, foreign, complete):
    rows = [row(f"w{n}") for n in range(own)] + [row(f"x{n}") for n in range(foreign)]
    subject = reading(fleet(own), rows)
    if complete:
        assert only(count_tenant(subject, counting())).total == own
    else:
        with pytest.raises(Incomplete, match=f"{foreign} of {own + foreign} devices"):
            count_tenant(subject, counting())


def test_reserve_rows_of_other_servers_do_not_count_as_foreign():
    rows = [row("w0"), *(row(f"x{n}", current=False) for n in range(20))]
    assert only(count_tenant(reading(fleet(1), rows), counting())).total == 1


def test_two_applications_on_one_device_count_in_each():
    other = "Kaspersky EDR Optimum"
    rows = [row("w0"), row("w0", "K2")]
    subject = reading(fleet(1), rows, [key(), key("K2", other)])
    usage = count_tenant(subject, counting(Application(KES), Application(other)))
    assert [item.total for item in usage.applications] == [1, 1]


def test_rows_of_keys_that_do_not_count_are_not_usage():
    rows = [row("w0"), row("w1", "K2")]
    subject = reading(fleet(2), rows, [key(), key("K2", key_type=3)])
    usage = count_tenant(subject, counting())
    assert only(usage).total == 1
    assert {item.serial: item.counted for item in usage.keys} == {"K1": True, "K2": False}


def test_an_unknown_system_is_non_windows_and_pointed_out():
    usage = only(count_tenant(reading([device("d", "")]), counting()))
    assert usage.quantities == {OTHERS: 1}
    assert usage.unknown_devices == ("d",)
    assert usage.evidence[0].device_class is DeviceClass.UNKNOWN


@pytest.mark.parametrize(
    ("option", "category"),
    [("windows_workstations", WORKSTATIONS), ("windows_servers", SERVERS), ("hold", OTHERS)],
)
def test_the_category_of_an_unknown_system_can_be_chosen(option, category):
    rules = CountingRules(unknown_device=option)
    usage = only(count_tenant(reading([device("d", "")]), counting(rules=rules)))
    assert usage.quantities == {category: 1}


def test_ten_desktops_and_thirty_three_mobiles_are_seventeen_users():
    application = users(KES)
    usage = only(count_tenant(reading(fleet(8, 2, android=33)), counting(application)))
    assert usage.quantities == {Category.ALL: 17}


@pytest.mark.parametrize(
    ("computers", "mobile", "expected"),
    [(10, 12, 10), (10, 32, 16), (10, 33, 17), (0, 1, 1), (3, 0, 3), (0, 0, 0)],
)
def test_a_user_is_a_computer_and_up_to_two_mobiles(computers, mobile, expected):
    assert licensed_users(computers=computers, mobile=mobile) == expected


def test_mailboxes_are_the_number_the_report_states():
    name = "Kaspersky Security for Microsoft Office 365"
    subject = reading(keys=[], reported=(ReportedQuantity(name, Category.ALL, 25),))
    usage = only(count_tenant(subject, counting(Application(name, unit=Unit.MAILBOX))))
    assert usage.quantities == {Category.ALL: 25}
    assert conservation(usage) == "25 rows = 25 counted"


def test_figures_of_licences_that_are_not_active_stay_visible():
    reported = (
        ReportedQuantity(KES, WORKSTATIONS, 7),
        ReportedQuantity(KES, WORKSTATIONS, 3, not_counted_reason="status Expired"),
    )
    usage = only(count_tenant(reading(keys=[], reported=reported), counting()))
    assert usage.quantities == {WORKSTATIONS: 7}
    assert conservation(usage) == "10 rows = 7 counted + 3 status Expired"


def test_what_no_application_bills_is_unmapped_with_the_servers_own_figure():
    subject = reading(keys=[key(name="Kaspersky Something Else", used=12)])
    (use,) = count_tenant(subject, counting()).unmapped
    assert (use.application, use.quantity, use.estimated) == ("Kaspersky Something Else", 12, True)


@pytest.mark.parametrize("order", [1, -1])
def test_each_application_is_unmapped_for_itself_whatever_is_billed_beside_it(order):
    keys = [key("K1", "Other", used=1), key("K2"), key("K3", "Third", used=2)]
    found = count_tenant(reading(fleet(1), [row("w0", "K2")], keys[::order]), counting())
    assert {(use.application, use.quantity, use.estimated) for use in found.unmapped} == {
        ("Other", 1, True),
        ("Third", 2, True),
    }
    assert only(found).total == 1


def test_an_application_without_a_product_is_unmapped_under_its_name():
    subject = reading(keys=[key(used=5), key("K2", used=4)])
    (use,) = count_tenant(subject, counting(billed=())).unmapped
    assert (use.application, use.quantity) == (KES, 9)


def test_unmapped_use_without_a_figure_is_counted_from_its_devices():
    subject = reading(fleet(3), [row("w0"), row("w1"), row("w1")], [key(name="Other", used=None)])
    (use,) = count_tenant(subject, counting()).unmapped
    assert (use.quantity, use.estimated) == (2, False)


def test_unmapped_use_of_keys_that_were_read_and_not_read_is_one_number():
    keys = [key(name="Other", used=None), key("K2", "Other", used=7), key("K3", "Other", used=None)]
    (use,) = count_tenant(reading(fleet(3), keys=keys), counting()).unmapped
    assert (use.quantity, use.estimated) == (3 + 7, True)


def test_devices_of_a_licence_that_its_source_closed_are_left_out_by_name():
    """A report says of each device whether its licence is in force."""
    word = 'licence status "Expired"'
    rows = [row("w0"), row("w1", "K2"), row("w2", "K2"), row("w2", current=False)]
    keys = [key(), key("K2", not_counted_reason=word)]
    tenant = count_tenant(reading(fleet(3), rows, keys), counting())
    (usage,) = tenant.applications
    assert (usage.total, usage.rows, usage.counted_rows) == (1, 4, 1)
    assert usage.left_out == {word: 2, "reserve key": 1}
    assert {item.device: item.reason for item in usage.evidence} == {
        "w0": "active key",
        "w1": word,
        "w2": "reserve key",
    }
    assert tenant.unmapped == ()


def test_devices_of_a_closed_licence_that_are_no_devices_of_its_own_fail_nobody():
    rows = [row("w0"), *(row(f"x{number}", "K2") for number in range(9))]
    keys = [key(), key("K2", not_counted_reason="status Expired")]
    (usage,) = count_tenant(reading(fleet(1), rows, keys), counting()).applications
    assert (usage.total, usage.left_out) == (1, {"status Expired": 9})


@pytest.mark.parametrize(
    "subject",
    [
        key(name="Other", used=0),
        key(name="Other", used=5, key_type=3),
        key(name="Other", used=5, limit_date=EARLIER),
    ],
)
def test_unused_and_uncounted_keys_are_not_unmapped(subject):
    assert count_tenant(reading(keys=[subject]), counting()).unmapped == ()


def test_an_application_that_is_never_billed_is_neither_counted_nor_unmapped():
    mail = Application("Kaspersky Security for Mail Server", bill=False)
    subject = reading(keys=[key(name=mail.name, used=40)])
    usage = count_tenant(subject, counting(mail))
    assert (usage.applications, usage.unmapped) == ((), ())


def test_a_tie_between_two_applications_fails_the_tenant_that_uses_the_key():
    one, two = Application("One", ("Kaspersky*",)), Application("Two", ("kaspersky?*",))
    with pytest.raises(Undecided, match="'One' and 'Two'"):
        count_tenant(reading(fleet(1)), counting(one, two))
    unused = reading(keys=[key(used=0)])
    assert count_tenant(unused, counting(one, two)).applications == ()


def test_devices_are_read_only_where_they_can_be_billed():
    mail = Application("Mail", bill=False)
    subject = counting(Application(KES), mail, Application("Later"), billed={KES})
    assert subject.selects(key())
    assert subject.selects(key(name="Nobody's", used=None))
    assert subject.selects(key(name="Later", used=None))
    assert not subject.selects(key(name="Nobody's", used=3))
    assert not subject.selects(key(name="Later", used=3))
    assert not subject.selects(key(name="Mail", used=None))
    assert not subject.selects(key(key_type=3))


def test_a_use_of_a_key_that_was_not_listed_makes_the_tenant_incomplete():
    with pytest.raises(Incomplete, match="K9"):
        count_tenant(reading(fleet(1), [row("w0", "K9")]), counting())


def test_figures_add_up_by_category_and_by_reason():
    reported = (
        ReportedQuantity(KES, WORKSTATIONS, 7),
        ReportedQuantity(KES, WORKSTATIONS, 5),
        ReportedQuantity(KES, SERVERS, 2),
        ReportedQuantity(KES, SERVERS, 3, not_counted_reason="status Expired"),
        ReportedQuantity(KES, WORKSTATIONS, 4, not_counted_reason="status Expired"),
    )
    usage = only(count_tenant(reading(keys=[], reported=reported), counting()))
    assert usage.quantities == {WORKSTATIONS: 12, SERVERS: 2}
    assert conservation(usage) == "21 rows = 14 counted + 7 status Expired"


def test_figures_of_users_and_mailboxes_have_no_category():
    reported = (ReportedQuantity(KES, WORKSTATIONS, 7), ReportedQuantity(KES, Category.ALL, 5))
    usage = only(count_tenant(reading(keys=[], reported=reported), counting(users(KES))))
    assert usage.quantities == {Category.ALL: 12}


def test_an_application_lists_the_keys_behind_it():
    keys = [key(used=3, licenses=10), key("K2", key_type=3), key("K3", "Other")]
    usage = only(count_tenant(reading(fleet(1), [row("w0")], keys), counting()))
    assert [(one.serial, one.counted, one.used, one.licenses) for one in usage.keys] == [
        ("K1", True, 3, 10),
        ("K2", False, None, None),
    ]


def test_an_unknown_device_without_a_name_is_pointed_out_by_its_id():
    nameless = Device("id-7", "", "")
    usage = only(count_tenant(reading([nameless], [KeyRow("K1", "id-7")]), counting()))
    assert usage.unknown_devices == ("id-7",)


def test_the_rules_decide_which_keys_are_worth_reading():
    oem = key(key_type=5)
    assert not counting().selects(oem)
    assert counting(rules=CountingRules(oem=True)).selects(oem)


def test_a_tie_is_told_with_what_ends_it():
    one, two = Application("One", ("Kaspersky*",)), Application("Two", ("kaspersky?*",))
    with pytest.raises(Undecided) as caught:
        count_tenant(reading(fleet(1)), counting(one, two))
    assert caught.value.message == (
        f"Contoso: the key name {KES!r} belongs equally to 'One' and 'Two'. "
        "Nothing of this client was billed."
    )
    assert caught.value.guard == "ambiguous"
    assert caught.value.remedy == (
        "Make one `keys` pattern in mapping.toml longer, so that it wins."
    )


@pytest.mark.parametrize(("closed", "ties"), [("", True), ("status Expired", False)])
def test_a_report_ties_only_where_its_figure_counts(closed, ties):
    one, two = Application("One", ("Kaspersky*",)), Application("Two", ("kaspersky?*",))
    subject = reading(
        keys=[], reported=(ReportedQuantity(KES, Category.ALL, 5, not_counted_reason=closed),)
    )
    if ties:
        with pytest.raises(Undecided):
            count_tenant(subject, counting(one, two))
    else:
        assert count_tenant(subject, counting(one, two)).applications == ()


def test_foreign_devices_are_told_with_what_to_look_at():
    rows = [row(f"x{n}") for n in range(3)]
    with pytest.raises(Incomplete) as caught:
        count_tenant(reading([], rows), counting())
    assert caught.value.message == (
        "Contoso: 3 of 3 devices that use its keys are not among its own devices and may be "
        "another client's. Its lines stay as they are. They are x0, x1, x2."
    )
    assert caught.value.remedy == (
        "Run it again; if it keeps happening, see on which server these devices are, and whether "
        "the key is shared with other servers."
    )


def test_rows_that_do_not_add_up_make_the_tenant_incomplete(monkeypatch):
    monkeypatch.setattr("kisi.counting.count.count_rows", lambda *_: RowCount(1, Counter(), []))
    with pytest.raises(Incomplete) as caught:
        count_tenant(reading(fleet(3)), counting())
    assert caught.value.message == (
        f"Contoso, {KES}: 3 rows were read, but 1 counted and 0 left out do not add up. This is "
        "a bug in kisi; the client's lines stay as they are."
    )
    assert caught.value.remedy == "Please report it with the output of `kisi preview -vv`."


def test_every_key_name_of_an_application_belongs_to_it():
    keys = [key(name=f"{KES} 50 Node"), key("K2", f"{KES} 100 Node")]
    rows = [row("w0"), row("w1", "K2")]
    assert only(count_tenant(reading(fleet(2), rows, keys), counting())).total == 2


def test_a_tenants_usage_says_when_and_by_which_keys():
    usage = count_tenant(reading(fleet(1), keys=[key(used=3, licenses=10)]), counting())
    assert usage.at == NOW
    assert usage.keys == (KeyEvidence("K1", KES, True, "commercial", 3, 10, LATER, listed=1),)


def test_unmapped_figures_and_devices_add_up_and_name_their_tenant():
    reported = (
        ReportedQuantity("Other", Category.ALL, 5),
        ReportedQuantity("Other", Category.ALL, 3, not_counted_reason="trial"),
    )
    subject = reading(fleet(2), None, [key(name="Other", used=9)], reported=reported)
    assert count_tenant(subject, counting()).unmapped == (
        UnmappedUse("Contoso", "Other", 7, estimated=False, tenant=TenantRef("hq", "VSRV-1")),
    )


def test_evidence_knows_a_device_by_its_own_name_or_by_its_uses():
    devices = [Device("w0", "DESK-1", "Linux"), Device("w1", "", "Linux")]
    rows = [KeyRow("K1", "w0", "use-0"), KeyRow("K1", "w1", "use-1"), KeyRow("K1", "x", "use-x")]
    usage = only(count_tenant(reading(devices, rows), counting()))
    assert [(one.device, one.name, one.os_name) for one in usage.evidence] == [
        ("w0", "DESK-1", "Linux"),
        ("w1", "use-1", "Linux"),
        ("x", "use-x", ""),
    ]


@pytest.mark.parametrize("unit", [Unit.MAILBOX, Unit.USER, Unit.DEVICE])
def test_nothing_counted_is_no_quantity(unit):
    rows = [row("w0", current=False)]
    application = Application(KES, unit=unit)
    assert only(count_tenant(reading(fleet(1), rows), counting(application))).quantities == {}


def test_devices_of_a_mailbox_application_are_mailboxes():
    application = Application(KES, unit=Unit.MAILBOX)
    usage = only(count_tenant(reading(fleet(2, 1)), counting(application)))
    assert usage.quantities == {Category.ALL: 3}


def open_figures(*told):
    return reading(keys=[], reported=tuple(ReportedQuantity(KES, *each) for each in told))


def test_computers_of_a_report_are_users_and_a_total_is_of_users():
    subject = open_figures((WORKSTATIONS, 10), (SERVERS, 2), (OTHERS, 0), (OTHERS, 9, "Expired"))
    usage = only(count_tenant(subject, counting(users(KES))))
    assert usage.quantities == {Category.ALL: 12}
    assert conservation(usage) == "21 rows = 12 counted + 9 Expired"


def test_a_report_cannot_tell_the_users_behind_a_number_of_non_windows_devices():
    """Kaspersky's own example of 10 computers and 32 mobile devices is 16 users, and not 42."""
    with pytest.raises(Undecided) as caught:
        count_tenant(open_figures((WORKSTATIONS, 10), (OTHERS, 32)), counting(users(KES)))
    assert (caught.value.guard, caught.value.exit_code) == ("category", ExitCode.WITHHELD)
    assert caught.value.message == (
        f"Contoso: the report tells 32 non-Windows devices of {KES} only as a number, and its "
        "users cannot be worked out from it: a Mac or Linux computer is a user, two mobile "
        "devices are one. Nothing of this client was billed."
    )
    assert caught.value.remedy == (
        "Export one row a device, or the number of users with the category `all`."
    )


@pytest.mark.parametrize(
    ("computers", "mobile", "told", "expected"), [(2, 9, 3, 5), (1, 16, 3, 8), (0, 3, 0, 2)]
)
def test_devices_and_computers_told_as_a_number_are_users_together(
    computers, mobile, told, expected
):
    reported = (ReportedQuantity(KES, WORKSTATIONS, told),)
    subject = reading(fleet(computers, android=mobile), reported=reported)
    usage = only(count_tenant(subject, counting(users(KES))))
    assert usage.quantities == {Category.ALL: expected}


def test_mailboxes_are_mailboxes_whatever_the_category_is_called():
    subject = open_figures((OTHERS, 30), (WORKSTATIONS, 2))
    usage = only(count_tenant(subject, counting(Application(KES, unit=Unit.MAILBOX))))
    assert usage.quantities == {Category.ALL: 32}


def test_a_key_that_is_only_called_like_an_application_is_not_of_it():
    named = Application("KES", ("Kaspersky Endpoint*",))
    keys = [key("K1", "KES"), key("K2", "Kaspersky Endpoint Security")]
    usage = count_tenant(reading(fleet(1), [row("w0", "K2")], keys), counting(named))
    assert only(usage).total == 1
    assert [one.serial for one in only(usage).keys] == ["K2"]


ROWS = st.lists(
    st.builds(
        row,
        st.sampled_from(["w0", "w1", "s0", "l0", "a0", "gone"]),
        st.sampled_from(["K1", "K2"]),
        current=st.booleans(),
        pending=st.booleans(),
        expires=st.sampled_from([None, EARLIER]),
    ),
    max_size=30,
)


@given(ROWS)
def test_every_row_is_counted_or_left_out_with_a_reason(rows):
    subject = reading(fleet(2, 1, 1, 1), rows, [key(), key("K2")])
    usage = only(count_tenant(subject, counting()))
    assert usage.rows == len(rows) == usage.counted_rows + sum(usage.left_out.values())
    assert usage.total == sum(item.counted for item in usage.evidence) == usage.counted_rows


@given(ROWS, st.data())
def test_removing_a_row_never_increases_a_quantity_and_order_does_not_matter(rows, data):
    def total(some):
        subject = reading(fleet(2, 1, 1, 1), some, [key(), key("K2")])
        return only(count_tenant(subject, counting())).quantities

    everything = total(rows)
    assert total(data.draw(st.permutations(rows))) == everything
    if rows:
        fewer = total(rows[:-1])
        assert all(fewer.get(category, 0) <= number for category, number in everything.items())
