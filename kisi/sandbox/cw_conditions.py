"""The `conditions` language of ConnectWise Manage, as far as its Developer Guide describes it.

`agreementStatus = "Active" and (id in (1, 2) or cancelledDate = null)`: operators `=`, `!=`, `<`,
`<=`, `>`, `>=`, `contains`, `like`, `in`, the last three also with `not` before them; `and`, `or`,
parentheses; numbers, quoted strings, `true` and `false`, `null`, and UTC dates in square brackets.
Keywords are read without regard to case, fields are not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

Record = Mapping[str, Any]
Predicate = Callable[[Record], bool]
Value = str | float | bool | datetime | None

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"[^"]*"|'[^']*')|(?P<date>\[[^\]]*\])|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<word>[A-Za-z_][\w/]*)|(?P<sign><=|>=|!=|[=<>(),]))"""
)
_SIGNS = frozenset({"=", "!=", "<", "<=", ">", ">="})
_WORDS = frozenset({"contains", "like", "in"})


class ConditionError(ValueError):
    """The conditions cannot be understood, or name a field that the records do not have."""


def parse(text: str, fields: Collection[str]) -> Predicate:
    """Turn conditions into a test of one record.

    Args:
        text: The conditions; nothing but white space lets every record pass.
        fields: What may be compared; parts of references are named with `/`.

    Raises:
        ConditionError: As above.
    """
    if not text.strip():
        return lambda _: True
    return _Parser(text, fields).parse()


def look_up(record: Record, path: str) -> Any:  # noqa: ANN401 - JSON is anything
    """The value at `product/id` and the like; None where there is none."""
    value: Any = record
    for part in path.split("/"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def read_date(text: str) -> datetime:
    """A date as ConnectWise writes it, or a day.

    Raises:
        ValueError: It is neither.
    """
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


class _Parser:
    def __init__(self, text: str, fields: Collection[str]) -> None:
        self._fields = fields
        self._tokens: list[tuple[str, str]] = []
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise ConditionError(f"Cannot read the conditions at: {text[position:][:40]}")
            self._tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        self._position = 0

    def parse(self) -> Predicate:
        predicate = self._any_of()
        if self._position < len(self._tokens):
            raise ConditionError(f"Unexpected: {self._tokens[self._position][1]}")
        return predicate

    def _any_of(self) -> Predicate:
        parts = [self._all_of()]
        while self._accept("or"):
            parts.append(self._all_of())
        return lambda record: any(part(record) for part in parts)

    def _all_of(self) -> Predicate:
        parts = [self._one()]
        while self._accept("and"):
            parts.append(self._one())
        return lambda record: all(part(record) for part in parts)

    def _one(self) -> Predicate:
        if self._accept("("):
            inner = self._any_of()
            self._expect(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        kind, field = self._next()
        if kind != "word" or field not in self._fields:
            raise ConditionError(f"There is no field {field} to compare.")
        negated = self._accept("not")
        operator = self._next()[1].lower()
        if operator not in (_WORDS if negated else _SIGNS | _WORDS):
            raise ConditionError(f"There is no operator {operator}.")
        values = self._list() if operator == "in" else [self._value()]
        return _test(field, operator, values, negated=negated)

    def _list(self) -> list[Value]:
        self._expect("(")
        values = [self._value()]
        while self._accept(","):
            values.append(self._value())
        self._expect(")")
        return values

    def _value(self) -> Value:
        kind, text = self._next()
        constants: dict[str, Value] = {"true": True, "false": False, "null": None}
        if kind == "string":
            return text[1:-1]
        if kind == "number":
            return float(text)
        if kind == "word" and text.lower() in constants:
            return constants[text.lower()]
        if kind == "date":
            try:
                return read_date(text[1:-1])
            except ValueError as error:
                raise ConditionError(f"Not a date: {text}") from error
        raise ConditionError(f"Not a value: {text}")

    def _next(self) -> tuple[str, str]:
        if self._position == len(self._tokens):
            raise ConditionError("The conditions end too early.")
        self._position += 1
        return self._tokens[self._position - 1]

    def _accept(self, text: str) -> bool:
        rest = self._tokens[self._position : self._position + 1]
        if rest and rest[0][0] in {"word", "sign"} and rest[0][1].lower() == text:
            self._position += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise ConditionError(f"Expected {text}")


def _test(field: str, operator: str, values: list[Value], *, negated: bool) -> Predicate:
    def test(record: Record) -> bool:
        found = look_up(record, field)
        return any(_compare(found, operator, value) for value in values) is not negated

    return test


def _compare(found: Any, operator: str, wanted: Value) -> bool:  # noqa: ANN401 - JSON is anything
    if operator in {"=", "in"}:
        return _equal(found, wanted)
    if operator == "!=":
        return not _equal(found, wanted)
    if found is None or wanted is None:
        return False
    if operator in {"like", "contains"}:
        pattern = str(wanted).casefold().replace("%", "*")
        if operator == "contains":
            pattern = f"*{pattern}*"
        return fnmatchcase(str(found).casefold(), pattern)
    left, right = _comparable(found, wanted)
    if operator.startswith("<"):
        return bool(left < right or (operator == "<=" and left == right))
    return bool(left > right or (operator == ">=" and left == right))


def _equal(found: Any, wanted: Value) -> bool:  # noqa: ANN401 - JSON is anything
    if found is None or wanted is None:
        return found is wanted
    left, right = _comparable(found, wanted)
    return bool(left == right)


def _comparable(found: Any, wanted: Value) -> tuple[Any, Any]:  # noqa: ANN401 - JSON is anything
    if isinstance(wanted, datetime):
        return read_date(str(found)), wanted
    if isinstance(wanted, str):  # its database compares text without regard to case
        return str(found).casefold(), wanted.casefold()
    return found, wanted
