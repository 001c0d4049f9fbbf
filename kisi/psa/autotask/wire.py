"""Requests to Autotask: the zone, queries in pages, the shared request limit, refusals as errors.

Facts: Autotask's REST API help (https://autotask.net/help/developerhelp), pages on zones, queries
and thresholds. A database takes 10,000 requests an hour, of all integrations together, and three
requests at once for each integration and endpoint. Refusals are `{"errors": [...]}`, often with
status 500.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from kisi.errors import AccessRefused, BadAnswer, ConfigError, PsaError
from kisi.psa.autotask import AutotaskSettings, trusted_zone
from kisi.psa.autotask.records import folded
from kisi.psa.http import HttpPsa
from kisi.psa.records import Row, whole
from kisi.redaction import REDACTOR, remote_words
from kisi.transport import Answer, Retry

LOG = logging.getLogger("kisi.psa.autotask")
Read = TypeVar("Read")


class Entity(NamedTuple):
    """A kind of record: its path, what sentences call its records, and the fields that are read."""

    path: str
    noun: str
    fields: tuple[str, ...]


CONTRACTS = Entity(
    "Contracts",
    "contracts",
    ("id", "companyID", "contractName", "contractType", "status", "startDate", "endDate"),
)
CONTRACT_SERVICES = Entity(
    "ContractServices",
    "services of contracts",
    ("id", "contractID", "serviceID", "unitPrice", "invoiceDescription"),
)
UNITS = Entity(
    "ContractServiceUnits",
    "units of contracts",
    (
        *("id", "contractID", "contractServiceID", "startDate", "endDate", "units"),
        "approveAndPostDate",
    ),
)
SERVICES = Entity("Services", "services", ("id", "name", "isActive", "unitPrice"))
COMPANIES = Entity("Companies", "companies", ("id", "companyName", "isActive"))

ZONES = "https://webservices2.autotask.net"
"""Where Autotask says which zone a user's database is in."""
_PAGE = 500
"""The largest page, and the most values of one condition."""
_MOST_ROWS = 100_000
_LOOK_AFTER = 250
"""Requests after which the shared limit is looked at again."""
_SLOW = ((0.75, 1.0), (0.5, 0.5))
"""From which share of the shared limit on, how many seconds kisi waits before each request."""


class Filter(NamedTuple):
    """A condition of a query: `op` is eq, in, gt, gte, lt or exist."""

    op: str
    field: str
    value: object = None

    def matches(self, row: Row) -> bool:
        """Whether a record can be an answer to it, where ids are asked for."""
        value = row.get(self.field)
        asked = self.value if isinstance(self.value, list) else [self.value]
        return self.op not in {"eq", "in"} or value in asked

    def json(self) -> dict[str, object]:
        """As the API takes it."""
        given = {} if self.value is None else {"value": self.value}
        return {"op": self.op, "field": self.field, **given}


