"""Looks for secrets in everything that leaves kisi: what it prints, logs, stores and raises."""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, quote_plus

ENCODINGS = ("utf-8", "latin-1", "cp1252", "utf-16-le", "utf-16-be")
"""What the bytes of an answer may be in."""
_LOGIN_NAMES = ("-user",)
"""Secret files that hold a login name, which is a common word and no secret."""


class SoapStatus(Protocol):
    """What a command printed."""

    @property
    def out(self) -> str:
        """On stdout."""

    @property
    def err(self) -> str:
        """On stderr."""


def secrets_in(folder: Path) -> dict[str, str]:
    """Every secret of a configuration that a sandbox wrote, by the name of its file."""
    return {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted((folder / "secrets").iterdir())
        if not path.name.endswith(_LOGIN_NAMES)
    }


def forms(secret: str) -> Iterator[str]:
    """A secret as it is, and as JSON, addresses, forms and headers would carry it."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield escape(secret)
    yield "".join(f"\\u{ord(letter):04x}" for letter in secret)
    yield "".join(f"&#{ord(letter)};" for letter in secret)
    yield "".join(f"%{byte:02x}" for byte in secret.encode())
    for encoding in ENCODINGS:
        raw = secret.encode(encoding, "replace")
        yield from (raw.decode("latin-1"), raw.decode("utf-8", "replace"))
        yield raw.decode("utf-8", "backslashreplace")
    for before in range(3):  # inside a longer text, as in `Basic` of company, key and secret
        raw = bytes(before) + secret.encode()
        first, end = -(-before * 8 // 6), len(raw) * 8 // 6
        yield b64encode(raw).decode()[first:end]
        yield urlsafe_b64encode(raw).decode()[first:end]


def stored_in(state: Path) -> Iterator[tuple[str, str]]:
    """Every file of a state folder as text, the journal value by value, unpacked."""
    for path in sorted(state.rglob("*")):
        if path.suffix == ".db":
            yield from _values(path)
        if path.is_file():
            yield path.name, path.read_bytes().decode("utf-8", "replace")
            yield f"bytes of {path.name}", path.read_bytes().decode("latin-1")


def _values(path: Path) -> Iterator[tuple[str, str]]:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        tables = [
            row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    yield f"{path.name}, table {table}", _text(value)
    finally:
        database.close()


def _text(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return zlib.decompress(value).decode("utf-8", "replace")
    except zlib.error:
        return value.decode("utf-8", "replace")


def no_secrets(
    folder: Path, said: Iterable[SoapStatus] = (), more: Iterable[tuple[str, str]] = ()
) -> None:
    """Fails if a secret of the configuration in `folder` is in anything that kisi let out.

    Args:
        folder: Where kisi.toml is, with its secret files, and the state folder.
        said: What commands printed.
        more: Other text that kisi let out, each with a name for it.
    """
    patterns = {
        name: re.compile("|".join(map(re.escape, forms(secret))))
        for name, secret in secrets_in(folder).items()
    }
    assert patterns
    printed = [
        (f"{stream} of run {number}", text)
        for number, one in enumerate(said, start=1)
        for stream, text in (("stdout", one.out), ("stderr", one.err))
    ]
    for where, text in (*printed, *more, *stored_in(folder / "state")):
        found = [name for name, pattern in patterns.items() if pattern.search(text)]
        assert not found, f"{found} in {where}: {text[:2000]}"
