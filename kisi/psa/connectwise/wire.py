"""Requests to ConnectWise: headers, lists in pages, ids in chunks, refusals as errors.

Facts: ConnectWise's Developer Guide (https://developer.connectwise.com/Products/ConnectWise_PSA),
pages on versioning, pagination and rate limiting. Lists are read with forward-only pagination
(`pageId` means `id > pageId`, rows ordered by id), because page numbers skip or repeat rows when
data changes in between.

A gateway may serve fewer records a page than `pageSize` asks for, so `Link: rel="next"` decides
where a list ends. ConnectWise always sends that header; where something took it out, a list goes on
to an empty page, unless it has all the ids that were asked for.

Three kinds of body refuse: `{"code", "message", "errors": [{"code", "message", "field"}]}` mostly
(`ErrorResponseMessage` of ConnectWise's OpenAPI document), `{"error", "message"}` for a rate limit
(its Developer Guide, https://developer.connectwise.com/Products/ConnectWise_PSA), and whatever a
proxy in front of it sends: Cloudflare's HTML pages, plain text, nothing.
"""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from kisi.errors import AccessRefused, BadAnswer, ConfigError, PsaError
from kisi.psa.connectwise import ConnectWiseSettings
from kisi.psa.http import HttpPsa
from kisi.psa.records import Row, part, shown, whole
from kisi.redaction import NOT_QUOTED, REDACTOR, remote_text, remote_words
from kisi.transport import Answer, Client, Retry


@dataclass(frozen=True, slots=True)
class Collection:
    """A list that ConnectWise serves: what it holds, and the API member's right to read it."""

    path: str
    noun: str
    right: str
    fields: str
    nested: bool = False
    """Inside a record: a 404 then means that the record is gone, not that the address is wrong."""


AGREEMENTS = Collection(
    "/finance/agreements",
    "agreements",
    "Finance > Agreements, Inquire = All",
    "id,name,type/name,company/id,company/name,agreementStatus,cancelledFlag,startDate,endDate,"
    "noEndingDateFlag,billStartDate,nextInvoiceDate,prorateFlag,oneTimeFlag,billOneTimeFlag,"
    "billingCycle/id,billingCycle/name,parentAgreement/id,currency/currencyCode",
)
COMPANIES = Collection(
    "/company/companies",
    "companies",
    "Companies > Company Maintenance, Inquire = All",
    "id,identifier,name,deletedFlag",
)
CATALOG = Collection(
    "/procurement/catalog",
    "product catalog",
    "Procurement > Product Catalog, Inquire = All",
    "id,identifier,description,productClass,inactiveFlag,price",
)


def additions(agreement: int) -> Collection:
    """The additions of one agreement; there is no list of several agreements' additions."""
    return Collection(
        f"/finance/agreements/{agreement}/additions",
        f"additions of agreement {agreement}",
        AGREEMENTS.right,
        "id,product/id,product/identifier,description,quantity,unitPrice,lessIncluded,billCustomer,"
        "effectiveDate,cancelledDate,agreementStatus,agreementId",
        nested=True,
    )


LOG = logging.getLogger("kisi.psa.connectwise")

PAGE_SIZE = 1000
"""The largest page that ConnectWise serves; a larger request is silently cut to it."""
CHUNK = 150
"""Ids in one `id in (...)`, unless the address gets too long."""
LONGEST_URL = 1745
"""Characters of an address that ConnectWise calls safe."""

_FORWARD_ONLY = {"pagination-type": "forward-only"}
_NEXT = re.compile(r'<([^<>]*)>\s*;[^<>]*?\brel\s*=\s*"?[^"<>,;]*\bnext\b', re.IGNORECASE)

_LONGEST = 300
"""Characters of remote text that a sentence may hold."""
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_REQUEST_ID = re.compile(r"[^A-Za-z0-9._:-]")
_LOGIN_CODES = frozenset({"unauthorized", "usernotauthenticated"})


