from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import ConfigError
from kisi.mapping.proposals import ApplicationProposal, ClientProposal, Proposals
from kisi.mapping.proposals_file import proposals_csv, proposals_document, read_proposals
from kisi.model import Category, Tenant, TenantRef, Unit

HOSTILE = '=cmd|[bold]Büro; "Söhne"\x1b[31m\u202e\\x41 東京 '
CLIENT = ClientProposal(
    True, "hub:" + HOSTILE, HOSTILE, HOSTILE, "cw", "250", "007", False, 0.97, "the same name"
)
APPLICATION = ApplicationProposal(
    False, "KES", ("KES*", "a;b*"), Unit.USER, "cw", {Category.ALL: "KES-1"}, True, 0.5, "similar"
)
BOTH = Proposals((CLIENT, replace(CLIENT, accept=False)), (APPLICATION,))


def as_json(proposals):
    return json.dumps(proposals_document(proposals))


@pytest.mark.parametrize("write", [proposals_csv, as_json])
def test_a_file_that_nobody_edited_is_read_as_it_was_written(write):
    assert read_proposals(write(BOTH), name="s") == BOTH


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(TEXT, TEXT)
def test_any_name_and_tenant_survives_the_csv(name, tenant):
    row = replace(CLIENT, accept=False, name=name, tenant="hq:" + tenant)
    (read,) = read_proposals(proposals_csv(Proposals((row,))), name="s").clients
    assert (read.name, read.tenant) == (row.name, row.tenant)


def test_no_cell_is_a_formula_or_acts_on_a_terminal():
    text = proposals_csv(BOTH)
    assert text.replace("\r\n", "").isprintable()
    assert ",=cmd" not in text
    assert "'=cmd" in text


def test_tenants_without_a_suggestion_are_listed_for_reading():
    tenant = Tenant(TenantRef("hq", "V1"), "Nobody")
    document = proposals_document(Proposals(without=(tenant,)))
    assert document["without_suggestion"] == [{"source": "hq", "tenant": "V1", "name": "Nobody"}]


def test_columns_may_be_missing_and_in_any_order():
    text = "tenant;kind;accept;company;agreement;name\r\nhq:V1;client;YES;250;1042;Contoso\r\n"
    (row,) = read_proposals("\ufeff" + text, name="s").clients
    assert (row.accept, row.billing, row.psa, row.company) == (True, False, "", "250")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("accept,kind,tenat\nyes,client,x\n", 'Unknown column "tenat"; did you mean "tenant"?'),
        ("accept,accept\n", 'Column "accept" stands there twice'),
        ("accept,kind\nyes,cleint\n", 'line 2: There is no kind "cleint"; did you mean "client"?'),
        ("accept,kind\nperhaps,client\n", '"accept" must be yes or no, not "perhaps"'),
        ("accept,kind,tenant,name,company\nyes,client,hq:V1,C,250\n", '"agreement" is empty'),
        ("accept,kind,name,unit\nyes,application,KES,mailboxes\n", 'no unit "mailboxes"'),
        ("accept,kind\nyes,client,too,many\n", "line 2: There are more cells than columns"),
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
        read_proposals(text, name="s.csv")
    assert words in caught.value.message
    assert caught.value.message.startswith("s.csv")
    assert "Nothing was changed" in caught.value.message


def test_all_problems_are_told_at_once():
    text = "accept,kind,tenant,name,company,agreement\nyes,client,,,,\nyes,clint,,,,\n"
    with pytest.raises(ConfigError) as caught:
        read_proposals(text, name="s")
    assert len(caught.value.problems) == 4 + 1 + 1


def test_what_is_not_accepted_may_be_unfinished():
    (row,) = read_proposals("accept,kind,score\nno,client,abc\n", name="s").clients
    assert (row.accept, row.score) == (False, 0.0)


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
    (row,) = read_proposals(text, name="s").clients
    assert (row.company, row.agreement, row.psa, row.billing) == ("250", "1042", "", True)
