"""Requests to ConnectWise: headers, lists in pages, ids in chunks, refusals as errors.

Facts: ConnectWise's Developer Guide (https://developer.connectwise.com/Products/ConnectWise_PSA),
pages on versioning, pagination and rate limiting. Lists are read with forward-only pagination
(`pageId` means `id > pageId`, rows ordered by id), because page numbers skip or repeat rows when
data changes in between. A list ends with a page shorter than `pageSize`: the `Link` header is there
on the last page too, and proxies drop or rewrite it.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import urlencode

from kisi.errors import AccessRefused, PsaError, TransportError
from kisi.psa.connectwise.endpoints import Collection
from kisi.psa.connectwise.refusals import (
    Refusal,
    login_remedy,
    read_refusal,
    request_id,
    support,
    transport_remedy,
)
from kisi.psa.connectwise.values import Row, row_id
from kisi.transport import Answer, Client, Repeat

LOG = logging.getLogger("kisi.psa.connectwise")

PAGE_SIZE = 1000
"""The largest page that ConnectWise serves; a larger request is silently cut to it."""
CHUNK = 150
"""Ids in one `id in (...)`, unless the address gets too long."""
LONGEST_URL = 1745
"""Characters of an address that ConnectWise calls safe."""

_FORWARD_ONLY = {"pagination-type": "forward-only"}


def request_headers(
    company: str, public_key: str, private_key: str, client_id: str, api_version: str
) -> dict[str, str]:
    """What every request carries: Basic login, the MSP's clientId, the pinned API version."""
    login = f"{company}+{public_key}:{private_key}".encode()
    return {
        "Authorization": "Basic " + base64.b64encode(login).decode("ascii"),
        "clientId": client_id,
        "Accept": f"application/vnd.connectwise.com+json; version={api_version}",
    }


