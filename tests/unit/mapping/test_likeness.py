from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.mapping.likeness import Weights, WordIndex, compare, word_likeness
from kisi.mapping.names import parse_name

NAMES = [
    "Contoso Logistics",
    "Fabrikam Logistics",
    "Tailspin Logistics",
    "Contso Logistics",
    "K1042 Contoso",
]


def likeness(one, other):
    names = [parse_name(name) for name in [*NAMES, one, other]]
    return compare(names[-2], names[-1], Weights(names))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("contoso", "contso"),
        ("construction", "constr"),
        ("services", "svcs"),
        ("tailspin", "tialspin"),
    ],
)
def test_slips_and_shortened_words_are_like(one, other):
    assert 0 < word_likeness(one, other) < 1
    assert word_likeness(one, other) == word_likeness(other, one)
    assert WordIndex([other, "unrelated"]).like(one) == {other}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bau", "bar"),
        ("site12", "site13"),
        ("contoso", "fabrikam"),
        ("2024", "2025"),
        ("marble", "market"),
    ],
)
def test_other_words_and_other_numbers_are_not(one, other):
    assert word_likeness(one, other) == 0


def test_the_order_of_words_does_not_matter():
    assert likeness("Logistics Contoso", "Contoso Logistics").score == 1


def test_a_rare_word_weighs_more_than_a_trade():
    assert (
        likeness("Contoso", "Contoso Logistics").score
        > likeness("Logistics", "Contoso Logistics").score
    )


def test_a_customer_number_means_nothing_to_a_name_without_one():
    assert likeness("K1042 Fabrikam", "Fabrikam").score == 1
    assert likeness("Area 511 Fabrikam", "Area 512 Fabrikam").score < 0.9


def test_what_differs_is_told():
    found = likeness("Contso Group", "Contoso Logistics")
    assert found.unlike == (("contso", "contoso"),)
    assert found.missing == ("logistics",)


@pytest.mark.slow
@given(st.text(), st.text())
def test_likeness_is_symmetrical_and_within_bounds(one, other):
    forth, back = likeness(one, other), likeness(other, one)
    assert 0 <= forth.score <= 1
    assert forth.score == pytest.approx(back.score)
