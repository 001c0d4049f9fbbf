"""How the simulated ConnectWise Manage answers a list: conditions, order, fields, and paging.

`conditions` are read as far as the Developer Guide describes them, for example
`agreementStatus = "Active" and (id in (1, 2) or cancelledDate = null)`: operators `=`, `!=`, `<`,
`<=`, `>`, `>=`, `contains`, `like`, `in`, the last three also with `not` before them; `and`, `or`,
parentheses; numbers, quoted strings, `true` and `false`, `null`, and UTC dates in square brackets.
Keywords are read without regard to case, fields are not.

Two ways of paging: *navigable* by `page`, with a `Link` header, and *forward-only* by `pageId`, in
the order of ids, if the header `pagination-type: forward-only` asks for it. A page has 25 records
unless `pageSize` says otherwise, and never more than 1000.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlencode

from kisi.sandbox.connectwise_records import Json

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


_DEFAULT_SIZE = 25
_LARGEST_SIZE = 1000
_NUMBER = re.compile(r"[0-9]{1,9}")


class CwError(Exception):
    """A refusal: `ErrorResponseMessage` in the interface's terms.

    Args:
        status: The HTTP status.
        code: For example `InvalidObject`, `NotFound`, `Security`.
        message: English text.
        errors: What is wrong with single fields.
    """

    def __init__(
        self, status: int, code: str, message: str, errors: Sequence[Json] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.errors = errors

    def body(self) -> Json:
        """The answer's body."""
        return {"code": self.code, "message": str(self), "errors": self.errors}


@dataclass(slots=True)
class Gateway:
    """What stands between ConnectWise and its clients, and does not leave lists alone."""

    page_cap: int = _LARGEST_SIZE
    """Records a page at most, whatever `pageSize` asks for."""
    strips_link: bool = False
    """The `Link` header is taken out of answers."""
    drops_paging: bool = False
    """The header `pagination-type` is taken out of requests, so that `Link` counts pages."""
    link_at_end: bool = False
    """A forward-only list names a next page even after its last record."""
    endless: bool = False
    """A forward-only list of everything goes on for ever, with records that nobody has made."""
    ends_early: bool = False
    """A list of everything has records on its first page only."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a list request; their names are read without regard to case."""

    parameters: Mapping[str, str]
    url: str
    """The request's own address without the query, for links."""
    gateway: Gateway
    forward_only: bool

    @classmethod
    def of(
        cls, query: Mapping[str, str], url: str, gateway: Gateway, *, forward_only: bool
    ) -> Query:
        """Read the parameters; unknown ones are of no consequence.

        Raises:
            CwError: One is known to ConnectWise, and not here.
        """
        parameters = {name.lower(): value for name, value in query.items()}
        for name in ("childconditions", "customfieldconditions"):
            if parameters.get(name):
                raise CwError(501, "NotImplemented", f"The sandbox does not know {name}.")
        return cls(parameters, url, gateway, forward_only and not gateway.drops_paging)

    def select(self, records: Sequence[Json], fields: Collection[str]) -> list[Json]:
        """The records that the conditions let pass.

        Raises:
            CwError: The conditions cannot be understood.
        """
        try:
            matches = parse(self.parameters.get("conditions", ""), fields)
            return [record for record in records if matches(record)]
        except (ConditionError, TypeError, ValueError, RecursionError) as error:
            raise CwError(400, "ConnectWiseApi", f"Invalid conditions: {error}") from error

    def page(self, records: Sequence[Json]) -> tuple[list[Json], str]:
        """The page asked for, of all records that were selected, and its `Link` header."""
        size = min(max(self._number("pagesize", _DEFAULT_SIZE), 1), self.gateway.page_cap)
        if self.forward_only:
            return self._forward(records, size)
        return self._navigable(self._ordered(records), size)

    def _forward(self, records: Sequence[Json], size: int) -> tuple[list[Json], str]:
        after = self._number("pageid", 0)
        lost = after and self.gateway.ends_early and not self.parameters.get("conditions")
        rest = sorted((row for row in records if row["id"] > after), key=lambda row: row["id"])
        rest = [] if lost else rest
        page = rest[:size]
        last = page[-1]["id"] if page else after
        endless = self.gateway.endless and not self.parameters.get("conditions")
        more = len(rest) > size or self.gateway.link_at_end or endless
        if endless:
            like = records[0] if records else {}
            made = range(last + 1, last + 1 + size - len(page))
            page = [*page, *({**like, "id": number} for number in made)]
            last = page[-1]["id"]
        return self._shown(page), self._link("next", pageId=last) if more else ""

    def _navigable(self, records: Sequence[Json], size: int) -> tuple[list[Json], str]:
        number = max(self._number("page", 1), 1)
        last = max(-(-len(records) // size), 1)
        pages = {"first": 1, "prev": number - 1, "next": number + 1, "last": last}
        links = [
            self._link(relation, page=page)
            for relation, page in pages.items()
            if 0 < page <= last or relation == "last"
        ]
        return self._shown(records[(number - 1) * size : number * size]), ", ".join(links)

    def _link(self, relation: str, **changed: int) -> str:
        kept = {name: value for name, value in self.parameters.items() if name not in _PAGES}
        return f'<{self.url}?{urlencode({**kept, **changed})}>; rel="{relation}"'

    def _ordered(self, records: Sequence[Json]) -> list[Json]:
        ordered = sorted(records, key=lambda record: record["id"])
        orders = [part.split() for part in self.parameters.get("orderby", "").split(",")]
        for field, *direction in reversed([order for order in orders if order]):
            ordered.sort(key=_by(field), reverse="desc" in (word.lower() for word in direction))
        return ordered

    def _shown(self, records: Sequence[Json]) -> list[Json]:
        return [self.shown(record) for record in records]

    def shown(self, record: Json) -> Json:
        """A record with the chosen `fields`; `_info` comes only if it is named, or none are."""
        chosen = [part.strip() for part in self.parameters.get("fields", "").split(",")]
        if not any(chosen):
            return record
        result: Json = {}
        for path in filter(None, chosen):
            value = look_up(record, path)
            if value is not None:
                *parents, name = path.split("/")
                target = result
                for parent in parents:
                    target = target.setdefault(parent, {})
                target[name] = value
        return result

    def _number(self, name: str, default: int) -> int:
        text = self.parameters.get(name) or str(default)
        if not _NUMBER.fullmatch(text):
            raise CwError(400, "InvalidObject", f"{name} must be a number.")
        return int(text)


_PAGES = frozenset({"page", "pageid"})


def _by(field: str) -> Callable[[Json], tuple[bool, str, float]]:
    return lambda record: _sortable(look_up(record, field))


def _sortable(value: Any) -> tuple[bool, str, float]:  # noqa: ANN401 - JSON is anything
    number = isinstance(value, int | float)
    return value is not None, "" if number else str(value), float(value) if number else 0.0
