from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from kisi.errors import ConfigError, ExitCode, PsaError, SourceError
from kisi.mapping.changes import Change
from kisi.mapping.validator import StaleReason, SystemValidator
from kisi.model import Category, Company, ProductRow, TenantRef
from tests.unit.build import TODAY
from tests.unit.mapping.sides import Psa

CONTOSO = Company("Contoso", (TenantRef("hq", "V1"),), "cw", "250", "1042")
FABRIKAM = Company("Fabrikam", (TenantRef("hq", "V2"),), "cw", "251", "1043")


def refusal(sides, *companies, products=()):
    with pytest.raises(ConfigError) as caught:
        sides.validator().refuse(Change("", companies, tuple(products)))
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "left as it is" in caught.value.remedy
    return caught.value.message


def product(ident, psa="cw"):
    return ProductRow("KES", psa, {Category.ALL: ident})


def test_ids_that_exist_and_are_active_pass(sides):
    sides.validator().refuse(Change("", (CONTOSO, FABRIKAM), (product("1200"),)))
    sides.validator().refuse(Change(""))


@pytest.mark.parametrize(
    ("company", "words"),
    [
        (replace(CONTOSO, tenants=(TenantRef("hq", "V7"),)), 'sources.hq has no tenant "V7".'),
        (replace(CONTOSO, company="299"), "psa.cw has no company 299."),
        (replace(CONTOSO, agreement="1099"), "Agreement 1099 does not exist. Renew it."),
        (replace(CONTOSO, agreement="1043"), "Agreement 1043 belongs to company 251."),
    ],
)
def test_an_id_that_is_gone_or_anothers_is_refused_by_client(sides, company, words):
    message = refusal(sides, company, FABRIKAM)
    assert words in message
    assert message.startswith('"Contoso" (cw:')


def test_what_is_disabled_deleted_or_ended_is_refused_all_at_once(sides):
    sides.hq.disabled.add("V1")
    sides.cw.companies[0] = replace(sides.cw.companies[0], active=False)
    sides.cw.contracts[0] = replace(sides.cw.contracts[0], active=False)
    message = refusal(sides, CONTOSO)
    assert len(message.splitlines()) == 3
    for words in (
        "is disabled",
        "Company 250 (Contoso Ltd) is not active",
        "Agreement 1042 is not active",
    ):
        assert words in message


def test_a_product_that_is_gone_inactive_or_of_another_psa_is_refused(sides):
    sides.psas["tp"] = Psa("tp")
    sides.psas["tp"].product("KES", "Endpoint")
    sides.cw.product("1299", "OLD", active=False)
    message = refusal(sides, products=[product("1"), product("1299"), product("KES")])
    assert "psa.cw has no product 1;" in message
    assert "Product 1299 (OLD) of psa.cw is not active" in message
    assert "Product KES is one of psa.tp, not of psa.cw;" in message


def test_what_cannot_be_asked_is_an_error_of_its_own(sides):
    sides.cw.broken = PsaError("psa.cw does not answer.")
    with pytest.raises(PsaError):
        sides.validator().refuse(Change("", (CONTOSO,)))
    sides.cw.broken = None
    sides.hq.broken = SourceError("sources.hq does not answer.")
    with pytest.raises(SourceError):
        sides.validator().refuse(Change("", (CONTOSO,)))


# --- what is not as it was

TEXT = """\
[[application]]
name = "KES"
[[product]]
application = "KES"
all = 1200
[[company]]
name = "Contoso"
tenants = ["hq:V1"]
company = 250
agreement = 1042
billing = false
"""


def stale(sides, text=TEXT):
    mapping = sides.editor(text).mapping
    inventory = sides.inventory(mapping, keys=False)
    return SystemValidator.of(inventory, TODAY).stale(mapping)


def test_what_is_there_and_active_is_not_stale(sides):
    assert stale(sides) == ()


@pytest.mark.parametrize(
    ("change", "reason", "kind"),
    [
        (lambda sides: sides.hq.names.pop("V1"), StaleReason.GONE, "tenant"),
        (lambda sides: sides.hq.disabled.add("V1"), StaleReason.INACTIVE, "tenant"),
        (lambda sides: sides.cw.companies.pop(0), StaleReason.GONE, "company"),
        (lambda sides: company(sides, active=False), StaleReason.INACTIVE, "company"),
        (lambda sides: company(sides, name="Northwind"), StaleReason.RENAMED, "company"),
        (lambda sides: sides.cw.contracts.pop(0), StaleReason.GONE, "agreement"),
        (lambda sides: agreement(sides, company="251"), StaleReason.FOREIGN, "agreement"),
        (lambda sides: agreement(sides, active=False), StaleReason.INACTIVE, "agreement"),
        (lambda sides: agreement(sides, ends=date(2026, 11, 20)), StaleReason.ENDED, "agreement"),
        (lambda sides: agreement(sides, ends=TODAY), StaleReason.ENDING, "agreement"),
        (
            lambda sides: agreement(sides, ends=TODAY + timedelta(days=60)),
            StaleReason.ENDING,
            "agreement",
        ),
        (lambda sides: sides.cw.catalog.clear(), StaleReason.GONE, "product"),
        (
            lambda sides: sides.cw.catalog.__setitem__(
                0, replace(sides.cw.catalog[0], active=False)
            ),
            StaleReason.INACTIVE,
            "product",
        ),
    ],
)
def test_what_became_of_a_mapped_thing_is_told_once_with_what_to_do(sides, change, reason, kind):
    change(sides)
    (entry,) = stale(sides)
    assert (entry.reason, entry.kind) == (reason, kind)
    assert entry.message.endswith(".")
    assert entry.remedy
    assert entry.client == ("" if kind == "product" else "Contoso")


def company(sides, **more):
    sides.cw.companies[0] = replace(sides.cw.companies[0], **more)


def agreement(sides, **more):
    sides.cw.contracts[0] = replace(sides.cw.contracts[0], **more)


def test_an_agreement_that_ends_later_and_a_longer_name_are_no_news(sides):
    agreement(sides, ends=TODAY + timedelta(days=61))
    company(sides, name="CONTOSO Logistics Ltd.")
    assert stale(sides) == ()


def test_an_exceptions_product_is_told_with_its_client(sides):
    text = TEXT + '[[company.product]]\napplication = "KES"\nall = 1299\n'
    (entry,) = stale(sides, text)
    assert (entry.client, entry.kind, entry.id) == ("Contoso", "product", "1299")


def test_what_could_not_be_read_is_not_called_gone(sides):
    sides.hq.broken = SourceError("no answer")
    sides.cw.broken = PsaError("no answer")
    assert stale(sides) == ()
