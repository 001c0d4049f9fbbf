"""A simulated ConnectWise Manage: agreements, their additions, companies, and the catalog.

It behaves as the Developer Guide and the users of the real one say: `clientId` on every request,
25 records a page unless asked for more, nulls left out, no protection against doubled lines, the
whole record validated on every PATCH, no idempotency. Switches are attributes of `ConnectWise`;
what goes wrong for single requests is set with `Faults`, on `METHOD /path`. The twist known here,
on a write, is `lag`: for so many seconds reads still show the additions as they were before it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple

from kisi.sandbox import connectwise_records as records
from kisi.sandbox.configuration import Part, literal
from kisi.sandbox.connectwise_additions import Reader, Writer
from kisi.sandbox.connectwise_lists import CwError, Gateway, Query
from kisi.sandbox.connectwise_records import Addition, Agreement, Json
from kisi.sandbox.faults import Vendor
from kisi.sandbox.http import Exchange, Server
from kisi.sandbox.ksc_records import stable_guid
from kisi.sandbox.world import World

_VERSION = re.compile(r"version=(\d{4}\.\d+)")
_NO_PERMISSION = "You do not have security permission to perform this action."
_RIGHTS = {"GET": "inquire", "POST": "add", "PATCH": "edit", "PUT": "edit", "DELETE": "delete"}
_AREAS = {"finance": "agreements", "company": "companies", "procurement": "catalog"}
"""Module of a path to the name its rights have."""

_ADDITIONS = re.compile(r"finance/agreements/([0-9]{1,9})/additions(?:/([0-9]{1,9}|count))?")
_LISTS = re.compile(
    r"(finance/agreements|company/companies|procurement/catalog)(?:/([0-9]{1,9}|count))?"
)


class _Answer(NamedTuple):
    status: int
    content: object = b""
    headers: Mapping[str, str] = MappingProxyType({})


class ConnectWise(Vendor):
    """A simulated ConnectWise Manage.

    Args:
        world: What it holds.

    Attributes:
        company: The login company id.
        public_key: Of the API member.
        private_key: Of the API member.
        client_id: The one `clientId` that is accepted.
        codebase: The version's own path, accepted beside `v4_6_release/`.
        newest_version: The model served to clients that do not name a version.
        hides_bad_logins: Wrong credentials are answered with 404, as the cloud sometimes does.
        rights: What the member may do: `agreements.inquire`, `.add`, `.edit`, `.delete`,
            `companies.inquire`, `catalog.inquire`.
        gateway: What does not leave lists alone.
        writer: Its `keep_quantity` rounds or caps quantities.
        reader: Lags behind writes, see `lag`.
    """

    def __init__(self, world: World) -> None:
        super().__init__("connectwise", world.now)
        self.world = world
        self.company = "acme"
        self.public_key = "SandboxPublicKey"
        self.private_key = "sandbox-cw-private-key"
        self.client_id = "3f1f0c52-6f0e-4c8a-9d53-6c1d6a0e7b21"
        self.codebase = "v2026_4/"
        self.newest_version = "2026.4"
        self.hides_bad_logins = False
        self.rights = {f"agreements.{right}" for right in ("inquire", "add", "edit", "delete")} | {
            "companies.inquire",
            "catalog.inquire",
        }
        self.gateway = Gateway()
        self.writer = Writer(world, self.public_key)
        self.reader = Reader(world)
        self._requests = 0

    def part(self, server: Server) -> Part:
        """What a `Sandbox` simulates: the section `[psa.cw]`, and its secrets."""
        config = f"""\
