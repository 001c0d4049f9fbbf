"""The text of a file: what can be wrong before any key is looked at."""

from __future__ import annotations

import sys
import time
import tomllib
from contextlib import suppress

import pytest

from kisi.config.document import MAX_BYTES, parse_document, read_document
from kisi.errors import ConfigError
from tests.conftest import WINDOWS


@pytest.fixture
def read(tmp_path):
    def document(raw):
        path = tmp_path / "kisi.toml"
        path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
        return read_document(path, if_missing="`kisi init` writes one.")

    return document


@pytest.fixture
def problem(read):
    def found(raw):
        with pytest.raises(ConfigError) as caught:
            read(raw)
        (only,) = caught.value.problems
        return only

    return found


def test_a_byte_order_mark_and_windows_line_ends_are_fine(read):
    assert read("\ufeffa = 1\r\nb = 'é'\r\n").data == {"a": 1, "b": "é"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 1\na = 2\n", 'line 2, column 6: The key "a" is written a second time here; keep one of the two.'),
        ("a = 1\na = 2", 'the end of the file: The key "a" is written a second time here; keep one of the two.'),
        ('[a."b c"]\nx = 1\n[a."b c"]\n', "line 3, column 9: [a.b c] is defined already; write all its keys in one place."),
        ("a = {b = 1, b = 2}", "A key is written twice between the braces"),
        ('a = 1\nb = "x\n', "line 2, column 7: The text is not closed with a quote at the end of this line."),
        ('password = "s3cretpass', "the end of the file: A text is not closed with its quotes."),
        ('p = "C:\\new folder"\nq = "C:\\klserver"', "a backslash must be doubled; or use 'single quotes'."),
        ('p = "C:\\users"', "In \"double quotes\" \\U and \\u mean something else; use 'single quotes'."),
        ("[sources.hq", "the end of the file: A table's name is not closed"),
        ("a = [1, 2", "the end of the file: A list is not closed with ]."),
        ("a = {b = 1", "the end of the file: A table is not closed with }."),
        ("user kisi", "line 1, column 6: A key needs = and a value after it"),
        ("user = kisi", "line 1, column 8: Here must be a value"),
        ("a = 2026-02-30", "This is not a date that exists."),
        ("a = 1 b = 2", "Something follows the value"),
        ("= 1", "line 1, column 1: Here must be a key = value"),
        ("a = '\x00'", "line 1, column 6: There is a character here that TOML does not allow; remove it."),
        ('a = """x\na = 1', "the end of the file: A text is not closed"),
        ("a.b = 1\n[a.b]", "A key is written a second time here"),
        ("[a.b]\n[a]\nb.c = 1", "This table was defined before; write all its keys in one place."),
        ("[a]\nb = {}\nb.c = 1", "This adds to a table that was closed before"),
        ("a = " + "9" * 5000, "kisi.toml: A number or a date in it is beyond what kisi can read."),
        ("x = 1\n" + "a." * 200_000 + "a = 1", "kisi.toml: line 2: A key has more than 16 parts or 1000 letters."),
        ("[" + " . ".join('"\\""' for _ in range(200_000)) + "]\n", "line 1: A key has more than 16 parts"),
        ("x = [1, {" + ".".join("'b'" for _ in range(200_000)) + " = 1}]", "line 1: A key has more than 16 parts"),
        ("a\n" * 9 + "b" * 400_000 + " = 1", "line 10: A key has more than 16 parts or 1000 letters."),
        ("a = " + "[" * 5000, "kisi.toml: Lists or tables are nested too deeply."),
    ],
)  # fmt: skip
def test_what_is_not_toml_is_said_with_its_place_and_never_repeats_the_line(problem, text, said):
    found = problem(text)
    assert said.casefold() in found.casefold()
    assert "s3cretpass" not in found


def test_texts_may_hold_what_no_key_may(read):
    texts = [".".join("abcdefghijklmnopqrstuvwxyz"), "x" * 5000]
    for text in texts:
        data = read(f"# {text}\na.b.c.d = 1\nb = ['{text}',\n\"{text}\",\n]\nc = '{text}'\n").data
        assert data["b"] == [text, text]


@pytest.mark.slow
@pytest.mark.parametrize(
    "unit", ["a", "a ", '"', '"a" ', "'", "a.", "[", "{", ",", "\\", '"\\', "a\n", ". "]
)
def test_a_hostile_text_is_refused_in_seconds(tmp_path, unit):
    text = unit * (MAX_BYTES // 2 // len(unit))
    tracer = sys.gettrace()  # what measures coverage would cost many times the work
    sys.settrace(None)
    start = time.process_time()
    try:
        with suppress(ConfigError):
            parse_document(tmp_path / "kisi.toml", text)
    finally:
        sys.settrace(tracer)
    assert time.process_time() - start < 20


def test_other_encodings_are_named(problem):
    assert problem("a = 'é'".encode("utf-16")) == "kisi.toml: The file is UTF-16, not UTF-8."
    assert problem(b"a = 1\nb = '\xe9'\n") == "kisi.toml: line 2: The file is not UTF-8 here."


def test_a_file_of_hostile_size_is_not_parsed(problem):
    assert "larger than 8 MiB" in problem(b"#" * (MAX_BYTES + 1))


def test_a_folder_a_missing_file_and_an_impossible_name_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        read_document(tmp_path, if_missing="")
    with pytest.raises(ConfigError, match="There is no file") as caught:
        read_document(tmp_path / "kisi.toml", if_missing="`kisi init` writes one.")
    assert caught.value.remedy == "`kisi init` writes one."
    too_long = "There is no file" if WINDOWS else "cannot be read"  # which say so themselves
    with pytest.raises(ConfigError, match=too_long):
        read_document(tmp_path / ("x" * 5000), if_missing="")
    with pytest.raises(ConfigError, match="is not a file's name"):
        read_document(tmp_path / "a\0b", if_missing="")


def test_words_of_a_parser_that_are_not_known_yet_still_give_the_place(tmp_path, monkeypatch):
    def loads(_text):
        raise tomllib.TOMLDecodeError("Something new (at line 3, column 1)")

    monkeypatch.setattr(tomllib, "loads", loads)
    with pytest.raises(ConfigError, match=r"kisi.toml: line 3, column 1: This is not TOML."):
        parse_document(tmp_path / "kisi.toml", "")
