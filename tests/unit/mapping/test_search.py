from __future__ import annotations

import pytest

from kisi.mapping.search import search

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
    assert search(typed, NAMES) == found
