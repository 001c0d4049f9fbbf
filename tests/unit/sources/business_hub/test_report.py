from __future__ import annotations

import pytest
from pydantic import ValidationError

from kisi.config.sentences import read_table
from kisi.model import Category
from kisi.sources.business_hub.report import HubSettings

HEAD = "company,application,category,quantity\n"


def figures(reports, **settings):
    return [
        (f.name, f.category, f.quantity, f.not_counted_reason)
        for r in reports.read(**settings).values()
        for f in r.reported
    ]


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("", Category.ALL),
        ("ALL", Category.ALL),
        ("Mailboxes", Category.ALL),
        ("windows_workstations", Category.WINDOWS_WORKSTATIONS),
        ("Windows Servers", Category.WINDOWS_SERVERS),
        ("Non-Windows", Category.NON_WINDOWS),
    ],
)
def test_a_category_is_read_in_any_case_and_no_category_is_all(reports, text, category):
    reports.write(f"{HEAD}Contoso,KES,{text},5\n")
    assert figures(reports) == [("KES", category, 5, "")]


def test_a_report_without_categories_counts_all(reports):
    reports.write(" COMPANY ;Application; quantity\n Contoso ;KES;007\n")
    assert figures(reports) == [("KES", Category.ALL, 7, "")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1.5",
        '"1,5"',
        "1.000",
        '"1,000"',
        "1 000",
        "1e3",
        "٣",
        "0x1",
        "12345678901",
        "n/a",
    ],
)
def test_what_is_not_a_plain_whole_number_fails_the_source_and_is_shown(reports, text):
    reports.write(f"{HEAD}Contoso,KES,all,1\nFabrikam,KES,all,{text}\n")
    message = reports.refusal().message
    shown = text.strip('"')
    assert f'hub.csv, line 3: the quantity "{shown}" is not a whole number' in message


def test_zero_is_a_number(reports):
    reports.write(f"{HEAD}Contoso,KES,all,0\n")
    assert figures(reports) == [("KES", Category.ALL, 0, "")]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (" ,KES,all,1", "line 2: the company is empty"),
        ("Contoso,,all,1", "line 2: the application is empty"),
        ("Contoso,KES,laptops,1", 'line 2: the category "laptops" is none of'),
    ],
)
def test_an_unreadable_cell_fails_the_source(reports, row, what):
    reports.write(f"{HEAD}{row}\n")
    assert what in reports.refusal().message


def test_headings_of_other_languages_are_named_in_the_settings(reports):
    reports.write("Firma;Lösung;Anzahl Geräte\nContoso;KES;3\n", encoding="cp1252")
    columns = {"company": "firma", "application": "Lösung", "quantity": "ANZAHL  Geräte"}
    assert figures(reports, columns=columns) == [("KES", Category.ALL, 3, "")]


@pytest.mark.parametrize(
    ("heading", "columns", "what"),
    [
        ("company,application", {}, 'no column quantity ("quantity")'),
        ("company,quantity", {"application": "Product"}, 'no column application ("Product")'),
        (
            "a,b",
            {},
            'application ("application") and company ("company") and quantity ("quantity"); its headings are "a", "b"',
        ),
        ("company,application,device", {}, 'no column operating_system ("operating_system")'),
        ("company,application,quantity", {"status": "State"}, 'no column status ("State")'),
        ("company,application,quantity", {"category": "Class"}, 'no column category ("Class")'),
        (
            "company,Company,application,quantity",
            {},
            'two of its columns have the heading "company"',
        ),
        (
            "company,application,quantity,device,operating_system",
            {},
            "a quantity column and a device column",
        ),
    ],
)
def test_a_missing_or_ambiguous_column_fails_the_source(reports, heading, columns, what):
    reports.write(f"{heading}\n{',' * heading.count(',')}\n")
    assert what in reports.refusal(columns=columns).message


def test_a_column_can_be_left_unused(reports):
    reports.write("company,application,quantity,device,status\nContoso,KES,2,x,Critical\n")
    assert figures(reports, columns={"device": "", "status": ""}) == [("KES", Category.ALL, 2, "")]


@pytest.mark.parametrize(
    ("status", "closed"),
    [
        ("Active", ""),
        ("AKTIV", ""),
        ("Действует", ""),
        ("Expired", 'licence status "Expired"'),
        ("abgelaufen", 'licence status "abgelaufen"'),
        ("Trial", 'licence status "Trial"'),
    ],
)
def test_a_licence_that_is_not_in_force_does_not_count_but_is_seen(reports, status, closed):
    reports.write(f"company,application,quantity,status\nContoso,KES,2,{status}\n")
    assert figures(reports) == [("KES", Category.ALL, 2, closed)]


