"""Edits of mapping.toml's text that leave every other line as it is, byte for byte.

People keep comments, order and layout in this file, so it is never written anew from its meaning.
Every edit is proven before it is handed back: the new text is parsed, and it must mean what the old
one meant plus exactly the edits asked for.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import tomli_w

from kisi.config.document import BYTE_ORDER_MARK, encode
from kisi.errors import ConfigError
from kisi.model import Application, Company, IgnoredTenant, ProductRow, Unit

TomlRow = Mapping[str, Any]
"""A row as `tomllib` reads it: keys and values, and its own arrays of tables."""


class RowKind(StrEnum):
    """The arrays of tables in mapping.toml."""

    APPLICATION = "application"
    PRODUCT = "product"
    COMPANY = "company"
    TENANT = "tenant"


EXCEPTION = RowKind.PRODUCT
"""The key of a company's own array of tables, `[[company.product]]`."""


class TomlEdit:
    """Edits of one text that is TOML, made in place one after the other.

    Rows are named by kind and place, counted from 0; with `company` they are the
    `[[company.product]]` of the company there. A `ConfigError` where that is not safe.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._wanted = tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))

    def append(self, kind: RowKind, rows: Sequence[TomlRow], *, company: int | None = None) -> None:
        """Adds rows behind the last one of their kind, a blank line between them.

        Exceptions stand with their company; the first row of a kind stands at the file's end.
        """
        if not rows:
            return
        if company is None:
            places, header = self._places(kind), str(kind)
        else:
            places = [self._places(RowKind.COMPANY)[company]]
            header = f"{RowKind.COMPANY}.{kind}"
        at = max((section.end for place in places for section in place), default=len(self._text))
        self._owner(company).setdefault(kind, []).extend(copy.deepcopy(dict(row)) for row in rows)
        end = _line_end(self._text)
        self._text = _insert(self._text, at, end.join(_render(header, row, end) for row in rows))

    def remove(self, kind: RowKind, rows: Collection[int], *, company: int | None = None) -> None:
        """Takes rows away, with sub-tables; comments above may be about more, and stay."""
        if not rows:
            return
        places, owner = self._places(kind, company), self._owner(company)
        owner[kind] = [row for place, row in enumerate(owner[kind]) if place not in rows]
        if not owner[kind]:
            del owner[kind]
        self._text = _cut(self._text, [section for row in rows for section in places[row]])

    def set_values(
        self, kind: RowKind, rows: Mapping[int, TomlRow], *, company: int | None = None
    ) -> None:
        """Sets keys of rows, given by the rows' places; their lines keep their comments.

        None takes a key away. A comment that would be lost is a `ConfigError` too.
        """
        if not rows:
            return
        places, owner = self._places(kind, company), self._owner(company)
        for row in sorted(rows, reverse=True):  # from below, so that the places above stay true
            wanted = {**owner[kind][row], **rows[row]}
            owner[kind][row] = {key: value for key, value in wanted.items() if value is not None}
            self._text = _with_values(self._text, places[row][0], rows[row])

    def proven(self) -> str:
        """The new text; a `ConfigError` if it does not mean exactly what was asked for."""
        encode(self._text)
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            now = tomllib.loads(self._text.removeprefix(BYTE_ORDER_MARK))
            if _canonical(now) == _canonical(self._wanted):
                return self._text
        raise ConfigError(
            "mapping.toml is written in a way that kisi cannot change without touching something "
            "else. The file was left as it is.",
            remedy="Make the change in an editor; `kisi check` says whether the file is right.",
        )

    def _owner(self, company: int | None) -> dict[str, Any]:
        return self._wanted if company is None else self._wanted[RowKind.COMPANY][company]

    def _places(self, kind: RowKind, company: int | None = None) -> list[list[Section]]:
        """Each row of a kind: its own section, then those of its sub-tables, wherever they are."""
        found: list[list[Section]] = []
        if company is None:
            for section in scan(self._text):
                if section.path == (kind,) and section.array:
                    found.append([section])
                elif section.path[:1] == (kind,) and found:
                    found[-1].append(section)
        else:
            found = [[section] for section in self._places(RowKind.COMPANY)[company][1:]]
        rows = self._owner(company).get(kind, [])
        if not isinstance(rows, list) or len(found) != len(rows):
            raise ConfigError(
                f"mapping.toml: the {kind} rows are not written as [[{kind}]] tables, so kisi "
                "cannot change one of them without touching others. The file was left as it is.",
                remedy=f"Write each row under its own [[{kind}]] heading.",
            )
        return found


def _with_values(text: str, own: Section, values: TomlRow) -> str:
    """`text` with keys of one section changed: the new ones first, as they stand behind all."""
    entries = {entry.key: entry for entry in own.entries}
    new = [(key, value) for key, value in values.items() if (key,) not in entries]
    if lines := [f"{key} = {_render_value(value)}" for key, value in new if value is not None]:
        text = _insert_lines(text, own, lines)
    known = [entry for entry in own.entries if len(entry.key) == 1 and entry.key[0] in values]
    for entry in reversed(known):
        key, value = entry.key[0], values[entry.key[0]]
        if has_comment(text[entry.value_start : entry.value_end]):
            raise _lost_comment(text, entry, f"the value of {key} has comments inside, which")
        if value is not None:
            text = text[: entry.value_start] + _render_value(value) + text[entry.value_end :]
        elif has_comment(text[entry.value_end : entry.end]):
            raise _lost_comment(text, entry, f"{key} must go, and the comment behind it")
        else:
            text = text[: entry.start] + text[entry.end :]
    return text


def _lost_comment(text: str, entry: Entry, what: str) -> ConfigError:
    line = text.count("\n", 0, entry.value_start) + 1
    return ConfigError(
        f"mapping.toml, line {line}: {what} would be lost. The file was left as it is.",
        remedy="Move the comments above the key, or make the change in an editor.",
    )


def _render(header: str, row: TomlRow, end: str) -> str:
    lines = [f"[[{header}]]"]
    tables = []
    for key, value in row.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], Mapping):
            tables += [_render(f"{header}.{key}", table, end) for table in value]
        else:
            lines.append(f"{key} = {_render_value(value)}")
    return end.join([*lines, ""]) + "".join(tables)


def _render_value(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_render_value, value)) + "]"
    return tomli_w.dumps({"key": value}).removeprefix("key = ").rstrip("\n")


def _canonical(value: object) -> str:
    """The same for values that differ only in layout; not for True and 1, nor for 1 and 1.0."""
    return json.dumps(value, sort_keys=True, default=repr)


# --- rows as TOML ---------------------------------------------------------------------------------

LARGEST_ID = 2**63 - 1
"""TOML promises no larger numbers, and no PSA has them."""
_DEFAULTS: TomlRow = {"unit": str(Unit.DEVICE), "bill": True, "billing": True}
"""What a key says where it is missing. One that is there is set to this, and not taken away."""


def toml_id(ident: str) -> int | str:
    """An id as it is written: a whole number where nothing is lost by it, else text.

    >>> toml_id("250"), toml_id("007"), toml_id("KES-ADV")
    (250, '007', 'KES-ADV')
    """
    if not (ident.isascii() and ident.isdigit()) or ident[0] == "0" or len(ident) > 19:
        return ident
    return int(ident) if int(ident) <= LARGEST_ID else ident


def application_row(application: Application) -> TomlRow:
    """`[[application]]`, without the keys that have their defaults."""
    keys = [] if application.globs == (application.name + "*",) else [*application.keys]
    unit = str(application.unit)
    return _row(name=application.name, keys=keys, unit=unit, bill=application.bill)


def product_row(row: ProductRow, psas: Collection[str] = ()) -> TomlRow:
    """`[[product]]`, or without `psas` an exception; `psa` only where kisi.toml has several."""
    psa = row.psa if len(psas) > 1 else ""
    products = {str(category): toml_id(product) for category, product in row.products.items()}
    return _row(application=row.application, psa=psa, **products, bill=row.bill, count=row.count)


def company_row(company: Company, psas: Collection[str]) -> TomlRow:
    """`[[company]]` with its exceptions; `billing` only where it is off."""
    return _row(
        name=company.name,
        tenants=[*map(str, company.tenants)],
        psa=company.psa if len(psas) > 1 else "",
        company=toml_id(company.company),
        agreement=toml_id(company.agreement),
        alongside=[*map(toml_id, company.alongside)],
        billing=company.billing,
        until=company.until,
        product=[*map(product_row, company.exceptions)],
    )


def tenant_row(tenant: IgnoredTenant) -> TomlRow:
    """`[[tenant]]`: one that is never billed."""
    return _row(id=str(tenant.ref), bill=False, note=tenant.note)


def _row(**values: object) -> TomlRow:
    return {
        key: value
        for key, value in values.items()
        if value not in ("", [], None) and value != _DEFAULTS.get(key)
    }


def changed_values(old: TomlRow, new: TomlRow) -> TomlRow:
    """The keys of a row that must change, with their new values; None: the key goes."""
    defaults = {} if "application" in new else _DEFAULTS  # `bill` goes from an exception's row
    return {
        key: new.get(key, defaults.get(key))
        for key in {**old, **new}
        if key != EXCEPTION and old.get(key) != new.get(key)
    }


# --- where headers, keys, values and comments stand -----------------------------------------------
# `tomllib` says what a file means, not where. This scanner says where, in a text that `tomllib` has
# already accepted, and leaves meaning alone (https://toml.io/en/v1.0.0).

_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_INSIDE = re.compile(r"(?:[^][{}\"'#]+|#[^\n]*)*")
_SCALAR = re.compile(r"[^#\r\n]*[^#\s]")
_REST_OF_LINE = re.compile(r"[^\n]*\n?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A `key = value` with its whole lines. Positions count characters; ends are exclusive."""

    key: tuple[str, ...]
    start: int
    end: int
    value_start: int
    value_end: int


