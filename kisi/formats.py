"""Every field of kisi's JSON and CSV, once, in `formats.txt`: what is printed and described is one.

`formats.txt` has documents `[name]`, what they are made of `{name}` and tables `<name>`, each with
a field a line: name, type, meaning. `@group` is an object of that group, `+group` takes its fields
in; `?` may be null, `[]` is a list, `{}` an object whose keys are data, `~` is not always there. In
a table, whose columns are in order, `=group` takes some from a group.

Behind a name may stand where its value is: `since=first_at` is that attribute, `name=client.name`
one from further inside, null where the client is; an empty text is null with a `?` after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from kisi.json_text import FORMAT_VERSION, Json, attribute, plain

_HEAD = re.compile(r"([\[{<])(\S+)[\]}>] (.+)")
_PLAIN = {
    "date": {"type": "string", "format": "date"},
    "instant": {"type": "string", "format": "date-time"},
}
Made = Mapping[str, Callable[[Any], object]]
"""By group and field (`line.amount`), what makes the value of a field from its object."""


class Field(NamedTuple):
    """A field of a JSON object, or a column of a table."""

    name: str
    type: str
    text: str
    path: str = ""
    """Where its value is, in the object."""
    home: str = ""
    """The group that describes it, and its name there: `line.amount`."""
    inside: str = ""
    """Where the object of that group is, in an object whose group takes it in."""


class Group(NamedTuple):
    """A document, an object inside one, or a table."""

    title: str
    lines: tuple[str, ...]


@cache
def groups() -> Mapping[tuple[str, str], Group]:
    """Each by its kind (`[`, `{` or `<`) and name."""
    text = files("kisi").joinpath("formats.txt").read_text(encoding="utf-8")
    found = {}
    for block in text.strip().split("\n\n"):
        head, *lines = block.splitlines()
        kind, name, title = _HEAD.fullmatch(head).groups()  # type: ignore[union-attr]
        found[kind, name] = Group(title, tuple(lines))
    return found


@cache
def fields_of(kind: str, name: str) -> tuple[Field, ...]:
    """The fields of a group, with those that it takes in."""
    found: list[Field] = []
    for line in groups()[kind, name].lines:
        first, *rest = re.split(r"  +", line, maxsplit=2)  # a column may have several words
        if first.startswith("+"):
            group, _, inside = first[1:].partition("=")
            for field in fields_of("{", group):
                path, place = (f"{inside}.{x}".strip(".") for x in (field.path, field.inside))
                found.append(field._replace(path=path, inside=place))
        elif first.startswith("="):
            known = {field.name: field for field in fields_of("{", first[1:])}
            found += [known[column] for column in " ".join(rest).split()]
        else:
            called, _, path = first.partition("=")
            called = called.removesuffix("?")
            found.append(Field(called, rest[0], rest[1], path or first, f"{name}.{called}"))
    return tuple(found)


def columns(name: str) -> list[str]:
    """The columns of a table, in order."""
    return [field.name for field in fields_of("<", name)]


def described(name: str, value: object, made: Made | None = None, **given: object) -> Json:
    """An object as data: each field of its group, in order.

    `given` are fields that were worked out already; `made` makes those of objects inside it too. A
    mapping stands for an object that is data already, but for what is inside it.
    """
    return _object("{", name, value, made or {}, given)


def document(name: str, value: object, made: Made | None = None, **given: object) -> Json:
    """A whole JSON document of plain values; arguments are as those of `described`."""
    frame = {"format_version": FORMAT_VERSION}
    return {**frame, **plain(_object("[", name, value, made or {}, {**frame, **given}))}


def _object(kind: str, name: str, value: object, made: Made, given: Mapping[str, object]) -> Json:
    fields = fields_of(kind, name)
    if isinstance(value, Mapping):
        types = {field.name: field.type for field in fields}
        return {key: _data(types.get(key, ""), one, made) for key, one in value.items()}
    found = {}
    for field in fields:
        if field.name in given:
            one = given[field.name]
        elif field.home in made:
            one = made[field.home](attribute(value, field.inside))
        else:
            one = attribute(value, field.path)
        if one is not None or not field.type.startswith("~"):
            found[field.name] = _data(field.type, one, made)
    return found


def _data(kind: str, value: Any, made: Made) -> object:  # noqa: ANN401 - whatever a document holds
    if value is None or not kind.startswith("@"):
        return value
    kind = kind.removesuffix("?")
    if kind.endswith("[]"):
        return [_data(kind[:-2], one, made) for one in value]
    if kind.endswith("{}"):
        return {key: _data(kind[:-2], one, made) for key, one in value.items()}
    return _object("{", kind[1:], value, made, {})


# --- the same as a JSON Schema --------------------------------------------------------------------


def names(kind: str) -> list[str]:
    """The documents `[`, objects `{` or tables `<`."""
    return [name for which, name in groups() if which == kind]


def results_schema() -> Json:
    """A JSON Schema of every document, each under its name in `$defs`."""
    documents = {name: _schema("[", name) for name in names("[")}
    parts = {name: _schema("{", name) for name in names("{") if name not in documents}
    objects = {f"{name}_part": _schema("{", name) for name in names("{") if name in documents}
    choices = [{"$ref": f"#/$defs/{name}"} for name in documents]
    return {"anyOf": choices, "$defs": {**documents, **parts, **objects}}


def _schema(kind: str, name: str) -> Json:
    fields = fields_of(kind, name)
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
