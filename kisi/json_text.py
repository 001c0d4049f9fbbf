"""The frame of every JSON document that kisi makes, and how a value becomes JSON data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any

FORMAT_VERSION = 1
"""Of every document; it stays as long as fields are only added."""

Json = dict[str, Any]
_AS_IT_IS = frozenset({str, int, bool, float, type(None)})
"""Types whose values are JSON data already, as nearly all are."""


def dumps(document: Mapping[str, Any]) -> str:
    """JSON as kisi prints it: indented, and in ASCII, so that no encoding can harm it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def instant(at: datetime | None) -> str | None:
    """An instant for programs, in UTC to the second: `2026-11-03T05:00:00Z`."""
    if at is None:
        return None
    return at.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a document holds
    """A value as JSON data, with all that is in it."""
    if type(value) not in _AS_IT_IS:
        match value:
            case Enum():
                return value.value
            case Decimal():
                return int(value) if value == value.to_integral_value() else float(value)
            case date():
                return instant(value) if isinstance(value, datetime) else value.isoformat()
            case Mapping():
                return {plain(key): plain(item) for key, item in value.items()}
            case list() | tuple():
                return [plain(item) for item in value]
    return value


def fields(value: object, names: str) -> dict[str, Any]:
    """The named attributes of a value, in this order: `fields(line, "psa agreement")`.

    `client=company.name` is one of another name (`attribute`).
    """
    named = (name.partition("=") for name in names.split())
    return {name: attribute(value, path or name) for name, _, path in named}


@cache  # asked of each value, it takes longer, and there are many
def _is_mapping(kind: type) -> bool:
    return issubclass(kind, Mapping)


def attribute(value: Any, path: str) -> Any:  # noqa: ANN401 - whatever a document holds
    """What is at the end of a path: `company.name`, None where the company is.

    In a tuple it is that of each, in a mapping what it has, if anything; with a `?` behind it, an
    empty text is None.
    """
    for name in path.removesuffix("?").split(".") if path else ():
        if type(value) is tuple:
            value = [getattr(one, name) for one in value]
        elif _is_mapping(value.__class__):
            value = value.get(name)
        else:
            value = None if value is None else getattr(value, name)
    return (value or None) if path.endswith("?") else value