@dataclass(slots=True)
class Section:
    """A header and the keys up to the next one. The part before the first header has no path."""

    path: tuple[str, ...]
    array: bool
    start: int
    header_end: int
    entries: list[Entry] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Behind its last key; comments and blank lines after it are nobody's."""
        return self.entries[-1].end if self.entries else self.header_end


def scan(text: str) -> list[Section]:
    """All sections of a text that `tomllib` accepts, in its order; the first one has no header."""
    position = len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0
    sections = [Section((), array=False, start=position, header_end=position)]
    while (position := _skip(_BETWEEN, text, position)) < len(text):
        start = max(text.rfind("\n", 0, position) + 1, sections[0].start)
        if text[position] == "[":
            array = text.startswith("[[", position)
            path, after = _key(text, position + 1 + array)
            end = _skip(_REST_OF_LINE, text, after)
            sections.append(Section(path, array, start, end))
        else:
            key, after = _key(text, position)
            value_start = _skip(_BLANK, text, after + 1)
            value_end = _value_end(text, value_start)
            end = _skip(_REST_OF_LINE, text, value_end)
            sections[-1].entries.append(Entry(key, start, end, value_start, value_end))
        position = end
    return sections


def has_comment(value: str) -> bool:
    """Whether the text of a value, a list for example, holds a comment."""
    return "#" in _STRING.sub('""', value)


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    """The parts of a dotted key, and where it ends: at its `=` or `]`."""
    parts = []
    while True:
        position = _skip(_BLANK, text, position)
        quoted = _STRING.match(text, position)
        end = quoted.end() if quoted else _skip(_BARE, text, position)
        raw = text[position:end]
        parts.append(tomllib.loads(f"key = {raw}")["key"] if quoted else raw)
        position = _skip(_BLANK, text, end)
        if not text.startswith(".", position):
            return tuple(parts), position
        position += 1