@pytest.mark.parametrize(
    ("kind", "closed"),
    [
        ("Commercial", ""),
        ("Subscription", ""),
        ("Trial", 'licence type "Trial"'),
        ("NFR", 'licence type "NFR"'),
    ],
)
def test_trial_and_test_licences_never_count(reports, kind, closed):
    reports.write(
        f"company,application,quantity,status,license_type\nContoso,KES,2,Active,{kind}\n"
    )
    assert figures(reports) == [("KES", Category.ALL, 2, closed)]


@pytest.mark.parametrize("status", ["Critical", "", "Active soon"])
def test_a_status_that_nobody_knows_fails_the_source(reports, status):
    reports.write(f"company,application,quantity,status\nContoso,KES,2,{status}\n")
    error = reports.refusal()
    assert f'line 2: the licence status "{status}" is not known' in error.message
    assert "`active_status`" in error.remedy


def test_the_words_of_a_report_can_be_set(reports):
    reports.write(
        "company,application,quantity,status\nContoso,KES,2,En   Règle\nContoso,Mail,3,Fini\n"
    )
    found = figures(reports, active_status=["en règle"], inactive_status=["fini"])
    assert [closed for *_, closed in found] == ["", 'licence status "Fini"']


def test_a_word_cannot_mean_both():
    with pytest.raises(ValidationError, match="both hold: trial"):
        HubSettings(files=("*.csv",), active_status=("Trial",))


# --- of one company or application, and without headings ------------------------------------------


def test_what_a_pattern_is_of_holds_for_rows_that_do_not_say_it(reports):
    reports.write("Company,quantity\nContoso,3\n,4\n", "one.csv")
    files = [{"pattern": "one.csv", "company": "Own", "application": "KES Cloud"}]
    read = reports.read(files=files)
    assert {name: [x.quantity for x in one.reported] for name, one in read.items()} == {
        "Contoso": [3],
        "Own": [4],
    }
    assert {x.name for one in read.values() for x in one.reported} == {"KES Cloud"}


def test_without_it_the_remedy_says_how(reports):
    reports.write("quantity\n3\n", "one.csv")
    error = reports.refusal(files=["one.csv"])
    assert "it has no column application" in error.message
    assert 'files = [{ pattern = "...", company = "...", application = "..." }]' in error.remedy
    reports.write("company,application,quantity\n,KES,3\n", "one.csv")
    error = reports.refusal(files=["one.csv"])
    assert "the company is empty" in error.message
    assert "files = [{" in error.remedy


PERIODS = "Contoso;1;PC;a;b\nContoso;1;PC;c;d\nContoso;2;PC;a;b\n"
COLUMNS = {"operating_system": ""}
HEADINGS = ["company", "device_id", "device", "since", ""]
GIVEN = [{"pattern": "*.csv", "application": "KSV"}]


def test_a_device_with_several_periods_is_one_and_one_name_may_be_two_devices(reports):
    reports.write(PERIODS)
    (reading,) = reports.read(files=GIVEN, headings=HEADINGS, columns=COLUMNS).values()
    assert sorted(reading.devices) == ["Contoso/1", "Contoso/2"]
    assert [device.name for device in reading.devices.values()] == ["PC", "PC"]
    assert len(reading.rows) == 3


def test_the_same_period_twice_is_a_repetition(reports):
    reports.write(PERIODS + "Contoso;1;PC;a;x\n")
    error = reports.refusal(files=GIVEN, headings=HEADINGS, columns=COLUMNS)
    assert "line 4: it repeats line 1" in error.message


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([5], "[sources.hub] files, entry 1: This must be a pattern in quotes, or a table"),
        ([{"patern": "x"}], '[sources.hub.files] patern, entry 1: Unknown key; did you mean "pattern"?'),
        ([{"company": "x"}], "[sources.hub.files] pattern, entry 1: This key is missing."),
        (["a", {"pattern": " "}], "[sources.hub.files] pattern, entry 2: This must be text in quotes"),
        ([], "[sources.hub] files: This list is empty."),
    ],
)  # fmt: skip
def test_a_wrong_entry_of_files_is_told_with_its_place(tmp_path, files, said):
    _, problems = read_table(HubSettings, {"files": files}, ("sources", "hub"), tmp_path)
    assert problems[0].startswith(said)
    assert len(problems) == 1 + (files == [{"patern": "x"}])
