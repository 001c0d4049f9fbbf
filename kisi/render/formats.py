"""What each field of kisi's JSON and CSV means, from `formats.txt`: as a JSON Schema, as a page.

`formats.txt` has documents `[name]`, what they are made of `{name}` and tables `<name>`, each with
a field a line: name, type, meaning. `@group` is an object of that group, `+group` takes its fields
in; `?` may be null, `[]` is a list, `{}` an object whose keys are data, `~` is not always there. In
a table `=group` takes columns from a group.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from kisi.json_text import Json
from kisi.render.report import Grid, Report, Section, row

_HEAD = re.compile(r"([\[{<])(\S+)[\]}>] (.+)")
_PLAIN = {
    "date": {"type": "string", "format": "date"},
    "instant": {"type": "string", "format": "date-time"},
}


class Field(NamedTuple):
    """A field of a JSON object, or a column of a table."""

    name: str
    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """A document, an object inside one, or a table."""

    kind: str
    """`[`, `{` or `<`."""
    title: str
    lines: tuple[str, ...]


@cache
def groups() -> Mapping[tuple[str, str], Group]:
    """Each by its kind and name."""
    text = files("kisi.render").joinpath("formats.txt").read_text(encoding="utf-8")
    found = {}
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        kind, name, title = _HEAD.fullmatch(head).groups()  # type: ignore[union-attr]
        found[kind, name] = Group(kind, title, tuple(lines))
    return found


def fields_of(kind: str, name: str) -> Iterator[Field]:
    """The fields of a group, with those that it takes in."""
    for line in groups()[kind, name].lines:
        first, *rest = line.split(maxsplit=2)
        if first.startswith("+"):
            yield from fields_of("{", first[1:])
        elif first.startswith("="):
            known = {field.name: field for field in fields_of("{", first[1:])}
            yield from (known[column] for column in " ".join(rest).split())
        else:
            yield Field(first, *rest) if kind != "<" else _column(line)


def _column(line: str) -> Field:
    """Columns of a list may have several words, so more than one space ends a name."""
    name, rest = re.split(r"  +", line, maxsplit=1)
    return Field(name, *re.split(r"  +", rest, maxsplit=1))


def names(kind: str) -> list[str]:
    """The documents `[`, objects `{` or tables `<`."""
    return [name for which, name in groups() if which == kind]


def results_schema() -> Json:
    """A JSON Schema of every document, each under its name in `$defs`."""
    documents = {name: _object("[", name) for name in names("[")}
    parts = {name: _object("{", name) for name in names("{") if name not in documents}
    objects = {f"{name}_part": _object("{", name) for name in names("{") if name in documents}
    choices = [{"$ref": f"#/$defs/{name}"} for name in documents]
    return {"anyOf": choices, "$defs": {**documents, **parts, **objects}}


def _object(kind: str, name: str) -> Json:
    fields = list(fields_of(kind, name))
    return {
        "description": groups()[kind, name].title,
        "type": "object",
        "properties": {
            field.name: {**_type(field.type.lstrip("~")), "description": field.text}
            for field in fields
        },
        "required": [field.name for field in fields if not field.type.startswith("~")],
    }


def _type(kind: str) -> dict[str, Any]:
    if kind.endswith("?"):
        return {"anyOf": [_type(kind[:-1]), {"type": "null"}]}
    if kind.endswith("[]"):
        return {"type": "array", "items": _type(kind[:-2])}
    if kind.endswith("{}"):
        return {"type": "object", "additionalProperties": _type(kind[:-2])}
    if kind.startswith("@"):
        name = kind[1:]
        return {"$ref": f"#/$defs/{name}{'_part' if name in names('[') else ''}"}
    return _PLAIN.get(kind, {"type": kind})


def formats_report() -> Report:
    """Every field, for people."""
    sections = []
    for (kind, name), group in groups().items():
        rows = tuple(row(*field) for field in fields_of(kind, name))
        what = {"[": f"JSON of {name}", "{": f"object {name}", "<": f"CSV of {name}"}[kind]
        grid = Grid(("field", "type", "meaning"), rows, (), (2,))
        sections.append(Section(what, (group.title,), (grid,)))
    return Report("kisi schema", tuple(sections))


def formats_page() -> str:
    """The tables of docs/formats.md: what is taken in is told once, where it is."""
    return "\n".join(line for heads in ("[<", "{") for line in _page(heads))


def _page(kinds: str) -> Iterable[str]:
    for (kind, name), group in groups().items():
        if kind in kinds:
            anchor = {"[": f"JSON: {name}", "<": f"CSV: {name}", "{": f"`{name}`"}[kind]
            yield from ("", f"### {anchor}", "", f"{group.title[0].upper()}{group.title[1:]}.", "")
            yield from ("| field | type | meaning |", "|---|---|---|")
            for field in fields_of(kind, name):
                yield f"| `{field.name}` | {field.type.lstrip('~')} | {field.text} |"
