"""Autotask as a `kisi.psa.Psa`: what is asked of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from functools import partial

from kisi.errors import ConfigError, KisiError, PsaError
from kisi.model import Agreement, AgreementRef, Finding, Hold, Level, Line, PlannedLine, WriteResult
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.autotask import records
from kisi.psa.autotask.records import Service, as_id
from kisi.psa.autotask.settings import AutotaskSettings
from kisi.psa.autotask.wire import (
    COMPANIES,
    CONTRACT_SERVICES,
    CONTRACTS,
    SERVICES,
    UNITS,
    Filter,
    Wire,
)
from kisi.psa.autotask.write import Writer
from kisi.transport import Client, Clock, Limits, clock_finding


def open_psa(
    name: str,
    settings: AutotaskSettings,
    secrets: Mapping[str, str],
    *,
    clock: Clock,
    limits: Limits,
    **_unused: object,
) -> Autotask:
    """The Autotask of `[psa.NAME]`; `ConfigError` if a secret cannot be part of a request."""
    for key, value in secrets.items():
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(
                f"[psa.{name}] {key} holds characters that no Autotask login has.",
                remedy="Copy it from Autotask again.",
            )
    headers = {
        "UserName": secrets["user"],
        "Secret": secrets["secret"],
        "ApiIntegrationCode": secrets["integration_code"],
    }

    def connect(host: str, headers: Mapping[str, str]) -> Client:
        label = f"Autotask (psa.{name})"
        return Client(host, headers=headers, limits=limits, clock=clock, label=label)

    zone = settings.zone or ""
    wire = Wire(name, secrets["user"], zone, connect=connect, headers=headers, clock=clock)
    return Autotask(wire, settings, clock)


class Autotask:
    """One Autotask database. Safe to use from several threads."""

    accounts_word = "company"
    if_others_change = ""

    def __init__(self, wire: Wire, settings: AutotaskSettings, clock: Clock) -> None:
        self.name = wire.name
        self.workers = settings.workers
        self._wire = wire
        self._settings = settings
        self._clock = clock
        self._today = clock.now().date()
        """In the billing time zone, once a run has named it."""
        self._writer = Writer(wire, settings.effective, self._services)

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of Autotask's."""
        return self._wire.client.skew if self._wire.client else None

    def withheld(self) -> Hold | None:
        """None: there is no report-only mode here."""
        return None

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        """One request for each 500 contracts."""
        self._today = today
        ids = _ids(ref.agreement for ref in refs)
        rows = {row["id"]: row for row in self._wire.query(CONTRACTS, dict, ids)}
        return {ref: self._judged(ref, rows.get(as_id(ref.agreement)), today) for ref in refs}

    def _judged(
        self, ref: AgreementRef, row: records.Row | None, today: date
    ) -> Agreement | PsaError:
        read = partial(records.read_contract, ref, today=today, active=self._settings.active_status)
        try:
            return self._wire.parse(read, row, CONTRACTS.noun)
        except PsaError as error:
            return error

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        """The Recurring Service contracts of these companies that run today."""
        found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        mine = _ids(companies, "companyID")
        for row in self._wire.query(CONTRACTS, dict, mine, _RECURRING):
            company = str(row["companyid"])
            agreement = self._judged(AgreementRef(self.name, company, str(row["id"])), row, today)
            if isinstance(agreement, PsaError):
                raise agreement
            if not agreement.gone:
                found[company] += (agreement,)
        return found

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """The services of a contract; two requests, or three where periods are missing.

        One without units is like no line: it is empty in the list of all, and only there.
        """
        contract = as_id(ref.agreement)
        if contract is None:
            raise PsaError(f"{ref.agreement!r} is not a contract id of Autotask.")
        asked = () if products is None else (_ids(products, "serviceID"),)
        found = self._lines(ref, self._services(contract, *asked))
        return found if products is None else tuple(line for line in found if not line.empty)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One service of a contract, asked for by its id."""
        contract, number = as_id(ref.agreement), as_id(line_id)
        if contract is None or number is None:
            return None
        found = self._lines(ref, self._services(contract, Filter("eq", "id", number)))
        return found[0] if found and not found[0].empty else None

    def _lines(self, ref: AgreementRef, services: Iterable[Service]) -> tuple[Line, ...]:
        effective = self._settings.effective
        return tuple(records.service_line(x, ref, self._today, effective) for x in services)

    def _services(self, contract: int, *asked: Filter) -> tuple[Service, ...]:
        """Services of a contract with their periods from today on."""
        of_contract = Filter("eq", "contractID", contract)
        services = self._wire.query(CONTRACT_SERVICES, records.read_service, *asked, of_contract)
        if not services:
            return ()
        today = self._today.isoformat()
        ids = {one.id for one in services}
        mine = Filter("in", "contractServiceID", [*ids])
        which = (mine, of_contract) if asked else (of_contract,)
        rows = self._wire.query(UNITS, dict, *which, Filter("gte", "endDate", today))
        over = ids - {row["contractserviceid"] for row in rows}
        if over:
            before = (Filter("lt", "endDate", today), Filter("gt", "units", 0))
            rows += self._wire.query(UNITS, dict, mine._replace(value=[*over]), *before)
        read = partial(records.with_periods, services, today=self._today)
        return self._wire.parse(read, rows, UNITS.noun)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named services of the catalogue; one request for each 500."""
        items = self._wire.query(SERVICES, records.listed_service, _ids(ids))
        return {item.id: item for item in items}

    def write(self, line: PlannedLine, _agreement: Agreement, today: date) -> WriteResult:
        """Sends one adjustment (`POST ContractServiceAdjustments`)."""
        self._today = today
        return self._writer.write(line, today)

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company."""
        return tuple(self._wire.query(COMPANIES, records.listed_company, _ANY))

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every Recurring Service contract; others have no units."""
        today, active = self._today, self._settings.active_status
        read = partial(records.listed_contract, today=today, active=active)
        return tuple(self._wire.query(CONTRACTS, read, _RECURRING))

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every service of the catalogue."""
        return tuple(self._wire.query(SERVICES, records.listed_service, _ANY))

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Zone, login, clock, the shared limit, and the rights to read. Writes nothing."""
        try:
            share, said = self._wire.usage()
        except PsaError as error:
            return (Finding.of(error),)
        name = f"psa.{self.name}"
        near = Level.WARNING if share >= _NEAR else Level.OK
        findings = [
            Finding(Level.OK, f"{name} accepted the login and the tracking identifier."),
            clock_finding(self.clock_skew(), name, "an adjustment could count from the wrong day"),
            Finding(near, f"{name}: {said} were used, by all integrations together."),
        ]
        for entity in (CONTRACTS, CONTRACT_SERVICES, UNITS, SERVICES, COMPANIES):
            try:
                self._wire.query(entity, dict, Filter("eq", "id", as_id(agreement or "") or 1))
            except PsaError as error:
                findings.append(Finding.of(error))
            else:
                findings.append(
                    Finding(Level.OK, f"The API user may read {entity.noun} of {name}.")
                )
        said = "The right to add contract service adjustments cannot be seen without adding one."
        return (*findings, Finding(Level.NOTE, f"{name}: {said}"))

    def close(self) -> None:
        """Closes the connections."""
        if self._wire.client is not None:
            self._wire.client.close()


_NEAR = 0.75
"""From which share of the request limit on it is worth a warning."""


_ANY = Filter("exist", "id")
_RECURRING = Filter("eq", "contractType", records.RECURRING)


def _ids(texts: Iterable[str], field: str = "id") -> Filter:
    """The condition that a record has one of these ids; what cannot be an id is none."""
    return Filter("in", field, [n for one in set(texts) if (n := as_id(one)) is not None])