[psa.cw]                              # ConnectWise Manage; plain http is allowed on loopback alone
kind = "connectwise"
url = "{server.url}"
company = {literal(self.company)}
public_key = "file:secrets/cw-public-key"
private_key = "file:secrets/cw-private-key"
client_id = "file:secrets/cw-client-id"
"""
        secrets = {
            "cw-public-key": self.public_key,
            "cw-private-key": self.private_key,
            "cw-client-id": self.client_id,
        }
        return Part("connectwise", server, config, secrets)

    def read_only(self) -> None:
        """Take away the member's rights to write."""
        self.rights = {right for right in self.rights if right.endswith(".inquire")}

    def lag(self, *, reads: int = 0, seconds: float = 0) -> None:
        """Make reads of additions lag behind writes from now on."""
        self.reader.lag_reads = reads
        self.reader.lag = timedelta(seconds=seconds)

    def handle(self, exchange: Exchange) -> None:
        """_Answer one request."""
        with self.world.lock:
            try:
                answer = self._answer(exchange)
            except CwError as error:
                answer = _Answer(error.status, error.body())
            self._requests += 1
        headers = {
            "x-cw-request-id": stable_guid("request", self._requests),
            "api-current-version": self.newest_version,
            **answer.headers,
        }
        pinned = _VERSION.search(exchange.headers.get("Accept", ""))
        media_type = (
            f"application/vnd.connectwise.com+json; version={pinned[1]}"
            if pinned
            else "application/json; charset=utf-8"
        )
        exchange.respond(answer.status, answer.content, headers, content_type=media_type)

    def _answer(self, exchange: Exchange) -> _Answer:
        path = exchange.path.strip("/")
        if path.startswith("login/companyinfo/"):
            return _Answer(200, self._company_info(path.rpartition("/")[2]))
        resource = self._resource(path)
        if resource == "system/info" and exchange.method == "GET":
            return _Answer(200, {"version": f"v{self.newest_version}.1", "isCloud": True})
        self._authenticate(exchange)
        area = _AREAS.get(resource.partition("/")[0])
        if area is None:
            raise _not_found(resource)
        self._need(f"{area}.{_RIGHTS[exchange.method]}")
        return self._listed(exchange, resource, self._query(exchange))

    def _resource(self, path: str) -> str:
        for codebase in ("v4_6_release/", self.codebase):
            prefix = f"{codebase}apis/3.0/"
            if path.startswith(prefix):
                return path.removeprefix(prefix)
        raise _not_found(path)

    def _authenticate(self, exchange: Exchange) -> None:
        member = f"{self.company}+{self.public_key}:{self.private_key}"
        expected = "Basic " + base64.b64encode(member.encode()).decode()
        if exchange.headers.get("Authorization") != expected:
            if self.hides_bad_logins:
                raise _not_found(exchange.path)
            raise CwError(401, "Unauthorized", "Unauthorized Access")
        if exchange.headers.get("clientId") != self.client_id:
            raise CwError(403, "Security", "The clientId header is missing or unknown.")

    def _need(self, right: str) -> None:
        if right not in self.rights:
            raise CwError(403, "Security", _NO_PERMISSION)

    def _query(self, exchange: Exchange) -> Query:
        paging = exchange.headers.get("pagination-type", "").lower()
        url = f"{exchange.scheme}://{exchange.headers.get('Host')}{exchange.path}"
        return Query.of(exchange.query, url, self.gateway, forward_only=paging == "forward-only")

    def _company_info(self, company: str) -> Json | None:
        if company.casefold() != self.company.casefold():
            return None
        return {
            "CompanyName": "Acme Managed Services",
            "Codebase": self.codebase,
            "VersionCode": f"v{self.newest_version}",
            "VersionNumber": f"v{self.newest_version}.1",
            "CompanyID": self.company,
            "IsCloud": "True",
        }

    def _listed(self, exchange: Exchange, resource: str, query: Query) -> _Answer:
        """Answer a request to `resource`, the path after `apis/3.0/`."""
        match = _ADDITIONS.fullmatch(resource)
        if match:
            agreement = self._agreement(int(match[1]))
            if exchange.method == "GET":
                lines = self.reader.read(agreement.id)
                rows = [self._shown(line) for line in lines]
                return self._read("additions", rows, match[2], query)
            return self._write(exchange, agreement, match[2])
        match = _LISTS.fullmatch(resource)
        if not match:
            raise _not_found(resource)
        if exchange.method != "GET":
            raise _not_allowed()
        kind = _AREAS[resource.partition("/")[0]]
        return self._read(kind, self._rows(kind), match[2], query)

    def _rows(self, kind: str) -> list[Json]:
        world = self.world
        if kind == "agreements":
            return [
                records.of_agreement(each, world.companies[each.company_id], world.today)
                for each in world.agreements.values()
            ]
        if kind == "companies":
            return [records.of_company(each) for each in world.companies.values()]
        return [records.of_catalog_item(each) for each in world.catalog.values()]

    def _shown(self, line: Addition) -> Json:
        world = self.world
        item, agreement = world.catalog[line.product_id], world.agreements[line.agreement_id]
        return records.of_addition(line, item, agreement, world.today)

    def _read(self, kind: str, rows: Sequence[Json], which: str | None, query: Query) -> _Answer:
        """One record by id, the count, or a page."""
        if which and which != "count":
            found = [row for row in rows if row["id"] == int(which)]
            if not found:
                raise _not_found(f"{kind}/{which}")
            return _Answer(200, query.shown(found[0]))
        chosen = query.select(rows, records.FIELDS[kind])
        if which:
            return _Answer(200, {"count": len(chosen)})
        page, link = query.page(chosen)
        return _Answer(200, page, {} if self.gateway.strips_link else {"Link": link})

    def _write(self, exchange: Exchange, agreement: Agreement, which: str | None) -> _Answer:
        if which is None and exchange.method == "POST":
            self.reader.before_write(agreement.id, exchange.twists.get("lag", 0))
            line = self.writer.create(agreement, _json(exchange))
            return _Answer(201, self._shown(line))
        if which is None or which == "count" or exchange.method == "POST":
            raise _not_allowed()
        line = self._line(agreement.id, int(which))
        self.reader.before_write(agreement.id, exchange.twists.get("lag", 0))
        if exchange.method == "DELETE":
            del self.world.lines[line.id]
            return _Answer(204)
        if exchange.method == "PATCH":
            line = self.writer.patch(line, _json(exchange))
        else:
            line = self.writer.put(line, agreement, _json(exchange))
        return _Answer(200, self._shown(line))

    def _agreement(self, agreement_id: int) -> Agreement:
        agreement = self.world.agreements.get(agreement_id)
        if agreement is None:
            raise _not_found(f"agreements/{agreement_id}")
        return agreement

    def _line(self, agreement_id: int, line_id: int) -> Addition:
        line = self.world.lines.get(line_id)
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
