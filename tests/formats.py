"""Whether a JSON document has the fields that kisi's description of it names; that description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any

from kisi.formats import fields_of, groups

_TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def differences(name: str, document: Any, kind: str = "[") -> list[str]:
    """What is printed and not described, described and not printed, or of another type."""
    return list(_object(kind, name, document, name))


def _object(kind: str, name: str, value: Any, where: str) -> Iterator[str]:
    known = {field.name: field.type for field in fields_of(kind, name)}
    for field, type_ in known.items():
        if field in value:
            yield from _value(type_.lstrip("~"), value[field], f"{where}.{field}")
        elif not type_.startswith("~"):
            yield f"{where}.{field} is described and not printed"
    yield from (f"{where}.{one} is not described" for one in value if one not in known)


def _value(type_: str, value: Any, where: str) -> Iterator[str]:
    if type_.endswith("?"):
        if value is not None:
            yield from _value(type_[:-1], value, where)
    elif type_.endswith("[]"):
        for one in value:
            yield from _value(type_[:-2], one, f"{where}[]")
    elif type_.endswith("{}"):
        for one in value.values():
            yield from _value(type_[:-2], one, f"{where}{{}}")
    elif type_.startswith("@"):
        yield from _object("{", type_[1:], value, where)
    elif type_ in ("date", "instant"):
        (date if type_ == "date" else datetime).fromisoformat(value)
    elif not isinstance(value, _TYPES[type_]) or (isinstance(value, bool) and type_ != "boolean"):
        yield f"{where} is {value!r}, not {type_}"


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
