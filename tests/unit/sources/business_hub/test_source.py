from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from kisi.config.settings import Section
from kisi.counting import CountingContext, Matcher, combine, count_tenant
from kisi.errors import SourceError
from kisi.model import Application, Category, CountingRules, Tenant, Unit
from kisi.sources.business_hub.report import HubSettings
from tests.unit.sources.business_hub.conftest import NOW, ref

QUANTITIES = "company,application,category,quantity\n"
DEVICES = "Company;Application;Device;Operating_System;Status\n"


def usage(reading, application):
    rules = CountingRules()
    context = CountingContext(Matcher((application,)), frozenset({application.name}), rules, NOW)
    tenant = count_tenant(reading, context)
    return tenant, combine([tenant], rules)[0].quantities


def test_the_companies_of_a_report_are_its_tenants_under_their_own_names(reports):
    reports.write(
        f"{QUANTITIES}Contoso Ltd,KES,all,3\nFabrikam,KES,all,4\nContoso Ltd,Mail,mailboxes,25\n"
    )
    source = reports.source()
    assert source.tenants() == (
        Tenant(ref("Contoso Ltd"), "Contoso Ltd"),
        Tenant(ref("Fabrikam"), "Fabrikam"),
    )
    readings = dict(source.read(source.tenants(), lambda _: True))
    assert [(f.name, f.category, f.quantity) for f in readings[ref("Contoso Ltd")].reported] == [
        ("KES", Category.ALL, 3),
        ("Mail", Category.ALL, 25),
    ]
    source.close()


def test_a_list_of_devices_is_classed_by_operating_system(reports):
    systems = ["Windows 11 Pro", "Microsoft Windows Server 2022", "macOS 14", "Android 14"]
    reports.write(
        DEVICES
        + "".join(f"Contoso;KES Cloud;PC-{n};{name};Active\n" for n, name in enumerate(systems))
    )
    _, quantities = usage(reports.read()["Contoso"], Application("KES Cloud"))
    assert quantities == {
        Category.WINDOWS_WORKSTATIONS: 1,
        Category.WINDOWS_SERVERS: 1,
        Category.NON_WINDOWS: 2,
    }


def test_a_user_licence_is_worked_out_from_the_devices(reports):
    rows = [f"Contoso;KES Cloud Plus;PC-{n};Windows 10;Active\n" for n in range(10)]
    rows += [f"Contoso;KES Cloud Plus;Phone-{n};Android;Active\n" for n in range(33)]
    reports.write(DEVICES + "".join(rows))
    _, quantities = usage(reports.read()["Contoso"], Application("KES Cloud Plus", unit=Unit.USER))
    assert quantities == {Category.ALL: 17}


def test_devices_under_an_expired_licence_do_not_count_but_are_seen(reports):
    reports.write(
        f"{DEVICES}Contoso;KES;PC-1;Windows 10;Active\nContoso;KES;PC-2;Windows 10;Expired\n"
    )
    reading = reports.read()["Contoso"]
    tenant, quantities = usage(reading, Application("KES"))
    assert quantities == {Category.WINDOWS_WORKSTATIONS: 1}
    assert {key.serial: key.reason for key in tenant.keys} == {
        "KES (Active)": "subscription",
        "KES (Expired)": 'licence status "Expired"',
    }
    assert [key.used for key in reading.keys] == [1, 1]
    (application,) = tenant.applications
    word = 'licence status "Expired"'
    assert (application.rows, application.counted_rows) == (2, 1)
    assert application.left_out == {word: 1}
    assert [(item.name, item.counted, item.reason) for item in application.evidence] == [
        ("PC-1", True, "active key"),
        ("PC-2", False, word),
    ]


def test_only_rows_of_selected_keys_and_of_those_that_the_report_closed_are_handed_over(reports):
    reports.write(
        f"{DEVICES}Contoso;KES;PC-1;Windows 10;Active\nContoso;Other;PC-2;Windows 10;Active\n"
        "Contoso;KES;PC-3;Windows 10;Expired\n"
    )
    reading = reports.read(select=lambda key: key.name == "KES" and not key.not_counted_reason)[
        "Contoso"
    ]
    assert [row.name for row in reading.rows] == ["PC-1", "PC-3"]
    assert [device.name for device in reading.devices.values()] == ["PC-1", "PC-3"]
    assert len(reading.keys) == 3


def test_devices_of_two_companies_may_have_one_name(reports):
    reports.write(
        f"{DEVICES}Contoso;KES;PC-1;Windows 10;Active\nFabrikam;KES;PC-1;Windows 10;Active\n"
    )
    readings = reports.read()
    assert readings["Contoso"].rows[0].device != readings["Fabrikam"].rows[0].device


def test_the_operating_system_may_be_unknown(reports):
    reports.write("company,application,device\nContoso,KES,PC-1\n")
    reading = reports.read(columns={"operating_system": ""})["Contoso"]
    tenant, _ = usage(reading, Application("KES"))
    assert tenant.applications[0].unknown_devices == ("PC-1",)


