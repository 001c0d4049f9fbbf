from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from kisi.mapping.toml_text import has_comment, scan

TRICKY = '''\ufeff# [[company]] in a comment
title = "[[company]] # in text"  # and after it
"quoted key".'and literal'.bare = { a = [1, { b = "}" }], c = "#" } # tail
long = """
[[company]]
""\\" x = 1
"""""
literal = \'\'\'
[[company]]\'\'\'
list = [ # first
  "a]", \'b[\', # second
  [1, 2],
]
when = 1979-05-27 07:32:00 # a date with a space
  [[ company ]]  # header
  name = \'C:\\\' # literal
[[company . "product"]]
[company.detail]
n = 1'''


def test_headers_and_keys_are_found_where_tomllib_sees_them():
    assert tomllib.loads(TRICKY[1:])
    sections = scan(TRICKY)
    assert [(section.path, section.array) for section in sections] == [
        ((), False),
        (("company",), True),
        (("company", "product"), True),
        (("company", "detail"), False),
    ]
    top = {entry.key: TRICKY[entry.value_start : entry.value_end] for entry in sections[0].entries}
    assert top[("title",)] == '"[[company]] # in text"'
    assert top[("quoted key", "and literal", "bare")] == '{ a = [1, { b = "}" }], c = "#" }'
    assert top[("long",)].endswith('"""""')
    assert top[("list",)].endswith("[1, 2],\n]")
    assert top[("when",)] == "1979-05-27 07:32:00"
    company = sections[1]
    assert (
        TRICKY[company.start : company.end]
        == "  [[ company ]]  # header\n  name = 'C:\\' # literal\n"
    )
    assert company.entry("name") is company.entries[0]
    assert company.entry("other") is None
    assert sections[-1].end == len(TRICKY)


@pytest.mark.parametrize(
    ("value", "comment"),
    [
        ('["a # b"]', False),
        ("[ # c\n1]", True),
        ("'''#'''", False),
        ('["\\"#"]', False),
        ('["a", # b\n]', True),
    ],
)
def test_a_comment_inside_a_list_is_told_from_text(value, comment):
    assert has_comment(value) is comment


SCALARS = (
    st.text()
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.datetimes()
    | st.floats(allow_nan=False)
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
TABLES = st.recursive(
    st.dictionaries(st.text(), VALUES, max_size=4),
    lambda inner: st.dictionaries(st.text(), VALUES | inner, max_size=3),
    max_leaves=6,
)


@given(TABLES, st.booleans())
def test_every_value_of_a_document_parses_from_its_own_span(data, multiline):
    text = tomli_w.dumps(data, multiline_strings=multiline)
    found = 0
    for section in scan(text):
        table = tomllib.loads(text)
        for part in section.path:
            table = table[part]
        for entry in section.entries:
            value = tomllib.loads(f"v = {text[entry.value_start : entry.value_end]}")["v"]
            assert value == table[entry.key[0]]
            found += 1
    assert found == leaves(data)


def leaves(table):
    return sum(leaves(value) if isinstance(value, dict) else 1 for value in table.values())