class Wire(HttpPsa):
    """The requests to one Autotask database. Nothing is sent before the first question.

    `ConfigError` if a secret cannot be part of a request.
    """

    system = "Autotask"
    if_unusable = "check zone of [{}], and correct the record in Autotask"
    if_skewed = "an adjustment could count from the wrong day"

    _settings: AutotaskSettings
    _root = ""
    _sent = 0
    _pause = 0.0

    def _set_up(self) -> None:
        self.workers = self._settings.workers
        for key, value in self._secrets.items():
            if not (value.isascii() and value.isprintable()):
                raise ConfigError(
                    f"[psa.{self.name}] {key} holds characters that no Autotask login has.",
                    remedy="Copy it from Autotask again.",
                )
        self._today = self._clock.now().date()
        """In the billing time zone, once a run has named it."""
        self._lock = threading.Lock()

    def query(self, entity: Entity, read: Callable[[Row], Read], *filters: Filter) -> list[Read]:
        """As `rows`, each made a value by a reader of `records`."""
        rows = self.rows(entity, *filters)
        with self.reading(entity.noun):
            return list(map(read, rows))

    def rows(self, entity: Entity, *filters: Filter) -> list[Row]:
        """All records for which all `filters` hold, each once; one request for 500 ids.

        `PsaError` if they did not arrive whole, cannot be read, or answer another question.
        """
        first, *others = filters
        if not isinstance(first.value, list):
            return self._rows(entity, filters)
        ids = sorted(first.value)
        parts = [ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)]
        of_parts = (self._rows(entity, (first._replace(value=x), *others)) for x in parts)
        return [row for part in of_parts for row in part]

    def _rows(self, entity: Entity, filters: Collection[Filter]) -> list[Row]:
        body = {
            "MaxRecords": _PAGE,
            "IncludeFields": list(entity.fields),
            "Filter": [one.json() for one in filters],
        }
        rows: dict[int, Row] = {}
        path = f"{entity.path}/query"
        with self.reading(entity.noun):
            while path:
                answer = self._ask("POST", path, body, entity.noun)
                found = folded(answer.json())
                items, details = found.get("items"), folded(found.get("pageDetails") or {})
                if not isinstance(items, list):
                    raise ValueError("it is not a list of records")  # noqa: TRY004
                page = {whole(row, "id"): row for row in map(folded, items)}
                count = details.get("count", len(items))
                if len(page) != len(items) or count != len(items):
                    raise ValueError(f"it names {count!r} records and holds {len(page)}")
                for key, row in page.items():
                    if not all(one.matches(row) for one in filters):
                        raise ValueError(f"record {key} was not asked for")
                known, path = len(rows), self._following(details.get("nextPageUrl"))
                rows |= page
                if path and (len(rows) == known or len(rows) > _MOST_ROWS):
                    raise ValueError(f"it sent the same ones again, or over {_MOST_ROWS:,}")
        return list(rows.values())

    def _following(self, url: object) -> str:
        """The path of the next page, on this host and no other."""
        if not url:
            return ""
        here, parts = urlsplit(self._root), urlsplit(str(url))
        if (parts.scheme, parts.netloc) != (here.scheme, here.netloc):
            raise ValueError("its next page is on another host")
        return f"/{parts.path.lstrip('/')}?{parts.query}"

    def _ask(self, method: str, path: str, body: object, what: str) -> Answer:
        """The answer to a read; inside `reading`."""
        answer = self.send(method, path, body, Retry.READ)
        if answer.status == HTTPStatus.OK:
            return answer
        said = f"{self.label}: asked for its {what}, Autotask answered {sentence(answer)}"
        if answer.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise PsaError(said, remedy="Run kisi again later.")
        error = AccessRefused(said, remedy=login_remedy(self.name))
        error.guard = "login" if answer.status == HTTPStatus.UNAUTHORIZED else ""
        raise error

    def send(self, method: str, path: str, body: object, retry: Retry = Retry.NEVER) -> Answer:
        """Sends a request, a write exactly once; the answer, whatever it is, or an error."""
        with self._lock:
            if self.client is None:
                self._root = self._settings.zone or self._look_up_zone()
                parts = urlsplit(self._root)
                headers = {
                    "UserName": self._secrets["user"],
                    "Secret": self._secrets["secret"],
                    "ApiIntegrationCode": self._secrets["integration_code"],
                }
                host = f"{parts.scheme}://{parts.netloc}"
                self.client = self._client_for(host, headers=headers)
        self._wait()
        # A path from the root is that of a next page; others are of the API's version.
        full = path if path.startswith("/") else f"{urlsplit(self._root).path}/v1.0/{path}"
        return self.client.send(method, full, json=body, retry=retry)

    def _look_up_zone(self) -> str:
        """Asks, without a secret, where the user's database is."""
        client, user = self._client_for(ZONES), self._secrets["user"]
        path = "/atservicesrest/v1.0/zoneInformation"
        try:
            answer = client.send("GET", path, params={"user": user}, retry=Retry.READ)
            found = folded(answer.json()).get("url") if answer.status == HTTPStatus.OK else None
            return trusted_zone(str(found or ""))
        except (BadAnswer, ValueError) as error:
            raise AccessRefused(
                f"Autotask names no zone for the user of psa.{self.name}. No secret was sent.",
                remedy=f"Check user of [psa.{self.name}], or set zone to the address of your zone, "
                "such as https://webservices2.autotask.net/atservicesrest.",
            ) from error
        finally:
            client.close()

    def _wait(self) -> None:
        """Keeps away from the limit that all integrations of a database share."""
        with self._lock:
            due = self._sent % _LOOK_AFTER == 0
            self._sent += 1
        if due:
            try:
                share, _ = self.usage()
                self._pause = next((pause for at, pause in _SLOW if share >= at), 0.0)
            except PsaError as error:
                if error.guard == "login":
                    raise  # a wrong secret is sent once
                LOG.info("psa.%s: the request limit is not known: %s", self.name, error.message)
        if self._pause:
            self._clock.sleep(self._pause)

    def usage(self) -> tuple[float, str]:
        """Which share of the database's request limit is used, and that in words."""
        noun, names = "thresholds", ("currentTimeframeRequestCount", "externalRequestThreshold")
        with self.reading(noun):
            answer = folded(self._ask("GET", "ThresholdInformation", None, noun).json())
            used, most = (whole(answer, one) for one in names)
        said = f"{used} of the {most} requests that the database takes in an hour"
        return used / max(1, most), said


def login_remedy(name: str) -> str:
    """What to do when Autotask refused the login."""
    return (
        f"Check user, secret and integration_code of [psa.{name}], that the API user is active and "
        "not locked, and that its security level may see contracts, services and companies."
    )


def refusals(answer: Answer) -> list[str]:
    """The sentences of `{"errors": [...]}`; empty if the body is something else."""
    try:
        errors = folded(answer.json()).get("errors")
    except (BadAnswer, ValueError):
        return []
    listed = errors if isinstance(errors, list) else []
    return [" ".join(REDACTOR.redact(str(one)).split()) for one in listed]


def sentence(answer: Answer) -> str:
    """The end of a sentence: the status and what Autotask says."""
    said = remote_words("; ".join(refusals(answer)) or answer.excerpt(200), 300)
    return f"{answer.status}: {said.rstrip('.')}." if said else f"{answer.status}."
