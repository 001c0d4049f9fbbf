"""The resources of the simulated ConnectWise Manage, once a request has got past the door."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kisi.sandbox import cw_records as records
from kisi.sandbox.agreements import Addition, Agreement
from kisi.sandbox.cw_additions import Reader, Writer
from kisi.sandbox.cw_lists import CwError, Gateway, Query
from kisi.sandbox.cw_records import Json
from kisi.sandbox.exchange import Exchange
from kisi.sandbox.world import World

AREAS = {"finance": "agreements", "company": "companies", "procurement": "catalog"}
"""Module of a path to the name its rights have."""

_ADDITIONS = re.compile(r"finance/agreements/([0-9]{1,9})/additions(?:/([0-9]{1,9}|count))?")
_LISTS = re.compile(
    r"(finance/agreements|company/companies|procurement/catalog)(?:/([0-9]{1,9}|count))?"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a resource answers."""

    status: int
    content: object = b""
    headers: dict[str, str] = field(default_factory=dict)


class Resources:
    """Agreements, additions, companies and the catalog.

    Args:
        world: What they hold.
        member: Who is said to have changed what was written.
    """

    def __init__(self, world: World, *, member: str) -> None:
        self._world = world
        self.reader = Reader(world)
        self.writer = Writer(world, member)
        self.link_at_end = False
        self.gateway = Gateway()

    def answer(self, exchange: Exchange, resource: str, query: Query) -> Answer:
        """Answer a request to `resource`, the path after `apis/3.0/`.

        Raises:
            CwError: A refusal.
        """
        match = _ADDITIONS.fullmatch(resource)
        if match:
            agreement = self._agreement(int(match[1]))
            if exchange.method == "GET":
                lines = self.reader.read(agreement.id)
                rows = [records.of_addition(line, self._world) for line in lines]
                return self._read("additions", rows, match[2], query)
            return self._write(exchange, agreement, match[2])
        match = _LISTS.fullmatch(resource)
        if not match:
            raise _not_found(resource)
        if exchange.method != "GET":
            raise _not_allowed()
        kind = AREAS[resource.partition("/")[0]]
        return self._read(kind, self._rows()[kind](), match[2], query)

    def _rows(self) -> dict[str, Callable[[], list[Json]]]:
        world = self._world
        return {
            "agreements": lambda: [
                records.of_agreement(each, world) for each in world.agreements.values()
            ],
            "companies": lambda: [records.of_company(each) for each in world.companies.values()],
            "catalog": lambda: [records.of_catalog_item(each) for each in world.catalog.values()],
        }

    def _read(self, kind: str, rows: Sequence[Json], which: str | None, query: Query) -> Answer:
        """One record by id, the count, or a page."""
        if which and which != "count":
            found = [row for row in rows if row["id"] == int(which)]
            if not found:
                raise _not_found(f"{kind}/{which}")
            return Answer(200, query.shown(found[0]))
        chosen = query.select(rows, records.FIELDS[kind])
        if which:
            return Answer(200, {"count": len(chosen)})
        gateway = self.gateway
        listing = query.page(chosen, link_at_end=self.link_at_end, largest=gateway.page_cap)
        return Answer(200, listing.records, {} if gateway.strips_link else {"Link": listing.link})

    def _write(self, exchange: Exchange, agreement: Agreement, which: str | None) -> Answer:
        if which is None and exchange.method == "POST":
            self.reader.before_write(agreement.id, exchange.twists.get("lag", 0))
            line = self.writer.create(agreement, _json(exchange))
            return Answer(201, records.of_addition(line, self._world))
        if which is None or which == "count" or exchange.method == "POST":
            raise _not_allowed()
        line = self._line(agreement.id, int(which))
        self.reader.before_write(agreement.id, exchange.twists.get("lag", 0))
        if exchange.method == "DELETE":
            del self._world.lines[line.id]
            return Answer(204)
        if exchange.method == "PATCH":
            line = self.writer.patch(line, _json(exchange))
        else:
            line = self.writer.put(line, agreement, _json(exchange))
        return Answer(200, records.of_addition(line, self._world))

    def _agreement(self, agreement_id: int) -> Agreement:
        agreement = self._world.agreements.get(agreement_id)
        if agreement is None:
            raise _not_found(f"agreements/{agreement_id}")
        return agreement

    def _line(self, agreement_id: int, line_id: int) -> Addition:
        line = self._world.lines.get(line_id)
        if line is None or line.agreement_id != agreement_id:
            raise _not_found(f"additions/{line_id}")
        return line


def _json(exchange: Exchange) -> object:
    media_type = exchange.headers.get("Content-Type", "")
    if "json" not in media_type:
        raise CwError(415, "UnsupportedMediaType", f"Not JSON: {media_type}")
    try:
        return exchange.json()
    except ValueError as error:
        raise CwError(400, "InvalidObject", "The body is not JSON.") from error


def _not_found(what: str) -> CwError:
    return CwError(404, "NotFound", f"Entity not found: {what}")


def _not_allowed() -> CwError:
    return CwError(405, "MethodNotAllowed", "The method is not allowed here.")
