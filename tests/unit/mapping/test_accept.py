from __future__ import annotations

from dataclasses import replace

import pytest

from kisi.errors import ConfigError
from kisi.mapping.accept import accept, the_psa
from kisi.mapping.proposals import ApplicationProposal, ClientProposal, Proposals
from kisi.model import Category, Unit

CONTOSO = ClientProposal(True, "hq:V1", "CONTOSO", "Contoso Ltd", "", "250", "1042")
KES = ApplicationProposal(True, "KES", ("KES*",), Unit.DEVICE, "cw", {Category.ALL: "1200"})


def accepted(sides, *clients, applications=(), text=""):
    editor = sides.editor(text)
    return accept(editor, Proposals(clients, tuple(applications)), ["hq"])


def test_accepted_rows_are_added_with_billing_off_and_others_are_not(sides):
    other = replace(CONTOSO, accept=False, tenant="hq:V2")
    change = accepted(sides, CONTOSO, other, applications=[KES, replace(KES, accept=False)])
    assert change.text == (
        '[[application]]\nname = "KES"\n\n[[product]]\napplication = "KES"\nall = 1200\n\n'
        '[[company]]\nname = "Contoso Ltd"\ntenants = ["hq:V1"]\ncompany = 250\n'
        "agreement = 1042\nbilling = false\n"
    )
    assert [company.name for company in change.companies] == ["Contoso Ltd"]
    assert change.products[0].products == {Category.ALL: "1200"}


def test_billing_is_on_only_if_the_file_says_so(sides):
    assert "billing" not in accepted(sides, replace(CONTOSO, billing=True)).text


def test_an_application_without_a_product_is_known_and_not_billed_yet(sides):
    change = accepted(sides, applications=[replace(KES, products={}, psa="")])
    assert change.text == '[[application]]\nname = "KES"\n'


def test_new_key_names_join_the_application_of_their_name(sides):
    text = '[[application]]\nname = "kes"\n'
    more = replace(KES, keys=("KES*", "Endpoint*"), products={})
    change = accepted(sides, applications=[more], text=text)
    assert change.text == '[[application]]\nname = "kes"\nkeys = ["kes*", "KES*", "Endpoint*"]\n'


def test_products_of_an_application_that_is_billed_already_are_refused(sides):
    text = '[[application]]\nname = "KES"\n[[product]]\napplication = "KES"\nall = 1\n'
    with pytest.raises(ConfigError, match=r'"KES" is billed in psa\.cw already'):
        accepted(sides, applications=[KES], text=text)


def test_every_row_that_names_something_unknown_is_told_at_once(sides):
    with pytest.raises(ConfigError) as caught:
        accepted(sides, replace(CONTOSO, tenant="hx:V1"), replace(CONTOSO, psa="tp"), CONTOSO)
    assert "[sources.hx]" in caught.value.problems[0]
    assert "[psa.tp]" in caught.value.problems[1]


def test_a_tenant_in_two_accepted_rows_is_refused(sides):
    with pytest.raises(ConfigError, match='"hq:V1" is mapped already'):
        accepted(sides, CONTOSO, replace(CONTOSO, agreement="1043", company="251"))


def test_the_psa_may_be_left_out_only_if_there_is_one():
    assert the_psa("", ("cw",)) == "cw"
    assert the_psa("tp", ("cw", "tp")) == "tp"
    with pytest.raises(ConfigError, match=r"several PSAs \(cw, tp\), and none is named"):
        the_psa("", ("cw", "tp"))
