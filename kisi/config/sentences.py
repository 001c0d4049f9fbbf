"""Words that every message about the two files uses, and the one check of a table of either.

Pydantic's own words are a programmer's, and may repeat the value. These are for an operator, and
repeat none: a password may stand where a number was expected.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, time
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails

from kisi.config.settings import secret_fields
from kisi.secrets import FORMS, default_reference

Model = TypeVar("Model", bound=BaseModel)
Where = Callable[[Sequence[str]], str]  # a key, after the inner tables that it is in, to its place

_LONGEST = 80
_LISTED = 12
_TYPES: Mapping[type | tuple[type, ...], str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a decimal number",
    str: "text",
    (date, time): "a date or time",
    list: "a list",
    dict: "a table",
}


def shorten(text: str) -> str:
    """`text`, cut so that a hostile or broken name cannot fill the screen."""
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def listed(names: Collection[str]) -> str:
    """`names` in quotes, sorted; the first dozen of a long list.

    >>> listed({"hub", "hq"})
    '"hq", "hub"'
    """
    quoted = [f'"{shorten(name)}"' for name in sorted(names)]
    more = len(quoted) - _LISTED
    return ", ".join(quoted[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def nearest(word: str, known: Collection[str]) -> str | None:
    """The name in `known` that `word` most likely means, if one is near enough."""
    by_folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.55)
    return by_folded[near[0]] if near else None


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown name: the nearest known one, or all of them.

    >>> did_you_mean("pasword", ["password", "user"])
    'did you mean "password"?'
    >>> did_you_mean("colour", ["password", "user"])
    'use one of "password", "user".'
    """
    if not known:
        return "there are none."
    near = nearest(word, known)
    return f'did you mean "{shorten(near)}"?' if near else f"use one of {listed(known)}."


def type_name(value: object) -> str:
    """What a TOML value is, in words, without the value itself.

    >>> type_name(True)
    'true or false'
    """
    found = (words for kind, words in _TYPES.items() if isinstance(value, kind))
    return next(found, "something else")


def place(table: tuple[str, ...], key: str = "") -> str:
    """Where in the file: `[sources.hq] url`, `[sources.hq]`, or `timezone` outside all tables."""
    name = f"[{shorten('.'.join(table))}]" if table else ""
    return " ".join(part for part in (name, shorten(key)) if part)


_BEYOND = 2**64  # no key takes a number as large as this one
_EXPECTED = {
    "string_type": "text in quotes",
    "path_type": "a path in quotes",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
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
    "finite_number": "This must be a finite number.",
    "string_too_short": "This must be text in quotes, not empty text.",
    "too_short": "This list is empty.",
}


def read_table(
    model: type[Model],
    data: Mapping[str, Any],
    table: tuple[str, ...],
    base: Path = Path(),
    where: Where | None = None,
) -> tuple[Model, list[str]]:
    """Reads `data` as a `model`; all problems with their places.

    Values must have their very types: pydantic's strict JSON mode, where a list still becomes a
    tuple and text a path. `base` is the folder that relative paths start from; `where` names a key
    in messages, by default as `[sources.hq] url`.

    There is a value also where there are problems, so that rules over several tables find theirs
    too: what is wrong reads as missing. A key that must be there and is not, or is wrong, is empty;
    any other has its default; of a list, only the wrong entries go.
    """
    checked, errors = _validated(model, data, base)
    where = where or (lambda steps: place((*table, *steps[:-1]), steps[-1]))
    if checked is None:
        lenient, right = _with_empty_values(model), dict[Any, Any](data)
        wrong = [loc for error in errors if (loc := error["loc"])]
        for key in {loc[0] for loc in wrong} & right.keys():
            entries = {loc[1] if len(loc) > 1 else None for loc in wrong if loc[0] == key}
            value = right.pop(key)
            if isinstance(value, list):
                kept = [each for place, each in enumerate(value) if place not in entries]
                right |= {key: kept} if kept and None not in entries else {}
        checked = _validated(lenient, right, base)[0] or lenient.model_construct()
    return checked, [_problem(model, error, table, where) for error in errors]


@cache
def _days_of(model: type[Model]) -> set[str]:
    return {name for name, x in model.model_fields.items() if date in get_args(x.annotation)}