@dataclass(frozen=True, slots=True)
class Among:
    """The condition that a list's records have one of `ids` in `field`, such as `product/id`.

    Conditions hold only ids: how to escape a name is not documented.
    """

    field: str
    ids: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.field} in ({','.join(map(str, self.ids))})"

    def prove(self, row: Row) -> None:
        """Raises `ValueError` for a record that was not asked for: it answers another question."""
        *parents, name = self.field.split("/")
        value = reduce(part, parents, row).get(name)
        if isinstance(value, bool) or value not in self.ids:
            raise ValueError(
                f"record {whole(row, 'id')} was not asked for: {self.field} {shown(value)}"
            )


class Wire(HttpPsa):
    """The requests to one ConnectWise instance."""

    system = "ConnectWise"
    if_unusable = "check url and api_version of [{}]"
    if_skewed = "an addition could start on the wrong day"
    client: Client
    _settings: ConnectWiseSettings

    def _set_up(self) -> None:
        settings, secrets = self._settings, self._secrets
        self.workers = settings.workers
        if not (secrets["client_id"].isascii() and secrets["client_id"].isprintable()):
            raise ConfigError(
                f"[psa.{self.name}] client_id holds characters that no clientId has.",
                remedy="Copy the clientId from developer.connectwise.com again.",
            )
        if ":" in secrets["public_key"]:
            raise ConfigError(
                f"[psa.{self.name}] public_key holds a colon, which no public key has.",
                remedy="Copy the API member's public key again.",
            )
        login = f"{settings.company}+{secrets['public_key']}:{secrets['private_key']}".encode()
        headers = {
            "Authorization": "Basic " + b64encode(login).decode("ascii"),
            "clientId": secrets["client_id"],
            "Accept": f"application/vnd.connectwise.com+json; version={settings.api_version}",
        }
        self.base = f"{settings.url}/{settings.codebase}/apis/3.0"
        self.client = self._client_for(self.base, headers=headers)

    def send(self, method: str, path: str, body: object) -> Answer:
        """Sends one write exactly once; the answer, whatever it is, or a `TransportError`."""
        answer = self.client.send(method, path, json=body, retry=Retry.NEVER)
        ident = request_id(answer) or "-"
        LOG.info("%s %s: %d, request id %s", method, path, answer.status, ident)
        return answer

    def get(
        self,
        collection: Collection,
        *,
        path: str | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        may_lack: bool = False,
    ) -> Answer:
        """Reads `collection` (or `path`, something inside it), repeating as reads may be.

        With `may_lack` the answer may also be ConnectWise's own 404, which has a code. Any other
        refusal is a `PsaError`.
        """
        path = path or collection.path
        with self.reading(collection.noun):
            answer = self.client.send("GET", path, params=params, headers=headers, retry=Retry.READ)
        if ident := request_id(answer):
            LOG.debug("GET %s: request id %s", path, ident)
        if answer.status == HTTPStatus.OK:
            return answer
        refusal = read_refusal(answer)
        if may_lack and answer.status == HTTPStatus.NOT_FOUND and refusal.code:
            return answer
        raise self._refused(collection, refusal)

    def rows(self, collection: Collection, among: Among | None = None) -> list[Row]:
        """A whole list, or all its records that `among` asks for (one chunk), each id once.

        `PsaError` if it did not arrive whole, or is the answer to another question.
        """
        rows: dict[int, Row] = {}
        place: dict[str, str] = {}
        pages = size = 0
        while True:
            params = _query(collection, among) | place
            answer = self.get(collection, params=params, headers=_FORWARD_ONLY)
            page = self._records(collection, answer, among)
            last = max(rows, default=0)
            fresh = {key: row for key, row in page if key not in rows}
            rows |= fresh
            pages, size = pages + 1, size + len(answer.body)
            wrong = self.client.limits.beyond(len(rows), pages, size)
            if page and (not fresh or min(fresh) <= last):
                wrong = f"asked for the records after id {last}, ConnectWise sent others"
            if wrong:
                raise PsaError(
                    f"The {collection.noun} of psa.{self.name} did not arrive whole: {wrong}. None"
                    " of them was used.",
                    remedy="Run kisi again; if it keeps happening, something between kisi and"
                    " ConnectWise drops the header `pagination-type` or the parameter `pageId`, or"
                    " makes up pages: see in ConnectWise how many there are.",
                )
            following = _NEXT.search(answer.headers.get("Link", ""))
            has_all = among is not None and among.field == "id" and len(rows) == len(among.ids)
            is_linked = "Link" in answer.headers
            is_last = is_linked and not following and len(page) < PAGE_SIZE
            if not page or has_all or is_last:
                return list(rows.values())
            # A server that was not told to read `pageId` counts pages, and the other way round.
            numbers = _page_number(following[1] if following else "")
            place = {"pageId": str(max(rows))} | (
                numbers if is_linked else {"page": f"{pages + 1}"}
            )

    def rows_among(self, collection: Collection, field: str, ids: Iterable[int]) -> Iterator[Row]:
        """Those records of a list that have one of `ids` in `field`."""
        for chunk in self.chunks(collection, field, ids):
            yield from self.rows(collection, chunk)

    def record(self, collection: Collection, number: int) -> Row | None:
        """One record by its id; None only where ConnectWise itself says that there is none."""
        path, params = f"{collection.path}/{number}", {"fields": collection.fields}
        answer = self.get(collection, path=path, params=params, may_lack=True)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        ((_, row),) = self._records(collection, answer, Among("id", (number,)), single=True)
        return row

    def chunks(self, collection: Collection, field: str, ids: Iterable[int]) -> Iterator[Among]:
        """Conditions on `field` for `ids`, in as few parts as addresses of a safe length allow."""
        left = sorted(ids)
        longest = LONGEST_URL - len(f"{self.base}{collection.path}?")
        while left:
            chunk = Among(field, tuple(left[:CHUNK]))
            while len(chunk.ids) > 1 and len(urlencode(_query(collection, chunk))) > longest:
                chunk = Among(field, chunk.ids[:-1])
            yield chunk
            left = left[len(chunk.ids) :]

    def _records(
        self, collection: Collection, answer: Answer, among: Among | None, *, single: bool = False
    ) -> list[tuple[int, Row]]:
        with self.reading(collection.noun):
            body = answer.json()
            page = [body] if single else body
            if not isinstance(page, list) or not all(isinstance(row, dict) for row in page):
                raise ValueError("it is not a list of records")
            records = [(whole(row, "id"), row) for row in page]
            if among:
                for _, row in records:
                    among.prove(row)
        return records

    def _refused(self, collection: Collection, refusal: Refusal) -> PsaError:
        is_login = refusal.of_login and not refusal.of_permission
        said = f"kisi could not read the {collection.noun} of psa.{self.name}"
        said += ": the login was refused. " if is_login else ". "
        said += f"ConnectWise answered {refusal.sentence}"
        kind: type[PsaError] = AccessRefused
        if refusal.of_permission:
            remedy = f"Give the security role of the API member the right {collection.right}."
        elif is_login:
            remedy = login_remedy(self.name, refusal)
        elif refusal.status == HTTPStatus.NOT_FOUND and not collection.nested:
            said += " ConnectWise's cloud answers so also where the login is wrong."
            remedy = f"Check url, company, public_key and private_key of [psa.{self.name}]."
        else:
            kind, remedy = PsaError, f"Run kisi again later.{refusal.support}"
            if refusal.status == HTTPStatus.NOT_FOUND:
                remedy = "Check that the agreement still exists in ConnectWise."
            elif HTTPStatus.MULTIPLE_CHOICES <= refusal.status < HTTPStatus.BAD_REQUEST:
                said += " kisi follows no redirection, so that keys never reach another host."
                remedy = f"Check url of [psa.{self.name}]: it must be the API's own host."
        error = kind(said, remedy=remedy)
        error.guard = "login" if is_login else ""
        return error


