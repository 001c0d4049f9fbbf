"""How the simulated ConnectWise Manage answers a list: conditions, order, fields, and paging.

Two ways of paging: *navigable* by `page`, with a `Link` header, and *forward-only* by `pageId`, in
the order of ids, if the header `pagination-type: forward-only` asks for it. A page has 25 records
unless `pageSize` says otherwise, and never more than 1000.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from kisi.sandbox.cw_conditions import ConditionError, look_up, parse
from kisi.sandbox.cw_records import Json

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


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list."""

    records: list[Json]
    link: str
    """The `Link` header; may be empty."""


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a list request; their names are read without regard to case."""

    parameters: Mapping[str, str]
    forward_only: bool
    url: str
    """The request's own address without the query, for links."""

    @classmethod
    def of(cls, query: Mapping[str, str], *, forward_only: bool, url: str) -> Query:
        """Read the parameters; unknown ones are of no consequence.

        Raises:
            CwError: One is known to ConnectWise, and not here.
        """
        parameters = {name.lower(): value for name, value in query.items()}
        for name in ("childconditions", "customfieldconditions"):
            if parameters.get(name):
                raise CwError(501, "NotImplemented", f"The sandbox does not know {name}.")
        return cls(parameters, forward_only, url)

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

    def page(
        self, records: Sequence[Json], *, link_at_end: bool, largest: int = _LARGEST_SIZE
    ) -> Listing:
        """The page asked for.

        Args:
            records: All that were selected.
            largest: Records on it at most.
            link_at_end: A forward-only list names a next page even after its last record.
        """
        size = min(max(self._number("pagesize", _DEFAULT_SIZE), 1), largest)
        if self.forward_only:
            return self._forward(records, size, link_at_end=link_at_end)
        return self._navigable(self._ordered(records), size)

    def _forward(self, records: Sequence[Json], size: int, *, link_at_end: bool) -> Listing:
        after = self._number("pageid", 0)
        rest = sorted((row for row in records if row["id"] > after), key=lambda row: row["id"])
        page = rest[:size]
        last = page[-1]["id"] if page else after
        more = len(rest) > size or link_at_end
        return Listing(self._shown(page), self._link("next", pageId=last) if more else "")

    def _navigable(self, records: Sequence[Json], size: int) -> Listing:
        number = max(self._number("page", 1), 1)
        last = max(-(-len(records) // size), 1)
        page = records[(number - 1) * size : number * size]
        links = [self._link("first", page=1)]
        if number > 1:
            links.append(self._link("prev", page=number - 1))
        if number < last:
            links.append(self._link("next", page=number + 1))
        links.append(self._link("last", page=last))
        return Listing(self._shown(page), ", ".join(links))

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
