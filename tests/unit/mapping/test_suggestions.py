from __future__ import annotations

from dataclasses import replace

import pytest

from kisi.mapping.similarity import DEFAULT_MIN_SCORE
from kisi.mapping.suggestions import ranked_companies, suggest, unmatched_key_names
from kisi.model import SPLIT, Category, Company, ProductRow, TenantRef, Unit
from tests.unit.build import TODAY
from tests.unit.mapping.sides import KES, Psa


def proposed(sides, text="", min_score=DEFAULT_MIN_SCORE):
    mapping = sides.editor(text).mapping
    return suggest(mapping, sides.inventory(mapping), TODAY, min_score=min_score)


def test_a_sure_company_with_one_agreement_is_marked_for_acceptance(sides):
    contoso, fabrikam = proposed(sides).clients
    assert contoso.accept
    assert contoso.company == Company(
        "Contoso Ltd", (TenantRef("hq", "V1"),), "cw", "250", "1042", billing=False
    )
    assert "spelling and legal form" in contoso.reason
    assert fabrikam.company.agreement == "1043"


def test_disabled_and_mapped_tenants_are_not_proposed(sides):
    sides.hq.disabled.add("V2")
    mapped = '[[company]]\nname = "C"\ntenants = ["hq:V1"]\ncompany = 250\nagreement = 1042\n'
    assert proposed(sides, mapped).clients == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda cw: cw.agreement("1077", "250", "Backup"), "1042 Managed Security, 1077 Backup"),
        (lambda cw: cw.contracts.pop(0), "no agreement of it runs today"),
    ],
)
def test_where_the_agreement_is_not_certain_a_person_must_choose(sides, change, why):
    change(sides.cw)
    contoso = proposed(sides).clients[0]
    assert not contoso.accept
    assert contoso.company.agreement == ""
    assert why in contoso.reason


def test_a_company_that_is_mapped_already_is_proposed_but_not_accepted_unseen(sides):
    text = '[[company]]\nname = "C"\ntenants = ["hq:V9"]\ncompany = 250\nagreement = 1042\n'
    contoso = proposed(sides, text).clients[0]
    assert (contoso.accept, contoso.company.agreement) == (False, "1042")
    assert "is mapped already: C" in contoso.reason


def test_two_tenants_of_one_company_are_told_to_become_one_client(sides):
    sides.hq.add("V3", "Contoso - HQ")
    first, _, third = proposed(sides).clients
    assert first.company.agreement == third.company.agreement
    assert "one client with 2 tenants" in first.reason
    assert "one client with 2 tenants" in third.reason


def test_weaker_suggestions_are_shown_when_asked_for_and_never_marked(sides):
    sides.hq.add("V3", "Contoso Fabrikam")
    strong, weak = proposed(sides), proposed(sides, min_score=0.1)
    assert [tenant.ref.tenant for tenant in strong.without] == ["V3"]
    assert weak.without == ()
    of_v3 = [row for row in weak.clients if row.company.tenants == (TenantRef("hq", "V3"),)]
    assert of_v3
    assert not any(row.accept for row in of_v3)


def test_inactive_companies_are_never_suggested(sides):
    sides.cw.companies[0] = replace(sides.cw.companies[0], active=False)
    inventory = sides.inventory(sides.editor("").mapping)
    tenants = [entry.tenant for entry in inventory.tenants]
    assert ranked_companies(inventory, tenants)["hq:V1"] == ()


def test_companies_of_all_psas_are_ranked_together(sides):
    sides.psas["tp"] = Psa("tp")
    sides.psas["tp"].client("500", "Litware", "7001")
    sides.hq.add("V3", "Litware")
    (client,) = [
        row for row in proposed(sides).clients if row.company.tenants == (TenantRef("hq", "V3"),)
    ]
    row = client.company
    assert (row.psa, row.company, row.agreement) == ("tp", "500", "7001")


# --- applications


def test_key_names_become_one_application_with_the_product_of_a_like_name(sides):
    sides.hq.add("V3", "X", **{f"{KES}. 50 Node 1 year Base License": 3})
    (row,) = proposed(sides).applications
    assert row.accept
    assert (row.application.name, row.application.unit) == (KES, Unit.DEVICE)
    assert row.product == ProductRow(KES, "cw", {Category.ALL: "1200"})


def test_three_products_whose_names_tell_the_category_are_proposed_as_three(sides):
    for ident, name in (("1", "KES-ADV-WS"), ("2", "KES-ADV-SRV"), ("3", "KES-ADV-OTHER")):
        sides.cw.product(ident, name)
    sides.cw.catalog.pop(0)
    (row,) = proposed(sides).applications
    assert row.accept
    assert tuple(row.product.products) == SPLIT
    assert list(row.product.products.values()) == ["1", "2", "3"]


def test_a_product_that_bills_something_else_or_is_inactive_is_not_proposed(sides):
    text = '[[application]]\nname = "EDR"\n[[product]]\napplication = "EDR"\nall = 1200\n'
    sides.cw.product("1201", "KES-ADV", active=False)
    (row,) = proposed(sides, text).applications
    assert not row.accept
    assert not row.product.products
    assert row.reason == "no product has a similar name"


def test_two_applications_are_never_proposed_for_one_product(sides):
    sides.hq.add("V3", "X", **{"Kaspersky Endpoint Security for Business - Select": 3})
    rows = proposed(sides).applications
    products = [product for row in rows if row.accept for product in row.product.products.values()]
    assert len(products) == len(set(products)) == 1


def test_what_may_be_licensed_per_user_or_per_device_is_not_marked_however_like_its_name(sides):
    cloud = "Kaspersky Endpoint Security Cloud Plus"
    sides.hq.add("V3", "X", **{cloud: 3})
    sides.cw.product("1300", cloud)
    (row,) = [row for row in proposed(sides).applications if row.application.name == cloud]
    assert (row.accept, row.application.unit, row.score) == (False, Unit.USER, 1.0)
    assert dict(row.product.products) == {Category.ALL: "1300"}
    assert "per user or per device?" in row.reason


def test_a_weak_likeness_is_shown_and_not_marked(sides):
    sides.cw.catalog.clear()
    sides.cw.product("1", "Kaspersky Endpoint Security")
    (row,) = proposed(sides).applications
    assert dict(row.product.products) == {Category.ALL: "1"}
    assert not row.accept


def test_each_psa_has_its_own_products_proposed(sides):
    sides.psas["tp"] = Psa("tp")
    sides.psas["tp"].product("KES", "KES-ADV")
    rows = proposed(sides).applications
    assert [(row.product.psa, row.product.products[Category.ALL]) for row in rows] == [
        ("cw", "1200"),
        ("tp", "KES"),
    ]


def test_a_key_name_that_two_applications_match_is_not_unmatched(sides):
    text = "".join(
        f'[[application]]\nname = "{name}"\nkeys = ["Kaspersky*"]\n' for name in ("A", "B")
    )
    mapping = sides.editor(text).mapping
    assert unmatched_key_names(mapping, sides.inventory(mapping)) == []
