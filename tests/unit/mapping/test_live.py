from __future__ import annotations

from dataclasses import replace

import pytest

from kisi.errors import ConfigError, ExitCode, PsaError, SourceError
from kisi.mapping.change import Change
from kisi.model import Category, Company, ProductRow, TenantRef
from tests.unit.mapping.sides import Psa

CONTOSO = Company("Contoso", (TenantRef("hq", "V1"),), "cw", "250", "1042")
FABRIKAM = Company("Fabrikam", (TenantRef("hq", "V2"),), "cw", "251", "1043")


def refusal(sides, *companies, products=()):
    with pytest.raises(ConfigError) as caught:
        sides.live().refuse(Change("", companies, tuple(products)))
    assert caught.value.exit_code is ExitCode.CONFIG
    assert "left as it is" in caught.value.remedy
    return caught.value.message


def product(ident, psa="cw"):
    return ProductRow("KES", psa, {Category.ALL: ident})


def test_ids_that_exist_and_are_active_pass(sides):
    sides.live().refuse(Change("", (CONTOSO, FABRIKAM), (product("1200"),)))
    sides.live().refuse(Change(""))


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
    for words in ("is disabled", "Company 250 is not active", "Agreement 1042 is not active"):
        assert words in message


def test_a_product_that_is_gone_inactive_or_of_another_psa_is_refused(sides):
    sides.psas["tp"] = Psa("tp")
    sides.psas["tp"].product("KES", "Endpoint")
    sides.cw.product("1299", "OLD", active=False)
    message = refusal(sides, products=[product("1"), product("1299"), product("KES")])
    assert "psa.cw has no product 1." in message
    assert "Product 1299 (OLD) of psa.cw is not active" in message
    assert "Product KES is one of psa.tp, not of psa.cw." in message


def test_what_cannot_be_asked_is_an_error_of_its_own(sides):
    sides.cw.broken = PsaError("psa.cw does not answer.")
    with pytest.raises(PsaError):
        sides.live().refuse(Change("", (CONTOSO,)))
    sides.cw.broken = None
    sides.hq.broken = SourceError("sources.hq does not answer.")
    with pytest.raises(SourceError):
        sides.live().refuse(Change("", (CONTOSO,)))
