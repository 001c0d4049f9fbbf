"""Whether a JSON document has the fields that kisi's own description of it names, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from kisi.formats import fields_of

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
