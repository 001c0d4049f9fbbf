"""ConnectWise Manage as a `kisi.psa.Psa`: what is asked of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from functools import partial
from http import HTTPStatus

from kisi.errors import AccessRefused, KisiError, PsaError, TransportError
from kisi.model import (
    Agreement,
    AgreementRef,
    Finding,
    Level,
    Line,
    NotBillable,
    PlannedLine,
    WriteResult,
)
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.connectwise import records
from kisi.psa.connectwise.errors import login_remedy, read_refusal
from kisi.psa.connectwise.wire import AGREEMENTS, CATALOG, COMPANIES, Wire, additions
from kisi.psa.connectwise.wire import Collection as Listed
from kisi.psa.connectwise.write import write
from kisi.psa.http import found, transport_remedy
from kisi.psa.interface import Agreements, ByCompany
from kisi.psa.records import LARGEST_ID, Row, as_id, ids_of, name, part, whole
from kisi.transport import Answer

_IF_NO_RIGHT = "Finance > Agreements, Add and Edit = All"
_NO_ADDITION = LARGEST_ID  # no addition has it


class ConnectWise(Wire):
    """One ConnectWise instance."""

    def agreements(self, refs: Collection[AgreementRef], today: date) -> Agreements:
        """One request for about 150 of them, and one for about 150 parents that invoice them.

        A chunk that cannot be read is that error for each of its refs; none could be, or
        `AccessRefused`, is raised.
        """
        judged: dict[AgreementRef, Agreement | KisiError] = {}
        wanted: dict[int, list[AgreementRef]] = {}
        for ref in refs:
            if number := as_id(ref.agreement):
                wanted.setdefault(number, []).append(ref)
            else:
                judged[ref] = records.validate_agreement(ref, None, today)
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
                judged[ref] = error or records.validate_agreement(ref, row, today, above)
        return judged

    def _agreement_rows(
        self, numbers: Collection[int]
    ) -> tuple[dict[int, Row], dict[int, PsaError]]:
        """Agreements by id, and why others could not be read."""
        rows: dict[int, Row] = {}
        failed: dict[int, PsaError] = {}
        for chunk in self.chunks(AGREEMENTS, "id", numbers):
            try:
                rows |= {whole(row, "id"): row for row in self.rows(AGREEMENTS, chunk)}
            except AccessRefused:
                raise
            except PsaError as error:
                failed |= dict.fromkeys(chunk.ids, error)
        return rows, failed

    def agreements_of(self, companies: Collection[str], today: date) -> ByCompany:
        """As promised; one that cannot be validated is among them, as not_billable: it may bill."""
        numbers = {number: one for one in companies if (number := as_id(one)) is not None}
        mapped: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
        for row in self.rows_among(AGREEMENTS, "company/id", numbers):
            company = numbers[whole(part(row, "company"), "id")]
            ref = AgreementRef(self.name, company, str(whole(row, "id")))
            # Whether it is gone, no parent decides.
            agreement = records.validate_agreement(ref, row, today)
            if isinstance(agreement, PsaError):
                why = NotBillable("agreement", agreement.message, agreement.remedy)
                agreement = Agreement(ref, name=name(row, "name"), not_billable=why)
            if not agreement.gone:
                mapped[company] += (agreement,)
        return mapped

    def lines(self, ref: AgreementRef, products: Collection[str] | None = None) -> tuple[Line, ...]:
        """All additions of one agreement, or those of `products`; one request for each 1,000."""
        place = additions(_number(ref))
        rows: Iterable[Row] = (
            self.rows(place)
            if products is None
            else self.rows_among(place, "product/id", ids_of(products))
        )
        return tuple(records.addition_line(row, ref) for row in rows)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One addition, asked for by its id."""
        number = as_id(line_id)
        row = None if number is None else self.record(additions(_number(ref)), number)
        return None if row is None else records.addition_line(row, ref)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named catalog items; one request for about 150 of them."""
        items = map(records.listed_product, self.rows_among(CATALOG, "id", ids_of(ids)))
        return {item.id: item for item in items}

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        """Sends one create (`POST`) or one change of a quantity (`PATCH`)."""
        return write(self, line, agreement, today)

    def all_companies(self) -> tuple[PsaCompany, ...]:
        """Every company, those in the recycle bin as inactive."""
        return tuple(map(records.listed_company, self.rows(COMPANIES)))

    def all_agreements(self) -> tuple[PsaAgreement, ...]:
        """Every agreement, those that are cancelled or expired as inactive."""
        return tuple(map(records.listed_agreement, self.rows(AGREEMENTS)))

    def all_products(self) -> tuple[PsaProduct, ...]:
        """Every catalog item; inactive ones and bundles, which cannot be additions, as inactive."""
        return tuple(map(records.listed_product, self.rows(CATALOG)))

    def check_online(self, agreement: str | None) -> tuple[Finding, ...]:
        """Login, clock, release and rights; the login alone if it is refused. Writes nothing."""
        try:
            answer = self.get(AGREEMENTS, path=f"{AGREEMENTS.path}/count")
        except PsaError as error:
            return (Finding.of(error),)
        return (
            self._login_finding(answer),
            self.clock_finding(),
            self._release_finding(answer),
            found(partial(self._may_read, COMPANIES)),
            found(partial(self._may_read, CATALOG)),
            self._may_write(agreement),
        )

    def _login_finding(self, answer: Answer) -> Finding:
        try:
            count = answer.json()["count"]
        except (TransportError, KeyError, TypeError):
            return Finding(
                Level.PROBLEM,
                f"What answers at url of [{self.label}] is not ConnectWise's API:"
                f" {answer.excerpt()!r}.",
                f"Check url of [{self.label}].",
            )
        if count == 0:
            return Finding(
                Level.PROBLEM,
                f"{self.label} accepted the login, and the API member sees no agreement.",
                f"Give its security role the right {AGREEMENTS.right}.",
            )
        sees = f"{count} agreement{'' if count == 1 else 's'}"
        return Finding(Level.OK, f"{self.label} accepted the login; the API member sees {sees}.")

    def _release_finding(self, answer: Answer) -> Finding:
        release = answer.header("api-current-version", 40)
        if not release:
            return Finding(Level.NOTE, f"{self.label} does not say which release it runs.")
        return Finding(Level.OK, f"{self.label} runs ConnectWise {release}.")

    def _may_read(self, listed: Listed) -> str:
        self.get(listed, params={"fields": "id", "pageSize": "1"})
        return f"The API member may read the {listed.noun} of {self.label}."

    def _may_write(self, agreement: str | None) -> Finding:
        """Sends a PATCH with no operations to an addition that cannot exist: it can change nothing.

        It rests on the assumption, which ConnectWise documents nowhere, that the right is checked
        before the record is looked for: 403 then means that it is missing, 404 that it is there.
        Any other answer proves nothing; the right to create (`Add`) only a real create would prove.
        """
        number = None if agreement is None else as_id(agreement)
        right = f"The right to change additions of {self.label} was not"
        if number is None:
            return Finding(Level.NOTE, f"{right} checked: no agreement is mapped.")
        try:
            answer = self.send("PATCH", f"{additions(number).path}/{_NO_ADDITION}", [])
        except TransportError as error:
            remedy = transport_remedy(self.system, error)
            return Finding(Level.NOTE, f"{right} proven: {error.message}", remedy)
        refusal = read_refusal(answer)
        if refusal.of_permission:
            return Finding(
                Level.PROBLEM,
                f"The API member may not change additions of {self.label}: {refusal.sentence}",
                f"Give its security role the right {_IF_NO_RIGHT}.",
            )
        if refusal.of_login:
            return Finding(
                Level.PROBLEM,
                f"{self.label} lets kisi read and refuses writes: {refusal.sentence}",
                login_remedy(self.name, refusal),
            )
        if refusal.status == HTTPStatus.NOT_FOUND:
            return Finding(Level.OK, f"The API member may change additions of {self.label}.")
        return Finding(
            Level.NOTE,
            f"{right} proven: ConnectWise answered {refusal.status} to a change of an addition"
            " that does not exist.",
            f"See that the API member's security role has the right {_IF_NO_RIGHT}.",
        )


def _number(ref: AgreementRef) -> int:
    agreement = as_id(ref.agreement)
    if agreement is None:
        raise PsaError(records.no_agreement_id(ref), remedy=f"{records.CORRECT}.")
    return agreement
