"""Reads a TOML file that a person edits, and says in words what is wrong with its text."""

from __future__ import annotations

import codecs
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kisi.errors import ConfigError
from kisi.files import open_regular, why_not_used

MAX_BYTES = 8 * 2**20
"""A larger file is not one that a person or `kisi map` wrote; 50,000 clients take about 6 MiB."""

_KEY_PARTS = 16
_KEY_LETTERS = 1000
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_HOSTILE_KEY = re.compile(
    # where a key may begin: with its line, in a header, in an inline table
    rf"(?:^|[\[{{,])[ \t]*+(?:[A-Za-z0-9_.-]{{{_KEY_LETTERS + 1}}}"
    rf"|{_KEY_PART}(?:[ \t]*+\.[ \t]*+{_KEY_PART}){{{_KEY_PARTS}}})",
    re.MULTILINE,
)
"""A key that `tomllib` may take minutes over: its time grows with the square of a key's parts."""

BYTE_ORDER_MARK = "\ufeff"
_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_BARE_KEY = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*=(?!.*(?:\"\"\"|'''))")
_DECLARED_TWICE = re.compile(r"Cannot declare \((.*)\) twice")
_NOT_ALLOWED = "There is a character here that TOML does not allow; remove it."
_ADVICE = {
    "Cannot overwrite": "{key} is written a second time here; keep one of the two.",
    "Cannot mutate": (
        "This adds to a table that was closed before; write all its keys in one place."
    ),
    "Cannot redefine": "This table was defined before; write all its keys in one place.",
    "Duplicate inline": "A key is written twice between the braces; keep one of the two.",
    "Unescaped '\\'": "In \"double quotes\" a backslash must be doubled; or use 'single quotes'.",
    "Invalid hex": "In \"double quotes\" \\U and \\u mean something else; use 'single quotes'.",
    "Illegal character '\\n'": "The text is not closed with a quote at the end of this line.",
    "Illegal character": _NOT_ALLOWED,
    "Found invalid character": _NOT_ALLOWED,
    "Unterminated string": "A text is not closed with its quotes.",
    "Expected ']": "A table's name is not closed: write [name] or [[name]].",
    "Expected '='": "A key needs = and a value after it: key = value.",
    "Unclosed array": "A list is not closed with ].",
    "Unclosed inline table": "A table is not closed with }}.",
    "Expected newline": (
        "Something follows the value; a value takes one line, and text needs quotes."
    ),
    "Invalid value": "Here must be a value: text in quotes, a number, true or false, or a list.",
    "Invalid statement": "Here must be a key = value, a [table] or a # comment.",
    "Invalid date": "This is not a date that exists.",
    "Escaped character": "This \\u or \\U is not a character; use 'single quotes'.",
    "Invalid initial character": "Here must be a key; special characters in a key need quotes.",
}
"""How a message of `tomllib` begins, and what to do then; the first that fits."""


@dataclass(frozen=True, slots=True)
class Document:
    """A TOML file: its text and what stands in it."""

    path: Path
    text: str = field(repr=False)
    data: dict[str, Any] = field(repr=False)


def read_document(path: Path, *, if_missing: str) -> Document:
    """Reads `path` as UTF-8 (a byte order mark and CRLF line ends are fine) and parses it.

    `if_missing` says what to do where there is no such file. A `ConfigError` gives line and
    column, and repeats nothing of the line: a secret may stand there.
    """
    raw = read_bytes(path)
    if raw is None:
        raise ConfigError(f"{path.name}: There is no file {path}.", remedy=if_missing)
    return parse_document(path, decode(path, raw))


def parse_document(path: Path, text: str) -> Document:
    """Parses text of `path`; a `ConfigError` if it is not TOML, or has keys that nobody writes."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    if hostile := _HOSTILE_KEY.search(text):
        line = text.count("\n", 0, hostile.end()) + 1
        problem = f"line {line}: A key has more than {_KEY_PARTS} parts or {_KEY_LETTERS} letters."
    else:
        try:
            return Document(path, text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            problem = _explain(str(error), text)
        except RecursionError:
            problem = "Lists or tables are nested too deeply."
        except ValueError:
            problem = "A number or a date in it is beyond what kisi can read."
    raise ConfigError(
        f"{path.name}: {problem}",
        remedy=f"Correct {path}, then run `kisi check`. Nothing was sent.",
    )


def read_bytes(path: Path) -> bytes | None:
    """What is in a file; None where there is none.

    `ConfigError` if it cannot be read as a file, or another user decides what is in it.
    """
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            remedy = "Name the file in it." if path.is_dir() else "Name a file on the disk."
            raise ConfigError(f"{path.name}: {path} is {kind}, not a file.", remedy=remedy)
        with open_regular(path) as file:
            raw = file.read(MAX_BYTES + 1)
        foreign = why_not_used(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(
            f"{path.name}: {path} cannot be read: {error.strerror or type(error).__name__}.",
            remedy="Let the user that runs kisi read it.",
        ) from None
    except ValueError:
        raise ConfigError(
            f"The path {str(path)!r} is not a file's name.", remedy="Name a file that exists."
        ) from None
    if foreign:
        raise ConfigError(f"{path.name}: {foreign}", remedy="Then run `kisi check`.")
    if len(raw) > MAX_BYTES:
        raise ConfigError(
            f"{path.name}: The file is larger than {MAX_BYTES // 2**20} MiB, "
            "so it is not what kisi expects there.",
            remedy=f"See what was saved as {path}, and put the right file there.",
        )
    return raw


def decode(path: Path, raw: bytes) -> str:
    """The text of a file, its byte order mark included. `ConfigError` if it is not UTF-8."""
    remedy = "Save it as UTF-8 in your editor."
    if raw[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        raise ConfigError(f"{path.name}: The file is UTF-16, not UTF-8.", remedy=remedy)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path.name}: line {line}: The file is not UTF-8 here.", remedy=remedy
        ) from None


def encode(text: str) -> bytes:
    """`text` as a file holds it. `ConfigError` if it holds half of a character, as a name may."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise ConfigError(
            f"A text holds half of a character ({half}, a lone surrogate), which no file can hold. "
            "mapping.toml was left as it is.",
            remedy="Write this text again by hand, without what was copied along.",
        ) from error


def _explain(message: str, text: str) -> str:
    """What `tomllib` said, with a position that editors know and advice in words."""
    position = _POSITION.search(message)
    said = message[: position.start()] if position else message
    place, number = "the end of the file", 0
    if position and position[1]:
        place, number = f"line {position[1]}, column {position[2]}", int(position[1])
    line = "".join(text.splitlines()[number - 1 : number or None])
    if declared := _DECLARED_TWICE.match(said):
        table = ".".join(part.strip(" '\"") for part in declared[1].split(",") if part.strip())
        return f"{place}: [{table}] is defined already; write all its keys in one place."
    advice = next((advice for start, advice in _ADVICE.items() if said.startswith(start)), None)
    if advice is None:
        return f"{place}: This is not TOML."
    key = _BARE_KEY.match(line)  # for the message; never its value
    return f"{place}: " + advice.format(key=f'The key "{key[1]}"' if key else "A key")
