from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from kisi.errors import PsaError, SourceError
from kisi.mapping.stale import Fate, stale_entries
from tests.unit.build import TODAY

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
    return stale_entries(mapping, sides.inventory(mapping, keys=False), TODAY)


def test_what_is_there_and_active_is_not_stale(sides):
    assert stale(sides) == ()


@pytest.mark.parametrize(
    ("change", "fate", "kind"),
    [
        (lambda sides: sides.hq.names.pop("V1"), Fate.GONE, "tenant"),
        (lambda sides: sides.hq.disabled.add("V1"), Fate.INACTIVE, "tenant"),
        (lambda sides: sides.cw.companies.pop(0), Fate.GONE, "company"),
        (lambda sides: company(sides, active=False), Fate.INACTIVE, "company"),
        (lambda sides: company(sides, name="Northwind"), Fate.RENAMED, "company"),
        (lambda sides: sides.cw.contracts.pop(0), Fate.GONE, "agreement"),
        (lambda sides: agreement(sides, company="251"), Fate.FOREIGN, "agreement"),
        (lambda sides: agreement(sides, active=False), Fate.INACTIVE, "agreement"),
        (lambda sides: agreement(sides, ends=date(2026, 11, 20)), Fate.ENDED, "agreement"),
        (lambda sides: agreement(sides, ends=TODAY), Fate.ENDING, "agreement"),
        (
            lambda sides: agreement(sides, ends=TODAY + timedelta(days=60)),
            Fate.ENDING,
            "agreement",
        ),
        (lambda sides: sides.cw.catalog.clear(), Fate.GONE, "product"),
        (
            lambda sides: sides.cw.catalog.__setitem__(
                0, replace(sides.cw.catalog[0], active=False)
            ),
            Fate.INACTIVE,
            "product",
        ),
    ],
)
def test_what_became_of_a_mapped_thing_is_told_once_with_what_to_do(sides, change, fate, kind):
    change(sides)
    (entry,) = stale(sides)
    assert (entry.fate, entry.kind) == (fate, kind)
    assert entry.reason.endswith(".")
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
