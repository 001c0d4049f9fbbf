"""What `kisi map` shows: suggestions, renewals, screens before a question."""

from __future__ import annotations

from datetime import date

import pytest

from kisi.mapping.inventory import KeyNameEntry
from kisi.mapping.suggestions import KeyNameGroup, Suggestions
from kisi.model import Application, Tenant, TenantRef
from kisi.psa import PsaAgreement
from kisi.render.map_lists import (
    agreement_words,
    application_screen,
    products_screen,
    suggestions_report,
)
from kisi.render.terminal import lay_out


def shown(report, width=80):
    return lay_out(report, width)


def test_a_long_list_of_tenants_without_a_suggestion_is_cut_and_says_so():
    tenants = tuple(Tenant(TenantRef("hq", f"V{n}"), f"Nobody {n}\x1b") for n in range(25))
    text = shown(suggestions_report(Suggestions(without=tenants), 0.85))
    assert "25 below 0.85" in text
    assert "Nobody 19\\x1b" in text
    assert "Nobody 20" not in text
    assert text.endswith("and 5 more\n")


def test_nothing_to_suggest_is_nothing_to_show():
    assert shown(suggestions_report(Suggestions(), 0.85)) == ""


@pytest.mark.parametrize(
    ("starts", "ends", "words"),
    [
        (date(2026, 1, 1), date(2026, 12, 31), "2026-01-01 to 2026-12-31"),
        (None, date(2026, 12, 31), "until 2026-12-31"),
        (date(2026, 1, 1), None, "since 2026-01-01, no end"),
        (None, None, "no end"),
    ],
)
def test_an_agreement_is_one_line_with_its_dates(starts, ends, words):
    agreement = PsaAgreement("1042", "250", "Managed", "Gold", starts=starts, ends=ends)
    assert agreement_words(agreement) == f"1042 Managed (Gold), {words}"


def test_an_agreement_that_the_psa_does_not_know_is_called_so():
    assert agreement_words(None) == "unknown to the PSA"


def test_many_key_names_of_one_application_are_cut():
    names = [KeyNameEntry(f"KES {number}", None, 1, number) for number in range(8)]
    group = KeyNameGroup(Application("KES"), tuple(n.name for n in names))
    text = shown(application_screen(group, "1 of 2", names, ["as one product"]))
    assert "KES 5" in text
    assert "and 2 more key names" in text


def test_where_no_product_is_like_it_the_way_on_is_said():
    assert "Type a part of its name" in shown(products_screen("Product", []))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_screens_fit_any_terminal(width):
    names = [KeyNameEntry("Kaspersky Endpoint Security for Business - Advanced " * 2, None, 1, 9)]
    group = KeyNameGroup(Application(names[0].name), (names[0].name,))
    text = shown(application_screen(group, "1 of 2", names, ["as one product " * 8]), width)
    assert max(map(len, text.splitlines())) <= width
