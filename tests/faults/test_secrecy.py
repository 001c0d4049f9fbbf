"""The checker that every test of this folder ends with finds what it looks for."""

from __future__ import annotations

import base64
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.secrecy import no_secrets

SECRET = 'sch"lüssel/42+x'


@dataclass
class SoapStatus:
    out: str = ""
    err: str = ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration with one secret, and a state folder."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "cw-private-key").write_text(SECRET, encoding="utf-8")
    (tmp_path / "secrets" / "tp-soap-user").write_text("kisi", encoding="utf-8")
    (tmp_path / "state").mkdir()
    return tmp_path


def _journal(folder: Path, value: object) -> None:
    with closing(sqlite3.connect(folder / "state" / "journal.db")) as database:
        database.execute("CREATE TABLE content (body)")
        database.execute("INSERT INTO content VALUES (?)", (value,))
        database.commit()


def _basic(user: str) -> str:
    return base64.b64encode(f"{user}:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        r"sch\"l\u00fcssel/42+x",
        quote(SECRET, safe=""),
        f"Basic {_basic('a')}",
        f"Basic {_basic('ab')}",
        f"Basic {_basic('abc')}",
        f'KSCBasic pass="{base64.b64encode(SECRET.encode()).decode()}"',
    ],
)
@pytest.mark.parametrize(
    "put",
    [
        lambda folder, text: [SoapStatus(out=text)],
        lambda folder, text: [SoapStatus(), SoapStatus(err=text)],
        lambda folder, text: (folder / "state" / "kisi.log").write_text(text, encoding="utf-8"),
        _journal,
        lambda folder, text: _journal(folder, zlib.compress(text.encode())),
    ],
    ids=["stdout", "stderr", "log", "journal", "packed in the journal"],
)
def test_a_secret_is_found_in_any_form_and_place(
    folder: Path, text: str, put: Callable[[Path, str], object]
):
    said = put(folder, f"before {text} after")
    with pytest.raises(AssertionError, match="cw-private-key"):
        no_secrets(folder, said if isinstance(said, list) else [])


def test_what_is_no_secret_is_not_found(folder: Path):
    _journal(folder, zlib.compress(b"kisi and Kaspersky"))
    no_secrets(folder, [SoapStatus("kisi sync", "run 1 of kisi")])
