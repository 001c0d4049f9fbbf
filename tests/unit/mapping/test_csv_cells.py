from __future__ import annotations

import csv
from io import StringIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kisi.errors import ConfigError
from kisi.mapping.table import csv_cell, csv_list, read_csv, write_csv
from kisi.redaction import STARTS

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def round_trip(cell):
    (row,) = read_csv(write_csv(["a", "b"], [{"a": cell, "b": "x"}]), ["a", "b"], name="t")
    return row


@given(TEXT)
def test_any_text_comes_back_and_cannot_act(text):
    cell = csv_cell(text)
    assert cell.isprintable() or not cell
    assert not cell.startswith(("=", "+", "-", "@", "\t"))
    assert round_trip(cell).cells["a"] == text


@given(st.lists(TEXT.filter(bool), max_size=5))
def test_any_list_of_texts_comes_back(texts):
    assert list(round_trip(csv_list(texts)).lists["a"]) == texts


ODD = st.text(st.sampled_from("=+-@\uff1d,;|\t \"'\\x3da"), max_size=12)


@example(['"=1', "a", " =1"], ";")
@given(st.lists(ODD.filter(bool), min_size=1, max_size=3), st.sampled_from(",;|\t"))
def test_no_delimiter_makes_a_formula_of_what_is_inside_a_cell(texts, delimiter):
    cells = {"a": csv_cell(texts[0]), "b": csv_list(texts)}
    table = write_csv(["a", "b"], [cells])
    for row in csv.reader(StringIO(table, newline=""), delimiter=delimiter):
        assert not [one for one in row if one.lstrip(' "').startswith(STARTS)]
    (row,) = read_csv(table, ["a", "b"], name="t")
    assert row.cells["a"] == texts[0]
    assert list(row.lists["b"]) == texts


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("a;=1|@x, -2", "a;\\x3d1|\\x40x, \\x2d2"),
        ("Kyoto-Osaka; A+B", "Kyoto-Osaka; A+B"),
        ("Müller; Söhne", "Müller; Söhne"),
        ("=1+1", "'=1+1"),
        ("'quoted", "''quoted"),
        ("a\x1b[31m\n", "a\\x1b[31m\\x0a"),
        ("C:\\x41", "C:\\\\x41"),
        (" both ", "\\x20both\\x20"),
        ("\u202e\U000e0001", "\\u202e\\U000e0001"),
        ("   ", "\\x20\\x20\\x20"),
    ],
)
def test_only_what_could_do_harm_is_written_otherwise(text, cell):
    assert csv_cell(text) == cell


def test_what_a_person_types_is_taken_as_it_stands():
    assert round_trip("C:\\temp").cells["a"] == "C:\\temp"
    assert round_trip("'tis").cells["a"] == "'tis"
    assert round_trip(" a ; b;; ").lists["a"] == ("a", "b")
    assert round_trip("\\Uffffffff").cells["a"] == "\\Uffffffff"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_as_a_spreadsheet_saves_it(delimiter):
    buffer = StringIO()
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerows([["A ", "b"], ["x,y", "1;2"], ["", ""], ["z"]])
    rows = read_csv("\ufeff" + buffer.getvalue(), ["a", "b"], name="t")
    assert [row.cells for row in rows] == [{"a": "x,y", "b": "1;2"}, {"a": "z"}]
    assert [row.place for row in rows] == ["t, line 2", "t, line 4"]


def test_an_empty_file_has_no_rows():
    assert read_csv("", ["a"], name="t") == []
    with pytest.raises(ConfigError, match="t, line 2: This is not CSV"):
        read_csv('a\r\n"x" y\r\n', ["a"], name="t")
