"""Checks a table against its settings class, and puts every problem into a sentence.

Pydantic finds all problems at once; its own words ("Input should be a valid integer, got a number
with a fractional part") are a programmer's, and may repeat the value. These are for an operator,
and repeat none: a password may stand where a number was expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kisi.config.sentences import did_you_mean, shorten, type_name
from kisi.config.settings import secret_fields
from kisi.secrets import FORMS, default_reference

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "string_type": "text in quotes",
    "path_type": "a path in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false, without quotes",
    "tuple_type": "a list in [brackets]",
    "list_type": "a list in [brackets]",
    "dict_type": "a table",
    "model_type": "a table",
}
_LIMITS = {
    "greater_than_equal": "This must be at least {ge:g}.",
    "greater_than": "This must be more than {gt:g}.",
    "less_than_equal": "This must be at most {le:g}.",
    "less_than": "This must be less than {lt:g}.",
    "literal_error": "This must be {expected}.",
    "enum": "This must be {expected}.",
    "finite_number": "This must be a finite number.",
    "string_too_short": "This must not be empty.",
    "too_short": "This must not be empty.",
}


def place(table: tuple[str, ...], key: str = "") -> str:
    """Where in the file: `[sources.hq] url`, `[sources.hq]`, or `timezone` outside all tables."""
    name = f"[{shorten('.'.join(table))}]" if table else ""
    return " ".join(part for part in (name, shorten(key)) if part)


def sentence(text: str) -> str:
    """`text` with a capital at its start and a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def check_table(
    model: type[Model], data: Mapping[str, Any], table: tuple[str, ...], base: Path
) -> tuple[Model | None, list[str]]:
    """Reads `data` as a `model`; all problems with their places, and None where there are any.

    Values must have their very types: true is no number, "4" neither. This is pydantic's strict
    JSON mode, where a list still becomes a tuple and text a path.

    Args:
        model: The settings class.
        data: The table as `tomllib` read it.
        table: The table's name, `("sources", "hq")`.
        base: The folder that relative paths start from.
    """
    try:
        checked = model.model_validate_json(
            json.dumps(data, default=str), strict=True, context={"base": base}
        )
    except ValidationError as error:
        return None, [_problem(model, found, table) for found in error.errors(include_url=False)]
    return checked, []


def _problem(model: type[BaseModel], error: ErrorDetails, table: tuple[str, ...]) -> str:
    """One of pydantic's findings, as a place in the file and a sentence."""
    location = error["loc"]
    steps = [str(step) for step in location if isinstance(step, str)]
    entries = [f"entry {step + 1}" for step in location if isinstance(step, int)]
    *inner, key = steps or [""]
    owner = _model_at(model, inner)
    where = ", ".join([place((*table, *inner), key), *entries])
    if owner is not None and key in secret_fields(owner):
        return f"{where}: {_about_secret(table, key)}"
    if error["type"] == "extra_forbidden":
        known = owner.model_fields if owner else {}
        return f"{where}: Unknown key; {did_you_mean(key, known)}"
    if error["type"] == "missing":
        return f"{where}: This key is missing.{_example(owner, key)}"
    return f"{where}: {_about_value(error)}"


def _about_value(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return sentence(str(context["error"]))
    if expected := _EXPECTED.get(kind):
        return f"This must be {expected}, not {type_name(error['input'])}."
    if limit := _LIMITS.get(kind):
        return limit.format(**context).replace("'", '"')
    return sentence(error["msg"])


def _about_secret(table: tuple[str, ...], key: str) -> str:
    default = default_reference(table[-1], key) if table[:1] != ("notify",) else ""
    leave_out = f" Leave the key out to use {default.removeprefix('env:')}." if default else ""
    return f"A secret is given by reference, never by value: write {FORMS}.{leave_out}"


def _example(owner: type[BaseModel] | None, key: str) -> str:
    field = owner.model_fields.get(key) if owner else None
    return f' For example: {key} = "{field.examples[0]}"' if field and field.examples else ""


def _model_at(model: type[BaseModel], steps: list[str]) -> type[BaseModel] | None:
    """The settings class of a nested table."""
    found: type[BaseModel] | None = model
    for step in steps:
        field = found.model_fields.get(step) if found else None
        found = _nested(field.annotation) if field else None
    return found


def _nested(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any type there is
    if get_origin(annotation) in {Union, UnionType}:
        return next((model for part in get_args(annotation) if (model := _nested(part))), None)
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None
