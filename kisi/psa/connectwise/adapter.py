"""ConnectWise Manage as a `kisi.psa.Psa`: what is asked of it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta

from kisi.errors import AccessRefused, ConfigError, KisiError, PsaError
from kisi.model import (
    Agreement,
    AgreementRef,
    Finding,
    Hold,
    Line,
    NotBillable,
    PlannedLine,
    WriteResult,
)
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.connectwise import records
from kisi.psa.connectwise.checks import check_online
from kisi.psa.connectwise.settings import ConnectWiseSettings
from kisi.psa.connectwise.wire import AGREEMENTS, CATALOG, COMPANIES, Wire, additions
from kisi.psa.connectwise.write import write
from kisi.transport import Client, Clock, Limits


def open_psa(
    name: str,
    settings: ConnectWiseSettings,
    secrets: Mapping[str, str],
    *,
    clock: Clock,
    limits: Limits,
    **_unused: object,
) -> ConnectWise:
    """The ConnectWise of `[psa.NAME]`; `ConfigError` if a secret cannot be part of a request."""
    if not (secrets["client_id"].isascii() and secrets["client_id"].isprintable()):
        raise ConfigError(
            f"[psa.{name}] client_id holds characters that no clientId has.",
            remedy="Copy the clientId from developer.connectwise.com again.",
        )
    if ":" in secrets["public_key"]:
        raise ConfigError(
            f"[psa.{name}] public_key holds a colon, which no public key has.",
            remedy="Copy the API member's public key again.",
        )
    api = f"{settings.url}/{settings.codebase}/apis/3.0"
    login = f"{settings.company}+{secrets['public_key']}:{secrets['private_key']}".encode()
    headers = {
        "Authorization": "Basic " + b64encode(login).decode("ascii"),
        "clientId": secrets["client_id"],
        "Accept": f"application/vnd.connectwise.com+json; version={settings.api_version}",
    }
    label = f"ConnectWise (psa.{name})"
    client = Client(api, headers=headers, limits=limits, clock=clock, label=label)
    return ConnectWise(Wire(client, api, name), settings.workers, clock)


class ConnectWise:
    """One ConnectWise instance. Safe to use from several threads."""

    accounts_word = "company"
    if_others_change = ""

    def __init__(self, wire: Wire, workers: int, clock: Clock) -> None:
        self.name = wire.name
        self.workers = workers
        self._wire = wire
        self._clock = clock

    def clock_skew(self) -> timedelta | None:
        """How far this machine's clock is ahead of ConnectWise's."""
        return self._wire.client.skew

    def withheld(self) -> Hold | None:
        """None: there is no report-only mode here."""
        return None

    def agreements(
        self, refs: Collection[AgreementRef], today: date
    ) -> Mapping[AgreementRef, Agreement | KisiError]:
        """One request for about 150 of them, and one for about 150 parents that invoice them.

        A chunk that cannot be read is that error for each of its refs; none could be, or
        `AccessRefused`, is raised.
        """
        found: dict[AgreementRef, Agreement | KisiError] = {}
        wanted: dict[int, list[AgreementRef]] = {}
        for ref in refs:
            if number := records.as_id(ref.agreement):
                wanted.setdefault(number, []).append(ref)
            else:
                found[ref] = records.validate_agreement(ref, None, today)
        rows, failed = self._agreement_rows(wanted)
        if failed and len(failed) == len(wanted):
            raise next(iter(failed.values()))
        invoiced = {number: records.invoiced_by(row) for number, row in rows.items()}
        asked = {number: parent for number, parent in invoiced.items() if parent}
        parents, unread = self._agreement_rows(set(asked.values()) - rows.keys())
        for number, of_it in wanted.items():
            row, parent = rows.get(number), asked.get(number, 0)
            error = failed.get(number) or unread.get(parent)
            above = rows.get(parent) or parents.get(parent)
            for ref in of_it:
                found[ref] = error or records.validate_agreement(ref, row, today, above)
        return found

    def _agreement_rows(
        self, numbers: Collection[int]
    ) -> tuple[dict[int, records.Row], dict[int, PsaError]]:
        """Agreements by id, and why others could not be read."""
        rows: dict[int, records.Row] = {}
        failed: dict[int, PsaError] = {}
        for chunk in self._wire.chunks(AGREEMENTS, "id", numbers):
            try:
                rows |= {records.row_id(row): row for row in self._wire.rows(AGREEMENTS, chunk)}
            except AccessRefused:
                raise
            except PsaError as error:
                failed |= dict.fromkeys(chunk.ids, error)
        return rows, failed

    def agreements_of(
        self, companies: Collection[str], today: date
    ) -> Mapping[str, tuple[Agreement, ...]]:
        """As promised; one that cannot be validated is among them, as not_billable: it may bill."""
        numbers = {number: one for one in companies if (number := records.as_id(one)) is not None}
        found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        for row in self._wire.rows_among(AGREEMENTS, "company/id", numbers):
            company = numbers[records.row_id(records.part(row, "company"))]
            ref = AgreementRef(self.name, company, str(records.row_id(row)))
            # Whether it is gone, no parent decides.
            agreement = records.validate_agreement(ref, row, today)
            if isinstance(agreement, PsaError):
                why = NotBillable("agreement", agreement.message, agreement.remedy)
                agreement = Agreement(ref, name=records.name(row, "name"), not_billable=why)
            if not agreement.gone:
                found[company] += (agreement,)
        return found

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additions of one agreement, or those of `products`; one request for each 1,000."""
        place = additions(_number(ref))
        rows: Iterable[records.Row] = (
            self._wire.rows(place)
            if products is None
            else self._wire.rows_among(place, "product/id", _numbers(products))
        )
        return tuple(records.addition_line(row, ref) for row in rows)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One addition, asked for by its id."""
        number = records.as_id(line_id)
        row = None if number is None else self._wire.record(additions(_number(ref)), number)
        return None if row is None else records.addition_line(row, ref)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named catalog items; one request for about 150 of them."""
        items = map(records.listed_product, self._wire.rows_among(CATALOG, "id", _numbers(ids)))
        return {item.id: item for item in items}

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        """Sends one create (`POST`) or one change of a quantity (`PATCH`)."""
        return write(self._wire, line, agreement, today)

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company, those in the recycle bin as inactive."""
        return tuple(map(records.listed_company, self._wire.rows(COMPANIES)))

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement, those that are cancelled or expired as inactive."""
        return tuple(map(records.listed_agreement, self._wire.rows(AGREEMENTS)))

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every catalog item; inactive ones and bundles, which cannot be additions, as inactive."""
        return tuple(map(records.listed_product, self._wire.rows(CATALOG)))

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Login, clock, release and rights."""
        return check_online(self._wire, self._clock, agreement)

    def close(self) -> None:
        """Closes the connections."""
        self._wire.client.close()


def _number(ref: AgreementRef) -> int:
    agreement = records.as_id(ref.agreement)
    if agreement is None:
        raise PsaError(records.no_agreement_id(ref), remedy=f"{records.CORRECT}.")
    return agreement


def _numbers(ids: Collection[str]) -> set[int]:
    return {number for one in ids if (number := records.as_id(one)) is not None}
