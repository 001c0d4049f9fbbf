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
from datetime import timedelta

from kisi.sandbox.cw_lists import CwError, Query
from kisi.sandbox.cw_records import Json
from kisi.sandbox.cw_resources import AREAS, Answer, Resources
from kisi.sandbox.exchange import Exchange
from kisi.sandbox.faults import Faults, method_and_path
from kisi.sandbox.http import Certificate, Logged, Server
from kisi.sandbox.licences import stable_guid
from kisi.sandbox.world import World

_VERSION = re.compile(r"version=(\d{4}\.\d+)")
_NO_PERMISSION = "You do not have security permission to perform this action."
_RIGHTS = {"GET": "inquire", "POST": "add", "PATCH": "edit", "PUT": "edit", "DELETE": "delete"}


class ConnectWise:
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
        resources: Its `link_at_end`: a forward-only list names a next page even after its last
            record; its `gateway` shortens pages and takes headers away; its `writer.keep_quantity`
            rounds or caps quantities.
    """

    def __init__(self, world: World) -> None:
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
        self.resources = Resources(world, member=self.public_key)
        self._scheme = "http"
        self._requests = 0

    def serve(
        self,
        *,
        tls: Certificate | None = None,
        port: int = 0,
        faults: Faults | None = None,
        log: list[Logged] | None = None,
    ) -> Server:
        """A server for it, not started yet; plain HTTP unless it gets a certificate."""
        self._scheme = "https" if tls else "http"
        return Server(
            "connectwise",
            self.handle,
            tls=tls,
            port=port,
            now=self.world.now,
            log=log,
            intercept=(faults or Faults()).around(method_and_path),
        )

    def read_only(self) -> None:
        """Take away the member's rights to write."""
        self.rights = {right for right in self.rights if right.endswith(".inquire")}

    def lag(self, *, reads: int = 0, seconds: float = 0) -> None:
        """Make reads of additions lag behind writes from now on."""
        self.resources.reader.lag_reads = reads
        self.resources.reader.lag = timedelta(seconds=seconds)

    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        with self.world.lock:
            try:
                answer = self._answer(exchange)
            except CwError as error:
                answer = Answer(error.status, error.body())
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

    def _answer(self, exchange: Exchange) -> Answer:
        path = exchange.path.strip("/")
        if path.startswith("login/companyinfo/"):
            return Answer(200, self._company_info(path.rpartition("/")[2]))
        resource = self._resource(path)
        if resource == "system/info" and exchange.method == "GET":
            return Answer(200, {"version": f"v{self.newest_version}.1", "isCloud": True})
        self._authenticate(exchange)
        area = AREAS.get(resource.partition("/")[0])
        if area is None:
            raise _not_found(resource)
        self._need(f"{area}.{_RIGHTS[exchange.method]}")
        return self.resources.answer(exchange, resource, self._query(exchange))

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
        forward_only = paging == "forward-only" and not self.resources.gateway.drops_paging
        url = f"{self._scheme}://{exchange.headers.get('Host')}{exchange.path}"
        return Query.of(exchange.query, forward_only=forward_only, url=url)

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


def _not_found(what: str) -> CwError:
    return CwError(404, "NotFound", f"Entity not found: {what}")