def _query(collection: Collection, among: Among | None) -> dict[str, str]:
    named = {"conditions": str(among)} if among else {}
    return {**named, "fields": collection.fields, "pageSize": str(PAGE_SIZE)}


def _page_number(following: str) -> dict[str, str]:
    """The parameter for the next page, where its address `following` counts pages; else none."""
    # Of the address only the number is used: kisi goes to no other host or path than its own.
    query = parse_qs(urlsplit(following).query)
    counts = {name.lower(): values[-1] for name, values in query.items()}
    number = "" if "pageid" in counts else counts.get("page", "")
    return {"page": number} if number.isdecimal() else {}


# --- what ConnectWise says when it refuses --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not the success that was asked for."""

    status: int
    code: str
    """ConnectWise's own code (`InvalidObject`, `Security`, ...); empty if there is none."""
    message: str
    """All that the body says, on one line; may be empty."""
    request_id: str

    @property
    def of_login(self) -> bool:
        """Whether it refuses our credentials (or our host), so that nothing else can succeed.

        A 403 that speaks of a permission concerns one kind of action or record; any other 403
        (`SSL is required.`, a missing or disabled clientId, a firewall) concerns every request.
        """
        if self.status == HTTPStatus.UNAUTHORIZED:
            return True
        words = {self.code.lower(), self.message.lower()}
        return bool(words & _LOGIN_CODES) or (
            self.status == HTTPStatus.FORBIDDEN and not self.of_permission
        )

    @property
    def of_permission(self) -> bool:
        """Whether the security role of the API member lacks a right."""
        return self.status == HTTPStatus.FORBIDDEN and "permission" in self.message.lower()

    @property
    def of_invoiced_period(self) -> bool:
        """Whether an effective date was refused because its period is invoiced already.

        ConnectWise has no code for it, only a sentence: `Since this period has already been
        invoiced there will not be an invoice generated for additional products ...`.
        """
        return "already been invoiced" in self.message.lower()

    @property
    def sentence(self) -> str:
        """The end of a sentence: `400 InvalidObject: addition object is invalid: ....`."""
        # Cloudflare's own statuses (520 to 526) have no phrase.
        code = self.code if REDACTOR.quotes else ""
        spelled = f"{self.status} {code or responses.get(self.status, '')}".rstrip()
        if said := remote_words(self.message, len(self.message)):
            spelled += f": {said if len(said) <= _LONGEST else said[: _LONGEST - 3] + '...'}"
        return spelled if spelled.endswith((".", "!", "?")) else spelled + "."

    @property
    def support(self) -> str:
        """Where ConnectWise's support can look the request up; empty if it named no id."""
        return f" ConnectWise's request id: {self.request_id}." if self.request_id else ""


