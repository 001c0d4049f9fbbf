"""A simulated Autotask: contracts, their services, the units of each period, and adjustments.

It behaves as the vendor's help and callers of the real one say: queries by `POST` in pages of at
most 500, adjustments that are deltas and answer `{"itemId": null}`, one adjustment of a service on
one day, refusals as `{"errors": [...]}` with status 500, a request limit that all share, and at
most three requests at once for an endpoint. An adjustment of a service that the contract lacks
makes it. Switches are attributes of `Autotask`; what goes wrong for single requests is set with
`Faults`, on `METHOD /path` or `METHOD /path@CONTRACT`.
"""

from __future__ import annotations

import re
import threading
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any

from kisi.sandbox import configuration
from kisi.sandbox.configuration import Part, literal, table
from kisi.sandbox.faults import Vendor
from kisi.sandbox.http import Exchange, Server

_ROOT = "/atservicesrest"
ADJUSTMENTS = "ContractServiceAdjustments"
"""The one entity that a write adds to."""
_PAGE = 500
_AT_ONCE = 3
_RECURRING = 7

Record = dict[str, Any]


class Refusal(Exception):
    """Autotask answers with `{"errors": [...]}` and status 500."""


@dataclass(slots=True)
class Period:
    """The units of a contract's service in one billing period."""

    id: int
    start: date
    end: date
    units: int
    posted: date | None = None
    """When its invoice was approved and posted."""


@dataclass(slots=True)
class Contract:
    """A contract of a company, billed by the month."""

    id: int
    company: int
    name: str
    starts: date
    ends: date
    kind: int = _RECURRING
    status: int = 1

    def record(self) -> Record:
        """As the API shows it."""
        return {
            "id": self.id,
            "companyID": self.company,
            "contractName": self.name,
            "contractType": self.kind,
            "status": self.status,
            "startDate": _midnight(self.starts),
            "endDate": _midnight(self.ends),
        }


@dataclass(slots=True)
class ContractService:
    """A service on a contract; its quantity is in its periods."""

    id: int
    contract: int
    service: int
    price: float
    periods: list[Period] = field(default_factory=list)
    adjusted: set[date] = field(default_factory=set)

    def record(self) -> Record:
        """As the API shows it: without a quantity."""
        return {
            "id": self.id,
            "contractID": self.contract,
            "serviceID": self.service,
            "unitPrice": self.price,
            "invoiceDescription": None,
        }

    def units(self, day: date) -> int:
        """How many units it bills on a day."""
        return next((one.units for one in self.periods if one.start <= day <= one.end), 0)


