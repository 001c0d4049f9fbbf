"""Autotask as a `kisi.psa.Psa`: what is asked of it, and how a line is written.

A write is an adjustment by the difference to what is agreed, read just before it. An adjustment is
a delta with a date, cannot be read again, and is answered by `{"itemId": null}`. So the difference
is computed from the row of the very date at which it counts, and an adjustment whose answer was
lost is never sent again by itself: what it did is read, in this run or the next. Source:
`ContractServiceAdjustments` of Autotask's REST API help (https://autotask.net/help/developerhelp).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from decimal import Decimal
from functools import partial
from http import HTTPStatus

from kisi.errors import AccessRefused, PsaError, TransportError
from kisi.model import (
    Agreement,
    AgreementRef,
    Finding,
    Level,
    Line,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.autotask import records
from kisi.psa.autotask.records import Service, effective_dates
from kisi.psa.autotask.wire import (
    COMPANIES,
    CONTRACT_SERVICES,
    CONTRACTS,
    SERVICES,
    UNITS,
    Entity,
    Filter,
    Wire,
    login_remedy,
    refusals,
    sentence,
)
from kisi.psa.http import DEFAULT_WAIT, asked_to_wait, found, not_answered, wrote_nothing
from kisi.psa.interface import Agreements, ByCompany
from kisi.psa.records import Row, as_id, ids_of
from kisi.transport import Answer

_NEAR = 0.75
"""From which share of the request limit on it is worth a warning."""
_ANY = Filter("exist", "id")
_RECURRING = Filter("eq", "contractType", records.RECURRING)
_BUSY = "thread threshold"
_ANOTHER_DAY = ("duplicate data", "approved and posted")
"""Refusals of a day that another day may not meet: it has an adjustment already, or is invoiced."""
_ADVICE = {
    "between the start date and end date": "The contract has ended or was renewed: map the client "
    "to the one that runs.",
    "duplicate data": "Autotask takes one adjustment of a service on one day; the next run tries "
    "again.",
    "approved and posted": "That period is invoiced already; the next run tries the one after.",
    "permission": "Give the API user's security level the right to change contracts.",
    "negative": "Somebody changed the units meanwhile; the next run reads them again.",
}


class Autotask(Wire):
    """One Autotask database."""

    _unclear: frozenset[int] = frozenset()
    """Services for which an adjustment's answer was lost: none is sent after it."""

    def agreements(self, refs: Collection[AgreementRef], today: date) -> Agreements:
        """One request for each 500 contracts."""
        self._today = today
        ids = _ids(ref.agreement for ref in refs)
        rows = {row["id"]: row for row in self.rows(CONTRACTS, ids)}
        return {ref: self._judged(ref, rows.get(as_id(ref.agreement)), today) for ref in refs}

    def _judged(self, ref: AgreementRef, row: Row | None, today: date) -> Agreement | PsaError:
        try:
            with self.reading(CONTRACTS.noun):
                return records.read_contract(ref, row, today, self._settings.active_status)
        except PsaError as error:
            return error

    def agreements_of(self, companies: Collection[str], today: date) -> ByCompany:
        """The Recurring Service contracts of these companies that run today."""
        mapped: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        mine = _ids(companies, "companyID")
        for row in self.rows(CONTRACTS, mine, _RECURRING):
            company = str(row["companyID"])
            agreement = self._judged(AgreementRef(self.name, company, str(row["id"])), row, today)
            if isinstance(agreement, PsaError):
                raise agreement
            if not agreement.gone:
                mapped[company] += (agreement,)
        return mapped

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """The services of a contract; two requests, or three where periods are missing.

        One without units is like no line: it is empty in the list of all, and only there.
        """
        contract = as_id(ref.agreement)
        if contract is None:
            raise PsaError(f"{ref.agreement!r} is not a contract id of Autotask.")
        asked = () if products is None else (_ids(products, "serviceID"),)
        lines = self._lines(ref, self._services(contract, *asked))
        return lines if products is None else tuple(line for line in lines if not line.empty)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One service of a contract, asked for by its id."""
        contract, number = as_id(ref.agreement), as_id(line_id)
        if contract is None or number is None:
            return None
        lines = self._lines(ref, self._services(contract, Filter("eq", "id", number)))
        return lines[0] if lines and not lines[0].empty else None

    def _lines(self, ref: AgreementRef, services: Iterable[Service]) -> tuple[Line, ...]:
        effective = self._settings.effective
        return tuple(records.service_line(x, ref, self._today, effective) for x in services)

    def _services(self, contract: int, *asked: Filter) -> tuple[Service, ...]:
        """Services of a contract with their periods from today on."""
        of_contract = Filter("eq", "contractID", contract)
        services = self.query(CONTRACT_SERVICES, records.read_service, *asked, of_contract)
        if not services:
            return ()
        today = self._today.isoformat()
        ids = {one.id for one in services}
        mine = Filter("in", "contractServiceID", [*ids])
        which = (mine, of_contract) if asked else (of_contract,)
        rows = self.rows(UNITS, *which, Filter("gte", "endDate", today))
        over = ids - {row["contractServiceID"] for row in rows}
        if over:
            before = (Filter("lt", "endDate", today), Filter("gt", "units", 0))
            rows += self.rows(UNITS, mine._replace(value=[*over]), *before)
        with self.reading(UNITS.noun):
            return records.with_periods(services, rows, self._today)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named services of the catalogue; one request for each 500."""
        items = self.query(SERVICES, records.listed_service, _ids(ids))
        return {item.id: item for item in items}

    def write(self, line: PlannedLine, _agreement: Agreement, today: date) -> WriteResult:
        """Sends one adjustment (`POST ContractServiceAdjustments`)."""
        self._today = today
        contract, product = as_id(line.agreement), as_id(line.product)
        if contract is None or product is None:
            what = f"contract {line.agreement!r} or service {line.product!r}"
            return _refused(f"Autotask cannot know {what}: its ids are whole numbers")
        try:
            found = self._services(contract, Filter("eq", "serviceID", product))
        except PsaError as error:
            denied = isinstance(error, AccessRefused)
            status = WriteStatus.REJECTED if denied else WriteStatus.NOT_SENT
            said = f"{error.message} Nothing was sent. {error.remedy}"
            return WriteResult(status, said.rstrip(), denied=denied)
        mine = [one for one in found if line.line_id in (None, str(one.id))]
        if len(mine) == 1:
            return self._bring(mine[0], contract, line, today)
        if line.line_id is not None:
            return WriteResult(WriteStatus.STALE, "The service is not on the contract any more.")
        if mine:
            return _refused(f"Service {product} is on contract {contract} {len(mine)} times")
        return _refused(
            f"Service {product} is not on contract {contract}, and an adjustment must not make it: "
            "add it to the contract in Autotask, with 0 units and its price"
        )

    def _bring(
        self, service: Service, contract: int, line: PlannedLine, today: date
    ) -> WriteResult:
        agreed = service.agreed(today, self._settings.effective)
        quantity, ident = Decimal(line.after), str(service.id)
        if agreed == line.after:
            said = "Autotask showed it already; nothing was sent."
            return WriteResult(WriteStatus.APPLIED, said, ident, quantity)
        if agreed != (line.before or 0):
            said = f"Autotask shows {agreed} units now, and {line.before or 0} were read before"
            return WriteResult(WriteStatus.STALE, f"Nothing was sent: {said}.")
        if service.id in self._unclear:
            said = "An earlier adjustment's answer was lost; none is sent after it in this run."
            return WriteResult(WriteStatus.UNKNOWN, said, ident)
        days, why = effective_dates(service, line.after, today, self._settings.effective)
        if why:
            return _refused(f"The units stay at {agreed}: {why}")
        for number, day in enumerate(days):
            units = next((one.units for one in service.periods if one.start <= day <= one.end), 0)
            result, other_day = self._adjust(service, contract, line.after - units, day)
            if not other_day or number == len(days) - 1:
                break
        if result.status is WriteStatus.UNKNOWN:
            self._unclear |= {service.id}
        if result.status is not WriteStatus.APPLIED:
            return result
        return WriteResult(WriteStatus.APPLIED, f"It counts from {day} on.", ident, quantity)

    def _adjust(
        self, service: Service, contract: int, change: int, day: date
    ) -> tuple[WriteResult, bool]:
        """Sends one adjustment; says also whether another day may be taken for it."""
        body = {
            "contractID": contract,
            "contractServiceID": service.id,
            "effectiveDate": day.isoformat(),
            "unitChange": change,
        }
        asked = f"kisi asked Autotask to change service {service.service} of contract {contract} "
        asked += f"by {change:+} units from {day} on"
        try:
            answer = self.send("POST", "ContractServiceAdjustments", body)
        except TransportError as error:
            return not_answered(error, f"{asked}: {error.message} {error.remedy}"), False
        except PsaError as error:  # the look at the request limit was refused: it was not sent
            denied = error.guard == "login"
            return WriteResult(WriteStatus.NOT_SENT, error.message, denied=denied), False
        result = _classify(answer, asked, self.name)
        words = " ".join(refusals(answer)).lower()
        return result, result.status is WriteStatus.REJECTED and any(
            one in words for one in _ANOTHER_DAY
        )

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company."""
        return tuple(self.query(COMPANIES, records.listed_company, _ANY))

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every Recurring Service contract; others have no units."""
        today, active = self._today, self._settings.active_status
        read = partial(records.listed_contract, today=today, active=active)
        return tuple(self.query(CONTRACTS, read, _RECURRING))

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every service of the catalogue."""
        return tuple(self.query(SERVICES, records.listed_service, _ANY))

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Zone, login, clock, the shared limit, and the rights to read. Writes nothing."""
        try:
            share, said = self.usage()
        except PsaError as error:
            return (Finding.of(error),)
        near = Level.WARNING if share >= _NEAR else Level.OK
        asked = Filter("eq", "id", as_id(agreement or "") or 1)

        def may_read(entity: Entity) -> str:
            self.rows(entity, asked)
            return f"The API user may read {entity.noun} of {self.label}."

        entities = (CONTRACTS, CONTRACT_SERVICES, UNITS, SERVICES, COMPANIES)
        unseen = "The right to add contract service adjustments cannot be seen without adding one."
        return (
            Finding(Level.OK, f"{self.label} accepted the login and the tracking identifier."),
            self.clock_finding(),
            Finding(near, f"{self.label}: {said} were used, by all integrations together."),
            *(found(partial(may_read, entity)) for entity in entities),
            Finding(Level.NOTE, f"{self.label}: {unseen}"),
        )


