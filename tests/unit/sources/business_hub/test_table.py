from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kisi.errors import SourceError
from kisi.sources.business_hub.report import decoded, parse_table, shown

FILE = Path("hub.csv")
WANTED = ("company", "application", "quantity")
TEXT = "Company;Application;Quantity\r\nMüller & Söhne;KES Cloud;12\r\n"


def table(content, encoding=None, **options):
    return parse_table(FILE, decoded(FILE, content, encoding).text, WANTED, **options)


def rows(content, encoding=None, **options):
    return [row.cells for row in table(content, encoding, **options)[1:]]


def refusal(content, encoding=None, **options):
    with pytest.raises(SourceError) as caught:
        table(content, encoding, **options)
    return caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("cp1252"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16 little", "utf-16 big", "windows-1252"],
)
def test_every_encoding_that_exports_use_is_read(content):
    assert rows(content) == [("Müller & Söhne", "KES Cloud", "12")]


@pytest.mark.parametrize(
    ("code_page", "name"),
    [
        ("cp1250", "Dvořák Škoda"),
        ("cp1251", "Юнга Ямщик"),
        ("cp1252", "Müller & Søn"),
        ("cp1254", "Şişli"),
    ],
)
def test_a_code_page_is_read_as_it_is_named(code_page, name):
    content = TEXT.replace("Müller & Söhne", name)
    encoded = content.encode(code_page)
    assert rows(encoded, code_page) == [(name, "KES Cloud", "12")]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):  # a mark, or UTF-8 itself, says what it is
        assert rows(content.encode(encoding), code_page) == [(name, "KES Cloud", "12")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_delimiter_is_the_one_that_shows_the_headings(delimiter):
    text = delimiter.join(['"Company"', "Application", "a,b;c", "Quantity"]) + "\n"
    text = text if delimiter == "\t" else text.replace("a,b;c", '"a,b;c"')
    text += delimiter.join(['"Contoso, Ltd; ""HQ"""', "KES", '"two\nlines"', "3"]) + "\n"
    assert rows(text.encode()) == [('Contoso, Ltd; "HQ"', "KES", "two\nlines", "3")]


@pytest.mark.parametrize("mark", ["sep=|\n", '"sep=|"\r\n', "sep=|,,\n"])
def test_excels_own_line_names_the_delimiter(mark):
    text = mark + "Company|Application|Quantity||\nA,B;C|KES|3\nD|KES|4||\n||||\n"
    assert [(row.location.line, row.cells[:3]) for row in table(text.encode())[1:]] == [
        (3, ("A,B;C", "KES", "3")),
        (4, ("D", "KES", "4")),
        (5, ("", "", "")),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_numbers_are_those_of_the_file(end):
    text = end.join(
        ["company,application,quantity", f'"two{end}lines",KES,1', "", "last,KES,2", ""]
    )
    assert [row.location.line for row in table(text.encode())] == [1, 2, 5]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"company,application,quantity\nA,KES,1\x98\x81\n", "line 2: its bytes are no text in utf-8 or a Windows code page"),
        (codecs.BOM_UTF8 + b"company\n\xff\n", "line 2: its bytes are no text in utf-8"),
        (TEXT.encode("utf-16")[:-1], "no text in utf-16-le"),
        (TEXT.encode("utf-16-le"), "line 1: it holds a NUL"),
        (b"company,application,quantity\nA,KES,1\n\0", "line 3: it holds a NUL"),
        (b"company,application,quantity\nA,KES,1\nB,KES,1", "line 3: the last line has no end"),
        (b"company,application,quantity\nA,KES\n", "line 2: the row has 2 cells and the heading line 3"),
        (b"company,application,quantity\nA,KES,1,1\n", 'has 4 cells and the heading line 3; its first cell is "A"'),
        (b'company,application,quantity\nA,KES,1\n"B,KES,1\nC,KES,1\n', "line 3: the row that starts here"),
        (b'company,application,quantity\n"A"x,KES,1\n', "line 2: the row that starts here"),
        (b"company,application,quantity\n", "headings and not one row"),
        (b"\n\n", "no heading line"),
        (b'"company,application\n', "line 1: the row that starts here"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_whole_is_refused_with_its_line(content, what):
    message = refusal(content)
    assert what in message
    assert "hub.csv" in message


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("cp1252", "line 2: its bytes are no text in utf-8 or cp1252"), ("utf-8", "no text in utf-8")],
)
def test_a_file_that_is_not_in_the_encoding_it_is_to_be_in_is_refused(encoding, said):
    assert said in refusal(b"company,application,quantity\nA,KES,1\x81\n", encoding)


HEADINGS = ("", "company", "quantity")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_without_headings_has_those_that_are_named(delimiter):
    lines = [
        delimiter.join(cells) for cells in (("a;1,5"[:3], "Contoso", "3"), ("b", "Lamna", "4"))
    ]
    text = "\n".join(lines).replace("a;1", '"a;1"') + "\n"
    found = table(text.encode(), headings=HEADINGS)
    assert [row.cells for row in found] == [
        HEADINGS,
        ("a;1", "Contoso", "3"),
        ("b", "Lamna", "4"),
    ]
    assert [row.location.line for row in found[1:]] == [1, 2]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("tenant;Company;number\n1;Contoso;3\n", "line 1: it is a line of headings"),
        ("1;Contoso;3;x\n", "line 1: the row has 4 cells and `headings` name 3"),
        ("1;Contoso;3\n2;Lamna\n", "line 2: the row has 2 cells and `headings` name 3"),
        ("1;Contoso;3\n2;Lamna;4", "line 2: the last line has no end"),
        ("\n\n", "not one row"),
    ],
)
def test_a_file_without_headings_must_be_one(text, what):
    assert what in refusal(text.encode(), headings=HEADINGS)


def test_a_missing_line_end_can_be_allowed():
    content = TEXT.strip().encode()
    assert rows(content, final_line_end=False) == rows(TEXT.encode())


@given(cut=st.integers(1, 200), encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]))
def test_a_file_cut_off_anywhere_inside_its_last_line_is_refused(cut, encoding):
    content = TEXT.replace("\r", "").encode(encoding)
    refusal(content[: max(2, len(content) - cut)])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_table_or_a_refusal(content):
    try:
        found = table(content)
    except SourceError:
        return
    assert len({len(row.cells) for row in found}) == 1


def test_long_text_is_cut_for_messages():
    assert shown("x" * 1000) == '"' + "x" * 60 + '..."'
