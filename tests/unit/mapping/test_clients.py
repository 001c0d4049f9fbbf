from __future__ import annotations

from dataclasses import replace

import pytest

from kisi.errors import ConfigError, ExitCode
from kisi.mapping.changes import MappingEdit
from kisi.mapping.file import ConfigNames
from kisi.model import Company, TenantRef
from tests.unit.mapping.sides import changed

TEXT = """\
# clients of Example MSP
[[company]]
name = "Contoso"            # since 2019
tenants = ["hq:V1"]
company = 250
agreement = 1042

[[company]]
name = "Fabrikam"
tenants = ["hq:V2"]
company = 251
agreement = 1043
billing = false

[[company]]
name = "Fabrikam"           # the other one
tenants = ["hq:V3"]
company = 252
agreement = 1044
# the end
"""


def client(name="Litware", tenant="V9", company="260", agreement="1060", **more):
    return Company(name, (TenantRef("hq", tenant),), "cw", company, agreement, **more)


@pytest.fixture
def draft(sides):
    return sides.editor(TEXT)


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ("Contoso", (0,)),
        ("contoso", (0,)),
        ("Fabrikam", (1, 2)),
        ("cw:1044", (2,)),
        ("hq:V2", (1,)),
        ("fab*", (1, 2)),
        ("*", (0, 1, 2)),
    ],
)
def test_a_client_is_named_by_name_agreement_tenant_or_glob(draft, wanted, rows):
    assert draft.edit().the_clients(wanted) == rows


def test_a_name_that_two_clients_have_is_refused_with_what_tells_them_apart(draft):
    with pytest.raises(ConfigError, match=r'several clients: "Fabrikam" \(cw:1043\), "Fabrikam"'):
        draft.edit().the_client("Fabrikam")
    assert draft.edit().the_client("cw:1043") == 1


def test_an_unknown_name_is_refused_with_the_nearest_one(draft):
    with pytest.raises(ConfigError, match='did you mean "Contoso"') as caught:
        draft.edit().the_client("Contosso")
    with pytest.raises(ConfigError, match="no client"):
        draft.edit().the_clients("Fabrix")
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "left as it is" in caught.value.message


def test_a_new_client_stands_behind_the_last_one_and_nothing_else_changes(draft):
    change = changed(draft, MappingEdit.add_clients, [client(billing=False)])
    assert change.text == TEXT.replace(
        "# the end\n",
        """
[[company]]
name = "Litware"
tenants = ["hq:V9"]
company = 260
agreement = 1060
billing = false
# the end
""",
    )
    assert change.companies == (client(billing=False),)
    assert change.done == ('Added "Litware" (cw:1060): 1 tenant, billing off.',)


def test_two_tenants_on_one_agreement_are_one_client(draft):
    change = changed(
        draft, MappingEdit.add_clients, [client(), client(name="Litware HQ", tenant="V10")]
    )
    (new,) = change.companies
    assert new.name == "Litware"
    assert [ref.tenant for ref in new.tenants] == ["V9", "V10"]
    assert "2 tenants, billing on" in change.done[0]


def test_a_tenant_on_a_mapped_agreement_joins_the_client_there(draft):
    change = changed(
        draft, MappingEdit.add_clients, [client(company="250", agreement="1042", billing=False)]
    )
    assert change.text == TEXT.replace('["hq:V1"]', '["hq:V1", "hq:V9"]')
    assert change.companies[0].billing
    assert change.done == ('Added hq:V9 to "Contoso" (cw:1042), which is billed.',)


def test_an_agreement_that_is_mapped_to_another_company_is_refused(draft):
    with pytest.raises(ConfigError, match=r'mapped to "Contoso" \(cw:1042\), company 250, not 999'):
        changed(draft, MappingEdit.add_clients, [client(company="999", agreement="1042")])


@pytest.mark.parametrize("tenants", [["V1"], ["V9", "V9"]])
def test_a_tenant_that_is_mapped_already_is_refused(draft, tenants):
    new = [client(tenant=each, agreement=str(number)) for number, each in enumerate(tenants, 1)]
    with pytest.raises(ConfigError, match="is mapped already, to"):
        changed(draft, MappingEdit.add_clients, new)


def test_a_tenant_twice_in_one_client_is_refused(draft):
    twice = replace(client(), tenants=(TenantRef("hq", "V9"),) * 2)
    with pytest.raises(ConfigError, match='"hq:V9" is mapped already'):
        changed(draft, MappingEdit.add_clients, [twice])


def test_only_what_differs_is_changed(draft):
    contoso, fabrikam = draft.mapping.companies[:2]
    change = changed(
        draft,
        MappingEdit.change_clients,
        {0: replace(contoso, agreement="1077", name="Contoso AG"), 1: replace(fabrikam)},
    )
    assert change.text == TEXT.replace('"Contoso" ', '"Contoso AG" ').replace("1042", "1077")
    assert [company.name for company in change.companies] == ["Contoso AG"]
    assert change.done == ('Changed "Contoso" (cw:1042): name Contoso AG, agreement 1077.',)


def test_ids_are_proven_when_billing_goes_on_and_not_when_it_goes_off(draft):
    contoso, fabrikam = draft.mapping.companies[:2]
    on = changed(draft, MappingEdit.change_clients, {1: replace(fabrikam, billing=True)})
    off = changed(draft, MappingEdit.change_clients, {0: replace(contoso, billing=False)})
    assert on.text == TEXT.replace("billing = false", "billing = true")
    assert on.companies
    assert not off.companies
    assert off.text == TEXT.replace("agreement = 1042\n", "agreement = 1042\nbilling = false\n")


def test_a_tenant_of_another_client_is_not_taken_away(draft):
    contoso = draft.mapping.companies[0]
    stolen = replace(contoso, tenants=(*contoso.tenants, TenantRef("hq", "V2")))
    with pytest.raises(ConfigError, match=r'"hq:V2" is mapped already, to "Fabrikam" \(cw:1043\)'):
        changed(draft, MappingEdit.change_clients, {0: stolen})


def test_two_clients_may_exchange_their_tenants_at_once(draft):
    contoso, fabrikam = draft.mapping.companies[:2]
    change = changed(
        draft,
        MappingEdit.change_clients,
        {
            0: replace(contoso, tenants=fabrikam.tenants),
            1: replace(fabrikam, tenants=contoso.tenants),
        },
    )
    assert change.text.index('"hq:V2"') < change.text.index('"hq:V1"')


def test_a_removed_client_leaves_the_psa_alone_and_says_so(draft):
    change = changed(draft, lambda rows: rows.companies.pop(0))
    assert "since 2019" not in change.text
    assert change.text.startswith('# clients of Example MSP\n\n[[company]]\nname = "Fabrikam"\n')
    assert "lines in psa.cw stay as they are" in change.done[0]


@pytest.mark.parametrize(("text", "words"), [("V1", 'write "SOURCE:TENANT"'), ("hx:V1", '"hq"')])
def test_a_tenant_is_written_with_its_source(text, words):
    with pytest.raises(ConfigError, match=words):
        ConfigNames(["hq"], []).the_tenant(text)
    assert ConfigNames(["hq"], []).the_tenant("hq:a:b") == TenantRef("hq", "a:b")


def test_the_psa_may_be_left_out_only_if_there_is_one():
    assert ConfigNames([], ("cw",)).the_psa("") == "cw"
    assert ConfigNames([], ("cw", "tp")).the_psa("tp") == "tp"
    with pytest.raises(ConfigError, match=r'several PSAs \("cw", "tp"\), and none is named'):
        ConfigNames([], ("cw", "tp")).the_psa("")