def read_refusal(answer: Answer) -> Refusal:
    """Reads any answer as a refusal; never fails, whatever the body is."""
    code, message = "", answer.opening()
    try:
        body = answer.json()
    except BadAnswer:
        if "<" in message:
            title = _TITLE.search(message)
            message = f"a web page, {title[1].strip()!r}" if title else "a web page"
    else:
        if isinstance(body, dict):
            code, message = str(body.get("code") or body.get("error") or ""), _from_body(body)
        elif not body:
            message = ""
    said = " ".join(REDACTOR.redact(message).split())
    return Refusal(answer.status, remote_text(code, 60), said, request_id(answer))


def request_id(answer: Answer) -> str:
    """ConnectWise's id of the request (`x-cw-request-id`), safe for a log line; may be empty."""
    if (said := answer.header("x-cw-request-id", 200)) == NOT_QUOTED:
        return ""
    # without what stood between them, letters could be a secret again
    return remote_text(_REQUEST_ID.sub("", said), 64)


def login_remedy(name: str, refusal: Refusal) -> str:
    """What to do when ConnectWise refused the login or the host."""
    if "ssl" in refusal.message.lower():
        return f"Put the API's host into url of [psa.{name}]: https://api-..."
    if refusal.status == HTTPStatus.FORBIDDEN:
        return (
            f"Check client_id of [psa.{name}]: it must be an active clientId of your own from"
            " developer.connectwise.com. If it is, a firewall in front of ConnectWise refused kisi."
        )
    return (
        f"Check company, public_key, private_key and client_id of [psa.{name}], and that the API"
        " member is active."
    )


def _from_body(body: dict[str, Any]) -> str:
    """The message, and each entry of `errors` with its field unless the entry names it."""
    details, errors = [], body.get("errors")
    for one in errors if isinstance(errors, list) else ():
        if isinstance(one, dict):
            said, field = str(one.get("message") or one.get("code") or ""), one.get("field")
            details.append(f"{said} ({field})" if field and str(field) not in said else said)
    message = str(body.get("message") or "").rstrip(" :")
    return ": ".join(filter(None, (message, "; ".join(details))))
