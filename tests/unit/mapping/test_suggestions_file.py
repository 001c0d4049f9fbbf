"""Suggestions as a file: written, looked through by a person, accepted."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ConfigError
from kisi.mapping.changes import MappingEdit
from kisi.mapping.file import ConfigNames
from kisi.mapping.suggestions import (
    SuggestedApplication,
    SuggestedClient,
    Suggestions,
    suggestions_csv,
    suggestions_document,
)
from kisi.mapping.table import MappingRows, accept_rows, read_mapping_table, write_csv
from kisi.model import (
    Application,
    BillingMapping,
    Category,
    Company,
    ProductRow,
    Tenant,
    TenantRef,
    Unit,
)

HOSTILE = '=cmd|[bold]Büro; "Söhne"\x1b[31m\u202e\\x41 東京 '
CLIENT = SuggestedClient(
    Company(HOSTILE, (TenantRef("hub", HOSTILE),), "cw", "250", "007", billing=False),
    HOSTILE,
    accept=True,
    score=0.97,
    reason="the same name",
)
APPLICATION = SuggestedApplication(
    Application("KES", ("KES*", "a;b*"), Unit.USER),
    ProductRow("KES", "cw", {Category.ALL: "KES-1"}),
    accept=True,
    score=0.5,
    reason="similar",
)
LEFT_OUT = Suggestions((replace(CLIENT, accept=False),), (replace(APPLICATION, accept=False),))
BOTH = Suggestions((CLIENT, *LEFT_OUT.clients), (APPLICATION, *LEFT_OUT.applications))
EMPTY = MappingEdit("", BillingMapping(), ConfigNames(("hq", "hub"), ("cw",)))


def as_json(suggestions):
    return json.dumps(suggestions_document(suggestions))


def read(text, name="s"):
    return read_mapping_table(text, EMPTY, name=name, accepted=True)


@pytest.mark.parametrize("write", [suggestions_csv, as_json])
def test_a_file_that_nobody_edited_is_read_as_it_was_written(write):
    assert read(write(BOTH)) == MappingRows(
        (APPLICATION.application,), (APPLICATION.product,), ((None, CLIENT.company),)
    )
    assert read(write(LEFT_OUT)) == MappingRows((), (), ())


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)


@given(TEXT, TEXT)
def test_any_name_and_tenant_survives_the_csv(name, tenant):
    company = replace(CLIENT.company, name=name, tenants=(TenantRef("hq", tenant),))
    ((_, row),) = read(suggestions_csv(Suggestions((replace(CLIENT, company=company),)))).companies
    assert row == company


def test_no_cell_is_a_formula_or_acts_on_a_terminal():
    text = suggestions_csv(BOTH)
    assert text.replace("\r\n", "").isprintable()
    assert ",=cmd" not in text
    assert "'=cmd" in text


def test_tenants_without_a_suggestion_are_listed_for_reading():
    tenant = Tenant(TenantRef("hq", "V1"), "Nobody")
    document = suggestions_document(Suggestions(without=(tenant,)))
    assert document["without_suggestion"] == [{"source": "hq", "tenant": "V1", "name": "Nobody"}]


def test_columns_may_be_missing_and_in_any_order():
    text = "tenant;kind;accept;company;agreement;name\r\nhq:V1;client;YES;250;1042;Contoso\r\n"
    ((place, row),) = read("\ufeff" + text).companies
    assert (place, row.billing, row.psa, row.company) == (None, False, "cw", "250")


@pytest.mark.parametrize("mark", ["sep=;\r\n", "sep=;;;\n", '"sep=;"\n', "SEP=;\n"])
def test_what_excel_adds_is_no_column_and_no_row(mark):
    """Its own line `sep=`, empty columns beside the table and between, empty rows below."""
    text = "tenant;;kind;accept;company;agreement;name;;\r\nhq:V1;;client;YES;250;1042;A, B;;\r\n"
    ((_, row),) = read(mark + text + ";;;;;;;;\r\n").companies
    assert (row.name, row.company) == ("A, B", "250")


def test_a_file_of_the_first_release_is_read():
    """It has `client`, one `tenant` a row as it is, and an application by its `name`."""
    text = (
        "accept,kind,tenant_name,name,score,reason,tenant,psa,company,agreement,billing,keys,unit,"
        "bill,all,windows_workstations,windows_servers,non_windows\n"
        "yes,client,C,Contoso,1.00,the same name,hq:a; b,cw,250,1042,no,,,,,,,\n"
        "yes,application,,KES,0.86,similar,,cw,,,,KES*; EDR*,user,yes,1200,,,\n"
        "no,client,C,Contoso,0.50,similar,hq:V2,cw,,,no,,,,,,,\n"
    )
    tenants = (TenantRef("hq", "a; b"),)
    assert read(text) == MappingRows(
        (Application("KES", ("KES*", "EDR*"), Unit.USER),),
        (ProductRow("KES", "cw", {Category.ALL: "1200"}),),
        ((None, Company("Contoso", tenants, "cw", "250", "1042", billing=False)),),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("accept,kind,tenat\nyes,client,x\n", 'Unknown column "tenat"; did you mean "tenant"?'),
        ("accept,accept\n", 'Column "accept" stands there twice'),
        ("accept,kind\nyes,cleint\n", 'line 2: There is no kind "cleint"'),
        ("accept,kind\nperhaps,client\n", '"accept" must be yes or no, not "perhaps"'),
        ("accept,kind,tenant,name,company\nyes,client,hq:V1,C,250\n", '"agreement" is empty'),
        ("accept,kind,name,unit\nyes,application,KES,mailboxes\n", 'no unit "mailboxes"'),
        ("accept,kind\nyes,company,too,many\n", "line 2: There are more cells than columns"),
        ("accept,,kind\nyes,stray,company\n", "more cells than columns with a heading"),
        ("sep=|;\naccept,kind\n", 'Unknown column "accept,kind"'),
        ('accept,kind\n"yes,client\n', "This is not CSV"),
        ('{"clients": {}}', '"clients" must be a list, not a table'),
        ('{"clients": [1]}', "clients 1: This must be an object, not a whole number"),
        ('{"clients": [{"tenat": "x"}]}', 'Unknown key "tenat"; did you mean "tenant"?'),
        ('{"clients": [{"company": []}]}', '"company" has a value of the wrong type: a list'),
        ('{"applications": [{"keys": "KES*"}]}', '"keys" has a value of the wrong type: text'),
        ('{"clients": [', "This is not JSON"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_nothing_is_changed(text, words):
    with pytest.raises(ConfigError) as caught:
        read(text, "s.csv")
    assert words in caught.value.message
    assert caught.value.message.startswith("s.csv")
    assert "Nothing was changed" in caught.value.message


def test_all_problems_are_told_at_once():
    text = "accept,kind,tenant,name,company,agreement\nyes,client,,,,\nyes,clint,,,,\n"
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert len(caught.value.problems) == 4 + 1 + 1


def test_what_is_not_accepted_may_be_unfinished():
    rows = read("accept,kind,score\nno,client,abc\n,company,\n")
    assert rows == MappingRows((), (), ())


def test_numbers_and_flags_of_json_are_taken_as_they_are():
    text = json.dumps(
        {
            "clients": [
                {
                    "accept": True,
                    "tenant": "hq:V1",
                    "name": "C",
                    "company": 250,
                    "agreement": 1042,
                    "psa": None,
                    "billing": "yes",
                    "score": 0.5,
                }
            ]
        }
    )
    ((_, row),) = read(text).companies
    assert (row.company, row.agreement, row.psa, row.billing) == ("250", "1042", "cw", True)


# --- accepted

CONTOSO = {
    "accept": "yes", "kind": "company", "tenants": "hq:V1", "tenant_name": "CONTOSO",
    "name": "Contoso Ltd", "company": "250", "agreement": "1042",
}  # fmt: skip
KES = {
    "accept": "yes", "kind": "application", "application": "KES", "keys": "KES*", "psa": "cw",
    "unit": "device", "all": "1200",
}  # fmt: skip


def accepted(sides, *clients, applications=(), text=""):
    edit = sides.editor(text).edit()
    rows = [*applications, *clients]
    table = write_csv(tuple(dict.fromkeys(key for row in rows for key in row)), rows)
    accept_rows(edit, read_mapping_table(table, edit, name="s.csv", accepted=True))
    return edit.change()


def test_accepted_rows_are_added_with_billing_off_and_others_are_not(sides):
    other = {**CONTOSO, "accept": "no", "tenants": "hq:V2"}
    change = accepted(sides, CONTOSO, other, applications=[KES, {**KES, "accept": "no"}])
    assert change.text == (
        '[[application]]\nname = "KES"\n\n[[product]]\napplication = "KES"\nall = 1200\n\n'
        '[[company]]\nname = "Contoso Ltd"\ntenants = ["hq:V1"]\ncompany = 250\n'
        "agreement = 1042\nbilling = false\n"
    )
    assert [company.name for company in change.companies] == ["Contoso Ltd"]
    assert change.products[0].products == {Category.ALL: "1200"}


def test_billing_is_on_only_if_the_file_says_so(sides):
    assert "billing" not in accepted(sides, {**CONTOSO, "billing": "yes"}).text


def test_an_application_without_a_product_is_known_and_not_billed_yet(sides):
    change = accepted(sides, applications=[{**KES, "all": "", "psa": ""}])
    assert change.text == '[[application]]\nname = "KES"\n'


def test_new_key_names_join_the_application_of_their_name(sides):
    text = '[[application]]\nname = "kes"\n'
    more = {**KES, "keys": "KES*; Endpoint*", "all": ""}
    change = accepted(sides, applications=[more], text=text)
    assert change.text == '[[application]]\nname = "kes"\nkeys = ["kes*", "KES*", "Endpoint*"]\n'


def test_products_of_an_application_that_is_billed_already_are_refused(sides):
    text = '[[application]]\nname = "KES"\n[[product]]\napplication = "KES"\nall = 1\n'
    with pytest.raises(ConfigError, match=r'"KES" is billed in psa\.cw already'):
        accepted(sides, applications=[KES], text=text)


def test_every_row_that_names_something_unknown_is_told_at_once(sides):
    with pytest.raises(ConfigError) as caught:
        accepted(sides, {**CONTOSO, "tenants": "hx:V1"}, {**CONTOSO, "psa": "tp"}, CONTOSO)
    assert "[sources.hx]" in caught.value.problems[0]
    assert "[psa.tp]" in caught.value.problems[2]


def test_a_tenant_in_two_accepted_rows_is_refused(sides):
    with pytest.raises(ConfigError, match='"hq:V1" is mapped already'):
        accepted(sides, CONTOSO, {**CONTOSO, "agreement": "1043", "company": "251"})