class Autotask(Vendor):
    """A simulated Autotask and ways to fill it.

    Attributes:
        login: User, secret and tracking identifier of the API user.
        may_write: Whether the API user may add adjustments.
        threshold: Requests an hour; `used` have been sent, by all integrations.
        page: The largest page.
        one_a_day: Whether a second adjustment of a service on one day is refused.
        pascal: Whether names are written as in the specification (`UnitChange`).
        late: So long after an adjustment its units show it.
    """

    def __init__(self, now: Callable[[], datetime] | None = None) -> None:
        super().__init__("autotask", now or (lambda: datetime.now(UTC)))
        self.login = ("kisi@acme.example", "sandbox-at-secret", "SANDBOXTRACKINGID")
        self.may_write = True
        self.threshold, self.used, self.page = 10_000, 0, _PAGE
        self.one_a_day = True
        self.pascal = False
        self.late = timedelta()
        self.companies: dict[int, Record] = {}
        self.contracts: dict[int, Contract] = {}
        self.services: dict[int, Record] = {}
        self.lines: dict[int, ContractService] = {}
        self.lock = threading.RLock()
        self._at_once: Counter[str] = Counter()
        self._due: list[tuple[datetime, ContractService, date, int]] = []
        self._periods_made = self._services_made = 0

    @property
    def today(self) -> date:
        """The day it is, UTC."""
        return self.now().astimezone(UTC).date()

    # --- ways to fill it ------------------------------------------------------------------------

    def company(self, name: str) -> int:
        """Add a company; returns its id."""
        number = 500 + len(self.companies)
        self.companies[number] = {"id": number, "companyName": name, "isActive": True}
        return number

    def contract(self, company: int, name: str = "Managed Security") -> Contract:
        """Add a contract that began a year ago, with the month, and runs for another year."""
        first = self.today.replace(day=1)
        contract = Contract(
            id=7001 + len(self.contracts),
            company=company,
            name=name,
            starts=first.replace(year=first.year - 1),
            ends=first.replace(year=first.year + 1) - timedelta(days=1),
        )
        self.contracts[contract.id] = contract
        return contract

    def service(self, name: str, price: float = 3.0) -> int:
        """Add a service to the catalogue; returns its id."""
        number = 4001 + len(self.services)
        record = {"id": number, "name": name, "isActive": True, "unitPrice": price}
        self.services[number] = record
        return number

    def add_service(self, contract: Contract, service: int, units: int = 0) -> ContractService:
        """Add a service to a contract, as a person does, with units in all its periods."""
        price = self.services[service]["unitPrice"]
        self._services_made += 1
        line = ContractService(8000 + self._services_made, contract.id, service, price)
        start = contract.starts
        while start <= contract.ends:
            last = monthrange(start.year, start.month)[1]
            end = min(start.replace(day=last), contract.ends)
            self._periods_made += 1
            posted = start if end < self.today else None
            line.periods.append(Period(self._periods_made, start, end, units, posted))
            start = end + timedelta(days=1)
        self.lines[line.id] = line
        return line

    def part(self, server: Server, *, mapping: str = "", effective: str = "period_start") -> Part:
        """What `Sandbox.add` takes: the section `[psa.at]` and its secrets."""
        config = f"""\
[psa.at]                              # Autotask; plain http is allowed on loopback alone
kind = "autotask"
user = "file:secrets/at-user"
secret = "file:secrets/at-secret"
integration_code = "file:secrets/at-integration-code"
zone = "{server.url}{_ROOT}"
effective = {literal(effective)}
"""
        names = ("user", "secret", "integration-code")
        secrets = {f"at-{name}": value for name, value in zip(names, self.login, strict=True)}
        return Part("autotask", server, config, secrets, mapping=mapping)

    # --- answers --------------------------------------------------------------------------------

    def labels(self, exchange: Exchange) -> Sequence[str]:
        """`METHOD /path`, and for what concerns one contract `METHOD /path@CONTRACT` too."""
        label = super().labels(exchange)[0]
        found = re.search(rb'"contractID", "value": ([0-9]+)', exchange.body)
        return (label, f"{label}@{found[1].decode()}") if found else (label,)

    def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        endpoint = exchange.path.rpartition("/query")[0] or exchange.path
        self._at_once[endpoint] += 1
        try:
            with self.lock:
                self._settle_due()
                status, content = self._answer(exchange, endpoint)
        except Refusal as refusal:
            status, content = HTTPStatus.INTERNAL_SERVER_ERROR, {"errors": [str(refusal)]}
        finally:
            self._at_once[endpoint] -= 1
        exchange.respond(status, _pascal(content) if self.pascal else content)

    def _answer(self, exchange: Exchange, endpoint: str) -> tuple[HTTPStatus, object]:
        path = exchange.path.removeprefix(f"{_ROOT}/v1.0/")
        if path == "zoneInformation":
            return HTTPStatus.OK, self._zone(exchange)
        names = ("UserName", "Secret", "ApiIntegrationCode")
        if tuple(exchange.headers.get(name) for name in names) != self.login:
            return HTTPStatus.UNAUTHORIZED, b""
        if self.used >= self.threshold:
            return HTTPStatus.TOO_MANY_REQUESTS, {"errors": ["The request threshold is exceeded."]}
        self.used += 1
        if self._at_once[endpoint] > _AT_ONCE:
            raise Refusal("Thread Threshold Exceeded (Itgenatr005).")
        content = self._content(exchange, path)
        return (HTTPStatus.NOT_FOUND, b"") if content is None else (HTTPStatus.OK, content)

    def _content(self, exchange: Exchange, path: str) -> Record | None:
        if (exchange.method, path) == ("GET", "ThresholdInformation"):
            return {
                "externalRequestThreshold": self.threshold,
                "requestThresholdTimeframe": 60,
                "currentTimeframeRequestCount": self.used,
            }
        if (exchange.method, path) == ("POST", ADJUSTMENTS):
            self._adjust(exchange.json())
            return {"itemId": None}
        entity, query, rest = path.partition("/query")
        records = self._records(entity)
        if not query or exchange.method != "POST" or rest not in {"", "/next"} or records is None:
            return None
        return self._query(exchange, entity, records)

    def _zone(self, exchange: Exchange) -> Record:
        if exchange.query.get("user") != self.login[0]:
            raise Refusal("Zone information could not be determined.")
        url = f"{exchange.scheme}://{exchange.headers.get('Host')}{_ROOT}/"
        return {"zoneName": "Sandbox", "url": url, "webUrl": url, "ci": 1}

    def _records(self, entity: str) -> Iterable[Record] | None:
        units = (
            {
                "id": period.id,
                "contractID": line.contract,
                "contractServiceID": line.id,
                "serviceID": line.service,
                "startDate": _midnight(period.start),
                "endDate": _midnight(period.end),
                "units": period.units,
                "approveAndPostDate": period.posted and _midnight(period.posted),
            }
            for line in self.lines.values()
            for period in line.periods
        )
        of_entity: dict[str, Iterable[Record]] = {
            "Companies": self.companies.values(),
            "Contracts": (one.record() for one in self.contracts.values()),
            "Services": self.services.values(),
            "ContractServices": (one.record() for one in self.lines.values()),
            "ContractServiceUnits": units,
        }
        return of_entity.get(entity)

    def _query(self, exchange: Exchange, entity: str, records: Iterable[Record]) -> Record:
        body = exchange.json()
        filters = body.get("Filter") or []
        if not filters:
            raise Refusal("The query has no filter.")
        found = [one for one in records if all(_holds(each, one) for each in filters)]
        skip = int(exchange.query.get("skip", 0))
        size = min(int(body.get("MaxRecords", _PAGE)), self.page)
        page, fields = found[skip : skip + size], body.get("IncludeFields")
        host = f"{exchange.scheme}://{exchange.headers.get('Host')}"
        following = f"{host}{_ROOT}/v1.0/{entity}/query/next?skip={skip + size}"
        return {
            "items": [
                {name: value for name, value in one.items() if not fields or name in fields}
                for one in page
            ],
            "pageDetails": {
                "count": len(page),
                "requestCount": size,
                "prevPageUrl": None,
                "nextPageUrl": following if skip + size < len(found) else None,
            },
        }

    def _adjust(self, body: Mapping[str, Any]) -> None:
        if not self.may_write:
            raise Refusal("The logged in Resource does not have the adequate permissions.")
        day = date.fromisoformat(str(body["effectiveDate"])[:10])
        line = self._line(body)
        contract = self.contracts[line.contract]
        if contract.kind != _RECURRING:
            raise Refusal("The contract is not a Recurring Service contract.")
        if not contract.starts <= day <= contract.ends:
            raise Refusal(
                "ContractServiceAdjustment effectiveDate must be between the start date and end "
                "date of the Contract referenced by contractID."
            )
        concerned = [period for period in line.periods if period.end >= day]
        if any(period.posted for period in concerned):
            raise Refusal("The date is in an already approved and posted contract period.")
        if self.one_a_day and day in line.adjusted:
            raise Refusal("Attempt to insert duplicate data into contract_service_period.")
        change = int(body["unitChange"])
        if any(period.units + change < 0 for period in concerned):
            raise Refusal("The units of a service must not become negative.")
        line.adjusted.add(day)
        self._due.append((self.now() + self.late, line, day, change))
        self._settle_due()

    def _line(self, body: Mapping[str, Any]) -> ContractService:
        if line := self.lines.get(body.get("contractServiceID", 0)):
            return line
        contract = self.contracts.get(body.get("contractID", 0))
        service = body.get("serviceID", 0)
        if contract is None or service not in self.services:
            raise Refusal("The contract or the service does not exist.")
        of_contract = (one for one in self.lines.values() if one.contract == contract.id)
        known = next((one for one in of_contract if one.service == service), None)
        return known or self.add_service(contract, service)

    def _settle_due(self) -> None:
        now = self.now()
        for due in [one for one in self._due if one[0] <= now]:
            self._due.remove(due)
            _, line, day, change = due
            for period in line.periods:
                if period.end >= day:
                    period.units += change