def _ids(texts: Iterable[str], field: str = "id") -> Filter:
    """The condition that a record has one of these ids; what cannot be an id is none."""
    return Filter("in", field, [*ids_of(texts)])


def _refused(why: str) -> WriteResult:
    return WriteResult(WriteStatus.REJECTED, f"{why}. Nothing was sent.")


def _classify(answer: Answer, asked: str, name: str) -> WriteResult:
    """What an answer means. A validation error has status 500, too; any other 500 is unclear."""
    errors = refusals(answer)
    words = " ".join(errors).lower()
    said = f"{asked}, and it answered {sentence(answer)}"
    if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES and not errors:
        return WriteResult(WriteStatus.APPLIED)
    wait = asked_to_wait(answer, creates=True)
    if wait is not None or _BUSY in words:
        return WriteResult(WriteStatus.THROTTLED, said, wait=DEFAULT_WAIT if wait is None else wait)
    if answer.status == HTTPStatus.UNAUTHORIZED:
        remedy = login_remedy(name)
        return WriteResult(WriteStatus.REJECTED, f"{said} {remedy}", denied=True)
    advice = next((advice for part, advice in _ADVICE.items() if part in words), "")
    if advice or wrote_nothing(answer.status):
        return WriteResult(WriteStatus.REJECTED, f"{said} {advice}".rstrip())
    return WriteResult(WriteStatus.UNKNOWN, said)