def _validated(
    model: type[Model], data: Mapping[str, Any], base: Path
) -> tuple[Model | None, list[ErrorDetails]]:
    # JSON has no dates, and `str` makes text of them: they are told apart before
    days = _days_of(model)
    errors: list[ErrorDetails] = [
        {"type": "date", "loc": steps, "msg": "", "input": None}
        for steps in _dates(data)
        if steps[0] not in days
    ]
    try:
        text = json.dumps(data, default=str)
    except ValueError:  # a number of thousands of digits, which TOML may write as 0x...
        text = json.dumps(_with_small_numbers(data), default=str)
    try:
        checked = model.model_validate_json(text, strict=True, context={"base": base, "data": data})
    except ValidationError as error:
        checked, found = None, error.errors(include_url=False)
        dates = {each["loc"] for each in errors}
        inside = {each["loc"][:n] for each in found for n in range(len(each["loc"]))}
        # of a list with wrong entries, the rest may be called too short as well
        errors += [
            each
            for each in found
            if each["loc"] not in (inside if each["type"] == "too_short" else dates)
        ]
    # a key that is misspelt is why another is missing, so it comes first
    errors.sort(key=lambda each: each["type"] != "extra_forbidden")
    return (None if errors else checked), errors


def _with_small_numbers(value: Any) -> Any:  # noqa: ANN401 - whatever TOML may hold
    if isinstance(value, dict):
        return {key: _with_small_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_small_numbers(each) for each in value]
    return max(-_BEYOND, min(value, _BEYOND)) if type(value) is int else value


def _dates(data: Mapping[str, Any], steps: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in data.items():
        entries = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            yield from _dates(value, (*steps, key))
        elif any(isinstance(each, date | time) for each in entries):
            yield (*steps, key)


@cache
def _with_empty_values(model: type[Model]) -> type[Model]:
    """`model`, where a key that must be there is an empty text or list if it is missing."""
    fields: dict[str, Any] = {
        name: (
            Annotated[(field.annotation, *field.metadata, None)],  # two at least
            () if get_origin(field.annotation) is tuple else "",
        )
        for name, field in model.model_fields.items()
        if field.is_required()
    }
    return cast("type[Model]", create_model(model.__name__, __base__=model, **fields))


def _problem(
    model: type[BaseModel], error: ErrorDetails, table: tuple[str, ...], where: Where
) -> str:
    location = error["loc"]
    steps = [step for step in location if isinstance(step, str)] or [""]
    entries = [f"entry {step + 1}" for step in location if isinstance(step, int)]
    *inner, key = steps
    owner: type[BaseModel] | None = model
    for step in inner:
        field = owner.model_fields.get(step) if owner else None
        kind = field.annotation if field else None
        kinds = get_args(kind) if get_origin(kind) in {Union, UnionType, tuple} else (kind,)
        owner = next((x for x in kinds if isinstance(x, type) and issubclass(x, BaseModel)), None)
    told = ", ".join([where(steps), *entries])
    if owner is not None and key in secret_fields(owner):
        default = default_reference(table[-1], key) if table[:1] != ("notify",) else ""
        leave_out = f" Leave the key out to use {default.removeprefix('env:')}." if default else ""
        return f"{told}: A secret is given by reference, never by value: write {FORMS}.{leave_out}"
    known = owner.model_fields if owner else {}
    if error["type"] == "extra_forbidden":
        return f"{told}: Unknown key; {did_you_mean(key, known)}"
    if error["type"] == "missing":
        examples = known[key].examples if key in known else None
        example = f' For example: {key} = "{examples[0]}"' if examples else ""
        return f"{told}: This key is missing.{example}"
    return f"{told}: {_about_value(error)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def about_value(error: BaseException) -> str:
    """What is wrong with one value, in a sentence; of an error that is not pydantic's, its own."""
    if isinstance(error, ValidationError):
        return _about_value(error.errors(include_url=False)[0])
    return _sentence(str(error))


def _about_value(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "date":
        return "This is a date or time; put text in quotes."
    if kind == "value_error":
        return _sentence(str(context["error"]))
    if expected := _EXPECTED.get(kind):
        return f"This must be {expected}, not {type_name(error['input'])}."
    if choices := context.get("expected"):
        given, names = error["input"], re.findall("'([^']*)'", choices)
        near = nearest(given, names) if isinstance(given, str) else None
        what = choices.replace("'", '"')
        return f"This must be {what}" + (f'; did you mean "{near}"?' if near else ".")
    if limit := _LIMITS.get(kind):
        return limit.format(**context)
    return _sentence(error["msg"])
