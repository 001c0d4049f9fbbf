"""A table that a person hands in is read whole, or refused before anything is changed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from kisi.cli.map.app import read_table
from kisi.config import document
from kisi.errors import ConfigError


def test_a_table_is_read_from_a_file_and_from_stdin(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfkind\r\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("kind\n"))
    assert read_table(tmp_path / "t.csv") == "kind\r\n"
    assert read_table(Path("-")) == "kind\n"


@pytest.mark.parametrize("piped", [False, True])
def test_a_table_larger_than_a_mapping_may_be_is_not_read_to_its_end(tmp_path, monkeypatch, piped):
    monkeypatch.setattr(document, "MAX_BYTES", 2**20)
    stdin = io.TextIOWrapper(io.BytesIO(b"x" * 2**22))
    monkeypatch.setattr("sys.stdin", stdin)
    (tmp_path / "t.csv").write_bytes(b"x" * (2**20 + 1))
    with pytest.raises(ConfigError, match=r"is larger than 1 MiB\. Nothing was changed"):
        read_table(Path("-") if piped else tmp_path / "t.csv")
    assert piped is (stdin.buffer.tell() > 0)


@pytest.mark.parametrize("piped", [False, True])
def test_a_table_that_is_not_utf8_is_refused(tmp_path, monkeypatch, piped):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    (tmp_path / "t.csv").write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match=r"is not UTF-8\. Nothing was changed"):
        read_table(Path("-") if piped else tmp_path / "t.csv")


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path)
