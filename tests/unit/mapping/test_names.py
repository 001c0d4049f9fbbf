from __future__ import annotations

import pytest

from kisi.mapping.similarity import parse_name, search


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller & Söhne GmbH & Co. KG", "MUELLER UND SOEHNE"),
        ("Weiß Bau GmbH", "Weiss Bau"),
        ("Sørensen A/S", "Soerensen ApS"),
        ("Łódź Invest Sp. z o.o.", "Lodz Invest sp zoo"),
        ("Société Dupont S.A.R.L.", "Societe Dupont"),
        ("Horváth Kft.", "HORVATH KFT"),
        ("Petrol d.o.o.", "Petrol"),
        ("ООО Ромашка", "Ромашка"),  # noqa: RUF001
        ("PT Maju Tbk", "Maju"),
        ("Kangaroo Pty Ltd", "Kangaroo Pty. Limited"),
        ("Rossi S. r. l.", "Rossi SpA"),
        ("Foo Oy Ab", "Foo"),
        ("株式会社トヨタ", "トヨタ"),
        ("Contoso Ltd HQ", "Contoso Limited"),
        ("Contoso GmbH - Standort 2", "Contoso"),
        ("The Contoso Group", "Contoso"),
        ("ContosoLogistics", "Contoso_Logistics"),
        ("O'Neill", "ONeill Inc."),
        ("Café Zoe\u0301", "CAFE ZOÉ"),
    ],
)
def test_names_that_differ_in_spelling_and_form_only_have_one_key(one, other):
    assert parse_name(one).key == parse_name(other).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller Bau Berlin", "Müller Bau Hamburg"),
        ("Studio 54", "Studio 45"),
        ("Contoso Logistics", "Contoso Services"),
        ("AB Consulting", "AG Consulting"),
    ],
)
def test_what_tells_companies_apart_stays(one, other):
    assert parse_name(one).key != parse_name(other).key


def test_a_name_of_nothing_but_a_legal_form_keeps_it():
    assert parse_name("AG").words == ("ag",)


def test_the_legal_forms_left_out_are_known():
    name = parse_name("Contoso GmbH & Co. KG")
    assert name.forms == {"gmbh co kg"}
    assert name.words == ("contoso",)


@pytest.mark.parametrize("text", ["", "  ", "!?", "\u202e\x1b[31m"])
def test_a_name_without_words_has_an_empty_key_or_what_is_left_of_it(text):
    assert parse_name(text).key in {"", "31m"}


def test_of_an_endless_name_only_the_beginning_is_looked_at():
    assert len(" ".join(parse_name("word " * 100_000).words)) <= 200


# --- searching

NAMES = {
    1: ("Müller & Söhne GmbH", "250"),
    2: ("Bäckerei Müller", "251"),
    3: ("O'Brien Dental", "252"),
    4: ("Humüllerix", "253"),
    5: ("!!", "254"),
}


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("muller", [1, 2, 4]),
        ("MUELLER söhne", [1]),
        ("gmbh mul", [1]),
        ("obrien", [3]),
        ("brien den", [3]),
        ("252", [3]),
        ("!!", [5]),
        ("zzz", []),
        ("  ", []),
    ],
)
def test_any_part_of_a_name_finds_it_likeliest_first(typed, found):
    assert search(typed, NAMES, NAMES.__getitem__) == found
