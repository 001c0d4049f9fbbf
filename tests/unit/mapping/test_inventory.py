from __future__ import annotations

from kisi.errors import ExitCode, PsaError, SourceError
from kisi.mapping.inventory import take_inventory
from tests.unit.mapping.sides import KES, Psa, Source

TEXT = f"""\
[[application]]
name = "{KES}"
[[product]]
application = "{KES}"
all = 1200
[[company]]
name = "Contoso"
tenants = ["hq:V1"]
company = 250
agreement = 1042
"""


def test_both_sides_are_listed_with_what_they_are_mapped_to(sides):
    mapping = sides.editor(TEXT).mapping
    inventory = sides.inventory(mapping)
    assert [bool(entry.company) for entry in inventory.tenants] == [True, False]
    assert inventory.tenants[0].uses == ((KES, 5),)
    (key,) = inventory.key_names
    assert (key.application.name, key.tenants, key.used) == (KES, 2, 10)
    assert [len(entry.clients) for entry in inventory.companies] == [1, 0]
    assert [bool(entry.client) for entry in inventory.agreements] == [True, False]
    assert inventory.products[0].applications == (KES,)
    assert (inventory.missing, inventory.exit_code) == ((), 0)


def test_what_is_unmapped_leaves_out_companies_that_are_not_active(sides):
    sides.cw.company("299", "Old", active=False)
    unmapped = sides.inventory(sides.editor(TEXT).mapping).only_unmapped()
    assert [entry.tenant.name for entry in unmapped.tenants] == ["Fabrikam GmbH"]
    assert [entry.company.name for entry in unmapped.companies] == ["Fabrikam"]
    assert (unmapped.key_names, unmapped.agreements, unmapped.products) == ((), (), ())


def test_a_tenant_of_two_rows_is_the_billed_ones(sides):
    twice = TEXT + TEXT[TEXT.index("[[company]]") :].replace("1042", "1043") + "billing = false\n"
    inventory = sides.inventory(sides.editor(twice).mapping)
    assert inventory.tenants[0].company.agreement == "1042"


def test_what_cannot_be_read_is_said_and_the_rest_is_there(sides):
    sides.sources["hub"] = Source("hub", broken=SourceError("hub is away.", remedy="Wait."))
    sides.hq.unreadable["V2"] = SourceError("V2 is short.")
    sides.psas["tp"] = Psa("tp", broken=PsaError("tp is away."))
    text = TEXT.replace("company = ", 'psa = "cw"\ncompany = ')
    text = text.replace("all = ", 'psa = "cw"\nall = ')
    inventory = sides.inventory(sides.editor(text).mapping)
    assert inventory.missing == ("V2 is short.", "hub is away. Wait.", "tp is away.")
    assert inventory.exit_code == ExitCode.PSA
    assert (inventory.sources_read, inventory.psas_read) == ({"hq"}, {"cw"})
    assert len(inventory.tenants) == 2
    assert inventory.key_names[0].tenants == 1


def test_key_names_are_read_only_if_they_are_wanted_and_progress_is_told(sides):
    told = []
    mapping = sides.editor(TEXT).mapping
    take_inventory(mapping, sides.sources, sides.psas, progress=lambda *each: told.append(each))
    assert told == [("hq", 1, 2), ("hq", 2, 2), ("PSAs", 0, 1), ("PSAs", 1, 1)]
    assert sides.inventory(mapping, keys=False).key_names == ()
