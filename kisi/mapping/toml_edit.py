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
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import tomli_w

from kisi.config.document import BYTE_ORDER_MARK, encode
from kisi.errors import ConfigError
from kisi.model import Application, Company, IgnoredTenant, ProductRow, Unit

Row = Application | ProductRow | Company | IgnoredTenant
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
        body = text.removeprefix(BYTE_ORDER_MARK)
        self._mark = text.removesuffix(body)
        self._wanted = tomllib.loads(body)
        self._end = "\r\n" if body.partition("\n")[0].endswith("\r") else "\n"
        self._added_end = self._end if body and not body.endswith("\n") else ""
        self._parts = scan(body + self._added_end)

    def append(self, kind: RowKind, rows: Sequence[TomlRow], *, company: int | None = None) -> None:
        """Adds rows behind the last one of their kind, a blank line between them.

        Exceptions stand with their company; the first row of a kind stands at the file's end.
        """
        if not rows:
            return
        key = (kind,) if company is None else (RowKind.COMPANY, kind)
        places = self.places(kind if company is None else RowKind.COMPANY)
        there = places if company is None else places[company : company + 1]
        self._owner(company).setdefault(kind, []).extend(copy.deepcopy(dict(row)) for row in rows)
        texts = [_render(".".join(key), row, self._end) for row in rows]
        new = [Part(self._end, text, key=key, header=True, array=True) for text in texts]
        if there:
            at = self._parts.index(there[-1][-1][-1]) + 1
        else:
            at, rest, before = len(self._parts) - 1, self._parts[-1], self._text()
            blank = not before or before.endswith(self._end * 2)
            new[0].gap, rest.gap = rest.gap + ("" if blank else self._end), ""
        self._parts[at:at] = new

    def remove(self, kind: RowKind, rows: Collection[int], *, company: int | None = None) -> None:
        """Takes rows away, with sub-tables; comments above may be about more, and stay."""
        if not rows:
            return
        places, owner = self.places(kind, company), self._owner(company)
        owner[kind] = [row for place, row in enumerate(owner[kind]) if place not in rows]
        if not owner[kind]:
            del owner[kind]
        for section in (section for row in rows for section in places[row]):
            at = self._parts.index(section[0])
            del self._parts[at : at + len(section)]
            gap, rest = section[0].gap, self._parts[at]
            if rest.gap.startswith(self._end) or not (rest.gap or rest.text):
                one_too_many = (self._end + gap).endswith(self._end * 2)
                gap = gap.removesuffix(self._end) if one_too_many else gap
            rest.gap = gap + rest.gap

    def set_values(
        self, kind: RowKind, rows: Mapping[int, TomlRow], *, company: int | None = None
    ) -> None:
        """Sets keys of rows, given by the rows' places; their lines keep their comments.

        None takes a key away. A comment that would be lost is a `ConfigError` too.
        """
        if not rows:
            return
        places, owner = self.places(kind, company), self._owner(company)
        for row, values in rows.items():
            wanted = {**owner[kind][row], **values}
            owner[kind][row] = {key: value for key, value in wanted.items() if value is not None}
            own = places[row][0]
            entries = {part.key: part for part in own[1:]}
            above = own[-1].text
            indent = above[: len(above) - len(above.lstrip(" \t"))]
            new = []
            for key, value in values.items():
                if entry := entries.get((key,)):
                    entry.set(key, value)
                elif value is not None:
                    line = f"{indent}{key} = ", _render_value(value), self._end
                    new.append(Part("", *line, key=(key,)))
            if new:
                at = self._parts.index(own[-1]) + 1
                self._parts[at:at] = new

    def proven(self) -> str:
        """The new text; a `ConfigError` if it does not mean exactly what was asked for."""
        text = self._text().removesuffix(self._added_end)
        encode(text)
        with suppress(tomllib.TOMLDecodeError, RecursionError):
            if _canonical(tomllib.loads(text)) == _canonical(self._wanted):
                return self._mark + text
        raise ConfigError(
            "mapping.toml is written in a way that kisi cannot change without touching something "
            "else. The file was left as it is.",
            remedy="Make the change in an editor; `kisi check` says whether the file is right.",
        )

    def _text(self) -> str:
        return "".join(x.gap + x.text + x.value + x.behind for x in self._parts)

    def _owner(self, company: int | None) -> dict[str, Any]:
        return self._wanted if company is None else self._wanted[RowKind.COMPANY][company]

    def places(self, kind: RowKind, company: int | None = None) -> list[list[list[Part]]]:
        """Each row of a kind: its own header and keys, then those of each of its sub-tables."""
        found: list[list[list[Part]]] = []
        section: list[Part] = []
        top = kind if company is None else RowKind.COMPANY
        for part in self._parts:
            if part.header:
                section = []
                if part.key == (top,) and part.array:
                    found.append([section])
                elif part.key[0] == top and found:
                    found[-1].append(section)
            if part.key:  # the end has none, and is nobody's
                section.append(part)
        if company is not None:
            found = [[inner] for row in found[company : company + 1] for inner in row[1:]]
        rows = self._owner(company).get(kind, [])
        if not isinstance(rows, list) or len(found) != len(rows):
            raise ConfigError(
                f"mapping.toml: the {kind} rows are not written as [[{kind}]] tables, so kisi "
                "cannot change one of them without touching others. The file was left as it is.",
                remedy=f"Write each row under its own [[{kind}]] heading.",
            )
        return found


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