def _value_end(text: str, position: int) -> int:
    if text[position] not in "[{":
        return _skip(_STRING if text[position] in "\"'" else _SCALAR, text, position)
    depth = 0
    while True:
        position = _skip(_INSIDE, text, position)
        letter = text[position]
        if letter in "\"'":
            position = _skip(_STRING, text, position)
            continue
        depth += (letter in "[{") - (letter in "]}")
        position += 1
        if not depth:
            return position


def _line_end(text: str) -> str:
    first = text.find("\n")
    return "\r\n" if first > 0 and text[first - 1] == "\r" else "\n"


def _insert(text: str, at: int, block: str) -> str:
    """`text` with a block at a line's beginning, a blank line before it."""
    before, after, end = text[:at], text[at:], _line_end(text)
    if not before.removeprefix(BYTE_ORDER_MARK):
        return before + block + after
    if not before.endswith("\n"):
        return before + end + end + block.removesuffix(end) + after
    gap = "" if before.endswith((end + end, BYTE_ORDER_MARK + end)) else end
    return before + gap + block + after


def _insert_lines(text: str, section: Section, lines: Sequence[str]) -> str:
    """`text` with lines behind the section's last key, indented like it."""
    end = _line_end(text)
    before, after = text[: section.end], text[section.end :]
    above = text[section.entries[-1].start if section.entries else section.start :]
    indent = above[: len(above) - len(above.lstrip(" \t"))]
    block = end.join(indent + line for line in lines)
    return before + block + end + after if before.endswith("\n") else before + end + block + after


def _cut(text: str, sections: Sequence[Section]) -> str:
    """`text` without these sections, and without the blank line that would be one too many."""
    for section in sorted(sections, key=lambda section: section.start, reverse=True):
        before, after = text[: section.start], text[section.end :]
        end = _line_end(text)
        if before.endswith(end + end) and (not after or after.startswith(end)):
            before = before.removesuffix(end)
        text = before + after
    return text
