"""ConnectWise Manage as a `kisi.psa.Psa`: what is asked of it, and how a line is written.

ConnectWise refuses an addition that starts before the agreement's billing start or, unless the
agreement prorates, in a period that is invoiced already
(https://support.sync365.app/portal/en/kb/articles/addition-object-is-invalid). A changed quantity
has no date: it holds for the whole period that is not invoiced yet.

ConnectWise has no idempotency key and no version check, and answers some patches that it ignored
with 200. So a write counts only if the answer's record shows it, a refusal only if ConnectWise
cannot have written, and everything else is unknown: `kisi.apply` reads it back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from http import HTTPStatus

from kisi.errors import AccessRefused, BadAnswer, KisiError, PsaError, TransportError
from kisi.model import (
    Agreement,
    AgreementRef,
    Finding,
    Level,
    Line,
    NotBillable,
    PlannedLine,
    WriteResult,
    WriteStatus,
)
from kisi.planning import is_live
from kisi.psa import PsaAgreement, PsaCompany, PsaProduct
from kisi.psa.connectwise import records
from kisi.psa.connectwise.records import addition_line, product_of, quantity_of
from kisi.psa.connectwise.wire import (
    AGREEMENTS,
    CATALOG,
    COMPANIES,
    Among,
    Refusal,
    Wire,
    additions,
    login_remedy,
    read_refusal,
    request_id,
)
from kisi.psa.connectwise.wire import Collection as Listed
from kisi.psa.http import asked_to_wait, found, not_answered, transport_remedy, wrote_nothing
from kisi.psa.interface import Agreements, ByCompany
from kisi.psa.records import LARGEST_ID, Row, as_id, ids_of, name, part, whole
from kisi.redaction import remote_text
from kisi.transport import Answer

_IF_NO_RIGHT = "Finance > Agreements, Add and Edit = All"
_NO_ADDITION = LARGEST_ID  # no addition has it
_STALE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


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
        return tuple(addition_line(row, ref) for row in rows)

    def line(self, ref: AgreementRef, line_id: str) -> Line | None:
        """One addition, asked for by its id."""
        number = as_id(line_id)
        row = None if number is None else self.record(additions(_number(ref)), number)
        return None if row is None else addition_line(row, ref)

    def products(self, ids: Collection[str]) -> Mapping[str, PsaProduct]:
        """The named catalog items; one request for about 150 of them."""
        items = map(records.listed_product, self.rows_among(CATALOG, "id", ids_of(ids)))
        return {item.id: item for item in items}

    def write(self, line: PlannedLine, agreement: Agreement, today: date) -> WriteResult:
        """Sends one create (`POST`) or one change of a quantity (`PATCH`)."""
        if as_id(line.agreement) is None or as_id(line.product) is None:
            return _not_ids(f"agreement {line.agreement!r} or product {line.product!r}")
        if line.line_id is not None:
            if as_id(line.line_id) is None:
                return _not_ids(f"addition {line.line_id!r}")
            return self._send(line)[0]
        # A new addition starts today or, where that is invoiced, with the next invoice.
        first = max(today, agreement.bill_start or today)
        result, is_invoiced = self._send(line, first, f"It is billed from {first} on.")
        if not is_invoiced:
            return result
        later, ends = agreement.next_invoice, agreement.ends
        if later is None or later <= first or (ends is not None and later > ends):
            known = f"is {later}" if later else "is not known"
            known += f", and it ends on {ends}" if later and ends and later > ends else ""
            return replace(
                result,
                message=f"{result.message} The agreement's Next Invoice Date {known}, so there is"
                " no later date to try: let the agreement prorate, or bill the invoiced period by"
                " hand.",
            )
        sentence = (
            f"It is billed from {later} on, the next invoice: the period of {first} is invoiced"
            " already, and the agreement does not prorate."
        )
        obstacle = self._made_already(line, result, today)
        return obstacle or self._send(line, later, sentence)[0]

    def _made_already(
        self, line: PlannedLine, refused: WriteResult, today: date
    ) -> WriteResult | None:
        """Why a refused addition is not sent once more; None: there is none of its product.

        A refusal is no proof: what was carried out all the same must not be made a second time.
        """
        try:
            mine = Among("product/id", (int(line.product),))
            rows = self.rows(additions(int(line.agreement)), mine)
            made = [one.id for row in rows if is_live(one := addition_line(row, line.ref), today)]
        except PsaError as error:
            said = f"{refused.message} Before it is sent for the next invoice: {error.message}"
            denied = isinstance(error, AccessRefused)
            return WriteResult(WriteStatus.NOT_SENT, said, denied=denied)
        said = f"{refused.message} It shows a line of this product now ({', '.join(made)})."
        return replace(refused, status=WriteStatus.STALE, message=said) if made else None

    def _send(
        self, line: PlannedLine, starts: date | None = None, applied: str = ""
    ) -> tuple[WriteResult, bool]:
        """Sends a change once; says also whether its period was refused as invoiced already.

        A new addition has the catalog item's price, description and taxes. `applied`: the message.
        """
        method, path = "POST", additions(int(line.agreement)).path
        body: object = {
            "product": {"id": int(line.product)},
            "quantity": line.after,
            "billCustomer": "Billable",
            "effectiveDate": f"{starts}T00:00:00Z",
        }
        if line.line_id is not None:
            method, path = "PATCH", f"{path}/{line.line_id}"
            body = [{"op": "replace", "path": "quantity", "value": line.after}]
        try:
            answer = self.send(method, path, body)
        except TransportError as error:
            return classify(error, line), False
        result = classify(answer, line)
        if result.status is WriteStatus.APPLIED:
            result = replace(result, message=applied)
        refused = answer.status == HTTPStatus.BAD_REQUEST
        return result, refused and read_refusal(answer).of_invoiced_period

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
            found(partial(self._login, answer)),
            self.clock_finding(),
            Finding(Level.OK, f"{self.label} runs ConnectWise {release}.")
            if (release := answer.header("api-current-version", 40))
            else Finding(Level.NOTE, f"{self.label} does not say which release it runs."),
            *(found(partial(self._may_read, listed)) for listed in (COMPANIES, CATALOG)),
            found(partial(self._may_write, agreement)),
        )

    def _login(self, answer: Answer) -> str:
        try:
            count = answer.json()["count"]
        except (TransportError, KeyError, TypeError) as error:
            raise PsaError(
                f"What answers at url of [{self.label}] is not ConnectWise's API:"
                f" {answer.excerpt()!r}.",
                remedy=f"Check url of [{self.label}].",
            ) from error
        if count == 0:
            raise PsaError(
                f"{self.label} accepted the login, and the API member sees no agreement.",
                remedy=f"Give its security role the right {AGREEMENTS.right}.",
            )
        sees = f"{count} agreement{'' if count == 1 else 's'}"
        return f"{self.label} accepted the login; the API member sees {sees}."

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
            raise PsaError(
                f"The API member may not change additions of {self.label}: {refusal.sentence}",
                remedy=f"Give its security role the right {_IF_NO_RIGHT}.",
            )
        if refusal.of_login:
            raise PsaError(
                f"{self.label} lets kisi read and refuses writes: {refusal.sentence}",
                remedy=login_remedy(self.name, refusal),
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


def _not_ids(what: str) -> WriteResult:
    said = f"ConnectWise cannot know {what}: its ids are whole numbers. Nothing was sent."
    return WriteResult(WriteStatus.REJECTED, f"{said} Correct mapping.toml.")


def classify(reply: Answer | TransportError, line: PlannedLine) -> WriteResult:
    """A result for whatever came of a change: an answer, or why there is none."""
    asked = f"change addition {line.line_id}" if line.line_id else "create the addition"
    if isinstance(reply, TransportError):
        said = f"kisi asked ConnectWise to {asked}: {reply.message}"
        return not_answered(reply, f"{said} {transport_remedy('ConnectWise', reply)}")
    if HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES:
        return _confirmed(reply, line, asked)
    refusal = read_refusal(reply)
    wait, advice, denied = asked_to_wait(reply, creates=line.line_id is None), "", False
    if wait is not None:
        status, said = WriteStatus.THROTTLED, "ConnectWise asks to wait and wrote nothing"
    elif refusal.status in _STALE:
        status = WriteStatus.STALE
        said = f"ConnectWise did not {asked}, because something changed since it was read"
    elif wrote_nothing(refusal.status):
        status, said = WriteStatus.REJECTED, f"ConnectWise refused to {asked}"
        advice, denied = _advice(refusal, line), refusal.of_login
    else:
        status = WriteStatus.UNKNOWN
        said = f"ConnectWise gave no clear answer when asked to {asked}"
    message = f"{said}. It answered {refusal.sentence}{refusal.support} {advice}".rstrip()
    return WriteResult(
        status, message, wait=wait or 0.0, denied=denied, request_id=refusal.request_id
    )


def _confirmed(answer: Answer, line: PlannedLine, asked: str) -> WriteResult:
    """A 2xx: applied if the record in it is the change's, with its quantity."""
    said = f"ConnectWise answered {answer.status} when asked to {asked}, but its answer"
    identity = request_id(answer)
    try:
        row = answer.json()
        if not isinstance(row, dict):
            raise ValueError("it holds no record")  # noqa: TRY004, TRY301
        addition, product, quantity = str(whole(row, "id")), product_of(row), quantity_of(row)
    except (BadAnswer, ValueError) as error:
        message = f"{said} does not show the result: {str(error).rstrip('.')}."
        return WriteResult(WriteStatus.UNKNOWN, message, request_id=identity)
    expected = {
        "addition": (addition, line.line_id or addition),
        "agreement": (row.get("agreementId", int(line.agreement)), int(line.agreement)),
        "product": (product, line.product),
        "quantity": (quantity, line.after),
    }
    wrong = [
        f"{what} {remote_text(str(has), 40)} instead of {wanted}"
        for what, (has, wanted) in expected.items()
        if has != wanted
    ]
    status = WriteStatus.UNKNOWN if wrong else WriteStatus.APPLIED
    message = f"{said} shows {', '.join(wrong)}." if wrong else ""
    return WriteResult(status, message, addition, quantity, request_id=identity)


def _advice(refusal: Refusal, line: PlannedLine) -> str:
    """What to do about a refusal that has a known cause; else empty."""
    if refusal.of_permission:
        right = "Add" if line.line_id is None else "Edit"
        return f"Give the API member's security role the right Finance > Agreements, {right} = All."
    if refusal.of_login:
        return login_remedy(line.psa, refusal)
    if refusal.of_invoiced_period and line.line_id is not None:
        return (
            "ConnectWise checks the whole addition again on every change: correct its effective"
            " date there, or let the agreement prorate."
        )
    return ""
