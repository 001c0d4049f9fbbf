"""Reading over Tigerpaw's REST API: signing, both ways it reports failure, paging.

API 18.2.1, https://api2.tigerpawsoftware.com/docs/18.2.1/swagger. It fails with an HTTP status, and
also with status 200 and `"Success": false`; lists without an envelope have only the former. The
signature is described on the page "REST Examples" of every API server, for example
https://api.paulsonsav.com/gettingstarted/restexamples.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, TypeVar

from kisi.errors import AccessRefused, NotSent, PsaError, TransportError
from kisi.redaction import remote_words
from kisi.transport import Answer, Client, Clock, Retry

Read = TypeVar("Read")
Record = TypeVar("Record", bound=Hashable)

PAGE_SIZE = 100


class Unusable(PsaError):
    """Every further request would fail in the same way: no connection, or keys refused."""


class KeysRefused(Unusable, AccessRefused):
    """The REST keys were refused."""

    guard = "login"


class NotFound(PsaError):
    """The API answered 404, and it is Tigerpaw's API that did."""


@dataclass(slots=True)
class Rest:
    """Signed reads of one Tigerpaw API server, the base of `client`."""

    client: Client
    keys: tuple[str, str] = field(repr=False)
    """The public and the private one, of the rep whose rights are used."""
    clock: Clock
    label: str
    """How messages call this PSA."""
    first_row: int
    """The number of a search's first row."""
    _known: bool = False
    """Tigerpaw's API has answered."""

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:  # noqa: ANN401
        """One GET, decoded; see `send` and `decode`."""
        return self.decode("GET", path, self.send("GET", path, params=params))

    def search(self, path: str, search_type: str, read: Callable[[object], Record]) -> list[Record]:
        """All records of one advanced search (for what contains the empty text), whole.

        Pages follow `NextRow` for as long as it grows and a page brings something new, so a server
        that repeats itself ends the reading; the total that it names decides.
        """
        found: dict[Record, None] = {}
        row = self.first_row
        while True:
            records, following, total = self.page(path, search_type, row)
            before = len(found)
            found |= dict.fromkeys(self.parse(read, record, path) for record in records)
            if len(found) == before or len(found) >= total or following <= row:
                break
            row = following
        said = f"{self.label} says that {path} has {total} records and gave {len(found)}"
        if len(found) < total:
            raise PsaError(
                f"{said} of them.",
                remedy="Try again. If it keeps happening, set first_row = 0 in kisi.toml: some "
                "versions count rows from 0.",
            )
        if len(found) > total:
            raise PsaError(
                f"{said}, so it is not known how many there are.",
                remedy="Try again: somebody may have removed records meanwhile.",
            )
        return list(found)

    def page(
        self, path: str, search_type: str, row: int, size: int = PAGE_SIZE
    ) -> tuple[list[Any], int, int]:
        """One page of such a search: its records, `NextRow` and `TotalCount`."""
        body = {
            "Criteria": [{"SearchType": search_type, "MatchType": "Contains", "Criteria": ""}],
            "PageSize": size,
            "StartRow": row,
        }
        page = self.decode("POST", path, self.send("POST", path, json=body))
        fields = page if isinstance(page, dict) else {}
        lists = [value for value in fields.values() if isinstance(value, list)]
        following, total = fields.get("NextRow"), fields.get("TotalCount")
        if not isinstance(total, int) or len(lists) > 1 or (total and not lists):
            said = f"{self.label} answered POST {path}"
            raise PsaError(f"{said} with something that is not a page of results.")
        records = lists[0] if lists else []
        return records, following if isinstance(following, int) else 0, total

    def parse(self, read: Callable[[object], Read], value: object, path: str) -> Read:
        """Applies a reader of `records`; its `ValueError` is a `PsaError` about `path`."""
        try:
            return read(value)
        except ValueError as error:
            raise PsaError(
                f"{self.label} gave an unreadable answer to {path}: {error}.",
                remedy="Compare the answer with the API's own documentation at /docs/index of the "
                "API server: its version may be newer than 18.2.1.",
            ) from error

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: object = None,
    ) -> Answer:
        """One signed read, whatever its status; `Unusable` if nothing could be sent."""
        try:
            return self.client.send(
                method,
                path,
                params=params,
                json=json,
                headers={"Accept": "application/json"},
                retry=Retry.READ,
                sign=self._sign,
            )
        except NotSent as error:
            raise Unusable(error.message, remedy=error.remedy) from error
        except TransportError as error:
            raise PsaError(error.message, remedy=error.remedy) from error

    def _sign(self, method: str, path: str) -> Mapping[str, str]:
        return signed_headers(*self.keys, method, path, self.clock.now())

    def decode(self, method: str, path: str, answer: Answer) -> Any:  # noqa: ANN401
        """What an answer says; `PsaError` where it says no, in either way, or is not JSON."""
        said = f"{self.label} answered {method} {path}"
        if answer.status == HTTPStatus.UNAUTHORIZED:
            raise KeysRefused(
                f"{said} with {answer.status}: it refused the REST keys ({answer.excerpt()}).",
                remedy="Check both REST keys (Edit > Master Tables > Rep > Account Reps > the rep "
                "> Admin > REST API Security), the rep's rights, and this machine's clock: a "
                "signature that is minutes off is refused in the same way.",
            )
        if answer.status == HTTPStatus.FORBIDDEN:
            raise PsaError(
                f"{said} with 403: the rep of the REST keys may not read it ({answer.excerpt()}).",
                remedy="Check the rights of the rep's security role (docs/tigerpaw.md).",
            )
        if answer.status == HTTPStatus.NOT_FOUND:
            self._prove_api()
            raise NotFound(f"{said} with 404: {answer.excerpt()}")
        if answer.status != HTTPStatus.OK:
            raise PsaError(f"{said} with status {answer.status}: {answer.excerpt()}")
        try:
            content = answer.json()
        except TransportError as error:
            raise PsaError(f"{said}: {error.message}", remedy=error.remedy) from error
        if isinstance(content, dict) and content.get("Success") is False:
            message = remote_words(str(content.get("Message") or "no message"), 200)
            raise PsaError(f"{said} with Success: false, {message}")
        self._known = True
        return content

    def _prove_api(self) -> None:
        """A wrong address answers everything with 404, as if each client's agreement were gone."""
        if self._known:
            return
        path = "/api/diagnostics/validate/user"
        if self.send("GET", path).status == HTTPStatus.NOT_FOUND:
            raise Unusable(
                f"{self.label} has no {path}: this is not the address of a Tigerpaw API.",
                remedy="Correct url in kisi.toml: it is what comes before /api/ in the address of "
                "your API server.",
            )
        self._known = True


def signature(private_key: str, method: str, path: str, date: str) -> str:
    """HMAC-SHA256 over the lower-cased `METHOD|PATH|DATE`, in base64.

    The key is used as text (it looks like a GUID); `path` has neither host nor query.
    """
    to_sign = f"{method}|{path}|{date}".lower()
    return b64encode(hmac.digest(private_key.encode(), to_sign.encode(), "sha256")).decode()


def signed_headers(
    public_key: str, private_key: str, method: str, path: str, now: datetime
) -> Mapping[str, str]:
    """The headers that identify us. `X-TSI-Date` (RFC 1123, UTC) overrides `Date` on the server."""
    date = format_datetime(now.astimezone(UTC), usegmt=True)
    pair = f"{public_key}:{signature(private_key, method, path, date)}"
    return {"X-TSI-Date": date, "Authorization": f"TSI {b64encode(pair.encode()).decode()}"}