def _pascal(content: object) -> object:
    if isinstance(content, list):
        return [_pascal(one) for one in content]
    if not isinstance(content, dict):
        return content
    return {name[:1].upper() + name[1:]: _pascal(value) for name, value in content.items()}


def _midnight(day: date) -> str:
    return f"{day}T00:00:00Z"


def _holds(condition: Mapping[str, Any], record: Record) -> bool:
    """Whether one condition of a query holds for a record."""
    name, asked = str(condition.get("field", "")), condition.get("value")
    known = {field.lower(): value for field, value in record.items()}
    if name.lower() not in known:
        raise Refusal(f"Unable to find {name} in the entity.")
    value = known[name.lower()]
    if isinstance(value, str) and value.endswith("T00:00:00Z"):
        value = value[:10]
    tests: dict[object, Callable[[], bool]] = {
        "eq": lambda: value == asked,
        "in": lambda: value in (asked or ()),
        "gt": lambda: value is not None and value > asked,
        "gte": lambda: value is not None and value >= asked,
        "lt": lambda: value is not None and value < asked,
        "exist": lambda: value is not None,
    }
    test = tests.get(condition.get("op"))
    if test is None:
        raise Refusal("The operator is not known.")
    return test()


def product_row(application: str, **services: int) -> str:
    """A row of `mapping.toml`: an application that is billed by `all=`, or by category."""
    return table("[[product]]", {"application": application, "psa": "at", **services})


def company_row(name: str, tenants: Sequence[str], contract: Contract) -> str:
    """A row of `mapping.toml`: a client that is billed on a contract of Autotask."""
    return configuration.company_row(
        name, tenants, psa="at", company=contract.company, agreement=contract.id
    )