class Wire:
    """One ConnectWise instance, by its API's base address.

    Args:
        client: Sends to `base`; its headers are `request_headers`.
        base: `https://HOST/CODEBASE/apis/3.0`, for the length of addresses and for sentences.
        name: The section name of `[psa.NAME]`, for sentences.
    """

    def __init__(self, client: Client, base: str, name: str) -> None:
        self.name = name
        self._client = client
        self._base = base

    def close(self) -> None:
        """Closes connections. Safe to call twice."""
        self._client.close()

    def send(self, method: str, path: str, body: object) -> Answer:
        """Sends one write exactly once and hands over whatever the answer is.

        Raises:
            TransportError: No usable answer came; `NotSent` if nothing was sent.
        """
        answer = self._client.send(method, path, json=body, repeat=Repeat.NEVER)
        LOG.info("%s %s: %d, request id %s", method, path, answer.status, request_id(answer) or "-")
        return answer

    def get(
        self,
        collection: Collection,
        *,
        path: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Reads `collection` (or `path`, something inside it), repeating as reads may be.

        Raises:
            AccessRefused: The login, a right, or the address was refused.
            PsaError: Any other refusal, or no usable answer.
        """
        where = path or collection.path
        try:
            answer = self._client.send(
                "GET", where, params=params, headers=headers, repeat=Repeat.READ
            )
        except TransportError as error:
            raise PsaError(
                f"kisi could not read the {collection.noun} of psa.{self.name}: {error.message}",
                remedy=transport_remedy(error),
            ) from error
        if ident := request_id(answer):
            LOG.debug("GET %s: request id %s", where, ident)
        if answer.status != HTTPStatus.OK:
            raise self._refused(collection, read_refusal(answer))
        return answer

    def rows(
        self, collection: Collection, fields: str, ids: Sequence[int] = (), *, of: str = "id"
    ) -> list[Row]:
        """A whole list, or those of its records whose `of` is one of `ids` (one chunk at most).

        Rows are in the order they came in, each id once.

        Raises:
            PsaError: It did not arrive whole.
        """
        params = _query(fields, ids, of)
        rows: dict[int, Row] = {}
        last = 0
        while True:
            page = self._page(collection, params | ({"pageId": str(last)} if last else {}))
            fresh = {key: row for key, row in page if key not in rows}
            if page and (not fresh or min(fresh) <= last):
                raise PsaError(
                    f"The {collection.noun} of psa.{self.name} did not arrive whole: asked for the"
                    f" records after id {last}, ConnectWise sent others. None of them was used.",
                    remedy="Run kisi again; if it keeps happening, something between kisi and"
                    " ConnectWise drops the header `pagination-type` or the parameter `pageId`.",
                )
            rows |= fresh
            if len(page) < PAGE_SIZE:
                return list(rows.values())
            last = max(rows)

    def chunks(
        self, collection: Collection, fields: str, ids: Sequence[int], *, of: str = "id"
    ) -> Iterator[tuple[int, ...]]:
        """`ids` in as few parts as addresses of a safe length allow."""
        bare = len(self._base + collection.path + "?" + urlencode(_query(fields, (0,), of))) - 1
        chunk: list[int] = []
        length = bare
        for one in ids:
            more = len(str(one)) + len("%2C")
            if chunk and (len(chunk) == CHUNK or length + more > LONGEST_URL):
                yield tuple(chunk)
                chunk, length = [], bare
            chunk.append(one)
            length += more
        if chunk:
            yield tuple(chunk)

    def _page(self, collection: Collection, params: Mapping[str, str]) -> list[tuple[int, Row]]:
        """One page, each row with its id."""
        answer = self.get(collection, params=params, headers=_FORWARD_ONLY)
        try:
            page = answer.json()
            if not isinstance(page, list) or not all(isinstance(row, dict) for row in page):
                raise ValueError("it is not a list of records")  # noqa: TRY301  # as below
            return [(row_id(row), row) for row in page]
        except (TransportError, ValueError) as error:
            raise PsaError(
                f"ConnectWise's answer does not hold the {collection.noun} of psa.{self.name}:"
                f" {str(error).rstrip('.')}. Nothing of it was used.",
                remedy="Run kisi again; if it keeps happening, check url and api_version of"
                f" [psa.{self.name}].",
            ) from error

    def _refused(self, collection: Collection, refusal: Refusal) -> PsaError:
        """The error for a read that ConnectWise refused."""
        said = (
            f"kisi could not read the {collection.noun} of psa.{self.name}."
            f" ConnectWise answered {refusal.sentence}"
        )
        if refusal.of_permission:
            return AccessRefused(
                said,
                remedy=f"Give the security role of the API member the right {collection.right}.",
            )
        if refusal.of_login:
            return AccessRefused(said, remedy=login_remedy(self.name, refusal))
        if refusal.status == HTTPStatus.NOT_FOUND and not collection.nested:
            return AccessRefused(
                f"{said} ConnectWise's cloud answers so also where the login is wrong.",
                remedy=f"Check url, company, public_key and private_key of [psa.{self.name}].",
            )
        if refusal.status == HTTPStatus.NOT_FOUND:
            return PsaError(said, remedy="Check that the agreement still exists in ConnectWise.")
        if HTTPStatus.MULTIPLE_CHOICES <= refusal.status < HTTPStatus.BAD_REQUEST:
            return PsaError(
                f"{said} kisi follows no redirection, so that keys never reach another host.",
                remedy=f"Check url of [psa.{self.name}]: it must be the API's own host.",
            )
        return PsaError(said, remedy=f"Run kisi again later.{support(refusal)}")


def _query(fields: str, ids: Sequence[int], of: str) -> dict[str, str]:
    """The query of a list. Conditions hold only ids: how to escape a name is not documented."""
    named = {"conditions": f"{of} in ({','.join(map(str, ids))})"} if ids else {}
    return {**named, "fields": fields, "pageSize": str(PAGE_SIZE)}