def toml_row(row: Row, psas: Collection[str] = ()) -> TomlRow:
    """A row without keys that have their defaults; `psa` only where kisi.toml has several.

    A client's exceptions are its `product`; their client names the PSA.
    """
    psa = getattr(row, "psa", "") if len(psas) > 1 else ""
    match row:
        case Application():
            keys = [] if row.globs == (row.name + "*",) else [*row.keys]
            own = {"unit": str(row.unit), "bill": row.bill, "articles": [*row.articles]}
            return _row(name=row.name, keys=keys, **own)
        case ProductRow():
            products = {str(each): toml_id(product) for each, product in row.products.items()}
            own = {"bill": row.bill, "count": row.count}
            return _row(application=row.application, psa=psa, **products, **own)
        case Company():
            return _row(
                name=row.name,
                tenants=[*map(str, row.tenants)],
                psa=psa,
                company=toml_id(row.company),
                agreement=toml_id(row.agreement),
                alongside=[*map(toml_id, row.alongside)],
                purchased_as=[*row.purchased_as],
                billing=row.billing,
                until=row.until,
                product=[*map(toml_row, row.exceptions)],
            )
        case IgnoredTenant():
            return _row(id=str(row.ref), bill=False, note=row.note)


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


@dataclass(slots=True, eq=False)
class Part:
    """A header, or a `key = value`, with its whole lines; the last part of a text is its end."""

    gap: str
    """The comments and blank lines above it, which are nobody's."""
    text: str
    """Up to the value, or the closing brackets."""
    value: str = ""
    behind: str = ""
    key: tuple[str, ...] = ()
    header: bool = False
    array: bool = False
    line: int = 0
    """Counted from 1, where it was read."""

    def set(self, key: str, value: object) -> None:
        """Gives it another value, or takes it away; a `ConfigError` if a comment would be lost."""
        what = ""
        if has_comment(self.value):
            what = f"the value of {key} has comments inside, which"
        elif value is None and has_comment(self.behind):
            what = f"{key} must go, and the comment behind it"
        if what:
            raise ConfigError(
                f"mapping.toml, line {self.line}: {what} would be lost. The file was left as it "
                "is.",
                remedy="Move the comments above the key, or make the change in an editor.",
            )
        if value is None:
            self.text = self.value = self.behind = ""
        else:
            self.value = _render_value(value)


def scan(text: str) -> list[Part]:
    """All parts of a text that `tomllib` accepts, without a byte order mark."""
    parts: list[Part] = []
    position, line = 0, 1
    while (first := _skip(_BETWEEN, text, position)) < len(text):
        start = text.rfind("\n", position, first) + 1 or position
        header, array = text[first] == "[", text.startswith("[[", first)
        key, value = _key(text, first + header + array)
        if not header:
            value = _skip(_BLANK, text, value + 1)
        end = value if header else _value_end(text, value)
        after = _skip(_REST_OF_LINE, text, end)
        line += text.count("\n", position, start)
        pieces = text[position:start], text[start:value], text[value:end], text[end:after]
        parts.append(Part(*pieces, key, header, array, line))
        line += text.count("\n", start, after)
        position = after
    return [*parts, Part(text[position:], "")]


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
