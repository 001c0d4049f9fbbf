from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from kisi.mapping.inventory import running, runs
from kisi.mapping.suggestions import renewals
from kisi.psa import PsaAgreement
from tests.unit.build import TODAY

TEXT = """\
[[company]]
name = "Contoso"
tenants = ["hq:V1"]
company = 250
agreement = 1042
"""


def agreement(**more):
    return PsaAgreement("1", "250", "Managed", **more)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"starts": TODAY, "ends": TODAY}, True),
        ({"starts": date(2026, 11, 22)}, False),
        ({"ends": date(2026, 11, 20)}, False),
        ({"active": False}, False),
    ],
)
def test_an_agreement_runs_from_its_first_to_its_last_day(more, expected):
    assert runs(agreement(**more), TODAY) is expected


def ended(sides, **more):
    values = {"ends": date(2026, 10, 31), **more}
    sides.cw.contracts[0] = replace(sides.cw.contracts[0], **values)


def found(sides, text=TEXT):
    mapping = sides.editor(text).mapping
    return renewals(mapping.companies, sides.inventory(mapping, keys=False), TODAY)


def test_a_client_whose_agreement_runs_is_not_moved(sides):
    assert found(sides) == ()
    ended(sides, ends=None, starts=date(2027, 1, 1))
    assert found(sides) == ()


@pytest.mark.parametrize("more", [{}, {"ends": None, "active": False}, {"company": "251"}])
def test_the_only_free_agreement_of_the_company_is_the_successor(sides, more):
    ended(sides, **more)
    sides.cw.agreement("1077", "250", "Managed Security 2027")
    (renewal,) = found(sides)
    assert renewal.successor.id == "1077"
    assert renewal.old.id == "1042"


def test_of_several_the_one_with_the_old_type_and_name_is_the_successor(sides):
    ended(sides, name="Managed Security 2025/26")
    sides.cw.agreement("1070", "250", "Backup")
    sides.cw.agreement("1077", "250", "Managed security 2026-27")
    (renewal,) = found(sides)
    assert renewal.successor.id == "1077"
    assert [each.id for each in renewal.choices] == ["1077", "1070"]


def test_where_two_fit_a_person_must_choose(sides):
    ended(sides)
    sides.cw.agreement("1077", "250")
    sides.cw.agreement("1078", "250")
    (renewal,) = found(sides)
    assert renewal.successor is None
    assert len(renewal.choices) == 2


def test_an_agreement_of_another_client_is_no_successor(sides):
    ended(sides)
    sides.cw.agreement("1077", "250")
    other = TEXT.replace("Contoso", "Contoso 2").replace("V1", "V2").replace("1042", "1077")
    (renewal,) = found(sides, TEXT + other)
    assert renewal.choices == ()
    assert renewal.successor is None


def test_an_agreement_that_is_gone_is_shown_without_words_about_it(sides):
    sides.cw.contracts = sides.cw.contracts[1:]
    sides.cw.agreement("1077", "250")
    sides.cw.agreement("1078", "250")
    (renewal,) = found(sides)
    assert renewal.old is None
    assert renewal.successor is None


def test_running_agreements_are_those_of_the_company_and_psa(sides):
    ended(sides)
    sides.cw.agreement("1077", "250")
    inventory = sides.inventory(sides.editor("").mapping, keys=False)
    assert [each.agreement.id for each in running(inventory, "cw", "250", TODAY)] == ["1077"]
    assert running(inventory, "tp", "250", TODAY) == ()
