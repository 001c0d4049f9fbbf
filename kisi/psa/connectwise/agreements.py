"""Agreements: read in chunks of ids, each judged against the client that is mapped to it.

Record: `Agreement` of ConnectWise's OpenAPI document, `GET /finance/agreements`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from kisi.errors import AccessRefused, KisiError, PsaError
from kisi.model import Agreement, AgreementRef, NotBillable
from kisi.psa import PsaAgreement
from kisi.psa.advice import move, move_by_hand
from kisi.psa.connectwise.endpoints import AGREEMENTS
from kisi.psa.connectwise.values import (
    Row,
    as_id,
    day,
    day_or_none,
    flag,
    name,
    part,
    row_id,
    shown,
    text,
)
from kisi.psa.connectwise.wire import Wire
from kisi.redaction import remote_text

FIELDS = (
    "id,name,type/name,company/id,company/name,agreementStatus,cancelledFlag,startDate,endDate,"
    "noEndingDateFlag,billStartDate,nextInvoiceDate,prorateFlag"
)


def read_agreements(
    wire: Wire, refs: Collection[AgreementRef], today: date
) -> dict[AgreementRef, Agreement | KisiError]:
    """Each of `refs`, judged on `today`; one request for about 150 of them.

    A chunk that cannot be read is that error for each of its refs.

    Raises:
        AccessRefused: The login, the right or the address was refused.
        PsaError: No chunk could be read.
    """
    judged: dict[AgreementRef, Agreement | KisiError] = {}
    wanted: dict[int, list[AgreementRef]] = {}
    for ref in refs:
        number = as_id(ref.agreement)
        if number is None:
            judged[ref] = _not_an_id(ref)
        else:
            wanted.setdefault(number, []).append(ref)
    failed: list[PsaError] = []
    chunks = list(wire.chunks(AGREEMENTS, FIELDS, "id", sorted(wanted)))
    for chunk in chunks:
        try:
            rows = {row_id(row): row for row in wire.rows(AGREEMENTS, FIELDS, chunk)}
        except AccessRefused:
            raise
        except PsaError as error:
            failed.append(error)
            judged |= {ref: error for number in chunk.ids for ref in wanted[number]}
        else:
            for number in chunk.ids:
                judged |= {ref: judge(ref, rows.get(number), today) for ref in wanted[number]}
    if failed and len(failed) == len(chunks):
        raise failed[0]
    return judged


def agreements_of(
    wire: Wire, companies: Collection[str], today: date
) -> dict[str, tuple[Agreement, ...]]:
    """The agreements of each of `companies` that run on `today`; one request for about 150.

    One that cannot be judged is among them, as unfit: it may bill.

    Raises:
        PsaError: They could not be read whole.
    """
    numbers = {number: one for one in companies if (number := as_id(one)) is not None}
    found: dict[str, tuple[Agreement, ...]] = dict.fromkeys(companies, ())
    for chunk in wire.chunks(AGREEMENTS, FIELDS, "company/id", sorted(numbers)):
        for row in wire.rows(AGREEMENTS, FIELDS, chunk):
            company = numbers[row_id(part(row, "company"))]
            ref = AgreementRef(wire.name, company, str(row_id(row)))
            judged = judge(ref, row, today)
            if isinstance(judged, PsaError):
                not_billable = NotBillable("agreement", judged.message, judged.remedy)
                judged = Agreement(ref, name=name(row, "name"), not_billable=not_billable)
            if not judged.gone:
                found[company] += (judged,)
    return found


def judge(ref: AgreementRef, row: Row | None, today: date) -> Agreement | PsaError:
    """One agreement as ConnectWise sent it; `row` is None if ConnectWise knows no such id."""
    if row is None:
        missing = NotBillable(
            "agreement",
            f"Agreement {ref.agreement} does not exist in ConnectWise, or the API member may not"
            " see it.",
            f"If another one takes its place: {move(ref)}.",
        )
        return Agreement(ref, not_billable=missing, gone=True)
    try:
        idle = _idle(ref, row, today)
        return Agreement(
            ref,
            name=name(row, "name"),
            not_billable=_foreign(ref, row) or idle,
            bill_start=day(row, "billStartDate"),
            next_invoice=day_or_none(row, "nextInvoiceDate"),  # documented as a plain string
            ends=_end(row),
            prorated=flag(row, "prorateFlag"),
            gone=idle is not None,
        )
    except ValueError as error:
        return PsaError(
            f"Agreement {ref.agreement} of psa.{ref.psa} could not be read: {error}. Nothing of it"
            " was written.",
            remedy="Correct the agreement in ConnectWise.",
        )


def listed(row: Row) -> PsaAgreement:
    """An agreement for `kisi map`; active as far as its status and flag say, whatever the day."""
    return PsaAgreement(
        id=str(row_id(row)),
        company=str(part(row, "company").get("id", "")),
        name=name(row, "name"),
        kind=name(part(row, "type"), "name"),
        active=not flag(row, "cancelledFlag") and _status(row) in ("", "active"),
        starts=day_or_none(row, "startDate"),
        ends=None if flag(row, "noEndingDateFlag") else day_or_none(row, "endDate"),
    )


def _not_an_id(ref: AgreementRef) -> Agreement:
    not_billable = NotBillable(
        "agreement",
        f"{ref.agreement!r} is not an agreement id of ConnectWise: those are whole numbers.",
        "Correct `agreement` of the client in mapping.toml; `kisi map list` shows the ids.",
    )
    return Agreement(ref, not_billable=not_billable, gone=True)


def _foreign(ref: AgreementRef, row: Row) -> NotBillable | None:
    """Why the agreement is not the mapped company's.

    Raises:
        ValueError: ConnectWise does not say whose it is.
    """
    company = part(row, "company")
    if "id" not in company:
        raise ValueError("company/id is missing")
    if str(company["id"]) == ref.company:
        return None
    owner = f"company {shown(company['id'])} ({name(company, 'name') or 'no name'})"
    return NotBillable(
        "agreement",
        f"{_called(row)} belongs to {owner} in ConnectWise, and the client is mapped to company"
        f" {ref.company}.",
        "Correct `company` or `agreement` of the client in mapping.toml.",
    )


def _idle(ref: AgreementRef, row: Row, today: date) -> NotBillable | None:
    """Why the agreement bills nothing on `today`; None if it is active."""
    status, called = _status(row), _called(row)
    renew = f"Renew it in ConnectWise. If that makes a new agreement: {move(ref)}."
    starts, ends = day(row, "startDate"), _end(row)
    if flag(row, "cancelledFlag") or status == "cancelled":
        return NotBillable("agreement", f"{called} is cancelled in ConnectWise.", renew)
    if ends is not None and ends < today:
        return NotBillable("agreement", f"{called} ended on {ends}.", renew)
    if starts is not None and starts > today:
        return NotBillable(
            "agreement",
            f"{called} starts only on {starts}.",
            f"Wait until then, or name the agreement that runs today: {move_by_hand(ref)}.",
        )
    if status not in ("", "active"):
        said = remote_text(text(row, "agreementStatus"), 40)
        return NotBillable(
            "agreement", f"{called} is not active: ConnectWise calls it {said}.", renew
        )
    return None


def _called(row: Row) -> str:
    called = name(row, "name")
    return f"Agreement {row_id(row)} {called!r}" if called else f"Agreement {row_id(row)}"


def _status(row: Row) -> str:
    return text(row, "agreementStatus").casefold()


def _end(row: Row) -> date | None:
    return None if flag(row, "noEndingDateFlag") else day(row, "endDate")