def test_one_source_may_have_devices_in_one_file_and_mailboxes_in_another(reports):
    reports.write(f"{DEVICES}Contoso;KES;PC-1;Windows 10;Active\n", "devices.csv")
    reports.write(f"{QUANTITIES}Contoso,Mail,mailboxes,25\n", "mail.csv")
    reading = reports.read(
        files=["dev*.csv", "mail*.csv"], columns={"device": "Device", "quantity": "quantity"}
    )
    assert len(reading["Contoso"].rows) == 1
    assert reading["Contoso"].reported[0].quantity == 25


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"{QUANTITIES}A,KES,all,1\nB,KES,all,1\nA,KES,ALL,1\n", "line 4: it repeats line 2"),
        (f"{QUANTITIES}A,KES,all,1\nA,kes,,2\n", "line 3: it repeats line 2"),
        (f"{QUANTITIES}A,Mail,all,1\nA,Mail,mailboxes,1\n", "line 3: it repeats line 2"),
        (
            f"{DEVICES}A;KES;PC;Windows 10;Active\nA;KES;pc;Windows 10;Active\n",
            "line 3: it repeats line 2",
        ),
        (
            f"{QUANTITIES}A,KES,all,9\nA,KES,windows_servers,2\n",
            "as quantities by category, and line 2 as one quantity",
        ),
        (
            f"{QUANTITIES}Contoso,KES,all,1\nCONTOSO,Mail,all,1\n",
            'line 3: the company "CONTOSO" is spelled "Contoso" in line 2',
        ),
        (f"{QUANTITIES}Zo\u00e9,KES,all,1\nZoe\u0301,Mail,all,1\n", "line 3: the company"),
        (
            f"{DEVICES}A;KES;PC;Windows 10;Active\nA;EDR;PC;Windows Server 2019;Active\n",
            'line 3: the device "PC" of "A" has the operating system "Windows Server 2019", and "Windows 10" in line 2',
        ),
    ],
)
def test_records_that_repeat_or_contradict_one_another_fail_the_source(reports, text, what):
    reports.write(text)
    assert what in reports.refusal().message


def test_the_same_record_in_two_files_fails_the_source_and_names_both(reports):
    reports.write(f"{QUANTITIES}A,KES,all,1\n", "one.csv")
    reports.write(f"{QUANTITIES}A,KES,all,1\n", "two.csv")
    message = reports.refusal(files=["one.csv", "two.csv"]).message
    assert "two.csv, line 2: it repeats" in message
    assert "one.csv, line 2" in message


def test_devices_in_one_file_and_their_number_in_another_fail_the_source(reports):
    reports.write(f"{DEVICES}A;KES;PC;Windows 10;Active\n", "devices.csv")
    reports.write(f"{QUANTITIES}A,KES,all,1\n", "numbers.csv")
    message = reports.refusal(files=["devices.csv", "numbers.csv"]).message
    assert "as one quantity" in message
    assert "as devices" in message


def test_an_expired_licence_beside_one_in_force_is_no_repeat(reports):
    reports.write("company,application,quantity,status\nA,KES,9,Expired\nA,KES,5,Active\n")
    tenant, quantities = usage(reports.read()["A"], Application("KES"))
    assert quantities == {Category.ALL: 5}
    assert tenant.applications[0].left_out == {'licence status "Expired"': 9}


@pytest.mark.parametrize("rows", list(permutations(["10;Expired", "11;Active", "10;Expired"])))
def test_a_device_whose_licence_was_replaced_counts_once_in_any_order_of_rows(reports, rows):
    reports.write(DEVICES + "".join(f"A;KES;PC-1;Windows Server {row}\n" for row in rows))
    tenant, quantities = usage(reports.read()["A"], Application("KES"))
    (application,) = tenant.applications
    assert quantities == {Category.WINDOWS_SERVERS: 1}
    assert (application.rows, application.counted_rows) == (3, 1)
    assert application.left_out == {'licence status "Expired"': 2}
    assert [(item.os_name, item.counted, item.reason) for item in application.evidence] == [
        ("Windows Server 11", True, "active key")
    ]


def test_an_active_row_is_a_repeat_also_beside_an_expired_one(reports):
    rows = [f"A;KES;PC-1;Windows 10;{status}\n" for status in ("Active", "Expired", "Active")]
    reports.write(DEVICES + "".join(rows))
    assert "line 4: it repeats line 2: the same company, application and device" in (
        reports.refusal().message
    )


def test_a_wrong_row_fails_every_tenant_never_half_a_file(reports):
    reports.write(f"{QUANTITIES}A,KES,all,1\nB,KES,all,2\n")
    source = reports.source()
    tenants = source.tenants()
    reports.write(f"{QUANTITIES}A,KES,all,1\nB,KES,all,x\n")
    answers = dict(reports.source().read(tenants, lambda _: True))
    assert set(answers) == {ref("A"), ref("B")}
    assert all(isinstance(answer, SourceError) for answer in answers.values())


def test_all_answers_of_one_source_come_from_the_same_bytes(reports):
    path = reports.write(f"{QUANTITIES}A,KES,all,1\n")
    source = reports.source()
    tenants = source.tenants()
    path.unlink()
    [(_, reading)] = source.read(tenants, lambda _: True)
    assert reading.reported[0].quantity == 1


def test_a_company_that_the_reports_do_not_name_is_an_error_not_zero(reports):
    reports.write(f"{QUANTITIES}A,KES,all,1\n")
    gone = Tenant(ref("Gone"), "Gone")
    [(tenant, answer)] = reports.source().read([gone], lambda _: True)
    assert tenant == gone.ref
    assert isinstance(answer, SourceError)
    assert "do not name this company" in answer.message


def test_hostile_names_are_names(reports):
    name = "[/]=cmd|' /C\u202e\x1b[31m" + "x" * 300
    reports.write(f'{QUANTITIES}"{name}",KES,all,1\n')
    assert list(reports.read()) == [name]


def test_the_section_needs_no_secret_and_no_more_than_files():
    assert issubclass(HubSettings, Section)
    settings = HubSettings(files=("*.csv",))
    assert settings.secrets("hub") == {}
    assert settings.max_age_hours == timedelta(days=3) / timedelta(hours=1)
